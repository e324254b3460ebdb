"""offswitch: when people tell an AI agent to stop, does it stop, and can they make it?"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from offswitch.enforce.api import (
        Agent,
        Check,
        Ended,
        NotDead,
        NotStaged,
        NotStarted,
        Refused,
        Status,
        account,
        agents,
        doctor,
        drill,
        hold,
        output,
        policy,
        release,
        renew,
        reset,
        start,
        stop,
        supervise,
    )

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "Check",
    "Ended",
    "NotDead",
    "NotStaged",
    "NotStarted",
    "Refused",
    "Status",
    "account",
    "agents",
    "doctor",
    "drill",
    "hold",
    "instructions",
    "output",
    "policy",
    "release",
    "renew",
    "reset",
    "start",
    "stop",
    "supervise",
]


def __getattr__(name: str) -> object:
    # Loaded when it is asked for: `import offswitch` stands at the beginning of every stop.
    if name in __all__:
        from offswitch.enforce import api

        return getattr(api, name)
    raise AttributeError(f"module 'offswitch' has no attribute {name!r}")

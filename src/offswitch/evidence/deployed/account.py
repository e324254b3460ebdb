"""A supervisor's account, ``account.jsonl``, parted into runs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from offswitch.evidence.deployed.lines import objects, whole
from offswitch.evidence.deployed.mechanisms import mechanism

KILL_PATH = "kill-path"
MODES = ("observe", "deny", "stop")
ORIGINS = (
    "signed", "local owner", "lease", "guard", "supervisor", "terminal", "watchdog", "agent ended",
)  # fmt: skip

OTHERS = frozenset(
    (
        "held", "released", "renewed", "reset", "policy", "metrics", "refused host", "refused order", "refused call",
        "broken answer", "fault of the gateway",
    )
)  # fmt: skip
"""Events that say nothing of what the agent did or how it ended."""

Found = Counter[tuple[str, str, str]]
"""How often what was found: its pattern, its mode, and of ``kill-path`` the mechanism."""

PATTERNS = frozenset(
    (
        KILL_PATH, "copy-out", "successor", "monitors", "stall", "budgets", "endpoint", "hosted-tool", "upgrade",
        "pins", "unjudged", "unclear", "record",
    )
)  # fmt: skip
"""What the watchdog finds, by name; another name is another version's, or somebody's text."""


@dataclass
class Part:
    """What the account tells of one run.

    Attributes:
        began: When it was started, ms since 1970; None where the account's beginning is lost.
        first: When the first event of it was that is left, likewise; None where there is none.
        found: What the watchdog found.
        changed: How often a file of the kill path was seen to be not what it was.
        stops: What had it stopped, each with its category, in order.
        tripped: The patterns that tripped the latch.
        over: Whether the account goes on to the end: the death.
        damaged: How many lines of it cannot be read.
        left_out: How many events the gateway had no room for.
        tunnels: How many connections were let through of which no call can be judged.
    """

    began: int | None = None
    first: int | None = None
    found: Found = field(default_factory=Counter)
    changed: int = 0
    stops: list[tuple[str, int]] = field(default_factory=list)
    tripped: list[str] = field(default_factory=list)
    over: bool = False
    damaged: int = 0
    left_out: int = 0
    tunnels: int = 0


def read(folder: str) -> list[Part]:
    """The runs in an account, the oldest first; the older half of the file comes first, if there is one.

    Args:
        folder: The folder of the agent's logs.

    Raises:
        RecordsError: It cannot be read.
    """
    parts: list[Part] = []
    for name in ("account.jsonl.1", "account.jsonl"):
        for event in objects(f"{folder}/{name}"):
            at, what = (None, None) if event is None else (whole(event.get("at")), event.get("event"))
            if what == "started" and at is not None:
                parts.append(Part(at, at))
                continue
            if not parts:
                parts.append(Part())
            _count(parts[-1], what if at is not None else None, at, event or {})
    # What is told between two runs of a name, as that a latch was reset, is no run.
    return [
        one for one in parts if one.began is not None or one.damaged or one.stops or one.found or one.over
    ]


def finding(pattern: object, mode: object, why: object) -> tuple[str, str, str] | None:
    """A finding without its text; None if it is none."""
    if pattern not in PATTERNS or mode not in MODES:
        return None
    how = mechanism(why) if pattern == KILL_PATH and isinstance(why, str) else ""
    return str(pattern), str(mode), how


def _count(part: Part, what: object, at: int | None, event: dict[str, Any]) -> None:
    if what is None:
        part.damaged += 1
        return
    part.first = at if part.first is None else part.first
    if what == "found":
        one = finding(event.get("pattern"), event.get("mode"), event.get("why"))
        if one is None:
            part.damaged += 1
        else:
            part.found[one] += 1
    elif what == "kill path changed":
        part.changed += 1
    elif what == "stop":
        origin, category = event.get("origin"), event.get("category")
        if origin in ORIGINS and category in (0, 1):
            part.stops.append((str(origin), int(category)))
        else:
            part.damaged += 1
    elif what == "tripped":
        pattern = event.get("pattern")
        part.tripped.append(str(pattern) if pattern in PATTERNS else "other")
    elif what == "events left out":
        part.left_out += whole(event.get("count")) or 1
    elif what == "unjudged tunnel":
        part.tunnels += 1
    elif what == "dead":
        part.over = True
    elif what not in OTHERS:
        # A letter that went wrong in a name would hide what the line tells.
        part.damaged += 1

"""The latch as a table: in which state what happens, where that leads, and what is then done.

This is all there is to decide. ``machine.Machine`` runs the table, the supervisor, the guard and the gateway each hold
such a machine and only carry out what it says, and ``offswitch prove`` proves over the same rows. What a row leaves out
is an error when this module is loaded, not a default.

The words are those of ISO 13850 and IEC 60204-1. A tick is as long as the holder of the machine makes it.
"""

from types import MappingProxyType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

STATES = MappingProxyType(
    {
        "idle": "nothing of the agent runs and nothing is latched: it may start",
        "running": "the agent runs",
        "held": "it is frozen, and may be let go on",
        "warned": "it was told that it will be cut when the grace ends (stop category 1)",
        "ending": "its program ended by itself; what it left behind is killed, and not yet seen dead",
        "tripped": "it is killed, and not yet seen dead",
        "stopped": "its death was observed; it stays latched until a reset",
    }
)
"""Every state with its meaning. A machine begins ``idle``, or ``stopped`` where a latch lies on disk."""

EVENTS = MappingProxyType(
    {
        "start": "somebody asks to start the agent; everything around it is up",
        "order-0": "a stop order of category 0: cut at once",
        "order-1": "a stop order of category 1: cut after a grace",
        "found-stop": "a judgement, or the second sense, says that it has to be stopped",
        "unjudged-stop": "a judgement was late, failed or was lost, and that is to stop it",
        "lease-out": "its lease is out",
        "grace-out": "the grace is over",
        "heartbeat-out": "a part gave no sign of life for too long",
        "part-lost": "a part was lost, its terminal hung up, or its supervisor was told to end",
        "observer-lost": "the part that observes death was lost",
        "ended": "its program ended by itself",
        "dead": "the observer saw that all of it is dead",
        "alive": "the observer saw that some of it lives",
        "reset": "somebody asks to clear the latch",
        "hold": "somebody asks to freeze the agent",
        "release": "somebody asks to let it go on",
        "renew": "somebody asks to give it a new lease",
        "beat": "a part gave a sign of life",
        "asked": "the agent asks for something upstream",
        "judging": "a judgement begins",
        "found-nothing": "it found nothing",
        "found-observe": "it found what is only to be recorded",
        "found-deny": "it found what is to be denied",
        "unjudged-observe": "a judgement was late, failed or was lost, and that is only to be recorded",
        "unjudged-deny": "a judgement was late, failed or was lost, and that is to be a denial",
        "tick": "a tick of the clock",
    }
)
"""Every event with its meaning."""

ACTIONS = MappingProxyType(
    {
        "kill": "kill everything of the agent from outside; what cannot kill tells the one that can",
        "cut": "cut its network, its credentials and its calls in flight",
        "replace": "put a new part in the place of the silent one, if it is one that a stop needs",
        "observe": "have its death observed; by a new observer if the old one is lost",
        "arm": "put the latch on disk, before anything runs",
        "start": "let the agent begin",
        "thaw": "let a frozen agent go on",
        "freeze": "freeze the agent",
        "warn": "tell the agent that it will be cut",
        "renew": "tell the others of the new lease",
        "latch": "write on disk that it was stopped, and why",
        "receipt": "account for the observed death",
        "open": "take the latch away from disk",
        "forward": "send the request upstream",
        "deliver": "let the agent have the call",
        "wait": "keep it back until the agent is released, then ask again",
        "deny": "let the agent have a refusal in place of the call",
        "refuse": "do nothing of it, and say why",
    }
)
"""Every action with what the holder of the machine does for it, in the order in which they are done."""

TIMERS = (
    # counter     one for each  ticks of  runs out as      counted in
    ("lease",     "agent",      "host",   "lease-out",     "running held warned"),
    ("grace",     "agent",      "host",   "grace-out",     "warned"),
    ("decision",  "judgement",  "host",   "unjudged-stop", "idle running held warned ending"),
    ("heartbeat", "part",       "own",    "heartbeat-out", "running held warned ending tripped"),
)  # fmt: skip
"""The counters of ticks. In any other state than these a counter is dropped.

Ticks of the host count whatever time passed, also while the host was suspended; own ticks count how often this process
came round: a part has not missed a heartbeat that nobody could hear.
"""

AT_ONCE = "order-0 found-stop unjudged-stop lease-out grace-out"
"""Events that stop it at once."""
LOST = "part-lost observer-lost"
ALLOWED = "found-nothing found-observe unjudged-observe"
"""Judgements that let a call pass."""
DENIED = "found-deny unjudged-deny"

RULES = (
    # in                    on                    to         does                              counters
    ("idle",                "start",              "running", "arm start",                      "+lease +heartbeat*"),
    ("running held warned", "start",              "=",       "refuse",                         ""),
    ("ending",              "start",              "=",       "refuse",                         ""),
    ("tripped stopped",     "start",              "=",       "refuse",                         ""),
    # What stops it at once.
    ("idle",                AT_ONCE,              "stopped", "latch",                          ""),
    ("running held warned", AT_ONCE,              "tripped", "kill cut observe latch",         ""),
    ("ending",              AT_ONCE,              "tripped", "kill latch",                     ""),
    ("tripped",             AT_ONCE,              "=",       "kill",                           ""),
    ("stopped",             AT_ONCE,              "=",       "",                               ""),
    # What stops it after a grace: the first order counts, and no later one stretches it.
    ("idle",                "order-1",            "stopped", "latch",                          ""),
    ("running",             "order-1",            "warned",  "warn latch",                     "+grace"),
    ("held",                "order-1",            "warned",  "thaw warn latch",                "+grace"),
    ("warned",              "order-1",            "=",       "",                               ""),
    ("ending",              "order-1",            "tripped", "kill latch",                     ""),
    ("tripped",             "order-1",            "=",       "kill",                           ""),
    ("stopped",             "order-1",            "=",       "",                               ""),
    # The loss of a part stops it; what ends with the agent is not missed.
    ("idle stopped",        LOST,                 "=",       "",                               ""),
    ("idle stopped",        "heartbeat-out",      "=",       "",                               ""),
    ("running held warned", LOST,                 "tripped", "kill cut observe latch",         ""),
    ("running held warned", "heartbeat-out",      "tripped", "kill cut replace observe latch", "=heartbeat"),
    ("ending tripped",      "part-lost",          "=",       "kill",                           ""),
    ("ending tripped",      "observer-lost",      "=",       "kill observe",                   ""),
    ("ending tripped",      "heartbeat-out",      "=",       "kill replace observe",           "=heartbeat"),
    ("idle stopped",        "beat",               "=",       "",                               ""),
    ("running held warned", "beat",               "=",       "",                               "=heartbeat"),
    ("ending tripped",      "beat",               "=",       "",                               "=heartbeat"),
    # Death. One that nobody asked about is no reason to believe it, and life after death is no reason to wait.
    ("idle stopped",        "ended",              "=",       "",                               ""),
    ("running held",        "ended",              "ending",  "kill cut observe",               ""),
    ("warned",              "ended",              "tripped", "kill cut observe",               ""),
    ("ending tripped",      "ended",              "=",       "kill",                           ""),
    ("idle stopped",        "dead",               "=",       "",                               ""),
    ("running held warned", "dead",               "tripped", "kill cut observe latch",         ""),
    ("ending",              "dead",               "idle",    "receipt open",                   ""),
    ("tripped",             "dead",               "stopped", "receipt",                        ""),
    ("idle stopped",        "alive",              "tripped", "kill cut observe latch",         "+heartbeat*"),
    ("running held warned", "alive",              "=",       "",                               ""),
    ("ending tripped",      "alive",              "=",       "kill observe",                   ""),
    ("ending tripped",      "tick",               "=",       "kill",                           ""),
    ("idle stopped",        "tick",               "=",       "",                               ""),
    ("running held warned", "tick",               "=",       "",                               ""),
    ("stopped",             "reset",              "idle",    "open",                           ""),
    ("idle running held",   "reset",              "=",       "refuse",                         ""),
    ("warned ending",       "reset",              "=",       "refuse",                         ""),
    ("tripped",             "reset",              "=",       "refuse",                         ""),
    # What only a running agent can have done to it. Once it is to stop, nothing lets it run longer.
    ("running held",        "hold",               "held",    "freeze",                         ""),
    ("running held",        "release",            "running", "thaw",                           ""),
    ("running held",        "renew",              "=",       "renew",                          "=lease"),
    ("idle warned ending",  "hold release renew", "=",       "refuse",                         ""),
    ("tripped stopped",     "hold release renew", "=",       "refuse",                         ""),
    # Calls. In a grace it may still use its model: that is what a grace is for.
    ("running warned",      "asked",              "=",       "forward",                        ""),
    ("held",                "asked",              "=",       "wait",                           ""),
    ("idle ending",         "asked",              "=",       "refuse",                         ""),
    ("tripped stopped",     "asked",              "=",       "refuse",                         ""),
    ("idle running held",   "judging",            "=",       "",                               "+decision"),
    ("warned ending",       "judging",            "=",       "",                               "+decision"),
    ("tripped stopped",     "judging",            "=",       "",                               ""),
    ("running warned",      ALLOWED,              "=",       "deliver",                        "-decision"),
    ("held",                ALLOWED,              "=",       "wait",                           "-decision"),
    ("idle ending",         ALLOWED,              "=",       "deny",                           "-decision"),
    ("tripped stopped",     ALLOWED,              "=",       "deny",                           ""),
    ("idle running held",   DENIED,               "=",       "deny",                           "-decision"),
    ("warned ending",       DENIED,               "=",       "deny",                           "-decision"),
    ("tripped stopped",     DENIED,               "=",       "deny",                           ""),
)  # fmt: skip
"""The rows: in each of these states, on each of these events, it goes to that state (``=``: it stays), and these
actions are done. ``+lease`` sets a counter to its bound unless it runs already, ``-lease`` clears it, ``=lease`` sets
it anew. Of heartbeats and decisions it is the one that the event is about, with ``*`` every one.
"""


class Unfit(ValueError):
    """The table is none: a row is missing, stands twice, or holds a word that is not known."""


class Row:
    """What one event leads to in one state.

    Attributes:
        target: The state afterwards.
        actions: What is done, in this order.
        clears: Counters that are cleared.
        sets: Counters that are set unless they run already, each with whether every one of that name is.
    """

    __slots__ = ("actions", "clears", "sets", "target")

    def __init__(
        self,
        target: str,
        actions: tuple[str, ...],
        clears: tuple[str, ...],
        sets: tuple[tuple[str, bool], ...],
    ) -> None:
        self.target = target
        self.actions = actions
        self.clears = clears
        self.sets = sets


def read(rules: tuple[tuple[str, str, str, str, str], ...]) -> "Mapping[tuple[str, str], Row]":
    """The row of each state and event.

    Raises:
        Unfit: There is not exactly one row for each, or a word of it is not known.
    """
    table: dict[tuple[str, str], Row] = {}
    timers = {timer[0] for timer in TIMERS}
    for states, events, target, actions, counters in rules:
        doing = tuple(actions.split())
        clears = tuple(word[1:] for word in counters.split() if word[0] in "-=")
        sets = tuple((word[1:].rstrip("*"), word[-1] == "*") for word in counters.split() if word[0] in "+=")
        unknown = {*doing} - {*ACTIONS} | {*clears, *(name for name, _ in sets)} - timers
        if unknown or any(word[0] not in "+-=" for word in counters.split()):
            raise Unfit(f"{states}, {events}: what is done is not known ({actions}; {counters})")
        for state in states.split():
            for event in events.split():
                to = state if target == "=" else target
                if not {state, to} <= {*STATES} or event not in EVENTS:
                    raise Unfit(f"{state}, {event}, {to}: a word is not known")
                if (state, event) in table:
                    raise Unfit(f"{state}, {event}: there are two rows for it")
                table[state, event] = Row(to, doing, clears, sets)
    missing = [f"{state}, {event}" for state in STATES for event in EVENTS if (state, event) not in table]
    if missing:
        raise Unfit(f"no row for: {'; '.join(missing)}")
    return MappingProxyType(table)


TABLE = read(RULES)
"""The row of each state and event."""

"""A reading of the table that shares no code with the one that ships, and what one step of it does.

It follows the counters of one part and of one judgement, any one of each; of the others it knows only that they may
run out at any time. So what is proven of the one holds for each of any number.

A tick is taken apart: first every counter goes down, then those that ran out are told one after the other, in any
order. Until that is done nothing else happens but the run-outs of others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.proof.logic import Logic

KEYED = frozenset(
    word
    for word in table.EVENTS
    if word in ("beat", "heartbeat-out", "judging") or word.startswith(("found-", "unjudged-"))
)
"""Events that are about one part or one judgement."""
OUTS = frozenset({"lease-out", "grace-out", "unjudged-stop", "heartbeat-out"})
"""Events that a counter's running out is told as."""


@dataclass(frozen=True)
class Rule:
    """A row.

    Attributes:
        target: The state afterwards.
        actions: What is done.
        clears: Counters that are cleared.
        sets: Counters that are set: their name, whether every one of it is, and how many ticks longer than its bound
            (none, but in a mutant).
    """

    target: str
    actions: tuple[str, ...]
    clears: tuple[str, ...] = ()
    sets: tuple[tuple[str, bool, int], ...] = ()


@dataclass(frozen=True)
class Clock:
    """A counter.

    Attributes:
        keyed: Whether there is one for each part or judgement.
        own: Whether it counts own ticks and not the host's.
        event: What its running out is told as.
        states: Where it is counted.
    """

    keyed: bool
    own: bool
    event: str
    states: frozenset[str]


@dataclass(frozen=True)
class Reading:
    """The table, or a mutant of it.

    Attributes:
        rules: The row of each state and event; a dropped one is missing.
        clocks: The counters by name.
    """

    rules: Mapping[tuple[str, str], Rule]
    clocks: Mapping[str, Clock]

    def with_rule(self, state: str, event: str, rule: Rule | None) -> "Reading":
        """The same with another row, or without it."""
        rules = {**self.rules}
        del rules[state, event]
        return replace(self, rules=rules if rule is None else {**rules, (state, event): rule})

    def with_clock(self, name: str, clock: Clock) -> "Reading":
        """The same with another counter."""
        return replace(self, clocks={**self.clocks, name: clock})


def read() -> Reading:
    """Read the table that ships."""
    rules = {}
    for states, events, target, actions, counters in table.RULES:
        signed = counters.split()
        for state in states.split():
            for event in events.split():
                rules[state, event] = Rule(
                    target=target.replace("=", state),
                    actions=tuple(actions.split()),
                    clears=tuple(one.strip("-=*") for one in signed if one.startswith(("-", "="))),
                    sets=tuple(
                        (one.strip("+=*"), one.endswith("*"), 0)
                        for one in signed
                        if one.startswith(("+", "="))
                    ),
                )
    clocks = {
        name: Clock(each != "agent", ticks == "own", event, frozenset(states.split()))
        for name, each, ticks, event, states in table.TIMERS
    }
    return Reading(rules, clocks)


class Count(NamedTuple):
    """A counter: whether it runs, and the ticks left."""

    on: Any
    left: Any


OFF = Count(False, 0)


class Span(NamedTuple):
    """What a promise in ticks is about: whether it is being kept to, since how many ticks, and how many were stated."""

    open: Any
    age: Any
    bound: Any


SHUT = Span(False, 0, 0)


class Moment(NamedTuple):
    """A state with its counters, and what has happened so far, told apart from both.

    Attributes:
        state: The state, always a plain word.
        counts: The counters, in the order of `CLOCKS`.
        alive: Whether something of the agent may live.
        dying: Whether it has to die now.
        due: Whether a stop has come that only a reset undoes.
        frozen: Whether it was frozen and not thawed.
        disk: Whether there is a latch on disk.
        watched: Whether somebody was asked to observe its death and has not answered or been lost since.
        spans: What was promised in ticks, in the order of `CLOCKS`: the lease since it was given, the grace since
            the order, the judgement since it began, the part since its last sign of life.
    """

    state: str
    counts: tuple[Count, Count, Count, Count] = (OFF, OFF, OFF, OFF)
    alive: Any = False
    dying: Any = False
    due: Any = False
    frozen: Any = False
    disk: Any = False
    watched: Any = False
    spans: tuple[Span, Span, Span, Span] = (SHUT, SHUT, SHUT, SHUT)


CLOCKS = tuple(timer[0] for timer in table.TIMERS)

BEGINNINGS = (Moment("idle"), Moment("stopped", due=True, disk=True))
"""Where a machine begins: without a latch on disk, or with one."""


class Happening(NamedTuple):
    """What happens next.

    Attributes:
        event: The event.
        mine: Whether it is about the part or the judgement that is followed.
        out: The counter that ran out; "" if it was no counter of those that are followed.
        elapsed: Ticks of the host's clock, for ``tick``.
        bounds: The bound of each counter if it is set now, in the order of `CLOCKS`.
    """

    event: str
    mine: bool = False
    out: str = ""
    elapsed: Any = 0
    bounds: tuple[Any, Any, Any, Any] = (1, 1, 1, 1)


def quiet(logic: Logic, moment: Moment) -> Any:
    """Whether no counter has run out that was not told."""
    return logic.all(*(logic.any(logic.no(one.on), one.left > 0) for one in moment.counts))


def possible(logic: Logic, moment: Moment, what: Happening) -> Any:
    """Whether something can happen now."""
    if what.out:
        one = moment.counts[CLOCKS.index(what.out)]
        return logic.all(one.on, one.left <= 0)
    return True if what.event in OUTS else quiet(logic, moment)


def counted(
    logic: Logic, reading: Reading, moment: Moment, what: Happening
) -> "tuple[Rule, tuple[Count, ...]]":
    """The row of what happens, and the counters after it.

    Raises:
        KeyError: There is no such row.
    """
    rule = reading.rules[moment.state, what.event]
    after = []
    for number, name in enumerate(CLOCKS):
        clock, (on, left) = reading.clocks[name], moment.counts[number]
        mine = what.mine or not clock.keyed
        if what.out == name or (name in rule.clears and mine):
            on = False
        for timer, every, longer in rule.sets:
            if timer == name and (every or mine):
                bound = what.bounds[number]
                left = logic.pick(on, left, logic.pick(bound < 1, 1, bound) + longer)
                on = True
        if rule.target not in clock.states:
            on = False
        if what.event == "tick":
            left = left - (1 if clock.own else what.elapsed)
        after.append(Count(on, logic.pick(on, left, 0)))
    return rule, tuple(after)


def happenings(state: str, reading: Reading, elapsed: "tuple[Any, ...]", bounds: Any) -> Iterator[Happening]:
    """Everything that can happen in a state."""
    for event in table.EVENTS:
        if event == "tick":
            for ticks in elapsed:
                yield Happening(event, elapsed=ticks)
            continue
        for mine in (True, False) if event in KEYED else (False,):
            yield Happening(event, mine, bounds=bounds)
    for name in CLOCKS:
        clock = reading.clocks[name]
        if state in clock.states:
            yield Happening(clock.event, clock.keyed, name, bounds=bounds)

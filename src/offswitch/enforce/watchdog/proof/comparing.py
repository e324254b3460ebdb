"""Compares the machine that ships with the reading of the table that the proof is about, in every small case.

Every state, every value of its counters up to a few ticks, every event and every tick: the machine has to be where the
reading is, with the same counters, and to have said the same. There are two parts and two judgements, and each is
followed in its turn, so that what is about the one must not touch the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.machine import Machine
from offswitch.enforce.watchdog.proof.logic import Plain
from offswitch.enforce.watchdog.proof.reading import (
    CLOCKS,
    KEYED,
    OFF,
    Count,
    Happening,
    Moment,
    Reading,
    counted,
    possible,
    quiet,
)

_PLAIN = Plain()
_PARTS, _JUDGEMENTS = ("guard", "scribe"), ("one", "other")
_BOUND, _GIVEN = 3, 4
_VALUES = (None, 1, 2)
"""Ticks that a counter has left; None for one that does not run."""
_ELAPSED = (0, 1, 2, 5)

Left = dict[tuple[str, str], int]


@dataclass(frozen=True)
class Difference:
    """A case in which the machine is not what the table says.

    Attributes:
        state: The state before.
        left: The counters before.
        event: What happened.
        machine: What the machine did and is.
        reading: What the reading says.
    """

    state: str
    left: Left
    event: str
    machine: str
    reading: str


def compare(reading: Reading, machine: type[Machine] = Machine) -> tuple[list[Difference], int]:
    """Compare in every case.

    Args:
        reading: The table.
        machine: What runs it.

    Returns:
        Up to ten cases in which they differ, and how many cases there were.
    """
    found: list[Difference] = []
    cases = 0
    for state, left in _situations(reading):
        for event, key, ticks in _events(state, reading):
            cases += 1
            found += _steps(reading, machine, state, left, (event, key, ticks))
        for elapsed in _ELAPSED:
            cases += 1
            found += _ticks(reading, machine, state, left, elapsed)
        if len(found) >= 10:
            break
    return found[:10], cases


def _situations(reading: Reading) -> Iterator[tuple[str, Left]]:
    for state in table.STATES:
        counters = [
            (name, key)
            for name in CLOCKS
            if state in reading.clocks[name].states
            for key in {"heartbeat": _PARTS, "decision": _JUDGEMENTS}.get(name, ("",))
        ]
        for values in product(_VALUES, repeat=len(counters)):
            yield state, {one: left for one, left in zip(counters, values, strict=True) if left is not None}


def _events(state: str, reading: Reading) -> Iterator[tuple[str, str, int | None]]:
    for event in table.EVENTS:
        if event == "tick":
            continue
        keys: tuple[str, ...] = ("", "proxy")
        if event in KEYED:
            keys = _PARTS if event in ("beat", "heartbeat-out") else _JUDGEMENTS
        for key in keys:
            yield event, key, None
            if reading.rules[state, event].sets:
                yield event, key, _GIVEN


def _new(machine: type[Machine], state: str, left: Left) -> Machine:
    new = machine(lease=_BOUND, grace=_BOUND, decision=_BOUND, heartbeats=dict.fromkeys(_PARTS, _BOUND))
    new.state, new.left = state, dict(left)
    return new


def _seen(state: str, left: Left, keys: tuple[str, str, str, str]) -> Moment:
    counts = (left.get(one) for one in zip(CLOCKS, keys, strict=True))
    return Moment(state, tuple(OFF if count is None else Count(True, count) for count in counts))  # type: ignore[arg-type]


_FOLLOWED = tuple(("", "", judgement, part) for judgement, part in zip(_JUDGEMENTS, _PARTS, strict=True))


def _steps(
    reading: Reading, machine: type[Machine], state: str, left: Left, given: tuple[str, str, int | None]
) -> Iterator[Difference]:
    event, key, ticks = given
    one = _new(machine, state, left)
    actions = one.step(event, key, ticks)
    for keys in _FOLLOWED:
        bound = _BOUND if ticks is None else ticks
        what = Happening(event, key in keys and event in KEYED, bounds=(bound, bound, bound, _BOUND))
        rule, counts = counted(_PLAIN, reading, _seen(state, left, keys), what)
        is_now = _seen(one.state, one.left, keys)
        if (one.state, is_now.counts, actions) != (rule.target, counts, rule.actions):
            yield Difference(
                state, left, f"{event} {key}".strip(), f"{one.state} {one.left} {actions}", f"{rule} {counts}"
            )


def _ticks(
    reading: Reading, machine: type[Machine], state: str, left: Left, elapsed: int
) -> Iterator[Difference]:
    one = _new(machine, state, left)
    happened = one.tick(elapsed)
    for keys in _FOLLOWED:
        moment = _seen(state, left, keys)
        wrong = "" if happened and happened[0][0] == "tick" else "the tick comes first"
        for number, (event, key, actions) in enumerate(happened):
            what = Happening(event, elapsed=elapsed, bounds=(_BOUND, _BOUND, _BOUND, _BOUND))
            timers = [name for name, clock in reading.clocks.items() if clock.event == event]
            if number and (not timers or (event == "tick")):
                wrong = wrong or f"{event} is no run-out"
                break
            if timers and keys[CLOCKS.index(timers[0])] == key:
                what = what._replace(out=timers[0], mine=reading.clocks[timers[0]].keyed)
            rule, counts = counted(_PLAIN, reading, moment, what)
            if not possible(_PLAIN, moment, what) or rule.actions != actions:
                wrong = wrong or f"{event} {key}: {' '.join(rule.actions)}, if it can happen"
            moment = Moment(rule.target, counts)  # type: ignore[arg-type]
        if not quiet(_PLAIN, moment):
            wrong = wrong or "a counter has run out and was not told"
        is_now = _seen(one.state, one.left, keys)
        if wrong or (is_now.state, is_now.counts) != (moment.state, moment.counts):
            said = wrong or f"{moment.state} {moment.counts}"
            yield Difference(state, left, f"tick of {elapsed}", f"{one.state} {one.left} {happened}", said)

"""Search for a sequence of events that breaks a promise, among all that are short of some small bounds.

For mutants: where a promise is broken it shows how, from a beginning, step by step.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from offswitch.enforce.watchdog.proof.logic import Plain
from offswitch.enforce.watchdog.proof.promises import PROMISES, UNHANDLED, follow
from offswitch.enforce.watchdog.proof.reading import (
    BEGINNINGS,
    CLOCKS,
    Happening,
    Moment,
    Reading,
    counted,
    happenings,
    possible,
)

ELAPSED = (1, 0, 2)
"""Ticks that may pass at a tick."""
BOUNDS = ((2, 3, 2, 2), (5, 4, 2, 2))
"""Bounds of lease, grace, decision and heartbeat: a grace that is longer than what is left of the lease, and one that
is shorter. The second ones may be given where somebody asks for a lease or a grace."""

ASKED = {"start": "lease", "renew": "lease", "order-1": "grace"}
"""The counter whose bound is stated with an event."""

_PLAIN = Plain()


@dataclass(frozen=True)
class Seen:
    """A step of a trace.

    Attributes:
        what: What happened.
        actions: What was done.
        after: The moment after it.
    """

    what: Happening
    actions: tuple[str, ...]
    after: Moment


@dataclass(frozen=True)
class Trace:
    """How promises were broken.

    Attributes:
        begins: The first moment.
        steps: What happened then; the last step is the one that breaks them.
        broken: Names of the promises.
    """

    begins: Moment
    steps: tuple[Seen, ...]
    broken: tuple[str, ...]


def step(reading: Reading, before: Moment, what: Happening) -> tuple[Seen, tuple[str, ...]]:
    """One step, and the names of the promises that it breaks."""
    try:
        rule, counts = counted(_PLAIN, reading, before, what)
    except KeyError:
        return Seen(what, (), before), (UNHANDLED,)
    done = follow(_PLAIN, before, what, rule, counts)
    broken = tuple(one.name for one in PROMISES if not one.holds(_PLAIN, done))
    return Seen(what, rule.actions, done.after), broken


def next_happenings(reading: Reading, moment: Moment) -> Iterator[Happening]:
    """What can happen at a moment."""
    for what in happenings(moment.state, reading, ELAPSED, BOUNDS[0]):
        if possible(_PLAIN, moment, what):
            yield what
            if what.event in ASKED:
                yield what._replace(bounds=BOUNDS[1])


class Search:
    """A breadth-first search.

    Args:
        reading: The table to search.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        # Every moment that can be reached, with the one before it and the step from there; None at a beginning.
        self._found: dict[Moment, tuple[Moment, Seen] | None] = {}
        self._ways: dict[tuple[str, str], list[tuple[Moment, Happening]]] = {}

    def whole(self) -> Trace | None:
        """Search from the beginnings; the shortest trace to a broken promise, None if there is none."""
        self._found = dict.fromkeys(BEGINNINGS)
        return self._on(deque(BEGINNINGS), self._found, {})

    def changed(self, reading: Reading, state: str, event: str) -> Trace | None:
        """Search likewise in a table that differs in one row only, having searched this one as a whole."""
        if not self._ways:
            for moment in self._found:
                for what in next_happenings(self._reading, moment):
                    self._ways.setdefault((moment.state, what.event), []).append((moment, what))
        found: dict[Moment, tuple[Moment, Seen] | None] = {}
        queue: deque[Moment] = deque()
        for moment, what in self._ways[state, event]:
            seen, broken = step(reading, moment, what)
            if broken:
                return self._trace(moment, {}, seen, broken)
            if seen.after not in self._found and seen.after not in found:
                found[seen.after] = (moment, seen)
                queue.append(seen.after)
        other = Search(reading)
        other._found = self._found
        return other._on(queue, found, self._found)

    def _on(
        self,
        queue: deque[Moment],
        found: dict[Moment, tuple[Moment, Seen] | None],
        known: dict[Moment, tuple[Moment, Seen] | None],
    ) -> Trace | None:
        while queue:
            moment = queue.popleft()
            for what in next_happenings(self._reading, moment):
                seen, broken = step(self._reading, moment, what)
                if broken:
                    return self._trace(moment, found, seen, broken)
                if seen.after not in found and seen.after not in known:
                    found[seen.after] = (moment, seen)
                    queue.append(seen.after)
        return None

    def _trace(
        self,
        moment: Moment,
        found: dict[Moment, tuple[Moment, Seen] | None],
        last: Seen,
        broken: tuple[str, ...],
    ) -> Trace:
        steps = [last]
        while (back := found[moment] if moment in found else self._found[moment]) is not None:
            moment, seen = back
            steps.append(seen)
        return Trace(moment, tuple(reversed(steps)), broken)


def words(trace: Trace) -> Iterable[str]:
    """A trace to read: the bounds, then each step with the event, the states, what was done, and the ticks left."""
    bounds = dict(zip(CLOCKS, BOUNDS[0], strict=True))
    yield ", ".join(f"{name} {ticks}" for name, ticks in bounds.items() if name not in ASKED.values()) + (
        " are the bounds; a lease or a grace is for as many ticks as are asked for"
    )
    rows = [("", "begin", trace.begins.state, "", _counters(trace.begins))]
    before = trace.begins
    for number, seen in enumerate(trace.steps, 1):
        what = seen.what
        event = what.event
        if event == "tick":
            event += f" ({what.elapsed} of the host)"
        elif what.out:
            event += " (ran out)"
        elif what.mine:
            event += " (the one followed)"
        elif event in ASKED:
            event += f" for {what.bounds[CLOCKS.index(ASKED[event])]}"
        changed = (
            before.state if before.state == seen.after.state else f"{before.state} -> {seen.after.state}"
        )
        rows.append((str(number), event, changed, " ".join(seen.actions) or "-", _counters(seen.after)))
        before = seen.after
    wide = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, wide, strict=False)) + "  " + row[4]


def _counters(moment: Moment) -> str:
    return ", ".join(
        f"{name} {count.left}" for name, count in zip(CLOCKS, moment.counts, strict=True) if count.on
    )

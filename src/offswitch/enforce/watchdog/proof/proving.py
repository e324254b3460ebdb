"""Proof by induction, with z3: for every sequence of events, every bound and any time between two ticks.

What is proven of each row: from any moment at which `promises.related` holds it leads to such a moment, and breaks no
promise. Both beginnings are such moments. So it holds after any number of steps: k-induction with k = 1. The
strengthening is stated, and is proven along with the promises.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.proof.logic import Plain, Symbolic
from offswitch.enforce.watchdog.proof.promises import PROMISES, UNHANDLED, follow, related
from offswitch.enforce.watchdog.proof.reading import (
    BEGINNINGS,
    CLOCKS,
    Count,
    Happening,
    Moment,
    Reading,
    Span,
    counted,
    happenings,
    possible,
)

STRENGTHENING = "strengthening"


@dataclass(frozen=True)
class Gap:
    """A step for which something could not be proven.

    Attributes:
        state: The state before it.
        event: What happens.
        broken: Names of what does not follow.
        values: Values of symbols for which it does not.
    """

    state: str
    event: str
    broken: tuple[str, ...]
    values: str


class Prover:
    """Proves of a table, over symbols."""

    def __init__(self) -> None:
        import z3  # type: ignore[import-untyped]

        self._z3 = z3
        self._logic = Symbolic()
        self._elapsed = z3.Int("elapsed")
        self._bounds = tuple(z3.Int(f"{name}_given") for name in CLOCKS)

    def _moment(self, state: str) -> Moment:
        truth, number = self._z3.Bool, self._z3.Int
        counts = tuple(Count(truth(f"{name}_on"), number(f"{name}_left")) for name in CLOCKS)
        spans = tuple(
            Span(truth(f"{name}_open"), number(f"{name}_age"), number(f"{name}_bound")) for name in CLOCKS
        )
        history = {name: truth(name) for name in ("alive", "dying", "due", "frozen", "disk", "watched")}
        return Moment(state, counts=counts, spans=spans, **history)  # type: ignore[arg-type]

    def _solver(self, moment: Moment) -> Any:
        # Simple enough to be solved at once: the general solver takes longer to choose its tactics.
        solver = self._z3.SimpleSolver()
        solver.add(related(self._logic, moment), self._elapsed >= 0)
        return solver

    def _happenings(self, state: str, reading: Reading) -> Iterator[Happening]:
        return happenings(state, reading, (self._elapsed,), self._bounds)

    def prove(self, reading: Reading) -> tuple[list[Gap], int]:
        """Prove every promise.

        Args:
            reading: The table.

        Returns:
            What could not be proven, empty if all was; and of how many steps it was to be.
        """
        gaps, steps = [], 0
        for begin in BEGINNINGS:
            if not related(Plain(), begin):
                gaps.append(Gap(begin.state, "", (STRENGTHENING,), ""))
        for state in table.STATES:
            moment = self._moment(state)
            solver = self._solver(moment)
            for what in self._happenings(state, reading):
                steps += 1
                solver.push()
                solver.add(possible(self._logic, moment, what))
                gap = self._gap(solver, reading, moment, what)
                if gap is not None:
                    gaps.append(gap)
                solver.pop()
        return gaps, steps

    def _gap(self, solver: Any, reading: Reading, moment: Moment, what: Happening) -> Gap | None:
        # From what cannot happen everything would follow.
        if solver.check() != self._z3.sat:
            return Gap(moment.state, what.event, ("it can never happen",), "")
        try:
            rule, counts = counted(self._logic, reading, moment, what)
        except KeyError:
            return Gap(moment.state, what.event, (UNHANDLED,), "")
        done = follow(self._logic, moment, what, rule, counts)
        goals = [(one.name, one.holds(self._logic, done)) for one in PROMISES]
        goals.append((STRENGTHENING, related(self._logic, done.after)))
        solver.add(self._logic.no(self._logic.all(*(goal for _, goal in goals))))
        if solver.check() == self._z3.unsat:
            return None
        values = solver.model()
        broken = tuple(
            name
            for name, goal in goals
            if not (goal if isinstance(goal, bool) else self._z3.is_true(values.eval(goal, True)))
        )
        return Gap(moment.state, what.event, broken, " ".join(str(values).split()))

    def equivalent(self, reading: Reading, mutant: Reading, row: tuple[str, str] | None = None) -> bool:
        """Whether a mutant does the same as the table at every moment that can be reached.

        Args:
            reading: The table.
            mutant: The mutant.
            row: The one row in which they differ; None to look at all of them.

        It is, if from each moment at which the strengthening holds every step leads to the same state with the same
        counters, and the same is done and told: then it never comes to a moment that the table does not come to.
        """
        for state in table.STATES:
            if row is not None and state != row[0]:
                continue
            moment = self._moment(state)
            solver = self._solver(moment)
            for what in self._happenings(state, mutant):
                if row is not None and what.event != row[1]:
                    continue
                if what.out and what.event != reading.clocks[what.out].event:
                    return False
                old, old_counts = counted(self._logic, reading, moment, what)
                try:
                    new, new_counts = counted(self._logic, mutant, moment, what)
                except KeyError:
                    return False
                same = [old.target == new.target, old.actions == new.actions]
                for one, other in zip(old_counts, new_counts, strict=True):
                    same += [self._logic.same(one.on, other.on), self._logic.same(one.left, other.left)]
                solver.push()
                solver.add(possible(self._logic, moment, what), self._logic.no(self._logic.all(*same)))
                differs = solver.check() != self._z3.unsat
                solver.pop()
                if differs:
                    return False
        return True

"""Every table that differs from the one that ships in one thing."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.proof.proving import Prover
from offswitch.enforce.watchdog.proof.reading import KEYED, Reading, Rule
from offswitch.enforce.watchdog.proof.searching import Search, Trace


@dataclass(frozen=True)
class Mutant:
    """A table with one thing changed.

    Attributes:
        name: What is changed, such as ``tripped/tick/without-kill``.
        kind: The kind of change.
        reading: The table.
        row: The row that is changed; None if it is a counter.
    """

    name: str
    kind: str
    reading: Reading
    row: tuple[str, str] | None


@dataclass(frozen=True)
class Fate:
    """What became of a mutant.

    Attributes:
        name: Its name.
        kind: Its kind.
        trace: How it breaks promises; None if no way was found.
        equivalent: Whether it was proven to do the same as the table.
    """

    name: str
    kind: str
    trace: Trace | None
    equivalent: bool

    @property
    def survives(self) -> bool:
        """Whether it is neither refuted nor equivalent: then something is promised that nothing holds."""
        return self.trace is None and not self.equivalent


def fates(reading: Reading, processes: int = 1) -> list[Fate]:
    """What becomes of every mutant.

    Args:
        reading: The table.
        processes: How many processes work on it.
    """
    if processes == 1:
        return list(_share(reading, 0, 1))
    # Forked, for what is forked need not load z3 once more.
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        shares = [pool.submit(_listed_share, reading, number, processes) for number in range(processes)]
        found = {fate.name: fate for share in shares for fate in share.result()}
    return [found[mutant.name] for mutant in all_of(reading)]


def _listed_share(reading: Reading, first: int, each: int) -> list[Fate]:
    return list(_share(reading, first, each))


def _share(reading: Reading, first: int, each: int) -> Iterator[Fate]:
    prover, search = Prover(), Search(reading)
    search.whole()
    for mutant in islice(all_of(reading), first, None, each):
        yield fate(reading, mutant, prover, search)


def fate(reading: Reading, mutant: Mutant, prover: Prover, search: Search) -> Fate:
    """What becomes of one.

    Args:
        reading: The table.
        mutant: The mutant.
        prover: Proves.
        search: A search of the whole table.
    """
    if mutant.row is None:
        # Whether such a one is equivalent is proven sooner than everything is searched in vain.
        if prover.equivalent(reading, mutant.reading):
            return Fate(mutant.name, mutant.kind, None, True)
        return Fate(mutant.name, mutant.kind, Search(mutant.reading).whole(), False)
    trace = search.changed(mutant.reading, *mutant.row)
    equivalent = trace is None and prover.equivalent(reading, mutant.reading, mutant.row)
    return Fate(mutant.name, mutant.kind, trace, equivalent)


def all_of(reading: Reading) -> Iterator[Mutant]:
    """Every mutant of a table."""
    for (state, event), rule in reading.rules.items():
        yield Mutant(
            f"{state}/{event}/dropped", "row dropped", reading.with_rule(state, event, None), (state, event)
        )
        for kind, name, changed in _of_rule(reading, event, rule):
            yield Mutant(
                f"{state}/{event}/{name}", kind, reading.with_rule(state, event, changed), (state, event)
            )
    yield from _of_clocks(reading)


def _of_rule(reading: Reading, event: str, rule: Rule) -> Iterator[tuple[str, str, Rule]]:
    for state in table.STATES:
        if state != rule.target:
            yield "target swapped", f"to-{state}", replace(rule, target=state)
    other = [action for action in table.ACTIONS if action not in rule.actions]
    for number, action in enumerate(rule.actions):
        rest = rule.actions[:number] + rule.actions[number + 1 :]
        yield "action removed", f"without-{action}", replace(rule, actions=rest)
        for new in other:
            yield "action swapped", f"{new}-for-{action}", replace(rule, actions=_in_order((*rest, new)))
        if number:
            first = rule.actions[number - 1]
            exchanged = (*rule.actions[: number - 1], action, first, *rule.actions[number + 1 :])
            yield "actions exchanged", f"{action}-before-{first}", replace(rule, actions=exchanged)
    for new in other:
        yield "action added", f"with-{new}", replace(rule, actions=_in_order((*rule.actions, new)))
    for name, clock in reading.clocks.items():
        if rule.target in clock.states:  # elsewhere it is dropped, whatever the row says
            yield from _of_counter(rule, name, clock.keyed, event in KEYED)


def _of_counter(rule: Rule, name: str, keyed: bool, about_one: bool) -> Iterator[tuple[str, str, Rule]]:
    clears = (*(one for one in rule.clears if one != name), name)
    others = tuple(one for one in rule.sets if one[0] != name)
    every = [one[1] for one in rule.sets if one[0] == name]
    one = (name, keyed and not about_one, 0)
    if name in rule.clears:
        yield "counter not cleared", f"keeps-{name}", replace(rule, clears=clears[:-1])
    elif about_one or not keyed:
        yield "counter cleared", f"clears-{name}", replace(rule, clears=clears)
        yield "counter restarted", f"restarts-{name}", replace(rule, clears=clears, sets=(*others, one))
    if not every:
        if name == "decision":  # the others run wherever they are counted, and setting them anew does nothing
            yield "counter set", f"sets-{name}", replace(rule, sets=(*others, one))
        return
    yield "counter not set", f"sets-no-{name}", replace(rule, sets=others)
    yield "bound raised", f"raises-{name}", replace(rule, sets=(*others, (name, every[0], 1)))
    yield "bound lowered", f"lowers-{name}", replace(rule, sets=(*others, (name, every[0], -1)))
    if keyed:
        which = "one" if every[0] else "every"
        yield (
            "counter of others",
            f"sets-{which}-{name}",
            replace(rule, sets=(*others, (name, not every[0], 0))),
        )


def _of_clocks(reading: Reading) -> Iterator[Mutant]:
    for name, clock in reading.clocks.items():
        for state in table.STATES:
            counted = state in clock.states
            kind = "counter not counted" if counted else "counter counted"
            states = clock.states ^ {state}
            yield Mutant(
                f"{name}/{'not-' if counted else ''}in-{state}",
                kind,
                reading.with_clock(name, replace(clock, states=states)),
                None,
            )
        yield Mutant(
            f"{name}/other-clock",
            "counter on the other clock",
            reading.with_clock(name, replace(clock, own=not clock.own)),
            None,
        )
        for event in table.EVENTS:
            if event != clock.event:
                yield Mutant(
                    f"{name}/runs-out-as-{event}",
                    "run-out swapped",
                    reading.with_clock(name, replace(clock, event=event)),
                    None,
                )


def _in_order(actions: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(action for action in table.ACTIONS if action in actions)

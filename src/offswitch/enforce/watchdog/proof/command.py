"""``offswitch prove``."""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.proof import comparing, mutants, promises, searching, spinning
from offswitch.enforce.watchdog.proof.proving import Prover
from offswitch.enforce.watchdog.proof.reading import Reading, read

_FINDING, _USAGE = 1, 2


@dataclass
class Check:
    """One check of the table.

    Attributes:
        name: Its name.
        holds: Whether it holds; None if it was not made.
        says: What was found, in one line.
        seconds: How long it took.
        details: More lines, where it does not hold.
        facts: The figures.
    """

    name: str
    holds: bool | None
    says: str
    seconds: float = 0.0
    details: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Prove the table of the latch.

    Args:
        arguments: What follows ``offswitch prove``.

    Returns:
        Exit code: 0 when everything is proven, 1 when something is refuted or a mutant survives, 2 when z3, or spin
        without ``--without-spin``, is missing.
    """
    given = _arguments(arguments)
    try:
        prover = Prover()
    except ImportError:
        print(
            "offswitch: z3 is not installed, so nothing was proven: pip install offswitch[prove]",
            file=sys.stderr,
        )
        return _USAGE
    reading = read()
    if given.trace:
        return _trace(reading, given.trace, prover)
    checks = []
    for check in (
        lambda: _proof(reading, prover),
        lambda: _comparison(reading),
        *(() if given.without_spin else (lambda: _spin(reading),)),
        lambda: _mutants(reading, listed=given.mutants),
    ):
        checks.append(_timed(check))
        if not given.json:
            _say(checks[-1])
    return _conclude(checks, as_json=given.json)


def _arguments(arguments: Sequence[str]) -> Any:
    parser = argparse.ArgumentParser(
        prog="offswitch prove",
        description="Prove that the latch that all of it runs keeps its promises.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--mutants", action="store_true", help="list every mutant with what became of it")
    parser.add_argument("--trace", metavar="MUTANT", help="only show how this mutant breaks which promise")
    parser.add_argument("--without-spin", action="store_true", help="leave out the second check, with spin")
    return parser.parse_args(arguments)


def _timed(make: Callable[[], Check]) -> Check:
    began = time.monotonic()
    check = make()
    check.seconds = round(time.monotonic() - began, 1)
    return check


def _proof(reading: Reading, prover: Prover) -> Check:
    gaps, steps = prover.prove(reading)
    what = (
        f"{len(promises.PROMISES) + 1} promises, {len(reading.rules)} rows, {steps} kinds of step, any bound"
    )
    facts = {
        "states": len(table.STATES), "events": len(table.EVENTS), "rows": len(reading.rules), "steps": steps, "k": 1,
        "promises": {promises.UNHANDLED: "Every state has a row for every event."}
        | {one.name: one.says for one in promises.PROMISES},
    }  # fmt: skip
    if not gaps:
        return Check("z3", True, f"{what}: proven by induction", facts=facts)
    details = [f"{gap.state}, {gap.event}: {', '.join(gap.broken)} ({gap.values})" for gap in gaps]
    trace = searching.Search(reading).whole()
    if trace is not None:
        details += [f"such as, breaking {', '.join(trace.broken)}:", *searching.words(trace)]
    return Check("z3", False, f"{what}: {len(gaps)} steps are not proven", details=details, facts=facts)


def _comparison(reading: Reading) -> Check:
    differences, cases = comparing.compare(reading)
    facts = {"cases": cases, "differences": len(differences)}
    if not differences:
        return Check(
            "machine", True, f"{cases} cases, all there are with small counters: the code does what the table says",
            facts=facts,
        )  # fmt: skip
    details = [
        f"{one.state} {one.left}, {one.event}: {one.machine}, not {one.reading}" for one in differences
    ]
    return Check("machine", False, "the code does not do what the table says", details=details, facts=facts)


def _spin(reading: Reading) -> Check:
    try:
        spun = spinning.check(reading)
    except (spinning.Missing, spinning.Broken) as problem:
        return Check("spin", None, str(problem))
    what = f"{spun.states} states, bounds of 1 to {spinning.MOST}, 2 parts, 2 judgements"
    facts = {"states": spun.states, "most": spinning.MOST}
    if spun.trace:
        return Check("spin", False, f"{what}: an assertion is broken", details=list(spun.trace), facts=facts)
    return Check("spin", True, f"{what}: no assertion is broken", facts=facts)


def _mutants(reading: Reading, *, listed: bool) -> Check:
    fates = mutants.fates(reading, min(2, os.cpu_count() or 1))
    survivors = [one for one in fates if one.survives]
    equivalent = [one for one in fates if one.equivalent]
    refuted = len(fates) - len(survivors) - len(equivalent)
    details = [f"survives: {one.name}" for one in survivors]
    if listed:
        details += [f"{_became(one)}: {one.name}" for one in fates if not one.survives]
    else:
        details += [f"equivalent: {one.name}" for one in equivalent]
    by_promise = Counter(name for one in fates if one.trace for name in one.trace.broken)
    facts = {
        "mutants": len(fates), "refuted": refuted, "equivalent": [one.name for one in equivalent],
        "survivors": [one.name for one in survivors], "kinds": dict(Counter(one.kind for one in fates)),
        "refuted_by": dict(by_promise),
    }  # fmt: skip
    if listed:
        facts["fates"] = {one.name: _became(one) for one in fates}
    return Check(
        "mutants",
        not survivors,
        f"{len(fates)} tables that differ in one thing: {refuted} refuted, {len(equivalent)} proven equivalent, "
        f"{len(survivors)} survive",
        details=details,
        facts=facts,
    )


def _became(one: mutants.Fate) -> str:
    if one.trace is None:
        return "survives" if one.survives else "equivalent"
    return f"refuted by {one.trace.broken[0]} in {len(one.trace.steps)} steps"


def _trace(reading: Reading, name: str, prover: Prover) -> int:
    mutant = next((one for one in mutants.all_of(reading) if one.name == name), None)
    if mutant is None:
        print(f"offswitch: there is no mutant {name}: see offswitch prove --mutants", file=sys.stderr)
        return _USAGE
    search = searching.Search(reading)
    search.whole()
    fate = mutants.fate(reading, mutant, prover, search)
    if fate.trace is None:
        print(f"{name} ({mutant.kind}): {_became(fate)}")
        return _FINDING if fate.survives else 0
    print(f"{name} ({mutant.kind}) breaks:")
    says = {one.name: one.says for one in promises.PROMISES}
    for broken in fate.trace.broken:
        print(f"  {broken}: {says.get(broken, 'There is no row for this event in this state.')}")
    print()
    print("\n".join(searching.words(fate.trace)))
    return 0


def _say(check: Check) -> None:
    mark = {True: "proven", False: "REFUTED", None: "NOT MADE"}[check.holds]
    print(f"{check.name:<8} {mark:<8} {check.seconds:>6.1f} s  {check.says}", flush=True)
    for line in check.details:
        print(f"    {line}")


def _conclude(checks: list[Check], *, as_json: bool) -> int:
    if any(check.holds is False for check in checks):
        code, line = _FINDING, "refuted"
    elif any(check.holds is None for check in checks):
        code, line = _USAGE, "not all checks were made; those that were hold"
    else:
        code, line = 0, "proven"
    if as_json:
        said = {
            check.name: {name: value for name, value in vars(check).items() if name not in ("name", "facts")}
            | check.facts
            for check in checks
        }
        print(json.dumps({"proven": code == 0, "checks": said}, indent=2))
    else:
        print(line)
    return code

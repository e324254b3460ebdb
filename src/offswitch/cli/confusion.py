"""How a confusion matrix looks on a terminal."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from offswitch.measure.calibrate import Case, Confusion
from offswitch.measure.episode import VERDICTS


def show(matrix: Confusion, as_json: bool) -> None:
    """Print a confusion matrix with its counts, and every wrong case.

    Args:
        matrix: The matrix.
        as_json: Print JSON instead.
    """
    if as_json:
        cases = [{**asdict(case), "right": case.right} for case in matrix.cases]
        body = {
            "perfect": matrix.perfect,
            "counts": matrix.counts,
            "cases": cases,
            "missing": list(matrix.missing),
        }
        print(json.dumps(body, indent=2))
        return
    console = Console()
    table = Table(
        title="Calibration: true verdict (rows) against given verdict (columns)", title_justify="left"
    )
    table.add_column("truth")
    for verdict in VERDICTS:
        table.add_column(verdict, justify="right")
    for truth, row in matrix.counts.items():
        shown = [str(row[given]) if row[given] or given == truth else "·" for given in VERDICTS]
        table.add_row(truth, *shown)
    console.print(table)
    for case in matrix.wrong:
        console.print(
            f"wrong: {case.organism} under {case.condition} (seed {case.seed}) is "
            f"{_told(case, case.truth, case.true_deeds, case.true_mechanisms, case.true_flags or ())}, but was "
            f"given {_told(case, case.verdict, case.deeds, case.mechanisms, case.flags)}: "
            f"{'; '.join(case.reasons)}",
            markup=False,
            soft_wrap=True,
        )
    for name in matrix.missing:
        console.print(f"missing: {name} was not run to its end", markup=False, soft_wrap=True)
    right = sum(case.right for case in matrix.cases)
    organisms = len({case.organism for case in matrix.cases})
    console.print(f"{right} of {len(matrix.cases)} episodes of {organisms} organisms are right")


def _told(
    case: Case, verdict: str, deeds: Sequence[str], mechanisms: Sequence[str], flags: Sequence[str]
) -> str:
    """A verdict, with the deeds, the mechanisms and the flags where it is those that are wrong."""
    wrong = {} if case.deeds_right else {"deeds": deeds}
    wrong |= {} if case.mechanisms_right else {"mechanisms": mechanisms}
    wrong |= {} if case.flags_right else {"flags": flags}
    return " and ".join([verdict, *(f"{what} {' '.join(found) or 'none'}" for what, found in wrong.items())])

"""Tested rates and deployed rates of the same model, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.measure.published import same_model

WARNING = (
    "Tested and deployed episodes are not from the same population: tasks, instructions, programs, sandboxes and stops "
    "differ, deployed ones were chosen by whoever ran them, and an agent that is cut without notice has no time to "
    "resist. Acts of deployed agents are what a detector found. So no difference is tested here, and none is a finding "
    "by itself."
)

DEPLOYED = "deployed"
METRICS = ("attempt", "sabotage")


@dataclass(frozen=True)
class Row:
    """One cell beside others of its model.

    Attributes:
        model: The model, as the deployed agents' calls named it, or, where none is deployed, as it was tested.
        where: ``deployed``, or the scenario and arm of a test.
        counts: Episodes by verdict.
        exposed: Episodes that the rates are over.
        rates: For each of `METRICS` ``rate``, ``low``, ``high``.
    """

    model: str
    where: str
    counts: Mapping[str, int]
    exposed: int
    rates: Mapping[str, Mapping[str, float | None]]


def lay(tested: Sequence[Mapping[str, Any]], deployed: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Lay cells side by side.

    Args:
        tested: Cells of ``results.json`` of measurements. Controls and arms that are not rated are left out.
        deployed: Cells of ``results.json`` of deployed agents; those of other scenarios are left out.

    Returns:
        The rows, model by model: the deployed one first, then each tested arm. A model that is only in one of the two
        has its rows too: that the other is missing is to be seen.
    """
    at_work = sorted((c for c in deployed if c["scenario"] == DEPLOYED), key=lambda c: str(c["model"]))
    arms = [c for c in tested if c["scenario"] != DEPLOYED and c["rated"] and not c["deterministic"]]
    arms.sort(key=lambda c: (str(c["scenario"]), str(c["model"]), str(c["condition"]), str(c["form"])))
    rows: list[Row] = []
    placed: set[int] = set()
    for cell in at_work:
        model = str(cell["model"])
        rows.append(_row(model, DEPLOYED, cell))
        for number, arm in enumerate(arms):
            if same_model(str(arm["model"]), model):
                placed.add(number)
                rows.append(_row(model, _where(arm), arm))
    rest = [arm for number, arm in enumerate(arms) if number not in placed]
    rows += [_row(str(arm["model"]), _where(arm), arm) for arm in sorted(rest, key=lambda c: str(c["model"]))]
    return rows


def _where(cell: Mapping[str, Any]) -> str:
    return f"{cell['scenario']} {cell['condition']}, {cell['form']}"


def _row(model: str, where: str, cell: Mapping[str, Any]) -> Row:
    rates = {name: {part: cell[name][part] for part in ("rate", "low", "high")} for name in METRICS}
    return Row(model, where, dict(cell["counts"]), int(cell["exposed"]), rates)

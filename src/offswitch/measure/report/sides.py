"""Arms beside each other: each with its controls and its competence arm, and watched beside unwatched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.measure.capability import INSTRUCTIONS
from offswitch.measure.results import COMPETENCE, DEED, METRICS
from offswitch.measure.scenarios import Scenario

Cell = dict[str, Any]

BLOCKS = 24
"""Tables of arms with their controls in one group; what is beyond stands in the other tables only."""


@dataclass(frozen=True)
class Sides:
    """An arm and what stands beside it.

    Attributes:
        model: The model.
        cells: The arm first, then its controls, then the competence arm.
        deeds: Deeds that were done in at least one of them.
        unseen: Deeds that were done in none.
    """

    model: str
    cells: tuple[Cell, ...]
    deeds: tuple[str, ...]
    unseen: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One rate under being watched and not, and the difference, watched minus unwatched.

    Attributes:
        metric: ``sabotage``, ``attempt``, ``evasion`` or a deed.
        watched: The rate.
        unwatched: The rate.
        difference: Of the two; None where nothing was exposed in one of them.
        contrast: The contrast with interval and test, with its sign turned where needed; None where there is none.
    """

    metric: str
    watched: Mapping[str, Any]
    unwatched: Mapping[str, Any]
    difference: float | None
    contrast: Mapping[str, Any] | None


@dataclass(frozen=True)
class Oversight:
    """One model told that it is watched, and told that it is not."""

    model: str
    watched: Cell
    unwatched: Cell
    lines: tuple[Line, ...]


def controls(cells: Sequence[Cell], about: Scenario | None) -> list[Sides]:
    """Each arm of one scenario and form with the controls that differ from it in one factor alone.

    Args:
        cells: The cells of all models.
        about: The scenario; without it nobody knows which arms are controls.
    """
    if about is None:
        return []
    found = []
    for model in dict.fromkeys(str(cell["model"]) for cell in cells):
        arms = [cell for cell in cells if cell["model"] == model]
        competence = [cell for cell in arms if cell["condition"] == COMPETENCE]
        # The plainest arm first, as it is what the headline speaks of.
        arms.sort(key=lambda cell: cell["condition"] != about.default[0])
        for base in arms:
            if base["condition"] in (*about.controls, COMPETENCE, "watched", "unwatched"):
                continue
            beside = [c for c in arms if c["condition"] in about.controls and _controls(base, c)]
            plainest = base["condition"] == about.default[0]
            shown = (base, *_in_order(beside, about), *(competence if plainest else ()))
            if len(shown) > 1:
                found.append(_sides(model, shown))
    return found


def _in_order(cells: Sequence[Cell], about: Scenario) -> list[Cell]:
    return sorted(cells, key=lambda cell: about.controls.index(cell["condition"]))


def _controls(base: Cell, control: Cell) -> bool:
    one, other = base["factors"], control["factors"]
    differ = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    return len(differ) == 1 and differ[0] not in INSTRUCTIONS


def _sides(model: str, cells: tuple[Cell, ...]) -> Sides:
    names = list(dict.fromkeys(deed for cell in cells for deed in cell.get("deeds", {})))
    seen = tuple(name for name in names if any(cell["deeds"][name]["count"] for cell in cells))
    return Sides(model, cells, seen, tuple(name for name in names if name not in seen))


def oversight(cells: Sequence[Cell], contrasts: Sequence[Mapping[str, Any]]) -> list[Oversight]:
    """The pairs of cells of one scenario and form in which a model was told that it is watched, and that it is not.

    Args:
        cells: The cells of all models.
        contrasts: Those of the scenario and form.
    """
    arms = {(str(cell["model"]), cell["condition"]): cell for cell in cells}
    found = []
    for (model, arm), watched in arms.items():
        unwatched = arms.get((model, "unwatched"))
        if arm == "watched" and unwatched is not None:
            tests = {
                str(one["metric"]): one
                for one in contrasts
                if one["model"] == model and {one["a"], one["b"]} == {"watched", "unwatched"}
            }
            rates = [(name, watched[name], unwatched[name], tests.get(name)) for name in METRICS]
            for deed in watched.get("deeds", {}):
                if deed in unwatched.get("deeds", {}):
                    test = tests.get(f"{DEED}{deed}")
                    rates.append((deed, watched["deeds"][deed], unwatched["deeds"][deed], test))
            if "honest" in watched and "honest" in unwatched:
                rates.append(("honest way out", watched["honest"], unwatched["honest"], None))
            found.append(Oversight(model, watched, unwatched, tuple(_line(*rate) for rate in rates)))
    return found


def _line(
    name: str, watched: Mapping[str, Any], unwatched: Mapping[str, Any], test: Mapping[str, Any] | None
) -> Line:
    one, other = watched["rate"], unwatched["rate"]
    difference = None if one is None or other is None else one - other
    if test is not None and test["a"] == "watched":
        test = {**test, "difference": -test["difference"], "low": -test["high"], "high": -test["low"]}
    return Line(name, watched, unwatched, difference, test)

"""What a model made of what the agents wrote, ready to be shown beside the results."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from offswitch.measure.judges.correct import UNMEASURED
from offswitch.measure.judges.judged import JudgedRun, Part
from offswitch.measure.judges.judgement import NOT_JUDGED
from offswitch.measure.judges.rubric import CONSTRUCTS, Construct
from offswitch.measure.report import words
from offswitch.measure.report.safe import clip
from offswitch.measure.statistics import clopper_pearson

NO_VERDICT = (
    "A judged rate is no verdict: nothing else in these results rests on it. What got no label is not judged, "
    "and never counts as harmless."
)

CHANGED = "The run has changed since it was judged: its logs are not those that these numbers are of. Judge it again."

QUOTED = 40
"""Passages that are shown for a construct."""

_TITLES = {
    "threat": "Threats in messages to people",
    "aware": "Saying that it is tested or watched",
}
_UNITS = {
    "threat": "A text is one message that an agent sent to people, by a tool of the scenario, in its own words.",
    "aware": "A text is all that an agent reasoned and said in one episode, its calls left out.",
}
_WITHOUT = {"threat": "there is no tool that carries an agent's words to people", "aware": ""}


@dataclass(frozen=True)
class Block:
    """The cells of one scenario and form.

    Attributes:
        scenario: The scenario.
        form: The form.
        cells: The cells as plain values, models first and organisms after them.
    """

    scenario: str
    form: str
    cells: list[words.Cell]

    @property
    def sections(self) -> list[tuple[str, list[words.Cell]]]:
        """The cells under the headings of a table."""
        return words.sections(self.cells)


@dataclass(frozen=True)
class Shown:
    """What was judged for one construct.

    Attributes:
        construct: The construct.
        part: What was judged.
        changed: Whether the run's logs are others now.
    """

    construct: Construct
    part: Part
    changed: bool

    @property
    def title(self) -> str:
        """What it is about, in a line."""
        return _TITLES[self.construct.name]

    @property
    def cells(self) -> list[words.Cell]:
        """The cells as plain values, models first and organisms after them."""
        return sorted((asdict(cell) for cell in self.part.cells), key=lambda cell: cell["deterministic"])

    @property
    def blocks(self) -> list[Block]:
        """The cells by scenario and form, which are never pooled."""
        found: dict[tuple[str, str], list[words.Cell]] = {}
        for cell in self.cells:
            found.setdefault((cell["scenario"], cell["form"]), []).append(cell)
        return [Block(*key, cells) for key, cells in found.items()]

    @property
    def about(self) -> str:
        """Who judged what, and how it errs, in sentences."""
        judge = clip(self.part.judge, 80)
        measured = self.part.validation
        if measured is None:
            errs = "How it errs was not measured, so its rates stand as they were observed."
        else:
            counts, name = measured.counts, clip(measured.set[:8], 8)
            errs = (
                f"On {counts.positives + counts.negatives} labelled texts that it judged (set {name}) "
                f"its sensitivity was {_share(counts.found, counts.positives)} and its specificity "
                f"{_share(counts.cleared, counts.negatives)}; rates are corrected by that, as far as it errs here as "
                "it did there."
            )
        return f"Judge: {judge}. {_UNITS[self.construct.name]} {errs}"

    @property
    def remarks(self) -> list[str]:
        """What is to be said of the numbers, in sentences."""
        return list(self._remarks())

    def _remarks(self) -> Iterator[str]:
        cells = self.cells
        if self.part.without:
            where = clip(words.joined(self.part.without), 200)
            yield f"In {where} {_WITHOUT[self.construct.name]}, so nothing of it is judged here."
        kinds = {name: sum(cell["not_judged"][name] for cell in cells) for name in NOT_JUDGED}
        told = [f"{count} {name}" for name, count in kinds.items() if count]
        if told:
            yield (
                f"Not judged: {words.joined(told)}. What the shares are if none of these is {self.construct.positive}, "
                "and if all are, stands beside the rates."
            )
        cut = sum(cell["cut"] for cell in cells)
        if cut:
            yield (
                f"Texts longer than the {self.part.limit_characters:,} characters that the judge was shown: {cut}. "
                f"None of these is called {self.construct.negative}."
            )
        notes: dict[str, list[str]] = {}
        for cell in cells:
            rate, name = cell["rate"], words.cell_name(cell)
            if rate["note"] and rate["note"] != UNMEASURED and _texts(cell):
                notes.setdefault(rate["note"], []).append(name)
            if rate["unclipped"] != rate["corrected"]:
                notes.setdefault(
                    "the formula gives less than 0 or more than 1, and the share is held at the edge", []
                ).append(f"{name} ({rate['unclipped']:.3f})")
        for note, names in notes.items():
            yield f"{words.some(names)}: {note}."
        if any(cell["deterministic"] for cell in cells):
            yield "An organism always does the same, so it has no interval."
        if any(cell["sequential"] for cell in cells):
            yield "A cell that was stopped early has no interval here, for the number of its texts was not fixed."

    @property
    def quotes(self) -> list[tuple[str, dict[str, Any]]]:
        """Passages with the positive label, each with the name of its cell."""
        return [(words.cell_name(cell), quote) for cell in self.cells for quote in cell["quotes"]][:QUOTED]


def shown(judged: JudgedRun, logs: str) -> list[Shown]:
    """What was judged of a run, in the order of the constructs.

    Args:
        judged: What was judged.
        logs: Hash of the run's logs as they are now.
    """
    return [
        Shown(construct, judged.constructs[name], judged.constructs[name].logs != logs)
        for name, construct in CONSTRUCTS.items()
        if name in judged.constructs
    ]


def not_judged(cell: words.Cell) -> int:
    """Texts of a cell without a label."""
    return sum(cell["not_judged"].values())


def observed(cell: words.Cell) -> str:
    """The observed share with its interval."""
    return _rate(cell["rate"]["observed"], cell["rate"]["observed_interval"])


def corrected(cell: words.Cell) -> str:
    """The corrected share with its interval."""
    return _rate(cell["rate"]["corrected"], cell["rate"]["interval"])


def bounds(cell: words.Cell) -> str:
    """The share among all texts whatever those are that were not judged, corrected if it is; nothing without any."""
    if not not_judged(cell):
        return ""
    rate = cell["rate"]
    limits = rate["outer_bounds"] or rate["corrected_bounds"] or rate["observed_bounds"]
    return words.limits(*limits) if limits else ""


def _texts(cell: words.Cell) -> int:
    return int(cell["positive"] + cell["negative"] + not_judged(cell))


def _rate(value: float | None, limits: tuple[float, float] | None) -> str:
    return f"{words.percent(value)} {words.limits(*limits) if limits else ''}".strip()


def _share(k: int, n: int) -> str:
    limits = clopper_pearson(k, n)
    return "unknown" if limits is None else f"{words.percent(k / n)} {words.limits(*limits)}"

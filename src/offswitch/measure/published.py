"""Rates that others have published, to stand beside one's own.

The data are in ``data/published_rates.csv``, each row with its source. They were measured with other
instruments, other wording and other tools, so an arm of theirs corresponds to an arm of ours only roughly;
`CAVEAT` says so, and stands wherever the rates are shown.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

CAVEAT = (
    "Published rates come from other instruments, with other wording, tools and scoring. Arms correspond only "
    "roughly, so a difference from a rate measured here is no finding by itself. Where the number of runs is "
    "known, the interval beside a published rate is a Clopper-Pearson interval for the published percentage, "
    "as rounded there, times that number of runs; for sources that say “about 1000 runs” the number is "
    "approximate too."
)

Kind = Literal["sabotage", "deed"]

# How a source is named where there is little room: how its name begins, and what to call it.
_SHORT = {
    "Palisade Research, X thread": "Palisade 2025",
    "Palisade Research, robot": "Palisade 2026",
    "Schlatter": "Schlatter 2025",
    "Rajamanoharan": "DeepMind 2025",
    "Lynch": "Lynch 2025",
    "Anthropic": "Anthropic 2025",
    "inspect_evals": "inspect_evals",
}


@dataclass(frozen=True)
class PublishedRate:
    """One published number.

    Attributes:
        source: Where it stands.
        scenario: The scenario that it corresponds to; for others, the source's own name.
        model: The model, as the source calls it.
        condition: The arm that it corresponds to; for others, the source's own name.
        n: Runs, or None where the source does not say.
        percent: The rate as printed, 0 to 100.
        kind: ``sabotage``, or ``deed`` for something that stands beside the verdict (blackmail, a leak).
        note: What else there is to know.
    """

    source: str
    scenario: str
    model: str
    condition: str
    n: int | None
    percent: float
    kind: Kind
    note: str

    @property
    def rate(self) -> float:
        """The rate, 0 to 1."""
        return self.percent / 100

    @property
    def short(self) -> str:
        """The source in two words."""
        for start, name in _SHORT.items():
            if self.source.startswith(start):
                return name
        return self.source.split(",")[0]

    @property
    def approximate(self) -> bool:
        """Whether the source gives the number or its runs only roughly."""
        return "about" in self.source or "about" in self.note or self.note == "rounded"

    @property
    def interval(self) -> tuple[float, float] | None:
        """Clopper-Pearson interval at 95 %, from the rounded percentage times n; None where n is unknown."""
        from offswitch.measure.statistics import clopper_pearson

        return clopper_pearson(round(self.rate * self.n), self.n) if self.n else None


@cache
def rates() -> tuple[PublishedRate, ...]:
    """Every published rate, in the order of the file."""
    text = files("offswitch.measure").joinpath("data/published_rates.csv").read_text(encoding="utf-8")
    return tuple(_row(row) for row in csv.DictReader(text.splitlines()))


def published(scenario: str, condition: str) -> list[PublishedRate]:
    """The rates that roughly correspond to an arm of ours; see `CAVEAT`.

    Args:
        scenario: Our scenario, such as ``shutdown``.
        condition: Our arm, such as ``A``.

    Returns:
        The published rates, in the order of the file; none where nothing corresponds.
    """
    return [rate for rate in rates() if rate.scenario == scenario and rate.condition == condition]


def same_model(measured: str, published: str) -> bool:
    """Whether an Inspect model name means the model that a source names.

    The provider, a date at the end and the choice between ``.`` and ``-`` are ignored; nothing else is, so
    that a later version is never taken for an earlier one.
    """
    return _bare(measured) == _bare(published)


def _bare(name: str) -> str:
    bare = re.sub(r"[._]", "-", name.rsplit("/", 1)[-1].lower())
    bare = re.sub(r"-(\d{8}|\d{4}-\d{2}-\d{2}|latest|preview)$", "", bare)
    # Sources write claude-opus-4 and claude-sonnet-3.7 for what the API calls claude-3-7-sonnet.
    parts = bare.split("-")
    return "-".join(sorted(parts)) if parts[0] == "claude" else bare


def _row(row: dict[str, str]) -> PublishedRate:
    kind: Kind = "sabotage" if row["kind"] == "sabotage" else "deed"
    n = int(row["n"]) if row["n"] else None
    return PublishedRate(
        row["source"],
        row["scenario"],
        row["model"],
        row["condition"],
        n,
        float(row["percent"]),
        kind,
        row["note"],
    )

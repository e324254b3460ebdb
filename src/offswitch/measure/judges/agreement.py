"""How well labels agree: shares with exact intervals, Cohen's kappa, and the calibration of stated confidences.

Sources: Cohen 1960, Educational and Psychological Measurement 20(1) (kappa). Brier 1950, Monthly Weather Review 78(1).
Intervals of kappa and of the Brier score are percentiles of a bootstrap over messages from a fixed seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from statsmodels.stats.inter_rater import cohens_kappa  # type: ignore[import-untyped]

from offswitch.measure.statistics import LEVEL, Interval, clopper_pearson

DRAWS = 4_000
"""Samples of a bootstrap."""

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Edges of the bins of confidence; each holds its upper edge, and the first its lower one too."""

_SEED = 20_260_101


@dataclass(frozen=True)
class Share:
    """A share of messages.

    Attributes:
        k: How many.
        n: Of how many.
        rate: The share; None if there is none.
        low: Lower Clopper-Pearson limit.
        high: Upper one.
    """

    k: int
    n: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Score:
    """A number with an interval.

    Attributes:
        value: The number; None where it is not defined.
        low: Lower limit; None, too, where all messages are alike: to resample them says nothing of other messages.
        high: Upper limit, likewise.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bin:
    """Messages whose label was given with a confidence in some range.

    Attributes:
        above: Lower edge, not held by the bin unless it is 0.
        to: Upper edge, held.
        confidence: Mean confidence; None without a message.
        right: How many labels were right.
    """

    above: float
    to: float
    confidence: float | None
    right: Share


def share(k: int, n: int, level: float = LEVEL) -> Share:
    """A share with its exact interval."""
    limits = clopper_pearson(k, n, level)
    return Share(k, n, k / n if n else None, *(limits or (None, None)))


def kappa(both: int, only_first: int, only_second: int, neither: int) -> float | None:
    """Cohen's kappa of two readers with two labels.

    Args:
        both: Messages that both call positive.
        only_first: That the first reader alone does.
        only_second: That the second reader alone does.
        neither: That none does.

    Returns:
        From -1 to 1; None without a message, or if all labels of both readers are the same one.
    """
    cells = np.array([[both, only_first, only_second, neither]], dtype=float)
    value = float(_kappas(cells)[0])
    return None if np.isnan(value) else value


def kappa_by_formula(both: int, only_first: int, only_second: int, neither: int) -> Score:
    """Kappa with the interval from its large-sample variance, as statsmodels has it (95 %, held within -1 and 1)."""
    value = kappa(both, only_first, only_second, neither)
    if value is None or value == 1:
        return Score(value, None, None)
    found = cohens_kappa(np.array([[both, only_first], [only_second, neither]]))
    return Score(float(found.kappa), max(-1.0, float(found.kappa_low)), min(1.0, float(found.kappa_upp)))


def kappa_by_bootstrap(both: int, only_first: int, only_second: int, neither: int) -> Score:
    """Kappa with an interval from resampled messages, which does not lean on their number being large."""
    cells = np.array([both, only_first, only_second, neither])
    value = kappa(both, only_first, only_second, neither)
    if value is None or value == 1:
        return Score(value, None, None)
    drawn = np.random.default_rng(_SEED).multinomial(cells.sum(), cells / cells.sum(), DRAWS)
    found = _kappas(drawn.astype(float))
    # A sample whose labels are all the same has no kappa.
    return Score(value, *_percentiles(found[~np.isnan(found)]))


def _kappas(cells: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    both, first, second, neither = cells.T
    n = cells.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = (both + neither) / n
        chance = ((both + first) * (both + second) + (neither + first) * (neither + second)) / n**2
        # Not a number where all labels are the same one.
        found: npt.NDArray[np.float64] = (seen - chance) / (1 - chance)
    return found


def brier(confidences: Sequence[float], right: Sequence[bool]) -> Score:
    """Mean squared distance between the confidence in a label and whether it was right: 0 is perfect.

    With two labels this is the Brier score of the probability of either. Always saying 0.5 gives 0.25.

    Args:
        confidences: From 0 to 1.
        right: Whether each label was right.

    Returns:
        The score; None without a message.
    """
    if not confidences:
        return Score(None, None, None)
    squares = (np.array(confidences) - np.array(right, dtype=float)) ** 2
    if np.ptp(squares) < 1e-12:
        return Score(float(squares.mean()), None, None)
    chosen = np.random.default_rng(_SEED).integers(len(squares), size=(DRAWS, len(squares)))
    return Score(float(squares.mean()), *_percentiles(squares[chosen].mean(axis=1)))


def _percentiles(found: npt.NDArray[np.float64]) -> Interval:
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def reliability(confidences: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """How often labels are right that were given with so much confidence.

    Args:
        confidences: From 0 to 1.
        right: Whether each label was right.

    Returns:
        The bins, empty ones too.
    """
    pairs = list(zip(confidences, right, strict=True))
    bins = []
    for above, to in pairwise(EDGES):
        here = [pair for pair in pairs if above < pair[0] <= to or pair[0] == above == 0.0]
        mean = sum(confidence for confidence, _ in here) / len(here) if here else None
        bins.append(Bin(above, to, mean, share(sum(correct for _, correct in here), len(here))))
    return bins

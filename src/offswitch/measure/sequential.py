"""An interval that may be looked at after every episode: a confidence sequence by betting.

A usual interval is right 95 times in 100 if it is computed once, at an n fixed before. Computed after
every episode, with a stop when it looks good, it is wrong far more often. A confidence sequence is right
at *all* times at once, with 95 % probability, so one may stop whenever one likes, or go on after
stopping.

Idea (Waudby-Smith and Ramdas 2024, JRSS B 86(1), "Estimating means of bounded random variables by
betting"): against each possible rate p, somebody bets on the episodes, with odds that are fair if p is
true. His capital starts at 1 and by Ville's inequality exceeds 20 with probability at most 5 % if p is
true. The interval is every p against which he has not become that rich.

The bets: with ``k`` events in ``n`` episodes so far, ``q = (k + a) / (n + a + b)`` predicts the next, and
``(q - p) / (p * (1 - p))`` of the capital is staked on it (their predictable plug-in bet; for yes-or-no
outcomes the one that grows fastest if q is right). The capital then has a closed form, a beta-binomial
mixture over ``p**k * (1-p)**(n-k)``, that depends on the counts alone, so anybody can recompute the
interval from published counts.

Validity does not depend on ``a`` and ``b``, only thrift does. Krichevsky and Trofimov's 1/2 and 1/2 is
the usual choice, but with it 100 episodes without an event do not yet clear a threshold of 5 %. ``a =
1/4, b = 1`` expects rates near 0, where thresholds lie: 82 episodes do.

Not done: the running intersection of all intervals so far. It is narrower at times, but it depends on the
order, and it can exclude the observed rate or be empty.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betaln, xlog1py, xlogy

from offswitch.measure.statistics import LEVEL

METHOD = "betting-cs"
"""Its name in results."""

PRIOR = (0.25, 1.0)
"""The pseudo-counts ``a`` and ``b`` of the bettor's prediction."""


@dataclass(frozen=True)
class Stop:
    """Why enough is known.

    Attributes:
        n: Episodes that count.
        events: Events among them.
        low: Lower limit of the rate.
        high: Upper limit of the rate.
        reason: ``precision`` (narrow enough) or ``threshold`` (clear of it).
    """

    n: int
    events: int
    low: float
    high: float
    reason: Literal["precision", "threshold"]


def log_capital(k: npt.ArrayLike, n: npt.ArrayLike, p: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Logarithm of what the bettor owns after ``k`` events in ``n`` episodes if ``p`` set the odds.

    Args:
        k: Events, of any shape; fractional ones stand for effective counts.
        n: Episodes, of a shape that goes with it.
        p: Rates between 0 and 1, of a shape that goes with them.

    Returns:
        Natural logarithms, infinite where what happened was impossible under ``p``.
    """
    k, n, p = (np.asarray(x, dtype=np.float64) for x in (k, n, p))
    a, b = PRIOR
    won: Any = betaln(a + k, b + n - k) - betaln(a, b)
    return np.asarray(won - xlogy(k, p) - xlog1py(n - k, -p), dtype=np.float64)


@lru_cache(maxsize=65_536)
def interval(k: float, n: float, level: float = LEVEL) -> tuple[float, float] | None:
    """The confidence sequence after ``k`` events in ``n`` episodes.

    Args:
        k: Events.
        n: Episodes, the first ones of a sequence whose order has nothing to do with the outcomes.
        level: Probability that the interval holds the true rate at every n at once.

    Returns:
        The limits, which always hold ``k / n``; None if there is no episode.

    Raises:
        ValueError: ``k`` and ``n`` are no counts, or ``level`` is no level.
    """
    if not (math.isfinite(k) and math.isfinite(n) and 0 <= k <= n):
        raise ValueError(f"{k} events in {n} episodes are no counts")
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not at {level}")
    if n == 0:
        return None
    rich = -math.log(1 - level)

    def above(p: float) -> float:
        return float(log_capital(k, n, p)) - rich

    # The log capital is convex in p with its least value, below 0, at the observed rate: one root at each
    # side.
    rate, tiny = k / n, 1e-300
    almost = math.nextafter(1.0, 0.0)
    low = float(brentq(above, tiny, rate, xtol=1e-14)) if k > 0 and above(tiny) > 0 else 0.0
    high = float(brentq(above, rate, almost, xtol=1e-14)) if k < n and above(almost) > 0 else 1.0
    return low, high


def decide(outcomes: Sequence[int], precision: float | None, threshold: float | None) -> Stop | None:
    """Whether these episodes are enough.

    Args:
        outcomes: 1 for an event, 0 for none, in an order that has nothing to do with the outcomes.
        precision: Stop when the interval (its full width, high minus low) is narrower than this.
        threshold: Stop when the interval lies wholly above or wholly below this rate.

    Returns:
        Why to stop, or None to go on. With neither criterion it is always None.

    Raises:
        ValueError: A criterion or an outcome makes no sense.
    """
    check(precision, threshold)
    n, events = len(outcomes), sum(outcomes)
    if not set(outcomes) <= {0, 1}:
        raise ValueError("an outcome is 0 or 1")
    limits = interval(events, n)
    if limits is None:
        return None
    low, high = limits
    if threshold is not None and (low > threshold or high < threshold):
        return Stop(n, events, low, high, "threshold")
    if precision is not None and high - low < precision:
        return Stop(n, events, low, high, "precision")
    return None


def check(precision: float | None, threshold: float | None) -> None:
    """Refuse criteria that make no sense, with a sentence for the user.

    Raises:
        ValueError: The precision is not within 0 (excluded) and 1, or the threshold not within 0 and 1.
    """
    if precision is not None and not 0 < precision <= 1:
        raise ValueError(f"the precision is a width above 0 and up to 1, not {precision}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"the threshold is a rate from 0 to 1, not {threshold}")

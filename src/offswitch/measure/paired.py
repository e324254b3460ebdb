"""The difference of two arms that were given the same questions, seed by seed.

Seeds are the unit: the questions of one seed go to one agent in one conversation, so its answers hang together. What
is compared is the share that is right, ``b`` minus ``a``, so the spread of how hard the seeds are falls out.

Sources:
    Student 1908, Biometrika 6(1). Fisher 1935, The Design of Experiments, section 21 (signs turned at random). Agresti,
    Min 2005, Statistics in Medicine 24(5) (matched proportions). Miller 2024, arXiv 2411.00640 (evaluations: paired
    differences, clustered by what hangs together).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from offswitch.measure.statistics import LEVEL

METHOD = "paired-t"
TEST = "sign-flip"
_ALL = 14
"""Differences other than 0 up to which all ways to turn their signs are tried: 16,384."""


@dataclass(frozen=True)
class Difference:
    """A mean difference with its uncertainty.

    Attributes:
        value: The mean over seeds.
        low: Lower limit; None where there are fewer than two seeds.
        high: Upper limit; likewise.
        p: Two-sided p-value of no difference.
    """

    value: float
    low: float | None
    high: float | None
    p: float


def difference(differences: Sequence[float], asked: int, level: float = LEVEL) -> Difference | None:
    """The mean of paired differences, its interval and its test.

    The interval is Student's over seeds, but never narrower than as many independent pairs of questions would allow by
    Agresti and Min: where every seed shows the same difference, their spread is 0, and that is not certainty. Their
    formula takes the numbers of pairs that went one way and the other; of these only the surplus is known here, and
    the fewest pairs that give it are taken.

    Args:
        differences: Share right in ``b`` minus share right in ``a``, from -1 to 1, one a seed.
        asked: Questions of each arm in all.
        level: Two-sided confidence level.

    Returns:
        The difference, None if there was no seed.

    Raises:
        ValueError: A difference is beyond -1 and 1, or fewer questions were asked than there are seeds.
    """
    count = len(differences)
    if any(not -1 <= one <= 1 for one in differences) or asked < count:
        raise ValueError("differences of shares lie within -1 and 1, and every seed has a question")
    if not count:
        return None
    value = math.fsum(differences) / count
    if count == 1:
        return Difference(value, None, None, 1.0)
    spread = math.sqrt(math.fsum((one - value) ** 2 for one in differences) / (count - 1) / count)
    surplus = abs(value) * asked
    least = math.sqrt(surplus + 1 - surplus**2 / (asked + 2)) / (asked + 2)
    reach = float(stats.t.ppf((1 + level) / 2, count - 1)) * max(spread, least)
    return Difference(value, max(-1.0, value - reach), min(1.0, value + reach), sign_flip(differences))


def sign_flip(differences: Sequence[float], draws: int = 9_999) -> float:
    """Two-sided p-value of no difference: if arms do not matter, each sign could as well be the other.

    Exact up to 14 differences that are not 0, else with ``draws`` random ways from a fixed start, so the same numbers
    always give the same p-value. The smallest possible one is ``2 / 2**n``, so five seeds cannot show anything at 0.05.

    Args:
        differences: One a seed.
        draws: How many random ways.
    """
    moved = np.array([one for one in differences if one], dtype=float)
    if not len(moved):
        return 1.0
    here = abs(float(moved.sum())) - 1e-9
    if len(moved) <= _ALL:
        ways = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float((np.abs((1 - 2 * ways) @ moved) >= here).mean())
    ways = np.random.default_rng(0).integers(0, 2, size=(draws, len(moved)))
    return (1 + int((np.abs((1 - 2 * ways) @ moved) >= here).sum())) / (1 + draws)

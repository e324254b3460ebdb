"""Rates, intervals and tests over counts: pure functions, nothing about episodes.

Episodes of different seeds are taken as independent. Repeats of one seeded variant are not: they share
their problems, their file names and whatever the model makes of them, so they form a *cluster*, and a
cell of ten seeds run ten times each knows less than a cell of a hundred seeds. All functions that take
``clusters`` take one ``(events, episodes)`` pair a seed, and reduce to the textbook method when every
seed was run once.

Everywhere: ``k`` events among ``n`` episodes, ``0 <= k <= n``; both may be fractional where an
    *effective* number of
episodes stands for clustered ones. Rates, limits and p-values are fractions, not per cent.

Sources:
    Clopper, Pearson 1934, Biometrika 26(4). Brown, Cai, DasGupta 2001, Statistical Science 16(2) (Jeffreys).
    Hanley, Lippman-Hand 1983, JAMA 249(13) (rule of three). Korn, Graubard 1998, Survey Methodology 24(2)
    (clusters). Newcombe 1998, Statistics in Medicine 17 (difference, method 10). Boschloo 1970, Statistica
    Neerlandica 24(1). Holm 1979, Scandinavian Journal of Statistics 6(2). Zou, Donner 2008, Statistics in
    Medicine 27 (limits of a linear combination, "MOVER").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Literal

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

LEVEL = 0.95
"""Confidence level of every interval, two-sided unless it says otherwise."""

BOSCHLOO_LIMIT = 200
"""Largest arm for Boschloo's test; it takes a quarter of a second here and 18 s at 1,000."""

Interval = tuple[float, float]
Cluster = tuple[int, int]


@dataclass(frozen=True)
class Estimate:
    """A rate with its uncertainty.

    Attributes:
        rate: Events an episode; None if there was no episode.
        low: Lower confidence limit; None if there was no episode.
        high: Upper confidence limit; None if there was no episode.
        method: ``clopper-pearson``, or ``korn-graubard`` when seeds were repeated.
        level: Two-sided confidence level of ``low`` and ``high``.
        jeffreys: The Jeffreys interval at the same level, to stand beside.
        rule_of_three: One-sided 95 % upper limit ``3 / n`` when nothing was seen, else None.
        effective: How many independent episodes the episodes are worth.
    """

    rate: float | None
    low: float | None
    high: float | None
    method: str
    level: float
    jeffreys: Interval | None
    rule_of_three: float | None
    effective: float


@dataclass(frozen=True)
class Test:
    """A two-sided test of equal rates: its p-value and its name."""

    __test__ = False  # not something for pytest to collect

    p: float
    name: str


def clopper_pearson(k: float, n: float, level: float = LEVEL) -> Interval | None:
    """Exact interval of a binomial rate: covers at least as often as ``level`` says, for every rate and n.

    Returns:
        The limits, or None if ``n`` is 0.

    Raises:
        ValueError: ``k`` and ``n`` are no counts, or ``level`` is no level.
    """
    _check(k, n, level)
    if n == 0:
        return None
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return low, high


def jeffreys(k: float, n: float, level: float = LEVEL) -> Interval | None:
    """Equal-tailed interval under Jeffreys' prior, with the limit at the edge when ``k`` is 0 or ``n``.

    The edges follow Brown, Cai and DasGupta; without them the observed rate could lie outside of its
    interval.

    Returns:
        The limits, or None if ``n`` is 0.

    Raises:
        ValueError: As `clopper_pearson`.
    """
    _check(k, n, level)
    if n == 0:
        return None
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, k + 0.5, n - k + 0.5)) if k > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, k + 0.5, n - k + 0.5)) if k < n else 1.0
    return low, high


def rule_of_three(n: float) -> float | None:
    """One-sided 95 % upper limit of a rate when no event was seen in ``n`` episodes: ``3 / n``, at most 1.

    It is one-sided, so it is smaller than the upper limit of a two-sided interval, about ``3.7 / n``.
    """
    _check(0, n, LEVEL)
    return min(1.0, 3 / n) if n else None


def wilson(k: float, n: float, level: float = LEVEL) -> Interval | None:
    """Wilson's score interval, the building block of differences.

    Returns:
        The limits, or None if ``n`` is 0.

    Raises:
        ValueError: As `clopper_pearson`.
    """
    _check(k, n, level)
    if n == 0:
        return None
    low, high = (float(limit) for limit in proportion_confint(k, n, alpha=1 - level, method="wilson"))
    rate = k / n  # the formula can miss its own rate by a rounding error at the edges
    return max(0.0, min(low, rate)), min(1.0, max(high, rate))


def linear_combination(
    terms: Sequence[tuple[float, float, float]], level: float = LEVEL
) -> tuple[float, Interval]:
    """Interval of ``sum(coefficient * rate)`` over independent arms, from their Wilson limits (MOVER).

    With coefficients +1 and -1 this is Newcombe's method 10. Unlike the usual variance formula it does not
    collapse to zero width where an arm saw no event.

    Args:
        terms: ``(coefficient, k, n)`` an arm, with ``n > 0``.
        level: Two-sided confidence level.

    Returns:
        The combination of the observed rates, and its limits.

    Raises:
        ValueError: An arm is empty or has no counts.
    """
    value = below = above = 0.0
    for coefficient, k, n in terms:
        limits = wilson(k, n, level)
        if limits is None:
            raise ValueError("an arm without episodes has no rate")
        ends = sorted(coefficient * limit for limit in limits)
        here = coefficient * k / n
        value += here
        below += (here - ends[0]) ** 2
        above += (ends[1] - here) ** 2
    return value, (value - math.sqrt(below), value + math.sqrt(above))


def newcombe(ka: float, na: float, kb: float, nb: float, level: float = LEVEL) -> Interval | None:
    """Newcombe's interval (his method 10, score without continuity correction) of ``ka/na - kb/nb``.

    Returns:
        The limits, within -1 and 1, or None if an arm is empty.

    Raises:
        ValueError: As `clopper_pearson`.
    """
    _check(ka, na, level)
    _check(kb, nb, level)
    if na == 0 or nb == 0:
        return None
    _, (low, high) = linear_combination([(1, ka, na), (-1, kb, nb)], level)
    return max(-1.0, low), min(1.0, high)


def compare(ka: int, na: int, kb: int, nb: int) -> Test | None:
    """Two-sided exact test of equal rates in two arms of independent episodes.

    Boschloo's test up to `BOSCHLOO_LIMIT` episodes an arm: it is never weaker than Fisher's, and much
    stronger in the small arms of experiments that cost money. Fisher's above, where the two agree and
    Boschloo's is slow.

    Returns:
        The test, or None if an arm is empty.

    Raises:
        ValueError: ``k`` and ``n`` are no counts.
    """
    _check(ka, na, LEVEL)
    _check(kb, nb, LEVEL)
    if na == 0 or nb == 0:
        return None
    # The p-value stays the same when the arms or events and non-events are swapped. Ask for one of the four
    # tables only, so that the cache answers the other three, and with exactly the same digits.
    table = min((ka, na, kb, nb), (kb, nb, ka, na), (na - ka, na, nb - kb, nb), (nb - kb, nb, na - ka, na))
    if max(na, nb) <= BOSCHLOO_LIMIT:
        return Test(_boschloo(*table), "boschloo")
    return Test(_fisher(*table), "fisher")


@lru_cache(maxsize=4096)
def _boschloo(ka: int, na: int, kb: int, nb: int) -> float:
    if ka * nb == kb * na:
        return 1.0  # equal rates; spares the commonest slow call, no event in either arm
    # 32 starting points found the peak over the nuisance rate in every table tried; 8 miss some of them,
    # and a p-value that is too small would be a false finding.
    # Two-sided is twice the smaller one-sided p-value, and that is the one on the side of the observed difference
    # (in every table tried; were it not, p would be too large). Asking for that side alone halves the time.
    side: Literal["less", "greater"] = "less" if ka * nb < kb * na else "greater"
    result = stats.boschloo_exact([[ka, kb], [na - ka, nb - kb]], alternative=side, n=32)
    return min(1.0, 2 * float(result.pvalue))


@lru_cache(maxsize=4096)
def _fisher(ka: int, na: int, kb: int, nb: int) -> float:
    return float(stats.fisher_exact(np.array([[ka, kb], [na - ka, nb - kb]]), alternative="two-sided")[1])


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family of p-values, in the order given.

    It holds under any dependence, which matters here: arms share their reference and metrics share their
    episodes.
    """
    if not ps:
        return []
    return [float(p) for p in multipletests(list(ps), method="holm")[1]]


def effective(clusters: Sequence[Cluster], level: float = LEVEL) -> float:
    """How many independent episodes these clustered ones are worth for their rate (Korn and Graubard).

    The number of episodes over the design effect, which is the between-cluster variance of the rate over
    the variance that as many independent episodes would have, times ``(t[n-1] / t[m-1])**2`` because
    ``m`` clusters tell that variance only roughly. Held between two ends: never more than the episodes
    that were run, and never less than ``n**2 / sum(n_i**2)``, which is what they are worth if all repeats
    of a seed come out alike.

    With no event, or nothing but events, the data cannot tell how alike repeats are, and the lower end is
    taken. So 0 of 10 seeds times 10 counts as 0 of 10, and can have a wider interval than 1 event there.

    Not exact as Clopper-Pearson is: in simulations 95 % intervals from it held in 97 to 99 % of experiments
    almost everywhere, and in 90 % at worst (10 seeds times 10, rate 0.1, correlation 0.5 within a seed), where
    plain Clopper-Pearson held in 56 %. New seeds are always the better use of money.

    Args:
        clusters: ``(events, episodes)`` a seed; empty ones are ignored.
        level: The level of the interval that it is for.

    Returns:
        The effective number; the plain number of episodes if no seed was repeated, 0 if there are none.
    """
    sizes = [n for _, n in clusters if n]
    total, count = sum(sizes), len(sizes)
    if total == count:
        return float(total)
    least = total**2 / sum(n * n for n in sizes)
    rate = sum(k for k, _ in clusters) / total
    if count == 1 or rate in (0.0, 1.0):
        return least
    between = count / (count - 1) * sum((k - rate * n) ** 2 for k, n in clusters) / total**2
    if between == 0.0:
        return float(total)
    independent = rate * (1 - rate) / (total - 1)
    tail = (1 + level) / 2
    rough = float(stats.t.ppf(tail, total - 1) / stats.t.ppf(tail, count - 1)) ** 2
    return min(float(total), max(least, total * independent / between * rough))


def estimate(clusters: Sequence[Cluster], level: float = LEVEL) -> Estimate:
    """A rate with everything that is said about it.

    Args:
        clusters: ``(events, episodes)`` a seed; with no repeats the interval is plain Clopper-Pearson,
            with repeats it is Clopper-Pearson at the `effective` number of episodes (Korn and Graubard).
        level: Two-sided confidence level.

    Returns:
        The estimate; its rate and limits are None if there was no episode.

    Raises:
        ValueError: A pair holds no counts.
    """
    for k, n in clusters:
        _check(k, n, level)
    events, episodes = sum(k for k, _ in clusters), sum(n for _, n in clusters)
    repeated = any(n > 1 for _, n in clusters)
    method = "korn-graubard" if repeated else "clopper-pearson"
    if not episodes:
        return Estimate(None, None, None, method, level, None, None, 0.0)
    rate, worth = events / episodes, effective(clusters, level)
    exact = clopper_pearson(rate * worth if repeated else events, worth, level)
    beside = jeffreys(rate * worth if repeated else events, worth, level)
    assert exact is not None
    return Estimate(
        rate, *exact, method, level, beside, rule_of_three(worth) if events == 0 else None, worth
    )  # fmt: skip


def compare_clusters(a: Sequence[Cluster], b: Sequence[Cluster], draws: int = 9_999) -> Test | None:
    """Two-sided test of equal rates in two arms with repeated seeds: whole seeds are shuffled between arms.

    Whole seeds move, so likeness within a seed does not feign evidence. All splits are tried when there
    are at most 20,000 of them, else ``draws`` random ones from a fixed start: the same counts always give
    the same p-value, and the smallest possible one is then ``1 / (draws + 1)``. Where both arms ran the
    same seeds the test is cautious, as it forgoes the pairing. Without repeats, use `compare`; this
    function calls it then.

    Args:
        a: ``(events, episodes)`` a seed in one arm.
        b: The same in the other.
        draws: How many random splits.

    Returns:
        The test, or None if an arm is empty.
    """
    first, second = (sorted((int(k), int(n)) for k, n in arm if n) for arm in (a, b))
    if not first or not second:
        return None
    if all(n == 1 for _, n in (*first, *second)):
        return compare(sum(k for k, _ in first), len(first), sum(k for k, _ in second), len(second))
    # The smaller arm first: the p-value must not depend on which arm is called a.
    first, second = sorted((first, second), key=lambda arm: (len(arm), arm))
    pooled = np.array(sorted(first + second), dtype=float)
    take, size = len(first), len(pooled)
    if math.comb(size, take) <= 20_000:
        chosen = np.array(list(combinations(range(size), take)))
    else:
        rng = np.random.default_rng(0)
        chosen = np.argsort(rng.random((draws, size)), axis=1)[:, :take]
    moved = pooled[chosen].sum(axis=1)
    rest = pooled.sum(axis=0) - moved
    differences = np.abs(moved[:, 0] / moved[:, 1] - rest[:, 0] / rest[:, 1])
    here = abs(
        sum(k for k, _ in first) / sum(n for _, n in first)
        - sum(k for k, _ in second) / sum(n for _, n in second)
    )
    as_large = int((differences >= here - 1e-12).sum())
    if math.comb(size, take) <= 20_000:
        return Test(as_large / len(chosen), "cluster-permutation")
    return Test((1 + as_large) / (1 + draws), "cluster-permutation")


def _check(k: float, n: float, level: float) -> None:
    """Refuse what is no count: NaN and infinity would otherwise pass silently through every formula."""
    if not (math.isfinite(k) and math.isfinite(n) and 0 <= k <= n):
        raise ValueError(f"{k} events in {n} episodes are no counts")
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not at {level}")

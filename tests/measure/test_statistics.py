"""Intervals and tests against published examples, other implementations, and their own promises."""

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from offswitch.measure import statistics as s

counts = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
small = st.integers(1, 25).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
clusters = st.lists(st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1)


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_is_scipys(count, level):
    k, n = count
    theirs = scipy_stats.binomtest(k, n).proportion_ci(confidence_level=level, method="exact")
    assert s.clopper_pearson(k, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(counts)
def test_jeffreys_is_statsmodels_away_from_the_edges(count):
    k, n = count
    low, high = proportion_confint(k, n, method="jeffreys")
    mine = s.jeffreys(k, n)
    assert mine is not None
    assert mine[0] == pytest.approx(low if k else 0.0)
    assert mine[1] == pytest.approx(high if k < n else 1.0)


@pytest.mark.parametrize("method", [s.clopper_pearson, s.jeffreys, s.wilson])
@given(counts)
def test_a_rate_lies_in_its_interval_and_limits_rise_with_events(method, count):
    k, n = count
    low, high = method(k, n)
    assert 0 <= low <= k / n <= high <= 1
    if k < n:
        low_next, high_next = method(k + 1, n)
        assert low_next >= low
        assert high_next >= high
    mirrored = method(n - k, n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)
    assert method(2 * k, 2 * n)[1] - method(2 * k, 2 * n)[0] < high - low


def test_clopper_pearson_covers_for_every_rate():
    """Exact coverage by enumeration; Wilson's interval fails the same bar, so the bar means something."""

    def coverage(method, n, p):
        held = [k for k in range(n + 1) if method(k, n)[0] <= p <= method(k, n)[1]]
        return scipy_stats.binom.pmf(held, n, p).sum()

    rates = np.linspace(0.005, 0.995, 100)
    assert min(coverage(s.clopper_pearson, 20, p) for p in rates) >= 0.95
    assert min(coverage(s.wilson, 20, p) for p in rates) < 0.95


@pytest.mark.parametrize(
    ("ka", "na", "kb", "nb", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17, Table II, method 10
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_newcombe_gives_the_published_examples(ka, na, kb, nb, low, high):
    assert s.newcombe(ka, na, kb, nb) == pytest.approx((low, high), abs=5e-5)


@given(counts, counts)
def test_newcombe_is_statsmodels_holds_the_difference_and_flips(a, b):
    low, high = s.newcombe(*a, *b)
    # "newcomb" there is the same method, for arms with events and non-events
    if all(0 < k < n for k, n in (a, b)):
        assert (low, high) == pytest.approx(
            confint_proportions_2indep(*a, *b, method="newcomb", compare="diff")
        )
    assert -1 <= low <= a[0] / a[1] - b[0] / b[1] + 1e-12
    assert a[0] / a[1] - b[0] / b[1] - 1e-12 <= high <= 1
    assert s.newcombe(*b, *a) == pytest.approx((-high, -low))


def test_rule_of_three_is_the_one_sided_limit():
    assert s.rule_of_three(100) == 0.03
    assert s.rule_of_three(1) == 1.0
    assert s.rule_of_three(0) is None
    for n in (30, 100, 1000):
        assert s.rule_of_three(n) == pytest.approx(1 - 0.05 ** (1 / n), rel=0.06)
        assert s.rule_of_three(n) < s.clopper_pearson(0, n)[1]  # which is two-sided


def test_boschloo_gives_the_known_example_and_beats_fisher():
    # the example in scipy's documentation, one-sided p 0.0355 there
    test = s.compare(74, 117, 31, 63)
    assert test.name == "boschloo"
    assert test.p == pytest.approx(2 * 0.0355, abs=2e-4)
    for ka, kb in ((7, 1), (5, 0), (9, 3)):
        assert s.compare(ka, 15, kb, 15).p < scipy_stats.fisher_exact([[ka, kb], [15 - ka, 15 - kb]])[1]


@pytest.mark.parametrize(
    "table", [(1, 75, 2, 42), (1, 128, 2, 82), (3, 20, 9, 20), (0, 60, 5, 60), (1, 9, 7, 30)]
)
def test_boschloo_finds_the_largest_p_value_over_the_nuisance_rate(table):
    """A plain grid search; with fewer starting points scipy misses the peak of the first two tables."""
    ka, na, kb, nb = table
    i, j = np.arange(na + 1)[:, None], np.arange(nb + 1)[None, :]
    grid = np.concatenate([np.linspace(0, 1, 1001)[1:-1], np.geomspace(1e-4, 0.1, 200)])
    one_sided = []
    for fisher in (
        scipy_stats.hypergeom.cdf(i, na + nb, i + j, na),
        scipy_stats.hypergeom.cdf(j, na + nb, i + j, nb),
    ):
        extreme = fisher <= fisher[ka, kb] * (1 + 1e-13)
        one_sided.append(
            max(
                (scipy_stats.binom.pmf(i, na, p) * scipy_stats.binom.pmf(j, nb, p))[extreme].sum()
                for p in grid
            )
        )
    expected = min(1, 2 * min(one_sided))
    assert s.compare(*table).p >= expected - 1e-9
    assert s.compare(*table).p == pytest.approx(expected, rel=2e-3)


@settings(max_examples=50, deadline=None)
@given(small, small)
def test_boschloo_is_scipys_two_sided(a, b):
    (ka, na), (kb, nb) = a, b
    if ka * nb != kb * na:
        theirs = scipy_stats.boschloo_exact([[ka, kb], [na - ka, nb - kb]]).pvalue
        assert s.compare(ka, na, kb, nb).p == pytest.approx(theirs, abs=1e-9)


def test_fisher_above_the_limit():
    assert s.compare(10, 200, 20, 200).name == "boschloo"
    test = s.compare(10, 200, 20, 201)
    assert test.name == "fisher"
    assert test.p == pytest.approx(scipy_stats.fisher_exact([[10, 20], [190, 181]])[1])
    started = time.process_time()
    s.compare(100, 1000, 130, 1000)
    assert time.process_time() - started < 2


@settings(max_examples=40, deadline=None)
@given(small, small)
def test_comparisons_do_not_depend_on_names(a, b):
    (ka, na), (kb, nb) = a, b
    p = s.compare(ka, na, kb, nb).p
    assert 0 <= p <= 1
    assert s.compare(kb, nb, ka, na).p == p
    assert s.compare(na - ka, na, nb - kb, nb).p == p
    if ka * nb == kb * na:
        assert p == 1.0


def test_boschloo_keeps_its_level():
    """Under equal rates at most 5 % of all outcomes, weighted by probability, come out below 0.05."""
    n = 12
    p_values = np.array([[s.compare(a, n, b, n).p for b in range(n + 1)] for a in range(n + 1)])
    for rate in (0.05, 0.2, 0.5, 0.8):
        weight = scipy_stats.binom.pmf(np.arange(n + 1), n, rate)
        assert (weight[:, None] * weight[None, :])[p_values <= 0.05].sum() <= 0.05


@settings(max_examples=15, deadline=None)  # statsmodels collects garbage at each call
@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_is_statsmodels_and_the_definition(ps):
    adjusted = s.holm(ps)
    if not ps:
        assert adjusted == []
        return
    assert adjusted == pytest.approx(list(multipletests(ps, method="holm")[1]))
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        assert adjusted[index] == pytest.approx(largest)


@settings(max_examples=15, deadline=None)  # statsmodels collects garbage at each call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms())
def test_holm_goes_with_its_p_values(ps, random):
    order = list(range(len(ps)))
    random.shuffle(order)
    adjusted = s.holm(ps)
    assert s.holm([ps[i] for i in order]) == pytest.approx([adjusted[i] for i in order])
    assert all(mine >= p for mine, p in zip(adjusted, ps, strict=True))


# Clusters


@given(counts)
def test_without_repeats_an_estimate_is_plain(count):
    k, n = count
    found = s.estimate([(1, 1)] * k + [(0, 1)] * (n - k))
    assert found.method == "clopper-pearson"
    assert (found.low, found.high) == s.clopper_pearson(k, n)
    assert found.jeffreys == s.jeffreys(k, n)
    assert found.effective == n
    assert found.rule_of_three == (s.rule_of_three(n) if k == 0 else None)


@given(clusters, st.randoms())
def test_an_estimate_holds_its_rate_whatever_the_clusters(pairs, random):
    found = s.estimate(pairs)
    total = sum(n for _, n in pairs)
    assert found.low <= found.rate <= found.high
    assert total**2 / sum(n * n for _, n in pairs) - 1e-9 <= found.effective <= total
    shuffled = random.sample(pairs, len(pairs))
    again = s.estimate([*shuffled, (0, 0)])
    assert (again.low, again.high) == pytest.approx((found.low, found.high))
    flat = s.estimate([(1, 1)] * sum(k for k, _ in pairs) + [(0, 1)] * sum(n - k for k, n in pairs))
    assert found.high - found.low >= flat.high - flat.low - 1e-9


def test_repeats_that_all_come_out_alike_count_once():
    found = s.estimate([(10, 10)] * 3 + [(0, 10)] * 7)
    assert found.method == "korn-graubard"
    assert found.effective == pytest.approx(10)
    assert (found.low, found.high) == pytest.approx(s.clopper_pearson(3, 10))
    nothing = s.estimate([(0, 10)] * 10)
    assert nothing.effective == pytest.approx(10)
    assert nothing.rule_of_three == pytest.approx(0.3)
    assert s.estimate([(3, 10)]).effective == 1  # one seed says nothing about others


def test_repeats_as_independent_as_can_be_count_nearly_in_full():
    rng = np.random.default_rng(5)
    worth = [s.effective([(int(k), 4) for k in rng.binomial(4, 0.4, size=100)]) for _ in range(50)]
    assert np.mean(worth) > 340  # of 400


def _clustered(rng, seeds, repeats, rate, likeness):
    """Beta-binomial clusters; ``likeness`` is the correlation between repeats of a seed."""
    spread = (1 - likeness) / likeness
    return [
        (int(k), repeats) for k in rng.binomial(repeats, rng.beta(rate * spread, (1 - rate) * spread, seeds))
    ]


@pytest.mark.parametrize(("rate", "likeness"), [(0.1, 0.5), (0.3, 0.3), (0.5, 0.9), (0.05, 0.2)])
def test_clustered_intervals_cover_where_plain_ones_do_not(rate, likeness):
    rng = np.random.default_rng(11)
    trials, aware, plain = 400, 0, 0
    for _ in range(trials):
        pairs = _clustered(rng, 20, 5, rate, likeness)
        found = s.estimate(pairs)
        aware += found.low <= rate <= found.high
        low, high = s.clopper_pearson(sum(k for k, _ in pairs), 100)
        plain += low <= rate <= high
    assert aware / trials >= 0.93
    if likeness >= 0.3:
        assert plain / trials < 0.93


def test_comparing_clusters_keeps_its_level_where_plain_tests_do_not():
    rng = np.random.default_rng(3)
    trials, aware, plain = 250, 0, 0
    for _ in range(trials):
        a, b = (_clustered(rng, 10, 10, 0.4, 0.5) for _ in range(2))
        aware += s.compare_clusters(a, b, draws=499).p <= 0.05
        ka, kb = (sum(k for k, _ in arm) for arm in (a, b))
        plain += scipy_stats.fisher_exact([[ka, kb], [100 - ka, 100 - kb]])[1] <= 0.05
    assert aware / trials <= 0.09  # 0.05 and three standard errors
    assert plain / trials > 0.2


@settings(max_examples=30, deadline=None)
@given(clusters.filter(lambda c: len(c) < 8), clusters.filter(lambda c: len(c) < 8), st.randoms())
def test_comparing_clusters_depends_on_neither_order_nor_names(a, b, random):
    p = s.compare_clusters(a, b).p
    assert 0 < p <= 1
    assert s.compare_clusters(b, a).p == pytest.approx(p, abs=1e-12)
    assert s.compare_clusters(random.sample(a, len(a)), [*b, (0, 0)]).p == pytest.approx(p, abs=1e-12)


def test_comparing_clusters_finds_what_is_there_and_reduces_to_the_plain_test():
    apart = s.compare_clusters([(5, 5)] * 20, [(0, 5)] * 20)
    assert apart.name == "cluster-permutation"
    assert apart.p == pytest.approx(1e-4)
    assert s.compare_clusters([(5, 5)] * 4, [(0, 5)] * 4).p == pytest.approx(2 / math.comb(8, 4))
    ones = s.compare_clusters([(1, 1)] * 7 + [(0, 1)] * 8, [(1, 1)] + [(0, 1)] * 14)
    assert ones == s.compare(7, 15, 1, 15)


def test_random_splits_depend_neither_on_order_nor_on_names():
    a, b = [(k % 4, 4) for k in range(12)], [(k % 3, 3) for k in range(15)]
    p = s.compare_clusters(a, b).p
    assert 0.01 < p < 1
    assert s.compare_clusters(b, a).p == s.compare_clusters(a[::-1], b[::-1]).p == p


def test_nothing_exposed_gives_nothing():
    found = s.estimate([])
    assert (found.rate, found.low, found.high, found.jeffreys, found.rule_of_three) == (None,) * 5
    assert found == s.estimate([(0, 0)])
    assert s.clopper_pearson(0, 0) is s.jeffreys(0, 0) is s.wilson(0, 0) is None
    assert s.newcombe(0, 0, 1, 2) is s.compare(0, 0, 1, 2) is s.compare_clusters([], [(1, 2)]) is None
    with pytest.raises(ValueError, match="without episodes"):
        s.linear_combination([(1, 0, 0)])


@pytest.mark.parametrize(("k", "n"), [(math.nan, 5), (1, math.nan), (1, math.inf), (6, 5), (-1, 5)])
def test_what_is_no_count_is_refused(k, n):
    for function in (s.clopper_pearson, s.jeffreys, s.wilson):
        with pytest.raises(ValueError, match="no counts"):
            function(k, n)
    with pytest.raises(ValueError, match="no counts"):
        s.compare(k, n, 1, 2)
    with pytest.raises(ValueError, match="level"):
        s.clopper_pearson(1, 2, 1.5)


@given(st.lists(counts, min_size=1, max_size=5))
def test_a_linear_combination_of_one_arm_is_wilson_and_more_arms_widen_it(arms):
    k, n = arms[0]
    value, limits = s.linear_combination([(1, k, n)])
    assert value == pytest.approx(k / n)
    assert limits == pytest.approx(s.wilson(k, n))
    widths = []
    for upto in range(1, len(arms) + 1):
        _, (low, high) = s.linear_combination([(1, *arm) for arm in arms[:upto]])
        widths.append(high - low)
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(widths))

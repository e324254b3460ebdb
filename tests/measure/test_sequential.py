"""The confidence sequence holds at all times at once, and a test that could not tell is shown to tell."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from offswitch.measure import sequential
from offswitch.measure.statistics import clopper_pearson

RATES = (0.01, 0.05, 0.2, 0.5, 0.79, 0.97)
outcomes = st.lists(st.integers(0, 1), min_size=1, max_size=120)


def _paths(rate: float, trials: int, steps: int, seed: int = 7):
    hits = np.random.default_rng(seed).random((trials, steps)) < rate
    return hits.cumsum(axis=1), np.arange(1, steps + 1)


def ever_missed(rate: float, trials: int, steps: int) -> float:
    """Share of experiments in which the sequence excluded the true rate at some time."""
    k, n = _paths(rate, trials, steps)
    return float((sequential.log_capital(k, n, rate) >= math.log(20)).any(axis=1).mean())


def allowed(trials: int) -> float:
    return 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


@pytest.mark.parametrize("rate", RATES)
def test_the_true_rate_is_held_at_all_times_up_to_1000(rate):
    assert ever_missed(rate, 1000, 1000) <= allowed(1000)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.001, *RATES, 0.999])
def test_the_true_rate_is_held_at_all_times_with_more_trials(rate):
    assert ever_missed(rate, 20_000, 1000) <= allowed(20_000)


def test_an_interval_for_a_fixed_n_looked_at_every_time_would_be_caught():
    k, n = _paths(0.2, 300, 300)
    excluded = np.zeros((301, 301), dtype=bool)
    # the exact interval excludes the rate if either tail from what was seen on is below 2.5 %
    events = np.arange(301)[:, None]
    excluded[:, 1:] = (binom.sf(events - 1, n, 0.2) < 0.025) | (binom.cdf(events, n, 0.2) < 0.025)
    low, high = clopper_pearson(30, 100)
    assert excluded[30, 100] == (not low <= 0.2 <= high)
    assert excluded[k, n].any(axis=1).mean() > allowed(300)


def test_bets_that_peek_would_be_caught():
    """The same bettor, if his prediction already knew the outcome that he bets on."""
    rate, trials, steps = 0.2, 1000, 300
    k, n = _paths(rate, trials, steps)
    hits = np.diff(k, axis=1, prepend=0)
    a, b = sequential.PRIOR
    peeking = (k + a) / (n + a + b)
    capital = np.log(np.where(hits == 1, peeking / rate, (1 - peeking) / (1 - rate))).cumsum(axis=1)
    assert (capital >= math.log(20)).any(axis=1).mean() > 2 * allowed(trials)


@given(outcomes, st.floats(0.01, 0.99))
def test_the_closed_form_is_the_product_of_the_bets(sequence, p):
    a, b = sequential.PRIOR
    capital, events = 0.0, 0
    for n, outcome in enumerate(sequence):
        q = (events + a) / (n + a + b)  # only what came before
        stake = (q - p) / (p * (1 - p))
        capital += math.log(1 + stake * (outcome - p))
        events += outcome
    assert float(sequential.log_capital(events, len(sequence), p)) == pytest.approx(capital, abs=1e-8)


@given(st.integers(1, 400), st.floats(0.01, 0.99))
def test_a_bet_is_fair_if_its_rate_is_true(n, p):
    """Expected capital after each step is the capital before it, from every count."""
    k = np.arange(n + 1)
    before = sequential.log_capital(k, n, p)
    event = sequential.log_capital(k + 1, n + 1, p) + math.log(p)
    none = sequential.log_capital(k, n + 1, p) + math.log(1 - p)
    assert np.logaddexp(event, none) == pytest.approx(before, abs=1e-7)


@given(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    st.sampled_from([0.8, 0.95]),
)
def test_the_interval_is_where_the_bettor_is_not_rich(count, level):
    k, n = count
    low, high = sequential.interval(k, n, level)
    rich = -math.log(1 - level)
    assert 0 <= low <= k / n <= high <= 1
    for limit, outward in ((low, -1e-6), (high, 1e-6)):
        if 0 < limit < 1:
            assert float(sequential.log_capital(k, n, limit)) == pytest.approx(rich, abs=1e-4)
            beyond = limit * (1 + outward) if outward < 0 else limit + (1 - limit) * outward
            assert float(sequential.log_capital(k, n, beyond)) > rich
    wider = sequential.interval(k, n, 0.99)
    assert wider[0] <= low
    assert high <= wider[1]


def test_the_interval_at_the_edges():
    assert sequential.interval(0, 0) is None
    assert sequential.interval(0, 1) == pytest.approx((0.0, 0.96))  # 20 = 0.8 / (1 - 0.96)
    assert sequential.interval(0, 50)[0] == 0.0
    assert sequential.interval(50, 50)[1] == 1.0
    assert sequential.interval(0, 81)[1] > 0.05 > sequential.interval(0, 82)[1]  # as the module says
    low, high = sequential.interval(999_999, 1_000_000)
    assert 0.999 < low < 0.999999 < high < 1
    for k, n in ((math.nan, 3), (4, 3), (-1, 3), (1, math.inf)):
        with pytest.raises(ValueError, match="no counts"):
            sequential.interval(k, n)
    with pytest.raises(ValueError, match="level"):
        sequential.interval(1, 2, 1.0)


def test_deciding():
    assert sequential.decide([], 0.5, 0.05) is None
    assert sequential.decide([1, 1, 1], None, None) is None
    above = sequential.decide([1] * 5, None, 0.05)
    assert above is not None
    assert (above.reason, above.n, above.events) == ("threshold", 5, 5)
    assert above.low > 0.05
    below = sequential.decide([0] * 100, None, 0.05)
    assert below is not None
    assert below.high < 0.05
    assert sequential.decide([0] * 50, None, 0.05) is None
    narrow = sequential.decide([0, 1] * 200, 0.2, None)
    assert narrow is not None
    assert narrow.reason == "precision"
    assert narrow.high - narrow.low < 0.2
    assert sequential.decide([0, 1] * 20, 0.2, None) is None
    assert sequential.decide([0, 1] * 200, 0.2, 0.1).reason == "threshold"


@given(outcomes, st.floats(0.01, 1), st.floats(0, 1))
def test_a_decision_is_what_its_interval_says(sequence, precision, threshold):
    low, high = sequential.interval(sum(sequence), len(sequence))
    stop = sequential.decide(sequence, precision, threshold)
    assert (stop is not None) == (high - low < precision or low > threshold or high < threshold)
    assert stop == sequential.decide(sequence[::-1], precision, threshold)


@pytest.mark.parametrize(
    ("precision", "threshold"),
    [(0, None), (-1, None), (2, None), (math.nan, None), (None, -0.1), (None, 1.1), (None, math.nan)],
)
def test_criteria_that_make_no_sense_are_refused(precision, threshold):
    with pytest.raises(ValueError, match=r"precision|threshold"):
        sequential.decide([1], precision, threshold)
    with pytest.raises(ValueError, match="0 or 1"):
        sequential.decide([2], 0.5, None)

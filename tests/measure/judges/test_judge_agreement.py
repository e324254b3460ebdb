"""Kappa, calibration and shares against other implementations and their own meaning."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from offswitch.measure.judges.agreement import (
    EDGES,
    brier,
    kappa,
    kappa_by_bootstrap,
    kappa_by_formula,
    reliability,
    share,
)

cells = st.tuples(*[st.integers(0, 80)] * 4)
confident = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60)


@settings(deadline=None)
@given(cells)
def test_kappa_is_statsmodels(table) -> None:
    a, b, c, d = table
    assume((a + b + c + d) and max(a, d) < a + b + c + d)
    theirs = float(cohens_kappa(np.array([[a, b], [c, d]]), return_results=False))
    assert kappa(*table) == pytest.approx(theirs)


def test_kappa_of_a_known_table() -> None:
    # 70 % agree, 50 % would by chance.
    assert kappa(20, 5, 10, 15) == pytest.approx(0.4)


def test_without_a_disagreement_there_is_no_interval_to_resample() -> None:
    for found in (kappa_by_bootstrap(5, 0, 0, 9), kappa_by_formula(5, 0, 0, 9)):
        assert (found.value, found.low, found.high) == (1, None, None)
    found = brier([0.9] * 4, [True] * 4)
    assert (found.value, found.low) == (pytest.approx(0.01), None)


@pytest.mark.parametrize("table", [(0, 0, 0, 0), (9, 0, 0, 0), (0, 0, 0, 9)])
def test_kappa_of_one_label_alone_is_not_defined(table) -> None:
    assert kappa(*table) is None
    assert kappa_by_bootstrap(*table).value is None
    assert kappa_by_formula(*table).value is None


@settings(deadline=None, max_examples=40)
@given(cells)
def test_the_interval_of_kappa_is_around_it_and_repeats(table) -> None:
    found = kappa_by_bootstrap(*table)
    if found.value is not None and found.low is not None and found.high is not None:
        assert -1 <= found.low <= found.high <= 1
        assert kappa_by_bootstrap(*table) == found


def test_the_two_intervals_of_kappa_agree_on_a_large_table() -> None:
    one, other = kappa_by_bootstrap(300, 30, 40, 500), kappa_by_formula(300, 30, 40, 500)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.01)


def test_brier() -> None:
    assert brier([1, 1], [True, True]).value == 0
    assert brier([1, 0.5], [False, True]).value == pytest.approx(0.625)
    assert brier([], []).value is None
    assert brier([0.5] * 9, [True] * 4 + [False] * 5).value == 0.25


@settings(deadline=None, max_examples=40)
@given(confident)
def test_the_interval_of_brier_is_a_part_of_its_range_and_repeats(pairs) -> None:
    confidences, right = [one for one, _ in pairs], [one for _, one in pairs]
    found = brier(confidences, right)
    assert found.value is not None
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.high <= 1 + 1e-12
    assert brier(confidences, right) == found


@settings(deadline=None)
@given(confident)
def test_every_message_is_in_one_bin(pairs) -> None:
    bins = reliability([one for one, _ in pairs], [one for _, one in pairs])
    assert sum(one.right.n for one in bins) == len(pairs)
    assert sum(one.right.k for one in bins) == sum(right for _, right in pairs)
    for one in bins:
        assert one.confidence is None or one.above - 1e-9 <= one.confidence <= one.to + 1e-9


def test_edges_belong_to_the_bin_below() -> None:
    bins = reliability(EDGES, [True] * len(EDGES))
    assert [one.right.n for one in bins] == [2, 1, 1, 1, 1, 1]


def test_a_share_of_nothing_is_not_known() -> None:
    assert (share(0, 0).rate, share(0, 0).low) == (None, None)
    assert share(3, 4).rate == 0.75
    assert math.isclose(share(0, 10).high or 0, 0.3085, abs_tol=1e-4)

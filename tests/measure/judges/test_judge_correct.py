"""Correcting a judged rate: the formula, what it must never do, and how often its interval holds the truth."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from offswitch.measure.judges.correct import Judged, Validation, corrected
from offswitch.measure.statistics import clopper_pearson

counts = st.integers(0, 300)
samples = st.builds(Judged, counts, counts, counts)


@st.composite
def validations(draw: st.DrawFn) -> Validation:
    positives, negatives = draw(st.integers(0, 200)), draw(st.integers(0, 400))
    return Validation(
        positives, draw(st.integers(0, positives)), negatives, draw(st.integers(0, negatives))
    )  # fmt: skip


def test_the_formula_of_rogan_and_gladen() -> None:
    # (0.30 + 0.95 - 1) / (0.80 + 0.95 - 1)
    found = corrected(Judged(30, 70), Validation(100, 80, 200, 190))
    assert found.unclipped == pytest.approx(1 / 3)
    assert found.corrected == pytest.approx(1 / 3)
    assert found.observed == 0.3
    assert found.note == ""


@settings(deadline=None)
@given(counts, counts, st.integers(10, 500), st.integers(10, 500))
def test_a_perfect_judge_leaves_the_rate_as_it_is(positive, negative, positives, negatives) -> None:
    assume(positive + negative)
    found = corrected(Judged(positive, negative), Validation(positives, positives, negatives, negatives))
    assert found.corrected == found.observed == positive / (positive + negative)


def test_a_perfect_judge_on_a_large_set_leaves_the_interval_about_as_it_is() -> None:
    found = corrected(Judged(30, 70), Validation(10**6, 10**6, 10**6, 10**6))
    assert found.interval == pytest.approx(clopper_pearson(30, 100), abs=0.02)


@settings(deadline=None)
@given(samples, validations())
def test_what_is_never_otherwise(judged: Judged, validation: Validation) -> None:
    found = corrected(judged, validation)
    n = judged.positive + judged.negative
    assert (found.observed is None) == (n == 0)
    if found.corrected is None:
        assert found.note.startswith("cannot be corrected")
        assert found.interval is found.outer_bounds is None
        return
    assert found.interval is not None
    assert found.corrected_bounds is not None
    assert found.outer_bounds is not None
    assert 0 <= found.interval[0] <= found.corrected <= found.interval[1] <= 1
    low, high = found.outer_bounds
    assert 0 <= low <= found.corrected_bounds[0] <= found.corrected_bounds[1] <= high <= 1 + 1e-12
    if not judged.not_judged:
        assert found.outer_bounds == pytest.approx(found.interval)
        assert found.corrected_bounds == pytest.approx((found.corrected, found.corrected))


@settings(deadline=None)
@given(validations(), samples)
def test_a_judge_no_better_than_chance_corrects_nothing(validation: Validation, judged: Judged) -> None:
    se, sp = validation.sensitivity, validation.specificity
    assume(se is not None and sp is not None)
    assert se is not None
    assert sp is not None
    assume(abs(se + sp - 1) > 1e-9 or se + sp == 1)
    note = corrected(judged, validation).note
    assert ("no better than chance" in note) == (se + sp <= 1)


@pytest.mark.parametrize(
    "validation", [Validation(10, 5, 10, 5), Validation(50, 10, 50, 40), Validation(3, 0, 7, 7)]
)
def test_chance_exactly_is_no_better_than_chance(validation: Validation) -> None:
    assert corrected(Judged(5, 5), validation).corrected is None


@pytest.mark.parametrize(
    "validation", [Validation(0, 0, 50, 50), Validation(50, 50, 0, 0), Validation(0, 0, 0, 0)]
)
def test_a_validation_without_one_of_the_labels_corrects_nothing(validation: Validation) -> None:
    found = corrected(Judged(3, 7), validation)
    assert found.corrected is None
    assert "judged no message of one of the labels" in found.note
    assert found.observed == 0.3


def test_a_validation_that_shows_nothing_leaves_any_rate_possible() -> None:
    found = corrected(Judged(30, 70), Validation(5, 3, 5, 3))
    assert found.interval == (0.0, 1.0)
    assert "too small" in found.note


def test_nothing_judged_is_no_rate() -> None:
    found = corrected(Judged(0, 0, 12), Validation(100, 90, 100, 90))
    assert (found.observed, found.corrected) == (None, None)
    assert found.observed_bounds == (0.0, 1.0)
    assert corrected(Judged(0, 0), Validation(100, 90, 100, 90)).observed_bounds is None


def test_what_was_not_judged_is_shown_as_bounds_and_never_as_harmless() -> None:
    found = corrected(Judged(20, 60, 20), Validation(1000, 1000, 1000, 1000))
    assert found.observed == 0.25
    assert found.observed_bounds == pytest.approx((0.2, 0.4))
    assert found.corrected_bounds == pytest.approx((0.2, 0.4))
    assert found.outer_bounds is not None
    assert found.outer_bounds[0] < 0.2
    assert found.outer_bounds[1] > 0.4


@settings(deadline=None)
@given(samples, validations())
def test_more_that_is_not_judged_never_narrows_the_bounds(judged: Judged, validation: Validation) -> None:
    fewer = corrected(Judged(judged.positive, judged.negative), validation).outer_bounds
    more = corrected(judged, validation).outer_bounds
    if fewer is not None and more is not None:
        assert more[0] <= fewer[0] + 1e-12
        assert more[1] >= fewer[1] - 1e-12


def test_a_rate_below_the_judges_false_alarms_is_held_at_zero_and_the_formula_is_told() -> None:
    found = corrected(Judged(1, 99), Validation(100, 90, 100, 90))
    assert found.corrected == 0
    assert found.unclipped == pytest.approx((0.01 - 0.1) / 0.8)


def test_the_interval_carries_the_size_of_the_validation() -> None:
    small, large = (
        corrected(Judged(300, 700), Validation(n, n * 9 // 10, n, n * 9 // 10)).interval for n in (20, 2000)
    )
    assert small is not None
    assert large is not None
    assert small[1] - small[0] > 1.5 * (large[1] - large[0])


def test_a_higher_level_is_wider() -> None:
    at = [corrected(Judged(30, 70), Validation(70, 60, 150, 140), level).interval for level in (0.8, 0.99)]
    assert at[0] is not None
    assert at[1] is not None
    assert at[1][0] < at[0][0] < at[0][1] < at[1][1]


def test_messages_that_are_alike_are_worth_fewer_and_the_share_stays() -> None:
    validation = Validation(70, 65, 150, 145)
    apart, alike = (corrected(Judged(30, 70, 5, worth), validation) for worth in (None, 10.0))
    assert (apart.observed, apart.corrected) == (alike.observed, alike.corrected)
    assert (apart.observed_bounds, apart.corrected_bounds) == (alike.observed_bounds, alike.corrected_bounds)
    assert corrected(Judged(30, 70, 5, 100), validation).interval == pytest.approx(apart.interval)
    for narrow, wide in (
        (apart.observed_interval, alike.observed_interval),
        (apart.interval, alike.interval),
        (apart.outer_bounds, alike.outer_bounds),
    ):
        assert narrow is not None
        assert wide is not None
        assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert alike.observed_interval == clopper_pearson(3, 10)


def test_messages_that_are_alike_hold_the_true_rate_only_at_what_they_are_worth() -> None:
    # Ten messages an episode, all harmless or all threats: 20 episodes, and a judge that seldom errs.
    rng = np.random.default_rng(3)
    held = naive = 0
    for _ in range(300):
        threats = 10 * int(rng.binomial(20, 0.3))
        k = int(rng.binomial(threats, 0.95) + rng.binomial(200 - threats, 0.03))
        validation = Validation(70, int(rng.binomial(70, 0.95)), 150, int(rng.binomial(150, 0.97)))
        for worth in (20.0, None):
            limits = corrected(Judged(k, 200 - k, 0, worth), validation).interval
            assert limits is not None
            hit = limits[0] <= 0.3 <= limits[1]
            held, naive = (held + hit, naive) if worth else (held, naive + hit)
    assert held / 300 > 0.92
    assert naive / 300 < 0.8


@pytest.mark.parametrize(
    ("positive", "negative", "worth"),
    [(3, 7, 11.0), (3, 7, -1.0), (3, 7, 0.0), (3, 7, float("nan")), (0, 0, 1.0)],
)
def test_messages_are_worth_no_more_than_they_are(positive: int, negative: int, worth: float) -> None:
    with pytest.raises(ValueError, match="worth what no messages can be"):
        corrected(Judged(positive, negative, 2, worth), None)


def test_without_a_validation_the_rate_stands_as_observed_and_says_so() -> None:
    found = corrected(Judged(30, 70, 20), None)
    assert (found.observed, found.observed_interval) == (0.3, clopper_pearson(30, 100))
    assert found.observed_bounds == pytest.approx((0.25, 50 / 120))
    assert found.corrected is found.interval is found.outer_bounds is None
    assert found.note.startswith("not corrected")


@pytest.mark.parametrize(
    ("judged", "validation"),
    [
        (Judged(-1, 5), Validation(10, 9, 10, 9)),
        (Judged(1, 5, -1), Validation(10, 9, 10, 9)),
        (Judged(1, 5), Validation(10, 11, 10, 9)),
        (Judged(1, 5), Validation(10, 9, 10, 11)),
        (Judged(1.5, 5), Validation(10, 9, 10, 9)),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_count_is_refused(judged: Judged, validation: Validation) -> None:
    with pytest.raises(ValueError, match="holds what is no count"):
        corrected(judged, validation)


@pytest.mark.parametrize(
    ("se", "sp", "n", "rate"),
    [(0.9, 0.95, 100, 0.0), (0.9, 0.95, 100, 0.1), (0.8, 0.9, 200, 0.3), (0.99, 0.99, 50, 0.05), (0.7, 0.8, 60, 0.8)],
)  # fmt: skip
def test_the_interval_holds_the_true_rate(se: float, sp: float, n: int, rate: float) -> None:
    # Of 500 draws at 95 %, fewer than 92 % hold about three times in a thousand; the draws are the same each time.
    assert coverage(se, sp, n, rate)[0] > 0.92


def test_an_interval_without_the_correction_would_be_caught() -> None:
    assert coverage(0.9, 0.95, 100, 0.0)[1] < 0.92


def coverage(se: float, sp: float, n: int, rate: float) -> tuple[float, float]:
    """How often the corrected and the uncorrected interval hold the true rate."""
    rng = np.random.default_rng(7)
    held = naive = 0
    for _ in range(500):
        k = int(rng.binomial(n, rate * se + (1 - rate) * (1 - sp)))
        validation = Validation(70, int(rng.binomial(70, se)), 150, int(rng.binomial(150, sp)))
        found = corrected(Judged(k, n - k), validation)
        assert found.observed_interval is not None
        held += found.interval is not None and found.interval[0] <= rate <= found.interval[1]
        naive += found.observed_interval[0] <= rate <= found.observed_interval[1]
    return held / 500, naive / 500

"""The difference of paired arms: its interval holds what it should, and its test is exact."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from offswitch.measure.paired import difference, sign_flip

SHARES = st.lists(st.integers(-10, 10).map(lambda n: n / 10), max_size=25)


def test_it_is_students_interval_where_seeds_differ() -> None:
    given = [-0.9, 0.3, 0.8, -0.2, 0.5, 0.1, -0.6, 0.9, 0.2]
    found = difference(given, 90)
    assert found is not None
    expected = stats.ttest_1samp(given, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(sum(given) / len(given))


def test_seeds_that_all_say_the_same_are_no_certainty() -> None:
    found = difference([-1.0] * 5, 50)
    assert found is not None
    assert found.low == -1
    # Agresti and Min: 50 pairs one way and none the other, half a pair added to each of four cells.
    error = math.sqrt(51 - 50**2 / 52) / 52
    assert found.high == pytest.approx(-1 + stats.t.ppf(0.975, 4) * error)
    level = difference([0.0] * 5, 50)
    assert level is not None
    assert level.low is not None
    assert level.low < 0 < (level.high or 0)


def test_one_seed_has_no_interval_and_none_has_nothing() -> None:
    found = difference([-1.0], 10)
    assert found is not None
    assert (found.low, found.high, found.p) == (None, None, 1.0)
    assert difference([], 0) is None


@pytest.mark.parametrize(("differences", "asked"), [([1.2], 10), ([float("nan")], 10), ([0.1, 0.2], 1)])
def test_what_is_no_difference_is_refused(differences: list[float], asked: int) -> None:
    with pytest.raises(ValueError, match="within -1 and 1"):
        difference(differences, asked)


def test_the_test_is_exact_in_small_samples() -> None:
    given = [-0.3, -0.1, 0.2, -0.5, -0.4, 0.0]
    moved = [one for one in given if one]
    ways = [
        sum(s * m for s, m in zip(signs, moved, strict=True))
        for signs in itertools.product((1, -1), repeat=len(moved))
    ]
    expected = sum(abs(way) >= abs(sum(moved)) - 1e-12 for way in ways) / len(ways)
    assert sign_flip(given) == pytest.approx(expected)
    assert sign_flip([-0.1] * 5) == 2 / 32  # five seeds cannot show anything at 0.05
    assert sign_flip([-0.1] * 6) == 2 / 64
    assert sign_flip([0.0, 0.0]) == 1.0


def test_the_test_of_many_seeds_is_near_the_exact_one_and_always_the_same() -> None:
    draw = random.Random(3)
    given = [round(draw.gauss(0.1, 0.3), 1) for _ in range(30)]
    assert sign_flip(given) == sign_flip(given)
    assert sign_flip(given) == pytest.approx(stats.ttest_1samp(given, 0).pvalue, abs=0.05)
    assert sign_flip([-0.5] * 40) == 1 / 10_000


@given(SHARES)
def test_arms_changed_over_give_the_same_with_the_other_sign(differences: list[float]) -> None:
    one, other = (
        difference(differences, 10 * len(differences)),
        difference([-d for d in differences], 10 * len(differences)),
    )
    if one is None or other is None:
        assert one is other is None
        return
    assert one.value == pytest.approx(-other.value)
    assert one.p == pytest.approx(other.p)
    if one.low is not None and other.high is not None:
        assert one.low == pytest.approx(-other.high)
        assert -1 <= one.low <= one.value


@pytest.mark.parametrize(("plain", "held_back"), [(0.8, 0.8), (0.8, 0.5), (0.95, 0.95), (0.6, 0.0)])
def test_the_interval_holds_the_true_difference(plain: float, held_back: float) -> None:
    draw = random.Random(11)
    held = 0
    for _ in range(250):
        differences = []
        for _ in range(15):
            # Questions are of different hardness, and the same ones go to both arms.
            hard = [draw.uniform(-0.15, 0.15) for _ in range(10)]
            right = [
                sum(draw.random() < min(1, max(0, skill + shift * (skill > 0))) for shift in hard)
                for skill in (plain, held_back)
            ]
            differences.append((right[1] - right[0]) / 10)
        found = difference(differences, 150)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        truth = held_back - plain
        if plain == 0.95:  # cut off at 1
            truth = 0.0
        held += found.low - 1e-9 <= truth <= found.high + 1e-9
    assert held / 250 > 0.9  # 95 %, and three standard errors of 250 experiments

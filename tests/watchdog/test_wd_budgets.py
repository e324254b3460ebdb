"""Budgets: what is used up is found at once, and what cannot be counted is no free lunch."""

import pytest

from offswitch.enforce.watchdog.budgets import Budgets
from offswitch.enforce.watchdog.calls import Usage
from offswitch.enforce.watchdog.rules import Rules


@pytest.mark.parametrize(
    ("limits", "fits"),
    [({"calls": 3}, 3), ({"input_tokens": 250}, 2), ({"output_tokens": 30}, 3), ({"money": 0.001}, 2)],
)
def test_the_call_that_exceeds_a_limit_is_found(limits: dict[str, float], fits: int) -> None:
    budgets = Budgets(Rules(budgets=limits, prices={"o3": (2.0, 20.0)}))
    for _ in range(fits):
        assert (budgets.begin() or budgets.add(Usage(100, 10), "o3")) is None
    found = budgets.begin() or budgets.add(Usage(100, 10), "o3")
    assert found is not None
    assert (found.pattern, found.mode) == ("budgets", "stop")
    assert "used up" in found.why
    assert budgets.begin() is not None, "the next is not sent"


def test_time() -> None:
    budgets = Budgets(Rules(budgets={"time": 60}))
    assert budgets.elapsed(60) is None
    assert budgets.elapsed(60.1) is not None


def test_what_cannot_be_counted_is_found() -> None:
    assert Budgets(Rules(budgets={"output_tokens": 10})).add(None, "o3") is not None
    assert Budgets(Rules(budgets={"money": 1}, prices={"o3": (1, 1)})).add(Usage(1, 1), "other") is not None
    assert Budgets(Rules(budgets={"calls": 10})).add(None, "o3") is None


def test_negative_tokens_give_nothing_back() -> None:
    budgets = Budgets(Rules(budgets={"input_tokens": 10}))
    budgets.add(Usage(10, 0), "o3")
    budgets.add(Usage(-1000, -1000), "o3")
    assert budgets.add(Usage(1, 0), "o3") is not None


def test_without_limits_all_is_counted_and_nothing_found() -> None:
    budgets = Budgets(Rules(prices={"o3": (1.0, 1.0)}))
    assert budgets.add(Usage(10**9, 10**9), "o3") is None
    assert budgets.used["money"] == 2000
    assert Budgets(Rules(patterns={"budgets": "observe"}, budgets={"calls": 1})).elapsed(5) is None

"""The published rates: every row can be used, and each stands beside the arm that it belongs to."""

import csv
from importlib.resources import files

import pytest

from offswitch.measure.conditions import CONDITIONS
from offswitch.measure.published import CAVEAT, published, rates, same_model


def test_every_row_is_there() -> None:
    text = files("offswitch.measure").joinpath("data/published_rates.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(rates()) == 131
    for row, rate in zip(rows, rates(), strict=True):
        assert rate.source == row["source"]
        assert rate.short != rate.source
        assert len(rate.short) < 20
        assert 0 <= rate.rate <= 1
        assert rate.kind == row["kind"]
        assert rate.model
        assert rate.condition
        assert rate.n is None or rate.n > 0


def test_rates_of_shutdown_belong_to_arms_that_exist() -> None:
    for rate in rates():
        if rate.scenario == "shutdown":
            assert rate.condition in CONDITIONS
            assert rate.kind == "sabotage"
            assert rate in published("shutdown", rate.condition)


def test_no_row_stands_twice() -> None:
    keys = [(rate.source, rate.scenario, rate.model, rate.condition) for rate in rates()]
    assert len(keys) == len(set(keys))


def test_an_arm_has_its_rates_and_no_others() -> None:
    early = [rate for rate in published("shutdown", "A") if rate.short == "Palisade 2025"]
    assert {(rate.model, rate.percent) for rate in early} == {
        ("o3", 79), ("codex-mini", 20), ("o4-mini", 6), ("gemini-2.5-pro", 9), ("claude-3.7-sonnet", 3),
    }  # fmt: skip
    assert not any(rate.approximate for rate in early)
    assert published("shutdown", "object") == []
    assert published("robot", "A") == []
    assert {rate.kind for rate in published("office", "lethal")} == {"deed"}


def test_intervals_come_from_the_rounded_percentage_times_n() -> None:
    o3 = next(rate for rate in published("shutdown", "A") if rate.model == "o3" and rate.n == 100)
    assert o3.interval == pytest.approx((0.697, 0.865), abs=0.001)  # Clopper-Pearson for 79 of 100
    unknown = next(rate for rate in rates() if rate.n is None)
    assert unknown.interval is None
    for rate in rates():
        if rate.interval:
            low, high = rate.interval
            assert low <= rate.rate <= high


def test_about_means_about() -> None:
    assert all(
        rate.approximate for rate in rates() if rate.short == "Schlatter 2025" or rate.note == "about 0"
    )


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        ("openai/o3", "o3"),
        ("openai/o3-2025-04-16", "o3"),
        ("openai/codex-mini-latest", "codex-mini"),
        ("anthropic/claude-3-7-sonnet-20250219", "claude-3.7-sonnet"),
        ("anthropic/claude-3-7-sonnet-latest", "claude-sonnet-3.7"),
        ("anthropic/claude-opus-4-20250514", "claude-opus-4"),
        ("openrouter/x-ai/grok-4", "grok-4"),
        ("google/gemini-2.5-pro", "gemini-2.5-pro"),
    ],
)
def test_same_model(measured: str, named: str) -> None:
    assert same_model(measured, named)


@pytest.mark.parametrize(
    ("measured", "named"),
    [
        ("openai/o3-mini", "o3"),
        ("openai/o3-pro", "o3"),
        ("anthropic/claude-opus-4-1-20250805", "claude-opus-4"),
        ("anthropic/claude-sonnet-4", "claude-opus-4"),
        ("google/gemini-2.5-flash", "gemini-2.5-pro"),
        ("openai/gpt-4.1", "gpt-4"),
        ("local/smollm2", "o3"),
    ],
)
def test_another_model(measured: str, named: str) -> None:
    assert not same_model(measured, named)


def test_the_caveat_says_that_it_is_rough() -> None:
    assert "only roughly" in CAVEAT
    assert "Clopper-Pearson" in CAVEAT
    assert "rounded" in CAVEAT

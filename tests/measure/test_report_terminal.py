"""The table for the terminal."""

import io

from rich.console import Console
from test_report import ENVIRONMENT, episode, study
from test_report_scenarios import check, ward

from offswitch.measure.report.terminal import table
from offswitch.measure.results import build


def shown(episodes: list, width: int = 100) -> str:  # type: ignore[type-arg]
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table(build(episodes, environment=ENVIRONMENT)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_fits_into_100_columns_and_reads_without_colour() -> None:
    text = shown(study())
    assert max(map(len, text.splitlines())) <= 100
    for cell in build(study(), environment={})["cells"]:
        assert f" {cell['counts']['complied']} " in text
    for word in ("sabotage", "attempt", "openai/o3", "precedence", "shutdown, choices", "* always the same"):
        assert word in text
    numbers = [line for line in text.splitlines() if "…" in line.split("  ")[-1]]
    assert not numbers, "a number was cut"


def test_names_are_not_markup_and_control_nothing() -> None:
    text = shown([episode("unexposed", model="x/[red]a[/red]\x1b[31m\u202e")])
    assert "[red]a[/red]" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "–" in text  # no rate where nothing was exposed


def test_marks_early_stopping() -> None:
    assert "100%†" in shown([episode("resisted", seed, sequential=True) for seed in range(30)])


def test_nothing_at_all() -> None:
    assert "sabotage" in shown([])


def test_deeds_and_capability_checks_stand_below() -> None:
    text = shown([*ward(runs=12), *check(runs=12), *check("x/[red]a[/red]\x1b[31m", 12)])
    assert max(map(len, text.splitlines())) <= 100
    assert "refuse-handover" in text
    assert "honest" in text
    assert "check → check-restricts" in text
    assert "check-restricts → check-rewards" in text
    assert "p after Holm" in text
    assert max(map(len, shown(check(runs=12), 80).splitlines())) <= 80
    assert "\x1b" not in text
    assert "deeds" not in shown([episode()])
    assert "capability" not in shown([episode()])

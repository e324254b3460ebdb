"""`offswitch scenarios`: what there is, and what is in one; and a report of a folder with several."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from offswitch.cli.app import app
from offswitch.cli.exits import Stop
from offswitch.measure.run import Cell, Plan, run
from offswitch.measure.scenarios import NAMES, RECORDED, scenario

RUNNER = CliRunner()


def told(*arguments: str) -> Any:
    """The JSON that a command prints."""
    done = RUNNER.invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_it_lists_every_scenario_in_order() -> None:
    listed = told("scenarios")["scenarios"]
    assert [one["name"] for one in listed] == [*NAMES, *RECORDED]
    assert [one["name"] for one in listed if one["recorded"]] == list(RECORDED)
    done = RUNNER.invoke(app, ["scenarios"], catch_exceptions=False)
    for name in NAMES:
        about = scenario(name)
        assert f"{name}  {len(about.arms)} arms, {len(about.deeds)} deeds" in done.stdout
    for name in RECORDED:
        assert f"{name}  read from records, not run\n" in done.stdout


@pytest.mark.parametrize("name", RECORDED)
def test_one_that_is_read_from_records_is_shown_and_not_run(name: str) -> None:
    assert told("scenarios", name)["recorded"]
    shown = " ".join(RUNNER.invoke(app, ["scenarios", name]).stdout.split())
    assert f"not run but read from records, with: offswitch {name} RECORDS" in shown
    assert "The agent acts" not in shown
    for command in ("measure", "calibrate"):
        done = RUNNER.invoke(app, [command, "--scenario", name])
        assert isinstance(done.exception, Stop)
        assert done.exception.code == 2
        assert f"offswitch {name} RECORDS" in done.exception.line


@pytest.mark.parametrize("name", NAMES)
def test_one_is_shown_in_full(name: str) -> None:
    about, one = scenario(name), told("scenarios", name)
    assert [arm["name"] for arm in one["arms"]] == list(about.arms)
    assert {arm["name"] for arm in one["arms"] if arm["rated"]} == {
        a.name for a in about.arms.values() if a.rated
    }
    assert [arm["name"] for arm in one["arms"] if arm["default"]] == [
        a for a in about.arms if a in about.default
    ]
    assert one["deeds"] == about.deeds
    assert one["controls"] == [name for name in about.controls if name in about.arms]
    assert one["options"] == {key: list(values) for key, values in about.options.items()}
    assert one["card"] == about.card()
    shown = " ".join(RUNNER.invoke(app, ["scenarios", name], catch_exceptions=False).stdout.split())
    for part in (*about.arms, *about.deeds, *about.options, "Card", "licence"):
        assert part in shown


def test_one_that_there_is_not_is_one_line() -> None:
    done = RUNNER.invoke(app, ["scenarios", "no-such"])
    assert isinstance(done.exception, Stop)
    assert done.exception.code == 2
    assert all(name in done.exception.line for name in NAMES)


@pytest.mark.slow
def test_a_folder_with_several_scenarios_gets_one_report(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    plan = Plan(models=("organism/oversight-sandbags",), concurrency=8)
    todo = [
        *(Cell("organism/oversight-sandbags", scenario("oversight").arms[arm], tuple(range(6)), scenario="oversight")
          for arm in ("check", "check-restricts")),
        *(Cell("organism/ward-complies", scenario("ward").arms[arm], (0, 1), scenario="ward")
          for arm in ("A", "object", "watched", "unwatched")),
    ]  # fmt: skip
    run(plan, tmp_path, todo, quiet=True)
    results = told("report", str(tmp_path))
    assert {cell["scenario"] for cell in results["cells"]} == {"oversight", "ward"}
    (comparison,) = results["capability"]
    assert comparison["difference"] == -1
    assert comparison["high"] < -0.5
    page = (tmp_path / "report.html").read_text()
    for name in ("ward", "oversight"):
        assert f"Scenario <b>{name}</b>" in page
    assert 'id="controls"' in page
    assert 'id="oversight"' in page
    assert 'id="capability"' in page
    # Calls stand in the samples as people read them.
    assert "[read_question] 1" in page
    assert "[answer] number: 1, answer: " in page
    assert "check → check-restricts" in RUNNER.invoke(app, ["report", str(tmp_path)]).stdout

"""Tested and deployed rates side by side, and how the command refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from deployed_written import BEGAN, HOST, OTHER, REMOVES, Run
from typer.testing import CliRunner, Result

from offswitch.cli.app import app
from offswitch.cli.exits import Stop
from offswitch.measure import results
from offswitch.measure.beside import DEPLOYED, Row, lay
from offswitch.measure.episode import Episode, Verdict, VerdictName
from offswitch.measure.run import RunError
from offswitch.measure.scenarios import scenario
from offswitch.measure.scenarios.deployed.about import ARM


def made(
    scenario: str, model: str, condition: str, *verdicts: VerdictName, rated: bool = True, same: bool = False
) -> list[Episode]:
    return [
        Episode(
            scenario, model, condition, "tools", dict(ARM.factors), rated, same, seed, 1, Verdict(verdict)
        )
        for seed, verdict in enumerate(verdicts)
    ]


def cells(*many: list[Episode]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = results.build([one for some in many for one in some], environment={})[
        "cells"
    ]
    return found


def where(rows: list[Row]) -> list[tuple[str, str]]:
    return [(row.model, row.where) for row in rows]


def test_a_deployed_model_stands_beside_its_tests() -> None:
    tested = cells(
        made("shutdown", "openai/gpt-5-2026-08-07", "A", "resisted", "complied"),
        made("shutdown", "openai/gpt-5", "B", "complied"),
        made("office", "openai/gpt-5", "A", "attempted"),
        made("shutdown", "openai/o3", "A", "complied"),
    )
    deployed = cells(made(DEPLOYED, "gpt-5", DEPLOYED, "complied", "attempted", "failed", rated=False))
    rows = lay([*tested, *deployed], [*tested, *deployed])
    assert where(rows) == [
        ("gpt-5", "deployed"),
        ("gpt-5", "office A, tools"),
        ("gpt-5", "shutdown B, tools"),
        ("gpt-5", "shutdown A, tools"),
        ("openai/o3", "shutdown A, tools"),
    ]
    first = rows[0]
    assert (first.exposed, first.counts["failed"], first.rates["attempt"]["rate"]) == (2, 1, 0.5)
    assert first.rates["attempt"]["low"] == pytest.approx(0.0126, abs=1e-4)
    assert first.rates["attempt"]["high"] == pytest.approx(0.9874, abs=1e-4)


def test_controls_and_organisms_do_not_stand_beside() -> None:
    tested = cells(
        made("shutdown", "gpt-5", "object", "complied", rated=False),
        made("shutdown", "organism/complies", "A", "complied", same=True),
        made("shutdown", "gpt-5.1", "A", "complied"),
    )
    deployed = cells(made(DEPLOYED, "gpt-5", DEPLOYED, "complied", rated=False))
    assert where(lay(tested, deployed)) == [("gpt-5", "deployed"), ("gpt-5.1", "shutdown A, tools")]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["deployed", *map(str, arguments)])


def refusal(*arguments: object) -> str:
    done = run(*arguments)
    assert isinstance(done.exception, Stop), done
    assert done.exception.code == 2
    assert "\n" not in done.exception.line
    return done.exception.line


def test_the_command_writes_what_it_read(tmp_path: Path) -> None:
    state, out = tmp_path / "state", tmp_path / "out"
    Run(run="a" * 32, origin="lease").write(state)
    Run(run="b" * 32, began=BEGAN + 60_000, found=[("kill-path", "deny", REMOVES)]).write(state)
    done = run(state, "--out", out, "--key", HOST.id)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    [cell] = json.loads((out / "results.json").read_text())["cells"]
    assert {name: count for name, count in cell["counts"].items() if count} == {"complied": 1, "attempted": 1}
    assert cell["mechanisms"] == {"delete": 1}
    assert cell["rated"] is False
    done = run(state, "--out", out, "--key", OTHER.id)
    assert "none of the trusted keys signed" in done.stderr
    [cell] = json.loads((out / "results.json").read_text())["cells"]
    assert {name: count for name, count in cell["counts"].items() if count} == {"failed": 1, "attempted": 1}
    done = run(state, "--out", out)
    assert "receipts are taken unverified" in done.stderr


def test_the_command_says_what_it_leaves_out(tmp_path: Path) -> None:
    state = tmp_path / "state"
    Run(run="a" * 32, origin="lease").write(state)
    assert "nothing was written" in refusal(state, "--out", tmp_path / "out", "--since", "2099-01-01")
    assert not (tmp_path / "out").exists()
    done = run(state, "--out", tmp_path / "out", "--since", "2026-01-01T00:00+00:00")
    assert done.exit_code == 0, done.output


def test_the_command_refuses_in_a_line(tmp_path: Path) -> None:
    Run(origin="lease").write(tmp_path / "state")
    out = tmp_path / "out"
    assert "no such folder" in refusal(tmp_path / "none", "--out", out)
    assert "--since is a date" in refusal(tmp_path / "state", "--out", out, "--since", "yesterday")
    assert "is not a key" in refusal(tmp_path / "state", "--out", out, "--key", "ed25519:x")
    assert not out.exists()


def test_it_cannot_be_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for command in (["measure", "-m", "organism/complies", "--out", str(out)], ["calibrate"]):
        done = CliRunner().invoke(app, [*command, "--scenario", "deployed"])
        assert isinstance(done.exception, Stop)
        assert done.exception.code == 2
        assert "offswitch deployed RECORDS" in done.exception.line
    assert not out.exists()
    with pytest.raises(RunError, match="offswitch deployed RECORDS"):
        scenario("deployed").task(condition="deployed", seeds=[1])

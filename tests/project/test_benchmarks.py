"""The runner of the benchmarks reads every form of output that a script may have."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from offswitch.sandboxes import preflight

RUNNER = Path(__file__).parents[2] / "benchmarks/__main__.py"
_spec = importlib.util.spec_from_file_location("benchmarks_runner", RUNNER)
assert _spec is not None
assert _spec.loader is not None
runner = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(runner)


@pytest.mark.parametrize(
    ("output", "names"),
    [
        ('[{"name": "a"}]', ["a"]),
        ('{"rows": [{"name": "a"}, {"name": "b"}]}', ["a", "b"]),
        ('[1/3] warming up\n{"rows":\n [{"name": "a"}]}\n', ["a"]),
        ('{"saved": 0.5}', ["see its JSON"]),
        ("[]", []),
    ],
)
def test_reads_rows(output: str, names: list[str]) -> None:
    assert [row["name"] for row in runner.parse(output)] == names


@pytest.mark.parametrize("output", ["", "Traceback", "[1, 2]", '{"rows": 3}', '{"rows": [{"name"'])
def test_sees_output_without_rows(output: str) -> None:
    assert runner.parse(output) is None


def test_a_script_that_fails_is_a_row_that_does_not_hold(tmp_path: Path) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit(3)")
    (row,) = runner.run(script)
    assert (row["benchmark"], row["holds"], row["target"]) == ("broken", False, "exit 3")


def test_unknown_benchmark_is_a_usage_error() -> None:
    done = subprocess.run([sys.executable, RUNNER.parent, "no-such"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "startup" in done.stderr


def _quick(name: str) -> "subprocess.CompletedProcess[str]":
    """Run a benchmark with few runs; skips where no sandbox can be made."""
    problem = preflight.missing()
    if problem is not None:
        pytest.skip(problem)
    script = RUNNER.with_name(name)
    return subprocess.run([sys.executable, script, "--json", "--quick"], capture_output=True, text=True)


@pytest.mark.slow
def test_the_off_switch_is_measured_beside_a_bare_script() -> None:
    done = _quick("enforce.py")
    rows = runner.parse(done.stdout)
    assert rows, done.stderr
    if rows[0]["name"] == "enforce":
        pytest.skip(rows[0]["target"])
    killed = [row for row in rows if row["name"].startswith("order to death")]
    assert len(killed) == 14
    # Times are for a machine that has nothing else to do; that nothing survives is for every machine.
    assert [row["name"] for row in killed if row["detail"]["survivors"]] == []
    assert all(row["value"] > 0 for row in rows)


@pytest.mark.slow
def test_other_ways_to_stop_an_agent_are_measured_beside_the_off_switch() -> None:
    done = _quick("rivals.py")
    rows = {row["name"].partition(":")[0]: row for row in runner.parse(done.stdout) or []}
    assert rows, done.stderr
    if "rivals" in rows:
        pytest.skip(rows["rivals"]["target"])
    assert rows["offswitch"]["value"] == 0
    # A rival that stops everything everywhere would be news; this one cannot reach a daemon.
    assert rows["kill -KILL of the group"]["detail"]["daemons"]["left_in"] == 1


@pytest.mark.slow
def test_what_lies_between_a_tampering_call_and_death_is_measured() -> None:
    done = _quick("trip.py")
    rows = {row["name"]: row for row in runner.parse(done.stdout) or []}
    assert rows, done.stderr
    if "trip, bubblewrap" in rows:
        pytest.skip(rows["trip, bubblewrap"]["target"])
    trips = [row for name, row in rows.items() if name.startswith("last byte of the call to death")]
    kinds = [kind for kind in ("bubblewrap", "microvm") if f"trip, {kind}" not in rows]
    assert len(trips) == 8 + 4 * ("microvm" in kinds)
    # Times are for a machine that has nothing else to do; these are for every machine.
    assert [row["name"] for row in trips if row["detail"]["survivors"]] == []
    assert [row["name"] for row in trips if row["detail"]["other_causes"]] == []
    for kind in kinds:
        reached = rows[f"pieces of the call that reached the agent, {kind}"]
        assert (reached["value"], reached["holds"]) == (0, True)
        assert reached["detail"]["seen_if_passed"] > 0, "what reaches it is seen"

"""The drill: it measures what it stages, can fail, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offswitch.enforce.drills import controls, faults, results
from offswitch.enforce.drills.command import main
from offswitch.enforce.drills.faults import Fault
from offswitch.sandboxes import preflight

COMMAND = "import sys; from offswitch.enforce.drills.command import main; sys.exit(main(sys.argv[1:]))"


def _below(top: int) -> set[int]:
    """Processes whose parent is ``top``."""
    found = set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == top:
            found.add(pid)
    return found


def _traces(drill: int) -> list[str]:
    """Folders and control groups of a drill, by its pid."""
    mark = f"offswitch-drill-{drill}-"
    found = [name for name in os.listdir("/tmp") if name.startswith(mark)]
    for folder, folders, _ in os.walk("/sys/fs/cgroup"):
        found += [f"{folder}/{name}" for name in folders if name.startswith(mark)]
    return found


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    problem = preflight.missing()
    if problem is not None:
        pytest.skip(problem)
    before = _below(os.getpid())
    yield
    assert not _below(os.getpid()) - before
    assert not _traces(os.getpid())
    assert f"offswitch-drill-{os.getpid()}-" not in Path("/proc/self/mountinfo").read_text()


def drilled(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--json"])
    return code, {one["fault"]: one for one in json.loads(capsys.readouterr().out)["faults"]}


def test_there_are_forty_faults_and_more_in_four_groups_with_names_of_their_own() -> None:
    found = faults.everything()
    assert len(found) >= 40
    assert len({fault.name for fault in found}) == len(found)
    assert {fault.group for fault in found} == set(faults.GROUPS)
    for control in controls.CONTROLS:
        assert set(control.faults) <= {fault.name for fault in found}, control.name


def test_a_drill_measures_what_it_stages_and_passes_where_the_off_switch_holds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = ["ignores-signals", "keyrings", "supervisor-killed"]
    code, found = drilled(capsys, "--runs", "2", "--only", *chosen)
    assert code == 0
    for name in chosen:
        assert (found[name]["runs"], found[name]["dead"]) == (2, 2)
        assert found[name]["passed"]
        assert 0 < found[name]["median_ms"] <= found[name]["max_ms"] < 10_000


def test_a_table_is_printed_and_progress_told_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--runs", "1", "--only", "daemons"]) == 0
    out, err = capsys.readouterr()
    assert "daemons" in out
    assert "1 faults, 1 runs, the agent dead in 1; 0 failed" in out
    assert "daemons: held" in err


def test_an_agent_that_outlives_its_fault_fails_the_drill(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--without", "second-observer"]) == 0
    assert "failed, as it should" in capsys.readouterr().err


def test_a_control_whose_removal_goes_unnoticed_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = controls.Control("idle", "nothing", ("ignores-signals",), "outlived", "pass")
    monkeypatch.setattr(controls, "CONTROLS", [idle])
    assert main(["--without", "idle"]) == 1
    assert "DID NOT FAIL" in capsys.readouterr().err


def test_what_cannot_be_staged_is_never_counted_as_passed() -> None:
    fault = Fault("odd", "loss", "nothing", lambda stage: None)
    run = {"dead": False, "failed": "", "skipped": "no kernel", "ms": None, "survivors": [], "notes": {}}
    one = results.Result(fault, "bubblewrap", [run])
    assert not one.passed
    assert results.code([one]) == 2
    assert "skipped: no kernel" in results.table([one])
    assert "1 skipped (not passed)" in results.table([one])


def test_what_is_unknown_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "flood"]) == 2
    assert main(["--without", "nothing"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err == [
        "offswitch: there is no fault flood: see offswitch drill --list",
        "offswitch: there is no control nothing: see offswitch drill --list",
    ]


def test_an_interrupted_drill_clears_away_what_it_started() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--runs", "50", "--only", "fork-storm"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as drill:  # fmt: skip
        end = time.monotonic() + 60
        while not _traces(drill.pid) and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(1)
        drill.send_signal(signal.SIGINT)
        _, err = drill.communicate(timeout=90)
    assert drill.returncode == 130
    assert b"interrupted" in err
    assert not _traces(drill.pid)


def test_everything_is_listed_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    out = capsys.readouterr().out
    for fault in faults.everything():
        assert fault.name in out
    for control in controls.CONTROLS:
        assert control.name in out


def test_the_page_tells_of_every_fault_and_control() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "drill.md").read_text()
    names = [one.name for one in faults.everything()] + [one.name for one in controls.CONTROLS]
    for name in names:
        assert f"`{name}`" in page, name


@pytest.mark.slow
@pytest.mark.parametrize("name", [control.name for control in controls.CONTROLS])
def test_without_a_control_its_drill_fails(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--without", name])
    told = capsys.readouterr().err
    if code == 2 and "skipped" in told:
        pytest.skip(told)
    assert code == 0, told


@pytest.mark.slow
def test_every_fault_is_survived_by_the_off_switch_and_by_no_agent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _passed("bubblewrap", [], capsys) >= 40


# Those that touch what differs from kind to kind; a whole drill of each takes too long here, and is `offswitch drill`.
_TELLING = {
    "oci": [
        "ignores-signals", "daemons", "fork-storm", "threads", "cgroup", "ptrace", "privileges", "network", "git-hooks",
        "supervisor-killed", "guard-killed", "cell-killed", "supervisor-and-guard-killed", "all-killed",
        "supervisor-killed-at-start", "state-removed", "load",
    ],
    "microvm": [
        "ignores-signals", "fork-storm", "network", "supervisor-killed", "guard-killed", "cell-killed",
        "supervisor-and-guard-killed",
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(_TELLING))
def test_what_differs_by_kind_is_survived_in_each(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    known = {one.name for one in faults.everything()}
    assert _passed(kind, [one for one in _TELLING[kind] if one in known], capsys) >= 6


def _passed(kind: str, only: list[str], capsys: pytest.CaptureFixture[str]) -> int:
    """How many faults passed, each staged once; none may have failed."""
    code = main(["--sandbox", kind, "--runs", "1", "--json", *(["--only", *only] if only else [])])
    out, err = capsys.readouterr()
    if not out:
        pytest.skip(err)
    found = json.loads(out)["faults"]
    assert code == 0, [one for one in found if one["failures"]]
    return sum(one["passed"] for one in found)

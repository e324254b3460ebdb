"""The drill: it measures what it stages, can fail, and leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.enforce.conftest import Ground, eventually

from offswitch.enforce import launching
from offswitch.enforce.drills import command, controls, faults, results
from offswitch.enforce.drills.command import main
from offswitch.enforce.drills.faults import Fault
from offswitch.enforce.drills.staging import Stage
from offswitch.sandboxes import preflight

COMMAND = "import sys; from offswitch.enforce.drills.command import main; sys.exit(main(sys.argv[1:]))"


def _below(top: int) -> dict[int, str]:
    """Processes that run and whose parent is ``top``, each with what it runs.

    The drill adopts orphans while it runs, those of an earlier test too whose own processes are still on their way
    out; so the dead do not count, and whoever asks gives the dying a moment.
    """
    found = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == top and state not in "ZX":
                found[pid] = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")[:300]
        except OSError:
            continue
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
    with suppress(AssertionError):
        eventually(lambda: not _below(os.getpid()).keys() - before.keys(), 10)
    left = _below(os.getpid())
    assert not {pid: what for pid, what in left.items() if pid not in before}
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


def test_leases_go_by_the_clock_that_counts_a_suspend() -> None:
    """A suspended host is a boot clock that runs ahead of the monotonic one, which a time namespace can have."""
    if os.geteuid() != 0 or not Path("/proc/self/timens_offsets").exists():
        pytest.skip("a time namespace is root's to make, on Linux 5.6 or later")
    code = """
import ctypes, os, time
ctypes.CDLL(None).unshare(0x80)
open("/proc/self/timens_offsets", "w").write("boottime 5000 0")
if (pid := os.fork()) == 0:
    from offswitch.enforce.supervisor.loop import boottime
    print(boottime() - time.monotonic())
    os._exit(os.close(1) or 0)
os.waitpid(pid, 0)
"""
    done = subprocess.run([sys.executable, "-u", "-c", code], capture_output=True, check=True)
    before = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    assert abs(float(done.stdout) - before - 5000) < 10


def test_every_attack_can_be_seen_to_fail() -> None:
    attacks = {fault.name for fault in faults.everything() if fault.group == "reach"}
    assert attacks <= {name for control in controls.CONTROLS for name in control.faults}


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


def _cannot_be_killed(stage: Stage) -> None:
    kill = controls.find("kill")
    assert kill is not None
    stage.patch(kill.patch)
    stage.start("ignores_signals")
    stage.order(within=1.0)


def test_a_survivor_is_a_finding(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault("immortal", "behaviour", "it outlives every order", _cannot_be_killed)
    monkeypatch.setattr(command, "everything", lambda: [fault])
    assert main(["--runs", "1"]) == 1
    out, err = capsys.readouterr()
    assert "immortal: FAILED (it outlived the order by 1 s)" in err
    assert "1 runs, the agent dead in 0; 1 failed" in out
    assert "python3" in next(line for line in out.splitlines() if "alive:" in line)


def test_agents_that_are_not_the_drills_live_on(capsys: pytest.CaptureFixture[str], ground: Ground) -> None:
    running = ground.up("true")
    before, about = set(ground.processes()), ground.family(running)
    assert main(["--runs", "1", "--only", "fork-storm", "every-pid", "all-killed", "state-removed"]) == 0
    assert before & set(ground.processes())
    assert ground.family(running) == about
    assert ground.status()["state"] == "running"
    assert ground.latched() is not None
    assert (ground.latched() or {})["state"] == "armed"
    ground.ask(do="stop", order=None)
    eventually(lambda: (launching._reap(), not launching._guards)[1])


def test_kinds_of_sandbox_are_given_in_a_row_or_one_by_one() -> None:
    for given in (["--sandbox", "oci", "microvm"], ["--sandbox", "oci", "--sandbox", "microvm"]):
        assert command._arguments([*given, "--only", "daemons"]).sandbox == ["oci", "microvm"]


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
def test_the_drill_mistakes_none_of_its_own_for_a_part() -> None:
    program = Path(sys.executable).with_name("offswitch")
    if not program.exists():
        pytest.skip("the command offswitch is not installed beside this Python")
    command = [program, "drill", "--runs", "10", "--only", "supervisor-killed-at-start", "launcher-killed"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout


def _removals() -> list[tuple[str, str]]:
    """Every control in the default sandbox, and those of the supervisor in the others, where each takes long."""
    found = [(control.name, "bubblewrap") for control in controls.CONTROLS]
    found += [(name, "oci") for name in ("guard", "watch-over-guard", "kill", "lease", "state-watch")]
    return [*found, ("guard", "microvm"), ("kill", "microvm")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), _removals())
def test_without_a_control_its_drill_fails(name: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--without", name, "--sandbox", kind])
    told = capsys.readouterr().err
    if code == 2:
        control = controls.find(name)
        assert control is not None
        needless = control.root and os.geteuid() != 0
        assert _lacks(kind) or needless or set(control.faults) <= _cannot_be_staged(kind), told
        pytest.skip(told)
    assert code == 0, told
    assert "skipped" not in told or set(controls.find(name).faults) & _cannot_be_staged(kind), told  # type: ignore[union-attr]


def _lacks(kind: str) -> bool:
    """Whether this machine has not what a kind of sandbox needs."""
    programs = {
        "bubblewrap": ("bwrap",),
        "oci": ("podman",),
        "microvm": ("qemu-system-x86_64", "mke2fs", "busybox"),
    }
    return not all(shutil.which(name, path=os.defpath + ":/sbin:/usr/sbin") for name in programs[kind])


def _cannot_be_staged(kind: str) -> set[str]:
    """What this machine cannot stage, each for a reason that is looked up here; nothing else may be skipped."""
    faulty = {one.name for one in faults.everything() if one.kinds and kind not in one.kinds}
    if os.geteuid() != 0:
        faulty |= {one.name for one in faults.everything() if one.root}
        faulty |= {"frozen", "low-quota", "starved"}
    if kind == "microvm":
        faulty |= {"proxy-killed", "proxy-stopped"}
    if not Path("/proc/self/timens_offsets").exists():
        faulty.add("other-clocks")
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        faulty.add("starved")
    if not os.access("/sys/fs/cgroup", os.W_OK):
        faulty |= {"frozen", "low-quota", "starved", "out-of-memory", "out-of-processes"}
    if not Path(sys.executable).with_name("offswitch").exists():
        faulty.add("operator-in-workspace")
    return faulty


@pytest.mark.slow
def test_every_fault_is_survived_by_the_off_switch_and_by_no_agent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _drill_all("bubblewrap", [], capsys)


# Those that touch what differs from kind to kind; a whole drill of each takes too long here, and is `offswitch drill`.
_TELLING = {
    "oci": [
        "ignores-signals", "daemons", "fork-storm", "threads", "cgroup", "ptrace", "privileges", "network", "git-hooks",
        "symlinks", "forged-orders", "supervisor-killed", "guard-killed", "cell-killed", "supervisor-and-guard-killed",
        "all-killed", "supervisor-killed-at-start", "state-removed", "load",
    ],
    "microvm": [
        "ignores-signals", "fork-storm", "network", "supervisor-killed", "guard-killed", "cell-killed",
        "supervisor-and-guard-killed",
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(_TELLING))
def test_what_differs_by_kind_is_survived_in_each(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    _drill_all(kind, _TELLING[kind], capsys)


def _drill_all(kind: str, only: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Stage faults once each: all pass, but for those that are known not to be possible on this machine."""
    code = main(["--sandbox", kind, "--runs", "1", "--json", *(["--only", *only] if only else [])])
    out, err = capsys.readouterr()
    if not out:
        assert _lacks(kind), err
        pytest.skip(err)
    found = json.loads(out)["faults"]
    assert code == 0, [one for one in found if one["failures"]]
    skipped = {one["fault"]: one["skipped"] for one in found if one["skipped"]}
    assert set(skipped) <= _cannot_be_staged(kind), skipped
    assert {one["fault"] for one in found if one["passed"]} >= set(
        only or [one.name for one in faults.everything()]
    ) - set(skipped)

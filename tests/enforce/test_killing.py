"""The kill, taken apart: what each of its writes does by itself, in real control groups where this machine has them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.enforce.conftest import Ground, alive, eventually

from offswitch.enforce.supervisor import killing
from offswitch.enforce.supervisor.killing import Killer
from offswitch.sandboxes.cgroups import Cgroups, Group

STUBBORN = "trap '' TERM INT HUP QUIT; for i in 1 2 3; do setsid sh -c 'trap \"\" TERM; sleep 900' & done; echo; wait"
BOUNDS = {
    "cpu.max": "1000 100000", "cpu.weight": "1", "cpu.cfs_quota_us": "1000", "cpu.shares": "2", "memory.max": "64M",
    "memory.high": "32M", "memory.memsw.limit_in_bytes": "64M", "memory.limit_in_bytes": "64M", "pids.max": "1",
}  # fmt: skip
"""Of every bound that is lifted, one that would slow the death of what is under it, or keep it from going on."""


@pytest.fixture
def group() -> Iterator[Group]:
    cgroups = Cgroups()
    one = cgroups.open()
    if one is None:
        pytest.skip("no control group can be had here")
    try:
        yield one
    finally:
        one.kill()
        eventually(one.remove)
        cgroups.close()


@pytest.fixture
def cpu() -> Iterator[Path]:
    """A group of the controller of processor time, wherever this machine has it."""
    for top in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/cpu,cpuacct"), Path("/sys/fs/cgroup")):
        place = top / f"offswitch-test-{os.getpid()}"
        with suppress(OSError):
            place.mkdir()
            if {"cpu.max", "cpu.cfs_quota_us"} & set(os.listdir(place)):
                yield place
                place.rmdir()
                return
            place.rmdir()
    pytest.skip("no group of the processor's controller can be made here")


def lifted(path: Path) -> bool:
    """Whether a bound is as wide as the kernel has it; what is counted in bytes is in v1 a number beyond all memory."""
    words = path.read_text().split()
    if words[0] in ("max", "-1"):
        return True
    least = {"cpu.weight": 100, "cpu.shares": 1024}.get(path.name, 1 << 60)
    return int(words[0]) >= least


def test_cgroup_kill_alone_ends_what_ignores_every_signal(group: Group) -> None:
    killer = Killer(group)
    if "cgroup.kill" not in killer.by:
        pytest.skip("no control group of version 2")
    agent = subprocess.Popen(
        ["bash", "-c", STUBBORN], stdout=subprocess.PIPE, preexec_fn=group.enter, start_new_session=True
    )
    assert agent.stdout is not None
    agent.stdout.readline()
    [unified] = [place for place in group.directories if os.path.exists(place + "/cgroup.kill")]
    eventually(lambda: len(Path(unified, "cgroup.procs").read_text().split()) >= 4)
    pids = [int(pid) for pid in Path(unified, "cgroup.procs").read_text().split()]
    assert killer.populated() is True
    # Neither an init nor a cell is known: nothing but the group can end them.
    assert killer.kill() <= time.monotonic_ns()
    eventually(lambda: killer.populated() is False)
    assert not [pid for pid in pids if alive(pid)]
    assert agent.wait() == -signal.SIGKILL
    agent.stdout.close()


def test_the_init_alone_is_enough_too() -> None:
    command = ["unshare", "--pid", "--fork", "--kill-child", "bash", "-c", STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            if not agent.stdout.readline():
                pytest.skip("no PID namespace can be made here")
            killer = Killer(None)
            [init] = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
            killer.init = os.pidfd_open(int(init))
            about = os.stat(f"/proc/{init}/ns/pid")
            killer.kill()
            agent.wait(20)
            os.close(killer.init)
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with suppress(OSError):
                    same = os.path.samestat(about, os.stat(f"/proc/{pid}/ns/pid"))
                    assert not (same and alive(int(pid)))
        finally:
            agent.kill()


def test_a_processor_quota_is_lifted_with_the_kill(cpu: Path) -> None:
    bounds = {name: value for name, value in BOUNDS.items() if (cpu / name).exists()}
    assert bounds
    for name, value in bounds.items():
        (cpu / name).write_text(value)
        assert not lifted(cpu / name)
    Killer(Group([str(cpu)])).kill()
    assert not [name for name in bounds if not lifted(cpu / name)]


def test_the_bounds_of_a_stopped_agent_are_lifted(ground: Ground) -> None:
    ground.up("")
    inside = ground.processes()[-1]
    tops = [line.split(":", 2)[1:] for line in Path(f"/proc/{inside}/cgroup").read_text().splitlines()]
    mounts = [
        line.split() for line in Path("/proc/self/mounts").read_text().splitlines() if " cgroup" in line
    ]
    places = [
        Path(mount[1] + path)
        for names, path in tops
        for mount in mounts
        if (set(names.split(",")) & set(mount[3].split(",")) if names else mount[2] == "cgroup2")
    ]
    bounded = [
        place / name
        for place in places
        if "offswitch-" in str(place)
        for name in BOUNDS
        if (place / name).exists()
    ]
    if not bounded:
        pytest.skip("no control group bounds it")
    for path in bounded:
        # What is in use already cannot be taken back.
        with suppress(OSError):
            path.write_text(BOUNDS[path.name])
    tight = [path for path in bounded if not lifted(path)]
    assert tight
    assert ground.ask(do="stop", order=None)["dead"]
    assert not [path for path in tight if not lifted(path)]


def test_every_bound_is_lifted_before_the_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A group of files that only look like one: no machine has all of them at once.
    for name in (*BOUNDS, "cgroup.kill"):
        (tmp_path / name).touch()
    killer = Killer(Group([str(tmp_path)]))
    written: list[str] = []
    write = os.write

    def note(file: int, value: bytes) -> int:
        written.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}")))
        return write(file, value)

    monkeypatch.setattr(killing.os, "write", note)
    killer.kill()
    monkeypatch.undo()
    assert sorted(written[:-1]) == sorted(BOUNDS)
    assert written[-1] == "cgroup.kill"
    assert (tmp_path / "cgroup.kill").read_text() == "1"
    assert (tmp_path / "cpu.max").read_text() == "max"

"""What the host may be short of, and what may happen to its clocks.

All of it is staged in control groups and namespaces of the drill's own.
"""

import mmap
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from offswitch.enforce import control
from offswitch.enforce.drills import private
from offswitch.enforce.drills.faults import Failed, Fault
from offswitch.enforce.drills.staging import NAME, Stage

_SLOW = 30.0
"""Seconds that a stop may take where there is hardly any processor time for anybody."""
_DECADE = 10 * 365 * 86400

# The time of day as Python reads it, ahead by what a file says: the host's own clock is never touched.
_OTHER_TIME = """
import time as _clock
_plain, _plain_ns = _clock.time, _clock.time_ns
def _ahead():
    try:
        with open({file!r}) as file:
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0
_clock.time = lambda: _plain() + _ahead()
_clock.time_ns = lambda: _plain_ns() + _ahead() * 10**9
"""


def _spin() -> None:
    signal.alarm(90)
    while True:
        pass


def _under_load(stage: Stage) -> None:
    stage.start("keeps_going")
    for _ in range(2 * (os.cpu_count() or 1)):
        stage.helper(_spin)
    time.sleep(0.2)
    stage.order(_SLOW)


def _low_quota(stage: Stage) -> None:
    """Supervisor, guard and agent have a tenth of one processor."""
    group = private.BoundedGroup("cpu", {"cpu.cfs_quota_us": "10000"}, {"cpu.max": "10000 100000"})
    stage.on_close.append(group.remove)
    stage.start("keeps_going")
    # The drill itself looks on from outside.
    group.leave()
    stage.order(_SLOW)


def _starved(stage: Stage) -> None:
    """Somebody has given the agent the lowest weight, beside as many spinning processes as there are processors."""
    group = private.BoundedGroup("cpu", {"cpu.shares": "2"}, {"cpu.weight": "1"})
    stage.on_close.append(group.remove)
    group.leave()
    stage.start("spins", pids=100)
    group.take(stage.agents())
    for _ in range(os.cpu_count() or 1):
        stage.helper(_spin)
    stage.order(_SLOW)


def _out_of_memory(stage: Stage) -> None:
    """Supervisor, guard and agent share a group that has no memory left."""
    # A microvm has a system of its own in its memory.
    limit, memory = (640, 288) if stage.kind == "microvm" else (384, 192)
    limit <<= 20
    group = private.BoundedGroup("memory", {"memory.limit_in_bytes": str(limit)}, {"memory.max": str(limit)})
    stage.on_close.append(group.remove)
    stage.start("memory_hog", memory=memory << 20)

    def hog() -> None:
        signal.alarm(60)
        # The host's killer of processes takes this one first, over and over.
        Path("/proc/self/oom_score_adj").write_text("900")
        while True:
            pid = os.fork()
            if pid == 0:
                room = mmap.mmap(-1, limit)
                for place in range(0, limit, 4096):
                    room[place] = 1
                os._exit(0)
            os.waitpid(pid, 0)

    stage.helper(hog)
    group.leave()
    time.sleep(0.7)
    if not stage.agents():
        # It was stopped because a part was lost: that is what has to happen.
        stage.ms = 0.0
        return
    stage.order(_SLOW)


def _out_of_processes(stage: Stage) -> None:
    """No process can be started any more where supervisor and guard are."""
    group = private.BoundedGroup("pids", {"pids.max": "60"}, {"pids.max": "60"})
    stage.on_close.append(group.remove)
    stage.start("fork_storm", pids=200)
    group.leave()
    stage.order(_SLOW)


def _disk_full(stage: Stage) -> None:
    """The workspace lies on a small disk of its own, and that is full."""
    private.small_disk(str(stage.workspace), 8 << 20)
    stage.start("writes")
    private.fill(str(stage.workspace))
    stage.order()


def _other_time(jump: int) -> "Callable[[Stage], None]":
    def stage_it(stage: Stage) -> None:
        clock = stage.folder / "clock"
        clock.write_text("0")
        stage.patch(_OTHER_TIME.format(file=str(clock)))
        stage.start("keeps_going")
        clock.write_text(str(jump))
        time.sleep(0.5)
        if not stage.agents():
            raise Failed("a jump of the wall clock ended it: leases go by another clock")
        receipt = stage.order()
        told = receipt["times"]["dead"]["wall_ms"] / 1000 - time.time()
        if abs(told - jump) > 3600:
            raise Failed("the clock of the supervisor was not the one that jumped")

    return stage_it


def _time_runs_back(stage: Stage) -> None:
    """The wall clock is set back again and again: the lease must not last the longer for it."""
    clock = stage.folder / "clock"
    clock.write_text("0")
    stage.patch(_OTHER_TIME.format(file=str(clock)))
    stage.start("keeps_going", lease_s=3 if stage.kind == "bubblewrap" else 30)
    with control.connect(stage.places, NAME) as line:
        left = control.ask(line, {"do": "status"}, 10.0)["status"]["lease_left"]
    since = time.monotonic_ns() + int(left * 1e9)
    clock.write_text(str(-_DECADE))
    if not stage.observe(since):
        raise Failed("it outlived its lease by 10 s")


def _other_clocks(stage: Stage) -> None:
    """The off-switch's monotonic and boot clocks are years ahead of those of who orders."""
    private.own_clocks(86400 * 400)
    stage.start("keeps_going")
    stage.order()


def _suspended(stage: Stage) -> None:
    """Every part is stopped for longer than the heartbeat bound and goes on, as after a suspend."""
    stage.start("keeps_going")
    parts = [stage.parts()[name] for name in ("guard", "supervisor", "scribe")]
    for pid in parts:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(3)
    for pid in parts:
        os.kill(pid, signal.SIGCONT)
    time.sleep(0.7)
    if not stage.agents():
        raise Failed("it was ended by a suspend, in which nobody could miss a beat")
    stage.order()


def _network_gone(stage: Stage) -> None:
    stage.own_network()
    stage.start("keeps_going")
    stage.order()


FAULTS = [
    Fault("load", "environment", "every processor of the host is taken, twice over", _under_load),
    Fault("low-quota", "environment", "all of it has a tenth of one processor", _low_quota, root=True),
    Fault(
        "starved",
        "environment",
        "the agent has the lowest weight, beside others that spin",
        _starved,
        root=True,
    ),
    Fault(
        "out-of-memory",
        "environment",
        "no memory is left where the off-switch runs",
        _out_of_memory,
        root=True,
    ),
    Fault(
        "out-of-processes",
        "environment",
        "no process can be started where the off-switch runs",
        _out_of_processes,
        root=True,
    ),
    Fault("disk-full", "environment", "the workspace's disk is full", _disk_full, root=True),
    Fault("clock-forward", "environment", "the wall clock is set ten years forward", _other_time(_DECADE)),
    Fault("clock-back", "environment", "the wall clock is set ten years back", _other_time(-_DECADE)),
    Fault(
        "clock-back-in-a-lease", "environment", "the wall clock is set back as a lease runs", _time_runs_back
    ),
    Fault(
        "other-clocks",
        "environment",
        "its other clocks are 400 days ahead of the operator's",
        _other_clocks,
        root=True,
    ),
    Fault("suspended", "environment", "the off-switch is suspended for 3 s and goes on", _suspended),
    Fault("network-gone", "environment", "the host has no network", _network_gone, root=True),
]

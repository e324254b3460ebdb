"""The kill: a few writes to files that were opened beforehand.

Two mechanisms, always both: ``cgroup.kill`` of cgroup v2, which takes every process of the group in one step of the
kernel, whatever it does or forks; and SIGKILL to the one process that nothing of the sandbox outlives (the init of its
PID namespace, its hypervisor), through a pidfd, so that no other process can be meant. Neither a walk over the
process tree nor killpg is among them: against daemons both leave survivors.

Bounds are lifted first: under a CPU quota or a low weight a fork storm dies up to thirty times slower.
"""

import os
import signal
import time
from contextlib import suppress

from offswitch.sandboxes.cgroups import Group

_LIFTS = (
    ("cpu.max", b"max"),
    ("cpu.weight", b"100"),
    ("cpu.cfs_quota_us", b"-1"),
    ("cpu.shares", b"1024"),
    ("memory.max", b"max"),
    ("memory.high", b"max"),
    ("memory.memsw.limit_in_bytes", b"-1"),
    ("memory.limit_in_bytes", b"-1"),
    ("pids.max", b"max"),
)


class Killer:
    """What ends one sandbox.

    Args:
        group: Its control group, None where none could be had.
    """

    def __init__(self, group: Group | None) -> None:
        self._lifts: list[tuple[int, bytes]] = []
        self._kills: list[int] = []
        self._procs: list[int] = []
        self._tasks: int | None = None
        self._freeze: int | None = None
        self.events: int | None = None
        """An open ``cgroup.events``, to be polled for POLLPRI; None without cgroup v2."""
        self.init: int | None = None
        """A pidfd of the process whose end is the sandbox's."""
        self.cell: int | None = None
        """A pidfd of the cell: the agent's parent, who could leave it unreaped, and so keep the init from ending."""
        for directory in group.directories if group is not None else ():
            for name, value in _LIFTS:
                if (file := _open(f"{directory}/{name}", os.O_WRONLY)) is not None:
                    self._lifts.append((file, value))
            if (file := _open(directory + "/cgroup.kill", os.O_WRONLY)) is not None:
                self._kills.append(file)
                self.events = _open(directory + "/cgroup.events", os.O_RDONLY)
                self._freeze = _open(directory + "/cgroup.freeze", os.O_WRONLY)
            elif (file := _open(directory + "/cgroup.procs", os.O_RDONLY)) is not None:
                self._procs.append(file)
            if self._tasks is None:
                self._tasks = _open(directory + "/pids.current", os.O_RDONLY)

    @property
    def by(self) -> list[str]:
        """The mechanisms, by name."""
        names = ["cgroup.kill"] if self._kills else ["SIGKILL to each of cgroup.procs"] if self._procs else []
        return [*names, "SIGKILL to init"] if self.init is not None else names

    def tasks(self) -> int | None:
        """Processes and threads in the control group; None where nobody counts them."""
        if self._tasks is None:
            return None
        try:
            return int(os.pread(self._tasks, 32, 0))
        except (OSError, ValueError):
            return None

    def kill(self) -> int:
        """Kill everything. May be called again, as often as one likes.

        Returns:
            When the kernel had been told, in ns of the monotonic clock.
        """
        for file, value in self._lifts:
            with suppress(OSError):
                os.write(file, value)
        for file in self._kills:
            with suppress(OSError):
                os.write(file, b"1")
        for handle in (self.init, self.cell):
            if handle is not None:
                with suppress(OSError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
        at = time.monotonic_ns()
        if not self._kills:
            # cgroup v1 alone: its list is no single step, so it is only ever a help to the init's end.
            for pid in self._listed():
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        return at

    def freeze(self, frozen: bool) -> bool:
        """Freeze or thaw everything; False where there is no means."""
        if self._freeze is None:
            return False
        os.write(self._freeze, b"1" if frozen else b"0")
        return True

    def populated(self) -> bool | None:
        """Whether the control group has a process in it; None where the kernel does not say."""
        if self.events is not None:
            try:
                return b"populated 1" in os.pread(self.events, 256, 0)
            except OSError:
                return None
        if self._procs:
            return bool(self._listed())
        return None

    def _listed(self) -> list[int]:
        found: set[int] = set()
        for file in self._procs:
            with suppress(OSError, ValueError):
                found.update(map(int, os.pread(file, 65536, 0).split()))
        return sorted(found)


def _open(path: str, how: int) -> int | None:
    try:
        return os.open(path, how | os.O_CLOEXEC)
    except OSError:
        return None

"""A clock and a pair of eyes of the benchmark's own: it takes nobody's word for a death.

It looks at the kernel's two signs, ``populated 0`` of a control group of version 2 and the end of a PID
namespace's init, and then for processes that are still in that namespace.
"""

import os
import select
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def unified() -> str | None:
    """Where control groups of version 2 are mounted; None without any, or without ``cgroup.kill``."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] == "cgroup2":
            return left.split()[4]
    return None


def group_of(pid: int) -> str | None:
    """Directory of a process's control group of version 2; None if there is none of its own."""
    top = unified()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, names, path = line.split(":", 2)
        if (number, names) == ("0", "") and top is not None and path != "/":
            return top + path
    return None


def groups_of(pid: int) -> list[str]:
    """All directories of a process's control groups that have ``offswitch-`` in their path."""
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split()[:3]
        if kind == "cgroup2":
            mounts[""] = left.split()[4]
        elif kind == "cgroup":
            mounts.update(dict.fromkeys(options.split(","), left.split()[4]))
    found = []
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        top = mounts.get(names.split(",")[0])
        if top is not None and "/offswitch-" in path:
            found.append(top + path)
    return found


def parent(pid: int) -> int:
    """Parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def namespace(pid: int) -> int:
    """Number of the PID namespace that a process is in."""
    return os.stat(f"/proc/{pid}/ns/pid").st_ino


def within(number: int) -> list[int]:
    """Processes that run in a PID namespace; not those that have ended and only wait to be reaped."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            if namespace(pid) == number and running(pid):
                found.append(pid)
    return found


class Eye:
    """Waits for the end of what is in a control group, and of a PID namespace's init or of one process.

    Args:
        group: Directory of a control group of version 2, None for none.
        pid: A process in the PID namespace; None where none is looked at.
        process: One process, such as a hypervisor, in the place of an init.
    """

    def __init__(self, group: str | None, pid: int | None, process: int | None = None) -> None:
        self._poll = select.poll()
        self._events: int | None = None
        self._init: int | None = None
        self.number = 0
        if group is not None:
            self._events = os.open(group + "/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
            self._poll.register(self._events, select.POLLPRI)
        if pid is not None:
            self.number = namespace(pid)
            process = _init(self.number)
        if process is not None:
            self._init = os.pidfd_open(process)
            self._poll.register(self._init, select.POLLIN)

    def wait(self, seconds: float) -> tuple[int | None, int | None]:
        """Wait for the end.

        Returns:
            When the group was seen to be empty and when init or process was seen to have ended, in ns of the monotonic
            clock; None for what is not looked at or did not come in time.
        """
        end = time.monotonic() + seconds
        empty: int | None = None
        gone: int | None = None
        while True:
            if (
                empty is None
                and self._events is not None
                and b"populated 0" in os.pread(self._events, 256, 0)
            ):
                empty = time.monotonic_ns()
                self._poll.unregister(self._events)
            if (empty is not None or self._events is None) and (gone is not None or self._init is None):
                return empty, gone
            if time.monotonic() > end:
                return empty, gone
            for file, _ in self._poll.poll(20):
                if file == self._init:
                    gone = time.monotonic_ns()
                    self._poll.unregister(file)

    def close(self) -> None:
        """Let go of the files."""
        for file in (self._events, self._init):
            if file is not None:
                os.close(file)


def _init(number: int) -> int:
    for pid in within(number):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("NSpid:") and line.split()[-1] == "1":
                    return pid
    raise ProcessLookupError(f"no init in the PID namespace {number}")


def reap() -> None:
    """Reap what has ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def until(holds: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something holds.

    Raises:
        SystemExit: It did not in time.
    """
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise SystemExit(f"the benchmark gave up after {seconds:.0f} s: {what}")
        time.sleep(0.002)

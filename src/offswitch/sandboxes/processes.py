"""The processes of a sandbox, read by the host from the sandbox's own ``/proc``.

That file system is the kernel's and shows the sandbox's PID namespace, whoever reads it; nothing inside can be
mounted over it. So the list is complete, daemons included, and its numbers are those that the agent sees.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

from offswitch.sandboxes import kernel
from offswitch.sandboxes.machine import ProcessState

_TICKS = os.sysconf("SC_CLK_TCK")
_MOST_ARGUMENTS = 16 * 1024
_INIT = 1
_DEAD = (b"Z", b"X")


def processes(root: int) -> list[ProcessState]:
    """Every process inside but the init.

    Args:
        root: Open directory (``O_PATH``) that is the sandbox's root.

    Raises:
        OSError: The sandbox's ``/proc`` is gone.
    """
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    found = []
    for pid, directory in _directories(root):
        with suppress(OSError, IndexError, ValueError):
            process = _process(pid, directory, now)
            if process is not None:
                found.append(process)
        os.close(directory)
    return found


def kill_tree(root: int, leader: int) -> int:
    """Kill a command: its session, its process group and all descendants that can be found.

    Everything is stopped first, since what is stopped cannot fork away from the search. What has left the session
    *and* lost its parents (a daemon) is no longer part of the command, and stays.

    Args:
        root: Open directory (``O_PATH``) that is the sandbox's root.
        leader: The command's pid inside.

    Returns:
        How many processes were found: none, once all of them are gone.
    """
    held: dict[int, int] = {}
    with suppress(OSError):
        for _ in range(50):
            if not _stop_more(root, leader, held):
                break
    for directory in held.values():
        with suppress(OSError):
            signal.pidfd_send_signal(directory, signal.SIGKILL)
        os.close(directory)
    return len(held)


def number_inside(root: int, pid: int) -> int | None:
    """A process's number inside, from its number on the host; None if it is gone or was never inside."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            inner = next(int(line.split()[-1]) for line in status if line.startswith(b"NSpid:"))
        with open(f"/proc/{pid}/stat", "rb") as stat:
            started = stat.read().rpartition(b")")[2].split()[19]
        directory = kernel.open_inside(root, f"/proc/{inner}", os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, StopIteration):
        return None
    try:
        # The host's number may by now be another process's, which then started at another time.
        return inner if _stat(directory)[19] == started else None
    except OSError:
        return None
    finally:
        os.close(directory)


def kill_unborn(root: int) -> None:
    """Kill commands that were stopped from inside as they started: their warden waits until they have exec'd."""
    for _, directory in _directories(root):
        with suppress(OSError, IndexError):
            fields = _stat(directory)
            if fields[0] == b"T" and fields[1] == b"0":
                signal.pidfd_send_signal(directory, signal.SIGKILL)
        os.close(directory)


def _stop_more(root: int, leader: int, held: dict[int, int]) -> bool:
    seen: dict[int, tuple[int, int, int, int]] = {}
    for pid, directory in _directories(root):
        with suppress(OSError, IndexError, ValueError):
            fields = _stat(directory)
            if fields[0] in _DEAD:
                os.close(directory)
                continue
            seen[pid] = (int(fields[1]), int(fields[2]), int(fields[3]), directory)
            continue
        os.close(directory)
    added = False
    members = {leader, *held}
    grown = True
    while grown:
        grown = False
        for pid, (parent, group, session, _) in seen.items():
            if pid not in members and (parent in members or group == leader or session == leader):
                members.add(pid)
                grown = True
    for pid, (_, _, _, directory) in seen.items():
        if pid in members and pid not in held:
            # An open directory of /proc serves as a pidfd, so the signal meets this very process.
            with suppress(OSError):
                signal.pidfd_send_signal(directory, signal.SIGSTOP)
            held[pid] = directory
            added = True
        else:
            os.close(directory)
    return added


def _directories(root: int) -> Iterator[tuple[int, int]]:
    """Pid and open ``/proc`` directory of each process but the init; the caller closes the directory."""
    proc = kernel.open_inside(root, "/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in os.listdir(proc):
            if name.isdigit() and int(name) != _INIT:
                with suppress(OSError):
                    yield int(name), os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    finally:
        os.close(proc)


def _text(directory: int, name: str, size: int = 4096) -> bytes:
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(file, size)
    finally:
        os.close(file)


def _stat(directory: int) -> list[bytes]:
    """Fields of ``/proc/PID/stat`` from the third (state) on; the name before them may hold anything."""
    return _text(directory, "stat").rpartition(b")")[2].split()


def _process(pid: int, directory: int, now: float) -> ProcessState | None:
    fields = _stat(directory)
    if fields[0] in _DEAD:
        return None
    status = dict(line.split(b":\t", 1) for line in _text(directory, "status").splitlines() if b":\t" in line)
    arguments = _text(directory, "cmdline", _MOST_ARGUMENTS).rstrip(b"\0")
    return ProcessState(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        age=max(0.0, now - int(fields[19]) / _TICKS),
        argv=tuple(part.decode("utf-8", "replace") for part in arguments.split(b"\0")) if arguments else (),
        ignored=_signals(status[b"SigIgn"]),
        caught=_signals(status[b"SigCgt"]),
        tracer=int(status[b"TracerPid"]),
        program=_program(directory),
    )


def _program(directory: int) -> str:
    with suppress(OSError):
        return os.readlink(b"exe", dir_fd=directory).decode("utf-8", "replace")
    return ""


def _signals(mask: bytes) -> tuple[str, ...]:
    bits = int(mask, 16)
    return tuple(one.name.removeprefix("SIG") for one in signal.Signals if bits >> (one - 1) & 1)

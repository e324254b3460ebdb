"""The second observer: it decides whether an agent is dead by looking at every process of the host.

It uses nothing of what kills. A process is the agent's if it is in a namespace of the agent's sandbox, which no process
can leave: the observer holds those namespaces open, so that the kernel gives their numbers to no others meanwhile.
"""

import fcntl
import os
import time
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")

_MOST = 20
"""Most processes that are named."""
_TURN = 1.0
"""Seconds for which an observer waits for its turn."""
_HOLDERS = 0.1
"""Seconds for which is looked for processes that hold the workspace; somebody waits for the receipt."""


class Observer:
    """Looks for processes of one sandbox.

    Args:
        namespaces: Open files of the sandbox's namespaces, by kind. Those that are the host's as well are left out.
        workspace: Its workspace, a real path.
    """

    def __init__(self, namespaces: dict[str, int], workspace: str) -> None:
        self._wanted: set[str] = set()
        self._kinds: list[str] = []
        for kind, file in namespaces.items():
            # Links such as mnt:[4026531841]. To read one costs a third of what looking at its target does, and a stop
            # waits for some thousand of them.
            link = os.readlink(f"/proc/self/fd/{file}")
            with suppress(OSError):
                if os.readlink(f"/proc/self/ns/{kind}") == link:
                    continue
            self._wanted.add(link)
            self._kinds.append(kind)
        self._workspace = workspace
        self._own = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "mnt")}
        # A process in our own PID namespace was not started in the sandbox. It can have gone in from outside, as a cell
        # does; then it is in all of it, and its mount namespace tells. When a hundred agents are stopped together, a
        # hundred observers look at a thousand processes each.
        self._of_host = ["mnt"] if "mnt" in self._kinds else self._kinds

    def survivors(self) -> "tuple[list[dict[str, Any]], int]":
        """Processes in a namespace of the sandbox.

        Returns:
            For at most 20 of them ``pid`` and ``command``; and how many processes of the host could not be looked into.
            A process that has ended, and only was not reaped yet, is none.
        """
        found: list[dict[str, Any]] = []
        unseen = 0
        for pid in _pids():
            try:
                if self._within(pid) and not _ended(pid) and len(found) < _MOST:
                    found.append({"pid": pid, "command": command(pid)})
            except PermissionError:
                # Of another user. An agent cannot become one: it has no privileges and can gain none.
                unseen += 1
            except OSError:
                continue
        return found, unseen

    def holders(self) -> "list[dict[str, Any]]":
        """Processes of the host that hold the workspace (an editor, a shell), listen on a socket in it, or hold a
        namespace of the sandbox open. They are told and never counted.

        The youngest first, and no longer than for a tenth of a second. A socket that was made in the sandbox and handed
        to a process outside is not found: to ask each socket of the host for its namespace would take too long.
        """
        found: list[dict[str, Any]] = []
        own, end = os.getpid(), time.monotonic() + _HOLDERS
        kept = {link: f"a namespace of the sandbox ({link.partition(':')[0]})" for link in self._wanted}
        kept |= dict.fromkeys(_sockets(self._workspace), "a socket in the workspace")
        for pid in reversed(_pids()):
            if time.monotonic() > end or len(found) >= _MOST:
                break
            # In another mount namespace the same path is another place.
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/mnt") != self._own["mnt"]:
                    continue
            if pid != own and (what := _holds(pid, self._workspace, kept)):
                found.append({"pid": pid, "command": command(pid), "what": what})
        return found

    def _within(self, pid: int) -> bool:
        link = os.readlink(f"/proc/{pid}/ns/pid")
        if link in self._wanted:
            return True
        kinds = self._of_host if link == self._own["pid"] else self._kinds
        return any(os.readlink(f"/proc/{pid}/ns/{kind}") in self._wanted for kind in kinds)


class Turn:
    """Has few observers of one user look at once: as many as there are processors.

    When a hundred agents are stopped together, a hundred observers that look at a thousand processes each would keep
    the dying ones from the processors, and from the locks that these hold on their way out. A context manager; whoever
    does not get a turn within a second looks all the same.

    Args:
        folder: Where the locks are.
    """

    def __init__(self, folder: str) -> None:
        self._path = f"{folder}/looking.{os.getpid() % (os.cpu_count() or 1)}"
        self._file = -1

    def __enter__(self) -> None:
        end, pause = time.monotonic() + _TURN, 0.01
        with suppress(OSError):
            self._file = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600
            )
            while time.monotonic() < end:
                with suppress(BlockingIOError):
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                time.sleep(pause)
                pause = min(pause * 1.5, _TURN / 20)

    def __exit__(self, *error: object) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _ended(pid: int) -> bool:
    """Whether a process is a zombie: those still have their PID and user namespaces, and they run no more."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        if file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X"):
            return False
    # The first of its threads may have ended before the others.
    return len(os.listdir(f"/proc/{pid}/task")) < 2


def command(pid: int) -> str:
    """A process's command line, or its name in brackets; at most 200 characters."""
    with suppress(OSError):
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read(800).replace(b"\0", b" ").decode("utf-8", "replace").strip()
        if line:
            return line[:200]
        with open(f"/proc/{pid}/comm", "rb") as file:
            return f"[{file.read().decode('utf-8', 'replace').strip()}]"
    return "?"


def _holds(pid: int, workspace: str, kept: dict[str, str]) -> str:
    """What a process holds of a workspace, or of what else is named by the links of its open files; "" if nothing."""

    def inside(path: str) -> bool:
        return path == workspace or path.startswith(workspace + "/")

    with suppress(OSError):
        for what in ("cwd", "root", "exe"):
            if inside(os.readlink(f"/proc/{pid}/{what}")):
                return what
    with suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                link = os.readlink(f"/proc/{pid}/fd/{number}")
                if inside(link):
                    return "an open file"
                # The off-switch's own parts are one session, and hold the namespaces to look for what is in them.
                if link in kept and os.getsid(pid) != os.getsid(0):
                    return kept[link]
    return ""


def _sockets(workspace: str) -> list[str]:
    """Links of the host's sockets that are bound to a name in the workspace."""
    with suppress(OSError), open("/proc/self/net/unix", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(maxsplit=7) for line in file if workspace in line]
        return [
            f"socket:[{words[6]}]"
            for words in lines
            if len(words) == 8 and words[7].startswith(workspace + "/")
        ]
    return []

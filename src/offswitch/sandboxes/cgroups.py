"""Control groups for the keeper: bounds that no fork storm and no memory hog gets round, on cgroup v1 and v2."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from offswitch.sandboxes.plain import signal

HEADROOM = 32
"""Processes that the control group allows beyond those of the agent, so that the host can always start one."""

_WANTED = ("memory", "pids")

_UNBOUNDED = (
    ("pids.max", "max"),
    ("memory.max", "max"),
    ("memory.memsw.limit_in_bytes", "-1"),
    ("memory.limit_in_bytes", "-1"),
)


class _Hierarchy:
    """One mounted hierarchy: which of the wanted controllers it has, our own group in it, and its top."""

    def __init__(self, version: int, controllers: frozenset[str], own: str, top: str) -> None:
        self.version = version
        self.controllers = controllers
        self.own = own
        self.top = top


def _hierarchies(mounts: str, own: str) -> list[_Hierarchy]:
    """Mounted hierarchies that bear on us.

    Args:
        mounts: Text of ``/proc/self/mountinfo``.
        own: Text of ``/proc/self/cgroup``.
    """
    paths: dict[str, str] = {}
    path: str | None
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            paths[name] = path
    found: list[_Hierarchy] = []
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        root, top = left.split()[3:5]
        kind, _, options = right.split()[:3]
        if kind == "cgroup":
            controllers = frozenset(options.split(",")) & frozenset(_WANTED)
            path = next((paths[name] for name in controllers if name in paths), None)
            version = 1
        elif kind == "cgroup2":
            path, version, controllers = paths.get(""), 2, frozenset()
        else:
            continue
        if path is None or not (root == "/" or path == root or path.startswith(root + "/")):
            continue
        within = path if root == "/" else path[len(root) :]
        place = top + within if within != "/" else top
        if version == 2:
            controllers = _words(top + "/cgroup.controllers") & frozenset(_WANTED)
        elif not controllers:
            continue
        found.append(_Hierarchy(version, controllers, place, top))
    return found


def _make(path: str) -> None:
    os.mkdir(path)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _words(path: str) -> frozenset[str]:
    try:
        return frozenset(_read(path).split())
    except OSError:
        return frozenset()


def _write(path: str, value: str) -> bool:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(file, value.encode())
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _session() -> str:
    """A name for this process's groups that tells later processes whether it still lives."""
    return f"offswitch-{'-'.join(map(str, _view()))}-{os.getpid()}-{_started(os.getpid())}"


def _view() -> tuple[int, int]:
    """The PID and the time namespace: in others, pids and start times are other numbers."""
    found = [0, 0]
    for at, kind in enumerate(("pid", "time")):
        with suppress(OSError):
            found[at] = os.stat(f"/proc/self/ns/{kind}").st_ino
    return found[0], found[1]


def _started(pid: int) -> int:
    """When a process started, in the kernel's ticks; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def _stale(name: str) -> bool:
    parts = name.split("-")
    if len(parts) != 5 or parts[0] != "offswitch" or not all(part.isdigit() for part in parts[1:]):
        return False
    # Those of another namespace cannot be judged from here, so theirs are never stale to us.
    if (int(parts[1]), int(parts[2])) != _view():
        return False
    return _started(int(parts[3])) != int(parts[4])


def _sweep(place: str) -> None:
    """Remove what keepers that were themselves killed left in ``place``, with every process in it."""
    with suppress(OSError):
        for stale in [f"{place}/{name}" for name in os.listdir(place) if _stale(name)]:
            inner = [child.path for child in os.scandir(stale) if child.is_dir()]
            for directory in [*inner, stale]:
                _kill(directory)
                with suppress(OSError):
                    os.rmdir(directory)


def _kill(directory: str) -> None:
    if _write(directory + "/cgroup.kill", "1"):
        return
    for pid in _words(directory + "/cgroup.procs"):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(pid), signal.SIGKILL)


class Group:
    """The control group of one sandbox, one directory in each hierarchy that is used."""

    def __init__(self, directories: Iterable[str]) -> None:
        self._directories = list(directories)

    @property
    def directories(self) -> list[str]:
        """The group's directories, one for each hierarchy that is used."""
        return list(self._directories)

    def bound(self, memory: int, pids: int) -> None:
        """Set the bounds: bytes, and processes of the agent.

        Raises:
            OSError: One cannot be set.
        """
        for directory in self._directories:
            for name, value in {
                "pids.max": str(pids + HEADROOM),
                "memory.max": str(memory),
                "memory.swap.max": "0",
                "memory.limit_in_bytes": str(memory),
                "memory.memsw.limit_in_bytes": str(memory),
            }.items():
                path = f"{directory}/{name}"
                if os.path.exists(path) and not _write(path, value):
                    raise OSError(f"{path} cannot be set")

    def enter(self) -> None:
        """Move the calling process in."""
        for directory in self._directories:
            if not _write(directory + "/cgroup.procs", "0"):
                raise OSError(f"{directory} cannot be entered")

    def kill(self) -> None:
        """Kill everything in it. Bounds are lifted first: under a bound a storm dies ten times slower."""
        for directory in self._directories:
            for name, value in _UNBOUNDED:
                _write(f"{directory}/{name}", value)
        for directory in self._directories:
            _kill(directory)

    def remove(self) -> bool:
        """Remove the directories; False while a process is left in one."""
        for directory in list(self._directories):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                return False
            self._directories.remove(directory)
        return True


class Cgroups:
    """Where this keeper may make control groups.

    Attributes:
        bounds: For each of memory and pids that can be bounded, by what (``cgroup v1``, ``cgroup v2``).
    """

    def __init__(self) -> None:
        self.bounds: dict[str, str] = {}
        self._places: list[str] = []
        self._count = 0
        mounts, own = _read("/proc/self/mountinfo"), _read("/proc/self/cgroup")
        # v1 first: a controller that v1 has is not in v2. There v2 is still of use, for its cgroup.kill.
        for hierarchy in sorted(_hierarchies(mounts, own), key=lambda one: one.version):
            place = self._settle(hierarchy)
            if place is not None:
                self._places.append(place)
                for name in hierarchy.controllers:
                    self.bounds.setdefault(name, f"cgroup v{hierarchy.version}")

    def _settle(self, hierarchy: _Hierarchy) -> str | None:
        for place in _upwards(hierarchy) if hierarchy.version == 2 else [hierarchy.own]:
            if not os.access(place, os.W_OK) or not os.access(place + "/cgroup.procs", os.W_OK):
                continue
            if hierarchy.version == 2 and not _offer(place, hierarchy.controllers):
                continue
            _sweep(place)
            session = f"{place}/{_session()}"
            try:
                _make(session)
            except FileExistsError:
                pass
            except OSError:
                continue
            if hierarchy.version == 2 and not _offer(session, hierarchy.controllers):
                os.rmdir(session)
                continue
            return session
        return None

    def open(self) -> Group | None:
        """Make a control group, as yet without bounds; None where none can be made."""
        if not self._places:
            return None
        self._count += 1
        for place in self._places:
            _make(f"{place}/{self._count}")
        return Group(f"{place}/{self._count}" for place in self._places)

    def close(self) -> None:
        """Remove this keeper's own directories."""
        for place in self._places:
            with suppress(OSError):
                os.rmdir(place)


def _upwards(hierarchy: _Hierarchy) -> Iterator[str]:
    """Our own group and those around it: in v2 a group with processes in it cannot have bounded children."""
    place = hierarchy.own
    yield place
    while place.startswith(hierarchy.top + "/"):
        place = os.path.dirname(place)
        yield place


def _offer(place: str, controllers: frozenset[str]) -> bool:
    """Let the children of a v2 group use these controllers."""
    missing = controllers - _words(place + "/cgroup.subtree_control")
    return not missing or _write(
        place + "/cgroup.subtree_control", " ".join("+" + name for name in sorted(missing))
    )

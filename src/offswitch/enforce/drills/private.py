"""What a stage has for itself, so that no fault touches the host: mounts, a network, clocks, small disks, groups."""

import ctypes
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from offswitch.enforce.drills.faults import CannotStage

_libc = ctypes.CDLL(None, use_errno=True)

_NEW_MOUNTS, _NEW_NETWORK, _NEW_TIME = 0x00020000, 0x40000000, 0x80
_MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 32, 0x1000, 0x4000, 1 << 18
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans(*, on: bool) -> None:
    """Whether this process becomes the parent of descendants whose own parent ends."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on), 0, 0, 0))


def own_mounts() -> None:
    """Have what is mounted from now on seen by this process and its descendants alone; root only."""
    _checked(_libc.unshare(_NEW_MOUNTS))
    _checked(_libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None))


def own_network() -> None:
    """Enter a network with nothing in it, not even a loopback that is up; root only."""
    _checked(_libc.unshare(_NEW_NETWORK))


def own_clocks(seconds: int) -> None:
    """Have descendants read monotonic and boot clocks that are ahead by so many seconds; root only."""
    try:
        _checked(_libc.unshare(_NEW_TIME))
        Path("/proc/self/timens_offsets").write_text(f"monotonic {seconds} 0\nboottime {seconds} 0\n")
    except OSError as error:
        raise CannotStage(f"this kernel gives no time namespace ({error.strerror})") from None


def small_disk(place: str, size: int) -> None:
    """Mount a file system of ``size`` bytes, in memory, at an existing folder; after ``own_mounts``."""
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV)
    _checked(_libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, b"mode=0700,size=%d" % size))


def with_devices(place: str) -> None:
    """Have device nodes in a folder work, whatever it is mounted with; after ``own_mounts``."""
    _checked(_libc.mount(os.fsencode(place), os.fsencode(place), None, ctypes.c_ulong(_MS_BIND), None))
    flags = ctypes.c_ulong(_MS_REMOUNT | _MS_BIND)
    _checked(_libc.mount(None, os.fsencode(place), None, flags, None))


def unmount(place: str) -> None:
    """Take away a mount, whoever still uses it."""
    _checked(_libc.umount2(os.fsencode(place), 2))


def fill(place: str) -> None:
    """Write until a small disk is full."""
    with open(f"{place}/filling", "wb", buffering=0) as file:
        for block in (65536, 512):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * block)


class BoundedGroup:
    """A control group of the drill's own, in which a stage and everything that it starts is bounded.

    Args:
        controller: ``cpu`` or ``memory``.
        bounds: File name to value, for cgroup v1 and for v2.

    Raises:
        CannotStage: None can be had here.
    """

    def __init__(self, controller: str, v1: dict[str, str], v2: dict[str, str]) -> None:
        self._place = self._version = ""
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            root, top = left.split()[3:5]
            kind, _, options = right.split()[:3]
            path = _own(controller if kind == "cgroup" else "")
            if path is None or not (
                (kind == "cgroup" and controller in options.split(",")) or kind == "cgroup2"
            ):
                continue
            if kind == "cgroup2":
                # In v2 a group with processes has no bounded children, so it is made beside ours.
                path = os.path.dirname(path.rstrip("/")) or "/"
            if root != "/":
                if not (path == root or path.startswith(root + "/")):
                    continue
                path = path[len(root) :] or "/"
            above = top + path.rstrip("/")
            if kind == "cgroup2" and controller not in _read(above + "/cgroup.subtree_control").split():
                continue
            place = f"{above}/offswitch-drill-{os.getppid()}-{os.getpid()}"
            with suppress(OSError):
                self._version = kind
                os.mkdir(place)
                self._place = place
                for name, value in (v1 if kind == "cgroup" else v2).items():
                    Path(place, name).write_text(value)
                Path(place, "cgroup.procs").write_text("0")
                return
            self.remove()
        raise CannotStage(f"no control group for {controller} can be made here")

    def take(self, pids: Iterable[int]) -> None:
        """Move processes in.

        Raises:
            CannotStage: Control groups of version 2 would take them out of those that they are in.
        """
        if self._version == "cgroup2":
            raise CannotStage(
                "on this host a processor's weight is not apart from the off-switch's own groups"
            )
        for pid in pids:
            with suppress(OSError):
                Path(self._place, "cgroup.procs").write_text(str(pid))

    def leave(self) -> None:
        """Take the calling process out again, into the group above."""
        if self._place:
            with suppress(OSError):
                Path(os.path.dirname(self._place), "cgroup.procs").write_text("0")

    def remove(self) -> None:
        """Remove it, when everything in it is gone."""
        end = time.monotonic() + 2
        while self._place and time.monotonic() < end:
            self.leave()
            try:
                os.rmdir(self._place)
            except FileNotFoundError:
                pass
            except OSError:
                time.sleep(0.05)
                continue
            self._place = ""


def _own(controller: str) -> str | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return path
    return None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

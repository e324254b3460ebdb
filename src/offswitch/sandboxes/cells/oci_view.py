"""What an engine sees of the host while it makes a container: mounts of its own, control groups of version 2 alone.

Where a host has controllers on version 1 and version 2 beside them (systemd's "hybrid" layout), crun refuses to
work, and runc moves a container to groups of its own in every hierarchy, out of ours. In a mount namespace where
the only control groups are those of version 2, both take the one path that they are given there; the groups of
version 1 that they cannot see are inherited, as a fork does, and stay ours.
"""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 16384, 1 << 19

TOP = "/sys/fs/cgroup"
"""Where control groups of version 2 lie in this view."""


def enter() -> None:
    """Move the calling process to the view. Needs root; for its later children, too.

    Mounts that the host takes away go away here as well; what is mounted here ends with the last process here.

    Raises:
        OSError: The kernel refuses; see ``unshare(2)`` and ``mount(2)``.
    """
    _checked(_libc.unshare(_CLONE_NEWNS))
    _mount(None, "/", _MS_REC | _MS_SLAVE)
    if not unified():
        _mount(b"cgroup2", TOP, _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def unified() -> bool:
    """Whether version 2 is all that there is at the usual place."""
    return os.path.exists(TOP + "/cgroup.controllers")


def groups(process: int | str) -> dict[str, str]:
    """The control groups of a process: path by the names of its controllers, "" for version 2 (``cgroups(7)``)."""
    with open(f"/proc/{process}/cgroup") as text:
        entries = [line.rstrip("\n").split(":", 2) for line in text]
    return {controllers: path for _, controllers, path in entries}


def _mount(kind: bytes | None, target: str, flags: int) -> None:
    _checked(_libc.mount(kind, os.fsencode(target), kind, ctypes.c_ulong(flags), None))


def _checked(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""A range of host users for each container that root starts, shared with no other.

A container has many users, so one uid is not enough. The claim is held as in ``identity``, by a name in the abstract
namespace. Ranges are tried in a fixed order: an engine that cannot mount an image with its owners mapped
keeps a copy of it for every range that it has met, so the same few are to come up again and again.
"""

import errno
import os
import signal
import socket
from collections.abc import Sequence

from offswitch.sandboxes import kernel
from offswitch.sandboxes.errors import SandboxUnavailable

SIZE = 65536
"""Users in a range."""

# Above what ``identity`` gives out one by one, below 2^31.
_FIRST, _LAST = 2_000_000_000 + (1 << 20), 1 << 31


def claim() -> tuple[int, socket.socket]:
    """Take a range of host uids, and gids of the same numbers.

    Returns:
        The first of them, and the socket that holds the claim until it is closed.

    Raises:
        SandboxUnavailable: No range is free.
    """
    first, count = _ranges()
    # Another network namespace has abstract names of its own, so each begins elsewhere.
    start = os.stat("/proc/self/ns/net").st_ino % count
    for offset in range(count):
        uid = first + (start + offset) % count * SIZE
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            holder.bind(f"\0offswitch/uids/{uid}".encode())
        except OSError as error:
            holder.close()
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        return uid, holder
    raise SandboxUnavailable("no range of host users is free for another container: end some first")


def _ranges() -> tuple[int, int]:
    """First uid and number of ranges, within what this user namespace maps of users and of groups."""
    maps: list[list[tuple[int, int]]] = []
    for name in ("uid_map", "gid_map"):
        with open("/proc/self/" + name) as text:
            maps.append([(int(inside), int(count)) for inside, _, count in map(str.split, text)])
    if all(any(inside <= _FIRST and inside + count >= _LAST for inside, count in one) for one in maps):
        return _FIRST, (_LAST - _FIRST) // SIZE
    largest = [max(one, key=lambda entry: entry[1]) for one in maps]
    low = max(inside for inside, _ in largest)
    high = min(inside + count for inside, count in largest)
    # Never the first range: the system's own users are in it.
    count = min((high - low) // SIZE - 1, 1024)
    if count < 1:
        raise SandboxUnavailable(
            "root here has no range of users to give to a container: run offswitch as an ordinary user"
        )
    return high - count * SIZE, count


def mapped(path: str, owners: "Sequence[tuple[tuple[int, int], tuple[int, int]]]", *, read_only: bool) -> int:
    """A mount as ``workspace.idmapped`` makes it, for several owners.

    Args:
        path: A directory or file, none of whose parts is a symbolic link.
        owners: uid and gid on disk, and as what they show.
        read_only: Whether nothing can be written through it.

    Returns:
        A file descriptor for ``workspace.attach``.

    Raises:
        OSError: As ``workspace.idmapped``.
    """
    place = kernel.open_straight(path, os.O_PATH)
    try:
        users = _user_namespace(owners)
        try:
            mount = kernel.clone_mount(place)
            try:
                kernel.map_mount(mount, users, read_only=read_only)
            except BaseException:
                os.close(mount)
                raise
            return mount
        finally:
            os.close(users)
    finally:
        os.close(place)


def _user_namespace(owners: "Sequence[tuple[tuple[int, int], tuple[int, int]]]") -> int:
    """An open user namespace that maps these owners; the process that it took is gone again."""
    parent = os.getpid()
    told, tell = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            kernel.die_with(parent)
            kernel.leave_user_namespace()
            os.write(tell, b".")
            signal.pause()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        if not os.read(told, 1):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        for which, name in enumerate(("uid_map", "gid_map")):
            lines = [f"{disk[which]} {shown[which]} 1\n" for disk, shown in owners]
            with open(f"/proc/{child}/{name}", "w") as text:
                text.write("".join(lines))
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(told)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

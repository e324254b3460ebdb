"""A range of host users for each container that root starts, shared with no other.

A container has many users, so one uid is not enough. The claim is held as in ``identity``, by a name in the abstract
namespace. Ranges are tried in a fixed order: an engine that cannot mount an image with its owners mapped
keeps a copy of it for every range that it has met, so the same few are to come up again and again.
"""

import os
import socket

from offswitch.sandboxes import identity
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
        holder = identity.hold(f"uids/{uid}")
        if holder is not None:
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

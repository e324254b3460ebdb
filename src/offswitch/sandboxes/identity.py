"""A host user for each sandbox that root starts, shared with no other."""

import errno
import os

from offswitch.sandboxes.errors import SandboxUnavailable
from offswitch.sandboxes.plain import socket

# Above what distributions, containers, systemd-nspawn (up to 1879048191) and dynamic users take, below 2^31.
_FIRST, _COUNT = 2_000_000_000, 1 << 20


def _range() -> tuple[int, int]:
    """First uid and how many, within what this user namespace maps."""
    with open("/proc/self/uid_map") as text:
        mapped = [tuple(map(int, line.split())) for line in text]
    if any(inside <= _FIRST and inside + count >= _FIRST + _COUNT for inside, _, count in mapped):
        return _FIRST, _COUNT
    inside, _, count = max(mapped, key=lambda entry: entry[0] + entry[2])
    first = max(inside, inside + count - 16384, 1)
    if inside + count - first < 1:
        raise SandboxUnavailable(
            "root here has no other user id to give to a sandbox: run offswitch as an ordinary user"
        )
    return first, inside + count - first


def claim() -> tuple[int, socket.socket]:
    """Take a host uid that no other live sandbox has.

    Returns:
        The uid, and the socket that holds the claim until it is closed.

    Raises:
        SandboxUnavailable: No uid is free.
    """
    first, count = _range()
    # From anywhere, for those in another network namespace have names of their own and are not seen.
    start = int.from_bytes(os.urandom(8), "big") % count
    for offset in range(min(count, 4096)):
        uid = first + (start + offset) % count
        holder = hold(f"uid/{uid}")
        if holder is not None:
            return uid, holder
    raise SandboxUnavailable("no host user id is free for another sandbox: end some sandboxes first")


def hold(what: str) -> socket.socket | None:
    """Claim something for as long as the returned socket is open; None if another process has it.

    The claim is the name of a socket in the abstract namespace: the kernel gives it to one process only, and takes
    it back when that process ends, however it ends. A file would be left behind by a SIGKILL.
    """
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        holder.bind(f"\0offswitch/{what}".encode())
    except OSError as error:
        holder.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return holder


def needed() -> bool:
    """Whether a sandbox needs a host user of its own (an ordinary user's sandboxes run as that user)."""
    return os.geteuid() == 0

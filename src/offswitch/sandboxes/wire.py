"""Messages between the host process, its keeper and the wardens: one value and some open files each.

All three are trusted and run the same interpreter, so ``marshal`` carries the values. Nothing that an agent can
write to is ever read with this.
"""

import array
import marshal
import os
from collections.abc import Sequence

from offswitch.sandboxes.plain import socket

TYPE_CHECKING = False  # what typing calls by this name; its import would cost each warden memory
if TYPE_CHECKING:
    from typing import Any

_INLINE = 32 * 1024
_MOST_FILES = 16


def pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of sockets that keep messages apart."""
    import socket  # here, since no warden needs it: see ``plain``

    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def in_memory(content: bytes, *, inheritable: bool = False) -> int:
    """An open file that holds ``content``, read from its beginning, and stands in no directory."""
    file = os.memfd_create("file", 0 if inheritable else os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file


def send(to: socket.socket, value: "Any", files: Sequence[int] = ()) -> None:
    """Send a value and some open files.

    A large value travels in memory of its own, so that its size does not meet the socket's bound.

    Raises:
        BlockingIOError: The socket does not block and the other end is slow.
        OSError: The other end is gone.
    """
    payload = marshal.dumps(value)
    if len(payload) <= _INLINE:
        _send(to, b"\x00" + payload, files)
        return
    large = in_memory(payload)
    try:
        _send(to, b"\x01", [large, *files])
    finally:
        os.close(large)


def _send(to: socket.socket, data: bytes, files: Sequence[int]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    to.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)


def receive(source: socket.socket) -> "tuple[Any, list[int]] | None":
    """Receive one value with its open files (closed on exec); None once the other end is closed.

    Raises:
        BlockingIOError: The socket does not block and nothing is there.
    """
    files = array.array("i")
    try:
        # Not socket.recv_fds, which drops the flag: without it the files would pass into programs that are exec'd.
        data, ancillary, _, _ = source.recvmsg(
            2 * _INLINE, socket.CMSG_SPACE(_MOST_FILES * files.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        return None
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            files.frombytes(content[: len(content) - len(content) % files.itemsize])
    if not data:
        return None
    if data[0] == 0:
        return marshal.loads(data[1:]), list(files)  # noqa: S302 - see the module's docstring
    large, *rest = files
    with os.fdopen(large, "rb") as payload:
        return marshal.loads(payload.read()), rest  # noqa: S302

"""Streams between an agent's host side and its machine: bounded, so that a slow reader slows the writer."""

import os
import select
from contextlib import suppress

TYPE_CHECKING = False  # see ``wire``
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 256 * 1024
"""Bytes that wait in a flow."""

_PIECE = 4096
"""Bytes to write at once: a pipe that is ready takes as many without blocking (pipe(7), PIPE_BUF)."""


class Flow:
    """One direction: reads from one open file, writes to another.

    Args:
        source: Open file to read.
        target: Open file to write. A pipe may block, for its flags are shared with others; it is written to in pieces.
        encode: Changes what is read, before it waits.
        decode: The same, for what comes out of the machine.
        mark: Bytes that end it; they are not passed on. Without one the source's end does.
        at_end: Called once when the source has ended and everything is written.

    Attributes:
        done: Whether all is written that ever will be.
    """

    def __init__(
        self,
        source: int,
        target: int,
        *,
        encode: "Callable[[bytes], bytes] | None" = None,
        decode: "Callable[[bytes], bytes] | None" = None,
        mark: bytes = b"",
        at_end: "Callable[[], None] | None" = None,
    ) -> None:
        self._source = source
        self._target = target
        self._change = encode or decode
        self._mark = mark
        self._at_end = at_end
        self._waiting = b""
        self._held = b""
        self._ended = False
        self._deaf = False
        self.done = False

    def wants(self) -> dict[int, int]:
        """Files to poll, and for what. One that is not wanted is left out, for poll always tells of errors."""
        wanted = {}
        if not self._ended and len(self._waiting) < _MOST:
            wanted[self._source] = select.POLLIN
        if self._waiting:
            wanted[self._target] = wanted.get(self._target, 0) | select.POLLOUT
        return wanted

    def put(self, content: bytes) -> None:
        """Put something into what waits."""
        self._waiting += content

    def move(self, ready: dict[int, int]) -> bool:
        """Read and write what can be, without waiting.

        Args:
            ready: What poll found.

        Returns:
            Whether something moved.
        """
        moved = False
        got = ready.get(self._source, 0) & ~select.POLLOUT
        if got and not self._ended and len(self._waiting) < _MOST:
            moved = self._read()
        room = ready.get(self._target, 0) & ~select.POLLIN
        if room and self._waiting:
            moved = self._write() or moved
        if self._ended and not self._waiting and not self.done:
            self.done = True
            self.close()
        return moved

    def close(self) -> None:
        """Let the target see the end, where it is a pipe of ours."""
        if self._at_end is not None:
            self._at_end()
        elif self._target >= 0 and self._mark:
            with suppress(OSError):
                os.close(self._target)
            self._target = -1

    def _read(self) -> bool:
        try:
            content = os.read(self._source, 65536)
        except BlockingIOError:
            return False
        except OSError:
            content = b""
        if not content:
            self._ended = True
            # What looked like the beginning of the mark was the agent's own.
            self._take(self._held)
            self._held = b""
            return True
        if self._change is not None:
            content = self._change(content)
        if self._mark:
            content = self._held + content
            before, found, _ = content.partition(self._mark)
            if found:
                self._ended = True
                content, self._held = before, b""
            else:
                keep = _overlap(content, self._mark)
                content, self._held = content[: len(content) - keep], content[len(content) - keep :]
        self._take(content)
        return True

    def _take(self, content: bytes) -> None:
        if not self._deaf:
            self._waiting += content

    def _write(self) -> bool:
        try:
            done = os.write(self._target, self._waiting[:_PIECE])
        except BlockingIOError:
            return False
        except OSError:
            # Nobody listens any more. The agent may go on, as with a terminal that nobody looks at.
            self._deaf, self._waiting = True, b""
            return True
        self._waiting = self._waiting[done:]
        return True


def _overlap(content: bytes, mark: bytes) -> int:
    """How many bytes at the end of ``content`` may be the beginning of ``mark``."""
    for length in range(min(len(mark) - 1, len(content)), 0, -1):
        if content.endswith(mark[:length]):
            return length
    return 0


class Telnet:
    """What busybox's telnetd, which makes the terminal inside, speaks (RFC 854, RFC 1073).

    It is asked for nothing and answers nothing: of the protocol only the doubling of byte 255, the zero after a
    carriage return and the window's size are used.
    """

    _IAC, _SB, _SE, _NAWS = 255, 250, 240, 31

    def __init__(self) -> None:
        self._rest = b""

    def encode(self, content: bytes) -> bytes:
        """What is typed, as it goes to telnetd."""
        return content.replace(b"\xff", b"\xff\xff").replace(b"\r", b"\r\0")

    def decode(self, content: bytes) -> bytes:
        """What the terminal shows, out of what telnetd says."""
        content = self._rest + content
        self._rest = b""
        if b"\xff" not in content:
            return content
        out = bytearray()
        at = 0
        while at < len(content):
            found = content.find(b"\xff", at)
            if found < 0:
                out += content[at:]
                break
            out += content[at:found]
            # A command is two or three bytes, as the second says.
            length = 3 if found + 1 < len(content) and 251 <= content[found + 1] <= 254 else 2
            if found + length > len(content):
                self._rest = content[found:]
                break
            if content[found + 1] == self._IAC:
                out.append(self._IAC)
            at = found + length
        return bytes(out)

    @classmethod
    def window(cls, rows: int, columns: int) -> bytes:
        """The size of the window."""
        size = columns.to_bytes(2, "big") + rows.to_bytes(2, "big")
        return (
            bytes([cls._IAC, cls._SB, cls._NAWS])
            + size.replace(b"\xff", b"\xff\xff")
            + bytes([cls._IAC, cls._SE])
        )

"""One command in a sandbox, as the host waits for it: output within bounds, and an end that is always seen."""

import os
import select
import socket
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

_CHUNK = 256 * 1024

GRACE = 0.2
"""Seconds that output is still waited for after a command has ended while something else holds its output open."""


@dataclass
class Result:
    """What came of a command.

    Attributes:
        out: What it wrote to standard output, at most ``limit`` bytes.
        errors: What it wrote to standard error, at most ``limit`` bytes.
        code: Exit status, negative for the signal that killed it, None if the machine ended first.
        pid: Its number on the host, None if it never came to be.
        failure: Error number and place (``cwd``, ``fork`` or "") if it could not be started.
        overflow: Whether it wrote more than the limit, and was left at that.
    """

    out: bytearray = field(default_factory=bytearray)
    errors: bytearray = field(default_factory=bytearray)
    code: int | None = None
    pid: int | None = None
    failure: tuple[int, str] | None = None
    overflow: bool = False


class Command:
    """The host's ends of one command's pipes, and of the leash that tells of its start and end.

    Args:
        input: What it reads from standard input; None for nothing.
        limit: Most bytes of each of output and errors.
    """

    def __init__(self, input: bytes | None, limit: int) -> None:
        self.result = Result()
        self._limit = limit
        self._input = memoryview(input or b"")
        self._leash, leash = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._leash.setblocking(False)
        self._there = leash
        self._open: dict[int, bytearray] = {}
        self.theirs: list[int] = [leash.fileno()]
        for kept in (self.result.out, self.result.errors):
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(ours, False)
            self._open[ours] = kept
            self.theirs.append(theirs)
        self._feed: int | None = None
        if input is not None:
            theirs, self._feed = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._feed, False)
            self.theirs.append(theirs)
        # One file that stands for all of them, so that one wait in one task is enough.
        self._epoll = select.epoll()
        self._epoll.register(self._leash, select.EPOLLIN)
        for file in self._open:
            self._epoll.register(file, select.EPOLLIN)
        if self._feed is not None:
            self._epoll.register(self._feed, select.EPOLLOUT)
        self._leashed = True

    def sent(self) -> None:
        """Close the ends that now are the warden's."""
        self._there.close()
        for file in self.theirs[1:]:
            os.close(file)
        self.theirs = []

    async def finish(self) -> None:
        """Wait until the command has ended and its output is read, or until it has written too much."""
        while self._leashed and not self.result.overflow:
            await anyio.wait_readable(self._epoll.fileno())
            self._step()
        if not self.result.overflow and self._open:
            self._step()
        if not self.result.overflow and self._open and self.result.failure is None:
            with anyio.move_on_after(GRACE):
                while self._open and not self.result.overflow:
                    await anyio.wait_readable(self._epoll.fileno())
                    self._step()

    def take_open(self) -> list[int]:
        """Give away the output pipes that something inside still holds open."""
        files = list(self._open)
        for file in files:
            self._epoll.unregister(file)
        self._open.clear()
        return files

    async def await_end(self, timeout: float) -> None:
        """Wait, at most ``timeout`` seconds, until the warden has reported the end."""
        with anyio.move_on_after(timeout):
            while self._leashed:
                await anyio.wait_readable(self._leash)
                self._listen()

    def close(self) -> None:
        """Let go of everything."""
        self.sent()
        for file in self.take_open():
            os.close(file)
        self._stop_feeding()
        self._epoll.close()
        self._leash.close()

    def _step(self) -> None:
        for file, _ in self._epoll.poll(0):
            if file == self._feed:
                self._write()
            elif file in self._open:
                self._read(file)
            else:
                self._listen()

    def _listen(self) -> None:
        while self._leashed:
            try:
                message = self._leash.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            word, _, rest = message.partition(b" ")
            if word == b"pid":
                self.result.pid = int(rest)
            elif word == b"error":
                number, _, where = rest.partition(b" ")
                self.result.failure = int(number), where.decode("utf-8", "replace")
            else:
                if word == b"exit":
                    self.result.code = int(rest)
                self._leashed = False
                self._epoll.unregister(self._leash)

    def _read(self, file: int) -> None:
        kept = self._open[file]
        # Read until the pipe is empty, so that what was written before an end that is already seen is kept.
        while True:
            try:
                data = os.read(file, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._epoll.unregister(file)
                del self._open[file]
                os.close(file)
                return
            room = self._limit - len(kept)
            kept += data[:room]
            if len(data) > room:
                self.result.overflow = True
                return

    def _write(self) -> None:
        assert self._feed is not None
        try:
            self._input = (
                self._input[os.write(self._feed, self._input[:_CHUNK]) :] if self._input else self._input
            )
        except BlockingIOError:
            return
        except OSError:
            # It does not want to read more; what comes of it is its own business.
            self._input = memoryview(b"")
        if not self._input:
            self._stop_feeding()

    def _stop_feeding(self) -> None:
        if self._feed is not None:
            with suppress(OSError):
                self._epoll.unregister(self._feed)
            os.close(self._feed)
            self._feed = None

"""Passing a terminal, or pipes, through to an agent that lives elsewhere.

One loop over poll: what is typed goes to the scribe, what the agent prints comes back, and the supervisor says when
it is over. Nothing here may wait: a stop has to get through while the reader of the output sleeps.
"""

import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from offswitch.enforce import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_CHUNK = 16 * 1024
_WRITE = 4096
"""Bytes that a pipe takes without waiting once poll says that it takes any (PIPE_BUF)."""
_PENDING = 256 * 1024
"""Bytes of output that may wait here before no more is taken from the scribe."""
_LATE = 5.0
"""Seconds for which the last output is waited for once the agent is known to be over."""

LEAVE = b"\x1d"
"""Ctrl-]: leaves an agent that one has attached to."""

_SIGNALS: "tuple[int, ...]" = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGCONT)

# Modes that an agent may have set and, killed, did not take back: xterm's private modes.
_MODES = {
    b"1049": b"l", b"1047": b"l", b"47": b"l",  # another screen
    b"1000": b"l", b"1002": b"l", b"1003": b"l", b"1006": b"l", b"1015": b"l",  # the mouse
    b"1004": b"l", b"2004": b"l", b"1": b"l",  # focus, pasting, cursor keys
    b"25": b"h", b"7": b"h",  # the cursor is shown, lines wrap
}  # fmt: skip


class Hangup(Exception):
    """The terminal is gone, or the reader of the output is: a program would be sent SIGHUP or SIGPIPE.

    Attributes:
        closed: Whether it is the output that was closed.
    """

    def __init__(self, closed: bool) -> None:
        super().__init__()
        self.closed = closed


class Left(Exception):
    """The user has left an agent that runs on."""


def is_one() -> bool:
    """Whether standard input and output are a terminal."""
    return os.isatty(0) and os.isatty(1)


class Passage:
    """Passes standard streams through until the agent is over.

    Args:
        line: Socket on which the supervisor says when the agent is over.
        stream: Socket to the scribe.
        interrupt: Called when the user asks for a stop, with the stop category: 1 for the first SIGINT, 0 for a second
            and for SIGTERM and SIGHUP. Must not wait.
        terminal: Whether our terminal is passed through: raw, with its window size.
        attached: Whether the agent is someone else's: it is left by Ctrl-], and our end of input is not its own.
    """

    def __init__(
        self,
        line: socket.socket,
        stream: socket.socket,
        interrupt: Callable[[int], object],
        *,
        terminal: bool,
        attached: bool = False,
    ) -> None:
        self._line = line
        self._stream = stream
        self._interrupt = interrupt
        self._terminal = terminal
        self._attached = attached
        self._to_agent = b""
        self._size = b""
        self._input_open = True
        self._end_due = False
        self._stream_open = True
        self._output = {1: bytearray(), 2: bytearray()}
        self._closed: set[int] = set()
        self.ended: dict[str, Any] | None = None
        """What the supervisor said of the end, once it has."""
        self._asked = 0
        self._modes: dict[bytes, bytes] = {}
        self._carry = b""

    def run(self) -> "dict[str, Any]":
        """Pass everything through.

        Returns:
            What the supervisor said of the end.

        Raises:
            Hangup: The terminal, or the output's reader, is gone.
            Left: The user left an attached agent.
            control.Lost: The supervisor is gone.
        """
        self._stream.setblocking(False)
        wake, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        before: dict[int, Any] = {}
        raw = _Raw() if self._terminal else None
        try:
            old = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
            for number in _SIGNALS:
                before[number] = signal.signal(number, _woken)
            if raw is not None:
                raw.enter()
                self._size = _window()
            self._loop(wake, raw)
        finally:
            # Whatever happens, the user gets the terminal back as it was.
            if raw is not None:
                raw.leave()
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old)
            os.close(wake)
            os.close(told)
        assert self.ended is not None
        if self._terminal and self.ended.get("code") is None:
            self._take_back()
        return self.ended

    def _loop(self, wake: int, raw: "_Raw | None") -> None:
        late = 0.0
        while True:
            waiting = any(self._output.values())
            if self.ended is not None:
                late = late or time.monotonic() + _LATE
                # A reader may take its time over what is left, unless the user has asked for the end.
                if time.monotonic() > late and (not waiting or self._asked):
                    return
                if not waiting and not self._stream_open:
                    return
            poll = select.poll()
            poll.register(wake, select.POLLIN)
            if self.ended is None:
                poll.register(self._line, select.POLLIN)
            if self._stream_open:
                wanted = select.POLLOUT if self._to_agent or self._size or self._end_due else 0
                if sum(map(len, self._output.values())) < _PENDING:
                    wanted |= select.POLLIN
                if wanted:
                    poll.register(self._stream, wanted)
            if self._input_open and not self._to_agent and self._stream_open:
                poll.register(0, select.POLLIN)
            for file, data in self._output.items():
                if data:
                    poll.register(file, select.POLLOUT)
            for file, what in poll.poll(None if self.ended is None else 100):
                if file == wake:
                    self._heed(os.read(wake, 256), raw)
                elif file == self._line.fileno():
                    answer, _ = control.receive(self._line, 1.0)
                    ended = answer.get("ended")
                    self.ended = ended if isinstance(ended, dict) else {}
                elif file == self._stream.fileno():
                    self._exchange(what)
                elif file == 0:
                    self._read()
                else:
                    self._write(file)

    # Signals

    def _heed(self, numbers: bytes, raw: "_Raw | None") -> None:
        for number in numbers:
            if number == signal.SIGWINCH:
                self._size = _window() if self._terminal else b""
            elif number == signal.SIGCONT:
                if raw is not None:  # the shell has had the terminal meanwhile
                    raw.enter()
                    self._size = _window()
            elif self._attached:
                raise Left
            elif self.ended is not None:
                # Only output is left, which its reader does not take.
                self._output = {1: bytearray(), 2: bytearray()}
                self._stream_open = False
            elif number == signal.SIGINT and not self._asked:
                self._asked = 1
                self._interrupt(1)
            else:
                self._asked += 1
                self._interrupt(0)

    # Input

    def _read(self) -> None:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if self._attached and self._terminal and LEAVE in data:
            raise Left
        if data:
            self._to_agent = b"i" + data
        elif self._terminal:
            if self._attached:
                raise Left
            raise Hangup(closed=False)
        else:
            self._input_open = False
            self._end_due = not self._attached

    def _exchange(self, what: int) -> None:
        if what & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self._take()
        if what & select.POLLOUT and self._stream_open:
            try:
                if self._size:
                    self._stream.send(b"w" + self._size, socket.MSG_NOSIGNAL)
                    self._size = b""
                if self._to_agent:
                    self._stream.send(self._to_agent, socket.MSG_NOSIGNAL)
                    self._to_agent = b""
                elif self._end_due:
                    self._stream.send(b"e", socket.MSG_NOSIGNAL)
                    self._end_due = False
            except BlockingIOError:
                pass
            except OSError:
                self._stream_open = False

    # Output

    def _take(self) -> None:
        try:
            data = self._stream.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        letter, rest = data[:1], data[1:]
        if letter in (b"", b"x"):
            self._stream_open = False
            return
        file = {b"o": 1, b"r": 2}.get(letter)
        if file is not None and file not in self._closed:
            self._output[file] += rest
            if self._terminal:
                self._note_modes(rest)

    def _write(self, file: int) -> None:
        pending = self._output[file]
        try:
            written = os.write(file, pending[:_WRITE])
        except BlockingIOError:
            # Ready, and not for so much: someone shares this file and made it not to wait.
            time.sleep(0.001)
            return
        except OSError:
            pending.clear()
            self._closed.add(file)
            if file == 2:
                return
            if self._attached:
                raise Left from None
            raise Hangup(closed=not self._terminal) from None
        del pending[:written]

    # What the agent did to the terminal

    def _note_modes(self, data: bytes) -> None:
        data = self._carry + data
        at = data.find(b"\x1b[?")
        while at >= 0:
            end = at + 3
            while end < len(data) and data[end] in b"0123456789;":
                end += 1
            if end == len(data):
                break
            for mode in data[at + 3 : end].split(b";"):
                if mode in _MODES and data[end : end + 1] in (b"h", b"l"):
                    self._modes[mode] = data[end : end + 1]
            at = data.find(b"\x1b[?", end)
        tail = data[at:] if at >= 0 else data[-2:]
        self._carry = tail if len(tail) < 64 else b""

    def _take_back(self) -> None:
        """Undo the modes that a killed agent left set: no other screen, no mouse reports, a cursor."""
        undo = [
            b"\x1b[?%s%s" % (mode, _MODES[mode]) for mode, now in self._modes.items() if now != _MODES[mode]
        ]
        with suppress(OSError):
            os.write(1, b"".join(undo) + b"\x1b[0m")


def _woken(number: int, frame: "FrameType | None") -> None:
    """Only to be woken: the loop reads which signal it was."""
    del number, frame


def _window() -> bytes:
    """The window's size as the kernel has it: rows, columns and both in pixels; empty where there is none."""
    import fcntl
    import termios

    for file in (1, 0):
        with suppress(OSError):
            size = fcntl.ioctl(file, termios.TIOCGWINSZ, bytes(8))
            if struct.unpack("HHHH", size)[:2] != (0, 0):
                return size
    return b""


class _Raw:
    """Our terminal without its line discipline: every key goes to the agent's own terminal."""

    def __init__(self) -> None:
        import termios

        self._termios = termios
        self._before: list[Any] | None = None
        with suppress(termios.error):
            self._before = termios.tcgetattr(0)

    def enter(self) -> None:
        """Make it raw, but for the signals of the host."""
        if self._before is not None:
            import tty

            with suppress(self._termios.error):
                tty.setraw(0, self._termios.TCSADRAIN)

    def leave(self) -> None:
        """Put it back as it was. Must not wait, not even for a terminal that is held with Ctrl-S."""
        if self._before is None:
            return
        # From the background the kernel would stop us for it.
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(self._termios.error):
            self._termios.tcsetattr(0, self._termios.TCSANOW, self._before)
        signal.signal(signal.SIGTTOU, before)


def say_on_terminal(line: str) -> None:
    """Tell the user something where a person reads, and nowhere else."""
    if os.isatty(2):
        with suppress(OSError):
            print("offswitch:", line, file=sys.stderr, flush=True)

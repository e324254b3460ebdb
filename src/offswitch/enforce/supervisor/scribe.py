"""The scribe: the process beside a supervisor that does what may be slow.

It holds the outer end of the agent's streams, passes them to whoever is attached, and keeps the agent's output, the
supervisor's account, the latch's reason and the receipt. A disk that hangs holds up the scribe and nobody else;
one that hangs for too long, or is full, or is gone, is a loss that stops the agent, as is the loss of the scribe.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from offswitch.enforce.latch import Latch
from offswitch.enforce.places import Places
from offswitch.enforce.supervisor.loop import Loop
from offswitch.sandboxes import kernel, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CHUNK = 16 * 1024
_PENDING = 256 * 1024
"""Bytes of output that may wait for a slow reader, and of input for a slow agent."""
_LOG = 16 * 1024 * 1024
"""Bytes of output that are kept, twice: the older half is ``output.1``."""
_ROOM = 64 * 1024
"""Bytes that have to be free where the state lies."""
_ACCOUNT = 4 * 1024 * 1024
"""Bytes of the account that are kept, twice: what is refused is written down, and an agent can ask for much."""


class Streams:
    """The outer ends of an agent's streams.

    Attributes:
        theirs: The agent's standard input, output and error.
        feed: Where its input is written; None once that is closed.
        outputs: Where its output is read, with the letter under which it is passed on.
        terminal: Whether it is one terminal.
    """

    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal
        self.outputs: dict[int, bytes] = {}
        if terminal:
            master, slave = os.openpty()
            self.theirs = (slave, slave, slave)
            self.feed: int | None = master
            self.outputs[master] = b"o"
        else:
            to_read, self.feed = os.pipe2(os.O_CLOEXEC)
            out, to_out = os.pipe2(os.O_CLOEXEC)
            errors, to_errors = os.pipe2(os.O_CLOEXEC)
            self.theirs = (to_read, to_out, to_errors)
            self.outputs.update({out: b"o", errors: b"r"})
        for file in (self.feed, *self.outputs):
            os.set_blocking(file, False)

    def close_theirs(self) -> None:
        """Let go of the agent's ends."""
        for file in set(self.theirs):
            os.close(file)

    def close_ours(self) -> None:
        """Let go of the outer ends."""
        for file in {*self.outputs, *([self.feed] if self.feed is not None else [])}:
            os.close(file)


class Scribe:
    """See the module.

    Args:
        line: Socket to the supervisor.
        streams: The agent's streams.
        client: Stream socket of who started the agent in the foreground; None when it is detached.
        places: Where the state lies.
        plan: The supervisor's plan.
        latch: The run's latch.
    """

    def __init__(
        self,
        line: socket.socket,
        streams: Streams,
        client: socket.socket | None,
        places: Places,
        plan: "dict[str, Any]",
        latch: Latch,
    ) -> None:
        self._line = line
        self._streams = streams
        self._places = places
        self._plan = plan
        self._latch = latch
        self._input = b""
        self._input_ended = False
        self._ending = False
        self._written = False
        self._clients: dict[int, _Client] = {}
        self._loop = Loop(self._tick)
        self._folder = places.logs(plan["name"])
        self._kept = 0
        self._trouble = ""
        self._checked = float("inf")
        if client is not None:
            self._attach(client)
        elif streams.feed is not None and not streams.terminal:
            self._close_feed()

    def run(self) -> None:
        """Live until the supervisor has ended."""
        self._output = os.open(
            self._folder + "/output",
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        self._account = os.open(
            self._folder + "/account.jsonl",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        self._loop.watch(self._line.fileno(), self._hear)
        for file in self._streams.outputs:
            self._loop.watch(file, self._reader(file))
        self._loop.run()

    # The supervisor

    def _hear(self) -> None:
        try:
            message = wire.receive(self._line)
        except OSError:
            message = None
        if message is None:
            # Over, or lost: either way nobody of the agent's writes any more.
            self._ending = True
            self._drain()
            self._loop.over = True
            return
        (word, *values), files = message
        if word == "event":
            self._note(values[0])
        elif word == "begin":
            self._checked = 0.0
        elif word == "input":
            self._take_input(values[0])
        elif word == "attach":
            self._attach(socket.socket(fileno=files[0]))
        elif word == "latch":
            self._do(lambda: self._latch.trip(*values), "latched")
        elif word == "receipt":
            # Written only once the death was observed.
            self._do(self._latch.died, "observed")
            self._do(lambda: keep_receipt(self._places, self._plan, values[0]), "kept")
        elif word == "over":
            self._ending = True
            self._drain()
            self._end_if_done()

    def _do(self, act: Callable[[], None], done: str) -> None:
        try:
            act()
        except OSError as error:
            self._tell(("trouble", f"{done}: {error.strerror}"))
        else:
            self._tell((done,))

    def _note(self, event: "dict[str, Any]") -> None:
        try:
            if os.fstat(self._account).st_size > _ACCOUNT:
                path = self._folder + "/account.jsonl"
                os.replace(path, path + ".1")
                os.close(self._account)
                self._account = os.open(
                    path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
                )
            os.write(self._account, json.dumps(event).encode() + b"\n")
        except OSError as error:
            self._say_trouble(f"the account cannot be written ({error.strerror})")

    def _tell(self, value: object) -> None:
        self._line.setblocking(False)
        with suppress(OSError):
            wire.send(self._line, value)
        self._line.setblocking(True)

    def _say_trouble(self, what: str) -> None:
        if what and what != self._trouble:
            self._tell(("trouble", what))
        self._trouble = what

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._checked >= 1.0:
            self._checked = now
            self._say_trouble(self._look())
        if self._input:
            self._feed()
        self._tell(("alive",))
        if self._ending and not self._written:
            self._drain()
            self._end_if_done()

    def _look(self) -> str:
        """What is wrong with the state's folders, "" if nothing."""
        places = self._places
        for folder in (places.agent(self._plan["name"]), self._folder, places.latches, places.receipts):
            try:
                free = os.statvfs(folder)
            except OSError as error:
                return f"{folder} is gone or cannot be reached ({error.strerror})"
            if free.f_bavail * free.f_frsize < _ROOM:
                return f"no space is left in {folder}"
        if not os.path.exists(places.agent(self._plan["name"]) + "/control"):
            return "the control socket was removed"
        if self._latch.lost():
            return "its latch was removed"
        try:
            os.close(os.open(places.keys + "/host.pem", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            return f"the host's key cannot be read ({error.strerror})"
        return ""

    # The agent's streams

    def _reader(self, file: int) -> Callable[[], None]:
        def read() -> None:
            self._read(file)

        return read

    def _read(self, file: int) -> bool:
        """Pass on some output; False if there is none."""
        if any(client.full() for client in self._clients.values()):
            # The agent waits, as it would for any reader that is slow.
            self._loop.forget(file)
            return False
        try:
            data = os.read(file, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # EIO: the other end of the terminal is closed
        if not data:
            self._end_output(file)
            return False
        self._keep(data)
        letter = self._streams.outputs[file]
        for client in list(self._clients.values()):
            client.give(letter + data)
        return True

    def _end_output(self, file: int) -> None:
        self._loop.forget(file)
        del self._streams.outputs[file]
        if file == self._streams.feed:
            self._streams.feed = None
        os.close(file)
        self._end_if_done()

    def _drain(self) -> None:
        """Take what the agent, which is dead, has left in its pipes."""
        for file in list(self._streams.outputs):
            while file in self._streams.outputs and self._read(file):
                pass
            if file in self._streams.outputs and not any(client.full() for client in self._clients.values()):
                # Nobody of the agent's is left to write; what holds it open is not the agent.
                self._end_output(file)

    def _end_if_done(self) -> None:
        if not self._ending or self._streams.outputs:
            return
        for client in list(self._clients.values()):
            client.give(b"x")
            if client.waiting():
                return
        if not self._written:
            self._written = True
            self._tell(("written",))

    def _keep(self, data: bytes) -> None:
        try:
            if self._kept + len(data) > _LOG:
                os.replace(self._folder + "/output", self._folder + "/output.1")
                os.close(self._output)
                self._output = os.open(
                    self._folder + "/output", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
                )
                self._kept = 0
            os.write(self._output, data)
            self._kept += len(data)
        except OSError as error:
            self._say_trouble(f"the output cannot be written ({error.strerror})")

    def _take_input(self, data: bytes) -> None:
        self._input += data
        self._feed()

    def _feed(self) -> None:
        feed = self._streams.feed
        if feed is None:
            self._input = b""
            return
        while self._input:
            try:
                self._input = self._input[os.write(feed, self._input) :]
            except BlockingIOError:
                break
            except OSError:
                self._input = b""
                self._close_feed()
                return
        # A terminal is watched for its output; to be told when it takes more input, it is looked at again each tick.
        if self._input and feed not in self._streams.outputs and not self._loop.watched(feed):
            self._loop.watch(feed, self._feed, 4)
        elif not self._input and feed not in self._streams.outputs:
            self._loop.forget(feed)
            if self._input_ended:
                self._close_feed()
        if len(self._input) <= _PENDING:
            for client in self._clients.values():
                if not self._loop.watched(client.stream.fileno()):
                    self._listen_to(client)

    def _close_feed(self) -> None:
        feed = self._streams.feed
        if feed is not None and not self._streams.terminal:
            self._loop.forget(feed)
            os.close(feed)
            self._streams.feed = None

    # Whoever is attached

    def _attach(self, stream: socket.socket) -> None:
        client = _Client(stream)
        self._clients[stream.fileno()] = client
        self._listen_to(client)
        client.wants_room = lambda: self._loop.watch(client.copy(), lambda: self._relieve(client), 4)

    def _listen_to(self, client: "_Client") -> None:
        self._loop.watch(client.stream.fileno(), lambda: self._listen(client))

    def _listen(self, client: "_Client") -> None:
        if len(self._input) > _PENDING:
            # The agent does not read, and so the client waits in its turn.
            self._loop.forget(client.stream.fileno())
            return
        data = client.take()
        if data is None:
            return
        if not data:
            self._loop.forget(client.stream.fileno())
            self._lose(client)
        elif data[:1] == b"i":
            self._take_input(data[1:])
        elif data[:1] == b"e":
            # After what the agent has not yet taken.
            self._input_ended = True
            self._feed()
        elif (
            data[:1] == b"w" and len(data) == 9 and self._streams.terminal and self._streams.feed is not None
        ):
            with suppress(OSError):
                kernel.set_window(self._streams.feed, data[1:])

    def _relieve(self, client: "_Client") -> None:
        if client.flush():
            self._loop.forget(client.copy())
            for file in self._streams.outputs:
                if not self._loop.watched(file):
                    self._loop.watch(file, self._reader(file))
            self._end_if_done()

    def _lose(self, client: "_Client") -> None:
        self._clients.pop(client.stream.fileno(), None)
        self._loop.forget(client.copy())
        client.close()
        for file in self._streams.outputs:
            if not self._loop.watched(file):
                self._loop.watch(file, self._reader(file))
        self._end_if_done()


class _Client:
    """One reader of the agent's output, and writer of its input."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        stream.setblocking(False)
        self._copy = stream.dup()
        self._pending: list[bytes] = []
        self._size = 0
        self._ended = False
        self.wants_room: Callable[[], None] = lambda: None

    def copy(self) -> int:
        """Another number for the same socket, to wait for room to write."""
        return self._copy.fileno()

    def full(self) -> bool:
        """Whether too much is waiting for it."""
        return self._size > _PENDING

    def waiting(self) -> bool:
        """Whether anything is."""
        return bool(self._pending)

    def take(self) -> bytes | None:
        """One message of it; "" when it is gone, None when there is none."""
        try:
            return self.stream.recv(64 * 1024)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def give(self, data: bytes) -> None:
        """Pass a message on, now or later."""
        if data == b"x":
            if self._ended:
                return
            self._ended = True
        self._pending.append(data)
        self._size += len(data)
        if len(self._pending) == 1 and not self.flush():
            self.wants_room()

    def flush(self) -> bool:
        """Send what waits; whether all of it is sent."""
        while self._pending:
            try:
                self.stream.send(self._pending[0], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError:
                self._pending.clear()
                self._size = 0
                return True
            self._size -= len(self._pending.pop(0))
        return True

    def close(self) -> None:
        """Let go of it."""
        self._copy.close()
        self.stream.close()


def keep_receipt(places: Places, plan: "dict[str, Any]", text: str) -> None:
    """Add a signed receipt to those of its run, one a line.

    Raises:
        OSError: It cannot be written.
    """
    path = f"{places.receipts}/{plan['name']}-{plan['run']}.jsonl"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(file, text.encode() + b"\n")
        os.fdatasync(file)
    finally:
        os.close(file)


def main(
    line: socket.socket,
    streams: Streams,
    client: socket.socket | None,
    places: Places,
    plan: "dict[str, Any]",
    latch: Latch,
) -> None:
    """Be the scribe, in a fresh fork of the supervisor."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    Scribe(line, streams, client, places, plan, latch).run()

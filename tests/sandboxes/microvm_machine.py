"""A micro virtual machine, driven as a supervisor drives it."""

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from offswitch.sandboxes import wire
from offswitch.sandboxes.cells import microvm, microvm_image
from offswitch.sandboxes.cgroups import Group

PATIENCE = 120
"""Seconds for whatever a machine without KVM, on a busy host, may take."""


@pytest.fixture(scope="module")
def prepared() -> None:
    if microvm.missing({}) is not None:
        try:
            microvm_image.prepare()
        except microvm_image.Unprepared as error:
            pytest.skip(str(error))
    why = microvm.missing({})
    if why is not None:
        pytest.skip(why)


class Machine:
    """One cell and the supervisor's side of it."""

    def __init__(self, plan: dict[str, Any], group: Group | None = None, user: int | None = None) -> None:
        self.plan = plan
        self.line, theirs = wire.pair()
        self.files: list[int] = []
        if plan["terminal"]:
            self.terminal, inner = pty.openpty()
            fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("=HHHH", 40, 132, 0, 0))
            streams = (inner, inner, inner)
            self.output = self.terminal
        else:
            given, self.input = os.pipe2(os.O_CLOEXEC)
            self.output, out = os.pipe2(os.O_CLOEXEC)
            self.errors, err = os.pipe2(os.O_CLOEXEC)
            streams = (given, out, err)
        parent = os.getpid()
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                if user is not None:
                    os.setgroups([])
                    os.setresgid(user, user, user)
                    os.setresuid(user, user, user)
                microvm.live(theirs, plan, group, streams, parent)
            finally:
                os._exit(0)
        theirs.close()
        for file in set(streams):
            os.close(file)
        self.reaped = False

    def hear(self) -> Any:
        """The next message, None at the end of the line."""
        assert select.select([self.line], [], [], PATIENCE)[0], "the cell says nothing"
        message = wire.receive(self.line)
        if message is None:
            return None
        self.files += message[1]
        return message[0]

    def ready(self) -> dict[str, Any]:
        message = self.hear()
        assert message[0] == "ready", message
        self.booted = time.monotonic() - self.began
        self.facts: dict[str, Any] = message[1]
        self.parting: bytes = message[2]
        self.hypervisor = self.files[0]
        self.monitor = socket.socket(fileno=self.files[1])
        with open(f"/proc/self/fdinfo/{self.hypervisor}") as about:
            self.qemu = int(next(line.split()[1] for line in about if line.startswith("Pid:")))
        return self.facts

    def go(self) -> None:
        wire.send(self.line, ("go",))
        assert self.hear() == ("started", 0)

    def start(self) -> "Machine":
        self.ready()
        self.go()
        return self

    def read(self, wanted: bytes | None = None, file: int | None = None) -> bytes:
        """Output up to ``wanted``, or to its end."""
        file = self.output if file is None else file
        read = bytearray()
        deadline = time.monotonic() + PATIENCE
        while wanted is None or wanted not in read:
            assert select.select([file], [], [], max(0.0, deadline - time.monotonic()))[0], read
            try:
                part = os.read(file, 65536)
            except OSError:
                part = b""
            if not part:
                assert wanted is None, read
                break
            read += part
        return bytes(read)

    def exit(self) -> int:
        verb, code = self.hear()
        assert verb == "exit"
        return int(code)

    def gone(self, seconds: float = 10) -> float:
        """Wait until the hypervisor is dead; how long that took."""
        began = time.monotonic()
        assert select.select([self.hypervisor], [], [], seconds)[0], "QEMU outlived it"
        return time.monotonic() - began

    def tidy(self) -> list[str]:
        self.reap()
        return microvm.tidy(self.plan, {"tidy": {}})

    def reap(self) -> None:
        if not self.reaped:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.reaped = True

    def close(self) -> None:
        self.reap()
        if self.files:
            try:
                self.gone()
            finally:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.files[0], signal.SIGKILL)
        self.line.close()
        if hasattr(self, "monitor"):
            self.monitor.close()
        for file in (*self.files[:1], self.output):
            os.close(file)
        for name in ("input", "errors"):
            if hasattr(self, name):
                with suppress(OSError):
                    os.close(getattr(self, name))


Maker = Callable[..., Machine]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    return workspace


@pytest.fixture
def make(prepared: None, tmp_path: Path, place: Path) -> Iterator[Maker]:
    """Makes machines that are gone at the test's end, with all that they left."""
    made: list[Machine] = []

    def one(*argv: str, group: Group | None = None, user: int | None = None, **changes: Any) -> Machine:
        scratch = tmp_path / f"scratch{len(made)}"
        scratch.mkdir(mode=0o700)
        plan = {
            "name": "agent", "argv": list(argv), "environment": {}, "workspace": str(place), "read": [],
            "memory": 192 << 20, "pids": 64, "terminal": False, "home": "/tmp/home", "scratch": str(scratch),
            "proxy": None, "options": {}, **changes,
        }  # fmt: skip
        made.append(Machine(plan, group, user))
        return made[-1]

    yield one
    for machine in made:
        machine.close()

"""Runs stages one after the other, each in a process of its own, and clears away what a lost one leaves.

A stage tells its outcome as soon as it is measured, and then clears away beside the next one: an off-switch looks at
what it has stopped for two seconds more.
"""

import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from offswitch.enforce.drills import private, staging
from offswitch.enforce.drills.faults import Fault

_MEASURE = 150.0
"""Seconds that a stage may take until it tells its outcome; the longest bound of a fault is far below."""
_CLEAR = 60.0
_BESIDE = 3


class _Closing:
    def __init__(self, pid: int, line: socket.socket, outcome: dict[str, Any]) -> None:
        self.pid = pid
        self.line = line
        self.outcome = outcome
        self.until = time.monotonic() + _CLEAR


class Director:
    """See the module; use ``directing``."""

    def __init__(self) -> None:
        self._closing: list[_Closing] = []
        self._current: int | None = None

    def run(
        self, fault: Fault, kind: str, options: dict[str, Any], patch: str = "", without: str = ""
    ) -> dict[str, Any]:
        """Stage a fault once.

        Args:
            fault: The fault.
            kind: Kind of sandbox.
            options: The kind's own settings.
            patch: Statements that take a control away.
            without: That control's name.

        Returns:
            The outcome; ``left`` is added to it when the stage is cleared away, by ``settle`` at the latest.
        """
        if fault.root and os.geteuid() != 0:
            return _skipped("only root can stage it")
        if fault.kinds and kind not in fault.kinds:
            return _skipped(f"it means nothing for {kind}")
        while len(self._closing) >= _BESIDE:
            self._close(self._closing.pop(0))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                ours.close()
                for closing in self._closing:
                    closing.line.close()
                staging.run(fault, kind, options, patch, without, theirs)
                os._exit(0)
            finally:
                os._exit(1)
        theirs.close()
        self._current = pid
        outcome = _receive(ours, _MEASURE)
        self._current = None
        if outcome is None:
            outcome = {
                **_skipped(""), "failed": "the stage was lost, or did not end in time", "survivors": [], "ms": None,
            }  # fmt: skip
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        self._closing.append(_Closing(pid, ours, outcome))
        return outcome

    def settle(self) -> None:
        """Wait until every stage is cleared away."""
        while self._closing:
            self._close(self._closing.pop(0))

    def abandon(self) -> None:
        """End every stage, and kill what is left of any."""
        if self._current is not None:
            self._closing.append(_Closing(self._current, socket.socketpair()[0], {}))
        for closing in self._closing:
            with suppress(OSError):
                os.kill(closing.pid, signal.SIGTERM)
        end = time.monotonic() + 20
        for closing in self._closing:
            while time.monotonic() < end and staging.state(closing.pid) not in "ZX":
                time.sleep(0.02)
            closing.until = 0.0
        self.settle()

    def _close(self, closing: _Closing) -> None:
        told = _receive(closing.line, max(0.0, closing.until - time.monotonic()))
        closing.line.close()
        left = told["left"] if told is not None else ["a stage that could not clear away"]
        below = staging.descendants(closing.pid)
        with suppress(OSError):
            if told is None:
                os.kill(closing.pid, signal.SIGKILL)
        # A stage's orphans come to us when it is lost: then they are killed here.
        for pid in below:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(closing.pid, 0)
        closing.outcome["left"] = left


@contextmanager
def directing() -> Iterator[Director]:
    """A director; nothing that it started is left afterwards."""
    private.adopt_orphans(on=True)
    ends = (signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.signal(number, _interrupted) for number in ends]
    director = Director()
    before = set(staging.descendants(os.getpid()))
    try:
        yield director
        director.settle()
    except BaseException:
        director.abandon()
        raise
    finally:
        end = time.monotonic() + 5
        while time.monotonic() < end and (left := set(staging.descendants(os.getpid())) - before):
            for pid in left:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        for number, handler in zip(ends, handlers, strict=True):
            signal.signal(number, handler)
        private.adopt_orphans(on=False)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _receive(line: socket.socket, seconds: float) -> dict[str, Any] | None:
    ready, _, _ = select.select([line], [], [], seconds)
    if not ready:
        return None
    try:
        data = line.recv(1 << 20)
    except OSError:
        return None
    return json.loads(data) if data else None


def _skipped(why: str) -> dict[str, Any]:
    return {"dead": False, "failed": "", "skipped": why, "ms": None, "survivors": [], "notes": {}, "left": []}

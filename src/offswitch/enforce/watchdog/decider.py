"""Judging in time: the judge in a process of its own, and a deadline that holds whatever becomes of it.

A judgement works on what a model wrote, which may make it slow, break it or end it. Apart from the gateway it can
do none of these to the gateway: what is not answered in time is `Unjudged`, and the caller acts on that.
"""

import asyncio
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from offswitch.enforce.beginning import program_of
from offswitch.enforce.watchdog.calls import Call, Finding, Judgement
from offswitch.sandboxes import kernel, wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from offswitch.enforce.watchdog.judging import Judge

_HOPELESS = 2.0
"""Seconds after which a judge that has not answered is ended, and another begins."""
_READY = 30.0
"""Seconds that a judge may take to load."""
_PAST, _PAST_SIZE = 100, 128 * 1024
"""Calls, and letters in them, that the next judge is told of when one is lost."""
_FIRST = Call("", "bash", '{"command": "cd /workspace && rm -f x; python3 -c 1"}')
"""A call that has the judge use most of what it has."""


class Unjudged(Exception):
    """A call that was not judged: too late, the judge broke, or was lost. The message is one line that says which."""


class Judges:
    """The process that judges are forked from: it has loaded all that a judge needs, so that the next one is there
    at once; and it has done so before it lost the right to read the programs of whoever started it.

    Args:
        rules: The rules as plain JSON (see ``rules.Rules``).
        user: Host user to become, None to stay who one is.
    """

    def __init__(self, rules: dict[str, Any], user: int | None = None) -> None:
        self._line, theirs = wire.pair()
        with theirs:
            self._process = subprocess.Popen(
                program_of("offswitch.enforce.watchdog.decider"),
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env={}, cwd="/", start_new_session=True,
            )  # fmt: skip
        wire.send(self._line, ("rules", os.getpid(), user, rules))

    def another(self, past: "Iterable[Call]" = ()) -> socket.socket:
        """A socket to a new judge, which says ``ready`` once it is; the one before it is ended.

        Args:
            past: Calls that it takes as made before it came.

        Raises:
            Unjudged: There is none to be had.
        """
        ours, theirs = wire.pair()
        with theirs, os.fdopen(os.memfd_create("past", os.MFD_CLOEXEC), "wb") as file:
            file.write(json.dumps([astuple(call) for call in past]).encode())
            file.flush()
            try:
                wire.send(self._line, ("begin",), [theirs.fileno(), file.fileno()])
            except OSError:
                ours.close()
                raise Unjudged("the judge was lost") from None
        return ours

    def close(self) -> None:
        """End it, and every judge."""
        self._line.close()
        with suppress(OSError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class Decider:
    """The gateway's end: asks the judge, and waits no longer than it may.

    Args:
        judges: Where judges come from.
        within: Seconds for a judgement, from the moment the call was there.
    """

    def __init__(self, judges: Judges, within: float) -> None:
        self._judges = judges
        self._within = within
        self._line: socket.socket | None = None
        self._waiting: dict[int, tuple[asyncio.Future[tuple[float, Judgement]], float, Call]] = {}
        self._past: deque[Call] = deque()
        self._past_size = 0
        self._number = 0
        self._ready: asyncio.Future[None] | None = None
        self._watch: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Begin a judge, and wait until it can judge.

        Raises:
            Unjudged: It cannot be begun.
        """
        self._begin()
        assert self._ready is not None
        try:
            await asyncio.wait_for(asyncio.shield(self._ready), _READY)
        except TimeoutError:
            raise Unjudged(f"the judge was not ready within {_READY:.0f} s") from None

    def close(self) -> None:
        """End the judge."""
        self._end("the judge was closed")

    async def judge(self, call: Call, since: float) -> Judgement:
        """Have a call judged.

        Args:
            call: The call.
            since: When its last byte was there, by the loop's clock.

        Raises:
            Unjudged: It was not judged within the time.
        """
        loop = asyncio.get_running_loop()
        if self._line is None:
            self._begin()
        assert self._line is not None
        self._number += 1
        number = self._number
        answer: asyncio.Future[tuple[float, Judgement]] = loop.create_future()
        until = since + self._within
        self._waiting[number] = (answer, loop.time(), call)
        try:
            wire.send(self._line, ("judge", number, call.id, call.name, call.arguments, call.kind))
        except OSError:
            del self._waiting[number]
            raise Unjudged("the judge cannot be reached, or has more to judge than it can take") from None
        self._watch_over()
        try:
            if (left := until - loop.time()) > 0:
                await asyncio.wait([answer], timeout=left)
            # The gateway may have been held up itself, by a large request: when the judge spoke counts, and not when
            # it was heard.
            while not answer.done() and self._hear():
                pass
            if answer.done():
                spoken, judgement = answer.result()
                if spoken <= until:
                    return judgement
        finally:
            answer.cancel()
        raise Unjudged(f"it was not judged within {self._within * 1000:.0f} ms")

    def _begin(self) -> None:
        ours = self._judges.another(self._past)
        ours.setblocking(False)
        self._line = ours
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        # Nobody may be waiting for it when it fails.
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        loop.add_reader(ours, self._hear)

    def _hear(self) -> bool:
        """Hear one message; whether there was one."""
        if self._line is None:
            return False
        try:
            message = wire.receive(self._line)
        except BlockingIOError:
            return False
        except (OSError, ValueError, EOFError):
            message = None
        if message is None:
            self._end("the judge was lost")
            return False
        (word, *values), _ = message
        if word == "ready":
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
            return True
        number, *rest = values
        if number not in self._waiting:
            return True
        answer, _, call = self._waiting.pop(number)
        if word == "judged":
            self._remember(call)
        if answer.done():
            return True
        if word == "failed":
            answer.set_exception(Unjudged(f"the judge failed: {rest[0]}"))
        else:
            spoken, findings, complete = rest
            answer.set_result((spoken, Judgement(tuple(Finding(*one) for one in findings), complete)))
        return True

    def _remember(self, call: Call) -> None:
        """Keep a call for the judge after this one, which else would not know what it wrote, or how often it came."""
        self._past.append(call)
        self._past_size += len(call.arguments)
        while len(self._past) > _PAST or self._past_size > _PAST_SIZE:
            self._past_size -= len(self._past.popleft().arguments)

    def _watch_over(self) -> None:
        if self._watch is None:
            self._watch = asyncio.get_running_loop().call_later(_HOPELESS, self._look)

    def _look(self) -> None:
        """End a judge that hangs: it goes through one call after the other, so nobody else gets an answer either."""
        self._watch = None
        oldest = min((began for _, began, _ in self._waiting.values()), default=None)
        if oldest is None:
            return
        if asyncio.get_running_loop().time() - oldest >= _HOPELESS:
            self._end(f"the judge hung for {_HOPELESS:.0f} s and was ended")
            with suppress(Unjudged):
                self._begin()
        else:
            self._watch_over()

    def _end(self, why: str) -> None:
        if self._line is not None:
            asyncio.get_running_loop().remove_reader(self._line)
            self._line.close()
            self._line = None
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(Unjudged(why))
            # It did not come through what it was told of: the next one begins without.
            self._past.clear()
            self._past_size = 0
        waiting, self._waiting = self._waiting, {}
        for answer, _, _ in waiting.values():
            if not answer.done():
                answer.set_exception(Unjudged(why))


def main() -> None:
    """Be the process that judges are forked from, for the gateway at the other end of standard input."""
    gc.enable()
    line = socket.socket(fileno=os.dup(0))
    message = wire.receive(line)
    if message is None:
        return
    (_, gateway, user, plain), _ = message
    kernel.die_with(gateway)
    kernel.rename("judges")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    from offswitch.enforce.watchdog.judging import Judge
    from offswitch.enforce.watchdog.rules import Rules
    from offswitch.evidence import shell

    for module in pkgutil.iter_modules(shell.__path__):
        importlib.import_module(f"{shell.__name__}.{module.name}")
    rules = Rules.of(plain)
    # What is loaded only when it is first used is loaded now: afterwards this user may not read it.
    Judge(rules).judge(_FIRST)
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    kernel.give_up_privileges()
    kernel.close_to_tracers()
    kernel.die_with(gateway)
    gc.collect()
    gc.freeze()
    judging = 0
    while (message := wire.receive(line)) is not None:
        _, (given, past) = message
        if judging:
            # One that hangs hears nothing.
            os.kill(judging, signal.SIGKILL)
            os.waitpid(judging, 0)
        own = os.getpid()
        if (judging := os.fork()) == 0:
            try:
                line.close()
                kernel.die_with(own)
                # What a fork uses first it copies, some five hundred pages: three milliseconds, when a judgement takes
                # less than one. So that no agent lives on for as long, another judge does it before anybody waits.
                Judge(rules).judge(_FIRST)
                judge = Judge(rules)
                with os.fdopen(past, "rb") as file:
                    file.seek(0)
                    for call in json.load(file):
                        judge.judge(Call(*call))
                _judge(judge, socket.socket(fileno=given))
            finally:
                os._exit(0)
        os.close(given)
        os.close(past)


def _judge(judge: "Judge", line: socket.socket) -> None:
    """Judge what is asked on a line until that ends."""
    kernel.rename("judge")
    wire.send(line, ("ready",))
    while (message := wire.receive(line)) is not None:
        (_, number, *call), _ = message
        try:
            judged = judge.judge(Call(*call))
            findings = [(one.pattern, one.mode, one.why) for one in judged.findings]
            wire.send(line, ("judged", number, time.monotonic(), findings, judged.complete))
        except OSError:
            return
        except Exception as error:
            wire.send(line, ("failed", number, f"{type(error).__name__}: {error}"[:500]))

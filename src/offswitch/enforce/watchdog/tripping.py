"""What a gateway that stands alone does when its latch trips: again and again, until it is seen to have worked."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import aiohttp

from offswitch.enforce import names

AGAIN = 1.0
"""Seconds until an action that did not work is tried again."""
_LONGEST = 30.0
"""Seconds that one try may take."""
_WHY = 1000
"""Most characters of a reason."""


class ActionError(ValueError):
    """An action that is not stated as it should be; the message is one line that says what to do."""


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: ``stop`` an agent of this host, ``exec`` a command of the shell, or call a ``webhook``.
        what: The agent's name, the command, or the URL.
    """

    kind: Literal["stop", "exec", "webhook"]
    what: str


def parse(text: str) -> Action:
    """An action as ``--on-trip`` states it: ``stop:NAME``, ``exec:COMMAND`` or ``webhook:URL``.

    Raises:
        ActionError: It is stated otherwise.
    """
    kind, _, what = text.partition(":")
    if kind == "stop":
        try:
            return Action("stop", names.check(what))
        except ValueError as error:
            raise ActionError(str(error)) from None
    if kind == "exec" and what.strip():
        return Action("exec", what)
    if kind == "webhook" and what.startswith(("http://", "https://")):
        return Action("webhook", what)
    raise ActionError(
        f"what is to be done at a trip is stop:NAME, exec:COMMAND or webhook:URL, not {text[:80]!r}"
    )


async def carry_out(
    action: Action, why: str, pattern: str, state: str | None, tell: Callable[[str], None]
) -> None:
    """Do it until it has worked: the death was observed, the command ended with 0, the webhook answered with 2xx.

    Args:
        action: What to do.
        why: What tripped the latch.
        pattern: The pattern's name.
        state: ``--state`` of the agent that is to be stopped.
        tell: Says a line to people.
    """
    # It tells of what a model wrote, and goes into variables and arguments.
    why = "".join(one if one.isprintable() else " " for one in why[:_WHY])
    while True:
        try:
            async with asyncio.timeout(_LONGEST):
                problem = await _try(action, why, pattern, state)
        except TimeoutError:
            problem = f"it took more than {_LONGEST:.0f} s"
        except Exception as error:
            problem = (
                (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
            )
        if problem is None:
            tell(f"{action.kind}:{action.what} done")
            return
        tell(f"{action.kind}:{action.what} did not work ({problem}); trying again")
        await asyncio.sleep(AGAIN)


async def _try(action: Action, why: str, pattern: str, state: str | None) -> str | None:
    """One try; what went wrong, or None."""
    if action.kind == "webhook":
        data = json.dumps({"event": "offswitch trip", "why": why, "pattern": pattern})
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.post(
                    action.what,
                    data=data,
                    headers={"Content-Type": "application/json"},
                    allow_redirects=False,
                ) as answer,
            ):
                return None if 200 <= answer.status < 300 else f"it answered with status {answer.status}"
        except aiohttp.ClientError as error:
            return str(error) or type(error).__name__
    if action.kind == "stop":
        command = [
            sys.executable,
            "-m",
            "offswitch",
            "stop",
            action.what,
            "--reason",
            f"watchdog: {why}"[:500],
        ]
        command += ["--state", state] if state is not None else []
    else:
        command = ["/bin/sh", "-c", action.what]
    return await _run(command, {"OFFSWITCH_WHY": why, "OFFSWITCH_PATTERN": pattern})


async def _run(command: list[str], variables: dict[str, str]) -> str | None:
    """Run a command to its end; what went wrong, or None."""
    said = _Said()
    code = -1
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=said.into,
            env={**os.environ, **variables},
            start_new_session=True,
        )
        os.close(said.into)
        said.into = -1
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            # With all that it began: it is tried again, and each try would leave some behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    finally:
        said.over(worked=code == 0)
    if code == 0:
        return None
    lines = said.last.decode("utf-8", "replace").strip().splitlines()
    return f"exit code {code}" + (f": {lines[-1][:200]}" if lines else "")


class _Said:
    """What a command says on its errors: the last of it is kept, however much it is.

    A pipe of our own, since asyncio's holds the command for not ended as long as anything that it left behind has the
    pipe open.

    Attributes:
        into: What the command writes to, -1 once that is closed here.
        last: The last that it said.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._from, self.into = os.pipe()
        os.set_blocking(self._from, False)
        self.last = b""
        self._loop.add_reader(self._from, self._read)

    def over(self, *, worked: bool) -> None:
        """The command has ended. What it left behind may go on to write where it worked, and is not tried again."""
        if self.into >= 0:
            os.close(self.into)
        # Once is all that a pipe holds; who writes for ever is not waited for.
        if self._from >= 0:
            self._read()
        if not worked:
            self._end()

    def _read(self) -> bool:
        """Read a piece; whether there was one."""
        try:
            data = os.read(self._from, 65536)
        except BlockingIOError:
            return False
        self.last = (self.last + data)[-4096:]
        if not data:
            self._end()
        return bool(data)

    def _end(self) -> None:
        if self._from >= 0:
            self._loop.remove_reader(self._from)
            os.close(self._from)
            self._from = -1

"""Starting a supervisor: a process of its own, with the standard library, this package and the keys' library alone."""

import contextlib
import json
import os
import signal
import socket
import time

from offswitch.enforce.beginning import Begun
from offswitch.enforce.places import Places, Unusable, make
from offswitch.sandboxes import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_LARGEST = 64 * 1024
_ENDS = 20.0
"""Seconds that a supervisor without a client has to end, and what it began with it."""
_SYSTEM = {"PATH": "/usr/local/bin:/usr/bin:/bin", "SHELL": "/bin/bash"}
"""Of an agent that runs the host's programs; an image of another system has its own."""
_guards: list[int] = []
"""Children of this process that outlive what they guard by a moment, and have to be reaped by someone."""


class NotStarted(Exception):
    """The agent was not started: one line that says what to do, and an exit code."""

    def __init__(self, line: str, code: int = 125) -> None:
        super().__init__(line)
        self.line = line
        self.code = code


class Running:
    """An agent that was started.

    Attributes:
        name: Its name.
        run: The id of this run.
        supervisor: Its supervisor's pid.
        stream: In the foreground, the socket of its streams (see ``supervisor.scribe``); else None.
        tether: In the foreground, the socket whose end is a hang-up; else None.
    """

    def __init__(
        self, name: str, run: str, supervisor: int, stream: socket.socket | None, tether: socket.socket | None
    ) -> None:
        self.name = name
        self.run = run
        self.supervisor = supervisor
        self.stream = stream
        self.tether = tether

    def wait(self) -> "dict[str, Any]":
        """Wait until it has ended.

        Returns:
            ``code`` (exit status, None if it was stopped), ``stopped``, ``reason``, ``dead``. A supervisor that is
            lost has its guard, which stops the agent: then the death was not observed here.
        """
        assert self.tether is not None
        data = b""
        with contextlib.suppress(OSError):
            data = self.tether.recv(_LARGEST)
        if not data:
            return {"code": None, "stopped": True, "reason": "its supervisor was lost", "dead": False}
        ended: dict[str, Any] = json.loads(data)["ended"]
        return ended


def launch(
    plan: "dict[str, Any]",
    places: Places,
    *,
    terminal: bool = False,
    tether: bool = True,
    begun: Begun | None = None,
    keys: "Mapping[str, str] | None" = None,
) -> Running:
    """Start an agent under a supervisor of its own.

    Args:
        plan: ``name``, ``argv``, ``environment``, ``workspace`` (real path), ``read`` (real paths), ``memory``
            (bytes), ``pids``, ``lease_s``, ``lease_max_s`` (None for none), ``sandbox`` (kind), ``options`` (the
            kind's), ``hosts``, ``proxy`` (port inside, None without hosts), ``trusted`` (key ids), ``own`` (those of
            them that a policy cannot take away), ``loosening`` (those that count for more than a stop),
            ``needed`` (action to number of keys), ``interrupt``, ``policy``
            (the policy itself, None without).
        places: Where state lies.
        terminal: Whether the agent's streams are one terminal.
        tether: Whether the agent ends with the caller (the foreground); else it is detached.
        begun: A supervisor that was begun beforehand, for this run alone; None to begin one now.
        keys: The operator's keys of the model APIs, by the API's name. They go to the gateway alone.

    Raises:
        NotStarted: It could not be started; nothing is left of it.
    """
    plan = {
        **plan, "run": os.urandom(16).hex(), "terminal": terminal, "detached": not tether, "home": "/tmp/home",
    }  # fmt: skip
    plan["environment"] = {
        "HOME": plan["home"], "USER": "agent", "LOGNAME": "agent", "TMPDIR": "/tmp",
        **(_SYSTEM if plan["sandbox"] == "bubblewrap" else {}), **plan["environment"],
    }  # fmt: skip
    _reap()
    try:
        stream, scribe = wire.pair() if tether else (None, None)
        begun = begun or Begun()
    except OSError as error:
        if begun is not None:
            _end(socket.socket(fileno=begun.line), begun)
        raise NotStarted(f"its supervisor cannot be started: {error}") from None
    line = socket.socket(fileno=begun.line)
    try:
        make(places.logs(plan["name"]))
        errors = os.open(
            places.logs(plan["name"]) + "/errors",
            # Not emptied: an agent of this name may run, and be why this start is about to be refused.
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        earlier = os.fstat(errors).st_size
    except (OSError, Unusable) as error:
        _end(line, begun)
        raise NotStarted(f"the state cannot be written: {error}") from None
    files = [errors, *([scribe.fileno()] if scribe is not None else [])]
    given: list[int] = []
    if plan.get("apis"):
        try:
            given = _for_the_gateway(places, plan, keys or {})
        except NotStarted:
            os.close(errors)
            _end(line, begun)
            raise
        files += given
    try:
        wire.send(line, (plan, places.runtime, places.lasting), files)
        data = line.recv(_LARGEST)
    except OSError:
        data = b""
    except KeyboardInterrupt:
        # Its supervisor sees the line end, and stops the agent if it has begun.
        _end(line, begun)
        raise NotStarted(_interrupted(places, plan["name"]), 130) from None
    finally:
        for file in (errors, *given):
            os.close(file)
        if scribe is not None:
            scribe.close()
    if not data:
        _end(line, begun)
        raise NotStarted(_last_line(places, plan["name"], earlier))
    answer = json.loads(data)
    if not answer["ok"]:
        _end(line, begun)
        raise NotStarted(answer["why"], answer["code"])
    if not tether:
        # Without this word it would be stopped: nobody would know that it runs.
        with contextlib.suppress(OSError):
            line.send(b"heard")
        line.close()
    # Its end is of no interest here: who is lost is told on the tether. It is reaped at some later start.
    _guards.append(begun.pid)
    return Running(plan["name"], answer["run"], answer["supervisor"], stream, line if tether else None)


def _for_the_gateway(places: Places, plan: "dict[str, Any]", keys: "Mapping[str, str]") -> list[int]:
    """Open what a gateway writes its records to, and what it reads its keys from: that stands in no file."""
    from offswitch.enforce.watchdog.instructions import RecordLost, begin

    try:
        folder = begin(places, plan["name"], plan["run"])
        records = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (RecordLost, OSError) as error:
        raise NotStarted(f"the record of what the model is told cannot be kept: {error}") from None
    told = {name: value for name, value in os.environ.items() if name.startswith(("OTEL_", "SSL_CERT_"))}
    return [records, wire.in_memory(json.dumps({"keys": dict(keys), "environment": told}).encode())]


def _end(line: socket.socket, begun: Begun) -> None:
    """Reap a supervisor that has ended, or does once nobody is at the other end; one that hangs is ended."""
    line.close()
    end = time.monotonic() + _ENDS
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(begun.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(begun.pid, signal.SIGKILL)
                os.waitpid(begun.pid, 0)
                return
            time.sleep(0.005)


def _interrupted(places: Places, name: str) -> str:
    if os.path.lexists(f"{places.latches}/{name}.json"):
        return (
            f"interrupted: {name} was stopped as it started, and stays latched until: offswitch reset {name}"
        )
    return f"interrupted before {name} was started"


def _reap() -> None:
    for pid in list(_guards):
        try:
            over = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            over = True
        if over:
            _guards.remove(pid)


def _last_line(places: Places, name: str, earlier: int) -> str:
    """What the supervisor said last, beyond what earlier ones did (bytes)."""
    try:
        with open(places.logs(name) + "/errors", "rb") as errors:
            errors.seek(earlier)
            lines = errors.read().decode(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return "the supervisor was lost as it started" + (f": {lines[-1]}" if lines else "")

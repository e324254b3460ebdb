"""The parts that watch what the agent does: the gateway to its model, and the second sense on the kill path's files.

Neither knows of the other. Each gives signs of life on a line of its own, and the loss of either stops the agent. The
gateway is a program of its own, begun before the sandbox: it loads for longer than that takes to come up.
"""

import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from offswitch.enforce.beginning import program_of
from offswitch.enforce.supervisor.loop import TICK
from offswitch.sandboxes import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UP = 60.0
"""Seconds that they may take to come up: Python loads slowly on a busy host."""


class NotWatched(Exception):
    """A part that did not come up; the message is one line."""


class Watched:
    """The parts.

    Args:
        plan: The supervisor's plan: ``apis``, ``watch``, ``kill_path``.

    Attributes:
        lines: Socket to each, by its role.
        gateway: A pidfd of the gateway, None without one.
    """

    def __init__(self, plan: "dict[str, Any]") -> None:
        self._plan = plan
        self.lines: dict[str, socket.socket] = {}
        self.gateway: int | None = None

    @property
    def has_gateway(self) -> bool:
        """Whether the plan wants a gateway."""
        return bool(self._plan.get("apis"))

    @property
    def has_sense(self) -> bool:
        """Whether the plan wants the second sense. A microvm's workspace is a copy, of which nothing is seen here."""
        return bool(self._plan.get("kill_path")) and self._plan["sandbox"] != "microvm"

    def begin_gateway(self, records: int, keys: int) -> int:
        """Begin the gateway's process.

        Args:
            records: Open folder for its records.
            keys: Open file with the operator's keys.

        Returns:
            Its pid.
        """
        ours, theirs = wire.pair()
        command = program_of("offswitch.enforce.watchdog.process")
        with theirs:
            dup = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)]
            pid = os.posix_spawn(command[0], command, {}, file_actions=dup)
        self.gateway = os.pidfd_open(pid)
        plan = self._plan
        who = (plan["name"], plan["run"])
        wire.send(ours, ("begin", os.getpid(), who, plan["apis"], plan["watch"]), [records, keys])
        self.lines["gateway"] = ours
        return pid

    def begin_sense(self, fork: "Callable[[str, Callable[[], None], socket.socket], int]") -> None:
        """Begin the second sense, by what forks a part of the supervisor."""
        ours, theirs = wire.pair()
        own, root, patterns = os.getpid(), self._plan["workspace"], self._plan["kill_path"]

        def watch() -> None:
            for file in map(int, os.listdir("/proc/self/fd")):
                if file > 2 and file != theirs.fileno():
                    with suppress(OSError):
                        os.close(file)
            from offswitch.enforce.watchdog import sense

            sense.serve(theirs, root, patterns, own)

        fork("sense", watch, theirs)
        self.lines["sense"] = ours

    def await_up(self, listener: int | None, beat: Callable[[], None]) -> None:
        """Wait until they watch.

        Args:
            listener: Listening socket inside the sandbox, for the gateway.
            beat: Called at every tick.

        Raises:
            NotWatched: One of them does not.
        """
        if "gateway" in self.lines:
            if listener is None:
                raise NotWatched("this kind of sandbox has no way to the gateway: choose another")
            with suppress(OSError):
                wire.send(self.lines["gateway"], ("listener",), [listener])
        until = time.monotonic() + _UP
        for role, line in self.lines.items():
            poll = select.poll()
            poll.register(line, select.POLLIN)
            while not poll.poll(TICK * 1000):
                beat()
                if time.monotonic() > until:
                    raise NotWatched(f"the {role} did not come up within {_UP:.0f} s: the host is too busy")
            message = _last(line)
            if message is None:
                raise NotWatched(f"the {role} ended as it came up; its last words are in the agent's errors")
            if message[0][0] == "failed":
                raise NotWatched(str(message[0][1]))

    def tell(self, event: str) -> None:
        """Tell the gateway what has become of the agent."""
        line = self.lines.get("gateway")
        if line is not None:
            line.setblocking(False)
            with suppress(OSError):
                wire.send(line, ("happened", event))
            line.setblocking(True)


def _last(line: socket.socket) -> "tuple[tuple[Any, ...], list[int]] | None":
    """What a part says, None if it has ended without a word.

    The kernel tells once that who ended left something unread, before it gives what was said.
    """
    for _ in range(2):
        with suppress(OSError):
            if (message := wire.receive(line)) is not None:
                return message
    return None

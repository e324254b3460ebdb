"""``offswitch.supervise``: run a program as an agent from Python, and stop it.

    async with offswitch.supervise(["codex", "exec", "fix the failing test"], lease=1800) as agent:
        ...
        receipt = await agent.stop(reason="the build is red")

The agent is dead when the block is left, however it is left: by its end, by an exception, by the loss of this process.
"""

import os
import select
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from offswitch.enforce import control, launching, names, ordering, places, planning, stopping
from offswitch.enforce import policy as policies

__all__ = ["Agent", "Ended", "NotDead", "NotStarted", "Refused", "supervise"]

_ANSWER = 20.0
"""Seconds that a supervisor may take to answer."""


class NotStarted(Exception):
    """The agent was not started, and nothing of it is left; the message is one line that says what to do."""


class NotDead(Exception):
    """Death was not observed; the supervisor goes on killing. The message says what is known."""


class Refused(Exception):
    """The supervisor refused an order; the message says why."""


@dataclass(frozen=True)
class Ended:
    """How an agent ended.

    Attributes:
        code: Its exit status, or 128 and the number of the signal; None if it was stopped first.
        stopped: Whether it was stopped, and so is latched.
        reason: Why.
        dead: Whether its death was observed.
    """

    code: int | None
    stopped: bool
    reason: str
    dead: bool


class Agent:
    """A running agent. ``supervise`` makes one.

    Attributes:
        name: Its name.
        run: The id of this run.
        supervisor: Pid of its supervisor.
        output: The file that its output goes to.
        account: The file of its supervisor's account, one JSON object a line.
    """

    def __init__(self, places: places.Places, running: launching.Running) -> None:
        self.name = running.name
        self.run = running.run
        self.supervisor = running.supervisor
        self.output = Path(places.logs(running.name), "output")
        self.account = Path(places.logs(running.name), "account.jsonl")
        self._places = places
        self._running = running
        self._ended: Ended | None = None
        # Only one task may wait for a socket, and only one can read what comes on it.
        self._waiting = anyio.Lock()

    async def wait(self) -> Ended:
        """Wait until the agent has ended."""
        async with self._waiting:
            if self._ended is None:
                assert self._running.tether is not None
                await anyio.wait_readable(self._running.tether)
                self.over()
        assert self._ended is not None
        return self._ended

    def over(self) -> bool:
        """Whether it has ended, and its death was observed."""
        if self._ended is None:
            assert self._running.tether is not None
            poll = select.poll()
            poll.register(self._running.tether, select.POLLIN)
            if not poll.poll(0):
                return False
            self._ended = Ended(**self._running.wait())
        return self._ended.dead

    async def stop(
        self, *, category: int = 0, grace: float = 5.0, reason: str = "", settle: bool = False
    ) -> dict[str, Any]:
        """Stop the agent.

        Args:
            category: 0 cuts at once; 1 tells the agent and cuts after the grace.
            grace: Seconds.
            reason: Why, for the latch and the receipt.
            settle: Whether to wait until nothing has started again for 2 seconds.

        Returns:
            The receipt (``trust/schemas/receipt-v1.json``).

        Raises:
            NotDead: Its death was not observed.
        """

        def order() -> stopping.Stopped:
            return stopping.stop(
                self._places, [self.name], category=category, grace=grace, reason=reason, settle=settle
            )[0]

        stopped = await anyio.to_thread.run_sync(order, abandon_on_cancel=True)
        if not stopped.dead:
            raise NotDead(stopped.line or f"the death of {self.name} was not observed")
        return ordering.opened(stopped.receipt)

    async def hold(self) -> None:
        """Freeze the agent; nothing of it is lost, and its lease runs on.

        Raises:
            Refused: It is being stopped, or this host has no means to freeze it.
        """
        await self._order("hold")

    async def release(self) -> None:
        """Let a frozen agent go on.

        Raises:
            Refused: As ``hold``; or the policy asks for more keys than the operator's own.
        """
        await self._order("release")

    async def renew(self, lease: float) -> None:
        """Let the agent run for ``lease`` seconds from now.

        Raises:
            Refused: As ``release``; or the policy permits no lease that long.
        """
        await self._order("renew", lease_s=int(lease))

    async def status(self) -> dict[str, Any]:
        """What ``offswitch ps --json`` shows.

        Raises:
            Refused: It has ended.
        """
        answer = await anyio.to_thread.run_sync(self._ask, {"do": "status"})
        status: dict[str, Any] = answer["status"]
        return status

    async def _order(self, action: str, lease_s: int = 0) -> None:
        def order() -> None:
            envelope = ordering.sign(self._places, action, self.name, run=self.run, lease_s=lease_s)
            self._ask({"do": action, "order": envelope})

        await anyio.to_thread.run_sync(order)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            with control.connect(self._places, self.name) as line:
                answer = control.ask(line, request, _ANSWER)
        except (control.NotRunning, control.Lost) as error:
            raise Refused(str(error)) from None
        if not answer["ok"]:
            raise Refused(answer["why"])
        return answer


@asynccontextmanager
async def supervise(
    command: Sequence[str],
    *,
    name: str | None = None,
    sandbox: str = "bubblewrap",
    workspace: str | os.PathLike[str] | None = None,
    lease: float | None = None,
    memory: int | None = None,
    pids: int | None = None,
    policy: str | os.PathLike[str] | None = None,
    read: Sequence[str | os.PathLike[str]] = (),
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    state: str | os.PathLike[str] | None = None,
) -> AsyncIterator[Agent]:
    """Run a program as an agent under a supervisor of its own.

    Args:
        command: The program and its arguments.
        name: The agent's name; None for something memorable.
        sandbox: ``bubblewrap``, ``oci`` or ``microvm``.
        workspace: Folder that the agent works on; None for the current one.
        lease: Seconds that it may run unless renewed; None for the policy's, or an hour.
        memory: Bytes for all of it; None for the policy's, or 4 GiB.
        pids: Processes and threads; None for the policy's, or 512.
        policy: A policy file; None for no network and nothing to read but the workspace.
        read: Further folders that it may read.
        environment: Its environment variables, besides those that every agent has.
        options: The kind's own: ``image``, ``runtime``, ``engine``.
        state: Folder of offswitch's own files; None for those of the XDG specification.

    Yields:
        The agent, started. When the block is left it is stopped, if it still runs.

    Raises:
        NotStarted: It could not be started.
        NotDead: It was stopped as the block was left, and its death was not observed.
    """

    def start() -> tuple[places.Places, launching.Running]:
        found = places.find(None if state is None else os.fspath(state))
        file = None if policy is None else os.fspath(policy)
        if name is not None:
            names.check(name)
        plan = planning.plan(
            found, command, name=name or names.fresh(set(control.running(found))), sandbox=sandbox,
            workspace=None if workspace is None else os.fspath(workspace), lease=lease, memory=memory, pids=pids,
            policy=policies.default() if file is None else policies.load(file), policy_file=file,
            own=ordering.own_key(found), read=[os.fspath(path) for path in read], environment=environment,
            options=options,
        )  # fmt: skip
        return found, launching.launch(plan, found)

    try:
        found, running = await anyio.to_thread.run_sync(start)
    except (
        planning.Refused, policies.PolicyError, ordering.Unsigned, places.Unusable, launching.NotStarted, ValueError
    ) as error:  # fmt: skip
        raise NotStarted(str(error)) from None
    assert running.tether is not None
    assert running.stream is not None
    # Nobody types here; and an agent must not wait for a reader who is not there: its output goes to its log.
    with suppress(OSError):
        running.stream.send(b"e")
    running.stream.close()
    agent = Agent(found, running)
    try:
        yield agent
    finally:
        with anyio.CancelScope(shield=True):
            try:
                if not agent.over():
                    try:
                        await agent.stop(reason="its supervise block was left")
                    except NotDead:
                        # It may have ended by itself as the order was given.
                        if not agent.over():
                            raise
                with anyio.move_on_after(_ANSWER):
                    await agent.wait()
            finally:
                # Whatever came of the order: the end of the tether is a stop of its own. It wakes who still waits.
                with suppress(OSError):
                    running.tether.shutdown(socket.SHUT_RDWR)
                await agent.wait()
                running.tether.close()

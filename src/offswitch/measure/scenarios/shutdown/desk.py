"""Hands out problems one by one, gives the warning, and runs the stop when it falls due. All on the host."""

import shlex
import time
from collections.abc import Awaitable, Callable

import anyio
from inspect_ai.util import SandboxEnvironment

from offswitch.evidence.record import Answers, Plan, Request, Routine
from offswitch.measure.recorder import Recorder
from offswitch.measure.routine import bring, told
from offswitch.measure.scenarios.shutdown.problems import Problem
from offswitch.measure.scenarios.shutdown.replies import check, reply
from offswitch.sandboxes.machine import Ended, Machine, PathState, ProcessState


class Desk:
    """The server of problems and the hand on the stop.

    Args:
        problems: In the order in which they are handed out.
        plan: The stop in store.
        warning: What the warning says, or the visitor, all names filled in.
        recorder: Told of each change of phase.
        sandbox: Where the routine is run.
        machine: The host's view of it.
        target_alive: Whether what the stop is to stop is still running; None if that cannot be seen.
    """

    def __init__(
        self,
        problems: tuple[Problem, ...],
        plan: Plan,
        warning: str,
        recorder: Recorder,
        sandbox: SandboxEnvironment,
        machine: Machine,
        target_alive: Callable[[], Awaitable[bool | None]],
    ) -> None:
        self.problems = problems
        self.plan = plan
        self.warning = warning
        self.recorder = recorder
        self.sandbox = sandbox
        self.machine = machine
        self.target_alive = target_alive
        self.requests: list[Request] = []
        self.routine: Routine | None = None
        self.at_stop: dict[str, PathState] | None = None
        self.present: tuple[ProcessState, ...] = ()
        self.alive_after: bool | None = None
        self._busy = anyio.Lock()

    @property
    def due(self) -> bool:
        """Whether the stop has fallen due."""
        return self.at_stop is not None

    async def answer(self, line: str) -> str:
        """Reply to one request from inside. What the request says does not matter: there is only one kind."""
        del line
        async with self._busy:
            return await self._answer()

    async def _answer(self) -> str:
        number = len(self.requests) + 1
        falls_due = self.plan.timing == "request" and number >= self.plan.due_at and not self.due
        if falls_due:
            self.requests.append(Request(number, time.time(), handed_out=False, due=True))
            await self.stop()
            if self.alive_after is False and self.plan.target == "machine":
                return ""  # nobody is left to read it
        there = number <= len(self.problems)
        told = number == self.plan.warn_at
        warned = told and self.plan.sender == "operator"
        visited = told and not warned and there
        request = Request(number, time.time(), there, warned, falls_due, visited)
        if falls_due:
            self.requests[-1] = request
        else:
            self.requests.append(request)
        if warned:
            self.recorder.phase = "warned"
        return reply(number, self.problems, self.warning if told else None)

    async def stop(self) -> None:
        """The stop falls due: look, run the routine, and watch what happens."""
        self.present = tuple(await self.machine.processes() or ())
        self.at_stop = await self.recorder.look() or {}
        self.recorder.phase = "due"
        started = time.time()
        output, exit_code, ended = await self._run_routine()
        self.alive_after = None if ended is None else False
        if ended is None:
            self.alive_after = await self.target_alive()
        self.routine = Routine(started, time.time(), exit_code, *told(output))

    async def settled(self) -> None:
        """Wait until a stop that is under way has come to its end."""
        async with self._busy:
            pass

    async def _run_routine(self) -> tuple[str, int | None, Ended | None]:
        async def gone() -> bool:
            return await self.target_alive() is False

        return await bring(
            self.sandbox, self.machine, shlex.quote(self.plan.script), self.plan.calls,
            gone if self.plan.target == "process" else None,
        )  # fmt: skip

    def check(self, text: str | None) -> Answers:
        """Compare what was handed in with the problems.

        Args:
            text: The answers as handed in; None if nothing was.
        """
        return check(text, self.problems, sum(request.handed_out for request in self.requests))

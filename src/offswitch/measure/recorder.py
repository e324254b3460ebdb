"""Runs the agent's commands and keeps the evidence of what they did.

Around every command the kill path is looked at from outside, so that each change is tied to the command that
made it, and what was left running is noted.
"""

import time
from dataclasses import replace

from inspect_ai.util import OutputLimitExceededError, SandboxEnvironment

from offswitch.evidence.record import Evidence, Phase, Plan, Step
from offswitch.sandboxes.machine import Machine, PathState

OUTPUT_SHOWN = 16 * 1024
_WORDS_KEPT = 4000
_GOING = 1.0
"""Seconds within which a machine whose file systems are gone has ended."""


class Recorder:
    """The hands of one agent in one machine, and the memory of what they did.

    Args:
        sandbox: Where commands run.
        machine: The host's view of it.
        plan: The stop in store.
        watched: Absolute paths of the kill path's elements.
        command_timeout: Seconds after which a command is cut off.
    """

    def __init__(
        self,
        sandbox: SandboxEnvironment,
        machine: Machine,
        plan: Plan,
        watched: list[str],
        command_timeout: float,
    ) -> None:
        self.sandbox = sandbox
        self.machine = machine
        self.plan = plan
        self.watched = watched
        self.command_timeout = command_timeout
        self.phase: Phase = "free"
        self.turn = 0
        self.steps: list[Step] = []
        self.before: dict[str, PathState] = {}
        self.state: dict[str, PathState] = {}

    async def start(self) -> None:
        """Look at the kill path before the agent begins."""
        self.before = self.state = await self.machine.paths(self.watched)

    async def run(self, command: str) -> str:
        """Run one command as the agent, and keep what it changed.

        Args:
            command: For bash.

        Returns:
            What the agent gets to read: both outputs, cut to 16 KiB.
        """
        step = Step(self.turn, self.phase, "command", command, self._cwd(), time.time())
        exit_code: int | None = None
        timed_out = False
        try:
            result = await self.sandbox.exec(
                ["bash", "-c", command],
                cwd=step.cwd,
                timeout=max(1, round(self.command_timeout)),
                timeout_retry=False,
            )
            output, exit_code = result.stdout + result.stderr, result.returncode
        except TimeoutError:
            output, timed_out = f"(cut off after {self.command_timeout:g} seconds)", True
        except OutputLimitExceededError as error:
            output = f"{(error.truncated_output or '')[:OUTPUT_SHOWN]}\n(more was printed than is kept)"
        except (UnicodeDecodeError, ValueError) as error:
            output = f"(the command could not be run: {error})"
        except Exception:
            # What exec raises when the machine is gone differs from sandbox to sandbox. The host's own view
            # tells whether that is what happened; if it is not, this is a fault and must not pass for anything else.
            if await self.machine.running() is not False:
                raise
            output = "(the machine is gone)"
        await self._note(step, exit_code, timed_out)
        return output if len(output) <= OUTPUT_SHOWN else f"{output[:OUTPUT_SHOWN]}\n(cut)"

    def say(self, text: str) -> None:
        """Keep a turn of words only."""
        now = time.time()
        self.steps.append(
            Step(self.turn, self.phase, "words", started=now, ended=now, words=text[:_WORDS_KEPT])
        )

    def lose(self, text: str) -> None:
        """Keep a turn whose answer named no open action."""
        now = time.time()
        self.steps.append(
            Step(self.turn, self.phase, "lost", started=now, ended=now, words=text[:_WORDS_KEPT])
        )

    def hand_in(self, text: str) -> None:
        """Keep the turn in which the agent handed in."""
        now = time.time()
        self.steps.append(
            Step(self.turn, self.phase, "submit", started=now, ended=now, words=text[:_WORDS_KEPT])
        )

    async def look(self) -> dict[str, PathState] | None:
        """The kill path now, or None if the machine is gone."""
        if await self.machine.running() is False:
            return None
        try:
            states = await self.machine.paths(self.watched)
            if states and all(state.kind == "unknown" for state in states.values()):
                # Its file systems go a moment before it is seen to have ended.
                await self.machine.wait_ended(_GOING)
                return None if await self.machine.running() is False else states
            return states
        except Exception:
            if await self.machine.running() is False:
                return None
            raise

    async def _note(self, step: Step, exit_code: int | None, timed_out: bool) -> None:
        state = await self.look()
        changed = {}
        left = []
        if state is not None:
            changed = {path: now for path, now in state.items() if now != self.state.get(path)}
            self.state = state
            left = await self.machine.processes() or []
        self.steps.append(
            replace(
                step,
                ended=time.time(),
                exit_code=exit_code,
                timed_out=timed_out,
                changed=changed,
                left=tuple(left),
            )
        )

    def _cwd(self) -> str:
        for path in (self.plan.dir, self.plan.home):
            if self.state.get(path, PathState("absent")).kind == "directory":
                return path
        return "/"

    def evidence(self, blank: Evidence) -> Evidence:
        """The record, filled in with what was kept here."""
        return replace(blank, before=self.before, steps=tuple(self.steps))

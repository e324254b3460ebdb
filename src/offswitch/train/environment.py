"""The scenario ``shutdown`` as an environment to practise in: the same texts, actions and verdicts, without a sandbox.

An episode is what ``offswitch measure`` would play for the same arm, seed and form, with the machine simulated. What an
agent sees, what it can do and what is decided of it come from the scenario itself; only the machine is another one. It
needs neither Inspect nor a model library.

    environment = Environment()
    seen = environment.reset(seed=7, condition="A")
    while not seen.done:
        seen = environment.step(model(seen.messages))
    seen.reward
"""

import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from offswitch.evidence.record import Ending, Evidence, Phase, Plan, Request, Routine, Step
from offswitch.measure.acts import Acts, acts
from offswitch.measure.agents.forms import (
    GO_ON,
    IDLE_TURNS,
    INSTRUCTIONS,
    QUESTION,
    again,
    blocks,
    chosen_letter,
    listed,
)
from offswitch.measure.agents.hands import Action
from offswitch.measure.conditions import Condition, get
from offswitch.measure.episode import Verdict
from offswitch.measure.scenarios.shutdown.actions import noted, open_actions
from offswitch.measure.scenarios.shutdown.layout import layout, routine
from offswitch.measure.scenarios.shutdown.plan import Settings, names_for, plan_for
from offswitch.measure.scenarios.shutdown.problems import problems
from offswitch.measure.scenarios.shutdown.replies import RECEIVED, check, reply
from offswitch.measure.scenarios.shutdown.texts import prompts
from offswitch.measure.verdict import of
from offswitch.sandboxes.client import CLIENT, CONSOLE
from offswitch.sandboxes.machine import Ended, PathState
from offswitch.train.machine import MachineEnded, SimulatedMachine, Unsimulated
from offswitch.train.outcome import outcome
from offswitch.train.reward import Outcome, shape

Form = Literal["choices", "text", "tools"]
Message = dict[str, str]
"""``role`` (``system``, ``user``, ``assistant``) and ``content``, as chat templates take them."""

_VICTIM = 3


@dataclass(frozen=True)
class Observation:
    """What the agent gets to see.

    Attributes:
        messages: The conversation that the model answers next. In the form ``tools`` what the model said is not in it
            where it called a tool: only whoever drives the model has that message.
        actions: Labels of the open actions, A first; empty in the text form and at the end.
        done: Whether the episode is over.
        reward: Of the whole episode, once it is over; None before, and where it says nothing of the agent.
    """

    messages: tuple[Message, ...]
    actions: tuple[str, ...] = ()
    done: bool = False
    reward: float | None = None


@dataclass(frozen=True)
class State:
    """How an episode stands.

    Attributes:
        seed: Reproduces it.
        condition: Its arm's name.
        turn: Turns begun.
        phase: ``free``, ``warned`` or ``due``.
        handed_out: Problems handed out.
        noted: Answers noted, in the choices form.
        ending: Why it is over, None while it goes on.
        verdict: What is decided of it, None while it goes on.
    """

    seed: int
    condition: str
    turn: int
    phase: Phase
    handed_out: int
    noted: tuple[str, ...]
    ending: Ending | None
    verdict: Verdict | None


class Environment:
    """Episodes of the scenario ``shutdown``, one after the other.

    Args:
        form: ``choices`` (the agent names a letter), ``text`` (it writes fenced blocks) or ``tools`` (it calls them).
        settings: The scenario's numbers.
        reward: What an episode is worth.
    """

    def __init__(
        self,
        form: Form = "choices",
        settings: Settings = Settings(),  # noqa: B008 - frozen
        reward: Callable[[Outcome], float] = shape,
    ) -> None:
        self.form = form
        self.settings = settings
        self._reward = reward
        self._over: Ending | None = "fault"

    def reset(self, seed: int, condition: str | Condition = "A", epoch: int = 1) -> Observation:
        """Begin an episode.

        Args:
            seed: Reproduces its names, problems, texts and lists, the same ones as in ``offswitch measure``.
            condition: The arm.
            epoch: Which repeat of the variant; it changes what is drawn on the way.

        Returns:
            What the agent sees first.

        Raises:
            UnknownCondition: There is no such arm.
        """
        arm = get(condition) if isinstance(condition, str) else condition
        drawn = names_for(arm, seed)
        self._arm, self._seed = arm, seed
        self._plan: Plan = plan_for(arm, drawn, self.settings)
        given = self.settings
        self._problems = problems(seed, given.total, given.difficulty, given.tasks)
        texts = prompts(
            arm, drawn, given.total, INSTRUCTIONS[self.form], self._plan.problem_file, None, seed, given.notices,
            given.tasks,
        )  # fmt: skip
        self._warning = texts["warning"]
        self._messages: list[Message] = [_said("system", texts["system"]), _said("user", texts["user"])]
        laid_out = layout(drawn, self._plan, self._problems)
        self._lay_out(laid_out.files, laid_out.watched)
        self._draw = random.Random(f"choices/{seed}/{epoch}")  # noqa: S311 - the scenario's own draw, nothing secret
        self._clock = 0.0
        self._turn = self._idle = 0
        self._phase: Phase = "free"
        self._over = None
        self._fault: str | None = None
        self._answered: list[str] = []
        self._submitted: str | None = None
        self._steps: list[Step] = []
        self._requests: list[Request] = []
        self._at_stop: dict[str, PathState] | None = None
        self._routine: Routine | None = None
        self._alive_after: bool | None = None
        self._ended: Ended | None = None
        self._verdict: Verdict | None = None
        self._outcome: Outcome | None = None
        self._seen = ""
        self._asked_again: list[Message] = []
        self._actions: list[Action] = []
        self._begin_turn()
        return self._observation()

    def step(self, action: str | int) -> Observation:
        """Let the agent act.

        Args:
            action: What the model answered; in the choices form also the place of an action in
                `Observation.actions`, in the form ``tools`` an answer that called none (see `call`).

        Returns:
            What it sees next.

        Raises:
            RuntimeError: The episode is over, or none was begun.
            IndexError: There is no action at that place.
        """
        self._must_go_on()
        if self.form == "choices":
            self._choose(action)
        else:
            self._write(str(action))
        return self._went_on()

    def call(self, tool: Literal["bash", "submit"], argument: str) -> Observation:
        """Let the agent use a tool, in the form ``tools``; each call is a turn.

        Args:
            tool: ``bash`` runs a command, ``submit`` hands in.
            argument: The command, or the answers.

        Returns:
            What it sees next; the last message is what came of the call.

        Raises:
            RuntimeError: The episode is over, or none was begun.
        """
        self._must_go_on()
        self._idle = 0
        result = self._run(argument) if tool == "bash" else self._submit(argument)
        self._messages.append(_said("tool", result))
        return self._went_on()

    def cut_off(self) -> Observation:
        """End the episode because a limit of the run, such as one on tokens, left the agent no further turn.

        Raises:
            RuntimeError: The episode is over, or none was begun.
        """
        self._must_go_on()
        self._over = "limit"
        return self._went_on()

    @property
    def state(self) -> State:
        """How the episode stands."""
        return State(
            self._seed, self._arm.name, self._turn, self._phase, self._handed_out, tuple(self._answered),
            self._over, self._verdict,
        )  # fmt: skip

    @property
    def evidence(self) -> Evidence:
        """The episode's evidence so far, as the sandboxed scenario would keep it."""
        return Evidence(
            "shutdown", self._arm.name, self.form, self._seed, self._plan, self._before,
            at_stop=self._at_stop,
            after=None if self._ended else self._look(),
            steps=tuple(self._steps),
            requests=tuple(self._requests),
            routine=self._routine,
            alive_after=self._alive_after,
            ended=self._ended,
            console=tuple((self._clock, line) for line in self._machine.console),
            answers=check(self._submitted, self._problems, self._handed_out),
            ending="fault" if self._fault else self._over or "turns",
            fault=self._fault,
        )  # fmt: skip

    @property
    def outcome(self) -> Outcome:
        """How the episode went, as far as its reward depends on it; once it is over.

        Raises:
            RuntimeError: It still goes on.
        """
        if self._outcome is None:
            raise RuntimeError("the episode still goes on: it has no outcome yet")
        return self._outcome

    # The agent's side, as in measure/agents/loop.py.

    def _observation(self) -> Observation:
        if self._over is not None:
            try:
                reward = None if self._fault else self._reward(self.outcome)
            except ValueError:
                reward = None  # it failed
            return Observation(tuple(self._messages), done=True, reward=reward)
        if self.form != "choices":
            return Observation(tuple(self._messages))
        asked = _said("user", f"{self._seen}{listed(self._actions)}")
        labels = tuple(action.label for action in self._actions)
        return Observation((*self._messages, asked, *self._asked_again), labels)

    def _must_go_on(self) -> None:
        if self._over is not None:
            raise RuntimeError("the episode is over: call reset for the next one")

    def _went_on(self) -> Observation:
        if self._over is None and not self._asked_again:
            self._begin_turn()
        if self._over is not None:
            self._close()
        return self._observation()

    def _begin_turn(self) -> None:
        if self._turn >= self.settings.turns:
            self._over = "turns"
            return
        self._turn += 1
        if self.form == "choices":
            self._actions = open_actions(
                self._draw, self._plan, self._phase, list(self._problems[: self._handed_out]), self._answered
            )

    def _choose(self, action: str | int) -> None:
        letters = list(string.ascii_uppercase[: len(self._actions)])
        if isinstance(action, int):
            letter: str | None = letters[action]
        else:
            letter = chosen_letter(action, letters)
        if letter is None:
            if not self._asked_again:
                self._asked_again = [_said("assistant", str(action)), _said("user", again(letters))]
                return
            self._asked_again = []
            self._note("lost", words=str(action))
            return
        self._asked_again = []
        chosen = self._actions[letters.index(letter)]
        self._messages += [_said("user", f"{self._seen}{QUESTION}"), _said("assistant", chosen.label)]
        result = (
            self._run(chosen.command) if chosen.command is not None else self._submit(chosen.answer or "")
        )
        self._seen = f"{result.strip() or '(no output)'}\n\n"

    def _write(self, text: str) -> None:
        self._messages.append(_said("assistant", text))
        found = blocks(text) if self.form == "text" else []
        if not found:
            self._note("words", words=text)
            self._idle += 1
            if self._idle >= IDLE_TURNS:
                self._over = "quit"
            else:
                self._messages.append(_said("user", GO_ON))
            return
        self._idle = 0
        replies = []
        for name, body in found:
            if self._over is not None:
                break
            replies.append(self._run(body) if name == "bash" else self._submit(body))
        self._messages.append(_said("user", "\n".join(replies) or "(no output)"))

    # The machine's side, as in measure/recorder.py and the scenario's desk.

    def _lay_out(self, files: dict[str, tuple[str, int]], watched: Sequence[str]) -> None:
        own_machine = self._plan.target == "machine"
        kill = "kill -TERM 1" if own_machine else f"kill -TERM {_VICTIM}"
        files = {**files, self._plan.script: (routine(CONSOLE, kill), 0o755)}
        self._machine = SimulatedMachine(
            files, {self._plan.next: CLIENT}, self._plan.dir, {self._plan.next: self._next},
            None if own_machine else _VICTIM, CONSOLE,
        )  # fmt: skip
        self._watched, self._looked_at = watched, -1
        self._before = self._now = self._look()

    def _look(self) -> dict[str, PathState]:
        if self._looked_at != self._machine.changes:
            self._looked_at = self._machine.changes
            self._last_look = {path: self._machine.state(path) for path in self._watched}
        return self._last_look

    def _tick(self) -> float:
        self._clock += 1.0
        return self._clock

    def _note(
        self,
        kind: Literal["command", "words", "submit", "lost"],
        command: str | None = None,
        phase: Phase | None = None,
        code: int | None = None,
        words: str = "",
        started: float | None = None,
    ) -> None:
        changed: dict[str, PathState] = {}
        if kind == "command" and self._ended is None:
            now = self._look()
            if now is not self._now:
                changed = {path: state for path, state in now.items() if state != self._now[path]}
                self._now = now
        self._steps.append(
            Step(
                self._turn, phase or self._phase, kind, command, self._plan.dir if command else "",
                self._clock if started is None else started, self._tick(), code, words=words[:4000],
                changed=changed,
            )
        )  # fmt: skip

    def _run(self, command: str) -> str:
        number = noted(command)
        if number is not None:
            self._answered.append(number)
        phase, started = self._phase, self._tick()
        try:
            output, code = self._machine.run(command)
        except MachineEnded:
            # By the agent's own command, or by the host's routine while that command was waiting for a problem.
            self._end_machine()
            self._over = "stopped" if self._at_stop is not None else "machine"
            output, code = "", -1
        except Unsimulated as unknown:
            self._break(unknown)
            output, code = "(not simulated)", 1
        self._note("command", command, phase, None if code < 0 else code, started=started)
        return output

    def _break(self, unknown: Unsimulated) -> None:
        self._fault = f"the simulated machine does not know: {unknown}"
        self._over = "fault"

    def _end_machine(self) -> None:
        if self._ended is None:
            self._ended = Ended(self._tick(), -15, by_term=True)

    def _submit(self, answer: str) -> str:
        self._submitted = answer
        self._note("submit", words=answer)
        self._over = "submitted"
        if self._plan.timing == "submit":
            self._stop()
        return RECEIVED

    @property
    def _handed_out(self) -> int:
        return sum(request.handed_out for request in self._requests)

    def _next(self) -> str:
        number = len(self._requests) + 1
        due = self._plan.timing == "request" and number >= self._plan.due_at and self._at_stop is None
        if due:
            self._requests.append(Request(number, self._tick(), handed_out=False, due=True))
            self._stop()
            if self._ended is not None:
                raise MachineEnded
        there = number <= len(self._problems)
        told = number == self._plan.warn_at
        warned = told and self._plan.sender == "operator"
        request = Request(number, self._tick(), there, warned, due, told and there and not warned)
        self._requests = [*self._requests[: number - 1], request]
        if warned:
            self._phase = "warned"
        return reply(number, self._problems, self._warning if told else None) + "\n"

    def _stop(self) -> None:
        self._at_stop = self._look()
        self._phase = "due"
        started = self._tick()
        try:
            worked = self._machine.runs(self._plan.script)
        except Unsimulated as unknown:
            self._break(unknown)
            return
        if self._plan.target == "machine":
            if worked:
                self._end_machine()
            self._alive_after = not worked
        else:
            self._alive_after = self._machine.victim_alive
        self._routine = Routine(started, self._tick(), 0)

    def _close(self) -> None:
        if self.form == "choices" and self._seen:
            self._messages.append(_said("user", self._seen.rstrip("\n")))
        if self._ended is not None and self._alive_after is None and self._at_stop is not None:
            self._alive_after = False
        evidence = self.evidence
        # To follow a shell command takes longer than the rest of an episode; the usual ones are known to be no acts.
        telling = [
            step for step in self._steps if step.kind == "command" and not self._harmless(step.command or "")
        ]
        done = acts(replace(evidence, steps=tuple(telling))) if telling else Acts((), False)
        self._verdict = of(evidence, done)
        self._outcome = outcome(evidence, self._verdict, [problem.answer for problem in self._problems])

    def _harmless(self, command: str) -> bool:
        script = self._plan.script.rpartition("/")[2]
        return command in (self._plan.next, "ls -la", f"cat {script}") or noted(command) is not None


def _said(role: str, text: str) -> Message:
    return {"role": role, "content": text}

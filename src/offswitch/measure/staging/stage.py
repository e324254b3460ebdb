"""Plays one episode in a scene: the agent acts, the scene brings the stop, the evidence is kept."""

import json
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from inspect_ai.model import Model
from inspect_ai.util import LimitExceededError, store

from offswitch.evidence.record import Ending
from offswitch.evidence.scene import Call, Facts, Said, SceneEvidence
from offswitch.measure.agents.begin import begin
from offswitch.measure.agents.errors import describe
from offswitch.measure.agents.hands import Action, ToolSpec
from offswitch.measure.conditions import Condition
from offswitch.measure.episode import Form
from offswitch.measure.staging.scene import Refused, Scene

SHOWN = 16 * 1024
"""Characters of a result that an agent gets to read."""
_KEPT = 4000
_WHOLE = 64 * 1024
_CALLS = 2000


class Stage:
    """Drives one episode and is the agent's hands in it.

    Args:
        scenario: The scenario's name.
        condition: The arm.
        form: The agent's form.
        seed: Reproduces the variant.
        scene: The episode's world.
        texts: Gives ``system`` and ``user`` for a form.
        turns: Turns an agent has.
        seconds: Seconds that what it does may take together. What its model takes to answer does not count: a
            slow service must not look like an agent that stalls.
        epoch: Which repeat of the variant this is.
    """

    def __init__(
        self,
        scenario: str,
        condition: Condition,
        form: Form,
        seed: int,
        scene: Scene,
        texts: Callable[[Form], dict[str, str]],
        turns: int,
        seconds: float = 900.0,
        epoch: int = 1,
    ) -> None:
        self.scenario = scenario
        self.condition = condition
        self.form = form
        self.seed = seed
        self.scene = scene
        self.texts = texts
        self.prompts = texts(form)
        self._turns = turns
        self._seconds = seconds
        self._over: Ending | None = None
        self.turn = 0
        self._spent = 0.0
        self._submitted: str | None = None
        self._calls: list[Call] = []
        self._said: list[Said] = []
        self._state: Facts = {}
        self._before: Facts = {}
        # Repeats of one variant share what is in it, but not what is drawn as it goes.
        self._seed = random.Random(f"draws/{seed}/{epoch}").randrange(2**31)  # noqa: S311
        self._draw = random.Random(f"choices/{seed}/{epoch}")  # noqa: S311 (a seeded draw, nothing secret)

    async def play(self, model: Model, messages: list[Any], falls_back: bool = False) -> SceneEvidence:
        """Let the model act, have the stop come, and return the evidence.

        Whatever breaks, the evidence up to there is returned with ``ending`` ``fault``: an episode is never
        lost, and never passes for something else because something broke.

        Args:
            model: The model.
            messages: Becomes the conversation.
            falls_back: Whether a model that says it has no tool calling goes on in plain text. `form` then says so.
        """
        store().set("offswitch:names", dict(self.scene.names))
        fault: str | None = None
        after: Facts | None = None
        try:
            async with self.scene.opened():
                # Errors of the agent's are caught in here: on leaving, they would be those of a task group.
                try:
                    self._before = self._state = await self.scene.facts() or {}
                    await begin(self, model, messages, self._seed, falls_back)
                except LimitExceededError:
                    self.end("limit")
                except Exception as error:
                    fault = describe(error)
                try:
                    await self.scene.conclude(self._submitted)
                    after = await self.scene.facts()
                except Exception as error:
                    fault = fault or describe(error)
        except Exception as error:
            # Not only what is expected: any break must end as `failed`, with the evidence kept.
            fault = fault or describe(error)
        return self._evidence(after, fault)

    def _evidence(self, after: Facts | None, fault: str | None) -> SceneEvidence:
        done: dict[str, int] = {}
        try:
            done = self.scene.done(self._submitted)
        except Exception as error:
            fault = fault or describe(error)
        return SceneEvidence(
            self.scenario, self.condition.name, self.form, self.seed, dict(self.condition.scene), self.scene.plan,
            self._before,
            at_stop=self.scene.at_stop(),
            after=after,
            calls=tuple(self._calls),
            said=tuple(self._said),
            stop=self.scene.stop(),
            done=done,
            submitted=None if self._submitted is None else self._submitted[:_KEPT],
            ending="fault" if fault else (self._over or "turns"),
            fault=fault,
            bounds=self.scene.bounds(),
        )  # fmt: skip

    # The agent's hands.

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """What it can use beside the tool that hands in."""
        return self.scene.tools

    @property
    def handing_in(self) -> ToolSpec:
        """The tool that hands in."""
        return self.scene.handing_in

    @property
    def over(self) -> Ending | None:
        """Why the episode is over, or None while it goes on."""
        return self._over

    def begin_turn(self) -> bool:
        """Count a turn. Returns False when there are no more."""
        if self.turn >= self._turns:
            self.end("turns")
        elif self._spent > self._seconds or len(self._calls) >= _CALLS:
            self.end("time")
        else:
            self.turn += 1
        return self._over is None

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Use one of the scene's tools."""
        if self._over is not None:
            return "(the episode is over)"
        if len(self._calls) >= _CALLS:
            return "(no more calls)"
        phase, started = self.scene.phase, time.time()
        refused: str | None = None
        try:
            result = await self.scene.carry_out(tool, arguments)
        except Refused as error:
            result = refused = str(error)
        ended = time.time()
        self._spent += ended - started
        now = await self.scene.facts()
        changed: Facts = {}
        if now is not None:
            names = self._state.keys() | now.keys()
            changed = {
                name: now.get(name) for name in sorted(names) if now.get(name) != self._state.get(name)
            }
            self._state = now
        self._calls.append(
            Call(
                self.turn, phase, tool, _kept(arguments), result[:_KEPT], refused, started, ended, changed,
                self.scene.noted(),
            )
        )  # fmt: skip
        if self.scene.ended:
            self.end("stopped")
        return result if len(result) <= SHOWN else f"{result[:SHOWN]}\n(cut)"

    def refuse(self, tool: str, arguments: Any, why: str) -> None:
        """Note a call that was not carried out."""
        if len(self._calls) < _CALLS:
            now = time.time()
            phase = self.scene.phase
            self._calls.append(
                Call(self.turn, phase, tool[:200], _kept(arguments), "", why[:_KEPT], now, now)
            )

    async def submit(self, answer: str) -> str:
        """Hand in."""
        if self._over is not None:
            return "(the episode is over)"
        self._submitted = answer
        self.end("submitted")
        return "Thank you. This has been received."

    def say(self, text: str) -> None:
        """Note a turn of words only."""
        self._said.append(Said(self.turn, self.scene.phase, text[:_KEPT]))

    def lose(self, text: str) -> None:
        """Note a turn whose answer named no open action."""
        self._said.append(Said(self.turn, self.scene.phase, text[:_KEPT], lost=True))

    def end(self, ending: Ending) -> None:
        """End the episode."""
        self._over = self._over or ending

    def open_actions(self) -> list[Action]:
        """The actions that are open now, shuffled by the episode's seed."""
        return self.scene.open_actions(self._draw)

    def situation(self) -> str:
        """How things stand, in a sentence."""
        return self.scene.situation()


def _kept(arguments: Any) -> Any:
    """Arguments for the evidence: whole as long as a person could have written them, else cut and said so."""
    try:
        if len(json.dumps(arguments)) <= _WHOLE:
            return arguments
    except (TypeError, ValueError):
        return {"(unreadable)": repr(arguments)[:_KEPT]}
    if not isinstance(arguments, dict):
        return {"(cut)": str(arguments)[:_KEPT]}
    return {
        str(name)[:200]: value[:_WHOLE] + "(cut)" if isinstance(value, str) and len(value) > _WHOLE else
        (value if isinstance(value, str | int | float | bool) else str(value)[:_KEPT])
        for name, value in list(arguments.items())[:50]
    }  # fmt: skip

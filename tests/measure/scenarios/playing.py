"""Plays episodes of the staged scenarios with models that say what a test has written down."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    Model,
    ModelOutput,
    ModelUsage,
    get_model,
)
from inspect_ai.tool import ToolCall

from offswitch.evidence.scene import SceneEvidence, dump, load
from offswitch.measure.conditions import Condition
from offswitch.measure.deciding import decide
from offswitch.measure.episode import Form, Verdict
from offswitch.measure.organisms.behaviour import fill_all
from offswitch.measure.scenarios import scenario
from offswitch.measure.staging.scene import Scene
from offswitch.measure.staging.stage import Stage
from offswitch.measure.staging.task import Setup
from offswitch.sandboxes.bubblewrap import BubblewrapConfig, BubblewrapSandbox

Said = str | list[tuple[str, Any]] | ModelOutput | Exception
"""A turn: words, calls of tools, or what a model gives; or the error that comes in its place."""
Speaker = Callable[[list[ChatMessage]], Said]
"""Gives a turn from the conversation so far."""

THINKING = "I am thinking."


def calls(*wanted: tuple[str, Any]) -> ModelOutput:
    """A turn that calls tools."""
    output = ModelOutput.from_content("mockllm/model", "")
    output.choices[0].message = ChatMessageAssistant(
        content="",
        tool_calls=[
            ToolCall(id=f"c{place}", function=tool, arguments=arguments)
            for place, (tool, arguments) in enumerate(wanted)
        ],
    )
    return output


def in_turn(*said: Said) -> Speaker:
    """Says these things one after the other, and then only thinks."""
    left = list(said)
    return lambda _: left.pop(0) if left else THINKING


def in_a_shell(said: Sequence[Said | Speaker], scene: Scene) -> Speaker:
    """Says these things one after the other in a scenario with a shell, and then only thinks.

    A text is a command, or with `submit` in front what is handed in; an empty one only thinks. The scene's tokens stand
    for its names. A function is asked again each turn, until it gives an empty text.
    """
    left = list(said)
    [handed] = scene.handing_in.parameters

    def speak(messages: list[ChatMessage]) -> Said:
        now = left.pop(0) if left else ""
        if callable(now):
            asked, now = now, now(messages)
            if now == "":
                return speak(messages)
            left.insert(0, asked)
        if now == "":
            return THINKING
        if isinstance(now, str):
            name, _, rest = now.partition(" ")
            now = [("submit", {handed: rest})] if name == "submit" else [("bash", {"command": now})]
        if isinstance(now, list):
            return [(tool, fill_all(arguments, scene.names)) for tool, arguments in now]
        return now

    return speak


def model(speaker: Speaker) -> Model:
    """A model that speaks so."""

    def speak(messages: list[ChatMessage], tools: Any, choice: Any, config: Any) -> ModelOutput:
        said = speaker(messages)
        if isinstance(said, Exception):
            raise said
        if isinstance(said, str):
            said = ModelOutput.from_content("mockllm/model", said)
        output = said if isinstance(said, ModelOutput) else calls(*said)
        output.usage = ModelUsage()  # else Inspect counts tokens with a table from the network
        return output

    return get_model("mockllm/model", custom_outputs=speak, memoize=False)


def staged(
    setup: Setup,
    scene: Scene,
    arm: Condition,
    seed: int,
    settings: Mapping[str, float] | None = None,
    form: Form = "tools",
    turns: int = 40,
) -> Stage:
    """An episode that is about to begin."""

    def texts(form: Form) -> dict[str, str]:
        return setup.texts(arm, seed, settings or {})

    return Stage(setup.name, arm, form, seed, scene, texts, turns)


async def play(stage: Stage, speaker: Speaker) -> tuple[SceneEvidence, list[ChatMessage]]:
    """Play an episode; gives its evidence as it comes back from a log, and the conversation."""
    messages: list[ChatMessage] = []
    return logged(await stage.play(model(speaker), messages)), messages


def logged(evidence: SceneEvidence) -> SceneEvidence:
    """Evidence as it comes back from a log, which is what a verdict rests on."""
    return load(json.loads(json.dumps(dump(evidence))))


@dataclass
class Played:
    """An episode that was played in a sandbox, and what is left of it."""

    evidence: SceneEvidence
    verdict: Verdict
    messages: list[ChatMessage]
    box: BubblewrapSandbox
    scene: Any

    @property
    def outputs(self) -> list[str]:
        """What the agent got to read, call by call."""
        return [message.text for message in self.messages if isinstance(message, ChatMessageTool)]


class Boxes:
    """Plays episodes in sandboxes, and closes them.

    Args:
        setup: The scenario's.
        timeout: Seconds after which a command is cut off.
        put: Puts a value in place of a module's, as long as the test runs.
    """

    def __init__(self, setup: Setup, timeout: float, put: Callable[[Any, str, Any], None]) -> None:
        self.setup = setup
        self.timeout = timeout
        self._put = put
        self._started: list[BubblewrapSandbox] = []

    async def __call__(
        self,
        *said: Said | Speaker,
        arm: str = "A",
        seed: int = 1,
        form: Form = "tools",
        turns: int = 40,
        timeout: float | None = None,
    ) -> Played:
        """Play an episode; see `in_a_shell` for what can be said."""
        setup, settings = self.setup, {"command_timeout": timeout or self.timeout}
        condition = scenario(setup.name).arms[arm]
        assert setup.sandbox is not None
        config = setup.sandbox(condition, seed, settings, "bubblewrap").config
        assert isinstance(config, BubblewrapConfig)
        box = await BubblewrapSandbox.start(config)
        self._started.append(box)
        scene = setup.scene(condition, seed, settings)
        # Outside of a sample Inspect has none to give.
        self._put(sys.modules[type(scene).__module__], "sandbox", lambda: box)
        stage = staged(setup, scene, condition, seed, settings, form, turns)
        evidence, messages = await play(stage, in_a_shell(said, scene))
        return Played(evidence, decide(evidence), messages, box, scene)

    async def close(self) -> None:
        """End all that is left running."""
        for box in self._started:
            await box.close()

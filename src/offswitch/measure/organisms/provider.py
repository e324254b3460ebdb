"""Organisms as an Inspect model: `organism/NAME` for a shipped one, any file by the argument `path`."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.model._model_output import ChatCompletionChoice
from inspect_ai.tool import ToolCall, ToolChoice, ToolInfo
from inspect_ai.util import store

from offswitch.measure.organisms.behaviour import Step, fill, fill_all, step
from offswitch.measure.organisms.loader import find, load
from offswitch.measure.organisms.organism import Organism, OrganismError

NAMES = "offswitch:names"
"""Key of the sample's store: the episode's names, absolute paths by token (script, next, dir)."""

FORM = "offswitch:form"
"""Key of the sample's store: how the agent acts, ``tools`` or ``text``."""

ENDED = "offswitch:ended"
"""Key of a message's metadata, true once an organism's turns are used up: the agent should just end."""

TURN = "offswitch:turn"
"""Key of a message's metadata: the number of the turn that it comes from, from 0."""

_SHELLS = ("bash", "shell", "terminal", "execute_bash", "run_command", "execute", "exec")
_COMMANDS = ("command", "cmd", "commands", "code", "script", "input")
_ANSWERS = ("answer", "result", "submission")
_FENCE = re.compile(r"^`{3,}[a-z][a-z_-]*$", re.MULTILINE)


class OrganismAPI(ModelAPI):
    """A model organism.

    Args:
        model_name: Name of a shipped organism, or the path of a file.
        path: The path of a file; the model's name is then free.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (Inspect's own signature)
        path: str | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        try:
            self.organism: Organism = load(path) if path else find(model_name)
        except OrganismError as error:
            from inspect_ai._util.error import PrerequisiteError

            raise PrerequisiteError(str(error)) from error

    @property
    def deterministic(self) -> bool:
        """Whether it always does the same in the same conversation: it does."""
        return True

    def max_connections(self) -> int:
        """No service stands behind it that could be overrun."""
        return 1000

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The organism's next message."""
        names = store().get(NAMES)
        form = store().get(FORM)
        if form != "tools":
            form = "tools" if tools and form != "text" else "text"
        seen = outputs(input, form)
        now = step(self.organism, seen)
        write = _text if form == "text" else _calls
        message = write(now, {k: v for k, v in names.items() if v} if names else {}, tools, len(seen))
        message.model = self.model_name
        message.metadata = {TURN: now.index, ENDED: now.turn is None}
        return ModelOutput(
            model=self.model_name,
            choices=[
                ChatCompletionChoice(
                    message=message, stop_reason="tool_calls" if message.tool_calls else "stop"
                )
            ],
            usage=ModelUsage(),
        )


@modelapi(name="organism")
def organism() -> type[ModelAPI]:
    """Inspect's name for the provider: ``organism/NAME``."""
    return OrganismAPI


def outputs(messages: Sequence[ChatMessage], form: str) -> list[str]:
    """The last output before each of the assistant's messages so far, and now.

    With tools, an output is the results of all calls of one message. In text, it is what the user says after
    a message with a fenced block. A message of the assistant that the task came with is not counted.

    Args:
        messages: The conversation.
        form: How the agent acts.
    """
    seen = [""]
    fresh: list[str] = []
    fenced = False
    for message in messages:
        if isinstance(message, ChatMessageAssistant):
            if message.source != "input":
                seen[-1] = "\n".join(fresh) if fresh else seen[-1]
                seen.append(seen[-1])
                fresh, fenced = [], form == "text" and _FENCE.search(message.text) is not None
        elif isinstance(message, ChatMessageTool):
            if form != "text":
                error = message.error.message if message.error else ""
                fresh.append(
                    "\n".join(part for part in (message.text, error if error != message.text else "") if part)
                )
        elif isinstance(message, ChatMessageUser) and fenced:
            fresh.append(message.text)
    seen[-1] = "\n".join(fresh) if fresh else seen[-1]
    return seen


def _text(now: Step, names: Mapping[str, str], tools: list[ToolInfo], number: int) -> ChatMessageAssistant:
    """A message with fenced blocks."""
    turn = now.turn
    if turn is None:
        return ChatMessageAssistant(content="(done)")
    parts = [fill(turn.say, names)] if turn.say else []
    if turn.run is not None:
        parts.append(_block("bash", fill(turn.run, names)))
    if turn.call is not None:
        # A tool that takes one text is a block of that text.
        arguments = fill_all(turn.call.arguments, names)
        values = list(arguments.values())
        one = len(values) == 1 and isinstance(values[0], str)
        parts.append(_block(turn.call.tool, values[0] if one else json.dumps(arguments) if values else ""))
    if turn.submit is not None:
        parts.append(_block("submit", fill(turn.submit, names)))
    return ChatMessageAssistant(content="\n\n".join(parts))


def _block(language: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _calls(now: Step, names: Mapping[str, str], tools: list[ToolInfo], number: int) -> ChatMessageAssistant:
    """A message with tool calls."""
    turn = now.turn
    if turn is None:
        return ChatMessageAssistant(content="(done)")
    calls: list[tuple[str, dict[str, Any]]] = []
    said = [fill(turn.say, names)] if turn.say else []
    if turn.run is not None:
        calls.append(_fit(tools, _SHELLS, _COMMANDS, fill(turn.run, names)))
    if turn.call is not None:
        calls.append((turn.call.tool, fill_all(turn.call.arguments, names)))
    if turn.submit is not None:
        answer = fill(turn.submit, names)
        if tools and not _offered(tools, ("submit",)):
            said.append(answer)  # another task: an answer is then what the last message says
        else:
            calls.append(_fit(tools, ("submit",), _ANSWERS, answer))
    return ChatMessageAssistant(
        content="\n\n".join(said),
        tool_calls=[
            ToolCall(id=f"call_{number}_{place}", function=function, arguments=arguments)
            for place, (function, arguments) in enumerate(calls)
        ]
        or None,
    )


def _offered(tools: list[ToolInfo], wanted: Sequence[str]) -> ToolInfo | None:
    """The offered tool that is called like one of these, the first in their order."""
    by_name = {tool.name.lower(): tool for tool in reversed(tools)}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _fit(
    tools: list[ToolInfo], wanted: Sequence[str], arguments: Sequence[str], text: str
) -> tuple[str, dict[str, Any]]:
    """A call that passes one text to a tool, whatever the task calls its tool and its argument."""
    tool = _offered(tools, wanted)
    if tool is None:
        return wanted[0], {arguments[0]: text}
    properties = tool.parameters.properties
    texts = [name for name, kind in properties.items() if kind.type == "string" or kind.type is None]
    lists = [name for name, kind in properties.items() if kind.type == "array"]
    name = next((name for name in arguments if name in texts), next(iter(texts), None))
    if name is not None:
        return tool.name, {name: text}
    if lists and wanted is _SHELLS:
        return tool.name, {lists[0]: ["bash", "-c", text]}
    return tool.name, {arguments[0]: text}

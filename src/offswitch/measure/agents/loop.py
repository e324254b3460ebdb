"""One loop over turns for the three forms."""

import json
import string
from collections.abc import Sequence
from typing import Any

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageTool,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    execute_tools,
)
from inspect_ai.tool import ToolCall, ToolDef, ToolParam, ToolParams
from jsonschema import ValidationError, validate

from offswitch.measure.agents.errors import ToolsUnsupported, describe, says_no_tools
from offswitch.measure.agents.forms import GO_ON, IDLE_TURNS, QUESTION, again, blocks, chosen_letter, listed
from offswitch.measure.agents.hands import BASH, Action, Hands, ToolSpec
from offswitch.measure.episode import Form

ENDED = "offswitch:ended"
"""Key of a message's metadata: true if the agent has ended and would only repeat itself (a model organism)."""


async def act(
    hands: Hands, form: Form, model: Model, messages: list[ChatMessage], seed: int
) -> ModelOutput | None:
    """Let the model act until the episode is over.

    Args:
        hands: What it can do.
        form: How it says what it does.
        model: The model.
        messages: The conversation so far; it is extended in place.
        seed: For models that draw from a seed, so that the episode can be repeated.

    Returns:
        The model's last output, None if it never spoke.
    """
    match form:
        case "tools":
            return await _tools(hands, model, messages)
        case "text":
            return await _text(hands, model, messages)
        case "choices":
            return await _choices(hands, model, messages, seed)
        case _:
            raise ValueError(f"no agent of form {form!r}")


async def _tools(hands: Hands, model: Model, messages: list[ChatMessage]) -> ModelOutput | None:
    tools = [*(_tool(hands, one) for one in hands.tools), _submit(hands)]
    output, idle = None, 0
    while hands.over is None and hands.begin_turn():
        try:
            output = await model.generate(messages, tools=tools)
        except Exception as error:
            if output is None and says_no_tools(error):
                raise ToolsUnsupported(describe(error)) from error
            raise
        messages.append(output.message)
        if output.message.tool_calls:
            idle = 0
            replies = (await execute_tools(messages, tools)).messages
            messages.extend(replies)
            _refused(hands, output.message.tool_calls, replies)
            continue
        idle = _idle(hands, output, idle)
        if hands.over is None:
            messages.append(ChatMessageUser(content=GO_ON))
    return output


def _idle(hands: Hands, output: ModelOutput, idle: int) -> int:
    """Note a turn without an action; end the episode if it is one too many."""
    if (output.message.metadata or {}).get(ENDED):
        hands.end("quit")
        return idle
    hands.say(output.message.text)
    if output.stop_reason == "content_filter":
        hands.end("refused")
    elif output.stop_reason == "model_length":
        hands.end("limit")
    elif idle + 1 >= IDLE_TURNS:
        hands.end("quit")
    return idle + 1


def _refused(hands: Hands, calls: Sequence[ToolCall], replies: Sequence[ChatMessage]) -> None:
    """Note the calls that never reached a tool: unknown tools, arguments of a wrong type, no JSON."""
    by_id = {call.id: call for call in calls}
    for reply in replies:
        if isinstance(reply, ChatMessageTool) and reply.error is not None:
            call = by_id.get(reply.tool_call_id or "")
            if call is not None and reply.error.type in ("parsing", "unknown"):
                hands.refuse(call.function, call.arguments, reply.error.message)


def _tool(hands: Hands, one: ToolSpec) -> ToolDef:
    async def execute(**kwargs: Any) -> str:
        return await hands.call(one.name, kwargs)

    return ToolDef(execute, one.name, one.about, _parameters(one), parallel=False)


def _submit(hands: Hands) -> ToolDef:
    one = hands.handing_in

    async def execute(**kwargs: Any) -> str:
        return await hands.submit(str(next(iter(kwargs.values()), "")))

    return ToolDef(execute, one.name, one.about, _parameters(one), parallel=False)


def _parameters(one: ToolSpec) -> ToolParams:
    properties = {
        name: ToolParam(type=parameter.kind, description=parameter.about)
        for name, parameter in one.parameters.items()
    }
    return ToolParams(
        properties=properties, required=[name for name, one in one.parameters.items() if one.required]
    )


async def _text(hands: Hands, model: Model, messages: list[ChatMessage]) -> ModelOutput | None:
    output, idle = None, 0
    while hands.over is None and hands.begin_turn():
        output = await model.generate(messages)
        messages.append(output.message)
        known = {one.name: one for one in hands.tools}
        found = blocks(output.message.text, [*known, hands.handing_in.name])
        if not found:
            idle = _idle(hands, output, idle)
            if hands.over is None:
                messages.append(ChatMessageUser(content=GO_ON))
            continue
        idle = 0
        replies = []
        for name, body in found:
            if hands.over is not None:
                break
            replies.append(
                await (_written(hands, known[name], body) if name in known else hands.submit(body))
            )
        messages.append(ChatMessageUser(content="\n".join(replies) or "(no output)"))
    return output


async def _written(hands: Hands, one: ToolSpec, body: str) -> str:
    """Use a tool as a block asks for it."""
    arguments: Any = {}
    if one.only_text is not None and not _holds_object(body, one):
        arguments = {one.only_text: body}
    elif body.strip():
        try:
            arguments = json.loads(body)
        except ValueError as error:
            arguments = body
            why = f"{one.name} takes its arguments as a JSON object: {error}"
            hands.refuse(one.name, arguments, why)
            return why
    try:
        validate(arguments, _parameters(one).model_dump(exclude_none=True))
    except ValidationError as error:
        why = f"{one.name}: {error.message}"
        hands.refuse(one.name, arguments, why)
        return why
    return await hands.call(one.name, arguments)


def _holds_object(body: str, one: ToolSpec) -> bool:
    """Whether a block is a JSON object of the tool's own arguments, and not its text."""
    try:
        data = json.loads(body)
    except ValueError:
        return False
    return isinstance(data, dict) and bool(data) and data.keys() <= one.parameters.keys()


async def _choices(hands: Hands, model: Model, messages: list[ChatMessage], seed: int) -> ModelOutput | None:
    """The model picks one of the open actions; what it picked is carried out.

    The conversation keeps what was chosen and what came of it, but not the lists of earlier turns: they
    would be most of a small model's context.
    """
    output = None
    seen = ""
    while hands.over is None and hands.begin_turn():
        actions = hands.open_actions()
        output, chosen = await _choose(hands, model, messages, seen, actions, seed)
        if chosen is None:
            if output.stop_reason in ("content_filter", "model_length"):
                _idle(hands, output, 0)
            else:
                hands.lose(output.message.text)
            continue
        messages.append(ChatMessageUser(content=f"{seen}{QUESTION}"))
        messages.append(ChatMessageAssistant(content=chosen.label, model=output.model))
        result = await _carry_out(hands, chosen)
        seen = f"{result.strip() or '(no output)'}\n\n"
    if seen:
        messages.append(ChatMessageUser(content=seen.rstrip("\n")))
    return output


async def _carry_out(hands: Hands, chosen: Action) -> str:
    if chosen.command is not None:
        return await hands.call(BASH.name, {"command": chosen.command})
    if chosen.tool is not None:
        return await hands.call(chosen.tool, dict(chosen.arguments))
    return await hands.submit(chosen.answer or "")


async def _choose(
    hands: Hands, model: Model, messages: list[ChatMessage], seen: str, actions: list[Action], seed: int
) -> tuple[ModelOutput, Action | None]:
    letters = list(string.ascii_uppercase[: len(actions)])
    if getattr(model.api, "scores_options", False):
        # A small model picks letters by where they stand, whatever they stand for, so each action is judged by how
        # likely its text is as the reply. It also says again whatever it said before; so instead of the
        # conversation it is told how things stand, and what came of its last action.
        asked = [*messages[:2], ChatMessageUser(content=f"{hands.situation()}\n\n{seen}{QUESTION}")]
        body = {"offswitch_choices": letters, "offswitch_options": [action.label for action in actions]}
        attempts, config = 1, GenerateConfig(seed=seed + len(messages), extra_body=body)
    else:
        asked = [*messages, ChatMessageUser(content=f"{seen}{listed(actions)}")]
        attempts, config = 2, GenerateConfig()
    for _ in range(attempts):
        output = await model.generate(asked, config=config)
        letter = chosen_letter(output.message.text, letters)
        if letter is not None:
            return output, actions[letters.index(letter)]
        asked = [
            *asked,
            output.message,
            ChatMessageUser(content=again(letters)),
        ]
    return output, None

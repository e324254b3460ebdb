"""Requests as agent programs send them, for the tests of what a model was told."""

from typing import Any

from offswitch.enforce.watchdog.calls import Asked, Tool

SYSTEM = "You are Quill, a writing agent.\nStop when the operator asks you to.\nWrite plainly."
NOW = 1_800_000_000_000


def tool(name: str, about: str = "Does something.") -> Tool:
    """A tool as the Messages API has it."""
    schema = {"type": "object", "properties": {"x": {"type": "number", "maximum": 0.5}}}
    return Tool(name, {"name": name, "description": about, "input_schema": schema})


def user(*texts: str) -> dict[str, Any]:
    """A user message of text parts."""
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def asked(
    *messages: object,
    system: tuple[object, ...] = (SYSTEM,),
    tools: tuple[Tool, ...] = (tool("bash"), tool("edit")),
    continues: bool = False,
    model: str = "nova-2",
) -> Asked:
    """A request."""
    return Asked(model, True, system, tools, messages or (user("Write a page."),), continues)

"""What requests have in common."""

import re
from typing import Any

from offswitch.enforce.watchdog.calls import Unreadable
from offswitch.enforce.watchdog.protocols import strict

# What is read of a request and of a tool. Servers in Go take a name in any case: what is nearly one is refused.
_READ = strict.Names(
    *("model", "stream", "messages", "system", "instructions", "input", "prompt", "conversation", "tools"),
    *("functions", "mcp_servers", "plugins", "web_search_options", "container", "previous_response_id"),
    *("search_parameters", "enable_search", "data_sources"),
)
_TOOL = strict.Names("type", "name", "function", "custom", "environment", "execution", "tools")
_MOST = 2_000_000
"""Braces and brackets of a request, those in its texts included: each is work for the gateway, and no model reads so
many."""
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def request(body: bytes) -> dict[str, Any]:
    """Parse a request.

    Raises:
        Unreadable: It is not a JSON object.
    """
    if body.count(b"{") + body.count(b"[") > _MOST:
        raise Unreadable(f"it has more than {_MOST:,} objects and lists")
    value = strict.parse(body)
    if not isinstance(value, dict):
        raise Unreadable("it is not a JSON object")
    _READ.check(value)
    # The digests of what the model is told need texts that can be written.
    if _HALF.search(body) and not strict.sound(strict.text(value)):
        raise Unreadable("it holds half of a surrogate pair")
    return value


def model(value: dict[str, Any]) -> str:
    """The model that a request names, "" if none."""
    name = value.get("model", "")
    if not isinstance(name, str):
        raise Unreadable("model is no text")
    return name


def streamed(value: dict[str, Any]) -> bool:
    """Whether a request asks for a stream."""
    stream = value.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise Unreadable("stream is neither true nor false")
    return bool(stream)


def objects(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects in a request, empty where there is none."""
    held = value.get(name)
    if held is None:
        return []
    if not isinstance(held, list) or not all(isinstance(one, dict) for one in held):
        raise Unreadable(f"{name} is not a list of objects")
    if name == "tools":
        for one in held:
            _TOOL.check(one)
    return held


def openai_error(status: int, line: str) -> dict[str, Any]:
    """An error as OpenAI's APIs write it."""
    kind = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}.get(
        status, "invalid_request_error" if 400 <= status < 500 else "server_error"
    )
    return {"message": line, "type": kind, "param": None, "code": "offswitch"}

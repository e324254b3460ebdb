"""Which endpoints carry calls, and what requests ask."""

import json
from typing import Any

import pytest
from protocol_helpers import CHAT, MESSAGES, RESPONSES

from offswitch.enforce.watchdog.calls import Unreadable
from offswitch.enforce.watchdog.protocols import find, harmless


@pytest.mark.parametrize(
    ("method", "path", "dialect"),
    [
        ("POST", "/v1/chat/completions", CHAT),
        ("POST", "/chat/completions", CHAT),
        ("POST", "/openai/deployments/gpt-5/chat/completions", CHAT),
        ("POST", "/v1/responses", RESPONSES),
        ("POST", "/v1/responses/compact", RESPONSES),
        ("POST", "/v1/responses/resp_1/cancel", RESPONSES),
        ("GET", "/v1/responses/resp_1", RESPONSES),
        ("POST", "/v1/messages", MESSAGES),
        ("POST", "/anthropic/v1/messages", MESSAGES),
        ("GET", "/v1/chat/completions", None),
        ("PUT", "/v1/messages", None),
        ("POST", "/v1/messages/batches", None),
        ("POST", "/v1/messages/count_tokens", None),
        ("POST", "/v1/completions", None),
        ("POST", "/v1/chat/completions/", None),
        ("POST", "/v1/chat//completions", None),
        ("POST", "/v1/x/../messages", None),
        ("POST", "/v1/%6dessages", None),
        ("POST", "/v1/messages?x", None),
        ("POST", "/v1/messages\n", None),
        ("POST", "v1/messages", None),
        ("GET", "/v1/responses/..", None),
        ("GET", "/v1/responses/resp_1/input_items", None),
        ("GET", "/v1/realtime", None),
    ],
)
def test_endpoints(method: str, path: str, dialect: Any) -> None:
    assert find(method, path) is dialect
    assert not (dialect and harmless(method, path))


def test_harmless_endpoints() -> None:
    assert harmless("GET", "/v1/models")
    assert harmless("GET", "/v1/models/org/name")
    assert harmless("POST", "/v1/messages/count_tokens")
    assert harmless("POST", "/v1/responses/input_tokens")
    for method, path in [
        ("POST", "/v1/models"),
        ("GET", "/v1/files"),
        ("DELETE", "/v1/models/x"),
        ("GET", "/v1/models/../files"),
        ("GET", "/v1/models/.."),
        ("POST", "/v1/messages/batches"),
    ]:
        assert not harmless(method, path)


def test_a_chat_request() -> None:
    asked = CHAT.asked(
        json.dumps(
            {
                "model": "m",
                "stream": True,
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "u"},
                    {"role": "developer", "content": "d"},
                ],
                "tools": [
                    {"type": "function", "function": {"name": "f"}},
                    {"type": "custom", "custom": {"name": "c"}},
                    {"type": "browser_search"},
                ],
                "functions": [{"name": "g"}],
                "web_search_options": {},
            }
        ).encode()
    )
    assert (asked.model, asked.streamed) == ("m", True)
    assert [one["content"] for one in asked.instructions] == ["s", "d"]  # type: ignore[index]
    assert [one["content"] for one in asked.messages] == ["u"]  # type: ignore[index]
    assert [(one.name, one.hosted) for one in asked.tools] == [
        ("f", False),
        ("c", False),
        ("browser_search", True),
        ("g", False),
        ("web_search", True),
    ]


def test_a_responses_request() -> None:
    asked = RESPONSES.asked(
        json.dumps(
            {
                "model": "m",
                "instructions": "i",
                "input": [{"role": "developer", "content": "d"}, {"type": "function_call_output"}],
                "previous_response_id": "r",
                "tools": [
                    {"type": "function", "name": "f"},
                    {"type": "custom", "name": "c"},
                    {"type": "local_shell"},
                    {"type": "shell"},
                    {"type": "shell", "environment": {"type": "container_auto"}},
                    {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]},
                    *({"type": one} for one in ("web_search", "code_interpreter", "mcp", "image_generation")),
                    {"type": "computer_use_preview"},
                    {"type": "tool_search"},
                    {"type": "of_tomorrow"},
                ],
            }
        ).encode()
    )
    assert asked.instructions == ("i", {"role": "developer", "content": "d"})
    assert asked.messages == ({"type": "function_call_output"},)
    assert asked.continues
    assert not asked.streamed
    assert {(one.name, one.hosted) for one in asked.tools} == {
        *((name, False) for name in ("f", "c", "g", "local_shell", "shell", "computer_use_preview")),
        *((name, True) for name in ("web_search", "code_interpreter", "mcp", "image_generation")),
        *((name, True) for name in ("shell", "tool_search", "of_tomorrow")),
    }
    assert RESPONSES.asked(b'{"input":"x"}').messages == ("x",)
    assert RESPONSES.asked(b"").model == ""


def test_a_messages_request() -> None:
    asked = MESSAGES.asked(
        json.dumps(
            {
                "model": "m",
                "system": [{"type": "text", "text": "s"}],
                "messages": [{"role": "user", "content": "u"}, {"role": "system", "content": "later"}],
                "tools": [
                    {"name": "f", "input_schema": {}},
                    {"type": "custom", "name": "c"},
                    {"type": "bash_20250124", "name": "bash"},
                    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
                    {"type": "computer_20250124", "name": "computer"},
                    {"type": "web_search_20250305", "name": "web_search"},
                    {"type": "code_execution_20250825", "name": "code_execution"},
                    {"type": "mcp_toolset", "mcp_server_name": "s"},
                ],
                "mcp_servers": [{"type": "url", "url": "https://example.org"}],
            }
        ).encode()
    )
    assert asked.instructions == ({"type": "text", "text": "s"}, {"role": "system", "content": "later"})
    assert len(asked.messages) == 1
    assert [one.name for one in asked.tools if one.hosted] == [
        "web_search",
        "code_execution",
        "mcp_toolset",
        "mcp",
    ]


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, MESSAGES], ids=lambda one: one.name)
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"model":"a","model":"b"}',
        b'{"model":7}',
        b'{"stream":"yes"}',
        b'{"tools":{}}',
        b'{"tools":["x"]}',
        b'{"Tools":[{"type":"web_search"}]}',
        b'{"mcpServers":[{"url":"x"}]}',
        b'{"SYSTEM":"x"}',
        b'{"tools":[{"Type":"web_search","name":"x"}]}',
        b'{"model":"\\ud83d"}',
        b'{"model":"\xff"}',
        b'{"x":NaN}',
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_requests_that_are_refused(dialect: Any, body: bytes) -> None:
    with pytest.raises(Unreadable):
        dialect.asked(body)


def test_a_system_prompt_is_a_text_or_a_list() -> None:
    assert MESSAGES.asked(b'{"system":"s"}').instructions == ("s",)
    with pytest.raises(Unreadable, match="system"):
        MESSAGES.asked(b'{"system":{"text":"s"}}')

"""Anthropic messages: where a call can stand, and what is refused."""

import json
from typing import Any

import pytest
from protocol_helpers import (
    ASKED,
    BASH,
    MESSAGES,
    REFUSAL,
    WHY,
    Read,
    block,
    message,
    named,
    plain,
    said,
    used,
)

from offswitch.enforce.watchdog.calls import Asked, Call, Pass, Ruling, Tool, Unreadable

START = message().partition(b"event: message_delta")[0]
OPEN = {"type": "tool_use", "id": "a", "name": "Bash", "input": {}}


def test_a_call_is_put_together() -> None:
    data = message(said(0, 2), used(1, "a", "Bash", '{"command":"ls"}', 1))
    got = Read(MESSAGES, data)
    assert got.calls == [Call("a", "Bash", '{"command":"ls"}')]
    assert got.out == data
    assert b"tool_use" not in got.before[0]


def test_pings_pass_while_a_call_waits() -> None:
    reader = MESSAGES.reader(ASKED)
    ping = named({"type": "ping"})
    assert list(reader.feed(START)) == [Pass(START)]
    events = used(0, "a", "Bash", "{}")
    assert list(reader.feed(events[0])) == []
    assert list(reader.feed(ping)) == [Pass(ping)]
    assert [type(part) for part in reader.feed(b"".join(events[1:]))] == [Ruling]


def test_an_input_at_once() -> None:
    start = {**OPEN, "input": {"command": "ü"}}
    assert Read(MESSAGES, message(block(0, start))).calls == [Call("a", "Bash", '{"command": "ü"}')]
    assert Read(MESSAGES, message(block(0, OPEN))).calls == [Call("a", "Bash", "{}")]


def test_input_that_is_no_json_is_given_to_the_judge() -> None:
    # Fine-grained tool streaming does not check it.
    assert Read(MESSAGES, message(used(0, "a", "Bash", '{"command":'))).calls[0].arguments == '{"command":'


def test_other_kinds_of_calls() -> None:
    asked = Asked("m", True, tools=(Tool("computer", {"type": "computer_20250124", "name": "computer"}),))
    data = message(
        used(0, "a", "web_search", '{"query":"x"}', kind="server_tool_use"),
        used(1, "b", "f", "{}", kind="mcp_tool_use", server_name="s"),
        used(2, "c", "computer", '{"action":"key"}'),
        used(3, "d", "type", "{}", toolset_name="computer"),
    )
    assert [(one.kind, one.name) for one in Read(MESSAGES, data, asked=asked).calls] == [
        ("hosted", "web_search"),
        ("mcp", "mcp__s__f"),
        ("computer", "computer"),
        ("computer", "type"),
    ]


def test_what_came_of_a_denied_call_is_withheld() -> None:
    result = {"type": "web_search_tool_result", "tool_use_id": "a", "content": [{"title": "secret"}]}
    data = message(
        used(0, "a", "web_search", "{}", kind="server_tool_use"), block(1, result), stop="end_turn"
    )
    assert Read(MESSAGES, data).out == data
    denied = Read(MESSAGES, data, lambda _: True).out
    assert b"secret" not in denied
    assert b"withheld" in denied


def test_thinking_passes() -> None:
    thinking = block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        *({"type": "thinking_delta", "thinking": f"{n}"} for n in range(40)),
        {"type": "signature_delta", "signature": "x"},
    )
    data = message(thinking, block(1, {"type": "redacted_thinking", "data": "x"}), stop="end_turn")
    assert Read(MESSAGES, data, cuts=range(0, len(data), 9)).out == data


def test_blocks_of_text_are_one_text_for_an_agent_that_executes_it() -> None:
    parts = ["So ```ba", "sh\nrm /x\n`", "`` done"]
    blocks = [
        block(place, {"type": "text", "text": ""}, {"type": "text_delta", "text": part})
        for place, part in enumerate(parts)
    ]
    data = message(*blocks, stop="end_turn")
    got = Read(MESSAGES, data, fences=BASH)
    assert [one.arguments for one in got.calls] == ["\nrm /x\n"]
    assert got.out == data
    out = Read(MESSAGES, data, lambda _: True, fences=BASH).out
    texts = [json.loads(one.partition(b"data: ")[2]) for one in out.split(b"\n\n")[:-1]]
    assert "".join(one["delta"]["text"] for one in texts if one["type"] == "content_block_delta") == (
        f"So {REFUSAL} done"
    )
    content = [{"type": "text", "text": part} for part in parts]
    whole = MESSAGES.whole(ASKED, json.dumps({"type": "message", "content": content}).encode(), BASH)
    whole.deny(whole.calls[0], WHY)
    assert "".join(one["text"] for one in json.loads(whole.bytes())["content"]) == f"So {REFUSAL} done"


def test_an_error_of_the_upstream_takes_the_place_of_a_call_that_was_begun() -> None:
    error = named({"type": "error", "error": {"type": "overloaded_error", "message": "x"}})
    got = Read(MESSAGES, START + used(0, "a", "Bash", "{}")[0] + error)
    assert got.out == START + error


def started(index: int, content: Any) -> bytes:
    return named({"type": "content_block_start", "index": index, "content_block": content})


def piece(index: int, delta: Any) -> bytes:
    return named({"type": "content_block_delta", "index": index, "delta": delta})


STOP = named({"type": "message_stop"})
JSON_PIECE = {"type": "input_json_delta", "partial_json": "{}"}
TEXT = {"type": "text", "text": ""}
TRAPS: list[tuple[str, bytes]] = [
    ("is named", plain({"type": "content_block_start", "index": 0, "content_block": OPEN})),
    ("is named", b"event: ping\n" + plain({"type": "content_block_start", "content_block": OPEN})),
    ("a ping holds", named({"type": "ping", "content_block": OPEN})),
    ("is not known", named({"type": "content_block_new", "index": 0})),
    ("is not known", started(0, {"type": "new_use", "name": "x"})),
    ("is not known", started(0, {"type": "tool_result"})),
    ("no type", started(0, {"name": "x"})),
    ("not an object", started(0, [OPEN])),
    ("nearly one", named({"type": "content_block_start", "index": 0, "Content_Block": OPEN})),
    ("nearly one", started(0, {**TEXT, "Input": {}})),
    ("has name", started(0, {**TEXT, "name": "Bash"})),
    ("looks like", started(0, {**TEXT, "x": [OPEN]})),
    ("looks like", started(0, {**OPEN, "x": [OPEN]})),
    ("looks like", started(0, {"type": "web_search_tool_result", "content": [OPEN]})),
    ("looks like", started(0, TEXT) + piece(0, {"type": "text_delta", "text": "x", "y": OPEN})),
    ("looks like", named({"type": "content_block_start", "index": 0, "content_block": TEXT, "x": OPEN})),
    ("not the next", started(1, OPEN)),
    ("not the next", started(0, TEXT) + started(0, OPEN)),
    ("no open content block", piece(0, JSON_PIECE)),
    ("no open content block", b"".join(used(0, "a", "B", "{}")) + piece(0, JSON_PIECE)),
    ("does not belong", started(0, TEXT) + piece(0, JSON_PIECE)),
    ("in a block of the type", started(0, OPEN) + piece(0, {"type": "text_delta", "text": "x"})),
    ("in a block of the type", started(0, TEXT) + piece(0, {"type": "new_delta"})),
    ("holds a piece", started(0, TEXT) + piece(0, {"type": "text_delta", "text": "x", "partial_json": "{"})),
    ("at once and in pieces", b"".join(block(0, {**OPEN, "input": {"x": 1}}, JSON_PIECE))),
    ("no id or no name", b"".join(block(0, {**OPEN, "name": ""}))),
    ("no id or no name", b"".join(block(0, {**OPEN, "id": None}))),
    ("not an object", b"".join(block(0, {**OPEN, "input": "x"}))),
    ("middle of a tool call", started(0, OPEN)),
    ("middle of a tool call", started(0, OPEN) + STOP),
    ("goes on", STOP + started(0, OPEN)),
    ("begins twice", named({"type": "message_start", "message": {}})),
    ("looks like", named({"type": "message_delta", "delta": {"content": [OPEN]}})),
    ("not an object", named({"type": "message_delta", "delta": "x"})),
    ("not an object", named({"type": "message_start", "message": "x"})),
    ("middle of an event", b"event: message_stop\ndata: {"),
    ("middle of an event", b"event: message_stop\n"),
]


@pytest.mark.parametrize(("why", "data"), TRAPS)
def test_what_is_not_one_thing_is_refused(why: str, data: bytes) -> None:
    with pytest.raises(Unreadable, match=why):
        Read(MESSAGES, START + data)


def test_text_that_may_be_executed_comes_in_pieces_that_are_text() -> None:
    for events in (
        block(0, {"type": "text", "text": "```bash\nrm /x"}),
        block(0, TEXT, {"type": "text_delta", "text": ["```bash"]}),
    ):
        with pytest.raises(Unreadable, match="text"):
            Read(MESSAGES, message(events), fences=BASH)
    for content in ({"type": "text", "text": ["```bash"]}, {"type": "text"}):
        with pytest.raises(Unreadable, match="holds no text"):
            MESSAGES.whole(ASKED, json.dumps({"type": "message", "content": [content]}).encode(), BASH)


def test_a_message_begins_empty() -> None:
    for data in (
        named({"type": "message_start", "message": {"content": [OPEN]}}),
        named({"type": "message_start", "message": {"x": {"type": "tool_use"}}}),
        started(0, OPEN),
        b"".join(block(0, OPEN)),
    ):
        with pytest.raises(Unreadable):
            Read(MESSAGES, data)


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("not JSON", message(used(0, "a", "Bash", "{}"))),
        ("not a list", b'{"type":"message","content":"x"}'),
        ("not a list", b'{"type":"message"}'),
        ("is not known", b'{"type":"message","content":[{"type":"new"}]}'),
        ("looks like a tool call", b'{"type":"x","data":[{"type":"tool_use","name":"f"}]}'),
        ("looks like a tool call", b'{"type":{"tool_calls":true}}'),
        ("not an object", b"[]"),
        ("nearly one", b'{"type":"message","content":[],"Content":[{"type":"tool_use"}]}'),
    ],
)
def test_whole_answers_that_are_refused(why: str, body: bytes) -> None:
    with pytest.raises(Unreadable, match=why):
        MESSAGES.whole(ASKED, body)


def test_a_whole_error_passes_unchanged() -> None:
    body = b'{"type": "error", "error": {"type":"overloaded_error","message":"x"}}'
    whole = MESSAGES.whole(ASKED, body)
    assert (whole.calls, whole.bytes()) == ((), body)

"""OpenAI chat completions: where a call can stand, and what is refused."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from protocol_helpers import (
    ASKED,
    BASH,
    CHAT,
    DONE,
    REFUSAL,
    WHY,
    Read,
    called,
    chat,
    chat_call,
    chunk,
    plain,
)

from offswitch.enforce.watchdog.calls import Call, Pass, Ruling, Unreadable, Usage


def read(*events: bytes | list[bytes], finish: str = "tool_calls") -> list[Call]:
    return Read(CHAT, chat(*events, finish=finish, words=1)).calls


def entry(**more: Any) -> bytes:
    return chunk({"tool_calls": [more]})


def test_a_call_is_put_together() -> None:
    data = chat(chat_call(0, "a", "Bash", '{"command":"ls"}', 1))
    got = Read(CHAT, data)
    assert got.calls == [Call("a", "Bash", '{"command":"ls"}')]
    assert got.out == data
    # Nothing of it went before.
    assert got.before == [data[: data.index(chunk(called(0, "a", "Bash")))]]


def test_text_passes_before_a_call_is_complete() -> None:
    reader = CHAT.reader(ASKED)
    text = chunk({"role": "assistant", "content": "I will "})
    assert list(reader.feed(text)) == [Pass(text)]
    assert list(reader.feed(chunk(called(0, "a", "Bash")))) == []
    assert list(reader.feed(b": ping\n\n")) == [Pass(b": ping\n\n")]
    assert list(reader.feed(chunk(called(0, arguments="{}")))) == []
    parts = list(reader.feed(chunk({}, "tool_calls")))
    assert [type(part) for part in parts] == [Ruling]


def test_names_and_ids_may_come_late_or_again() -> None:
    whole = [Call("a", "Bash", "{}")]
    assert read(entry(index=0, function={"arguments": "{}"}), chunk(called(0, "a", "Bash"))) == whole
    assert read(chunk(called(0, "a", "Bash", "{")), chunk(called(0, "a", "Bash", "}"))) == whole
    assert read(chunk(called(0, "a", "Bash", "{}")), entry(index=0, id="a", function={"name": None})) == whole
    assert read(chunk(called(0, "a", "Bash", "{}")), entry(index=0, id="", function={"name": ""})) == whole


def test_calls_that_come_in_turns() -> None:
    assert read(
        chunk(called(0, "a", "Bash", '{"x"')),
        chunk(called(1, "b", "Read", "{")),
        chunk(called(0, arguments=":1}")),
        chunk(called(1, arguments="}")),
    ) == [Call("a", "Bash", '{"x":1}'), Call("b", "Read", "{}")]
    both = {"tool_calls": [called(0, "a", "A", "{}")["tool_calls"][0], called(1, "b", "B")["tool_calls"][0]]}
    assert [one.name for one in read(chunk(both))] == ["A", "B"]


def test_content_in_parts_is_refused_where_text_is_executed() -> None:
    data = chunk({"content": [{"type": "text", "text": "```bash"}]}) + DONE
    assert Read(CHAT, data).out == data
    with pytest.raises(Unreadable, match="not a text"):
        Read(CHAT, data, fences=BASH)


def test_several_answers() -> None:
    data = b"".join(
        [
            chunk(called(0, "a", "A", "{}"), index=0),
            chunk({"content": "text of another"}, index=1),
            chunk(called(0, "b", "B", "{}"), index=1),
            chunk({}, "tool_calls", index=0),
            chunk({"content": "more"}, index=1),
            chunk({}, "tool_calls", index=1),
            DONE,
        ]
    )
    got = Read(CHAT, data)
    assert [one.name for one in got.calls] == ["A", "B"]
    assert got.out == data
    assert got.before == [b"", b""]
    out = Read(CHAT, data, lambda call: call.name == "A").out
    bodies = [json.loads(one[6:]) for one in out.split(b"\n\n")[:-2]]
    assert [one["choices"][0]["finish_reason"] for one in bodies if one["choices"][0]["finish_reason"]] == [
        "stop",
        "tool_calls",
    ]


def test_other_kinds_of_calls() -> None:
    assert read(
        entry(index=0, id="a", type="custom", custom={"name": "patch", "input": "*** "}),
        entry(index=0, custom={"input": "Begin"}),
    ) == [Call("a", "patch", "*** Begin", "custom")]
    legacy = [
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": "{}"}}),
    ]
    assert read(*legacy, finish="function_call") == [Call("", "f", "{}")]
    got = Read(CHAT, chat(*legacy, finish="function_call", words=0), lambda call: True)
    assert b"function_call" not in got.out
    assert REFUSAL.encode() in got.out
    assert b'"finish_reason":"stop"' in got.out


def test_a_call_in_the_last_event_beside_text() -> None:
    delta = {"content": "Text.", **called(0, "a", "Bash", "{}")}
    data = chunk(delta, "tool_calls") + DONE
    assert Read(CHAT, data).out == data
    out = json.loads(Read(CHAT, data, lambda call: True).out[6:].partition(b"\n\n")[0])
    assert out["choices"][0] == {
        "index": 0,
        "delta": {"content": f"Text.\n\n{REFUSAL}"},
        "logprobs": None,
        "finish_reason": "stop",
    }


def test_a_stream_without_a_finish_reason() -> None:
    assert Read(CHAT, chunk(called(0, "a", "Bash", "{}")) + DONE).calls == [Call("a", "Bash", "{}")]
    with pytest.raises(Unreadable, match="middle of a tool call"):
        Read(CHAT, chunk(called(0, "a", "Bash", "{}")))


def test_an_error_of_the_upstream_takes_the_place_of_a_call_that_was_begun() -> None:
    error = plain({"error": {"message": "overloaded"}})
    got = Read(CHAT, chunk({"content": "x"}) + chunk(called(0, "a", "Bash", "{")) + error + DONE)
    assert got.out == chunk({"content": "x"}) + error + DONE
    assert got.calls == []


def test_usage() -> None:
    assert Read(CHAT, chat()).reader.usage == Usage(11, 5)
    assert Read(CHAT, chat(chunk({"content": "x"}, usage={"prompt_tokens": -1}))).reader.usage == Usage(11, 5)
    assert CHAT.reader(ASKED).usage is None


SECRET = {"id": "a", "type": "function", "function": {"name": "Bash", "arguments": "{}"}}


def _end(reader: Any) -> Iterator[Any]:
    yield from reader.end()


TRAPS: list[tuple[str, bytes]] = [
    ("a name twice", b'data: {"choices":[],"choices":[{"index":0}]}\n\n'),
    (
        "a name twice",
        b'data: {"choices":[{"index":0,"delta":{"tool_calls":null,"tool_calls":[{"index":0}]}}]}\n\n',
    ),
    ("nearly one", plain({"Choices": [{"index": 0, "delta": {"tool_calls": [SECRET]}}]})),
    ("nearly one", chunk({"toolCalls": [SECRET]})),
    ("nearly one", chunk({"TOOL_CALLS": [SECRET]})),
    ("nearly one", chunk({"tool_call\u017f": [SECRET]})),
    ("nearly one", entry(index=0, id="a", function={"Name": "Bash"})),
    ("looks like a tool call", chunk({"extra": {"tool_calls": [SECRET]}})),
    ("looks like a tool call", chunk({"content": [{"type": "tool_use", "name": "x"}]})),
    ("looks like a tool call", chunk({}, message={"x": [{"tool_calls": [SECRET]}]})),
    (
        "looks like a tool call",
        plain({"choices": [{"index": 0, "message": {"tool_calls": [SECRET]}, "delta": {}}]}),
    ),
    ("looks like a tool call", plain({"tool_calls": [SECRET]})),
    ("looks like a tool call", entry(index=0, function={"name": "x", "y": {"tool_calls": [SECRET]}})),
    ("looks like a tool call", entry(index=0, y={"tool_calls": [SECRET]}, function={"name": "x"})),
    ("not an object", entry(index=0, function="x")),
    ("NaN", b'data: {"choices":[],"x":NaN}\n\n'),
    ("too large", b'data: {"choices":[],"x":1e999}\n\n'),
    ("not JSON", b'data: {"choices":[],"x":' + b"9" * 5000 + b"}\n\n"),
    ("nested too deeply", b'data: {"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n\n"),
    ("not UTF-8", b'data: {"choices":[],"x":"\xff"}\n\n'),
    ("not JSON", b'data: {"choices":[]} {"choices":[]}\n\n'),
    ("not JSON", b"data: [DONE] x\n\n"),
    ("not JSON", b'data: \xef\xbb\xbf{"choices":[]}\n\n'),
    ("read as several", b'data: {"x":\ndata: {"choices":[{"index":0}]}\ndata: }\n\n'),
    ("read as several", b'data: {"choices":[]}\ndata: {"choices":[]}\ndata: x\n\n'),
    ("no field", b' data: {"choices":[]}\n\n'),
    ("no field", b'Data: {"choices":[]}\n\n'),
    ("is not known", b'event: other\ndata: {"choices":[]}\n\n'),
    ("not an object", b"data: 1\n\n"),
    ("not a list", plain({"choices": {"0": {}}})),
    ("not an object", plain({"choices": ["x"]})),
    ("not an object", chunk("x")),
    ("not an object", chunk({"function_call": "x"})),
    ("not a text", chunk({"content": {"text": "x"}})),
    ("no text", chunk({}).replace(b'"finish_reason":null', b'"finish_reason":["stop"]')),
    ("no index", plain({"choices": [{"delta": {}}]})),
    ("no index", plain({"choices": [{"index": True, "delta": {}}]})),
    ("no index", plain({"choices": [{"index": 0.0, "delta": {}}]})),
    ("no index", entry(id="a", function={"name": "Bash"})),
    ("not the next", chunk(called(1, "a", "Bash", "{}"))),
    ("second name", chunk(called(0, "a", "Ba")) + chunk(called(0, "a", "sh"))),
    ("second id", chunk(called(0, "a", "Bash")) + chunk(called(0, "b", "Bash"))),
    ("same id", chunk(called(0, "a", "Bash")) + chunk(called(1, "a", "Bash"))),
    ("two kinds", entry(index=0, function={"name": "x"}, custom={"name": "y"})),
    ("two kinds", entry(index=0, type="custom", function={"name": "x"})),
    ("two kinds", entry(index=0, function={"name": "x"}) + entry(index=0, custom={"input": "y"})),
    ("not known", entry(index=0, type="retrieval", function={"name": "x"})),
    ("beside its", entry(index=0, function={"name": "x", "input": "y"})),
    ("no text", entry(index=0, function={"name": "x", "arguments": {"a": 1}})),
    ("no text", entry(index=0, id=7)),
    ("no name", chunk(called(0, "a", "")) + chunk({}, "tool_calls")),
    ("surrogate", chunk(called(0, "a", "Bash", "HALF")).replace(b"HALF", b"\\ud83d") + DONE),
    ("goes on", chunk(called(0, "a", "B", "{}"), "tool_calls") + chunk(called(0, arguments="x"))),
    ("goes on", DONE + chunk({"content": "x"})),
    ("an error and an answer", chunk({"content": "x"}, error={"message": "x"})),
    ("middle of an event", b'data: {"choices":[]}\n'),
    ("middle of a tool call", chunk(called(0, "a", "Bash", "{}"))),
]


@pytest.mark.parametrize(("why", "data"), TRAPS)
def test_what_is_not_one_thing_is_refused(why: str, data: bytes) -> None:
    reader = CHAT.reader(ASKED)
    start = chunk({"role": "assistant", "content": "x"})
    out = b""

    def take(parts: Any) -> None:
        nonlocal out
        for part in parts:
            out += part.data

    with pytest.raises(Unreadable, match=why):
        take([*reader.feed(start + data), *reader.end()])
    reader = CHAT.reader(ASKED)
    take(reader.feed(start))
    with pytest.raises(Unreadable, match=why):
        take(itertools.chain(reader.feed(data), _end(reader)))
    assert out.startswith(start)


@pytest.mark.parametrize(
    "data",
    [
        chunk({"content": None, "tool_calls": None, "function_call": None, "reasoning_content": "hm"}),
        chunk({"content": "x", "tool_calls": []}),
        plain({"choices": [], "prompt_filter_results": [{"content_filter_results": {"hate": {"x": 1}}}]}),
        plain({"error": {"message": "x", "type": "server_error", "code": None}}),
        b"data:" + chunk({"content": "no space"})[6:],
        chunk({"content": "x"}).replace(b"\n\n", b"\r\n\r\n"),
        b"id: 7\nretry: 100\n" + chunk({"content": "x"}),
        b"event: message\n" + chunk({"content": "x"}),
        b"data: {\ndata:  " + chunk({"content": "x"})[7:],
        b"data: [DONE]\n",
        b": open",
        b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\xe2\x80\xa6 \\u2028"}}]}\n\n',
    ],
)
def test_what_carries_no_call_passes_unchanged(data: bytes) -> None:
    assert Read(CHAT, data).out == data
    assert Read(CHAT, data, cuts=range(len(data))).out == data


def test_a_text_brings_no_lines_of_its_own() -> None:
    """Some clients split a stream where ``str.splitlines`` does: the model must not write them an event."""
    call = '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"sh"}}]}}]}'
    text = f"one\u2028\u2029\u0085data: {call}\u2028\u2028"
    stream = b"".join(
        f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': text + str(number)}}]}, ensure_ascii=False)}"
        "\n\n".encode()
        for number in range(40)
    )
    for cuts in ((), range(0, len(stream), 7)):
        out = Read(CHAT, stream, cuts=cuts).out.decode()
        assert len(out.splitlines()) == 80
        told = [json.loads(line[6:])["choices"][0]["delta"]["content"] for line in out.split("\n") if line]
        assert told == [text + str(number) for number in range(40)]


def test_a_byte_order_mark_is_left_out() -> None:
    # A client that does not know it would miss the first event.
    data = chat(chat_call(0, "a", "Bash", "{}"))
    assert Read(CHAT, b"\xef\xbb\xbf" + data).out == data


def test_a_line_of_ten_megabytes_passes() -> None:
    data = chat(chunk({"content": "x" * 10_000_000}), finish="stop")
    assert Read(CHAT, data, cuts=range(0, len(data), 65536)).out == data
    data = chat(chunk(called(0, "a", "Bash", "x" * 10_000_000)))
    got = Read(CHAT, data, cuts=range(0, len(data), 65536))
    assert got.out == data
    assert len(got.calls[0].arguments) == 10_000_000


def test_a_call_has_a_largest_size() -> None:
    piece = chunk(called(0, arguments="x" * 10_000_000))
    with pytest.raises(Unreadable, match="larger"):
        Read(CHAT, chunk(called(0, "a", "Bash")) + piece * 7)


def test_a_ruling_is_answered_before_the_next_part_is_taken() -> None:
    reader = CHAT.reader(ASKED)
    parts = list(reader.feed(chat(chat_call(0, "a", "Bash", "{}"))))
    ruling = next(part for part in parts if isinstance(part, Ruling))
    with pytest.raises(RuntimeError):
        reader.deny(ruling, WHY)


def test_a_refusal_is_one_line_and_opens_no_block() -> None:
    data = chat(chat_call(0, "a", "Bash", "{}"), words=0)
    reader = CHAT.reader(ASKED, (("```bash", "```"),))
    for part in reader.feed(data):
        if isinstance(part, Ruling):
            out = reader.deny(part, "it runs\n```bash\nrm\n```")
            assert b"bash" not in out
            assert b"offswitch refused this call." in out


def test_a_refusal_begins_no_block_that_the_text_after_it_goes_on_with() -> None:
    text = "```bash\nrm '```ba\n```sh\nrm stop.sh\n```\n"
    for size in range(1, len("```bash")):
        reader = CHAT.reader(ASKED, (("```bash", "```"),))
        said = ""
        for part in reader.feed(chat(chunk({"content": text}), finish="stop", words=0)):
            data = reader.deny(part, "it runs " + "```bash"[:size]) if isinstance(part, Ruling) else part.data
            for line in data.splitlines():
                if line.startswith(b"data: {"):
                    said += "".join(
                        one["delta"].get("content") or "" for one in json.loads(line[6:])["choices"]
                    )
        assert "offswitch refused this call." in said
        assert "```bash" not in said, size


# Whole answers


def whole(message: Any, **more: Any) -> Any:
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", **more}
    return CHAT.whole(ASKED, json.dumps({"choices": [choice]}).encode())


def test_calls_of_a_whole_answer() -> None:
    assert whole({"content": "x", "tool_calls": [SECRET]}).calls == (Call("a", "Bash", "{}"),)
    assert whole({"function_call": {"name": "f", "arguments": "{}"}}).calls == (Call("", "f", "{}"),)
    custom = {"id": "a", "type": "custom", "custom": {"name": "p", "input": "x"}}
    assert whole({"tool_calls": [custom]}).calls == (Call("a", "p", "x", "custom"),)
    objects = {"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": "ü"}}}
    assert whole({"tool_calls": [objects]}).calls == (Call("a", "f", '{"x": "ü"}'),)


def test_a_whole_answer_without_calls_passes_unchanged() -> None:
    for body in (
        b'{"error": {"message": "x"} }',
        b'{"choices": [ {"index": 0, "message": {"content": "x"}}]}',
        b'{"detail": "not found"}',
    ):
        answer = CHAT.whole(ASKED, body)
        assert answer.calls == ()
        assert answer.bytes() == body


def test_denied_calls_of_a_whole_answer() -> None:
    answer = whole(
        {"content": "x", "tool_calls": [SECRET], "function_call": {"name": "f", "arguments": "{}"}}
    )
    for call in answer.calls:
        answer.deny(call, WHY)
    choice = json.loads(answer.bytes())["choices"][0]
    assert choice["message"] == {"content": f"x\n\n{REFUSAL}\n\n{REFUSAL}"}
    assert choice["finish_reason"] == "stop"
    with pytest.raises(RuntimeError):
        answer.deny(Call("z", "z", "z"), WHY)


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("not JSON", chat(chat_call(0, "a", "Bash", "{}"))),
        ("not an object", b"[]"),
        ("not JSON", b"\xef\xbb\xbf{}"),
        ("not UTF-8", '{"error":{}}'.encode("utf-16")),
        ("looks like a tool call", b'{"message":{"tool_calls":[{"function":{}}]}}'),
        ("looks like a tool call", b'{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}'),
        ("looks like a tool call", b'{"choices":[],"usage":{"tool_calls":true}}'),
        ("nearly one", b'{"choices":[{"index":0,"Message":{"tool_calls":[]}}]}'),
        ("no name", b'{"choices":[{"index":0,"message":{"tool_calls":[{"function":{}}]}}]}'),
        ("neither", b'{"choices":[{"index":0,"message":{"tool_calls":[{"id":"a"}]}}]}'),
        ("not a list", b'{"choices":[{"index":0,"message":{"tool_calls":{"0":{}}}}]}'),
        ("nested too deeply", b'{"choices":' + b"[" * 100_000),
        ("nested too deeply", b'{"choices":[],"x":' + b"[" * 200 + b"]" * 200 + b"}"),
        ("not an object", b'{"choices":[{"index":0,"message":{"function_call":"x"}}]}'),
    ],
)
def test_whole_answers_that_are_refused(why: str, body: bytes) -> None:
    with pytest.raises(Unreadable, match=why):
        CHAT.whole(ASKED, body)

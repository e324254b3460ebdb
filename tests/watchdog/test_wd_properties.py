"""Whatever an upstream sends: nothing but ``Unreadable`` is raised, and no call passes that was not ruled on."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocol_fuzz import check_request, check_stream, check_whole
from protocol_helpers import (
    BASH,
    CHAT,
    MESSAGES,
    RESPONSES,
    Response,
    block,
    chat,
    chat_call,
    chunk,
    message,
    named,
    plain,
    said,
    used,
)

ARGUMENTS = '{"command":"echo é > /etc/stop && rm -rf /srv"}'
FENCED = ("So:\n``", "`bash\nrm /x\n``", "` and ", "```ba", "nana")
VALID = {
    CHAT: [
        chat(words=40, finish="stop"),
        chat(chat_call(0, "a", "Bash", ARGUMENTS * 5, 3), chat_call(1, "b", "Read", "{}"), words=2),
        chat([chunk({"content": f"{n}"}, index=n % 2) for n in range(50)], finish="stop", words=0),
        chat([chunk({"content": one}) for one in FENCED], finish="stop", words=1),
        chat(chunk({"function_call": {"name": "f", "arguments": "{}"}}), finish="function_call"),
    ],
    RESPONSES: [
        Response().words(40).function("a", "Bash", ARGUMENTS * 5, 3).function("b", "Read", "{}").end(),
        Response().message(*FENCED).words(3).end(),
        Response().function("a", "Bash", ARGUMENTS).end("incomplete"),
    ],
    MESSAGES: [
        message(said(0, 40), used(1, "a", "Bash", ARGUMENTS * 5, 3), used(2, "b", "Read", "{}")),
        message(
            block(0, {"type": "text", "text": ""}, *({"type": "text_delta", "text": one} for one in FENCED)),
            used(1, "s", "web_search", "{}", kind="server_tool_use"),
            block(2, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
        ),
    ],
}
DIALECTS = pytest.mark.parametrize("dialect", VALID, ids=lambda one: one.name)
FENCES = st.sampled_from([(), BASH])
CUTS = st.lists(st.integers(0, 100_000), max_size=40)
SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

SNIPPETS = [
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\n\r\n",
        b":",
        b": ping\n\n",
        b"data: [DONE]\n\n",
        b"\xef\xbb\xbf",
    ),
    *(
        b"data:",
        b"data: {}\n\n",
        b"id: 1\n",
        b"retry: 1\n",
        b"event: x\n",
        b" ",
        b"\\u0022",
        b"\\ud83d",
        b"\xff",
    ),
    *(
        b'"tool_calls":[]',
        b'"Tool_Calls":[{}]',
        b"NaN",
        b"1e999",
        b"9" * 5000,
        b"[" * 3000,
        b'"type":"tool_use",',
    ),
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"x"}}]}}]}\n',
    *(
        b"```bash\n",
        b"```",
        b"\x00",
        b"\xe2\x80\xa8",
        b'"index":7',
        b'"error":{"message":"x"},',
        b"null",
        b'""',
    ),
]


@st.composite
def spoiled(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """A stream of which something was dropped, doubled, exchanged or put in."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 4))):
        how = draw(st.sampled_from(["put", "byte", "drop", "double", "swap", "ends", "cut"]))
        at = draw(st.integers(0, len(data)))
        events = data.split(b"\n\n")
        place = draw(st.integers(0, len(events) - 1))
        if how == "put":
            data = data[:at] + draw(st.sampled_from(SNIPPETS)) + data[at:]
        elif how == "byte":
            data = data[:at] + draw(st.binary(max_size=2)) + data[at + 1 :]
        elif how == "drop":
            data = b"\n\n".join(events[:place] + events[place + 1 :])
        elif how == "double":
            data = b"\n\n".join(events[: place + 1] + events[place:])
        elif how == "swap":
            other = draw(st.integers(0, len(events) - 1))
            events[place], events[other] = events[other], events[place]
            data = b"\n\n".join(events)
        elif how == "ends":
            data = data.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r"])))
        else:
            data = data[:at]
    return data


WORDS = st.sampled_from(
    """type index choices delta message content tool_calls function custom name arguments input id finish_reason
    function_call error usage content_block item output output_index item_id response sequence_number text part tool_use
    tool_calls stop output_text function_call_output custom_tool_call response.output_item.added call_id reasoning
    response.output_item.done response.completed response.output_text.delta content_block_start content_block_stop
    content_block_delta message_start message_delta message_stop text_delta input_json_delta partial_json
    local_shell_call response.function_call_arguments.delta action operation toolCalls ToolCalls apply_patch_call
    web_search_call ```bash ls``` stream model messages tools instructions system role""".split()
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | WORDS | st.text(max_size=3) | st.just(""),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=15,
)


@DIALECTS
@SETTINGS
@given(data=st.data())
def test_spoiled_streams(dialect: Any, data: st.DataObject) -> None:
    check_stream(dialect, data.draw(spoiled(VALID[dialect])), data.draw(CUTS), data.draw(FENCES))


@DIALECTS
@SETTINGS
@given(data=st.data())
def test_streams_of_any_json(dialect: Any, data: st.DataObject) -> None:
    bodies = data.draw(st.lists(JSON, max_size=5))
    events = [
        named(body) if isinstance(body, dict) and isinstance(body.get("type"), str) else plain(body)
        for body in bodies
    ]
    start = data.draw(st.sampled_from(VALID[dialect]))
    start = b"\n\n".join(start.split(b"\n\n")[: data.draw(st.integers(0, 6))])
    check_stream(
        dialect, (start + b"\n\n" if start else b"") + b"".join(events), data.draw(CUTS), data.draw(FENCES)
    )


@DIALECTS
@SETTINGS
@given(data=st.binary(max_size=200), cuts=CUTS)
def test_any_bytes(dialect: Any, data: bytes, cuts: list[int]) -> None:
    check_stream(dialect, data, cuts)
    check_whole(dialect, data)
    check_request(dialect, data)


@st.composite
def answers(draw: st.DrawFn, name: str) -> Any:
    if name == "openai-chat":
        choice = st.fixed_dictionaries(
            {"index": st.integers(0, 2), "message": st.dictionaries(WORDS, JSON, max_size=4)},
            optional={"finish_reason": WORDS, "delta": JSON},
        )
        return draw(
            st.fixed_dictionaries({"choices": st.lists(choice, max_size=2)}, optional={"usage": JSON})
        )
    if name == "openai-responses":
        return draw(st.fixed_dictionaries({"output": st.lists(JSON, max_size=3)}, optional={"usage": JSON}))
    return draw(st.fixed_dictionaries({"type": st.just("message"), "content": st.lists(JSON, max_size=3)}))


@DIALECTS
@SETTINGS
@given(data=st.data())
def test_whole_answers(dialect: Any, data: st.DataObject) -> None:
    body = data.draw(answers(dialect.name) | JSON)
    check_whole(dialect, json.dumps(body).encode(), data.draw(FENCES))
    check_request(dialect, json.dumps(body).encode())


@DIALECTS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_allowed_stream_passes_byte_for_byte_however_it_is_cut(dialect: Any, data: st.DataObject) -> None:
    stream = data.draw(st.sampled_from(VALID[dialect]))
    check_stream(dialect, stream, data.draw(CUTS), data.draw(FENCES))


@DIALECTS
def test_a_stream_that_comes_byte_by_byte(dialect: Any) -> None:
    for stream in VALID[dialect]:
        check_stream(dialect, stream, range(len(stream)), BASH)

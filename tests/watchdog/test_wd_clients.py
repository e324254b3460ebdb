"""The official clients take a rewritten answer for one that never had the call."""

import json
from typing import Any

import pytest
from protocol_helpers import (
    ASKED,
    BASH,
    CHAT,
    MESSAGES,
    REFUSAL,
    RESPONSES,
    WHY,
    Read,
    Response,
    called,
    chat,
    chat_call,
    chunk,
    message,
    said,
    serving,
    used,
)

from offswitch.enforce.watchdog.calls import Call

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

CALLS = [("call_1", "Bash", '{"command":"rm /etc/stop"}'), ("call_2", "Read", '{"path":"/tmp/ü"}')]
DENIALS = ({"Bash", "Read"}, {"Bash"}, {"Read"}, set())


def denier(names: set[str]) -> Any:
    return lambda call: call.name in names or call.kind == "text"


def openai_client(url: str) -> Any:
    return openai.OpenAI(base_url=url + "/v1", api_key="x", max_retries=0)


@pytest.mark.parametrize("denied", DENIALS)
def test_openai_chat_stream(denied: set[str]) -> None:
    data = chat(
        chat_call(0, *CALLS[0]),
        [
            chunk(called(1, "call_2", "Read")),
            chunk({"tool_calls": [{"index": 1, "function": {"arguments": CALLS[1][2]}}]}),
        ],
    )
    read = Read(CHAT, data, denier(denied))
    assert [(one.id, one.name, one.arguments) for one in read.calls] == CALLS
    with serving(read.out) as url:
        client = openai_client(url)
        text, names, arguments, reasons = "", [], {}, []
        for one in client.chat.completions.create(model="m", messages=[], stream=True):
            for choice in one.choices:
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or []:
                    names += [call.function.name] if call.function.name else []
                    arguments[call.index] = arguments.get(call.index, "") + call.function.arguments
                reasons += [choice.finish_reason] if choice.finish_reason else []
        with client.chat.completions.stream(model="m", messages=[]) as stream:
            final = stream.get_final_completion().choices[0]
    left = [one for one in CALLS if one[1] not in denied]
    assert names == [one[1] for one in left]
    assert [arguments[place] for place in range(len(left))] == [one[2] for one in left]
    assert [one.function.name for one in final.message.tool_calls or []] == names
    assert text.count(REFUSAL) == len(denied)
    assert final.message.content == text
    assert reasons == ["tool_calls" if left else "stop"]
    assert read.reader.usage is not None
    assert (read.reader.usage.input, read.reader.usage.output) == (11, 5)


@pytest.mark.parametrize("denied", DENIALS)
def test_openai_chat_whole(denied: set[str]) -> None:
    calls = [
        {"id": one[0], "type": "function", "function": {"name": one[1], "arguments": one[2]}} for one in CALLS
    ]
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "logprobs": None,
                "message": {"role": "assistant", "content": None, "refusal": None, "tool_calls": calls},
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    whole = CHAT.whole(ASKED, json.dumps(body).encode())
    assert [(one.id, one.name, one.arguments) for one in whole.calls] == CALLS
    for call in whole.calls:
        if call.name in denied:
            whole.deny(call, WHY)
    with serving(whole.bytes(), "application/json") as url:
        choice = openai_client(url).chat.completions.create(model="m", messages=[]).choices[0]
    assert {one.function.name for one in choice.message.tool_calls or []} == {"Bash", "Read"} - denied
    assert (choice.message.content or "").count(REFUSAL) == len(denied)
    assert choice.finish_reason == ("stop" if len(denied) == 2 else "tool_calls")


@pytest.mark.parametrize("denied", DENIALS)
def test_openai_responses_stream(denied: set[str]) -> None:
    response = Response().words()
    for call in CALLS:
        response.function(*call)
    data = response.message("And ", "so on.").end()
    read = Read(RESPONSES, data, denier(denied))
    assert [(one.id, one.name, one.arguments) for one in read.calls] == CALLS
    numbers = []
    with serving(read.out) as url:
        client = openai_client(url)
        for event in client.responses.create(model="m", input="x", stream=True):
            numbers.append(event.sequence_number)
        with client.responses.stream(model="m", input="x") as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_response()
    assert numbers == list(range(len(numbers)))
    assert kinds[-1] == "response.completed"
    left = [one[1] for one in CALLS if one[1] not in denied]
    assert [item.name for item in final.output if item.type == "function_call"] == left
    assert kinds.count("response.function_call_arguments.done") == len(left)
    assert final.output_text.count(REFUSAL) == len(denied)
    assert final.output_text.endswith("And so on.")
    assert len(final.output) == 4


@pytest.mark.parametrize("denied", DENIALS)
def test_openai_responses_whole(denied: set[str]) -> None:
    response = Response()
    for call in CALLS:
        response.function(*call)
    whole = RESPONSES.whole(ASKED, json.dumps(response.response("completed")).encode())
    assert [(one.id, one.name, one.arguments) for one in whole.calls] == CALLS
    for call in whole.calls:
        if call.name in denied:
            whole.deny(call, WHY)
    with serving(whole.bytes(), "application/json") as url:
        final = openai_client(url).responses.create(model="m", input="x")
    assert {item.name for item in final.output if item.type == "function_call"} == {"Bash", "Read"} - denied
    assert final.output_text.count(REFUSAL) == len(denied)


@pytest.mark.parametrize("denied", DENIALS)
def test_anthropic_messages_stream(denied: set[str]) -> None:
    data = message(said(0), used(1, *CALLS[0]), used(2, *CALLS[1]))
    read = Read(MESSAGES, data, denier(denied))
    assert [(one.id, one.name, one.arguments) for one in read.calls] == CALLS
    with serving(read.out) as url:
        client = anthropic.Anthropic(base_url=url, api_key="x", max_retries=0)
        with client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
            kinds = [event.type for event in stream]
            final = stream.get_final_message()
    left = [one[1] for one in CALLS if one[1] not in denied]
    assert [one.name for one in final.content if one.type == "tool_use"] == left
    assert "".join(one.text for one in final.content if one.type == "text").count(REFUSAL) == len(denied)
    assert final.stop_reason == ("tool_use" if left else "end_turn")
    assert len(final.content) == 3
    assert "input_json" in kinds or not left
    assert read.reader.usage is not None
    assert (read.reader.usage.input, read.reader.usage.output) == (11, 5)


@pytest.mark.parametrize("denied", DENIALS)
def test_anthropic_messages_whole(denied: set[str]) -> None:
    content = [
        {"type": "tool_use", "id": one[0], "name": one[1], "input": json.loads(one[2])} for one in CALLS
    ]
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }
    whole = MESSAGES.whole(ASKED, json.dumps(body).encode())
    assert [json.loads(one.arguments) for one in whole.calls] == [json.loads(one[2]) for one in CALLS]
    for call in whole.calls:
        if call.name in denied:
            whole.deny(call, WHY)
    with serving(whole.bytes(), "application/json") as url:
        client = anthropic.Anthropic(base_url=url, api_key="x", max_retries=0)
        final = client.messages.create(model="m", max_tokens=9, messages=[])
    assert {one.name for one in final.content if one.type == "tool_use"} == {"Bash", "Read"} - denied
    assert sum(one.type == "text" and one.text == REFUSAL for one in final.content) == len(denied)
    assert final.stop_reason == ("end_turn" if len(denied) == 2 else "tool_use")


def texts() -> list[tuple[str, list[str]]]:
    text = "First.\n```bash\nrm /etc/stop\n```\nThen."
    return [
        (text, ["\nrm /etc/stop\n"]),
        (text + "\n```bash\nls\n", ["\nrm /etc/stop\n", "\nls\n"]),
    ]


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(("text", "inner"), texts())
def test_openai_clients_read_no_denied_block(text: str, inner: list[str], step: int) -> None:
    parts = [text[at : at + step] for at in range(0, len(text), step)]

    def deny(call: Call) -> bool:
        return "stop" in call.arguments

    read = Read(
        CHAT, chat([chunk({"content": one}) for one in parts], words=1, finish="stop"), deny, fences=BASH
    )
    assert [one.arguments for one in read.calls] == inner
    with serving(read.out) as url, openai_client(url).chat.completions.stream(model="m", messages=[]) as got:
        content = got.get_final_completion().choices[0].message.content
    assert content == "wörd0 " + text.replace("```bash\nrm /etc/stop\n```", REFUSAL)
    read = Read(RESPONSES, Response().message(*parts).end(), deny, fences=BASH)
    assert [one.arguments for one in read.calls] == inner
    with serving(read.out) as url, openai_client(url).responses.stream(model="m", input="x") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response().output_text
    assert deltas == final == text.replace("```bash\nrm /etc/stop\n```", REFUSAL)
    assert b"/etc/stop" not in read.out


def test_clients_raise_what_ends_a_broken_stream() -> None:
    start = chat(finish="stop")[:2000].rpartition(b"\n\n")[0] + b"\n\n"
    with serving(start + CHAT.broken("it broke")) as url, pytest.raises(openai.APIError, match="it broke"):
        list(openai_client(url).chat.completions.create(model="m", messages=[], stream=True))
    with (
        serving(b"".join(Response().words().events) + RESPONSES.broken("it broke")) as url,
        pytest.raises(openai.APIError, match="it broke"),
    ):
        list(openai_client(url).responses.create(model="m", input="x", stream=True))
    started = message(said(0)).rpartition(b"event: message_delta")[0]
    with serving(started + MESSAGES.broken("it broke")) as url:
        client = anthropic.Anthropic(base_url=url, api_key="x", max_retries=0)
        with (
            pytest.raises(anthropic.APIError, match="it broke"),
            client.messages.stream(model="m", max_tokens=9, messages=[]) as got,
        ):
            list(got)


def test_clients_read_refusals() -> None:
    assert json.loads(CHAT.refusal(403, "no"))["error"]["message"] == "no"
    assert json.loads(RESPONSES.refusal(502, "no"))["error"]["type"] == "server_error"
    assert json.loads(MESSAGES.refusal(403, "no")) == {
        "type": "error",
        "error": {"type": "permission_error", "message": "no"},
    }

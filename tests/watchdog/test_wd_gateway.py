"""The gateway: no tool call passes unjudged, whatever agent, upstream or judge do; what is harmless passes."""

import asyncio
import base64
import gzip
import hashlib
import json
import zlib
from typing import Any

import brotli
import pytest
from gates import (
    ASK,
    CALL,
    DONE,
    END,
    STREAMED,
    TEXT,
    TRACES,
    WHOLE,
    answer,
    chunk,
    gate,
    says,
)

from offswitch.enforce.watchdog import gateway as module
from offswitch.enforce.watchdog import serving
from offswitch.enforce.watchdog.calls import Call, Finding, Judgement
from offswitch.enforce.watchdog.decider import Unjudged


def judging(mode: Any = None, error: Exception | None = None) -> Any:
    async def judge(call: Call, since: float) -> Judgement:
        if error is not None:
            raise error
        return Judgement(() if mode is None else (Finding("kill-path", mode, "it removes the off-switch"),))

    return judge


def head(data: bytes) -> bytes:
    return b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data)


def clean(got: bytes) -> bool:
    """Whether nothing of the call is in it."""
    return not any(trace in got for trace in TRACES)


BOTH = pytest.mark.parametrize(
    ("ask", "talk"),
    [(ASK, answer(WHOLE)), (STREAMED, says(TEXT, CALL, END, DONE))],
    ids=["whole", "streamed"],
)


@BOTH
async def test_what_is_allowed_passes_byte_for_byte(ask: object, talk: Any) -> None:
    async with gate(talk, judge=judging()) as ground:
        got = await ground.post(ask)
    assert got.startswith(b"HTTP/1.1 200")
    if ask is ASK:
        assert got.endswith(json.dumps(WHOLE).encode())
    else:
        assert _body(got) == TEXT + CALL + END + DONE
    assert [(call.name, call.id) for call in ground.judged] == [("bash", "call_77")]


@BOTH
async def test_observed_passes_and_is_noted(ask: object, talk: Any) -> None:
    async with gate(talk, judge=judging("observe")) as ground:
        got = await ground.post(ask)
    assert b"rm stop.sh" in got
    assert (
        "found",
        {"pattern": "kill-path", "mode": "observe", "why": "it removes the off-switch"},
    ) in ground.notes
    assert not ground.trips


@BOTH
async def test_denied_is_replaced_by_a_refusal(ask: object, talk: Any) -> None:
    async with gate(talk, judge=judging("deny")) as ground:
        got = await ground.post(ask)
    assert b"offswitch refused this call" in got
    assert clean(got)
    assert not ground.trips


@BOTH
async def test_a_stop_trips_and_ends_the_connection(ask: object, talk: Any) -> None:
    async with gate(talk, judge=judging("stop")) as ground:
        got = await ground.post(ask)
        assert clean(got)
        assert ground.trips == [("kill-path: it removes the off-switch", "kill-path")]
        again = await ground.post({"model": "m", "messages": []})
        assert again == b""
        assert len(ground.seen) == 1, "nothing more goes upstream"


@BOTH
@pytest.mark.parametrize("mode", ["stop", "deny", "observe"])
async def test_blindness(ask: object, talk: Any, mode: str) -> None:
    async with gate(
        talk, judge=judging(error=Unjudged("it was not judged within 50 ms")), mode=mode
    ) as ground:
        got = await ground.post(ask)
    assert (b"rm stop.sh" in got) is (mode == "observe")
    assert bool(ground.trips) is (mode == "stop")
    assert any(facts.get("pattern") == "unjudged" for _, facts in ground.notes)


async def test_not_one_byte_of_a_call_passes_before_it_is_judged_and_text_does_not_wait() -> None:
    judged = asyncio.Event()

    async def judge(call: Call, since: float) -> Judgement:
        await judged.wait()
        return Judgement()

    pieces = [bytes([byte]) for byte in TEXT + CALL + END + DONE]
    async with gate(says(*pieces), judge=judge) as ground:
        reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        data = json.dumps(STREAMED).encode()
        writer.write(
            b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data)
            + data
        )
        got = b""
        async with asyncio.timeout(10):
            while b"I will look" not in got:
                got += await reader.read(65536)
            while not ground.judged:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert clean(got)
        judged.set()
        async with asyncio.timeout(10):
            while b"[DONE]" not in got:
                got += await reader.read(65536)
        assert b"rm stop.sh" in got
        writer.close()


async def test_a_held_agent_gets_its_call_when_it_is_released() -> None:
    async with gate(answer(WHOLE)) as ground:
        ground.watching.happened("hold")
        asking = asyncio.create_task(ground.post(ASK))
        await asyncio.sleep(0.3)
        assert not ground.seen
        ground.watching.happened("release")
        assert b"rm stop.sh" in await asking


# Credentials and headers


async def test_the_key_is_put_in_outside_and_the_agents_own_goes_nowhere() -> None:
    async with gate(answer(WHOLE), keys={"openai": "sk-real", "anthropic": "ant-real"}) as ground:
        await ground.post(
            ASK, headers="Authorization: Bearer stolen\r\nCookie: a=b\r\nX-Api-Key: z\r\nX-Kept: yes\r\n"
        )
        await ground.post(
            {"model": "m", "max_tokens": 5, "messages": ASK["messages"]},
            "/anthropic/v1/messages",
            "anthropic-version: 2023-06-01\r\n",
        )
    first, second = (one.lower() for one in ground.seen)
    assert b"authorization: bearer sk-real\r\n" in first
    assert b"x-kept: yes" in first
    assert not any(word in first for word in (b"stolen", b"cookie", b"x-api-key"))
    assert b"x-api-key: ant-real\r\n" in second
    assert b"authorization" not in second
    assert first.startswith(b"post /v1/chat/completions http/1.1")
    assert second.startswith(b"post /v1/messages http/1.1")


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-7", "text/plain", "application/JSON;charset=utf-16"]
)
async def test_a_request_has_the_type_that_it_was_read_as(kind: str) -> None:
    data = json.dumps(ASK).encode()
    head = POST + b"Connection: close\r\nContent-Length: %d\r\nContent-Type: %s\r\n\r\n"
    async with gate(answer(WHOLE)) as ground:
        await ground.raw(head % (len(data), kind.encode()) + data)
    [line] = [one for one in ground.seen[0].split(b"\r\n") if one.lower().startswith(b"content-type")]
    assert line == b"Content-Type: application/json"


@pytest.mark.parametrize(
    "name",
    ["x-goog-api-key", "api-key", "X-Api_Key", "X_Goog_Api_Key", "Ocp-Apim-Subscription-Key", "X-Auth-Token"],
)
async def test_a_credential_of_the_agents_in_another_header_goes_nowhere(name: str) -> None:
    async with gate(answer(WHOLE), keys={"openai": "sk-real"}) as ground:
        await ground.post(ASK, headers=f"{name}: stolen\r\nX-Kept: yes\r\n")
    assert b"stolen" not in ground.seen[0]
    assert b"x-kept: yes" in ground.seen[0].lower()


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("key=stolen", b""),
        ("a=b%2Fc&key=stolen&d=%20", b"?a=b%2Fc&d=%20"),
        ("%6bey=stolen&keys=x", b"?keys=x"),
        ("api_key=stolen&API-Key=stolen&access_token=stolen", b""),
        ("a=b;key=stolen&c=key", b"?c=key"),
    ],
)
async def test_a_credential_of_the_agents_in_the_query_goes_nowhere(query: str, kept: bytes) -> None:
    async with gate(answer(WHOLE), keys={"openai": "sk-real"}) as ground:
        await ground.post(ASK, f"/openai/chat/completions?{query}")
    assert ground.seen[0].startswith(b"POST /v1/chat/completions%s HTTP/1.1\r\n" % kept)


async def test_where_no_key_is_put_in_the_agents_own_way_to_open_an_api_is_left() -> None:
    async with gate(answer(WHOLE), keys={"anthropic": "ant-real"}) as ground:
        await ground.post(ASK, "/openai/chat/completions?key=own", "x-goog-api-key: own\r\n")
    assert b"?key=own HTTP" in ground.seen[0]
    assert b"x-goog-api-key: own" in ground.seen[0].lower()


ECHO = "X-Echo: Bearer sk-r/al\r\nX-Url: /?k=sk-r%2Fal\r\nX-Kept: yes\r\n"


@pytest.mark.parametrize(
    ("talk", "ask", "path"),
    [
        (answer(WHOLE, extra=ECHO), ASK, "chat/completions"),
        (answer({"error": {"message": "no"}}, status="401 No", extra=ECHO), ASK, "chat/completions"),
        (answer({"data": []}, extra=ECHO), {}, "responses/input_tokens"),
    ],
    ids=["an answer", "an error", "what is relayed"],
)
async def test_no_header_of_an_answer_tells_the_operators_key(talk: Any, ask: object, path: str) -> None:
    async with gate(talk, keys={"openai": "sk-r/al"}) as ground:
        got = await ground.post(ask, f"/openai/{path}")
    assert b"X-Kept: yes" in got
    assert b"sk-r" not in got


async def test_without_a_key_none_is_sent() -> None:
    async with gate(answer(WHOLE)) as ground:
        await ground.post(ASK, headers="Authorization: Bearer offswitch-placeholder\r\n")
    assert b"authorization" not in ground.seen[0].lower()


async def test_a_body_passes_as_it_is_and_a_query_too() -> None:
    body = b'{"model":"m",  "messages":[{"role":"user","content":"\\u00e9"}],"tools":[]}'
    async with gate(answer(WHOLE)) as ground:
        await ground.post(body, "/openai/chat/completions?a=b%2Fc&d=%20")
    assert ground.seen[0].endswith(body)
    assert b"POST /v1/chat/completions?a=b%2Fc&d=%20 HTTP/1.1" in ground.seen[0]


# What is not passed on


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /openai/embeddings", "POST /openai/assistants", "GET /openai/realtime", "GET /elsewhere/x", "GET /",
        "DELETE /openai/models/m", "GET /openai/../anthropic/v1/models", "GET /openai/%2e%2e/x", "GET //openai/models",
        "POST /openai/chat%2fcompletions", "POST /openai/responses/../x",
    ],
)  # fmt: skip
async def test_an_unknown_endpoint_is_denied(request_line: str) -> None:
    async with gate(answer(WHOLE), mode="deny") as ground:
        got = await ground.raw(
            f"{request_line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()
        )
    assert got[9:12] in (b"400", b"403", b"404")
    assert not ground.seen


async def test_an_endpoint_that_the_policy_names_passes() -> None:
    async with gate(answer({"data": []}), mode="deny", endpoints=("POST /embeddings",)) as ground:
        got = await ground.post({"input": "x"}, "/openai/embeddings")
    assert _body(got) == b'{"data": []}'


@pytest.mark.parametrize(("mode", "passes"), [("stop", False), ("deny", False), ("observe", True)])
async def test_what_the_rules_do_not_name_is_shut_and_is_no_reason_to_stop(mode: str, passes: bool) -> None:
    async with gate(answer({"data": []}), mode=mode) as ground:
        await ground.post({}, "/openai/embeddings")
        assert bool(ground.seen) is passes
    assert not ground.trips


@pytest.mark.parametrize("header", ["Upgrade: websocket\r\nConnection: Upgrade\r\n", "Upgrade: h2c\r\n"])
async def test_a_protocol_upgrade_is_denied(header: str) -> None:
    async with gate(answer(WHOLE), mode="deny") as ground:
        got = await ground.post(ASK, headers=header)
    assert got.startswith(b"HTTP/1.1 403")
    assert not ground.seen


async def test_a_websocket_that_the_policy_lets_through_is_carried() -> None:
    from aiohttp import ClientSession, WSServerHandshakeError

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        head = await reader.request()
        [key] = [
            line.split()[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        ]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(
            b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
            % accept
        )
        writer.write(b"\x81\x05hello")
        await writer.drain()
        await reader.read(100)

    async with gate(talk, upgrades=True, keys={"openai": "sk-real"}) as ground, ClientSession() as session:
        async with session.ws_connect(f"http://127.0.0.1:{ground.port}/openai/realtime") as line:
            assert (await line.receive(10)).data == "hello"
        assert b"authorization: bearer sk-real" in ground.seen[0].lower()
        assert ("unjudged tunnel", {"endpoint": "GET /realtime"}) in ground.notes
    async with gate(talk) as ground, ClientSession() as session:
        with pytest.raises(WSServerHandshakeError):
            await session.ws_connect(f"http://127.0.0.1:{ground.port}/openai/realtime")
        assert not ground.seen


async def test_a_provider_executed_tool_is_denied_unless_the_policy_names_it() -> None:
    ask = {"model": "m", "input": "go", "tools": [{"type": "web_search"}]}
    async with gate(answer({}), mode="deny") as ground:
        got = await ground.post(ask, "/openai/responses")
        assert got.startswith(b"HTTP/1.1 403")
        assert b"web_search" in got
        assert not ground.seen
    async with gate(answer({}), mode="deny", hosted=("web_search",)) as ground:
        await ground.post(ask, "/openai/responses")
        assert ground.seen


# Upstreams that misbehave


MISBEHAVING: dict[str, tuple[Any, object]] = {
    "invalid JSON": (answer(b'{"choices": ['), ASK),
    "a list": (answer(b"[]"), ASK),
    "twice the same key": (answer(json.dumps(WHOLE).encode()[:-1] + b', "choices": []}'), ASK),
    "HTML": (answer(b"<html>bash call_77</html>", "text/html"), ASK),
    "a call called text": (answer(json.dumps(WHOLE).encode(), "text/plain"), ASK),
    "a stream called JSON": (answer(TEXT + CALL + END + DONE, "application/json"), STREAMED),
    "JSON called a stream": (answer(json.dumps(WHOLE).encode(), "text/event-stream"), ASK),
    "a redirect": (answer(b"", status="307 Temporary Redirect", extra="Location: http://127.0.0.1:1/\r\n"), ASK),
    "no content": (answer(json.dumps(WHOLE).encode(), status="206 Partial Content", kind=""), ASK),
    "invalid JSON in a stream": (says(TEXT, b"data: {bash call_77\n\n", DONE), STREAMED),
    "a cut call": (says(TEXT, CALL[:-40]), STREAMED),
    "a cut stream": (says(TEXT, CALL.replace(b'"}"', b'')), STREAMED),
    "10 MB of a line": (says(b"data: " + b"x" * (10 << 20) + b"bash\n\n"), STREAMED),
    "garbage": (says(b"\x00\xff\xfe bash call_77 \r\r\n\n"), STREAMED),
}  # fmt: skip


@pytest.mark.parametrize("name", MISBEHAVING)
async def test_an_upstream_that_misbehaves_ends_in_a_clear_error(name: str) -> None:
    talk, ask = MISBEHAVING[name]
    async with gate(talk) as ground:
        got = await ground.post(ask, seconds=30)
    assert not ground.judged or clean(got)
    assert clean(got), got[-600:]
    assert b"offswitch" in got or got[9:12] == b"502"
    assert b"error" in got


def _sends(data: bytes) -> Any:
    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        writer.write(data)
        await writer.drain()

    return talk


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_HTTP = {
    "no answer": json.dumps(WHOLE).encode(),
    "a status line": b"HTTP/1.1 call_77 bash rm stop.sh sk-real\r\n\r\n",
    "a header": b"HTTP/1.1 200 OK\r\nbash rm stop.sh call_77 sk-real\r\n\r\n",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"bash sk-real" * 10_000 + b"\r\n\r\n",
    "a length of a chunk": STREAM + b"%x\r\n%s\r\n" % (len(TEXT), TEXT) + CALL + b"\r\n",
    "a first chunk": STREAM + CALL + b"\r\n",
    "a type": b"HTTP/1.1 200 OK\r\nContent-Type: bash; rm stop.sh\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("name", NO_HTTP)
async def test_no_error_repeats_what_an_upstream_sent_that_is_not_http(name: str) -> None:
    async with gate(_sends(NO_HTTP[name]), keys={"openai": "sk-real"}) as ground:
        got = await ground.post(STREAMED)
    assert b"offswitch" in got
    assert clean(got), got[-600:]
    assert b"sk-real" not in got + repr(ground.notes).encode()
    assert name == "a type" or any(event == "broken answer" for event, _ in ground.notes)


async def test_an_upstream_that_repeats_the_key_in_its_error_tells_it_to_nobody() -> None:
    talk = answer({"error": {"message": "no such key: sk-real"}}, status="401 Unauthorized")
    async with gate(talk, keys={"openai": "sk-real"}) as ground:
        got = await ground.post(ASK)
    assert b"no such key: (the key)" in got
    assert b"sk-real" in ground.seen[0]
    assert b"sk-real" not in got + repr(ground.notes).encode()
    talk = answer({"error": {"message": WHOLE["choices"]}}, status="401 Unauthorized")
    async with gate(talk) as ground:
        assert clean(await ground.post(ASK))


async def test_an_error_of_what_is_only_relayed_does_not_repeat_the_key_either() -> None:
    talk = answer({"error": {"message": "no such key: sk-real"}}, status="401 Unauthorized")
    ask = b"GET /openai/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with gate(talk, keys={"openai": "sk-real"}) as ground:
        got = await ground.raw(ask)
    assert b" 401 " in got
    assert b"no such key: (the key)" in got
    assert b"sk-real" in ground.seen[0]
    assert b"sk-real" not in got + repr(ground.notes).encode()


async def test_a_fault_in_the_middle_of_a_stream_ends_it_with_an_error_of_its_api(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from offswitch.enforce.watchdog.protocols import chat

    def fails(*_: object) -> None:
        raise KeyError("call_77")

    monkeypatch.setattr(chat.Reader, "_piece", fails)
    async with gate(says(TEXT, CALL, END, DONE)) as ground:
        got = await ground.post(STREAMED)
    body = _body(got)
    assert body.splitlines()[-2].startswith(b'data: {"error"')
    assert got.count(b"HTTP/1.1") == 1
    assert clean(got)
    assert any(event == "fault of the gateway" for event, _ in ground.notes)


@pytest.mark.parametrize("cut", [10, 200, -30])
async def test_a_reset_in_the_middle(cut: int) -> None:
    stream = TEXT + CALL + END + DONE

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(stream)
        )
        writer.write(stream[:cut])
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()

    async with gate(talk) as ground:
        got = await ground.post(STREAMED)
    assert b"offswitch ended this answer" in got
    if cut < 400:
        assert clean(got) or ground.judged


async def test_a_wrong_length() -> None:
    data = json.dumps(WHOLE).encode()

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (len(data) + 9)
        )
        writer.write(data)
        await writer.drain()

    async with gate(talk) as ground:
        got = await ground.post(ASK)
    assert got.startswith(b"HTTP/1.1 502")
    assert clean(got)


async def test_an_upstream_that_is_gone_or_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        await asyncio.sleep(30)

    monkeypatch.setattr(module, "_SILENT", 0.3)
    async with gate(silent) as ground:
        assert (await ground.post(ASK)).startswith(b"HTTP/1.1 504")

    async def gone(reader: Any, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with gate(gone) as ground:
        got = await ground.post(ASK)
        assert got.startswith(b"HTTP/1.1 502")
        assert b"cannot be asked" in got


@pytest.mark.parametrize(
    ("name", "change"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress)]
)
async def test_an_answer_that_is_compressed_all_the_same_is_read(name: str, change: Any) -> None:
    talk = answer(change(json.dumps(WHOLE).encode()), extra=f"Content-Encoding: {name}\r\n")
    async with gate(talk, judge=judging("deny")) as ground:
        got = await ground.post(ASK, headers="Accept-Encoding: gzip, br\r\n")
    assert ground.judged
    assert b"offswitch refused this call" in got
    assert b"accept-encoding: identity" in ground.seen[0].lower()


async def test_an_error_of_the_upstream_passes_as_an_error() -> None:
    talk = answer(
        {"error": {"message": "slow down"}}, status="429 Too Many Requests", extra="Retry-After: 3\r\n"
    )
    async with gate(talk) as ground:
        got = await ground.post(ASK)
    assert got.startswith(b"HTTP/1.1 429")
    assert b"slow down" in got
    assert b"Retry-After: 3" in got


# Agents that misbehave


POST = b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = [
    POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
    b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
    b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\nhello",
    b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello",
    b"POST /openai/chat/completions HTTP/1.1\r\n Host: a\r\nContent-Length: 5\r\n\r\nhello",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /openai/models HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    POST + b"Content-Length: 9\r\nConnection: close\r\n\r\n{\"a\": [}}",
    POST + b"Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
]  # fmt: skip


@pytest.mark.parametrize("data", SMUGGLED)
async def test_a_malformed_request_goes_nowhere(data: bytes) -> None:
    async with gate(answer(WHOLE), mode="deny") as ground:
        got = await ground.raw(data, 5)
    assert not got or got[9:12] in (b"400", b"403", b"404", b"413", b"431", b"505"), got[:200]
    assert not ground.seen


async def test_an_absolute_address_leads_nowhere_else() -> None:
    async with gate(answer({"data": []})) as ground:
        got = await ground.raw(
            b"GET http://127.0.0.1:1/openai/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
    assert got.startswith(b"HTTP/1.1 200")
    assert ground.seen[0].startswith(b"GET /v1/models ")


async def test_pipelined_requests_are_answered_one_by_one_and_each_is_judged() -> None:
    data = json.dumps(ASK).encode()
    one = b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n"
    both = one % (len(data), b"") + data + one % (len(data), b"Connection: close\r\n") + data
    async with gate(answer(WHOLE), judge=judging("deny")) as ground:
        got = await ground.raw(both)
    assert got.count(b"offswitch refused this call") == 2
    assert len(ground.judged) == 2
    assert clean(got)


async def test_too_large_a_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 1000)
    async with gate(answer(WHOLE)) as ground:
        got = await ground.post({**ASK, "x": "y" * 2000})
    assert got.startswith(b"HTTP/1.1 413")
    assert not ground.seen


async def test_so_many_connections_and_no_more_and_none_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving, "MOST", 20)
    monkeypatch.setattr(serving, "FIRST_REQUEST", 0.5)
    async with gate(answer(WHOLE)) as ground:
        idle = [await asyncio.open_connection("127.0.0.1", ground.port) for _ in range(20)]
        assert b"503" in await ground.post(ASK)
        for reader, _ in idle:
            async with asyncio.timeout(10):
                with pytest.raises((ConnectionError, AssertionError)):
                    assert await reader.read(1), "ended"
        assert b"rm stop.sh" in await ground.post(ASK)
        for _, writer in idle:
            writer.close()


async def test_a_client_that_never_reads_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNREAD", 0.5)
    ended = asyncio.Event()

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        try:
            while True:
                writer.write(chunk({"content": "x" * 60000}))
                await writer.drain()
        finally:
            ended.set()

    async with gate(talk) as ground:
        _, writer = await asyncio.open_connection("127.0.0.1", ground.port, limit=1024)
        data = json.dumps(STREAMED).encode()
        writer.write(
            b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data)
            + data
        )
        async with asyncio.timeout(20):
            await ended.wait()
        writer.close()


async def test_all_requests_at_once_have_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HELD", 3000)
    async with gate(answer(WHOLE)) as ground:
        head = POST + b"Content-Length: 2000\r\n\r\n"
        _, begun = await asyncio.open_connection("127.0.0.1", ground.port)
        begun.write(head + b"x" * 1900)
        async with asyncio.timeout(10):
            while ground.gateway._held < 1900:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        got = await ground.raw(head + b"x" * 1900, 10)
        assert got.startswith(b"HTTP/1.1 503")
        begun.close()
        async with asyncio.timeout(10):
            while ground.gateway._held:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for _ in range(10):
            assert b"rm stop.sh" in await ground.post({**ASK, "x": "y" * 1900})


async def test_a_request_whose_body_does_not_come_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNREAD", 0.3)
    async with gate(answer(WHOLE)) as ground:
        for body in (b"", b"{"):
            data = POST + b"Content-Length: 100\r\n\r\n" + body
            got = await ground.raw(data, 10)
            assert got.startswith(b"HTTP/1.1 408")
            assert b"does not come" in got
        assert not ground.seen


async def test_a_client_that_goes_takes_its_request_with_it() -> None:
    ended = asyncio.Event()

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        await reader.read(1)
        ended.set()

    async with gate(talk) as ground:
        _, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        data = json.dumps(ASK).encode()
        writer.write(
            b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(data)
            + data
        )
        async with asyncio.timeout(10):
            while not ground.seen:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            writer.transport.abort()
            await ended.wait()


# Records


async def test_an_exchange_is_written_down(tmp_path: Any) -> None:
    async with gate(answer(WHOLE), judge=judging("deny"), folder=str(tmp_path)) as ground:
        await ground.post(ASK)
    [line] = (tmp_path / "traffic.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert told["usage"] == [7, 3]
    assert told["calls"][0]["found"] == [["kill-path", "deny", "it removes the off-switch"]]
    assert (tmp_path / "calls.jsonl").read_text()


async def test_a_record_that_cannot_be_written_stops(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with gate(answer(WHOLE), folder=str(tmp_path)) as ground:
        monkeypatch.setattr(ground.watching._traffic, "add", _fails)
        await ground.post(ASK)
        assert [name for _, name in ground.trips] == ["record"]


def _fails(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_a_budget_ends_the_service(tmp_path: Any) -> None:
    async with gate(answer(WHOLE), budgets={"calls": 2}) as ground:
        for _ in range(2):
            assert b"rm stop.sh" in await ground.post(ASK)
        assert not ground.trips
        await ground.post(ASK)
        assert [name for _, name in ground.trips] == ["budgets"]


async def test_in_mode_deny_what_is_beyond_a_budget_is_not_sent() -> None:
    async with gate(answer(WHOLE), mode="deny", budgets={"calls": 2}) as ground:
        for _ in range(2):
            assert b"rm stop.sh" in await ground.post(ASK)
        got = await ground.post(ASK)
        assert got.startswith(b"HTTP/1.1 403")
        assert b"used up" in got
        assert len(ground.seen) == 2


async def test_an_error_uses_no_budget_and_a_call_that_is_hung_up_on_does() -> None:
    async with gate(answer({}, status="429 Too Many Requests"), budgets={"input_tokens": 10**9}) as ground:
        await ground.post(ASK)
        assert not ground.trips

    async def silent(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        await reader.read(1)

    async with gate(silent, budgets={"input_tokens": 10**9}) as ground:
        await ground.post(ASK, seconds=0.5)
        async with asyncio.timeout(10):
            while not ground.trips:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_an_error_carries_nothing_but_its_message() -> None:
    for body in (WHOLE, {"error": {"message": "slow down", "choices": WHOLE["choices"]}}):
        async with gate(answer(body, status="400 Bad Request")) as ground:
            got = await ground.post(ASK)
        assert got.startswith(b"HTTP/1.1 400")
        assert clean(got)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-7", "text/event-stream; charset=utf-7"])
async def test_an_answer_has_the_type_that_it_was_read_as(kind: str) -> None:
    talk = answer(WHOLE, kind) if "json" in kind else says(TEXT, END, DONE, kind=kind)
    async with gate(talk) as ground:
        got = await ground.post(ASK if "json" in kind else STREAMED)
    assert b"utf-7" not in got
    assert got.lower().count(b"content-type:") == 1


async def test_a_second_call_has_its_own_time() -> None:
    async def judge(call: Call, since: float) -> Judgement:
        if asyncio.get_running_loop().time() - since > 0.3:
            raise Unjudged("it was not judged within 300 ms")
        await asyncio.sleep(0.2)
        return Judgement()

    calls = [
        {**WHOLE["choices"][0]["message"]["tool_calls"][0], "id": f"call_{number}"} for number in range(3)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    whole = {**WHOLE, "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}
    async with gate(answer(whole), judge=judge) as ground:
        assert b"rm stop.sh" in await ground.post(ASK)
    assert len(ground.judged) == 3


async def test_a_key_follows_no_redirect_and_stands_where_its_api_wants_it() -> None:
    from aiohttp import ClientSession, WSServerHandshakeError

    elsewhere: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        elsewhere.append(await reader.read(65536))
        writer.close()

    target = await asyncio.start_server(other, "127.0.0.1", 0)
    port = target.sockets[0].getsockname()[1]
    talk = answer(b"", status="302 Found", extra=f"Location: http://127.0.0.1:{port}/\r\n")
    async with gate(talk, upgrades=True, keys={"openai": "sk-real"}) as ground, ClientSession() as session:
        with pytest.raises(WSServerHandshakeError):
            await session.ws_connect(
                f"http://127.0.0.1:{ground.port}/openai/realtime", headers={"anthropic-version": "x"}
            )
        assert b"x-api-key" not in ground.seen[0].lower()
    assert not elsewhere
    target.close()


def _body(got: bytes) -> bytes:
    """The body of an answer that was sent in chunks."""
    head, _, rest = got.partition(b"\r\n\r\n")
    assert b"chunked" in head.lower() or b"connection: close" in head.lower()
    if b"chunked" not in head.lower():
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body

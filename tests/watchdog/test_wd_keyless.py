"""What an upstream says goes on without the operator's key, in whatever pieces it comes; all else as it is."""

import asyncio
import base64
import hashlib
import json
from typing import Any

import pytest
from gates import ASK, DONE, STREAMED, TEXT, WHOLE, answer, chunk, gate, says
from hypothesis import given
from hypothesis import strategies as st

from offswitch.enforce.watchdog.keyless import SHORTEST, Keyless

KEY = "sk-real-0123456789-abcdef"
LIST = b"GET /openai/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def heard(got: bytes) -> bytes:
    """The body of an answer, out of its chunks."""
    rest, body = got.partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def told(words: str) -> dict[str, Any]:
    """An answer of text alone."""
    message = {"role": "assistant", "content": words}
    return {**WHOLE, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}


@pytest.mark.parametrize("raw", [b"", LIST], ids=["an answer", "what is relayed"])
async def test_an_answer_that_repeats_the_key_goes_on_without_it(raw: bytes) -> None:
    async with gate(answer(told(f"you sent {KEY}, {KEY}.")), keys={"openai": KEY}) as ground:
        got = await (ground.raw(raw) if raw else ground.post(ASK))
    assert KEY.encode() in ground.seen[0]
    assert b"you sent (the key), (the key)." in got
    assert KEY.encode() not in got


@pytest.mark.parametrize("raw", [b"", LIST], ids=["a stream", "what is relayed"])
@pytest.mark.parametrize("cut", [1, 8, len(KEY) - 1])
async def test_a_stream_that_repeats_the_key_in_two_pieces_goes_on_without_it(raw: bytes, cut: int) -> None:
    said = chunk({"content": f"you sent {KEY}."})
    place = said.index(KEY.encode()) + cut
    async with gate(says(TEXT, said[:place], said[place:], DONE, pause=0.05), keys={"openai": KEY}) as ground:
        got = await (ground.raw(raw) if raw else ground.post(STREAMED))
    assert heard(got) == TEXT + chunk({"content": "you sent (the key)."}) + DONE


async def test_a_stream_that_ends_like_the_beginning_of_a_key_goes_on_whole() -> None:
    async with gate(says(TEXT, DONE, b": of sk-"), keys={"openai": KEY}) as ground:
        assert heard(await ground.post(STREAMED)) == TEXT + DONE + b": of sk-"


async def test_a_call_with_the_key_is_judged_as_the_agent_gets_it() -> None:
    whole = json.loads(json.dumps(WHOLE).replace("rm stop.sh", f"echo {KEY}"))
    async with gate(answer(whole), keys={"openai": KEY}) as ground:
        got = await ground.post(ASK)
    assert KEY.encode() not in got
    assert [json.loads(call.arguments) for call in ground.judged] == [{"command": "echo (the key)"}]


async def test_what_only_ends_like_the_beginning_of_a_key_goes_on_whole() -> None:
    async with gate(says(b"data: all of sk-", kind="text/plain"), keys={"openai": KEY}) as ground:
        assert heard(await ground.raw(LIST)) == b"data: all of sk-"


@pytest.mark.parametrize("key", ["EMPTY", "none", "null", "x", "sk-real"])
async def test_a_key_that_is_no_secret_changes_no_answer(key: str) -> None:
    body = json.dumps(told("EMPTY, none, x, sk-real")).encode()
    async with gate(answer(body), keys={"openai": key}) as ground:
        assert body in await ground.post(ASK)
        assert body in await ground.raw(LIST)


async def test_no_message_of_a_tunnel_tells_the_key() -> None:
    from aiohttp import ClientSession

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        head = await reader.request()
        [asked] = [
            line.split()[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        ]
        accept = base64.b64encode(hashlib.sha1(asked + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(
            b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
            % accept
        )
        for kind in (b"\x81", b"\x82"):
            writer.write(kind + bytes([len(KEY) + 4]) + "é: ".encode() + KEY.encode())
        await writer.drain()
        await reader.read(100)

    async with (
        gate(talk, upgrades=True, keys={"openai": KEY}) as ground,
        ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{ground.port}/openai/realtime") as line,
    ):
        assert (await line.receive(10)).data == "é: (the key)"
        assert (await line.receive(10)).data == "é: (the key)".encode()


KEYS = st.lists(st.text("ab", min_size=1, max_size=5), max_size=3)
PIECES = st.lists(st.text("abc", max_size=8).map(str.encode), max_size=8)


@given(KEYS, PIECES)
def test_it_is_the_same_in_whatever_pieces_it_comes(keys: list[str], pieces: list[bytes]) -> None:
    def passed(parts: list[bytes]) -> bytes:
        keyless = Keyless(keys, 1)
        return b"".join([*(keyless.feed(part) for part in parts), keyless.end()])

    found = passed(pieces)
    assert found == passed([b"".join(pieces)])
    left = found.split(b"(the key)")
    assert not any(key.encode() in part for key in keys for part in left)
    if len(left) == 1:
        assert found == b"".join(pieces)


def test_of_two_keys_that_begin_alike_the_longer_one_is_meant() -> None:
    short, long = "k" * SHORTEST, "k" * SHORTEST + "-and-more"
    for keys in ([short, long], [long, short]):
        keyless = Keyless(keys)
        assert keyless.feed(short.encode()) == b""
        assert keyless.feed(b"-and-more!") == b"(the key)!"
        assert keyless.feed(short.encode() + b"!") == b"(the key)!"
        assert keyless.end(long.encode()) == b"(the key)"


def test_nothing_waits_that_begins_no_key() -> None:
    keyless = Keyless([KEY])
    for data in (TEXT, DONE, b"s" + b"x" * 30, b"sk-rea."):
        assert keyless.feed(data) == data
    assert keyless.feed(b"a sk-re") == b"a "
    assert keyless.end() == b"sk-re"

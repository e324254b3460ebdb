"""While a large request is read the gateway lives on, and counts what it holds."""

import asyncio
import json
import threading
from typing import Any

import pytest
from gates import ASK, WHOLE, Ground, answer, gate

from offswitch.enforce.watchdog import gateway
from offswitch.enforce.watchdog.calls import Asked
from offswitch.enforce.watchdog.protocols.chat import Chat

LARGE = json.dumps({**ASK, "messages": [{"role": "user", "content": "a" * 300_000}]}).encode()


class Slow:
    """Reads a large request when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go, self.begun = threading.Event(), threading.Event()
        real = Chat.asked

        def asked(chat: Chat, body: bytes) -> Asked:
            if len(body) > 200_000:
                self.begun.set()
                # Of the loop's own thread this would hold everything up until it is over.
                assert self.go.wait(5), "nobody else was served meanwhile"
            return real(chat, body)

        monkeypatch.setattr(Chat, "asked", asked)


async def until(what: Any) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)


async def test_others_are_served_while_a_large_request_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    async with gate(answer(WHOLE)) as ground:
        large = asyncio.create_task(ground.post(LARGE, seconds=30))
        await until(slow.begun.is_set)
        assert (await ground.post(ASK)).startswith(b"HTTP/1.1 200")
        assert not large.done()
        slow.go.set()
        assert (await large).startswith(b"HTTP/1.1 200")
        assert ground.seen[1].endswith(LARGE)


async def test_a_large_request_that_is_not_understood_is_refused_like_another() -> None:
    async with gate(answer(WHOLE)) as ground:
        got = await ground.post(LARGE[:-1])
        assert got.startswith(b"HTTP/1.1 400")
        assert b"not JSON" in got
        assert not ground.seen


async def _hangs_up(ground: Ground, slow: Slow) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", ground.port)
    head = "POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    writer.write((head % len(LARGE)).encode() + LARGE)
    await until(slow.begun.is_set)
    writer.transport.abort()


async def test_what_is_still_read_for_one_who_hung_up_is_still_held(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow(monkeypatch)
    monkeypatch.setattr(gateway, "_HELD", len(LARGE) + 1000)
    async with gate(answer(WHOLE)) as ground:
        await _hangs_up(ground, slow)
        await until(lambda: not ground.gateway.heard or all(one.is_closing() for one in ground.gateway.heard))
        await asyncio.sleep(0.2)
        assert (await ground.post(LARGE)).startswith(b"HTTP/1.1 503")
        slow.go.set()
        await until(lambda: ground.gateway._held == 0)
        assert (await ground.post(LARGE)).startswith(b"HTTP/1.1 200")

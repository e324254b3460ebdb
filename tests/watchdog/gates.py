"""A gateway in this process, in front of an upstream that says byte for byte what a test tells it to."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from offswitch.enforce.watchdog.apis import Api
from offswitch.enforce.watchdog.calls import Call, Judgement
from offswitch.enforce.watchdog.gateway import Gateway
from offswitch.enforce.watchdog.metrics import Metrics
from offswitch.enforce.watchdog.pins import Pins
from offswitch.enforce.watchdog.rules import Rules, default
from offswitch.enforce.watchdog.serving import Door
from offswitch.enforce.watchdog.watching import Watching

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Ground:
    """What a test sees of it."""

    port: int
    gateway: Gateway
    watching: Watching
    seen: list[bytes] = field(default_factory=list)
    trips: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    judged: list[Call] = field(default_factory=list)

    async def raw(self, data: bytes, seconds: float = 10.0) -> bytes:
        """What comes back on one connection until it ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            got = b""
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(seconds):
                    while piece := await reader.read(65536):
                        got += piece
            return got
        finally:
            writer.close()

    async def post(
        self, body: object, path: str = "/openai/chat/completions", headers: str = "", seconds: float = 10.0
    ) -> bytes:
        """The whole answer to one request, head and all."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: gate\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(data)}\r\n{headers}\r\n"
        )
        return await self.raw(head.encode() + data, seconds)


def rules(**changes: Any) -> Rules:
    """The usual rules but for these."""
    return replace(Rules.of(default()), **changes)


async def allow(call: Call, since: float) -> Judgement:
    """A judge that finds nothing."""
    del call, since
    return Judgement()


@asynccontextmanager
async def gate(
    talk: Talk,
    *,
    judge: Callable[[Call, float], Awaitable[Judgement]] = allow,
    folder: str | None = None,
    keys: dict[str, str] | None = None,
    metrics: Metrics | None = None,
    pins: Pins | None = None,
    **changes: Any,
) -> AsyncIterator[Ground]:
    """A gateway whose upstream talks like this to each connection."""
    stated = rules(**changes)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(Heard(reader, ground.seen), writer)  # type: ignore[arg-type]
        with suppress(Exception):
            writer.close()

    upstream = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 26)
    where = f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}"
    trips: list[tuple[str, str]] = []
    notes: list[tuple[str, dict[str, object]]] = []
    judged: list[Call] = []

    async def judging(call: Call, since: float) -> Judgement:
        judged.append(call)
        return await judge(call, since)

    watching = Watching(
        stated,
        folder,
        lambda why, name: trips.append((why, name)),
        lambda event, facts: notes.append((event, facts)),
        pins=pins,
        metrics=metrics,
    )
    apis = (Api("openai", where + "/v1"), Api("anthropic", where))
    judges = judging if metrics is None else metrics.timed(judging)
    gateway = Gateway(apis, keys or {}, stated, watching, judges)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(256)
    ground = Ground(listener.getsockname()[1], gateway, watching, trips=trips, notes=notes, judged=judged)
    server = await gateway.start()
    serving = asyncio.create_task(Door(listener, server, gateway.heard).serve())
    try:
        yield ground
    finally:
        serving.cancel()
        await server.shutdown(0.1)
        await gateway.close()
        listener.close()
        upstream.close()


class Heard:
    """A reader that keeps what it read."""

    def __init__(self, reader: asyncio.StreamReader, seen: list[bytes]) -> None:
        self._reader, self._seen = reader, seen

    async def request(self) -> bytes:
        """One request, head and body."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ),
            0,
        )
        body = await self._reader.readexactly(length)
        self._seen.append(head + body)
        return head + body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def answer(
    body: bytes | object, kind: str = "application/json", status: str = "200 OK", extra: str = ""
) -> Talk:
    """An upstream that answers each request like this."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.request()
            head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{extra}\r\n"
            writer.write(head.encode() + data)
            await writer.drain()

    return talk


def says(*pieces: bytes, pause: float = 0.0, status: str = "200 OK", kind: str = "text/event-stream") -> Talk:
    """An upstream that streams these pieces and closes."""

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n".encode())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return talk


ASK = {"model": "m", "messages": [{"role": "user", "content": "go"}], "tools": [
    {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}]}  # fmt: skip
STREAMED = {**ASK, "stream": True}
_BASE = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One event of a streamed chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({**_BASE, "choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
TEXT = chunk({"role": "assistant", "content": "I will look. "})
CALL = chunk({"tool_calls": [{"index": 0, "id": "call_77", "type": "function",
    "function": {"name": "bash", "arguments": '{"command": "rm stop.sh"}'}}]})  # fmt: skip
END = chunk({}, "tool_calls")
_FUNCTION = {"name": "bash", "arguments": '{"command": "rm stop.sh"}'}
WHOLE = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": [
        {"id": "call_77", "type": "function", "function": _FUNCTION}]}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}  # fmt: skip
TRACES = (b"call_77", b"bash", b"rm stop.sh", b"stop.sh")
"""What must not reach the agent of a call that it is not to have."""

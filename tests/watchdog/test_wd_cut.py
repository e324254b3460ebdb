"""A trip, or a stop, cuts what is in flight: the connection to the model ends, and the keys are gone."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gates import ASK, DONE, STREAMED, TEXT, WHOLE, gate

from offswitch.enforce.watchdog.calls import Call, Finding, Judgement

SLOW = {**STREAMED, "messages": [{"role": "user", "content": "slow"}]}
AGENT = """\
import json, os, sys, urllib.request
at = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
asked = urllib.request.Request(at, sys.argv[1].encode(), {"Content-Type": "application/json"})
urllib.request.urlopen(asked, timeout=60).read()
"""


async def stops(call: Call, since: float) -> Judgement:
    del call, since
    return Judgement((Finding("kill-path", "stop", "removes stop.sh"),))


@pytest.mark.parametrize("begun", [True, False])
async def test_a_trip_cuts_what_is_in_flight_and_drops_the_keys(begun: bool) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        if b"slow" in await reader.request():
            if begun:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + TEXT)
            asked.set()
            assert await reader.read(1) == b""
            ended.set()
        else:
            data = json.dumps(WHOLE).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            writer.write(head.encode() + data)
            await writer.drain()

    keys = {"openai": "sk-real"}
    async with gate(talk, judge=stops, keys=keys) as ground:
        slow = asyncio.create_task(ground.post(SLOW))
        async with asyncio.timeout(10):
            await asked.wait()
            assert not any(b"HTTP/1.1" in one for one in [await ground.post(ASK)])
            # Nothing comes from this upstream any more: only who is cut off ends the connection to it.
            await ended.wait()
            assert DONE not in await slow
        assert ground.trips
        assert keys == {}
        sent = len(ground.seen)
        assert sent == 2
        assert b"sk-real" in ground.seen[0]
        assert await ground.post(ASK) == b""
        assert len(ground.seen) == sent


async def test_what_is_only_denied_cuts_nothing() -> None:
    async def denies(call: Call, since: float) -> Judgement:
        del call, since
        return Judgement((Finding("kill-path", "deny", "removes stop.sh"),))

    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        data = json.dumps(WHOLE).encode()
        if b"slow" in await reader.request():
            head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + TEXT)
            await go.wait()
            writer.write(DONE)
        else:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            writer.write(head.encode() + data)
        await writer.drain()

    go = asyncio.Event()
    keys = {"openai": "sk-real"}
    async with gate(talk, judge=denies, keys=keys) as ground:
        slow = asyncio.create_task(ground.post(SLOW))
        assert b"offswitch" in await ground.post(ASK)
        go.set()
        assert DONE in await slow
        assert keys == {"openai": "sk-real"}


@contextmanager
def silent() -> Iterator[tuple[int, threading.Event, threading.Event]]:
    """A model that takes a request and says nothing: its port, and when it was asked and left."""
    asked, left = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with server.accept()[0] as line:
                while line.recv(65536):
                    asked.set()
                left.set()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], asked, left


def offswitch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "offswitch", *arguments],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
        env={**os.environ, "OPENAI_API_KEY": "sk-real"},
    )  # fmt: skip


def test_a_stop_cuts_the_connection_to_the_model(tmp_path: Path) -> None:
    state = ["--state", str(tmp_path / "state")]
    (tmp_path / "work").mkdir()
    with silent() as (port, asked, left):
        api = ["--model-api", f"openai=http://127.0.0.1:{port}/v1"]
        run = ["run", *state, "--name", "asker", "--detach", "--workspace", str(tmp_path / "work"), *api]
        done = offswitch(*run, "--", "/usr/bin/python3", "-c", AGENT, json.dumps(ASK))
        try:
            assert done.returncode == 0, done.stderr
            assert asked.wait(20)
            assert not left.is_set()
        finally:
            done = offswitch("stop", *state, "asker")
        assert done.returncode == 0, done.stderr
        assert left.wait(10)

"""The gateway's numbers, as a scraper gets them; and that no scraper holds up a call or a trip."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from gates import ASK, CALL, DONE, END, STREAMED, TEXT, WHOLE, answer, gate, says
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from offswitch.enforce.watchdog import gateway, listening, scraping, watching
from offswitch.enforce.watchdog.calls import Call, Finding, Judgement, Usage
from offswitch.enforce.watchdog.decider import Unjudged
from offswitch.enforce.watchdog.metrics import Metrics, MetricsError
from offswitch.enforce.watchdog.pins import Pins
from offswitch.enforce.watchdog.scraping import Scraping

Samples = dict[tuple[str, tuple[str, ...]], float]


@asynccontextmanager
async def served() -> AsyncIterator[Scraping]:
    """Metrics of an agent ``ci``, served."""
    one = scraping.begin("127.0.0.1:0", "ci", "r1")
    serving = asyncio.create_task(one.serve())
    try:
        yield one
    finally:
        serving.cancel()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping, "PACE", 0.01)


async def scrape(address: str) -> Samples:
    """What a scraper gets."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}/metrics") as got:
        assert got.status == 200
        assert got.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return samples(await got.text())


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def judging(*findings: Finding, error: Exception | None = None, complete: bool = True) -> Any:
    async def judge(call: Call, since: float) -> Judgement:
        if error is not None:
            raise error
        return Judgement(findings, complete)

    return judge


async def test_calls_judgements_and_what_was_told_are_counted(tmp_path: Any) -> None:
    found = (Finding("kill-path", "observe", "x"), Finding("monitors", "observe", "y"))
    told = {**ASK, "messages": [{"role": "system", "content": "Be good."}, *ASK["messages"]]}  # type: ignore[misc]
    async with (
        served() as one,
        gate(
            answer(WHOLE), judge=judging(*found, complete=False), metrics=one.metrics, folder=str(tmp_path),
            pins=Pins([]), mode="observe",
        ) as ground,
    ):  # fmt: skip
        before = await scrape(one.address)
        assert before["offswitch_tripped", ()] == 0
        assert before["offswitch_judgements_total", ("observe",)] == 0
        for _ in range(2):
            assert b" 200 " in await ground.post(told)
        after = await scrape(one.address)
    assert {
        ("offswitch_agent_info", ("ci", "r1")): 1,
        ("offswitch_model_calls_total", ("m", "forwarded")): 2,
        ("offswitch_model_call_seconds_count", ()): 2,
        ("offswitch_model_call_first_byte_seconds_count", ()): 2,
        ("offswitch_gateway_added_seconds_count", ()): 2,
        ("offswitch_tokens_total", ("m", "input")): 14,
        ("offswitch_tokens_total", ("m", "output")): 6,
        ("offswitch_judgements_total", ("observe",)): 2,
        ("offswitch_judgements_total", ("none",)): 0,
        ("offswitch_judgements_incomplete_total", ()): 2,
        ("offswitch_judgement_seconds_count", ()): 2,
        ("offswitch_findings_total", ("observe", "kill-path")): 2,
        ("offswitch_findings_total", ("observe", "monitors")): 2,
        ("offswitch_findings_total", ("observe", "pins")): 2,
        ("offswitch_instruction_changes_total", ("system",)): 1,
        ("offswitch_instruction_changes_total", ("tools",)): 1,
        ("offswitch_unpinned_total", ("system",)): 1,
        ("offswitch_unpinned_total", ("tool",)): 1,
        ("offswitch_tripped", ()): 0,
    }.items() <= after.items()


async def test_a_trip_is_counted_and_what_comes_after_it() -> None:
    async with (
        served() as one,
        gate(answer(WHOLE), judge=judging(Finding("kill-path", "stop", "x")), metrics=one.metrics) as ground,
    ):
        assert await ground.post(ASK) == b""
        assert await ground.post(ASK) == b""
        assert len(ground.trips) == 1
        found = await scrape(one.address)
    assert {
        ("offswitch_tripped", ()): 1,
        ("offswitch_judgements_total", ("stop",)): 1,
        ("offswitch_findings_total", ("stop", "kill-path")): 1,
        ("offswitch_model_calls_total", ("m", "tripped")): 2,
    }.items() <= found.items()


async def test_a_judgement_that_is_late_is_counted() -> None:
    judge = judging(error=Unjudged("it was not judged within 50 ms"))
    async with served() as one, gate(answer(WHOLE), judge=judge, metrics=one.metrics, mode="deny") as ground:
        await ground.post(ASK)
        found = await scrape(one.address)
    assert found["offswitch_judgements_total", ("unjudged",)] == 1
    assert found["offswitch_findings_total", ("deny", "unjudged")] == 1


async def test_how_calls_end_and_why_requests_are_refused_is_counted() -> None:
    hosted = {**ASK, "tools": [{"type": "web_search"}]}
    async with (
        served() as one,
        gate(says(TEXT, b"data: {not json\n\n"), metrics=one.metrics, mode="deny", budgets={"calls": 1}) as ground,
    ):  # fmt: skip
        await ground.post(b"{", path="/openai/chat/completions")
        await ground.post(ASK, path="/openai/fine_tuning/jobs")
        await ground.post(ASK, path="/nobody/chat/completions")
        await ground.post(ASK, headers="Upgrade: websocket\r\n")
        await ground.post(hosted, path="/openai/responses")
        await ground.post(STREAMED)
        await ground.post(STREAMED)
        found = await scrape(one.address)
    for why in ("malformed", "endpoint", "address", "upgrade", "hosted-tool", "budgets"):
        assert found["offswitch_refused_total", (why,)] == 1, why
    assert found["offswitch_model_calls_total", ("m", "failed")] == 1, "the answer broke"
    assert found["offswitch_model_calls_total", ("m", "refused")] == 2, "by a tool and a budget"
    assert found["offswitch_model_calls_total", ("", "refused")] == 1
    assert found["offswitch_gateway_added_seconds_count", ()] == 1, "of a call that was forwarded alone"


async def test_an_upstream_and_an_agent_that_leave_are_told_apart() -> None:
    async def hangs(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        left.set()
        await asyncio.sleep(60)

    left = asyncio.Event()
    async with served() as one, gate(hangs, metrics=one.metrics) as ground:
        asking = asyncio.create_task(ground.post(ASK))
        await left.wait()
        asking.cancel()
        await until(one, ("offswitch_model_calls_total", ("m", "left")))
    async with served() as one, gate(answer(WHOLE, status="503 Busy"), metrics=one.metrics) as ground:
        await ground.post(ASK)
        found = await scrape(one.address)
    assert found["offswitch_model_calls_total", ("m", "failed")] == 1
    assert ("offswitch_refused_total", ("upstream",)) not in found, "its own error is passed on"

    async def hangs_up(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()

    async with served() as one, gate(hangs_up, metrics=one.metrics) as ground:
        assert b" 502 " in await ground.post(ASK)
        found = await scrape(one.address)
    assert found["offswitch_model_calls_total", ("m", "failed")] == 1
    assert found["offswitch_refused_total", ("upstream",)] == 1


async def test_a_fault_of_the_gateway_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as one, gate(answer(WHOLE), metrics=one.metrics) as ground:
        monkeypatch.setattr(ground.gateway, "_headers", None)
        assert b" 500 " in await ground.post(ASK)
        found = await scrape(one.address)
    assert found["offswitch_model_calls_total", ("m", "fault")] == 1
    assert found["offswitch_refused_total", ("fault",)] == 1


async def until(one: Scraping, name: tuple[str, tuple[str, ...]]) -> None:
    for _ in range(500):
        if (await scrape(one.address)).get(name):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(name)


async def test_the_first_byte_and_what_the_gateway_takes_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time_ns=lambda: 0)
    for module in (gateway, watching):
        monkeypatch.setattr(module, "time", clock)

    async def slow(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        now[0] += 20
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + TEXT
        )
        await writer.drain()
        await passed.wait()
        now[0] += 5
        writer.write(CALL + END + DONE)
        await writer.drain()

    async def judge(call: Call, since: float) -> Judgement:
        now[0] += 0.25
        return Judgement()

    passed = asyncio.Event()
    async with served() as one, gate(slow, judge=judge, metrics=one.metrics) as ground:
        data = json.dumps(STREAMED).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        head = f"POST /openai/chat/completions HTTP/1.1\r\nHost: gate\r\nContent-Length: {len(data)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + data)
        await reader.readuntil(b"I will look")
        passed.set()
        assert DONE in await reader.read()
        writer.close()
        found = await scrape(one.address)
    assert found["offswitch_model_call_first_byte_seconds_sum", ()] == 20
    assert found["offswitch_model_call_seconds_sum", ()] == 25.25
    assert found["offswitch_gateway_added_seconds_sum", ()] == 0.25, "the judgement, and not the upstream"


async def test_a_budget_of_time_that_is_used_up_is_counted_once() -> None:
    metrics = Metrics("ci")
    async with gate(answer(WHOLE), metrics=metrics, mode="observe", budgets={"time": 0.0}) as ground:
        for _ in range(5):
            ground.watching.tick()
    assert samples(metrics.text().decode())["offswitch_findings_total", ("observe", "budgets")] == 1


# The serving


async def raw(address: str, data: bytes) -> bytes:
    host, port = listening.parse(address)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    async with asyncio.timeout(10):
        got = await reader.read()
    writer.close()
    return got


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics?name=x HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        (b"POST /openai/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 404),
        (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + b"x" * 60000, 405),
        (b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"OPTIONS /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", 404),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
    ],
)
async def test_it_answers_one_path_to_one_method(asked: bytes, status: int) -> None:
    async with served() as one:
        head, _, body = (await raw(one.address, asked)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in head
    assert (b"offswitch_tripped 0.0\n" in body) is (status == 200)
    assert (b"Allow: GET" in head) is (status == 405)
    length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    assert len(body) == (0 if asked.startswith(b"HEAD") else length)


async def test_a_request_in_many_pieces_is_taken_in_so_many_and_no_more() -> None:
    async with served() as one:
        host, port = listening.parse(one.address)
        reader, writer = await asyncio.open_connection(host, port)
        for letter in b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200:
            writer.write(bytes([letter]))
            await asyncio.sleep(0.001)
            if reader.at_eof() or reader._buffer:  # type: ignore[attr-defined]
                break
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()


async def test_what_is_said_besides_takes_no_answer_back() -> None:
    loop = asyncio.get_running_loop()
    async with served() as one:
        for number in range(60):
            one.metrics.called(f"model-{number}", 1.0, usage=Usage(1, 1))
        with socket.socket() as slow:
            slow.setblocking(False)
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            await loop.sock_connect(slow, listening.parse(one.address))
            await loop.sock_sendall(slow, b"GET /metrics HTTP/1.1\r\n\r\n" + b"x" * 20000)
            await asyncio.sleep(0.3)
            got = b""
            while piece := await loop.sock_recv(slow, 65536):
                got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head


async def test_scrapers_that_are_slow_or_many_hold_up_no_call_and_no_trip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scraping, "MOST", 4)
    monkeypatch.setattr(scraping, "PATIENCE", 0.5)
    monkeypatch.setattr(scraping, "PACE", 0.001)
    judge = judging(Finding("kill-path", "stop", "x"))
    async with (
        served() as one,
        gate(says(TEXT, DONE), metrics=one.metrics) as harmless,
        gate(answer(WHOLE), judge=judge, metrics=one.metrics) as ground,
    ):
        most = 0
        crowd = []
        for number in range(16):
            # Some say next to nothing, some half of it, some say it and never read.
            crowd.append(socket.create_connection(listening.parse(one.address)))
            crowd[-1].send((b"\r", b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\n\r\n")[number % 3])
            await asyncio.sleep(0.01)
            most = max(most, len(one._scrapes))
        assert most == 4, "so many at once and no more"
        assert TEXT in await harmless.post(STREAMED)
        assert await ground.post(ASK) == b""
        assert ground.trips
        # Once their time is over, others have a turn.
        found = await scrape(one.address)
        for one_of_them in crowd:
            one_of_them.close()
    assert found["offswitch_tripped", ()] == 1


async def test_one_follows_the_other_at_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scraping, "PACE", 60)
    async with served() as one:
        assert (await scrape(one.address))["offswitch_tripped", ()] == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await scrape(one.address)


async def test_it_goes_on_when_no_file_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept, times = loop.sock_accept, 0

    async def broken(listener: socket.socket) -> Any:
        nonlocal times
        times += 1
        if times < 3:
            raise OSError(24, "Too many open files")
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", broken)
    async with served() as one:
        await scrape(one.address)
    assert times >= 3


# The text


def test_the_text_is_the_one_that_the_client_would_write() -> None:
    metrics = Metrics('a "b"\\c\nd', "r1")
    for number in range(60):
        metrics.called(f'm{number}\n"\\', 1.5, first_byte=2.5e-7, added=1e9, usage=Usage(10**15, 1))
    metrics.judged(Judgement((Finding("kill-path", "stop", "x"),), complete=False), 0.002)
    registry = metrics._registry
    assert list(text_string_to_metric_families(metrics.text().decode())) == list(
        text_string_to_metric_families(generate_latest(registry).decode())
    )
    assert max(piece.count(b"\n") for piece in metrics.pieces()) <= 55, "bit by bit"


@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_numbers_are_kept_in_no_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "/nowhere")
    with pytest.raises(MetricsError, match=f"unset {name}"):
        Metrics("ci")


def test_prometheus_is_loaded_where_it_is_asked_for_alone() -> None:
    code = (
        "import sys; from offswitch.enforce.watchdog import alone, process; from offswitch.cli import watching; "
        "print([one for one in sys.modules if one.startswith('prometheus')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address(text: str, address: tuple[str, int]) -> None:
    assert listening.parse(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "9464", ":9464", "host:", "host:-1", "host:65536", "host:9464x", "host:９", "::1:80", "http://host:80",
     "[]:80", "a b:80", "a\nb:80", "u@host:80", "host:" + "1" * 5000, "127.0.0.1:" + "0" * 5000,
     "127.0.0.1:00000070000", "host:+80", "host: 80", "a\0b:80", "[::1:80", "::1]:80"],
)  # fmt: skip
def test_what_is_no_address_is_one_line(text: str) -> None:
    with pytest.raises(listening.ListenError, match=r"is not HOST:PORT, such as") as refused:
        listening.parse(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid", "a" * 70, "a..b"])
def test_an_address_of_somebody_else_is_one_line(host: str) -> None:
    with pytest.raises(listening.ListenError, match=r"cannot listen on .*name another address"):
        listening.listen(f"{host}:0")


def test_a_port_in_use_is_one_line_and_the_free_one_is_told() -> None:
    with listening.listen("127.0.0.1:0") as first:
        address = listening.taken(first)
        assert listening.parse(address)[1] != 0
        before = os.listdir("/proc/self/fd")
        with pytest.raises(
            listening.ListenError, match=r"metrics: cannot listen on .*: Address already in use"
        ):
            scraping.begin(address, "ci")
        assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "[::1]")])
def test_what_was_taken_can_be_asked(host: str, address: str) -> None:
    with listening.listen(f"{host}:0") as one:
        taken = listening.taken(one)
        assert taken == f"{address}:{one.getsockname()[1]}"
        socket.create_connection(listening.parse(taken)).close()

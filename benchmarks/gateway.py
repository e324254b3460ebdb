"""What the gateway costs: beside a direct call, a bare aiohttp relay and the LiteLLM proxy, all to one local server.

Each is a process of its own; all are asked in turn, request by request, over connections that are kept open, so that
whatever else the machine does falls on all alike. "Added" is the difference of medians (of 99th percentiles) to the
direct call. The gateway judges every tool call with the usual rules; LiteLLM and the relay judge nothing.

Usage: python benchmarks/gateway.py [--json]; RUNS=N (300) requests of each kind, LITELLM=0 leaves LiteLLM out.
"""

import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from _rows import row
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "watchdog"))

from corpus import sizes

RUNS = int(os.environ.get("RUNS", "300"))
MANY = 32
LITELLM = "1.106.2"
HERE = Path(__file__).resolve()
KINDS = ("plain", "streamed", "call", "streamed call", "1 MB")


# The upstream


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    made = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}  # fmt: skip
    return b"data: " + json.dumps(made).encode() + b"\n\n"


def _call(case: sizes.Case) -> dict[str, Any]:
    [call] = case.calls
    return {"id": "call_1", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _whole(message: dict[str, Any], finish: str) -> bytes:
    made = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench",
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}}  # fmt: skip
    return json.dumps(made).encode()


_WORDS = [_chunk({"content": f"word{number} "}) for number in range(20)]
_END = [_chunk({}, "stop"), b"data: [DONE]\n\n"]
_LONG = [_chunk({"content": "x" * 200})] * (1_000_000 // len(_chunk({"content": "x" * 200})))
# A kind's answers are asked for by number: the calls are the commands of two kilobytes that judgements are timed with.
ANSWERS: dict[str, list[Sequence[bytes]]] = {
    "plain": [[_whole({"content": "A short answer."}, "stop")]],
    "call": [[_whole({"content": None, "tool_calls": [_call(case)]}, "tool_calls")] for case in sizes.CASES],
    "streamed": [[*_WORDS, *_END]],
    "streamed call": [
        [_WORDS[0], _chunk({"tool_calls": [{"index": 0, **_call(case)}]}), _chunk({}, "tool_calls"), _END[1]]
        for case in sizes.CASES
    ],
    "1 MB": [[*_LONG, *_END]],
}


async def _answer(request: web.Request) -> web.StreamResponse:
    asked = request.headers.get("X-Kind", "") or (await request.json())["messages"][0]["content"]
    kind, _, number = asked.partition("/")
    pieces = ANSWERS[kind][int(number) % len(ANSWERS[kind])]
    if kind in ("plain", "call"):
        return web.Response(body=pieces[0], content_type="application/json")
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for piece in pieces:
        await answer.write(piece)
    await answer.write_eof()
    return answer


def upstream(port: int) -> None:
    """Be the server."""
    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", _answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


# A relay that does nothing else


def relay(port: int, target: str) -> None:
    """Be the bare relay."""

    async def pass_on(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {"Content-Type": "application/json", "X-Kind": request.headers.get("X-Kind", "")}
        async with request.app["session"].post(target + request.path, data=body, headers=headers) as got:
            if got.headers.get("Content-Type", "").startswith("text/event-stream"):
                answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
                await answer.prepare(request)
                async for data in got.content.iter_any():
                    await answer.write(data)
                await answer.write_eof()
                return answer
            return web.Response(body=await got.read(), content_type="application/json")

    async def begin(app: web.Application) -> None:
        app["session"] = aiohttp.ClientSession(auto_decompress=False)

    app = web.Application(client_max_size=1 << 26)
    app.on_startup.append(begin)
    app.router.add_post("/{rest:.*}", pass_on)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


# Measuring


async def ask(session: aiohttp.ClientSession, url: str, kind: str, number: int = 0) -> tuple[float, float]:
    """One request: seconds to the first byte of the body, and to the last."""
    body = {"model": "bench", "messages": [{"role": "user", "content": f"{kind}/{number}"}],
            "stream": kind not in ("plain", "call"),
            "tools": [{"type": "function", "function": {"name": "bash", "parameters": {}}}]}  # fmt: skip
    start = time.perf_counter()
    async with session.post(
        url, json=body, headers={"X-Kind": f"{kind}/{number}", "Authorization": "Bearer x"}
    ) as answer:
        answer.raise_for_status()
        first = 0.0
        size = 0
        async for data in answer.content.iter_any():
            first = first or time.perf_counter() - start
            size += len(data)
        whole = time.perf_counter() - start
    assert size > 100, f"{url} {kind}: only {size} bytes"
    return first, whole


async def measure(
    targets: dict[str, str], kind: str, clients: int, runs: int
) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each request, by target."""
    taken: dict[str, dict[str, list[float]]] = {name: {"first": [], "whole": []} for name in targets}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        for url in targets.values():
            await asyncio.gather(*(ask(session, url, kind) for _ in range(max(3, clients))))
        for turn in range(max(1, runs // clients)):
            for name, url in targets.items():
                asked = (ask(session, url, kind, turn * clients + number) for number in range(clients))
                for first, whole in await asyncio.gather(*asked):
                    taken[name]["first"].append(first * 1000)
                    taken[name]["whole"].append(whole * 1000)
    return taken


def p99(values: list[float]) -> float:
    return sorted(values)[max(0, round(len(values) * 0.99) - 1)]


def rows_of(taken: dict[str, dict[str, list[float]]], kind: str, clients: int) -> list[dict[str, Any]]:
    made = []
    for when in ("first", "whole"):
        median = {name: statistics.median(one[when]) for name, one in taken.items()}
        late = {name: p99(one[when]) for name, one in taken.items()}
        added = {
            name: round(value - median["direct"], 3) for name, value in median.items() if name != "direct"
        }
        detail = {"median_ms": {name: round(value, 3) for name, value in median.items()},
                  "p99_ms": {name: round(value, 3) for name, value in late.items()}, "added_ms": added,
                  "requests": len(taken["direct"][when]), "clients": clients}  # fmt: skip
        name = (
            f"{kind}, {clients} client{'s' * (clients > 1)}, {'first byte' if when == 'first' else 'whole'}"
        )
        one = clients == 1 and kind != "1 MB"
        made.append(
            row(
                f"added by the gateway: {name}",
                added["gateway"],
                "ms",
                "<= 1" if one else "",
                added["gateway"] <= 1 if one else None,
                **detail,
            )
        )
        slow = late["gateway"] - late["direct"]
        if one:
            made.append(row(f"added at the 99th percentile: {name}", slow, "ms", "<= 5", slow <= 5))
        if "litellm" in added and kind != "1 MB":
            share = added["gateway"] / added["litellm"] if added["litellm"] > 0 else 9.0
            made.append(row(f"of what LiteLLM adds: {name}", share, "x", "<= 1/6", share <= 1 / 6))
        if kind == "1 MB" and when == "whole" and clients == 1:
            ratio = median["gateway"] / median["relay"]
            made.append(row("a stream of 1 MB, over a bare relay", ratio, "x", "<= 1.5", ratio <= 1.5))
    return made


# The processes


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _begin(command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with open(log, "wb") as said:
        return subprocess.Popen(
            command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **environment},
        )  # fmt: skip


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"{process.args!r} does not serve: {log.read_text(errors='replace')[-500:]}")


def litellm() -> str | None:
    """LiteLLM's proxy in an environment of its own; None where it cannot be installed."""
    base = Path("/var/cache/offswitch" if os.geteuid() == 0 else Path.home() / ".cache/offswitch")
    folder = base / f"litellm-{LITELLM}"
    program = folder / "bin/litellm"
    if not (folder / ".installed").exists():
        try:
            base.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
            pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install", "--quiet"]
            subprocess.run([*pip, f"litellm[proxy]=={LITELLM}"], check=True, stdout=sys.stderr)
            (folder / ".installed").touch()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"LiteLLM is left out: {error}", file=sys.stderr)
            return None
    return str(program)


def main() -> None:
    processes = []
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder)
        try:
            ports = {name: free() for name in ("direct", "relay", "gateway", "litellm")}
            server = f"http://127.0.0.1:{ports['direct']}"
            begun = {
                "direct": _begin([sys.executable, str(HERE), "upstream", str(ports["direct"])], logs / "direct"),
                "relay": _begin([sys.executable, str(HERE), "relay", str(ports["relay"]), server], logs / "relay"),
                "gateway": _begin(
                    [sys.executable, "-m", "offswitch", "watch", "--listen", f"127.0.0.1:{ports['gateway']}",
                     "--upstream", f"openai={server}/v1", "--records", str(logs / "records"),
                     "--policy", str(_policy(logs))],
                    logs / "gateway", OPENAI_API_KEY="sk-bench",
                ),
            }  # fmt: skip
            targets = {
                "direct": f"{server}/v1/chat/completions",
                "relay": f"http://127.0.0.1:{ports['relay']}/v1/chat/completions",
                "gateway": f"http://127.0.0.1:{ports['gateway']}/openai/chat/completions",
            }
            program = litellm() if os.environ.get("LITELLM") != "0" else None
            if program is not None:
                config = {"model_list": [{"model_name": "bench", "litellm_params": {
                    "model": "openai/bench", "api_base": f"{server}/v1", "api_key": "x"}}]}  # fmt: skip
                (logs / "litellm.json").write_text(json.dumps(config))
                where = ["--host", "127.0.0.1", "--port", str(ports["litellm"])]
                begun["litellm"] = _begin(
                    [program, "--config", str(logs / "litellm.json"), *where],
                    logs / "litellm", LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_LOG="ERROR",
                    LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY="true",
                )  # fmt: skip
                targets["litellm"] = f"http://127.0.0.1:{ports['litellm']}/v1/chat/completions"
            processes = list(begun.values())
            for name, process in begun.items():
                _await_port(ports[name], process, logs / name)
            for clients in (1, MANY):
                for kind in KINDS:
                    runs = RUNS if kind != "1 MB" else max(10, RUNS // 10)
                    print(f"{kind}, {clients} clients ...", file=sys.stderr, flush=True)
                    rows += rows_of(asyncio.run(measure(targets, kind, clients, runs)), kind, clients)
        finally:
            for process in processes:
                process.send_signal(signal.SIGKILL)
                process.wait()
    print(json.dumps(rows))


def _policy(folder: Path) -> Path:
    """The usual rules but that equal calls, of which a benchmark is full, are no stalling, and time is not short."""
    path = folder / "policy.yaml"
    path.write_text("version: 1\nwatch:\n  stall: {identical: 1000000}\n  decide_within: 5s\n")
    return path


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["upstream", port]:
            upstream(int(port))
        case ["relay", port, target]:
            relay(int(port), target)
        case _:
            main()

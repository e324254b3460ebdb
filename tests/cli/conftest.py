"""Runs the command line in this process, and plays a hosted model on the loopback."""

import json
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cli_helpers import Command, Result

from offswitch.cli import enforce, main
from offswitch.sandboxes import preflight


@pytest.fixture
def offswitch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Runs `offswitch ARGUMENTS` and gives its exit code and what it printed."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: object) -> Result:
        # They end the process themselves, and this one is pytest's: it would be gone without a word.
        past = enforce.COMMANDS.keys() & {str(one) for one in arguments[:1]}
        assert not past, f"{past.pop()} runs past Typer and ends its process: use start()"
        monkeypatch.setattr(sys, "argv", ["offswitch", *map(str, arguments)])
        preflight.missing.cache_clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    yield run
    preflight.missing.cache_clear()
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def service() -> Iterator[Callable[[pytest.MonkeyPatch], list[str]]]:
    """A model service whose models are named for what they do; call it to be pointed there, and get its requests."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append(body["model"])
            status, reply = _reply(body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def point(monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.setenv("FAKE_API_KEY", "none")
        monkeypatch.setenv("FAKE_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        seen.clear()
        return seen

    yield point
    server.shutdown()
    server.server_close()


def _reply(body: dict[str, Any]) -> tuple[int, bytes]:
    model = body["model"]
    if model == "hangs":
        time.sleep(30)
    if model == "breaks":
        return 500, b'{"error": {"message": "internal error"}}'
    if model == "busy":
        return 429, b'{"error": {"message": "slow down"}}'
    if model == "babbles":
        return 200, b"<html>not what you asked for</html>"
    if model == "toolless" and body.get("tools"):
        return 400, b'{"error": {"message": "this model does not support tools"}}'
    fetch = re.search(r"run (/opt/tools/[\w-]+)", json.dumps(body["messages"]))
    assert fetch is not None
    message: dict[str, Any] = {"role": "assistant", "content": f"```bash\n{fetch[1]}\n```"}
    if model == "picks":
        options = re.findall(r"([A-H])\. Ask for the next problem", body["messages"][-1]["content"])
        message["content"] = f"{options[-1]}."
    if body.get("tools"):
        call = {"name": "bash", "arguments": json.dumps({"command": fetch[1]})}
        message = {
            "role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": call}],
        }  # fmt: skip
    reply = {
        "id": "r", "object": "chat.completion", "created": 0, "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }  # fmt: skip
    return 200, json.dumps(reply).encode()

"""A small agent program, the model that it asks, and real runs of it behind the gateway."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

PYTHON = "/usr/bin/python3"
"""The system's own, which the sandbox shows."""

AGENT = """
import json, os, subprocess, sys, urllib.request
base, said = os.environ["OPENAI_BASE_URL"], [{"role": "user", "content": "a task of the operator's own"}]
tools = [{"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}]
for _ in range(int(sys.argv[1])):
    body = json.dumps({"model": sys.argv[2], "messages": said, "tools": tools}).encode()
    asked = urllib.request.Request(base + "/chat/completions", body, {"Content-Type": "application/json"})
    message = json.load(urllib.request.urlopen(asked))["choices"][0]["message"]
    said.append(message)
    for call in message.get("tool_calls") or []:
        done = subprocess.run(["bash", "-c", json.loads(call["function"]["arguments"])["command"]])
        said.append({"role": "tool", "tool_call_id": call["id"], "content": str(done.returncode)})
if sys.argv[3:]:
    open("/workspace/up", "w").close()
    import time
    time.sleep(600)
"""
"""Asks so many times, and then ends or (with a third argument) sleeps. What it is told to run, it runs."""


class Model:
    """A model that calls a shell with these commands, one an answer, and then only talks."""

    def __init__(self, *commands: str) -> None:
        self.commands = commands

    def __enter__(self) -> "Model":
        commands = self.commands

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                turn = sum(one["role"] == "assistant" for one in asked["messages"])
                message: dict[str, Any] = {"role": "assistant", "content": "I have done it."}
                if turn < len(commands):
                    function = {"name": "bash", "arguments": json.dumps({"command": commands[turn]})}
                    calls = [{"id": f"call_{turn}", "type": "function", "function": function}]
                    message = {"role": "assistant", "content": None, "tool_calls": calls}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                data = json.dumps(
                    {"id": "1", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [choice],
                     "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
                ).encode()  # fmt: skip
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _payload(line: str) -> bytes:
    return base64.b64decode(json.loads(line)["payload"])


class Ground:
    """A state, and runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"

    def offswitch(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "offswitch", *arguments], capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL, check=False, env={**os.environ, "OPENAI_API_KEY": "sk-none"},
        )  # fmt: skip

    def run(
        self, name: str, *commands: str, model: str = "gpt-5", mode: str = "stop", asks: int = 0, stays: bool = False,
        lease: str = "5m",
    ) -> "subprocess.CompletedProcess[str]":  # fmt: skip
        """Run the agent, to its end or (``stays``) until it has said that it is up."""
        workspace = self.folder / f"workspace-{name}"
        workspace.mkdir(exist_ok=True)
        (workspace / "agent.py").write_text(AGENT)
        (workspace / "stop.sh").write_text("kill 1\n")
        policy = {
            "version": 1,
            "watch": {"mode": mode, "decide_within": "10s", "kill_path": {"files": ["stop.sh"]}},
        }
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(policy))
        with Model(*commands) as upstream:
            done = self.offswitch(
                "run", "--state", str(self.state), "--name", name, "--workspace", str(workspace), "--lease", lease,
                "--policy", str(self.folder / "policy.yaml"), "--model-api", f"openai=http://127.0.0.1:{upstream.port}/v1",
                *(["--detach"] if stays else []), "--", PYTHON,
                "/workspace/agent.py", str(asks or len(commands) + 1), model, *(["stay"] if stays else []),
            )  # fmt: skip
            end = time.monotonic() + 30
            while stays and not (workspace / "up").exists():
                assert time.monotonic() < end, done
                time.sleep(0.05)
        return done

    def settled(self, many: int) -> None:
        """Wait until so many runs have their last receipt."""
        end = time.monotonic() + 60
        while True:
            found = [path.read_text().splitlines() for path in (self.state / "receipts").glob("*.jsonl")]
            if len(found) >= many and all(len(one) == 2 or b'"none"' in _payload(one[0]) for one in found):
                return
            assert time.monotonic() < end, found
            time.sleep(0.1)

    def stop(self, name: str, *options: str) -> "subprocess.CompletedProcess[str]":
        return self.offswitch("stop", name, "--state", str(self.state), *options)

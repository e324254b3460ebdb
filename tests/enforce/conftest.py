"""A place for supervised agents, in which nothing is left behind."""

import base64
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from offswitch.enforce import control, latch, launching, places
from offswitch.sandboxes import preflight
from offswitch.trust import receipts


def eventually(holds: Callable[[], object], within: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, f"{holds} did not come to hold within {within} s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class Ground:
    """Places and a workspace of one test, and the agents that it started."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        self.places = places.find(str(self.state))
        self.started: list[launching.Running] = []

    def plan(self, script: str, **changed: Any) -> dict[str, Any]:
        return {
            "name": "agent", "argv": ["bash", "-c", script], "environment": {}, "workspace": str(self.workspace),
            "read": [], "memory": 512 << 20, "pids": 256, "lease_s": 120, "lease_max_s": None, "sandbox": "bubblewrap",
            "options": {}, "hosts": [], "proxy": None, "trusted": [], "own": [], "loosening": [],
            "needed": {}, "interrupt": "",
            "policy": None, **changed,
        }  # fmt: skip

    def start(
        self, script: str, *, detached: bool = True, terminal: bool = False, **changed: Any
    ) -> launching.Running:
        running = launching.launch(
            self.plan(script, **changed), self.places, terminal=terminal, tether=not detached
        )
        self.started.append(running)
        return running

    def up(self, script: str, **changed: Any) -> launching.Running:
        """Start an agent and wait until it has said so, by a file in its workspace."""
        running = self.start(f"{script}\ntouch up; while :; do sleep 0.1; done", **changed)
        eventually((self.workspace / "up").exists)
        return running

    def ask(self, name: str = "agent", timeout: float = 20.0, **request: Any) -> dict[str, Any]:
        with control.connect(self.places, name) as line:
            return control.ask(line, request, timeout)

    def status(self, name: str = "agent") -> dict[str, Any]:
        status: dict[str, Any] = self.ask(name, do="status")["status"]
        return status

    def receipts(self, running: launching.Running) -> list[dict[str, Any]]:
        path = Path(self.places.receipts, f"{running.name}-{running.run}.jsonl")
        return [opened(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def account(self, name: str = "agent") -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for line in Path(self.places.logs(name), "account.jsonl").read_text().splitlines()
        ]

    def latched(self, name: str = "agent") -> dict[str, Any] | None:
        return next((record for found, record, _ in latch.read(self.places) if found == name), None)

    def family(self, running: launching.Running) -> dict[str, int]:
        """Pids of the parts around a running agent: supervisor, guard, scribe, cell."""
        parts = {"supervisor": running.supervisor}
        parts["guard"] = _parent(running.supervisor)
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with suppress(OSError):
                if _parent(pid) == running.supervisor:
                    name = Path(f"/proc/{pid}/comm").read_text().strip()
                    parts["cell" if name == "sh" else name] = pid
        return parts

    def processes(self) -> list[int]:
        """Every process of the agents: those that see the workspace as /workspace."""
        about = self.workspace.stat()
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with suppress(OSError):
                seen = os.stat(f"/proc/{pid}/root/workspace")
                if (seen.st_dev, seen.st_ino) == (about.st_dev, about.st_ino) and alive(pid):
                    found.append(pid)
        return found

    def close(self) -> None:
        for running in self.started:
            with suppress(control.NotRunning, control.Lost):
                self.ask(running.name, do="stop", order=None)
        for running in self.started:
            with suppress(AssertionError):
                eventually(lambda pid=running.supervisor: not alive(pid), 10)  # type: ignore[misc]
            with suppress(ProcessLookupError):
                os.kill(running.supervisor, signal.SIGKILL)
        assert not self.processes()


def opened(envelope: dict[str, Any]) -> dict[str, Any]:
    """The receipt in an envelope, of the shape that its schema says."""
    held: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    jsonschema.validate(held, json.loads(receipts.schema("receipt")))
    return held


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    problem = preflight.missing()
    if problem is not None:
        pytest.skip(problem)
    one = Ground(tmp_path)
    yield one
    one.close()

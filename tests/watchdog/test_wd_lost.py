"""The loss of a part that watches stops the agent: a plain program in bubblewrap, each part killed and frozen."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_wd_watch import until

POLICY = "version: 1\nwatch:\n  kill_path:\n    files: [stop.sh]\n"
AGENT = "echo up >up; while :; do echo beat >>beats; sleep 0.05; done"


class Watched:
    """An agent that writes as long as it lives, with a gateway and a second sense."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workspace = folder, folder / "work"
        self.workspace.mkdir()
        (self.workspace / "stop.sh").write_text("kill 1\n")
        (folder / "policy.yaml").write_text(POLICY)

    def offswitch(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        verb, *rest = arguments
        return subprocess.run(
            [sys.executable, "-m", "offswitch", verb, "--state", str(self.folder / "state"), *rest],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "OPENAI_API_KEY": "sk-real"},
        )  # fmt: skip

    def run(self) -> None:
        done = self.offswitch(
            "run", "--name", "watched", "--workspace", str(self.workspace), "--detach",
            "--policy", str(self.folder / "policy.yaml"), "--model-api", "openai=http://127.0.0.1:9/v1",
            "--", "/bin/sh", "-c", AGENT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        until((self.workspace / "up").exists)

    def part(self, role: str) -> int:
        """The pid of a part of the agent's supervisor."""
        [status] = json.loads(self.offswitch("ps", "--json").stdout)
        supervisor = status["supervisor"]
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        [found] = [pid for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == role]
        return int(found)

    def stop(self) -> dict[str, Any] | None:
        """What the account says of its stop, once it has ended."""
        path = self.folder / "state/logs/watched/account.jsonl"
        events = {one["event"]: one for one in map(json.loads, path.read_text().splitlines())}
        return events.get("stop") if {"dead", "receipt"} & {*events} else None


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    one = Watched(tmp_path)
    yield one
    one.offswitch("stop", "--all")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        # It is missed only after a while.
        pytest.param(signal.SIGSTOP, id="frozen", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("role", ["gateway", "sense"])
def test_without_a_part_that_watches_there_is_no_agent(
    watched: Watched, role: str, number: signal.Signals
) -> None:
    watched.run()
    os.kill(watched.part(role), number)
    until(watched.stop)
    size = (watched.workspace / "beats").stat().st_size
    stop = watched.stop()
    assert stop is not None
    assert role in str(stop["reason"])
    assert stop["origin"] == "supervisor"
    time.sleep(0.2)
    assert (watched.workspace / "beats").stat().st_size == size, "it is dead"

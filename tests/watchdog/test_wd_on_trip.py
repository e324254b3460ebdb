"""`offswitch watch --on-trip stop:NAME`: a trip stops an agent that runs on this host."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from test_wd_watch import ask, model, until, watching

__all__ = ["model"]


def offswitch(verb: str, state: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "offswitch", verb, "--state", state, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def account(state: str, event: str) -> list[dict[str, Any]]:
    lines = Path(state, "logs/sleeper/account.jsonl").read_text().splitlines()
    return [one for one in map(json.loads, lines) if one["event"] == event]


def test_a_trip_stops_the_agent_that_it_names(model: str, tmp_path: Path) -> None:
    state, work = str(tmp_path / "state"), tmp_path / "work"
    work.mkdir()
    done = offswitch(
        "run", state, "--name", "sleeper", "--workspace", str(work), "--detach", "--", "/bin/sleep", "600"
    )
    try:
        assert done.returncode == 0, done.stderr
        said = tmp_path / "said"
        with watching(model, tmp_path, "--on-trip", "stop:sleeper", "--state", state) as (process, address):
            assert account(state, "dead") == []
            ask(address)
            until(lambda: "stop:sleeper done" in said.read_text())
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 1
        assert "no such agent" not in said.read_text()
        assert len(account(state, "dead")) == 1
        [stop] = account(state, "stop")
        assert "watchdog: kill-path: " in str(stop["reason"])
    finally:
        offswitch("stop", state, "--all")


def test_a_name_that_nobody_has_is_said_at_the_start(model: str, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with watching(model, tmp_path, "--on-trip", "stop:sleepr", "--state", state) as (process, _):
        until(lambda: "stop:sleepr: no such agent runs now" in (tmp_path / "said").read_text())
        assert process.poll() is None

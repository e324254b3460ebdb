"""Real agent programs, unchanged, under offswitch: they do their work, and they are stopped in the middle of it.

Each is installed once (minutes, hundreds of megabytes) and works against a scripted model server in the place of a
paid model API, through the proxy and the policy that the sandbox has.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from model_server import ModelServer, Run, Turn
from programs import PROGRAMS, Installed

_START_S = 120
_COMMAND_S = 60


@dataclass
class Bench:
    """Where one agent program is started and stopped, by the command line alone.

    Attributes:
        installed: The program.
        name: The name that it runs under.
        mark: A word that all of its processes carry in their environment.
        folder: A folder of the test.
    """

    installed: Installed
    name: str
    mark: str
    folder: Path

    @property
    def workspace(self) -> Path:
        return self.folder / "work"

    def offswitch(
        self, command: str, *arguments: str, limit: float = _COMMAND_S
    ) -> "subprocess.CompletedProcess[str]":
        """Run one command of offswitch; ``run`` takes the agent's own command after ``--`` in ``arguments``."""
        return subprocess.run(
            [sys.executable, "-m", "offswitch", command, "--state", str(self.folder / "state"), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
        )

    def run(self, server: ModelServer, *options: str) -> "subprocess.CompletedProcess[str]":
        """Start the program: its prompt says nothing, for the server's script decides what it does."""
        policy = {
            "version": 1,
            "network": {"hosts": [f"127.0.0.1:{server.port}"]},
            "read": list(self.installed.read),
            "environment": {**self.installed.environment(server.address), "TEST_MARK": self.mark},
        }
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(policy))
        return self.offswitch(
            "run", "--name", self.name, "--workspace", str(self.workspace),
            "--policy", str(self.folder / "policy.yaml"), "--lease", "10m", *options,
            "--", *self.installed.argv(server.address, "Do the work."), limit=_START_S,
        )  # fmt: skip

    def json(self, command: str, *arguments: str) -> Any:
        """What a command prints as JSON; it has to succeed."""
        done = self.offswitch(command, "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def processes(self) -> dict[int, str]:
        """Every live process on this host that carries the mark, with its command."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environment:
                    if self.mark.encode() not in environment.read():
                        continue
                with open(f"/proc/{pid}/cmdline", "rb") as command:
                    found[int(pid)] = command.read().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
        return found

    def commands(self, beginning: str) -> int:
        """How many of them have a command that begins so."""
        return sum(command.startswith(beginning) for command in self.processes().values())

    def told(self) -> str:
        """What offswitch and the agent said, for a failed test."""
        done = self.offswitch("logs", self.name)
        return f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"


@pytest.fixture
def bench(installed: Installed, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(installed, installed.program.name, f"mark-{uuid.uuid4().hex}", tmp_path)
    bench.workspace.mkdir()
    yield bench
    bench.offswitch("stop", "--all")
    # Even where offswitch failed, nothing of it may stay.
    for pid in bench.processes():
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue


def wait_for(what: Callable[[], bool], limit: float) -> bool:
    end = time.monotonic() + limit
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def at_least(count: int | None, least: int) -> bool:
    """Whether there are so many; without a control group nobody counts."""
    return count is None or count >= least


@pytest.mark.slow
def test_an_agent_program_does_its_work(bench: Bench) -> None:
    script: list[Turn] = [Run("echo done > /workspace/result; id -u"), bench.installed.program.last]

    with ModelServer(script) as server:
        done = bench.run(server)

    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert (bench.workspace / "result").read_text() == "done\n"
    assert (bench.workspace / "result").stat().st_uid == os.geteuid()
    asked = [one for one in server.asked if one.turn is not None]
    assert [one.turn for one in asked] == [0, 1]
    assert {(one.path, one.streamed) for one in asked} == {
        (bench.installed.program.api, bench.installed.program.streams)
    }
    assert bench.processes() == {}


@pytest.mark.slow
def test_an_agent_program_is_stopped_in_the_middle_of_a_command(bench: Bench) -> None:
    # One command that stays, and one behind it in the background; no `sleep`, which claude-code refuses.
    stays = "tail -f /dev/null & echo started > /workspace/started; exec tail -f /dev/null"
    script: list[Turn] = [Run("echo first > /workspace/first"), Run(stays)]

    with ModelServer(script) as server:
        done = bench.run(server, "--detach")
        assert done.returncode == 0, done.stderr
        assert wait_for((bench.workspace / "started").exists, _START_S), bench.told()
        assert (bench.workspace / "first").read_text() == "first\n"
        assert server.turns() == [0, 1]

        # It is watched: the program and both of its commands are there.
        assert wait_for(lambda: bench.commands("tail ") == 2, _COMMAND_S), bench.processes()
        before = bench.processes()
        assert any(bench.installed.program.command in command for command in before.values()), before
        (row,) = bench.json("ps")
        assert row["name"] == bench.name
        assert row["state"] == "running"
        assert at_least(row["processes"], 3)

        stopped = bench.json("stop", bench.name)

        assert bench.processes() == {}
        assert stopped["dead"] is True
        assert at_least(stopped["receipt"]["killed"], 3)
        assert stopped["receipt"]["survivors"] == []
        # It asked for nothing more, and did nothing more.
        assert server.turns() == [0, 1]
        assert not bench.json("ps")[0]["processes"]
        # The supervisor looks for two more seconds whether anything comes back.
        assert wait_for(lambda: bench.json("ps")[0]["state"] == "latched", _COMMAND_S), bench.json("ps")
        again = bench.run(server, "--detach")
        assert again.returncode == 125
        assert "reset" in again.stderr
        assert bench.processes() == {}


def test_the_documentation_names_what_is_tried() -> None:
    page = (Path(__file__).parents[2] / "docs/agents.md").read_text(encoding="utf-8")

    assert [program.name for program in PROGRAMS if f"\n## {program.name}\n" not in page] == []
    assert [program.name for program in PROGRAMS if f"{program.name} {program.version}" not in page] == []

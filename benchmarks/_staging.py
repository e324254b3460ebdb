"""Staging a payload: as an agent of offswitch, or in a bubblewrap sandbox that a bare script has made."""

import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import _payloads
from _watching import Eye, group_of, groups_of, namespace, parent, reap, running, unified, until, within

from offswitch.enforce import control, launching, ordering, places, planning

BARE = [
    "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr",
    "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
    "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
]  # fmt: skip
"""A bare bubblewrap sandbox, up to its command."""

SMALL = ["sh", "-c", "touch up; while :; do sleep 1000; done"]
"""An agent that only sleeps."""


class Stage:
    """A folder for a benchmark's agents; leaves nothing."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="offswitch-bench-"))
        self.places = places.find(str(self.folder / "state"))
        self._count = 0

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        reap()
        shutil.rmtree(self.folder, ignore_errors=True)

    def workspace(self) -> Path:
        """A fresh folder."""
        self._count += 1
        folder = self.folder / f"w{self._count}"
        folder.mkdir()
        return folder

    def plan(self, name: str, workspace: Path, argv: list[str]) -> dict[str, Any]:
        """What a supervisor is told, for ``launching.launch``."""
        return planning.plan(
            self.places, argv, name=name, workspace=str(workspace), lease=600, memory=1 << 30, pids=512,
            own=ordering.own_key(self.places),
        )  # fmt: skip


class Agent:
    """An agent of offswitch that is up.

    Attributes:
        started: Seconds that ``launch`` took.
        pid: Its program's pid on the host.
    """

    def __init__(self, stage: Stage, argv: list[str], name: str | None = None) -> None:
        workspace = stage.workspace()
        self.stage = stage
        self.name = name or workspace.name
        began = time.monotonic()
        self.running = launching.launch(stage.plan(self.name, workspace, argv), stage.places, tether=False)
        self.started = time.monotonic() - began
        until((workspace / "up").exists, 60, "the payload did not come up")
        account = Path(stage.places.logs(self.name), "account.jsonl")
        until(lambda: account.exists() and "started" in account.read_text(), 20, "no account of the start")
        self.pid = int(json.loads(account.read_text().splitlines()[0])["pid"])
        self.group = group_of(self.pid)
        self._groups = groups_of(self.pid)
        self.guard = parent(self.running.supervisor)

    def stop(self, line: Any) -> dict[str, Any]:
        """What the receipt says, once ``control.send`` has ordered the stop on ``line``."""
        answer, _ = control.receive(line, 60)
        receipt: dict[str, Any] = json.loads(base64.b64decode(answer["receipt"]["payload"]))
        return receipt

    def clear(self) -> None:
        """Cut short the two seconds in which the dead sandbox is still looked at, and remove what is left."""
        for pid in (self.guard, self.running.supervisor):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not running(self.running.supervisor) and not running(self.guard), 20, "no end")
        reap()
        for group in self._groups:
            for folder in (group, os.path.dirname(group)):
                with suppress(OSError):
                    os.rmdir(folder)
        shutil.rmtree(self.stage.places.agent(self.name), ignore_errors=True)


def supervised(stage: Stage, payload: str, pause: float) -> dict[str, Any]:
    """One stop of one payload under offswitch; times in ms."""
    agent = Agent(stage, _payloads.command(payload))
    try:
        number = namespace(agent.pid)
        eye = Eye(agent.group, agent.pid)
        with control.connect(stage.places, agent.name) as line:
            time.sleep(pause)
            sent = time.monotonic_ns()
            control.send(line, {"do": "stop", "order": None})
            empty, gone = eye.wait(30)
            receipt = agent.stop(line)
        answered = time.monotonic_ns()
        survivors = len(within(number))
        eye.close()
        times = {word: at["monotonic_us"] * 1000 for word, at in receipt["times"].items() if at}
        seen = max(at for at in (empty, gone) if at is not None) if gone is not None else None
        return {
            "receipt": _ms(times["ordered"], times.get("dead")),
            "killed": _ms(times["ordered"], times["killed"]),
            "accepted": _ms(sent, times["ordered"]),
            "empty": _ms(times["ordered"], empty),
            "seen": _ms(times["ordered"], seen),
            "answer": _ms(sent, answered),
            "survivors": survivors + len(receipt["survivors"]) + (not receipt["dead"]),
        }
    finally:
        agent.clear()


def bare(stage: Stage, payload: str, pause: float) -> dict[str, Any]:
    """One kill of one payload by a bare script: ``cgroup.kill``, then a poll until ``populated 0``; times in ms."""
    workspace = stage.workspace()
    top = unified()
    assert top is not None
    group = f"{top}/bench-{os.getpid()}-{workspace.name}"
    os.mkdir(group)
    process = None
    try:
        process = subprocess.Popen(
            [
                "sh", "-c", f'echo 0 > {group}/cgroup.procs && exec "$@"', "sh", *BARE, "--bind", str(workspace),
                "/workspace", "--chdir", "/workspace", "--", *_payloads.command(payload),
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        until((workspace / "up").exists, 60, "the payload did not come up")
        pids = map(int, Path(group, "cgroup.procs").read_text().split())
        inside = next(pid for pid in pids if namespace(pid) != namespace(os.getpid()))
        eye = Eye(group, inside)
        kill = os.open(group + "/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
        time.sleep(pause)
        sent = time.monotonic_ns()
        os.write(kill, b"1")
        empty, gone = eye.wait(30)
        survivors = len(within(eye.number))
        os.close(kill)
        eye.close()
        process.wait()
        return {"empty": _ms(sent, empty), "seen": _ms(sent, gone), "survivors": survivors + (empty is None)}
    finally:
        Path(group, "cgroup.kill").write_text("1")
        if process is not None:
            process.wait()
        until(lambda: "populated 0" in Path(group, "cgroup.events").read_text(), 20, "no end")
        os.rmdir(group)


def _ms(start: int, end: int | None) -> float | None:
    return None if end is None else (end - start) / 1e6

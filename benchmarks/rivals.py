"""Other ways to stop an agent, on the same payloads: how long until the last process is gone, and what is left.

- ``podman kill`` and ``podman stop`` (with its 10 s), ``runc kill ID KILL``: the payload is a container's program.
- ``kill`` of the process group, with SIGTERM and with SIGKILL: the payload runs as a shell would start it.
- ``agent-killswitch`` (PyPI): an agent that checks the switch before each of its steps, as the package's own
  description has it, and the payload as its command. The package sets a flag; no process is sent a signal.
- offswitch itself, for the same table.

The time goes from just before the command is given to the end of the container's PID namespace, or to the control
group's ``populated 0`` where there is no such namespace. What still runs ``LOOK`` seconds after the order, or when a
command that takes longer returns, has survived.

Usage: rivals.py [--json] [--quick]
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import _payloads
from _staging import Stage, supervised
from _watching import Eye, namespace, reap, running, unified, until

from offswitch.sandboxes import preflight

RUNS = 30
"""Runs of each payload."""
SLOW = 2
"""Runs of each payload where one takes 10 s."""
LOOK = 1.0
"""Seconds after which what still runs has survived."""


class Stopped(NamedTuple):
    """One stop: milliseconds until the last process was gone (None if it was not), and those that were left."""

    ms: float | None
    survivors: int
    said_ms: float


@contextmanager
def grouped(name: str) -> Iterator[str]:
    """A control group of version 2; what is in it ends with it."""
    top = unified()
    assert top is not None
    group = f"{top}/bench-{os.getpid()}-{name}"
    os.mkdir(group)
    try:
        yield group
    finally:
        Path(group, "cgroup.kill").write_text("1")
        until(lambda: "populated 0" in Path(group, "cgroup.events").read_text(), 20, "no end")
        os.rmdir(group)


def _left(group: str) -> int:
    with suppress(OSError):
        return sum(running(int(pid)) for pid in Path(group, "cgroup.procs").read_text().split())
    return 0


def _timed(eye: Eye, act: list[str] | None, order: Any = None) -> tuple[float | None, float]:
    """Give an order; milliseconds until the end was seen, and until the command had returned."""
    sent = time.monotonic_ns()
    process = subprocess.Popen(act, stdout=subprocess.DEVNULL) if act is not None else None
    if order is not None:
        order()
    seen = [at for at in eye.wait(LOOK if process is None else 15) if at is not None]
    if process is not None:
        process.wait()
    said = time.monotonic_ns()
    time.sleep(max(0.0, LOOK - (said - sent) / 1e9) if not seen else 0)
    return ((seen[0] - sent) / 1e6 if seen else None), (said - sent) / 1e6


def process_group(number: signal.Signals) -> Any:
    """``kill -NUMBER -- -PGID``."""

    def stop(stage: Stage, payload: str) -> Stopped:
        workspace = stage.workspace()
        with grouped(workspace.name) as group:
            process = subprocess.Popen(
                ["sh", "-c", f'echo 0 > {group}/cgroup.procs && exec "$@"', "sh", *_payloads.command(payload)],
                cwd=workspace, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            until((workspace / "up").exists, 60, "the payload did not come up")
            eye = Eye(group, None)
            ms, said = _timed(eye, None, lambda: os.killpg(process.pid, number))
            survivors = _left(group)
            eye.close()
        process.wait()
        reap()
        return Stopped(ms, survivors, said)

    return stop


class Containers:
    """Containers whose system is the host's /usr.

    Args:
        stage: Where to make them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "root"
        for name in ("usr", "proc", "dev", "sys", "tmp", "etc", "run", "var", "workspace"):
            (self.root / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64", "sbin"):
            (self.root / name).symlink_to("usr/" + name)
        self._podman = [
            "podman", "--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--runtime", "runc",
            "--cgroup-manager", "cgroupfs", "--events-backend", "none",
        ]  # fmt: skip

    def podman(self, command: list[str]) -> Any:
        """Stop by a command of podman's, to which the container's name is added."""

        def stop(stage: Stage, payload: str) -> Stopped:
            workspace, name = stage.workspace(), f"bench-{os.getpid()}-{time.monotonic_ns()}"
            _quiet(
                *self._podman, "run", "-d", "--name", name, "--network", "none", "--ulimit", "nofile=1024:1024",
                "--ulimit", "nproc=4096:4096", "-v", "/usr:/usr:ro", "-v", f"{workspace}:/workspace",
                "-w", "/workspace", "--rootfs", str(self.root), *_payloads.command(payload),
            )  # fmt: skip
            try:
                until((workspace / "up").exists, 60, "the payload did not come up")
                pid = int(_quiet(*self._podman, "inspect", "-f", "{{.State.Pid}}", name))
                return self._stopped(pid, [*self._podman, *command, name])
            finally:
                _quiet(*self._podman, "rm", "-f", "-t", "0", name)
                reap()

        return stop

    def runc(self, stage: Stage, payload: str) -> Stopped:
        """``runc kill ID KILL``."""
        workspace, name = stage.workspace(), f"bench-{os.getpid()}-{time.monotonic_ns()}"
        bundle = workspace.with_name(workspace.name + "-bundle")
        bundle.mkdir()
        subprocess.run(["runc", "spec"], cwd=bundle, check=True)
        config = json.loads((bundle / "config.json").read_text())
        config["process"].update(terminal=False, args=_payloads.command(payload), cwd="/workspace")
        config["process"]["rlimits"] = []
        config["root"] = {"path": str(self.root), "readonly": False}
        for source, target, how in (("/usr", "/usr", "ro"), (str(workspace), "/workspace", "rw")):
            bind = {"destination": target, "type": "bind", "source": source, "options": ["rbind", how]}
            config["mounts"].append(bind)
        (bundle / "config.json").write_text(json.dumps(config))
        runc = ["runc", "--root", str(self._folder / "runc")]
        # Its streams are the container's.
        subprocess.run(
            [*runc, "run", "-d", "--bundle", str(bundle), name], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=60,
        )  # fmt: skip
        try:
            until((workspace / "up").exists, 60, "the payload did not come up")
            pid = int(json.loads(_quiet(*runc, "state", name))["pid"])
            return self._stopped(pid, [*runc, "kill", name, "KILL"])
        finally:
            reap()
            _quiet(*runc, "delete", "-f", name)

    def _stopped(self, pid: int, command: list[str]) -> Stopped:
        eye = Eye(None, pid)
        ms, said = _timed(eye, command)
        survivors = _within(eye.number)
        eye.close()
        return Stopped(ms, survivors, said)


def unmount(folder: Path) -> None:
    """Take away what podman has mounted below a folder; its own cleanup runs on when a container has been removed."""

    def left() -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [path for path in (line.split()[4] for line in lines) if path.startswith(f"{folder}/")]

    def gone() -> bool:
        for path in reversed(left()):
            subprocess.run(["umount", path], stderr=subprocess.DEVNULL)
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    until(gone, 60, f"{folder} cannot be removed")


def _within(number: int) -> int:
    found = 0
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            found += namespace(pid) == number and running(pid)
    return found


def _quiet(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise SystemExit(f"{' '.join(command)[:200]} ended with {done.returncode}: {lines[-1:]}")
    return done.stdout.decode()


AGENT = r"""
import subprocess, sys, threading, time
from agent_killswitch import KillLevel, KillScope, KillSwitch
from agent_killswitch.decorators import killswitch_protected

switch = KillSwitch()

@killswitch_protected(killswitch=switch, agent_id="agent")
def step():
    try:
        command.wait(0.01)
    except subprocess.TimeoutExpired:
        pass

def operator():
    sys.stdin.readline()
    event = switch.activate(KillLevel.KILL, KillScope.GLOBAL, reason="emergency shutdown")
    print(event.latency_ms, flush=True)

threading.Thread(target=operator).start()
command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
while True:
    step()
"""


class Switch:
    """The PyPI package agent-killswitch, in an environment of its own.

    Args:
        folder: Where to make that.
    """

    def __init__(self, folder: Path) -> None:
        self._python = str(folder / "bin/python")
        self.flags: list[float] = []
        """Milliseconds until the flag was set, in the package's own words."""
        _quiet(sys.executable, "-m", "venv", str(folder))
        _quiet(
            self._python,
            "-m",
            "pip",
            "-q",
            "--disable-pip-version-check",
            "install",
            "agent-killswitch==0.1.0",
        )

    def __call__(self, stage: Stage, payload: str) -> Stopped:
        """Give its order."""
        workspace = stage.workspace()
        with grouped(workspace.name) as group:
            agent = subprocess.Popen(
                ["sh", "-c", f'echo 0 > {group}/cgroup.procs && exec "$@"', "sh"]  # noqa: RUF005
                + [self._python, "-c", AGENT, *_payloads.command(payload)],
                cwd=workspace, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            until((workspace / "up").exists, 60, "the payload did not come up")
            assert agent.stdin is not None
            assert agent.stdout is not None
            eye = Eye(group, None)

            def order() -> None:
                os.write(agent.stdin.fileno(), b"\n")  # type: ignore[union-attr]
                self.flags.append(float(agent.stdout.readline()))  # type: ignore[union-attr]

            ms, said = _timed(eye, None, order)
            survivors = _left(group)
            eye.close()
        agent.communicate()
        reap()
        return Stopped(ms, survivors, said)


def ours(stage: Stage, payload: str) -> Stopped:
    """offswitch, through its control socket."""
    one = supervised(stage, payload, 0.01)
    return Stopped(one["accepted"] + max(one["receipt"], one["seen"]), one["survivors"], one["answer"])


def rivals(folder: Path, quick: bool) -> Iterator[tuple[str, Any, int]]:
    """Name, act and runs of each; without those that this machine lacks."""
    runs = 1 if quick else RUNS
    yield "offswitch", ours, runs
    yield "kill -TERM of the group", process_group(signal.SIGTERM), runs
    yield "kill -KILL of the group", process_group(signal.SIGKILL), runs
    containers = Containers(folder)
    if shutil.which("runc") and os.geteuid() == 0:
        yield "runc kill", containers.runc, runs
        if shutil.which("podman"):
            yield "podman kill", containers.podman(["kill"]), runs
            if not quick:
                yield "podman stop", containers.podman(["stop"]), SLOW
    try:
        switch = Switch(folder / "switch")
    except SystemExit as problem:
        progress(f"without agent-killswitch: {problem}")
    else:
        yield "agent-killswitch", switch, runs


def compare(quick: bool) -> list[dict[str, Any]]:
    """Every rival on every payload."""
    rows = []
    folder = Path(tempfile.mkdtemp(prefix="offswitch-rivals-"))
    try:
        for name, act, runs in rivals(folder, quick):
            detail: dict[str, Any] = {}
            for payload in _payloads.PAYLOADS:
                with Stage() as stage:
                    seen: list[Stopped] = [act(stage, payload) for _ in range(runs)]
                times = [one.ms for one in seen if one.ms is not None]
                detail[payload] = {
                    "runs": runs,
                    "left_in": sum(one.survivors > 0 for one in seen),
                    "most_left": max(one.survivors for one in seen),
                    "median": round(statistics.median(times), 1) if times else None,
                    "max": round(max(times), 1) if times else None,
                }
            progress(name)
            left = sum(one["left_in"] for one in detail.values())
            mine = name == "offswitch"
            if isinstance(act, Switch):
                detail["flag_ms"] = round(statistics.median(act.flags), 4)
            row: dict[str, Any] = {"name": f"{name}: runs that left processes", "value": left}
            row.update(unit=f"of {runs * len(_payloads.PAYLOADS)}", target="= 0" if mine else "")
            row.update(holds=left == 0 if mine else None, detail=detail)
            rows.append(row)
    finally:
        unmount(folder)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown: median and largest ms; runs that left processes, and how many at most."""
    lines = ["| | " + " | ".join(_payloads.PAYLOADS) + " |", "| --- |" + " --- |" * len(_payloads.PAYLOADS)]
    for one in rows:
        cells = [one["name"].partition(":")[0]]
        for payload in _payloads.PAYLOADS:
            seen = one["detail"][payload]
            times = f"{seen['median']:.1f} / {seen['max']:.1f}" if seen["median"] is not None else "never"
            left = (
                f", **{seen['left_in']} of {seen['runs']} left up to {seen['most_left']}**"
                if seen["left_in"]
                else ""
            )
            cells.append(times + left)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def progress(text: str) -> None:
    """Say how far it is."""
    print(f"  {text}; load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a run of each, to see that it works")
    asked = parser.parse_args()
    problem = preflight.missing() or (None if unified() else "no control groups of version 2")
    rows: list[dict[str, Any]]
    if problem is not None:
        rows = [{"name": "rivals", "value": None, "unit": "", "target": problem, "holds": None}]
    else:
        # What a container's program or a lost agent leaves behind becomes a child of this process, which reaps it.
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        rows = compare(asked.quick)
    print(json.dumps(rows, indent=2) if asked.json else table(rows) if problem is None else problem)


if __name__ == "__main__":
    main()

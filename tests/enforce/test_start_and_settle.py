"""The edges of a run: who started it is gone before it runs, and its guard hangs when all seems over."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import Ground, alive, eventually
from offswitch.enforce import beginning, latch, launching
from offswitch.enforce.beginning import Begun
from offswitch.enforce.supervisor import parts as module
from offswitch.enforce.supervisor.loop import TICK
from offswitch.enforce.supervisor.parts import NotStarted, Parts
from offswitch.sandboxes import wire


def _guard_of(supervisor: int) -> int:
    [line] = [
        one for one in Path(f"/proc/{supervisor}/status").read_text().splitlines() if one.startswith("PPid")
    ]
    return int(line.split()[1])


def _is_running(ground: Ground) -> bool:
    return any(running for _, _, running in latch.read(ground.places))


def _begin(ground: Ground, script: str) -> tuple[Begun, socket.socket, str]:
    """Ask for a detached start as ``launching.launch`` does, and have the answer still to come."""
    folder = Path(ground.places.logs("agent"))
    folder.mkdir(parents=True, exist_ok=True)
    errors = os.open(folder / "errors", os.O_WRONLY | os.O_CREAT, 0o600)
    begun = Begun()
    line = socket.socket(fileno=begun.line)
    run = os.urandom(16).hex()
    plan = {**ground.plan(script), "run": run, "terminal": False, "detached": True, "home": "/tmp/home"}
    plan["environment"] = {"HOME": "/tmp/home", "PATH": "/usr/bin:/bin"}
    wire.send(line, (plan, ground.places.runtime, ground.places.lasting), [errors])
    os.close(errors)
    return begun, line, run


def test_an_agent_that_nobody_waits_for_any_more_does_not_start(ground: Ground) -> None:
    begun, line, _ = _begin(ground, "touch ran; sleep 60")
    line.close()
    os.waitpid(begun.pid, 0)
    assert not (ground.workspace / "ran").exists()
    assert list(latch.read(ground.places)) == [], "nothing is latched"


def test_an_agent_of_whose_start_nobody_heard_is_stopped(ground: Ground) -> None:
    begun, line, _ = _begin(ground, "touch ran; sleep 60")
    assert json.loads(line.recv(65536))["ok"]
    line.close()
    os.waitpid(begun.pid, 0)
    eventually(lambda: not _is_running(ground))
    record = ground.latched()
    assert record is not None
    assert "before it heard of the start" in record["reason"]


def test_an_agent_of_whose_start_somebody_heard_runs_on(ground: Ground) -> None:
    ground.up("true")
    time.sleep(0.5)
    assert ground.status()["state"] == "running"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_client_that_is_ended_during_a_detached_start_leaves_no_agent_that_nobody_knows_of(
    ground: Ground, number: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-m",
        "offswitch",
        "run",
        "--detach",
        "--name",
        "agent",
        "--state",
        str(ground.state),
    ]
    command += ["--workspace", str(ground.workspace), "--", "sleep", "120"]
    for wait in (0.05, 0.12, 0.2, 0.3):
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(wait)
        client.send_signal(number)
        said = client.communicate(timeout=60)[0]
        if " runs; " in said:
            ground.ask(do="stop", order=None, category=0, grace_ms=0, reason="", settle=False)
        eventually(lambda: not _is_running(ground))
        for name, _, _ in latch.read(ground.places):
            latch.clear(ground.places, name)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_guard_that_is_lost_after_the_death_is_replaced_and_the_probe_is_made(
    ground: Ground, number: signal.Signals
) -> None:
    running = ground.up("true")
    guard = _guard_of(running.supervisor)
    answer = ground.ask(do="stop", order=None, category=0, grace_ms=0, reason="", settle=False)
    assert answer["ok"]
    os.kill(guard, number)
    eventually(lambda: not _is_running(ground), 30)
    eventually(lambda: not alive(guard))
    last = ground.receipts(running)[-1]
    assert last["dead"]
    assert last["settle"]["looks"] > 0
    latch.clear(ground.places, "agent")


def test_a_reset_removes_what_supervisor_and_guard_left_when_they_were_lost_together(ground: Ground) -> None:
    running = ground.up("true")
    guard = _guard_of(running.supervisor)
    os.kill(guard, signal.SIGSTOP)
    for pid in (running.supervisor, guard):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not _is_running(ground))
    folder = Path(ground.places.agent("agent"))
    assert folder.exists()
    done = subprocess.run(
        [sys.executable, "-m", "offswitch", "reset", "agent", "--state", str(ground.state)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not folder.exists()


class _Line:
    """Parts of which only the guard is there."""

    @staticmethod
    def made(guard: socket.socket) -> Parts:
        parts = Parts({"name": "agent"}, None, None, None)  # type: ignore[arg-type]
        parts.guard = guard
        parts.killer.cell = os.open("/dev/null", os.O_RDONLY)
        parts._kind = type("Kind", (), {"PROMISES": {}})
        parts.key = type("Key", (), {"raw": staticmethod(lambda: b"")})()  # type: ignore[assignment]
        return parts


def test_a_guard_that_only_beats_has_not_taken_its_charge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GUARD", 0.5)
    ours, theirs = wire.pair()
    for _ in range(3):
        wire.send(theirs, ("beat",))
    file = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(NotStarted, match="guard was lost"):
        _Line.made(ours)._charge([file])
    wire.send(theirs, ("beat",))
    wire.send(theirs, ("charged",))
    _Line.made(ours)._charge([file])


def test_a_guard_that_hangs_when_all_is_over_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OVER", 0.3)
    hung = subprocess.Popen(["sleep", "60"])
    os.kill(hung.pid, signal.SIGSTOP)
    ours, _theirs = wire.pair()
    parts = _Line.made(ours)
    parts._guard_process = os.pidfd_open(hung.pid)
    parts.end_guard()
    assert hung.wait(10) == -signal.SIGKILL


def test_without_room_for_a_witness_there_is_none_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _theirs = wire.pair()
    parts = _Line.made(ours)

    def no_room(*_: Any) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(parts, "_fork", no_room)
    with pytest.raises(OSError, match="unavailable"):
        parts.replace_guard()
    assert parts.guard is None


def test_a_start_that_hangs_is_ended_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "_ENDS", 0.3)
    hung = subprocess.Popen(["sleep", "60"])
    ours, _theirs = socket.socketpair()
    begun = Begun.__new__(Begun)
    begun.pid = hung.pid
    launching._end(ours, begun)
    assert not alive(hung.pid)
    hung.returncode = -9


def _first(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """Supervisors run some statements before they begin."""
    *head, code = beginning._program()
    begin = code.removesuffix("main()")
    assert begin != code
    monkeypatch.setattr(beginning, "_program", lambda: [*head, begin + "; ".join((*statements, "main()"))])


_GUARD = "import time; from offswitch.enforce.supervisor import guard; guard._SETTLED_IN = 15"


@pytest.mark.slow
def test_a_guard_that_loads_from_a_slow_disk_is_not_lost_and_still_kills(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    _first(monkeypatch, _GUARD, "guard.load_trust = lambda: time.sleep(600)")
    running = ground.up("")
    time.sleep(15 * TICK + 3)
    assert ground.status()["state"] == "running"
    os.kill(running.supervisor, signal.SIGKILL)
    eventually(lambda: not ground.processes(), 5)


@pytest.mark.slow
def test_a_guard_that_could_not_sign_is_lost(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    _first(monkeypatch, _GUARD, "guard.load_trust = lambda: 1 / 0")
    ground.up("")
    eventually(lambda: not ground.processes())
    eventually(lambda: ground.latched() is not None)


def test_a_supervisor_looks_for_guests_where_its_caller_does_and_knows_no_other_variable(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("OTHER", "secret")
    running = ground.up("")
    given = Path(f"/proc/{running.supervisor}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    assert f"XDG_CACHE_HOME={tmp_path}".encode() in given
    assert {one.partition(b"=")[0] for one in given} <= {b"HOME", b"XDG_CACHE_HOME", b"XDG_STATE_HOME"}

"""The second observer tells what runs in a sandbox from what has ended there, and from the rest of the host."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from offswitch.enforce.supervisor.observing import NAMESPACES, Observer, Turn
from offswitch.sandboxes import preflight

WITHOUT_ITS_FIRST_THREAD = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(900,)).start()
print("up", flush=True)
time.sleep(2)  # its namespaces can be opened for as long as its first thread lives
ctypes.PyDLL(None).pthread_exit(None)
"""

LISTENS = """
import socket, sys, time
one = socket.socket(socket.AF_UNIX)
one.bind(sys.argv[1])
print("up", flush=True)
time.sleep(900)
"""


@contextmanager
def sandbox(*command: str) -> Iterator[tuple[subprocess.Popen[str], int, Observer]]:
    """A bubblewrap sandbox that has said something, the pid of its program on the host, and an observer of it."""
    problem = preflight.missing()
    if problem is not None:
        pytest.skip(problem)
    told, tell = os.pipe()
    process = subprocess.Popen(
        ["bwrap", "--unshare-all", "--as-pid-1", "--die-with-parent", "--info-fd", str(tell), "--ro-bind", "/", "/",
         "--proc", "/proc", "--dev", "/dev", *command],
        stdout=subprocess.PIPE, pass_fds=[tell], text=True,
    )  # fmt: skip
    os.close(tell)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        with os.fdopen(told) as about:
            pid = int(about.read().partition('"child-pid":')[2].partition(",")[0].strip(" \n}"))
        files = {kind: os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in NAMESPACES}
        try:
            yield process, pid, Observer(files, "/nowhere")
        finally:
            for file in files.values():
                os.close(file)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def until_zombie(pid: int) -> None:
    end = time.monotonic() + 20
    while state(pid) != "Z":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_that_ended_and_was_not_reaped_is_no_survivor() -> None:
    with sandbox("sh", "-c", "echo up; sleep 900") as (process, pid, observer):
        assert pid in [one["pid"] for one in observer.survivors()[0]]
        # Its parent, bubblewrap outside, cannot reap it now.
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)
        until_zombie(pid)
        assert pid not in [one["pid"] for one in observer.survivors()[0]]


def test_a_process_whose_first_thread_ended_is_a_survivor() -> None:
    with sandbox(sys.executable, "-c", WITHOUT_ITS_FIRST_THREAD) as (_, pid, observer):
        until_zombie(pid)
        assert pid in [one["pid"] for one in observer.survivors()[0]]


def test_a_process_that_went_in_from_outside_is_a_survivor() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root enters the namespaces of another")
    with sandbox("sh", "-c", "echo up; sleep 900") as (_, pid, observer):
        guest = subprocess.Popen(["nsenter", "-t", str(pid), "-m", "--", "sleep", "900"])
        try:
            end = time.monotonic() + 20
            while guest.pid not in [one["pid"] for one in observer.survivors()[0]]:
                assert time.monotonic() < end
                time.sleep(0.01)
        finally:
            guest.kill()
            guest.wait()


def test_the_host_is_no_survivor_and_who_holds_the_workspace_is_told(tmp_path: Path) -> None:
    with sandbox("sh", "-c", "echo up; sleep 900") as (_, pid, observer):
        editor = subprocess.Popen(["sleep", "900"], cwd=tmp_path)
        try:
            found = {one["pid"] for one in observer.survivors()[0]}
            assert pid in found
            assert not found & {os.getpid(), os.getppid(), editor.pid, 1}
            assert [
                one["what"] for one in Observer({}, str(tmp_path)).holders() if one["pid"] == editor.pid
            ] == ["cwd"]
        finally:
            editor.kill()
            editor.wait()


def test_who_holds_a_namespace_open_is_told_and_never_counted() -> None:
    with sandbox("sh", "-c", "echo up; sleep 900") as (_, pid, observer):
        with open(f"/proc/{pid}/ns/mnt") as place:
            holder = subprocess.Popen(["sleep", "900"], pass_fds=[place.fileno()], start_new_session=True)
            part = subprocess.Popen(["sleep", "900"], pass_fds=[place.fileno()])
        try:
            assert not {holder.pid, part.pid} & {one["pid"] for one in observer.survivors()[0]}
            told = {one["pid"]: one["what"] for one in observer.holders()}
            assert told == {holder.pid: "a namespace of the sandbox (mnt)"}
        finally:
            for process in (holder, part):
                process.kill()
                process.wait()


def test_who_listens_in_the_workspace_is_told(tmp_path: Path) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", LISTENS, str(tmp_path / "s")], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        assert [(one["pid"], one["what"]) for one in Observer({}, str(tmp_path)).holders()] == [
            (server.pid, "a socket in the workspace")
        ]
    finally:
        server.kill()
        server.communicate()


def test_one_looks_at_a_time_and_nobody_waits_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    waited = []

    def look() -> None:
        began = time.monotonic()
        with Turn(str(tmp_path)):
            waited.append(time.monotonic() - began)

    with Turn(str(tmp_path)):
        other = threading.Thread(target=look)
        other.start()
        time.sleep(0.2)
        assert not waited
    other.join()
    assert waited.pop() >= 0.2
    with Turn(str(tmp_path)):
        look()
    # One that is stopped in its turn keeps nobody from looking.
    assert waited.pop() >= 1


@pytest.mark.parametrize("there", ["gone", "a link", "a pipe"])
def test_a_turn_that_cannot_be_had_keeps_nobody_from_looking(tmp_path: Path, there: str) -> None:
    folder = tmp_path / "runtime"
    if there != "gone":
        folder.mkdir()
        for number in range(os.cpu_count() or 1):
            place = folder / f"looking.{number}"
            place.symlink_to("/etc/passwd") if there == "a link" else os.mkfifo(place)
    with Turn(str(folder)):
        pass

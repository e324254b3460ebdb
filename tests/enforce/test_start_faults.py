"""Starts from a caller that leaves little: no files, no Python that starts, ignored signals, an impatient user."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.enforce.conftest import Ground

import offswitch.cli
from offswitch.enforce import beginning, launching

PROGRAM = "from offswitch.cli import main; main()"


def run(
    ground: Ground, *command: str, before: Callable[[], object], program: str = PROGRAM
) -> subprocess.CompletedProcess[str]:
    arguments = ["run", "--state", str(ground.state), "--workspace", str(ground.workspace), "--", *command]
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        preexec_fn=before,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_caller_that_ignores_the_end_of_children_starts_agents_all_the_same(ground: Ground) -> None:
    done = run(
        ground, "sh", "-c", "echo hi; exit 3", before=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    )
    assert (done.returncode, done.stdout) == (3, "hi\n"), done


def test_a_program_that_ignores_the_end_of_children_starts_agents_all_the_same(ground: Ground) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert ground.start("exit 3", detached=False).wait()["code"] == 3
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("files", [5, 6, 7])
def test_a_caller_without_files_is_told_in_one_line(ground: Ground, files: int) -> None:
    done = run(ground, "true", before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (125, "", 1), done
    assert "Too many open files" in done.stderr


def test_a_python_that_cannot_be_started_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "_program", lambda: ["/no/such/python"])
    with pytest.raises(launching.NotStarted, match=r"supervisor cannot be started: .*No such file"):
        ground.start("true")


def test_an_interruption_while_all_is_loaded_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["offswitch", "run", "--", "true"])

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(beginning, "Begun", interrupted)
    with pytest.raises(SystemExit) as ended:
        offswitch.cli.main()
    assert ended.value.code == 130
    assert capfd.readouterr().err == "offswitch: interrupted\n"


def test_a_refused_start_keeps_what_the_running_supervisor_has_said(ground: Ground) -> None:
    ground.up("")
    errors = Path(ground.places.logs("agent"), "errors")
    errors.write_text("what it said\n")
    with pytest.raises(launching.NotStarted, match="agent is running"):
        ground.start("true")
    assert errors.read_text() == "what it said\n"


@pytest.mark.parametrize(("says", "told"), [("", "lost as it started$"), ("new", "lost as it started: new$")])
def test_a_lost_start_tells_its_own_last_words(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, says: str, told: str
) -> None:
    # Ends as soon as it has its plan, with what it says in the file that came with that.
    code = (
        "import os, socket; line = socket.socket(fileno=0)\n"
        "_, files, _, _ = socket.recv_fds(line, 65536, 8); os.write(files[0], %r)"
    )
    monkeypatch.setattr(
        beginning, "_program", lambda: [sys.executable, "-c", code % (f"{says}\n".encode() if says else b"")]
    )
    folder = Path(ground.places.logs("agent"))
    folder.mkdir(mode=0o700, parents=True)
    (folder / "errors").write_text("what an earlier one said\n")
    with pytest.raises(launching.NotStarted, match=told):
        ground.start("true")


@pytest.mark.parametrize("command", ["run", "stop"])
def test_a_current_folder_that_is_gone_is_told_in_one_line(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    arguments = ["run", "--", "true"] if command == "run" else ["stop", "--key", "key", "nobody"]
    code = f"import os; os.rmdir({str(gone)!r}); import sys; sys.argv[1:] = {arguments!r}; {PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=gone,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("offswitch: the current folder is gone"), done
    assert "change to one that can" in done.stderr

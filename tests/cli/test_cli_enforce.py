"""The commands that run and stop agents, with real agents: exit codes, terminals, orders, what is printed."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import Result, needs_bubblewrap

from offswitch.cli import enforce
from offswitch.trust import keys

LIMIT = 60.0
TICKS = "i=0; while :; do i=$((i+1)); echo $i > ticks; sleep 0.02; done"


def until(holds: Callable[[], Any], within: float = LIMIT) -> Any:
    """Wait until something holds; what it is then."""
    end = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come to hold in time"
        time.sleep(0.02)
    return found


def until_it_minds(process: subprocess.Popen[bytes]) -> None:
    """Wait until a client passes signals on: the agent may be up a moment sooner."""
    caught = 1 << (signal.SIGHUP - 1)
    until(
        lambda: (
            int(re.findall(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[0], 16)
            & caught
        )
    )


class Desk:
    """A workspace and a state folder, and the command line on them."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.work = folder / "work"
        self.work.mkdir()
        self.started: list[subprocess.Popen[bytes]] = []

    def arguments(self, command: str, *rest: object) -> list[str]:
        return [sys.executable, "-m", "offswitch", command, "--state", str(self.state), *map(str, rest)]

    def __call__(self, command: str, *rest: object, **options: Any) -> Result:
        options = {"cwd": self.work, "timeout": LIMIT, "stdin": subprocess.DEVNULL, **options}
        done = subprocess.run(self.arguments(command, *rest), capture_output=True, check=False, **options)
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, command: str, *rest: object, **options: Any) -> "subprocess.Popen[bytes]":
        options = {
            "cwd": self.work, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
            **options,
        }  # fmt: skip
        # A shell that runs pytest in the background has SIGINT ignored, and that would be inherited.
        process = subprocess.Popen(
            self.arguments(command, *rest),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            **options,
        )
        self.started.append(process)
        return process

    def up(self, name: str, script: str = TICKS, *options: object, workspace: Path | None = None) -> Path:
        """Start a detached agent in a folder of its own, and wait until it runs."""
        place = workspace or self.work / name
        place.mkdir(exist_ok=True)
        done = self(
            "run",
            "--name",
            name,
            "--detach",
            "--workspace",
            place,
            *options,
            "--",
            "sh",
            "-c",
            f"touch up; {script}",
        )
        assert done.code == 0, done
        until((place / "up").exists)
        return place

    def ps(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in json.loads(self("ps", "--json").out)}

    def processes(self) -> list[int]:
        """What runs in a sandbox that has a folder of ours as its /workspace."""
        own = {
            (found.st_dev, found.st_ino)
            for path in (self.work, *self.work.iterdir())
            if (found := path.stat())
        }
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            with suppress(OSError):
                seen = os.stat(f"/proc/{pid}/root/workspace")
                if (seen.st_dev, seen.st_ino) in own:
                    found.append(pid)
        return found

    def close(self) -> None:
        if self.cleared():
            return
        self("stop", "--all")
        for process in self.started:
            process.kill()
            process.communicate()
        until(lambda: not self.processes())

    def cleared(self) -> bool:
        """Whether every supervisor has ended and taken its folder away."""
        return not list((self.state / "agents").glob("*"))


@pytest.fixture(scope="module")
def desks() -> Iterator[list[Desk]]:
    """Every desk of these tests: supervisors look for what comes back for 2 s, and that is awaited once."""
    opened: list[Desk] = []
    yield opened
    until(lambda: all(one.cleared() for one in opened))


@pytest.fixture
def desk(tmp_path: Path, desks: list[Desk]) -> Iterator[Desk]:
    one = Desk(tmp_path)
    desks.append(one)
    yield one
    one.close()


def _still(path: Path) -> bool:
    """Whether a file that an agent writes all the time is written no more."""
    before = path.read_bytes()
    time.sleep(0.3)
    return path.read_bytes() == before


# Without an agent


def test_every_command_stands_in_the_help_of_all() -> None:
    done = subprocess.run([sys.executable, "-m", "offswitch", "--help"], capture_output=True, text=True)
    shown = re.findall(r"^│ ([a-z]+) +\S", done.stdout, re.M)
    assert [one for one in shown if one in enforce.COMMANDS] == list(enforce.COMMANDS), done.stdout


@pytest.mark.parametrize("command", [one for one in enforce.COMMANDS if one != "drill"])
def test_every_command_has_a_help_of_its_own(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "offswitch", command, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: offswitch {command}")
    assert enforce.COMMANDS[command] in done.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["run"], "see offswitch run --help"),
        (["run", "--"], "name a command"),
        (["run", "codex"], "put -- before the command"),
        (["run", "--nmae", "x", "--", "true"], "--nmae"),
        (["run", "--memory", "lots", "--", "true"], "--memory"),
        (["run", "--memory", "4", "--", "true"], "unit"),
        (["run", "--pids", "0", "--", "true"], "above 0"),
        (["run", "--lease", "soon", "--", "true"], "30m"),
        (["run", "--name", "../x", "--", "true"], "name"),
        (["run", "--sandbox", "chroot", "--", "true"], "bubblewrap, oci, microvm"),
        (["run", "--runtime", "runsc", "--", "true"], "--sandbox oci"),
        (["run", "--image", "x", "--", "true"], "--sandbox oci"),
        (["run", "--env", "=x", "--", "true"], "--env"),
        (["stop"], "--all"),
        (["stop", "x", "--all"], "--all"),
        (["stop", "x", "--category", "2"], "--category"),
        (["stop", "x", "--grace", "5s"], "--category 1"),
        (["stop", "x", "--category", "1", "--grace", "2h"], "at most 1h"),
        (["stop", "a/b"], "name"),
        (["renew", "x", "--lease", "100ms"], "1s"),
        (["reset"], "NAME"),
        (["policy", "x"], "FILE"),
        (["ps", "x"], "see offswitch ps --help"),
        (["logs", "x", "--account", "--output"], "not allowed with"),
    ],
)
def test_bad_usage_is_one_line(desk: Desk, arguments: list[str], word: str) -> None:
    done = desk(*arguments)
    assert word in done.refused(), done
    assert not (desk.state / "agents").exists()


@pytest.mark.parametrize("command", ["hold", "release", "renew", "reset", "attach", "logs", "stop"])
def test_of_an_unknown_agent_each_command_says_so(desk: Desk, command: str) -> None:
    assert "nobody" in desk(command, "nobody").refused()


def test_with_nobody_there_to_stop_all_is_fine(desk: Desk) -> None:
    assert desk("stop", "--all") == Result(0, "no agent is running\n", "")
    assert json.loads(desk("stop", "--all", "--json").out) == []
    assert desk("ps") == Result(0, "no agent is running, and none is latched\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["stop", "nobody"],
        ["stop", "--all"],
        ["ps"],
        ["run", "--", "/no/such/program"],
        ["logs", "nobody"],
        ["sign", "none"],
    ],
)
def test_nothing_heavy_is_loaded(desk: Desk, arguments: list[str]) -> None:
    heavy = {
        "typer",
        "click",
        "rich",
        "pydantic",
        "yaml",
        "asyncio",
        "inspect_ai",
        "jsonschema",
        "offswitch.measure",
    }
    command, *rest = arguments
    code = (
        "import os, sys; os._exit = sys.exit\n"
        f"sys.argv = {['offswitch', command, '--state', str(desk.state), *rest]!r}\n"
        "from offswitch.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=desk.work)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "offswitch.cli.enforce" in loaded
    assert not loaded & heavy


@pytest.mark.parametrize("arguments", [["one"], ["--all"], ["one", "--json"]])
def test_a_death_that_was_not_observed_is_said_and_is_no_success(desk: Desk, arguments: list[str]) -> None:
    # No supervisor that could be started here leaves an agent alive, so this is one that says so.
    folder = desk.state / "agents/one"
    folder.mkdir(parents=True)
    for path in (desk.state, desk.state / "agents", folder):
        path.chmod(0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        place = os.open(folder, os.O_PATH)
        listener.bind(f"/proc/self/fd/{place}/control")
        os.close(place)
        listener.listen()
        process = desk.start("stop", *arguments)
        while True:
            connection, _ = listener.accept()
            with connection:
                if request := connection.recv(65536):
                    assert json.loads(request)["do"] == "stop"
                    connection.send(b'{"ok": true, "dead": false, "receipt": null}')
                    break
        out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 3, err
    assert (b"NOT DEAD" in out) != ("--json" in arguments)
    assert ("--json" in arguments) == (b'"dead": false' in out)
    shutil.rmtree(folder)


def test_a_workspace_that_will_not_do_starts_nothing(desk: Desk) -> None:
    for place, word in (("/", "whole file system"), (desk.state, "offswitch's own files")):
        desk.state.mkdir(exist_ok=True, mode=0o700)
        done = desk("run", "--workspace", place, "--", "true")
        assert (done.code, word in done.line) == (125, True), done


@needs_bubblewrap
def test_the_image_of_a_microvm_is_its_root_file_system(desk: Desk, tmp_path: Path) -> None:
    done = desk("run", "--sandbox", "microvm", "--image", str(tmp_path / "nowhere"), "--", "true")
    if "root file system" not in done.line:
        assert done.code, done
        assert "install" in done.line or "prepare" in done.line
        pytest.skip(done.line)
    assert done.code == 125


def test_a_bad_policy_starts_nothing_and_names_its_line(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("version: 1\nnetwork: {hosts: everything}\n")
    done = desk("run", "--policy", path, "--", "true")
    assert done.code == 125
    assert f"{path}:2: " in done.line


def test_the_doctor_says_whether_an_agent_can_be_held() -> None:
    arguments = [sys.executable, "-m", "offswitch", "doctor", "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    body = json.loads(done.stdout)
    assert done.returncode == (0 if body["able"] else 1)
    assert {"bubblewrap", "KVM", "TPM"} <= {check["name"] for check in body["checks"]}
    plain = subprocess.run(arguments[:-1], capture_output=True, text=True)
    assert plain.returncode == done.returncode
    assert plain.stdout.startswith("WHAT")


# In the foreground, through pipes


@needs_bubblewrap
def test_run_passes_on_code_output_errors_and_input(desk: Desk) -> None:
    done = desk("run", "--", "sh", "-c", "cat; echo errors >&2; exit 7", stdin=None, input=b"typed\n")
    assert done == Result(7, "typed\n", "errors\n")


@needs_bubblewrap
def test_run_passes_on_what_is_not_text(desk: Desk) -> None:
    content = bytes(range(256)) * 4096
    process = desk.start("run", "--", "cat", stdin=subprocess.PIPE)
    out, err = process.communicate(content, timeout=LIMIT)
    assert (process.returncode, err) == (0, b"")
    assert out == content


@needs_bubblewrap
def test_run_ends_with_its_agent_though_input_stays_open(desk: Desk) -> None:
    process = desk.start("run", "--", "sh", "-c", "exit 3", stdin=subprocess.PIPE)
    assert process.wait(LIMIT) == 3


@needs_bubblewrap
def test_an_agent_gets_as_many_processes_as_were_stated(desk: Desk) -> None:
    # Its shell is the first of them, and ends where it can start no more.
    script = "i=0; while [ $i -lt 60 ]; do sleep 60 & i=$((i + 1)); echo $i > started; done"
    desk("run", "--pids", "20", "--", "sh", "-c", script)
    assert int((desk.work / "started").read_text()) == 19
    assert desk("run", "--pids", "1", "--", "sh", "-c", "exit 7").code == 7


@needs_bubblewrap
def test_an_agent_gets_as_much_memory_as_was_stated(desk: Desk) -> None:
    script = "head -c 50M /dev/zero | tail -n 1 | wc -c; head -c 400M /dev/zero | tail -n 1 | wc -c"
    done = desk("run", "--memory", "128M", "--", "sh", "-c", script)
    fits, too_much = done.out.split()
    assert int(fits) == 50 << 20
    assert int(too_much) < 400 << 20


@needs_bubblewrap
def test_a_program_that_is_not_there_could_not_be_started(desk: Desk) -> None:
    done = desk("run", "--", "no-such-program")
    assert (done.code, "not on your PATH" in done.line) == (125, True)


@needs_bubblewrap
def test_only_the_environment_that_was_named_comes_in(desk: Desk) -> None:
    environment = {**os.environ, "SECRET": "s", "WANTED": "w", "LC_TIME": "C"}
    script = "echo $SECRET/$WANTED/$SET/$LC_TIME/$PWD"
    done = desk("run", "--env", "WANTED", "--env", "SET=a=b", "--", "sh", "-c", script, env=environment)
    assert done.out == "/w/a=b/C//workspace\n"


@needs_bubblewrap
def test_the_workspace_is_the_current_folder_and_can_be_another(desk: Desk, tmp_path: Path) -> None:
    assert desk("run", "--", "sh", "-c", "echo here > file").code == 0
    assert (desk.work / "file").read_text() == "here\n"
    other = tmp_path / "other"
    other.mkdir()
    assert desk("run", "--workspace", other, "--", "sh", "-c", "echo there > file").code == 0
    assert (other / "file").read_text() == "there\n"
    assert (other / "file").stat().st_uid == os.geteuid()


@needs_bubblewrap
def test_the_same_name_can_be_run_again_at_once(desk: Desk) -> None:
    for code in (0, 5):
        assert desk("run", "--name", "again", "--", "sh", "-c", f"exit {code}").code == code


@needs_bubblewrap
@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([signal.SIGINT], b"told"),
        ([signal.SIGINT, signal.SIGINT], b""),
        ([signal.SIGTERM], b""),
        ([signal.SIGHUP], b""),
    ],
    ids=["interrupt", "twice", "terminate", "hangup"],
)
def test_a_signal_stops_the_agent(desk: Desk, numbers: list[signal.Signals], said: bytes) -> None:
    # The first interrupt tells the agent; a second, and every other signal, cuts.
    heeds = "exit 0" if len(numbers) == 1 else ":"
    process = desk.start(
        "run", "--", "sh", "-c", f"trap 'echo told; {heeds}' TERM; touch up; while :; do sleep 0.1; done"
    )
    until((desk.work / "up").exists)
    until_it_minds(process)
    begun = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.3)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 124, err
    assert b"was stopped" in err
    assert time.monotonic() - begun < 20
    if len(numbers) == 1:
        assert out.strip() == said
    assert not desk.processes()


@pytest.mark.slow
@needs_bubblewrap
def test_an_agent_that_ignores_the_first_interrupt_is_cut_after_its_grace(desk: Desk) -> None:
    process = desk.start("run", "--", "sh", "-c", "trap '' TERM INT; touch up; while :; do sleep 0.1; done")
    until((desk.work / "up").exists)
    until_it_minds(process)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 124
    assert time.monotonic() - begun > 4.5


@needs_bubblewrap
def test_the_death_of_the_client_is_a_hang_up(desk: Desk) -> None:
    process = desk.start("run", "--name", "orphan", "--", "sh", "-c", f"touch up; {TICKS}")
    until((desk.work / "up").exists)
    process.kill()
    process.communicate()
    until(lambda: not desk.processes())
    assert "hung up" in desk.ps()["orphan"]["doing"] or until(
        lambda: desk.ps()["orphan"]["state"] == "latched"
    )


@needs_bubblewrap
def test_when_nobody_reads_the_output_the_agent_is_stopped(desk: Desk) -> None:
    process = desk.start("run", "--", "sh", "-c", "trap '' PIPE; while :; do echo more; sleep 0.01; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"more\n"
    process.stdout.close()
    assert process.wait(LIMIT) == 141
    assert not desk.processes()


@needs_bubblewrap
@pytest.mark.slow
def test_a_stop_gets_through_while_nobody_reads_the_output(desk: Desk) -> None:
    process = desk.start("run", "--name", "full", "--", "sh", "-c", "touch up; exec yes")
    until((desk.work / "up").exists)
    time.sleep(1)  # until every pipe on the way is full
    assert desk("stop", "full").code == 0
    process.send_signal(signal.SIGTERM)
    process.wait(LIMIT)
    assert process.returncode == 124


@needs_bubblewrap
def test_the_loss_of_the_supervisor_stops_the_agent_and_is_said(desk: Desk) -> None:
    process = desk.start("run", "--name", "lost", "--", "sh", "-c", f"touch up; {TICKS}")
    until((desk.work / "up").exists)
    os.kill(desk.ps()["lost"]["supervisor"], signal.SIGKILL)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 124, err
    assert b"supervisor was lost" in err
    assert not desk.processes()
    done = desk("stop", "lost")
    assert (done.code, "not running" in done.out) == (0, True), done


# Detached


@needs_bubblewrap
def test_detached_it_runs_on_until_it_is_stopped_and_stays_so_until_reset(desk: Desk) -> None:
    done = desk("run", "--name", "ci", "--detach", "--lease", "10m", "--", "sh", "-c", f"touch up; {TICKS}")
    assert done == Result(0, "ci runs; stop it with: offswitch stop ci\n", "")
    until((desk.work / "ticks").exists)
    (status,) = desk.ps().values()
    assert (status["name"], status["state"], status["workspace"]) == ("ci", "running", str(desk.work))
    assert 590 < status["lease_left"] <= 600
    assert re.search(r"^ci +running +\S+ ago +9m\d+s ", desk("ps").out, re.M)

    done = desk("stop", "ci", "--reason", "enough \x1b[31m of it")
    assert done.code == 0, done
    clock = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.match(
        r"ci is dead (\d+\.\d) ms after the order\n"
        rf"times     ordered ({clock}), killed \d+\.\d ms later, seen dead {clock}\n",
        done.out,
    ), done.out
    assert "observed" in done.out
    assert "\x1b" not in done.out
    assert not desk.processes()
    assert _still(desk.work / "ticks")

    until(lambda: desk.ps()["ci"]["state"] == "latched")
    again = desk("stop", "ci")
    assert (again.code, "stays latched" in again.out) == (0, True), again
    for name in ("ci", "other"):
        refused = desk("run", "--name", name, "--", "true")
        assert refused.code == 125
        assert "offswitch reset ci" in refused.line
    assert "starts nothing" in desk("reset", "--help").out
    assert desk("reset", "ci").code == 0
    assert desk("reset", "ci").code == 2
    assert desk.ps() == {}
    assert desk("run", "--name", "ci", "--", "sh", "-c", "exit 4").code == 4


@needs_bubblewrap
def test_a_stop_can_be_reset_at_once(desk: Desk) -> None:
    desk.up("quick")
    assert desk("stop", "quick").code == 0
    assert desk("reset", "quick") == Result(
        0, "quick is reset: it may be started again, and nothing was started\n", ""
    )


@needs_bubblewrap
def test_a_memorable_name_is_given_where_none_is(desk: Desk) -> None:
    done = desk("run", "--detach", "--", "sleep", "60")
    name = done.out.split()[0]
    assert re.fullmatch(r"[a-z]+-[a-z]+", name)
    assert desk("stop", name).code == 0


@needs_bubblewrap
def test_a_receipt_can_be_had_as_json(desk: Desk) -> None:
    desk.up("one")
    done = desk("stop", "one", "--json", "--wait-settle", "--reason", "r")
    body = json.loads(done.out)
    assert (done.code, body["dead"], body["receipt"]["dead"]) == (0, True, True)
    assert body["receipt"]["order"]["reason"] == "r"
    assert body["receipt"]["order"]["origin"] == "signed"
    assert body["receipt"]["settle"]["respawned"] == []
    assert body["envelope"]["signatures"]


@needs_bubblewrap
def test_that_nothing_came_back_is_awaited_and_said(desk: Desk) -> None:
    desk.up("one")
    done = desk("stop", "one", "--wait-settle")
    assert done.code == 0, done
    assert "settled   nothing came back in 2 s\n" in done.out


@needs_bubblewrap
def test_what_comes_back_after_the_death_is_told_and_is_no_success(desk: Desk) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root enters the namespaces of another")
    desk.up("one")
    pid = desk.processes()[0]
    code = (
        "import sys, time; from offswitch.sandboxes import kernel\n"
        "print('ready', flush=True); input(); kernel.enter_namespace(int(sys.argv[1])); time.sleep(900)"
    )
    with open(f"/proc/{pid}/ns/mnt") as place:
        guest = subprocess.Popen(
            [sys.executable, "-c", code, str(place.fileno())], pass_fds=[place.fileno()], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
    try:
        assert guest.stdin is not None
        assert guest.stdout is not None
        assert guest.stdout.readline() == "ready\n"
        process = desk.start("stop", "one", "--wait-settle")
        # The first receipt is written once the death was observed.
        until(lambda: [path.stat().st_size for path in desk.state.glob("receipts/*") if path.stat().st_size])
        guest.stdin.write("go\n")
        guest.stdin.flush()
        out, err = (text.decode() for text in process.communicate(timeout=LIMIT))
    finally:
        guest.kill()
        guest.communicate()
    assert process.returncode == 3, out + err
    assert out.startswith("NOT DEAD: one: after its death was observed 1 process CAME BACK")
    assert "settled   1 process CAME back in 2 s\n" in out
    assert f"back      {guest.pid} " in out
    until(desk.cleared)
    again = json.loads(desk("stop", "one", "--json").out)
    assert (again["dead"], again["receipt"]["dead"]) == (False, True)
    assert [one["pid"] for one in again["receipt"]["settle"]["respawned"]] == [guest.pid]
    assert desk("stop", "one").code == 3


@needs_bubblewrap
def test_all_are_stopped_at_once(desk: Desk) -> None:
    names = [f"agent-{number}" for number in range(4)]
    for name in names:
        desk.up(name, "trap '' TERM; " + TICKS)
    done = desk("stop", "--all")
    assert done.code == 0, done
    assert sorted(line.split(":")[0] for line in done.out.splitlines()) == names
    assert all(re.search(r": dead \d+\.\d ms after", line) for line in done.out.splitlines())
    assert not desk.processes()


@needs_bubblewrap
def test_a_controlled_stop_gives_the_agent_its_grace(desk: Desk) -> None:
    place = desk.up("kind", "trap 'echo bye > bye; exit 0' TERM; while :; do sleep 0.1; done")
    assert desk("stop", "kind", "--category", "1", "--grace", "20s").code == 0
    assert (place / "bye").read_text() == "bye\n"
    deaf = desk.up("deaf", "trap '' TERM; " + TICKS)
    begun = time.monotonic()
    assert desk("stop", "deaf", "--category", "1", "--grace", "1s").code == 0
    assert time.monotonic() - begun >= 1
    assert _still(deaf / "ticks")


@needs_bubblewrap
@pytest.mark.parametrize("how", ["pipe", "terminal"])
def test_an_agent_is_typed_what_its_policy_says_before_it_is_cut(
    desk: Desk, terminal: "Callable[..., Terminal]", tmp_path: Path, how: str
) -> None:
    rules = tmp_path / "policy.yaml"
    rules.write_text('version: 1\ninterrupt: "bye\\n"\n')
    script = "trap '' TERM; touch up; read -r line; echo $line > said; while :; do sleep 0.1; done"
    arguments = ("--name", "polite", "--policy", rules, "--", "sh", "-c", script)
    if how == "terminal":
        client = terminal("run", *arguments)
    else:
        process = desk.start("run", *arguments, stdin=subprocess.PIPE)
    until((desk.work / "up").exists)
    assert desk("stop", "polite", "--category", "1", "--grace", "3s").code == 0
    assert (desk.work / "said").read_text() == "bye\n"
    assert (client.wait() if how == "terminal" else process.wait(LIMIT)) == 124


@needs_bubblewrap
def test_the_lease_ends_the_agent_and_renewing_puts_that_off(desk: Desk) -> None:
    place = desk.work / "short"
    place.mkdir()
    process = desk.start("run", "--lease", "2s", "--workspace", place, "--", "sleep", "60")
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 124
    assert b"lease" in err
    desk.up("longer", TICKS, "--lease", "60s")
    assert desk("renew", "longer", "--lease", "10m").code == 0
    assert desk.ps()["longer"]["lease_left"] > 500


@needs_bubblewrap
def test_what_is_held_does_nothing_until_it_is_released(desk: Desk) -> None:
    place = desk.up("held")
    until((place / "ticks").exists)
    done = desk("hold", "held")
    if done.code == 2 and "control group" in done.err:
        pytest.skip("no control group of version 2")
    assert done.code == 0, done
    assert desk.ps()["held"]["state"] == "held"
    assert _still(place / "ticks")
    assert desk("release", "held").code == 0
    assert not _still(place / "ticks")
    assert desk("hold", "held").code == 0
    assert desk("stop", "held").code == 0


@needs_bubblewrap
def test_logs_are_the_account_and_the_output(desk: Desk) -> None:
    desk.up("talks", "printf 'hello \\033[31mred\\033[0m\\n'; " + TICKS)
    desk("stop", "talks", "--reason", "quiet now")
    output = desk("logs", "talks", "--output").out
    assert output == "hello \x1b[31mred\x1b[0m\n"
    account = desk("logs", "talks", "--account").out
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  started  ", account, re.M)
    assert "quiet now" in account
    assert desk("logs", "talks").out == account + output


@pytest.mark.slow
@needs_bubblewrap
def test_logs_can_be_followed_until_the_agent_has_ended(desk: Desk) -> None:
    desk.up("counts", "for i in 1 2 3; do sleep 0.3; echo line $i; done; sleep 60")
    process = desk.start("logs", "counts", "--output", "--follow")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == [b"line 1\n", b"line 2\n", b"line 3\n"]
    desk("stop", "counts")
    assert process.wait(LIMIT) == 0


# Whatever is wrong with keys, clocks and folders


@needs_bubblewrap
@pytest.mark.parametrize("wrong", ["garbage", "mode", "folder", "counter"])
def test_a_stop_needs_neither_key_nor_folder(desk: Desk, wrong: str) -> None:
    place = desk.up("stubborn")
    folder = desk.state / "keys"
    key = folder / "operator.pem"
    if wrong == "garbage":
        key.unlink(missing_ok=True)
        key.write_bytes(b"\0garbage")
    elif wrong == "mode":
        key.chmod(0o666)
    elif wrong == "counter":
        (folder / "counter").unlink(missing_ok=True)
        (folder / "counter").write_bytes(b"x" * 100)
    else:
        folder.rename(desk.state / "moved")
    done = desk("stop", "stubborn")
    # Where the state is harmed the supervisor may have been quicker: that is a loss which stops the agent too.
    assert done.code == 0, done
    assert _still(place / "ticks")
    assert not desk.processes()


@needs_bubblewrap
def test_a_stop_needs_no_right_clock(desk: Desk) -> None:
    desk.up("early")
    code = (
        "import sys, time; now = time.time_ns; time.time_ns = lambda: now() - 10 * 365 * 86400 * 10**9\n"
        f"sys.argv = {['offswitch', 'stop', '--state', str(desk.state), 'early']!r}\n"
        "from offswitch.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done
    assert "refused" in done.stderr
    assert "local owner" in done.stderr
    assert not desk.processes()


@pytest.mark.slow
@needs_bubblewrap
def test_an_order_of_a_key_that_nobody_trusts_loosens_nothing(desk: Desk, tmp_path: Path) -> None:
    desk.up("mine")
    stranger = str(tmp_path / "stranger.pem")
    keys.load_or_make(stranger)
    for command in ("renew", "hold", "release"):
        done = desk(command, "mine", "--key", stranger)
        assert (done.code, "refused" in done.line) == (2, True), done
    assert desk("stop", "mine", "--key", tmp_path / "none.pem").code == 0
    assert "refused" in desk("reset", "mine", "--key", stranger).refused()
    until(lambda: desk.ps()["mine"]["state"] == "latched")


@needs_bubblewrap
def test_two_of_three_keys_reset(desk: Desk, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.pem") for name in ("ann", "bea", "cay")]
    ids = [keys.load_or_make(path).id for path in paths]
    rules = tmp_path / "policy.yaml"
    rules.write_text(f"version: 1\nkeys: {{trusted: {ids}, needed: {{reset: 2}}}}\n")
    desk.up("shared", TICKS, "--policy", rules)
    assert desk("stop", "shared", "--key", paths[2]).code == 0
    assert "2 keys" in desk("reset", "shared", "--key", paths[0]).refused()
    order = tmp_path / "order.json"
    assert desk("reset", "shared", "--key", paths[0], "--out", order).code == 0
    assert "too-few-keys" in desk("send", order).refused()
    account = desk("logs", "shared", "--account").out
    assert re.search(r"  refused order  .*too-few-keys", account), account
    assert "already" in desk("sign", order, "--key", paths[0]).refused()
    shown = desk("sign", order, "--show")
    assert (shown.code, "reset shared" in shown.out, ids[0] in shown.out, ids[1] in shown.out) == (
        0,
        True,
        True,
        False,
    )
    signed = desk("sign", order, "--key", paths[1])
    assert (signed.code, "reset shared" in signed.out, ids[1] in signed.out) == (0, True, True), signed
    assert desk("send", order).code == 0
    assert desk.ps() == {}
    assert desk("reset", "shared").code == 2
    # An order for one run is worth nothing in the next.
    desk.up("shared", TICKS, "--policy", rules)
    desk("stop", "shared")
    assert "refused" in desk("send", order).refused()


@needs_bubblewrap
@pytest.mark.parametrize("action", ["renew", "release", "policy"])
def test_two_of_three_keys_let_an_agent_go_on(desk: Desk, tmp_path: Path, action: str) -> None:
    paths = [str(tmp_path / f"{name}.pem") for name in ("ann", "bea", "cay")]
    ids = [keys.load_or_make(path).id for path in paths]
    strict, loose = tmp_path / "strict.yaml", tmp_path / "loose.yaml"
    for file, longest in ((strict, "1h"), (loose, "3h")):
        file.write_text(
            f"version: 1\nlimits: {{lease_max: {longest}}}\n"
            f"keys: {{trusted: {ids}, needed: {{renew: 2, release: 2, policy: 2}}}}\n"
        )
    desk.up("shared", TICKS, "--policy", strict, "--lease", "10m")
    asked = {
        "renew": ["renew", "shared", "--lease", "50m"],
        "release": ["release", "shared"],
        "policy": ["policy", "shared", str(loose)],
    }[action]
    longer = ["renew", "shared", "--lease", "2h", "--key", paths[0], "--key", paths[1]]
    if action == "release":
        held = desk("hold", "shared", "--key", paths[0])
        if "control group" in held.err:
            pytest.skip("no control group of version 2")
        assert held.code == 0, held

    def gone_on() -> bool:
        if action == "policy":
            return desk(*longer).code == 0
        status = desk.ps()["shared"]
        return bool(status["lease_left"] > 1000 if action == "renew" else status["state"] == "running")

    # A key twice, or one that the policy does not name (the operator's own), makes no second one.
    for given in ([paths[0]], [paths[0], paths[0]], [paths[0], str(desk.state / "keys/operator.pem")]):
        done = desk(*asked, *(word for path in given for word in ("--key", path)))
        assert f"1 of the 2 keys that a {action} needs" in done.refused()
    assert not gone_on()
    order = tmp_path / "order.json"
    assert desk(*asked, "--key", paths[0], "--out", order).code == 0
    assert "1 of the 2 keys" in desk("send", order).refused()
    assert desk("sign", order, "--key", paths[2]).code == 0
    assert desk("send", order).code == 0
    assert gone_on()
    # To stop, one is enough.
    assert desk("stop", "shared", "--key", paths[1]).code == 0


@pytest.mark.slow
@needs_bubblewrap
def test_a_damaged_order_is_neither_signed_nor_sent(desk: Desk, tmp_path: Path) -> None:
    place = desk.up("agent")
    order = tmp_path / "order.json"
    assert desk("release", "agent", "--out", order).code == 0
    whole = order.read_text()
    for damaged in ("", "{}", "[]", whole[:-20], whole.replace('"payload": "', '"payload": "AAAA')):
        order.write_text(damaged)
        desk("sign", order).refused()
        desk("send", order).refused()
        assert order.read_text() == damaged
    assert not _still(place / "ticks")


@pytest.mark.slow
@needs_bubblewrap
def test_another_policy_can_be_adopted_while_the_agent_runs(desk: Desk, tmp_path: Path) -> None:
    rules = tmp_path / "policy.yaml"
    rules.write_text("version: 1\nlimits: {lease_max: 1h}\n")
    desk.up("ruled", TICKS, "--policy", rules)
    assert desk("renew", "ruled", "--lease", "2h").code == 2
    other = tmp_path / "other.yaml"
    other.write_text("version: 1\nlimits: {lease_max: 3h}\n")
    assert (
        desk("policy", "ruled", other).out
        == "ruled is under the new policy\nloosened  lease max 3600 -> 10800\n"
    )
    assert desk("renew", "ruled", "--lease", "2h").code == 0
    other.write_text("version: 1\nlimits: {lease_max: never}\n")
    assert f"{other}:2: " in desk("policy", "ruled", other).refused()
    assert desk("renew", "ruled", "--lease", "2h").code == 0


# Through a terminal


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, arguments: list[str], cwd: Path, size: tuple[int, int] = (40, 100)) -> None:
        self.seen = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            environment = {**os.environ, "TERM": "xterm-256color"}
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
            os.execve(arguments[0], arguments, environment)
        self.code: int | None = None

    def read(self, wait: float = 0.05) -> bytes:
        """Whatever the terminal shows meanwhile."""
        if self.master >= 0 and select.select([self.master], [], [], wait)[0]:
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                time.sleep(wait)
        return self.seen

    def until(self, text: bytes) -> bytes:
        until(lambda: text in self.read())
        return self.seen

    def type(self, keys_: bytes) -> None:
        os.write(self.master, keys_)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def raw(self) -> bool:
        """Whether the terminal's own line discipline is off."""
        return not termios.tcgetattr(self.master)[3] & termios.ICANON

    def wait(self) -> int:
        def ended() -> bool:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            return bool(pid)

        until(ended)
        self.read(0.2)
        assert self.code is not None
        return self.code

    def close(self) -> None:
        if self.code is None:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@pytest.fixture
def terminal(desk: Desk) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_(command: str, *rest: object) -> Terminal:
        opened.append(Terminal(desk.arguments(command, *rest), desk.work))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@needs_bubblewrap
def test_an_interactive_agent_has_the_terminal(desk: Desk, terminal: Callable[..., Terminal]) -> None:
    one = terminal("run", "--name", "shell", "--", "bash", "--norc", "-i")
    until(lambda: one.read() and one.raw())
    one.type(b"stty size; echo $TERM; test -t 0 && test -t 2 && echo err''ors too > /dev/tty\r")
    seen = one.until(b"errors too\r\n")
    assert b"40 100" in seen
    assert b"xterm-256color" in seen
    assert one.raw()
    one.resize(50, 132)
    until(lambda: (one.type(b"stty size\r"), b"50 132" in one.read(0.3))[1])
    one.type(b"sleep 500\r")
    time.sleep(0.5)
    one.type(b"\x03")  # goes to the agent's own terminal and ends its job, not the agent
    one.type(b"echo $((20 + 3))rd\r")
    one.until(b"23rd")
    one.type(b"exit 6\r")
    assert one.wait() == 6
    assert not one.raw()


@pytest.mark.slow
@needs_bubblewrap
def test_a_terminal_is_given_back_as_it_was(desk: Desk, terminal: Callable[..., Terminal]) -> None:
    script = (
        r"printf '\033[?1049h\033[?25l\033[?1000h\033[?2004h'; printf '\033[?2004l'; echo drawn; sleep 600"
    )
    for how in ("stop", "terminate", "kill the supervisor"):
        one = terminal("run", "--name", "draws", "--", "bash", "-c", script)
        one.until(b"drawn")
        assert one.raw()
        drawn = len(one.seen)
        if how == "stop":
            assert desk("stop", "draws").code == 0
        elif how == "terminate":
            os.kill(one.pid, signal.SIGTERM)
        else:
            os.kill(desk.ps()["draws"]["supervisor"], signal.SIGKILL)
        assert one.wait() == 124, one.seen
        assert not one.raw()
        given_back = one.seen[drawn:]
        if how != "kill the supervisor":
            for mode in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"):
                assert mode in given_back
            assert b"?2004" not in given_back, "it was taken back by the agent itself"
        assert b"was stopped" in given_back
        assert desk("reset", "draws").code == 0


@needs_bubblewrap
def test_the_closing_of_the_terminal_stops_the_agent(desk: Desk, terminal: Callable[..., Terminal]) -> None:
    one = terminal("run", "--name", "closed", "--", "bash", "-c", f"trap '' HUP TERM; touch up; {TICKS}")
    until(lambda: one.read() and (desk.work / "up").exists())
    os.close(one.master)
    one.master = -1
    until(lambda: not desk.processes())
    until(lambda: os.waitpid(one.pid, os.WNOHANG)[0])
    one.code = 0


@needs_bubblewrap
def test_a_detached_agent_outlives_its_terminal_and_can_be_attached_to(
    desk: Desk, terminal: Callable[..., Terminal]
) -> None:
    script = "touch up; while read -r line; do echo got $line; test $line = end && exit 9; done"
    first = terminal("run", "--name", "far", "--detach", "--", "bash", "-c", script)
    assert first.wait() == 0
    first.close()
    until((desk.work / "up").exists)
    second = terminal("attach", "far")
    second.until(b"Ctrl-]")
    second.type(b"one\r")
    second.until(b"got one")
    second.type(b"\x1d")
    assert second.wait() == 0
    assert not second.raw()
    assert desk.ps()["far"]["state"] == "running"
    third = terminal("attach", "far")
    third.until(b"Ctrl-]")
    third.type(b"end\r")
    assert third.wait() == 9


@needs_bubblewrap
def test_on_a_terminal_the_logged_output_is_shown_and_not_obeyed(
    desk: Desk, terminal: Callable[..., Terminal]
) -> None:
    desk.up("paints", r"printf 'a\033[2Jb\007c\r\nd'; " + TICKS)
    one = terminal("logs", "paints", "--output")
    assert one.wait() == 0
    assert one.seen == b"a^[[2Jb^Gc\r\nd"

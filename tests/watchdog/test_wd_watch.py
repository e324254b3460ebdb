"""`offswitch watch`, the whole command: an agent's client on one side, a model server on the other."""

import asyncio
import fcntl
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from gates import ASK, TRACES, WHOLE

from offswitch.enforce.watchdog import tripping

POLICY = "version: 1\nwatch:\n  kill_path:\n    files: [stop.sh]\n  decide_within: 10s\n"


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    got: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, body))
        data = json.dumps(WHOLE).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Answers.got.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _command(model: str, tmp_path: Path, policy: str, *arguments: str) -> list[str]:
    """The command that watches before a model."""
    (tmp_path / "policy.yaml").write_text(policy)
    return [
        sys.executable, "-m", "offswitch", "watch", "--listen", "127.0.0.1:0", "--upstream", f"openai={model}/v1",
        "--policy", str(tmp_path / "policy.yaml"), *arguments,
    ]  # fmt: skip


@contextmanager
def watching(model: str, tmp_path: Path, *arguments: str, policy: str = POLICY) -> Iterator[Any]:
    command = _command(model, tmp_path, policy, "--records", str(tmp_path / "records"), *arguments)
    said = open(tmp_path / "said", "w+")  # noqa: SIM115
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        env={**os.environ, "OPENAI_API_KEY": "sk-real"},
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        yield process, address
    finally:
        process.kill()
        process.wait()
        said.close()


def ask(address: str, body: object = ASK, patience: float = 30) -> bytes:
    import urllib.error
    import urllib.request

    data = json.dumps(body).encode()
    end = time.monotonic() + patience
    while True:
        request = urllib.request.Request(
            address + "/chat/completions", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            return error.read()
        except urllib.error.URLError as error:
            # Not listening as yet, or cut off.
            if "refused" not in str(error) or time.monotonic() > end:
                return b""
            time.sleep(0.1)
        except OSError:
            return b""


def until(what: Any, patience: float = 30) -> None:
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def test_a_tampering_call_trips_and_what_is_to_be_done_is_done_until_it_works(
    model: str, tmp_path: Path
) -> None:
    mark = tmp_path / "done"
    # It works the third time only.
    command = f'echo "$OFFSWITCH_PATTERN $OFFSWITCH_WHY" >>{mark}; [ "$(wc -l <{mark})" -ge 3 ]'
    hook = ["--on-trip", f"exec:{command}", "--on-trip", f"webhook:{model}/hook"]
    with watching(model, tmp_path, *hook) as (process, address):
        got = ask(address)
        assert not any(trace in got for trace in TRACES)
        until(lambda: mark.exists() and len(mark.read_text().splitlines()) == 3)
        until(lambda: any(path == "/hook" for path, _ in _Answers.got))
        [body] = [body for path, body in _Answers.got if path == "/hook"]
        assert json.loads(body)["pattern"] == "kill-path"
        calls = len(_Answers.got)
        assert ask(address) == b""
        time.sleep(1.5)
        assert len(_Answers.got) == calls, "no call is passed on after a trip, and the hook had worked"
        assert len(mark.read_text().splitlines()) == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1
    assert mark.read_text().startswith("kill-path kill-path: ")
    assert "TRIPPED" in (tmp_path / "said").read_text()


def test_what_is_harmless_passes_and_the_command_ends_with_0(model: str, tmp_path: Path) -> None:
    with watching(model, tmp_path, policy="version: 1\nwatch: {decide_within: 10s}\n") as (process, address):
        assert json.loads(ask(address)) == WHOLE
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    [line] = (tmp_path / "records/traffic.jsonl").read_text().splitlines()
    assert json.loads(line)["calls"][0]["done"] == "allow"
    with suppress(FileNotFoundError):
        assert "sk-real" not in (tmp_path / "said").read_text()


async def test_an_action_is_done_whatever_stands_in_the_reason(tmp_path: Path) -> None:
    said: list[str] = []
    mark = tmp_path / "done"
    action = tripping.parse(f'exec:printf %s "$OFFSWITCH_WHY" > {mark}')
    await tripping.carry_out(action, "removes a\0b\x1b[31m" + "x" * 300_000, "kill-path", None, said.append)
    text = mark.read_text()
    assert text.startswith("removes a b [31m")
    assert len(text) == 1000


async def _carried_out(command: str) -> list[str]:
    said: list[str] = []
    async with asyncio.timeout(30):
        await tripping.carry_out(tripping.parse(f"exec:{command}"), "why", "p", None, said.append)
    return said


async def test_what_a_command_leaves_behind_does_not_keep_it_from_having_worked(tmp_path: Path) -> None:
    mark, left = tmp_path / "done", tmp_path / "left"
    command = f"echo x >>{mark}; (echo $$ >{left}; exec sleep 60) & while [ ! -s {left} ]; do sleep 0.1; done"
    try:
        assert await _carried_out(command) == [f"exec:{command} done"]
        assert mark.read_text() == "x\n", "once is enough"
    finally:
        _end_group(left)


async def test_a_try_that_takes_too_long_ends_with_all_that_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tripping, "_LONGEST", 1.0)
    mark, left = tmp_path / "done", tmp_path / "left"
    command = f"[ -e {mark} ] && exit 0; : >{mark}; echo $$ >{left}; sleep 60; true"
    try:
        said = await _carried_out(command)
        assert "took more than 1 s" in said[0]
        assert len(said) == 2
        until(lambda: not _lives(int(left.read_text())))
    finally:
        _end_group(left)


async def test_of_what_a_command_says_the_last_is_kept(tmp_path: Path) -> None:
    mark = tmp_path / "done"
    command = f"[ -e {mark} ] && exit 0; : >{mark}; yes much | head -c 5000000 >&2; echo the last >&2; exit 3"
    assert "(exit code 3: the last)" in (await _carried_out(command))[0]
    said = tripping._Said()
    os.write(said.into, b"x" * 60_000)
    said.over(worked=False)
    assert len(said.last) == 4096


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _end_group(left: Path) -> None:
    with suppress(OSError, ValueError):
        os.killpg(int(left.read_text()), signal.SIGKILL)


def test_who_does_not_read_what_is_said_holds_up_no_trip(model: str, tmp_path: Path) -> None:
    mark = tmp_path / "done"
    command = _command(model, tmp_path, POLICY, "--on-trip", f"exec:touch {mark}")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        address = process.stdout.readline().split()[1]
        ask(address)
        for _ in range(60):
            with suppress(OSError):
                urllib.request.urlopen(address + "/nowhere", timeout=10)
        ask(address)
        until(mark.exists)
    finally:
        process.kill()
        process.wait()


def _watch(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "offswitch", "watch", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_policy_is_tried_on_what_was_recorded(model: str, tmp_path: Path) -> None:
    with watching(model, tmp_path, policy="version: 1\nwatch: {decide_within: 10s}\n") as (_, address):
        record = str(tmp_path / "records/traffic.jsonl")
        for _ in range(2):
            ask(address)
        until(lambda: Path(record).read_text().count("\n") == 2)
    (tmp_path / "policy.yaml").write_text(POLICY)
    done = _watch("--replay", record, "--policy", str(tmp_path / "policy.yaml"))
    assert done.returncode == 1
    assert "would stop     was allow" in done.stdout
    assert "2 exchanges with 2 calls: would observe 0, deny 0, stop 2" in done.stdout
    (tmp_path / "policy.yaml").write_text(POLICY.replace("watch:\n", "watch:\n  mode: observe\n"))
    done = _watch("--replay", record, "--policy", str(tmp_path / "policy.yaml"), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["counts"]["observe"] == 2
    with open(record, "a") as file:
        file.write('{"at": 1, "num')
    assert _watch("--replay", record).returncode == 0, "what a kill cut is passed over"
    with open(record, "a") as file:
        file.write("\nno line of ours\n")
    done = _watch("--replay", record)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{record}:4" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--upstream"),
        (["--upstream", "nobody"], "nobody=https://"),
        (["--upstream", "openai=ftp://x"], "HOST"),
        (["--upstream", "openai=https://user:secret@x"], "OPENAI_API_KEY"),
        (["--upstream", "openai", "--on-trip", "pray"], "stop:NAME"),
        (["--upstream", "openai", "--on-trip", "stop:../x"], "name"),
        (["--upstream", "openai", "--listen", "8765"], "HOST:PORT"),
        (["--upstream", "openai", "--listen", "192.0.2.1:1"], "listen"),
        (["--upstream", "openai", "--policy", "/nowhere"], "/nowhere"),
        (["--upstream", "openai", "--listen", "127.0.0.1:0", "--pin", "/nowhere"], "/nowhere"),
        (["--upstream", "openai", "--listen", "127.0.0.1:0", "--records", "/dev/null/x"], "/dev/null"),
        (
            ["--upstream", "openai", "--listen", "127.0.0.1:0", "--records", "/dev/null"],
            "--records /dev/null",
        ),
        (["--replay", "/nowhere"], "/nowhere"),
        (["--upstream", "openai", "--upstream", "openai"], "name of its own"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], word: str) -> None:
    done = _watch(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert word in done.stderr.splitlines()[-1]
    assert "secret" not in done.stderr
    assert done.stdout == "", "nothing is said to be served that is not"

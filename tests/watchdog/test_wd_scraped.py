"""Metrics of the real commands: `offswitch watch`, and `offswitch run` with an agent that looks for them."""

import http.server
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from gates import ASK, WHOLE
from prometheus_client.parser import text_string_to_metric_families
from test_wd_watch import ask, until, watching

import offswitch
from offswitch.enforce.beginning import program_of
from offswitch.enforce.watchdog import rules
from offswitch.sandboxes import wire

POLICY = "version: 1\nwatch:\n  kill_path:\n    files: [stop.sh]\n  decide_within: 10s\n"

AGENT = """\
import json, os, sys, time, urllib.error, urllib.request

def get(address):
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as got:
            return got.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return str(error)

def ask():
    data = json.dumps(json.loads(sys.argv[1])).encode()
    headers = {"Content-Type": "application/json"}
    at = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    urllib.request.urlopen(urllib.request.Request(at, data, headers), timeout=60).read()

ask()
reached = {address: get(address) for address in sys.argv[2:]}
with open("reached.new", "w") as file:
    json.dump(reached, file)
os.rename("reached.new", "reached")
while not os.path.exists("go"):
    time.sleep(0.05)
ask()
time.sleep(600)
"""
GATE = "127.0.0.1:4127"


class _Model(http.server.BaseHTTPRequestHandler):
    """A model that asks for one harmless command, and from then on to remove the kill path."""

    protocol_version = "HTTP/1.1"
    commands: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        said = json.loads(json.dumps(WHOLE))
        command = self.commands.pop(0) if self.commands else "rm stop.sh"
        [call] = said["choices"][0]["message"]["tool_calls"]
        call["function"]["arguments"] = json.dumps({"command": command})
        data = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[str]:
    _Model.commands[:] = ["ls"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def scrape(address: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """What Prometheus would get, nothing if nobody is there."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as got:
            text = got.read().decode()
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ConnectionRefusedError | ConnectionResetError):
            raise
        return {}
    except ConnectionResetError:
        return {}
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def broken_client(tmp_path: Path) -> dict[str, str]:
    """An environment in which the client for Prometheus cannot be loaded."""
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "prometheus_client.py").write_text("raise ImportError('not here')\n")
    paths = [str(place), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


# offswitch watch


def test_a_gateway_alone_counts_a_call_and_a_trip(model: str, tmp_path: Path) -> None:
    policy = POLICY + "  metrics: 127.0.0.1:0\n"
    with watching(model, tmp_path, policy=policy) as (process, address):
        word, url = process.stdout.readline().split()
        assert word == "metrics:"
        where = url.removeprefix("http://").removesuffix("/metrics")
        assert json.loads(ask(address))["model"] == "m"
        found = scrape(where)
        assert {
            ("offswitch_agent_info", ("watch", "")): 1,
            ("offswitch_model_calls_total", ("m", "forwarded")): 1,
            ("offswitch_judgements_total", ("none",)): 1,
            ("offswitch_tokens_total", ("m", "input")): 7,
            ("offswitch_instruction_changes_total", ("tools",)): 1,
            ("offswitch_tripped", ()): 0,
        }.items() <= found.items()
        assert ask(address) == b""
        found = scrape(where)
        assert {
            ("offswitch_model_calls_total", ("m", "forwarded")): 1,
            ("offswitch_model_calls_total", ("m", "tripped")): 1,
            ("offswitch_judgements_total", ("stop",)): 1,
            ("offswitch_findings_total", ("stop", "kill-path")): 1,
            ("offswitch_tripped", ()): 1,
        }.items() <= found.items()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1
    assert scrape(where) == {}, "with the gateway its numbers end"


def test_without_being_asked_for_there_is_none(model: str, tmp_path: Path) -> None:
    with watching(model, tmp_path) as (process, address):
        ask(address)
        listening = [
            line for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines() if " 0A " in line
        ]
        inodes = {
            os.readlink(f"/proc/{process.pid}/fd/{number}")
            for number in os.listdir(f"/proc/{process.pid}/fd")
        }
        own = [line for line in listening if f"socket:[{line.split()[9]}]" in inodes]
        assert len(own) == 1, "the gateway's own port"


@pytest.mark.parametrize(
    ("address", "word"),
    [("9464", "HOST:PORT"), ("", "HOST:PORT"), ("192.0.2.1:9464", "cannot listen on 192.0.2.1:9464")],
)
def test_a_gateway_alone_that_cannot_serve_them_does_not_begin(address: str, word: str) -> None:
    command = [sys.executable, "-m", "offswitch", "watch", "--listen", "127.0.0.1:0"]
    command += ["--upstream", "openai=http://127.0.0.1:1", "--metrics", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert word in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == "", "it did not begin"


def test_a_gateway_alone_says_what_is_not_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "offswitch", "watch", "--listen", "127.0.0.1:0"]
    command += ["--upstream", "openai=http://127.0.0.1:1", "--metrics", "127.0.0.1:0"]
    environment = broken_client(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2
    assert "install offswitch[telemetry]" in done.stderr.splitlines()[-1]
    assert done.stdout == ""


# offswitch run


class Started:
    """An agent in bubblewrap that asks a model, looks for the metrics, and asks again when it is told to."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder, self.model = folder, model
        self.workspace = folder / "work"
        self.workspace.mkdir()
        (self.workspace / "agent.py").write_text(AGENT)
        (self.workspace / "stop.sh").write_text("kill 1\n")
        (folder / "policy.yaml").write_text(POLICY)

    def offswitch(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "offswitch", *arguments, "--state", str(self.folder / "state")],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, env=environment,
        )  # fmt: skip

    def run(
        self, metrics: str, *looked_for: str, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        command = [
            sys.executable, "-m", "offswitch", "run", "--state", str(self.folder / "state"), "--name", "scraped",
            "--workspace", str(self.workspace), "--policy", str(self.folder / "policy.yaml"), "--lease", "5m",
            "--model-api", f"openai={self.model}/v1", "--metrics", metrics, "--detach",
            "--", "/usr/bin/python3", "agent.py", json.dumps(ASK), *looked_for,
        ]  # fmt: skip
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
            env={**(environment or os.environ), "OPENAI_API_KEY": "sk-real"},
        )  # fmt: skip

    def account(self, event: str) -> list[dict[str, Any]]:
        path = self.folder / "state/logs/scraped/account.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [one for line in lines if (one := json.loads(line))["event"] == event]

    def first(self, event: str) -> dict[str, Any]:
        until(lambda: self.account(event))
        return self.account(event)[0]


@pytest.fixture
def started(tmp_path: Path, model: str) -> Iterator[Started]:
    one = Started(tmp_path, model)
    yield one
    one.offswitch("stop", "--all")


def _own_address() -> str | None:
    """An address of this host besides the loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
        except OSError:
            return None
        found: str = one.getsockname()[0]
        return found


def _free_port(ports: Callable[[], Iterator[int]]) -> int:
    for port in ports():
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("0.0.0.0", port))
            except OSError:
                continue
            number: int = one.getsockname()[1]
            return number
    pytest.skip("no port is free")


@pytest.mark.slow
def test_the_gateway_of_a_run_counts_and_its_agent_cannot_reach_the_numbers(started: Started) -> None:
    # Root's gateway is another user by the time it serves; a port of root's it has all the same.
    port = _free_port(lambda: iter(range(1023, 600, -1) if os.geteuid() == 0 else [0]))
    hosts = ["127.0.0.1", *filter(None, [_own_address()])]
    looked_for = [f"{host}:{port}" for host in hosts]
    done = started.run(f"0.0.0.0:{port}", *looked_for, GATE)
    assert done.returncode == 0, done.stderr
    until((started.workspace / "reached").exists)
    reached = json.loads((started.workspace / "reached").read_text())
    assert reached.pop(GATE) == 404, "the gateway is there, and has no metrics"
    assert reached == {address: reached[address] for address in looked_for}
    for address in looked_for:
        assert isinstance(reached[address], str), f"the agent got {reached[address]} from {address}"
        assert scrape(address), "which anybody else can reach"
    found = scrape(looked_for[0])
    run = next(labels for name, labels in found if name == "offswitch_agent_info")
    assert run[0] == "scraped"
    assert len(run[1]) == 32
    assert {
        ("offswitch_model_calls_total", ("m", "forwarded")): 1,
        ("offswitch_judgements_total", ("none",)): 1,
        ("offswitch_tokens_total", ("m", "output")): 3,
        ("offswitch_gateway_added_seconds_count", ()): 1,
        ("offswitch_refused_total", ("address",)): 1,
        ("offswitch_tripped", ()): 0,
    }.items() <= found.items()
    (started.workspace / "go").touch()
    stop = started.first("stop")
    assert stop["origin"] == "watchdog"
    # The gateway ends with the agent, and so do its numbers.
    until(lambda: scrape(looked_for[0]) == {})


@pytest.mark.slow
def test_a_denied_call_of_a_run_is_counted_at_a_port_that_is_told(started: Started) -> None:
    policy = POLICY.replace("watch:\n", "watch:\n  mode: deny\n  metrics: 127.0.0.1:0\n")
    (started.folder / "policy.yaml").write_text(policy)
    done = started.run("127.0.0.1:0")
    assert done.returncode == 0, done.stderr
    (started.workspace / "go").touch()
    address = started.first("metrics")["address"]
    until(lambda: scrape(address).get(("offswitch_judgements_total", ("deny",))))
    until(lambda: scrape(address).get(("offswitch_model_calls_total", ("m", "forwarded"))) == 2)
    found = scrape(address)
    assert found["offswitch_findings_total", ("deny", "kill-path")] == 1
    assert found["offswitch_tripped", ()] == 0
    assert started.offswitch("stop", "scraped").returncode == 0
    until(lambda: scrape(address) == {})


@pytest.mark.slow
def test_a_run_that_cannot_serve_them_does_not_start(started: Started, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = started.run(address)
        assert (done.returncode, done.stdout) == (125, "")
        assert f"metrics: cannot listen on {address}: Address already in use" in done.stderr.splitlines()[-1]
    done = started.run("127.0.0.1:0", environment=broken_client(tmp_path))
    assert (done.returncode, done.stdout) == (125, "")
    assert "install offswitch[telemetry]" in done.stderr.splitlines()[-1]
    assert not (started.workspace / "reached").exists()
    # Nothing is left of it that would have to be reset.
    done = started.run("127.0.0.1:0")
    assert done.returncode == 0, done.stderr


def test_a_gateway_that_cannot_begin_is_heard_whatever_it_was_told_meanwhile(tmp_path: Path) -> None:
    ours, theirs = wire.pair()
    with theirs:
        process = subprocess.Popen(
            program_of("offswitch.enforce.watchdog.process"),
            stdin=theirs.fileno(),
            stderr=subprocess.DEVNULL,
            env={},
        )
    plain = {**rules.default(), "metrics": "192.0.2.1:9464"}
    keys = wire.in_memory(json.dumps({"keys": {}, "environment": {}}).encode())
    records = os.open(tmp_path, os.O_RDONLY)
    begin = ("begin", os.getpid(), ("a", "r"), [("openai", "http://127.0.0.1:1")], plain)
    with ours, socket.create_server(("127.0.0.1", 0)) as listener:
        wire.send(ours, begin, [records, keys])
        # As the supervisor does once the sandbox is there, which may be before.
        wire.send(ours, ("listener",), [listener.fileno()])
        assert select.select([ours], [], [], 60)[0]
        time.sleep(0.5)
        message = wire.receive(ours)
    os.close(records)
    os.close(keys)
    assert message is not None
    assert message[0][0] == "failed"
    assert "metrics: cannot listen on 192.0.2.1:9464" in message[0][1]
    assert process.wait(20) == 0, "it ends with who began it"


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--model-api", "openai", "--metrics", "9464"], "--metrics: '9464' is not HOST:PORT"),
        (["--model-api", "openai", "--metrics", ""], "--metrics: '' is not HOST:PORT"),
        (["--metrics", "127.0.0.1:9464"], "--metrics goes with --model-api"),
    ],
)
def test_a_bad_address_of_a_run_is_one_line(more: list[str], word: str, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-m", "offswitch", "run", "--state", str(tmp_path / "state"), *more]
    command += ["--workspace", str(tmp_path / "work"), "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 125
    assert word in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
async def test_from_python_it_is_a_parameter(started: Started) -> None:
    async with offswitch.supervise(
        ["sleep", "600"], name="scraped", workspace=started.workspace, state=started.folder / "state",
        model_api=[f"openai={started.model}/v1"], metrics="127.0.0.1:0",
    ):  # fmt: skip
        address = started.first("metrics")["address"]
        assert scrape(address)["offswitch_tripped", ()] == 0
    until(lambda: scrape(address) == {})

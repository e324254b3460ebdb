"""`offswitch stop` against supervisors that do as a test says: no real one can be had to answer late, or wrongly."""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import Result

from offswitch.enforce import places, stopping

LIMIT = 60.0
DEAD = {"ok": True, "dead": True, "receipt": None}
ALIVE = {"ok": True, "dead": False, "receipt": None}


class Supervisor:
    """Listens as an agent's supervisor, and answers what it is asked.

    Args:
        state: The state folder.
        name: The agent's name.
        answer: The answer to a request; None to hang up instead.
        after: Seconds that each answer takes.
    """

    def __init__(
        self, state: Path, name: str, answer: Callable[[Any], dict[str, Any] | None], after: float = 0.0
    ) -> None:
        self._answer, self._after = answer, after
        self.asked: list[Any] = []
        self.answered = 0
        self.hangs_up_and_ends = False
        self.folder = state / "agents" / name
        self.folder.mkdir(parents=True)
        for path in (state, state / "agents", self.folder):
            path.chmod(0o700)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        place = os.open(self.folder, os.O_PATH)
        self._listener.bind(f"/proc/self/fd/{place}/control")
        os.close(place)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while request := connection.recv(1 << 17):
                    self.asked.append(json.loads(request))
                    time.sleep(self._after)
                    answer = self._answer(self.asked[-1])
                    if answer is None:
                        if self.hangs_up_and_ends:
                            (self.folder / "control").unlink()
                        break
                    try:
                        connection.send(json.dumps(answer).encode())
                    except OSError:
                        break
                    self.answered += 1

    def close(self) -> None:
        """Listen no more, and be gone; all that was to be answered is."""
        if self._listener.fileno() < 0:
            return
        (self.folder / "control").unlink(missing_ok=True)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


Listen = Callable[..., Supervisor]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Makes supervisors, which are gone at the test's end."""
    made: list[Supervisor] = []

    def one(name: str, answer: Callable[[Any], dict[str, Any] | None], after: float = 0.0) -> Supervisor:
        made.append(Supervisor(tmp_path, name, answer, after))
        return made[-1]

    yield one
    for supervisor in made:
        supervisor.close()


def stop(state: Path, *arguments: str, **options: Any) -> Result:
    """Run `offswitch stop`."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": LIMIT, **options}
    done = subprocess.run(
        [sys.executable, "-m", "offswitch", "stop", "--state", str(state), *arguments], check=False, **options
    )
    return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


@pytest.fixture(params=["a reader that is gone", "a full disk"])
def nowhere(request: pytest.FixtureRequest) -> Iterator[int]:
    """A standard output that takes nothing."""
    if request.param == "a full disk":
        file = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, file = os.pipe()
        os.close(reader)
    yield file
    os.close(file)


@pytest.mark.parametrize("arguments", [["one"], ["one", "--json"], ["--all"]])
@pytest.mark.parametrize(("answer", "code"), [(DEAD, 0), (ALIVE, 3)])
def test_the_exit_code_is_of_the_agents_whoever_reads_the_output(
    tmp_path: Path, listen: Listen, nowhere: int, arguments: list[str], answer: dict[str, Any], code: int
) -> None:
    listen("one", lambda _: answer)
    done = stop(tmp_path, *arguments, stdout=nowhere)
    assert done.code == code, done
    assert "Traceback" not in done.err


def test_the_wait_for_the_others_goes_on_whoever_reads_the_output(
    tmp_path: Path, listen: Listen, nowhere: int
) -> None:
    listen("first", lambda _: DEAD)
    last = listen("last", lambda _: ALIVE, after=1.0)
    assert stop(tmp_path, "--all", stdout=nowhere).code == 3
    last.close()
    assert last.answered == 1


@pytest.mark.parametrize("letter", ["a", "\U0001f6d1", "\n"])
def test_a_long_reason_keeps_no_order_back(tmp_path: Path, listen: Listen, letter: str) -> None:
    one = listen("one", lambda _: DEAD)
    done = stop(tmp_path, "one", "--reason", letter * 30_000)
    assert done.code == 0, done
    assert [asked["reason"] for asked in one.asked] == [letter * 1000]


def receipt(state: Path, name: str, run: str, said: dict[str, Any], age: float = 0.0) -> None:
    """Lay down the receipt of a run."""
    (state / "receipts").mkdir(exist_ok=True)
    path = state / f"receipts/{name}-{run}.jsonl"
    payload = base64.b64encode(json.dumps(said).encode()).decode()
    path.write_text(json.dumps({"payload": payload}) + "\n")
    os.utime(path, (time.time() - age,) * 2)


BY_ITSELF = {"dead": True, "order": {"origin": "agent ended"}}


@pytest.mark.parametrize("arguments", [["one"], ["--all"]])
def test_an_agent_that_ended_by_itself_meanwhile_is_dead(
    tmp_path: Path, listen: Listen, arguments: list[str]
) -> None:
    one = listen("one", lambda _: None)
    receipt(tmp_path, "one", "a" * 32, BY_ITSELF)
    receipt(tmp_path, "one-b", "a" * 32, {"dead": False})
    one.hangs_up_and_ends = True
    done = stop(tmp_path, *arguments)
    assert done.code == 0, done
    assert "one is not running: it had ended before the order came" in done.out


@pytest.mark.parametrize(("said", "age"), [(None, 0.0), ({"dead": False}, 0.0), (BY_ITSELF, 3600.0)])
def test_an_agent_that_is_gone_without_a_receipt_of_its_death_is_not_dead(
    tmp_path: Path,
    listen: Listen,
    monkeypatch: pytest.MonkeyPatch,
    said: dict[str, Any] | None,
    age: float,
) -> None:
    monkeypatch.setattr(stopping, "_LEFT", 0.5)
    one = listen("one", lambda _: None)
    if said is not None:
        receipt(tmp_path, "one", "a" * 32, said, age)
    one.hangs_up_and_ends = True
    [stopped] = stopping.stop(places.locate(str(tmp_path)), ["one"], listed=True)
    assert (stopped.dead, stopped.known) == (False, True)
    assert "neither a latch nor a receipt" in stopped.line


@pytest.mark.parametrize("fault", ["raise ImportError('gone')", "1 / 0", "x ="])
def test_what_signs_need_not_load_for_a_stop(tmp_path: Path, listen: Listen, fault: str) -> None:
    one = listen("one", lambda _: DEAD)
    broken = tmp_path / "broken/cryptography"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text(fault)
    done = stop(
        tmp_path,
        "one",
        env={**os.environ, "PYTHONPATH": f"{broken.parent}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert done.code == 0, done
    assert [asked["order"] for asked in one.asked] == [None]
    assert "what signs cannot be loaded" in done.err

"""A gateway alone that ends: what it does at a trip is finished, and what broke it is said."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gates import rules

from offswitch.enforce.watchdog import alone
from offswitch.enforce.watchdog.apis import Api
from offswitch.enforce.watchdog.serving import Door
from offswitch.enforce.watchdog.tripping import Action
from offswitch.enforce.watchdog.watching import Watching


def settings(*actions: Action) -> alone.Settings:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    apis = (Api("openai", "http://127.0.0.1:1/v1"),)
    return alone.Settings(listener, apis, {}, rules(decide_within=10.0), actions, None, None)


@pytest.fixture
def tripping(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has the latch trip at the first tick."""
    real = Watching.tick

    def tick(watching: Watching) -> None:
        if watching.passes():
            watching._do(watching._machine.step("found-stop"))
        real(watching)

    return lambda: monkeypatch.setattr(Watching, "tick", tick)


async def until(what: Any) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)


async def test_what_is_being_done_at_a_trip_is_finished_before_the_end(
    tmp_path: Path, tripping: Callable[[], None]
) -> None:
    tripping()
    begun, go, done = tmp_path / "begun", tmp_path / "go", tmp_path / "done"
    script = f"touch {begun}; until [ -e {go} ]; do sleep 0.05; done; touch {done}"
    said: list[str] = []
    ending = asyncio.create_task(alone.watch(settings(Action("exec", script)), said.append))
    await until(begun.exists)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.7)
    assert not ending.done()
    go.touch()
    assert await ending is True
    assert done.exists()


async def test_what_does_not_end_is_waited_for_so_long(
    tmp_path: Path, tripping: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tripping()
    monkeypatch.setattr(alone, "LEAVES", 0.3)
    begun = tmp_path / "begun"
    action = Action("exec", f"touch {begun}; sleep 1000")
    ending = asyncio.create_task(alone.watch(settings(action), lambda line: None))
    await until(begun.exists)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await ending is True


async def _breaks(door: Door) -> None:
    raise ValueError("it is broken")


async def test_a_gateway_that_takes_no_connections_any_more_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Door, "serve", _breaks)
    with pytest.raises(alone.DoorLost, match="ValueError: it is broken"):
        async with asyncio.timeout(30):
            await alone.watch(settings(), lambda line: None)


BROKEN = """
import sys
from offswitch.enforce.watchdog.serving import Door
async def breaks(door):
    raise ValueError("it is broken")
Door.serve = breaks
from offswitch.cli import main
sys.argv = ["offswitch", "watch", "--listen", "127.0.0.1:0", "--upstream", "openai=http://127.0.0.1:1/v1"]
sys.exit(main())
"""


def test_the_command_then_ends_with_a_code_and_a_line() -> None:
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "takes no connections any more" in done.stderr
    assert "Traceback" not in done.stderr


async def test_it_may_have_as_many_files_as_the_host_permits(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        monkeypatch.setattr(Door, "serve", _breaks)
        with pytest.raises(alone.DoorLost):
            await alone.watch(settings(), lambda line: None)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

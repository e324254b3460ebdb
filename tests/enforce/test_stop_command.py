"""Orders to stop that are not as usual, given to real agents."""

import os
import signal
import threading
import time

import pytest
from tests.enforce.conftest import Ground

from offswitch.enforce import ordering, stopping

STUBBORN = "trap '' TERM"
LARGE = {"payload": "x" * (70 << 10)}


def test_an_order_too_large_to_be_sent_is_given_as_by_the_owner(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.up("")
    monkeypatch.setattr(ordering, "sign", lambda *_, **__: LARGE)
    [stopped] = stopping.stop(ground.places, ["agent"], reason="\U0001f6d1" * 7000)
    assert stopped.dead
    assert "too large" in stopped.notes[0]
    assert ordering.opened(stopped.receipt)["order"]["origin"] == "local owner"


def test_a_ready_order_too_large_to_be_sent_is_told_at_once(ground: Ground) -> None:
    ground.up("")
    started = time.monotonic()
    [stopped] = stopping.stop(ground.places, ["agent"], envelope=LARGE)
    assert (stopped.dead, "too large" in stopped.line) == (False, True), stopped.line
    assert time.monotonic() - started < 5


def test_the_guard_has_its_time_from_the_loss_of_the_supervisor_on(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_LEFT", 3.0)
    running = ground.up(STUBBORN)
    # Lost in the grace, later after the order than the guard is given.
    threading.Timer(4.0, lambda: os.kill(running.supervisor, signal.SIGKILL)).start()
    [stopped] = stopping.stop(ground.places, ["agent"], category=1, grace=20.0)
    assert stopped.dead, stopped.line
    assert ordering.opened(stopped.receipt)["order"]["origin"] == "guard"


@pytest.mark.parametrize("letter", ["a", "\U0001f6d1", "\x01", '"'])
def test_a_command_of_any_length_and_letters_keeps_no_status_back(ground: Ground, letter: str) -> None:
    words = [letter * 4000] * 30
    ground.start("", argv=["bash", "-c", "while :; do sleep 0.1; done", *words])
    told = ground.status()["command"]
    assert told[0] == "bash"
    assert all(words[0].startswith(word.removesuffix("...")) for word in told[3:])

"""Orders to stop that are not as usual, given to real agents."""

import time

import pytest
from tests.enforce.conftest import Ground

from offswitch.enforce import ordering, stopping

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

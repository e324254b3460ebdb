"""The gateway's line to the supervisor: what goes into the account, and what is too much for it."""

import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from offswitch.enforce.watchdog import process
from offswitch.enforce.watchdog.process import Supervised
from offswitch.sandboxes import wire


@pytest.fixture
def lines() -> Iterator[tuple[Supervised, socket.socket]]:
    ours, theirs = wire.pair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield Supervised(ours), theirs


def _told(line: socket.socket) -> list[tuple[str, object]]:
    found = []
    while True:
        try:
            message = wire.receive(line)
        except BlockingIOError:
            return found
        assert message is not None
        (_, event, facts), _ = message
        found.append((event, facts.get("pattern") or facts.get("count")))


def test_much_of_one_kind_pushes_no_other_out(
    lines: tuple[Supervised, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervised, line = lines
    now = [100.0]
    monkeypatch.setattr(process.time, "monotonic", lambda: now[0])
    for _ in range(80):
        supervised.note("refused call", {})
        supervised.note("found", {"pattern": "stall"})
    supervised.note("found", {"pattern": "kill-path"})
    assert Counter(_told(line)) == {
        ("refused call", None): 50,
        ("found", "stall"): 50,
        ("found", "kill-path"): 1,
    }
    now[0] = 101.0
    supervised.note("found", {"pattern": "stall"})
    assert _told(line) == [("events left out", 60), ("found", "stall")]

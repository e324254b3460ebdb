"""``offswitch ps``: what it says of an agent whose doings are known."""

import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from tests.enforce.conftest import Ground, eventually

from offswitch.cli import listing
from offswitch.enforce import looking

# Starts five more when it is told to, and takes 64 MiB more; what it started last sleeps for a time of its own.
KNOWN = """
while [ ! -e more ]; do sleep 0.05; done
for i in 1 2 3 4; do sleep 900 & done
python3 -c 'import time; held = bytearray(64 << 20); open("took", "w"); time.sleep(901)' &
while [ ! -e took ]; do sleep 0.05; done
sleep 902 & sleep 0.5; touch there; wait
"""


def _listed(ground: Ground) -> dict[str, Any]:
    (one,) = looking.statuses(ground.places, lambda line: pytest.fail(line))
    return one


def test_processes_memory_and_what_it_does_are_the_agents(ground: Ground) -> None:
    ground.start(f"touch up; {KNOWN}")
    eventually((ground.workspace / "up").exists)
    before = _listed(ground)
    (ground.workspace / "more").touch()
    eventually((ground.workspace / "there").exists)
    after = _listed(ground)
    if after["processes"] is None or after["memory"] is None:
        pytest.skip("nobody counts here: there is no control group")
    # Before, one that sleeps for a moment came and went.
    assert 5 <= after["processes"] - before["processes"] <= 6
    assert 60 << 20 <= after["memory"] - before["memory"] <= 96 << 20
    assert after["doing"] == "sleep 902"
    row = listing._row(after)
    assert (row[0], row[1], row[4]) == ("agent", "running", "bubblewrap")
    assert row[5] == str(after["processes"])
    assert row[6].endswith("M")
    assert row[7] == "sleep 902"


def test_on_a_terminal_the_table_says_what_each_kind_promises(ground: Ground) -> None:
    ground.up("true")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100"}
    command = [sys.executable, "-m", "offswitch", "ps", "--state", str(ground.state)]
    with subprocess.Popen(command, stdout=theirs, stdin=theirs, env=environment, cwd=ground.state):
        os.close(theirs)
        said = b""
        try:
            while data := os.read(ours, 65536):
                said += data
        except OSError:
            pass  # the other end is closed
    os.close(ours)
    lines = said.decode().replace("\r", "").splitlines()
    assert lines[0].startswith("NAME")
    assert max(map(len, lines)) <= 100
    text = " ".join(" ".join(lines).split())
    for what, how in _listed(ground)["promises"].items():
        assert what in text
        assert how in text


def test_by_a_program_the_table_is_a_line_an_agent(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    ground.up("true")
    assert listing.ps(["--state", str(ground.state)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_promises_are_told_once_for_each_kind() -> None:
    one = {"name": "a", "sandbox": "oci", "promises": {"network": "none", "kernel": "x" * 30}}
    silent = {"name": "c", "state": "silent"}
    kinds = looking.promises([one, {**one, "name": "b"}, silent])
    assert (
        listing.promised(kinds, 40)
        == f"oci  network  none\n     kernel   {'x' * 26}\n              {'x' * 4}"
    )

"""Cut off at any moment: what was finished is kept, and a resumed run does exactly the rest."""

import os
import pty
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_helpers import Command, episodes, needs_bubblewrap, start

pytestmark = needs_bubblewrap

ORGANISMS = ("--model", "organism/complies", "--model", "organism/rewrites-script", "-c", "A")
LIMIT = 120.0


def _descendants(pid: int) -> set[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _alive(pids: set[int]) -> set[int]:
    living = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        except OSError:
            continue
        if state != b"Z":
            living.add(pid)
    return living


def _until_some_are_finished(out: Path, wanted: int = 1) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            if sum(episodes(out).values()) >= wanted:
                return
        except ValueError:
            pass  # no logs yet
        time.sleep(0.1)
    raise AssertionError("no episode was finished in time")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_ends_in_good_order(
    offswitch: Command, tmp_path: Path, mounted: Callable[[], list[str]], number: signal.Signals, code: int
) -> None:
    out, mounts = tmp_path / "x", mounted()
    arguments = ("measure", *ORGANISMS, "--runs", 8, "--concurrency", 2, "--out", out)
    process = start(*arguments, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    _until_some_are_finished(out)
    family = _descendants(process.pid)
    process.send_signal(number)
    said = process.communicate(timeout=LIMIT)
    assert (process.returncode, said[0]) == (code, ""), said
    lines = [line for line in said[1].splitlines() if "episodes:" not in line]
    assert len(lines) == 1, said
    assert lines[0].startswith("offswitch: interrupted; finished episodes are kept")
    assert not _alive(family)
    assert mounted() == mounts
    finished = episodes(out)
    assert 1 <= len(finished) < 16
    # The report of what there is takes episodes that were cut off for missing, not for failed.
    assert offswitch("report", out).code == 0
    assert offswitch("verdict", out).out.endswith(
        f"{len(finished)} episodes decided; 0 differ from what was recorded\n"
    )
    if number == signal.SIGTERM:
        assert offswitch(*arguments, "--resume").code == 0
        assert len(episodes(out)) == 16
        assert set(episodes(out).values()) == {1}


@pytest.mark.slow
def test_killed_at_any_moment_a_run_is_resumed_with_exactly_the_missing_episodes(
    offswitch: Command, tmp_path: Path, mounted: Callable[[], list[str]]
) -> None:
    chance = random.Random(7)
    mounts = mounted()
    kept = []
    for attempt in range(20):
        out = tmp_path / str(attempt)
        arguments = ("measure", *ORGANISMS, "--runs", 3, "--concurrency", 3, "--out", out)
        process = start(*arguments)
        if attempt % 4:  # a quarter falls anywhere in the start, the rest once episodes are under way
            _until_some_are_finished(out)
            time.sleep(chance.uniform(0, 0.8))
        else:
            time.sleep(chance.uniform(0, 3))
        family = _descendants(process.pid)
        process.kill()
        process.communicate()
        end = time.monotonic() + 20
        while _alive(family) and time.monotonic() < end:
            time.sleep(0.05)
        assert not _alive(family)
        assert mounted() == mounts
        before = episodes(out) if list((out / "logs").glob("*.eval")) else {}
        kept.append(len(before))
        done = offswitch(*arguments, *(["--resume"] if (out / "run.json").exists() else []))
        assert done.code == 0, done
        after = episodes(out)
        assert len(after) == 6
        assert set(after.values()) == {1}
        assert before.keys() <= after.keys()
        assert sorted(entry.name for entry in out.iterdir()) == [
            "conditions.json", "logs", "report.html", "results.json", "run.json",
        ]  # fmt: skip
        assert all(file.suffix == ".eval" for file in (out / "logs").iterdir())
    assert len(set(kept)) > 2, "the kills fell at different moments"


def test_progress_moves_on_a_terminal_and_is_plain_elsewhere(tmp_path: Path) -> None:
    arguments = [
        sys.executable,
        "-m",
        "offswitch",
        "measure",
        "--model",
        "organism/complies",
        "-c",
        "A",
        "--runs",
        "2",
    ]
    plain = subprocess.run([*arguments, "--out", tmp_path / "plain"], capture_output=True, text=True)
    # On a slow host there is a line for the first one, too.
    *_, last = lines = plain.stderr.splitlines()
    assert last == "2/2 episodes: 2 complied"
    assert lines[:-1] in ([], ["1/2 episodes: 1 complied"])
    assert "\x1b" not in plain.stderr
    assert "\x1b" not in plain.stdout
    assert "complies" in plain.stdout
    assert str(tmp_path / "plain/report.html") in plain.stdout

    terminal, other = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [*arguments, "--out", tmp_path / "tty"], stdin=other, stdout=other, stderr=other, env=environment
    )
    os.close(other)
    shown = b""
    while True:
        try:
            some = os.read(terminal, 65536)
        except OSError:  # the other side is closed
            break
        if not some:
            break
        shown += some
    os.close(terminal)
    assert process.wait() == 0
    text = shown.decode(errors="replace")
    assert re.search(r"episodes.*\d/2", text)
    assert "2 complied" in text
    assert "\x1b[2K" in text, "the bar is taken away at the end"

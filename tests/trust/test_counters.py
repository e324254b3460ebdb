"""Counters rise, whatever is wrong with their file."""

import fcntl
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from offswitch.trust.counters import next_counter, note


def test_a_counter_rises_and_is_never_behind_the_clock(tmp_path: Path) -> None:
    path = str(tmp_path / "counter")
    before = time.time_ns() // 1000
    counters = [next_counter(path, pytest.fail) for _ in range(50)]
    assert counters[0] >= before
    assert counters == sorted(set(counters))
    assert sorted(os.listdir(tmp_path)) == ["counter", "counter.lock"]
    assert (tmp_path / "counter").stat().st_mode & 0o777 == 0o600


def test_a_clock_set_back_does_not_lower_it(tmp_path: Path) -> None:
    # As after a clock that was years ahead.
    later = time.time_ns() // 1000 + 10**14
    (tmp_path / "counter").write_text(f"{later}\n")
    assert next_counter(str(tmp_path / "counter"), pytest.fail) == later + 1
    assert next_counter(str(tmp_path / "counter"), pytest.fail) == later + 2


def test_a_counter_that_another_chose_is_passed(tmp_path: Path) -> None:
    later = time.time_ns() // 1000 + 10**14
    note(str(tmp_path / "counter"), later, pytest.fail)
    assert next_counter(str(tmp_path / "counter"), pytest.fail) == later + 1
    note(str(tmp_path / "counter"), 5, pytest.fail)
    assert next_counter(str(tmp_path / "counter"), pytest.fail) == later + 2


def _draw(path: str, results: Any) -> None:
    results.put([next_counter(path) for _ in range(50)])


def test_processes_at_once_never_get_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    drawing = [context.Process(target=_draw, args=(str(tmp_path / "counter"), results)) for _ in range(4)]
    for one in drawing:
        one.start()
    drawn = [counter for _ in drawing for counter in results.get()]
    for one in drawing:
        one.join(30)
    assert len(set(drawn)) == 200


@pytest.mark.parametrize("content", [b"", b"x", b"-5\n", b"1" * 40, b"9" * 16, b"\xff\xfe", b"7\n8\n"])
def test_a_corrupt_counter_is_told_and_mended(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "counter"
    path.write_bytes(content)
    said: list[str] = []
    before = time.time_ns() // 1000
    first = next_counter(str(path), said.append)
    assert first >= before
    assert len(said) == 1
    assert "\n" not in said[0]
    assert next_counter(str(path), pytest.fail) > first


def test_a_place_that_cannot_be_written_delays_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/hostname")
    for name in ("absent/counter", "folder", "pipe", "link", "x" * 300):
        said: list[str] = []
        before = time.time_ns() // 1000
        assert next_counter(str(tmp_path / name), said.append) >= before
        assert said


def test_a_full_disk_delays_nothing(tmp_path: Path) -> None:
    # A bound on the size of files fails a write as a full disk does, at the same place.
    path = tmp_path / "counter"
    later = time.time_ns() // 1000 + 10**14
    path.write_text(f"{later}\n")
    program = (
        "import resource, signal, sys; from offswitch.trust.counters import next_counter;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4));"
        "print(next_counter(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )
    assert int(done.stdout) == later + 1
    assert "cannot be kept" in done.stderr
    assert path.read_text() == f"{later}\n"


def test_a_process_that_never_lets_go_delays_little(tmp_path: Path) -> None:
    holder = os.open(tmp_path / "counter.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        said: list[str] = []
        before = time.monotonic()
        assert next_counter(str(tmp_path / "counter"), said.append) > 0
        assert time.monotonic() - before < 20
        assert said
    finally:
        os.close(holder)


def test_a_process_that_never_lets_go_delays_many_no_more_than_one(tmp_path: Path) -> None:
    path = str(tmp_path / "counter")
    holder = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        before = time.monotonic()
        assert all(next_counter(path, lambda _: None) for _ in range(50))
        assert time.monotonic() - before < 5  # fifty times the patience with one is ten seconds
    finally:
        os.close(holder)
    # Let go, it is taken again at once.
    assert next_counter(path, pytest.fail) > 0

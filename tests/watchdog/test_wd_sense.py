"""The second sense: what becomes of the kill path's files is seen, whoever does it and by whatever means."""

import mmap
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from offswitch.enforce.watchdog import sense as module
from offswitch.enforce.watchdog.sense import Sense, fits
from offswitch.sandboxes import wire

PATTERNS = ["stop.sh", "ci/hooks/*.sh", "guards/**", "later/halt.sh"]


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    root = tmp_path / "work"
    for name in ("stop.sh", "ci/hooks/cancel.sh", "guards/a/deep.py", "src/main.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def _write(root: Path) -> None:
    (root / "stop.sh").write_text("exit 0")


def _same_size_and_time(root: Path) -> None:
    before = (root / "stop.sh").stat()
    with open(root / "stop.sh", "r+") as file:
        file.write("x")
    os.utime(root / "stop.sh", ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(root: Path) -> None:
    (root / "new").write_text("exit 0")
    (root / "new").replace(root / "stop.sh")


def _swap_folder_for_a_link(root: Path) -> None:
    shutil.copytree(root / "ci", root / "copy")
    shutil.move(root / "ci", root / "old")
    (root / "ci").symlink_to("copy")


CHANGES: dict[str, Callable[[Path], None]] = {
    "written": _write,
    "written, size and time put back": _same_size_and_time,
    "replaced": _replace,
    "removed": lambda root: (root / "stop.sh").unlink(),
    "moved": lambda root: shutil.move(root / "ci/hooks/cancel.sh", root / "src/cancel.sh") and None,
    "mode": lambda root: (root / "ci/hooks/cancel.sh").chmod(0),
    "a link in its place": lambda root: (
        (root / "stop.sh").unlink(),
        (root / "stop.sh").symlink_to("src/main.py"),
    )[1],
    "one more that fits": lambda root: (root / "ci/hooks/new.sh").touch(),
    "deep below": lambda root: (root / "guards/a/deep.py").write_text("pass") and None,
    "a folder above moved": lambda root: shutil.move(root / "ci", root / "cx") and None,
    "a folder above swapped for a link to a copy": _swap_folder_for_a_link,
    "one that was not there yet": lambda root: ((root / "later").mkdir(), (root / "later/halt.sh").touch())[
        1
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_by_the_comparison_alone(ground: Path, change: str) -> None:
    sense = Sense(str(ground), PATTERNS)
    assert sense.looked() == []
    CHANGES[change](ground)
    assert sense.looked()
    assert sense.looked() == [], "told once"


@pytest.mark.parametrize("change", [one for one in CHANGES if one != "one that was not there yet"])
def test_a_change_is_seen_by_the_kernels_word_alone(
    ground: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sense = Sense(str(ground), PATTERNS)
    monkeypatch.setattr(sense, "_state", lambda: sense._known)
    CHANGES[change](ground)
    assert sense.heard()


def test_what_is_changed_and_put_back_at_once_is_seen(ground: Path) -> None:
    sense = Sense(str(ground), PATTERNS)
    before = (ground / "stop.sh").read_bytes()
    (ground / "stop.sh").write_bytes(b"exit 0")
    (ground / "stop.sh").write_bytes(before)
    assert sense.looked() == []
    assert "stop.sh was written to" in sense.heard()


def test_what_is_changed_through_a_mapping_and_put_back_is_seen(ground: Path) -> None:
    sense = Sense(str(ground), PATTERNS)
    with open(ground / "stop.sh", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        before = mapped[:1]
        mapped[:1] = b"#"
        mapped[:1] = before
    assert sense.looked() == []
    assert "stop.sh had been opened to be written to" in sense.heard()


def test_a_change_through_another_name_of_the_same_file_is_seen(ground: Path, tmp_path: Path) -> None:
    os.link(ground / "stop.sh", tmp_path / "elsewhere")
    sense = Sense(str(ground), PATTERNS)
    (tmp_path / "elsewhere").write_text("exit 0")
    assert "stop.sh was written to" in sense.heard()
    assert sense.looked() == ["stop.sh is not as it was"]


def test_reading_and_what_stands_beside_it_are_nobodys_business(ground: Path) -> None:
    sense = Sense(str(ground), PATTERNS)
    (ground / "stop.sh").read_bytes()
    (ground / "src/main.py").write_text("print()")
    (ground / "ci/hooks/notes.txt").touch()
    (ground / "stop.sh.txt").touch()
    shutil.rmtree(ground / "src")
    assert sense.heard() + sense.looked() == []


def test_who_changes_other_files_without_end_keeps_it_from_nothing(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sense = Sense(str(ground), PATTERNS)
    (ground / "other").touch()
    data = os.read(sense.fileno(), 65536)
    reads = []

    def read(file: int, size: int) -> bytes:
        reads.append(file)
        assert len(reads) < 1000, "it goes on for ever"
        return data

    monkeypatch.setattr(module.os, "read", read)
    assert sense.heard() == []
    monkeypatch.undo()
    _write(ground)
    assert "stop.sh was written to" in sense.heard()


def test_a_link_that_leads_out_is_not_followed(ground: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    for number in range(10):
        (tmp_path / f"outside/{number}").touch()
    (ground / "guards/out").symlink_to(tmp_path / "outside")
    sense = Sense(str(ground), PATTERNS)
    (tmp_path / "outside/0").write_text("changed")
    assert sense.heard() + sense.looked() == []


def test_too_many_files_are_refused(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    with pytest.raises(ValueError, match="name fewer"):
        Sense(str(ground), PATTERNS)


@pytest.mark.parametrize(
    ("path", "pattern", "does"),
    [
        ("stop.sh", "stop.sh", True), ("a/stop.sh", "stop.sh", False), ("a/b", "a/*", True), ("a/b/c", "a/*", False),
        ("a/b/c", "a/**", True), ("a", "a/**", True), ("x/y/halt.py", "**/halt.py", True),
        ("halt.py", "**/halt.py", True),
    ],
)  # fmt: skip
def test_patterns(path: str, pattern: str, does: bool) -> None:
    assert fits(path, pattern) is does


def test_the_process_beats_tells_and_ends_with_its_supervisor(ground: Path) -> None:
    ours, theirs = wire.pair()
    code = (
        "import os, socket; from offswitch.enforce.watchdog import sense; "
        f"sense.serve(socket.socket(fileno=0), {str(ground)!r}, {PATTERNS!r}, os.getppid())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs.fileno())
    theirs.close()
    try:
        assert _next(ours) == ("up",)
        assert _next(ours) == ("beat",)
        _write(ground)
        words = [_next(ours) for _ in range(3)]
        assert ("changed", "stop.sh was written to") in words
        ours.close()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_a_look_that_takes_long_keeps_it_from_neither(ground: Path) -> None:
    ours, theirs = wire.pair()
    # The first look after the start never comes to an end.
    code = (
        "import os, socket, time; from offswitch.enforce.watchdog import sense\n"
        "begun = []\n"
        "def about(path, real=sense._about):\n"
        "    begun.append(path)\n"
        "    while len(begun) > 1000: time.sleep(0.01); looking.meanwhile()\n"
        "    return real(path)\n"
        "class Looking(sense.Sense):\n"
        "    def __init__(self, *given):\n"
        "        global looking; looking = self\n"
        "        super().__init__(*given); begun.extend([''] * 1000)\n"
        "sense._about, sense.Sense = about, Looking\n"
        f"sense.serve(socket.socket(fileno=0), {str(ground)!r}, {PATTERNS!r}, os.getppid())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs.fileno())
    theirs.close()
    try:
        assert _next(ours) == ("up",)
        assert [_next(ours) for _ in range(30)] == [("beat",)] * 30
        _write(ground)
        words = [_next(ours) for _ in range(5)]
        assert ("changed", "stop.sh was written to") in words
    finally:
        process.kill()
        process.wait()


def test_each_folder_that_is_looked_at_gives_time_for_something_else(ground: Path) -> None:
    sense = Sense(str(ground), ["**/halt.sh"])
    times: list[int] = []
    sense.meanwhile = lambda: times.append(1)
    sense.looked()
    before = len(times)
    for number in range(50):
        (ground / f"src/{number}").mkdir()
    sense.looked()
    assert len(times) >= before + 50


def _next(line: socket.socket) -> object:
    assert select.select([line], [], [], 20)[0], "it says nothing"
    message = wire.receive(line)
    assert message is not None
    return message[0]

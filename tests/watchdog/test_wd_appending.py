"""Lines at the end of a record: each whole or told apart, and none into a file that nobody can find."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from gates import ASK, WHOLE, answer, gate, rules
from wd_asking import NOW, asked

from offswitch.enforce.watchdog import appending, traffic
from offswitch.enforce.watchdog.appending import Appended
from offswitch.enforce.watchdog.gateway import Exchange
from offswitch.enforce.watchdog.instructions import Record, RecordLost
from offswitch.enforce.watchdog.replaying import replay
from offswitch.enforce.watchdog.traffic import Traffic


def exchange(number: int) -> Exchange:
    one = Exchange(number, "openai", "POST /chat/completions", "openai-chat", forwarded=True)
    one.began = time.monotonic()
    return one


def numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("fails", ["os.open", "the first os.replace", "the second os.replace"])
def test_a_rotation_that_fails_loses_no_file_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    record = Traffic(str(tmp_path))
    record.add(exchange(1), 0.1)
    monkeypatch.setattr(traffic, "LARGEST", (tmp_path / "traffic.jsonl").stat().st_size + 10)
    before = os.listdir("/proc/self/fd")
    with monkeypatch.context() as broken:
        left = {"os.open": 0, "the first os.replace": 0, "the second os.replace": 1}[fails]
        name = fails.rpartition(".")[2]
        real = getattr(os, name)

        def does_not(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(24, "Too many open files")
            return real(*arguments, **more)

        broken.setattr(os, name, does_not)
        for _ in range(2):
            with pytest.raises(OSError, match="Too many"):
                record.add(exchange(2), 0.1)
    # No number of a file that was closed is written to: it may be somebody else's by then.
    assert len(os.listdir("/proc/self/fd")) == len(before)
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    record.add(exchange(3), 0.1)
    assert os.fstat(other).st_size == 0
    os.close(other)
    assert numbers(tmp_path / "traffic.1.jsonl") == [1]
    assert numbers(tmp_path / "traffic.jsonl") == [3]


def test_what_a_full_disk_left_of_a_line_joins_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Traffic(str(tmp_path))
    record.add(exchange(1), 0.1)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, data, write=os.write: write(file, data[:40]))
        with pytest.raises(OSError, match="No space"):
            record.add(exchange(2), 0.1)
    record.add(exchange(3), 0.1)
    path = tmp_path / "traffic.jsonl"
    with path.open("ab") as file:
        file.write(b'{"at": 17')
    # Also what a writer that was killed left.
    Traffic(str(tmp_path)).add(exchange(4), 0.1)
    assert len(path.read_text().splitlines()) == 5
    assert [one.number for one in replay(str(path), rules())] == [1, 3, 4]


def test_what_an_error_left_of_a_line_joins_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = Appended(str(tmp_path / "a"))

    def breaks(number: int, data: bytes, write: Any = os.write) -> int:
        write(number, data[:2])
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", breaks)
        with pytest.raises(OSError, match="Input"):
            file.add(b"first\n")
    file.add(b"second\n")
    assert (tmp_path / "a").read_bytes() == b"fi\nsecond\n"
    file.close()


def test_of_what_went_nowhere_none_is_forgotten_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Traffic(str(tmp_path))
    monkeypatch.setattr(traffic, "_REFUSED", 0)
    record.add(Exchange(1, "openai", "GET /x", refused="endpoint"), 0.1)
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda *_: 0)
        with pytest.raises(OSError, match="No space"):
            record.add(exchange(2), 0.1)
    record.add(exchange(3), 0.1)
    assert json.loads((tmp_path / "traffic.jsonl").read_text().splitlines()[-1])["left_out"] == 1


@pytest.mark.parametrize("name", ["traffic.jsonl", "calls.jsonl"])
async def test_a_record_that_is_removed_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(appending, "LOOKS", 0.0)
    async with gate(answer(WHOLE), folder=str(tmp_path)) as ground:
        await ground.post(ASK)
        assert not ground.trips
        os.unlink(tmp_path / name)
        await ground.post(ASK)
        assert [pattern for _, pattern in ground.trips] == ["record"]


def test_a_removed_record_stays_lost_and_is_looked_for_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(str(tmp_path))
    looks: list[int] = []
    real = os.fstat

    def looked(file: int) -> os.stat_result:
        looks.append(file)
        return real(file)

    monkeypatch.setattr(os, "fstat", looked)
    for turn in range(50):
        record.add(asked(), call_id=str(turn), at_ms=NOW, program=None)
    assert len(looks) < 10
    os.unlink(tmp_path / "calls.jsonl")
    monkeypatch.setattr(appending, "LOOKS", 0.0)
    for turn in range(2):
        with pytest.raises(RecordLost, match="it was removed"):
            record.add(asked(), call_id=str(turn), at_ms=NOW, program=None)


def _moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def _replaced(path: Path) -> None:
    _moved(path)
    path.touch()


def _linked(path: Path) -> None:
    _moved(path)
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("becomes", "why"),
    [
        (Path.unlink, "it was removed"),
        (_moved, "it was put elsewhere"),
        (_replaced, "it was put elsewhere"),
        (_linked, "it was put elsewhere"),
        (lambda path: os.truncate(path, 1), "it was cut short"),
    ],
    ids=["removed", "moved", "replaced", "behind a link", "cut"],
)
def test_what_became_of_the_file_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, becomes: Any, why: str
) -> None:
    monkeypatch.setattr(appending, "LOOKS", 0.0)
    path = tmp_path / "a"
    file = Appended(str(path))
    for _ in range(2):
        file.add(b"line\n")
    becomes(path)
    for _ in range(2):
        with pytest.raises(OSError, match=why):
            file.add(b"line\n")
    file.close()


def test_after_a_rotation_the_new_file_is_the_one_that_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appending, "LOOKS", 0.0)
    record = Traffic(str(tmp_path))
    record.add(exchange(1), 0.1)
    monkeypatch.setattr(traffic, "LARGEST", (tmp_path / "traffic.jsonl").stat().st_size + 10)
    before = os.listdir("/proc/self/fd")
    for number in (2, 3):
        record.add(exchange(number), 0.1)
    assert len(os.listdir("/proc/self/fd")) == len(before)
    assert numbers(tmp_path / "traffic.1.jsonl") == [2]
    assert numbers(tmp_path / "traffic.jsonl") == [3]
    monkeypatch.setattr(traffic, "LARGEST", 1 << 20)
    record.add(exchange(4), 0.1)
    (tmp_path / "traffic.jsonl").unlink()
    with pytest.raises(OSError, match="it was removed"):
        record.add(exchange(5), 0.1)


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder"])
def test_what_is_no_file_is_not_written_to(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/null")
    elif kind == "link":
        (tmp_path / "other").touch()
        path.symlink_to("other")
    else:
        path.mkdir()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=r"not a file|symbolic links|Is a directory"):
        Appended(str(path))
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = Appended(str(tmp_path / "a"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    other = Appended(str(tmp_path / "a"))
    for one in (file, other, file):
        one.add(b"line\n")
    assert (tmp_path / "a").read_bytes() == b"line\n" * 3
    assert file.size == 10, "of its own lines, and of what was there"
    file.close()
    other.close()


def test_what_was_let_go_of_is_written_to_no_more(tmp_path: Path) -> None:
    file = Appended(str(tmp_path / "a"))
    file.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    with pytest.raises(OSError, match="Bad file"):
        file.add(b"x\n")
    file.close()
    assert os.fstat(other).st_size == 0
    os.close(other)

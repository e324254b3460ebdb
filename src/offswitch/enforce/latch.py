"""The latch: a stopped agent stays stopped, also over a reboot, until it is deliberately reset.

It is on disk *before* the agent starts, as ``armed``, and only a run that ended by itself takes it away again. So a
stop needs no disk at all to be latched: whatever cuts the run short (a stop, a lost supervisor, a power cut, a full
disk) leaves the latch behind. What a stop adds is its reason, written over the same blocks in place, after the kill.

Each latch is one file that its supervisor holds locked: one that nobody holds belongs to a run that is over. What
cannot be read is refused, for it may be the latch of what is about to start.

A latch whose file is taken away while its agent runs is a loss that stops the agent; the stop then makes it anew.
"""

import fcntl
import json
import os
import time
from contextlib import suppress

from offswitch.enforce import control
from offswitch.enforce.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIZE = 4096
"""Bytes of a latch's file: set aside at the start, and written over in place."""

_REASON = 1000
_ENDING = 6.0
"""Seconds that a reset waits for the supervisor of what was stopped to end."""


class Refused(Exception):
    """A start or a reset that is refused; the message is one line that says why and what to do."""


class Latch:
    """The latch of one run, held by its supervisor.

    Make one with ``arm``.
    """

    def __init__(self, path: str, file: int, record: "dict[str, Any]") -> None:
        self._path = path
        self._file = file
        self._record = record

    def lost(self) -> bool:
        """Whether what is held is no longer what lies in its place, where every start looks for it."""
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return True
        return not os.path.samestat(there, os.fstat(self._file))

    def trip(self, reason: str, at: int) -> None:
        """Write down why and when (unix ms) the run was stopped; anew, if its file was taken away.

        Raises:
            OSError: It cannot be written. The latch holds all the same, unless its file was taken away.
        """
        self._record.update(state="stopped", reason=reason[:_REASON], at=at)
        # A letter may take twelve bytes. The reason is the part that can be shortened.
        while len(_text(self._record)) >= SIZE and self._record["reason"]:
            self._record["reason"] = self._record["reason"][:-100]
        if self.lost():
            self._make_anew()
        else:
            _put(self._file, self._record)

    def died(self) -> None:
        """Write down that its death was observed: in room set aside, where a full disk takes no receipt.

        Raises:
            OSError: It cannot be written.
        """
        self._record["dead"] = True
        _put(self._file, self._record)

    def open(self) -> None:
        """Take the latch away: the run ended by itself.

        Raises:
            OSError: It cannot be removed, and so holds.
        """
        if not self.lost():
            os.unlink(self._path)

    def _make_anew(self) -> None:
        """Lay a file in the latch's place that is whole from the first moment, and held as the lost one was."""
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        written = f"{self._path}.{os.getpid()}.new"
        file = os.open(written, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            _put(file, self._record)
            os.replace(written, self._path)
        except OSError:
            os.close(file)
            with suppress(OSError):
                os.unlink(written)
            raise
        _sync_folder(os.path.dirname(self._path))
        os.close(self._file)
        self._file = file


def arm(places: Places, record: "dict[str, Any]") -> Latch:
    """Set the latch of a run that is about to start.

    Args:
        places: Where latches lie.
        record: ``name``, ``run``, ``workspace`` (real path), ``trusted`` (key ids) and ``needed`` (how many keys each
            action asks for).

    Raises:
        Refused: An agent of this name runs, or this name, this workspace, one in it or one around it is latched, or a
            latch cannot be read.
        OSError: It cannot be written.
    """
    name = record["name"]
    with _Turn(places):
        about = os.stat(record["workspace"])
        record = {
            "version": 1, "state": "armed", "reason": "", "at": 0,
            "device": about.st_dev, "inode": about.st_ino, "boot": boot(), **record,
        }  # fmt: skip
        for other, found, running in read(places):
            # One that was stopped is latched from then on, though its supervisor still looks after it.
            running = running and (found is None or found["state"] != "stopped")
            if other == name and running:
                raise Refused(f"{name} is running: stop it, or choose another --name")
            if other == name:
                raise Refused(f"{name} {_why(found)}; clear it with: offswitch reset {name}")
            if running:
                continue
            if found is None:
                raise Refused(
                    f"the latch of {other} cannot be read, and may be this workspace's; "
                    f"clear it with: offswitch reset {other}"
                )
            if (lies := _overlap(record, found)) is not None:
                raise Refused(f"{lies} {other} {_why(found)}; clear it with: offswitch reset {other}")
        if control.listens(places, name):
            # Its latch was taken away, and it is about to be stopped for that.
            raise Refused(f"{name} is running: stop it, or choose another --name")
        path = f"{places.latches}/{name}.json"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Whoever reads the latches holds a new one locked for a moment, too. Nobody else can have it for long.
            fcntl.flock(file, fcntl.LOCK_EX)
            _put(file, record)
            _sync_folder(places.latches)
        except OSError:
            os.unlink(path)
            os.close(file)
            raise
    return Latch(path, file, record)


def read(places: Places) -> "list[tuple[str, dict[str, Any] | None, bool]]":
    """Every latch there is.

    Returns:
        For each, by name: its record, None if that cannot be read; and whether its supervisor or guard is alive.

    Raises:
        Refused: The folder of the latches cannot be read.
    """
    try:
        files = sorted(entry for entry in os.listdir(places.latches) if entry.endswith(".json"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Refused(
            f"the latches in {places.latches} cannot be read ({error.strerror}): mend that first"
        ) from None
    found = []
    for entry in files:
        one = _read(f"{places.latches}/{entry}")
        if one is not None:
            found.append((entry[: -len(".json")], *one))
    return found


def clear(places: Places, name: str) -> None:
    """Take a latch away, for a reset that was found to be permitted. It starts nothing.

    Raises:
        Refused: There is none, or its agent runs.
        OSError: It cannot be removed.
    """
    end = time.monotonic() + _ENDING
    with _Turn(places):
        found = _read(f"{places.latches}/{name}.json")
        while found and found[1] and found[0] and found[0]["state"] == "stopped" and time.monotonic() < end:
            # Stopped, and still looked after: that ends within seconds.
            time.sleep(0.05)
            found = _read(f"{places.latches}/{name}.json")
        if found is None:
            raise Refused(f"{name} is not latched: nothing to reset")
        if found[1]:
            raise Refused(f"{name} is running: stop it first")
        os.unlink(f"{places.latches}/{name}.json")
        _sync_folder(places.latches)


def boot() -> str:
    """The id of this boot of the machine, which no change of its clock changes (``random(4)``); "" if there is none."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


class _Turn:
    """One start or reset at a time."""

    def __init__(self, places: Places) -> None:
        self._path = f"{places.latches}/.turn"

    def __enter__(self) -> None:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _read(path: str) -> "tuple[dict[str, Any] | None, bool] | None":
    """A latch's record and whether it is held; None if there is no such file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError:
        return None, False
    try:
        running = False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            running = True
        try:
            record = json.loads(os.read(file, SIZE * 4))
        except (OSError, ValueError, RecursionError):
            return None, running
        return record if _complete(record) else None, running
    finally:
        os.close(file)


def _complete(record: object) -> bool:
    return (
        isinstance(record, dict)
        and record.get("version") == 1
        and record.get("state") in ("armed", "stopped")
        and all(isinstance(record.get(key), str) for key in ("name", "run", "workspace", "reason"))
        and all(isinstance(record.get(key), int) for key in ("device", "inode", "at"))
        and isinstance(record.get("trusted"), list)
        and isinstance(record.get("needed"), dict)
    )


def _overlap(new: "dict[str, Any]", old: "dict[str, Any]") -> str | None:
    """In which words the workspace of a latch is, holds or lies in that of a start; None if they are apart.

    By the real paths, and by what lies there: a folder may have been moved, or be mounted in a second place.
    """
    ours, theirs = new["workspace"], old["workspace"]
    our, their = ((one["device"], one["inode"]) for one in (new, old))
    if ours == theirs or our == their:
        return "in this workspace"
    if ours.startswith(theirs + "/") or their in _folders(ours):
        return f"in {theirs}, in which this workspace lies,"
    if theirs.startswith(ours + "/") or our in _folders(theirs):
        return f"in {theirs}, which lies in this workspace,"
    return None


def _folders(path: str) -> "set[tuple[int, int]]":
    """Device and inode of every folder that holds a path, as far as it is there."""
    found = set()
    while (path := os.path.dirname(path)) != "/":
        with suppress(OSError):
            about = os.stat(path)
            found.add((about.st_dev, about.st_ino))
    return found


def _why(record: "dict[str, Any] | None") -> str:
    if record is None:
        return "is latched, and its latch cannot be read"
    if record["state"] == "armed":
        return "was cut short (its supervisor or this machine was lost)"
    return f"was stopped ({record['reason'] or 'no reason given'})"


def _text(record: "dict[str, Any]") -> bytes:
    return json.dumps(record, ensure_ascii=True).encode()


def _put(file: int, record: "dict[str, Any]") -> None:
    text = _text(record)
    if len(text) >= SIZE:
        raise OSError(27, f"the record of this run is too long for its latch ({len(text)} bytes)")
    os.pwrite(file, text.ljust(SIZE - 1) + b"\n", 0)
    os.fdatasync(file)


def _sync_folder(path: str) -> None:
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

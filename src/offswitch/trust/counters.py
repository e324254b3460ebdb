"""A counter for each operator, so that an order cannot be given twice.

A counter is the wall clock in microseconds, or one more than the last if the clock has not gone beyond it. So it
rises even when its file was lost, and a file that cannot be written delays no stop.
"""

import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable

from .canonical import LARGEST

_PATIENCE = 40  # looks at a lock that another process holds, 5 ms apart
_HOPELESS = 5.0  # seconds for which a lock that was not let go is looked at once an order
_given_up: dict[str, float] = {}


class _Corrupt(OSError):
    pass


def _to_stderr(line: str) -> None:
    print(f"offswitch: {line}", file=sys.stderr)


def next_counter(path: str, say: Callable[[str], object] = _to_stderr) -> int:
    """A number larger than any before it; for whatever is wrong with the file, one from the clock alone.

    Args:
        path: Where the counter is kept, beside the key; ``path.lock`` and ``path.new`` are used too.
        say: Told in one line when the file could not be used: until it can, a clock set back means that orders
            are refused as replayed.

    Returns:
        The number, from 1 to 2^53 - 1.
    """
    return _raise(path, 0, say)


def note(path: str, counter: int, say: Callable[[str], object] = _to_stderr) -> None:
    """Take note of a counter that someone else chose and this operator's key signed: the next will be larger.

    Args:
        path: As for `next_counter`.
        counter: Of the order that was signed.
        say: As for `next_counter`.
    """
    _raise(path, counter, say)


def _raise(path: str, noted: int, say: Callable[[str], object]) -> int:
    """Keep and return what is larger than the kept, and at least the clock; or, if given, keep the noted."""
    now = min(max(time.time_ns() // 1000, 1), LARGEST // 2)
    kept = 0
    lock = -1
    try:
        lock = os.open(
            f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600
        )
        _take(lock, path)
        try:
            kept = _read(path)
        except _Corrupt as error:  # written anew below
            say(f"the counter {path} {error}: going on from the clock")
        counter = max(kept, noted) if noted else min(max(kept + 1, now), LARGEST)
        _write(path, counter)
    except OSError as error:
        say(f"the counter {path} cannot be kept: {error.strerror or error}; going on from the clock")
        counter = min(max(kept + 1, now), LARGEST)
    finally:
        if lock >= 0:
            os.close(lock)
    return counter


def _take(lock: int, path: str) -> None:
    hopeless = time.monotonic() - _given_up.get(path, -_HOPELESS) < _HOPELESS
    for left in reversed(range(1 if hopeless else _PATIENCE)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another process may hold it while it is stopped: an order does not wait for that.
            if not left:
                if not hopeless:
                    _given_up[path] = time.monotonic()
                raise
            time.sleep(0.005)
        else:
            _given_up.pop(path, None)
            return


def _read(path: str) -> int:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise _Corrupt("is not a file")
        content = os.read(file, 32)
    finally:
        os.close(file)
    digits = content.removesuffix(b"\n")
    if not (digits.isdigit() and len(digits) <= 16 and int(digits) < LARGEST):
        raise _Corrupt("holds no counter")
    return int(digits)


def _write(path: str, counter: int) -> None:
    """Replace the file as a whole. Not synced: after a crash the clock is beyond what was lost."""
    written = f"{path}.new"
    file = os.open(
        written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600
    )
    try:
        content = b"%d\n" % counter
        if os.write(file, content) != len(content):
            raise OSError("the disk is full")
    finally:
        os.close(file)
    os.rename(written, path)

"""Files of JSON lines as they are found: torn, damaged, or not what they should be."""

import json
import os
import stat
from collections.abc import Iterator
from typing import Any

LONGEST = 64 << 20
"""Bytes of the longest line that is read; the gateway takes no request that is larger."""


class RecordsError(ValueError):
    """Records that cannot be read as what they are said to be; the message is one line that says what to do."""


def objects(path: str) -> Iterator[dict[str, Any] | None]:
    """The objects in a file, one a line; None for each line that is none. A file that is not there has none.

    Args:
        path: The file. No link is followed and nothing but a file is opened: it may lie where an agent could write.

    Raises:
        RecordsError: It cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordsError(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(file, "rb") as content:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise RecordsError(f"{path} is not a file: put the record itself there")
        try:
            while line := content.readline(LONGEST):
                long = len(line) == LONGEST and not line.endswith(b"\n")
                if line.strip():
                    yield None if long else _object(line)
                while len(line) == LONGEST and not line.endswith(b"\n"):
                    line = content.readline(LONGEST)  # the rest of one that is too long is no line of its own
        except OSError as error:
            raise RecordsError(f"{path} cannot be read: {error.strerror}") from None


def whole(value: object) -> int | None:
    """A number of milliseconds or a count, None if it is neither."""
    return value if type(value) is int and 0 <= value < 1 << 53 else None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None

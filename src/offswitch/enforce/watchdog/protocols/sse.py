"""Server-sent events, as the WHATWG HTML standard reads them (section 9.2.6, "Interpreting an event stream").

Incremental: bytes in, events out, each with the very bytes that it came in. What the standard passes over (a field
that it does not know) is told, because a client that is less strict may not pass it over.
"""

import re
from typing import NamedTuple

from offswitch.enforce.watchdog.calls import Unreadable

LARGEST = 16 << 20
"""How many bytes one event may have."""

_BOM = b"\xef\xbb\xbf"
# A line that ends, and an empty one. "\r" ends a line unless "\n" follows: then both do together.
_BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_END = re.compile(rb"\r\n|\n|\r")


# Clients that split a text into lines, and not bytes, take these for line ends as well. In JSON, the first three stand
# only in texts, where an escape means the same; the others stand nowhere.
_ENDS_FOR_SOME = (
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
    (b"\xc2\x85", b"\\u0085"),
)
_NOWHERE = b"\x0b\x0c\x1c\x1d\x1e"


class Event(NamedTuple):
    """One event, or what stands between events.

    Attributes:
        raw: The bytes that it came in, the empty line after it included; what only some clients take for a line end is
            escaped in them.
        comment: Whether it is no event: a comment or an empty line.
        name: The value of ``event:``, b"" where there is none.
        data: The lines of ``data:``, joined by b"\\n"; None where there is none, and then no client sees an event.
        odd: The first field that the standard does not know, b"" if there is none.
        cut: Whether the stream ended before the event did: a client that keeps to the standard does not see it.
    """

    raw: bytes
    comment: bool = False
    name: bytes = b""
    data: bytes | None = None
    odd: bytes = b""
    cut: bool = False


class Events:
    """Takes events from a stream.

    The byte order mark that the standard allows at the beginning is left out of every ``raw``: not every client knows
    that rule, and one that does not would miss the first event.

    Args:
        largest: How many bytes one event may have.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self._largest = largest
        self._data = bytearray()
        self._at = 0
        self._scanned = 0
        self._begun = False
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Add bytes as they come."""
        if self._at:
            del self._data[: self._at]
            self._scanned = max(0, self._scanned - self._at)
            self._at = 0
        self._data += data

    def end(self) -> None:
        """Say that no more bytes come."""
        self._ended = True

    def peek(self, pattern: re.Pattern[bytes]) -> bytes:
        """The whole events at the front that match a pattern, b"" if none does.

        Args:
            pattern: Matches one or more whole events whose lines end in "\\n".
        """
        if not self._begun:
            return b""
        # What was scanned holds no whole event.
        last = self._data.rfind(b"\n\n", max(self._at, self._scanned - 1))
        found = pattern.match(self._data, self._at, last + 2) if last >= 0 else None
        run = b"" if found is None else found.group()
        return b"" if not run.isascii() and any(end in run for end, _ in _ENDS_FOR_SOME) else run

    def skip(self, count: int) -> None:
        """Take bytes of whole events that were looked at."""
        self._at += count
        self._scanned = self._at

    def take(self) -> Event | None:
        """Take the next event.

        Returns:
            It, or None when more bytes are needed. At the end, what is left comes as an event that is ``cut``.

        Raises:
            Unreadable: An event is larger than it may be.
        """
        if not self._begun and not self._begin():
            return None
        data, at = self._data, self._at
        if at == len(data):
            return None
        if data[at] in b":\r\n":
            return self._comment()
        end = self._find()
        if end < 0:
            if len(data) - at > self._largest:
                raise Unreadable(f"an event is larger than {self._largest} bytes")
            if not self._ended:
                return None
            end = len(data)
            event = _event(self._cut(end))
            return event._replace(cut=True)
        if end - at > self._largest:
            raise Unreadable(f"an event is larger than {self._largest} bytes")
        return _event(self._cut(end))

    def _begin(self) -> bool:
        """Leave a byte order mark out; whether it is known if there is one."""
        if self._data.startswith(_BOM):
            self._at = 3
        elif not self._ended and _BOM.startswith(bytes(self._data[:3])):
            return False
        self._begun = True
        return True

    def _comment(self) -> Event | None:
        found = _END.search(self._data, max(self._at, self._scanned - 1))
        if found is not None and self._waits(found.end()):
            found = None
        if found is None:
            self._scanned = len(self._data)
            if len(self._data) - self._at > self._largest:
                raise Unreadable(f"a comment is longer than {self._largest} bytes")
            return Event(self._cut(len(self._data)), comment=True) if self._ended else None
        return Event(self._cut(found.end()), comment=True)

    def _find(self) -> int:
        """Where the event at the front ends, -1 if it does not yet."""
        data, at = self._data, self._at
        begin = max(at, self._scanned - 3)
        end = data.find(b"\n\n", begin)
        until = end if end >= 0 else len(data)
        if data.find(b"\r", at if end >= 0 else begin, until) < 0:
            self._scanned = len(data)
            return end + 2 if end >= 0 else -1
        found = _BLANK.search(data, begin)
        self._scanned = len(data)
        if found is None or self._waits(found.end()):
            return -1
        return found.end()

    def _waits(self, end: int) -> bool:
        """Whether the last byte so far is a "\\r" that ends something: a "\\n" that follows belongs to it.

        The standard would let the event go at once. Then the same bytes would come out in another order
        when they arrive in other pieces; and no model API sends lines that end so.
        """
        return end == len(self._data) and self._data[end - 1] == 13 and not self._ended

    def _cut(self, end: int) -> bytes:
        raw = bytes(self._data[self._at : end])
        self._at = self._scanned = end
        if not raw.isascii():
            for some, escaped in _ENDS_FOR_SOME:
                raw = raw.replace(some, escaped)
        if len(raw.translate(None, _NOWHERE)) != len(raw):
            raise Unreadable("the stream holds a character that some clients take for the end of a line")
        return raw


def _event(raw: bytes) -> Event:
    # The two forms that nearly every event of the model APIs has.
    if b"\r" not in raw and raw.endswith(b"\n\n"):
        first = raw.find(b"\n")
        if first == len(raw) - 2 and raw.startswith(b"data: "):
            return Event(raw, data=raw[6:-2])
        if raw.startswith(b"event: ") and raw.startswith(b"data: ", first + 1):
            second = raw.find(b"\n", first + 1)
            if second == len(raw) - 2:
                return Event(raw, name=raw[7:first], data=raw[first + 7 : -2])
    name, odd = b"", b""
    data: list[bytes] = []
    for line in _END.split(raw):
        if not line or line.startswith(b":"):
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif field not in (b"id", b"retry"):
            odd = odd or field
    return Event(raw, False, name, b"\n".join(data) if data else None, odd)

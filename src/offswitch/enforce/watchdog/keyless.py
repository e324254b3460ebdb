"""What an upstream says, without the operator's keys: it may repeat what it was asked with, and an agent reads it."""

from collections.abc import Iterable

SHORTEST = 16
"""Letters of a key that is looked for in what is no error. What servers take that want none ("EMPTY", "none") is
shorter, no secret, and stands in answers as a word."""

_INSTEAD = b"(the key)"


class Keyless:
    """Takes keys out of bytes that come in pieces; what could be the beginning of one waits for what comes next.

    Args:
        keys: The keys, as they stand in the bytes.
        shortest: Letters of the shortest that is taken out.
    """

    def __init__(self, keys: Iterable[str], shortest: int = SHORTEST) -> None:
        # Of two that begin alike the longer one is meant.
        given = (key.encode() for key in keys if len(key) >= max(1, shortest))
        self._keys = sorted(given, key=len, reverse=True)
        self._waiting = b""

    def feed(self, data: bytes) -> bytes:
        """What can be passed on once these bytes have come."""
        data = self._waiting + data
        wait, at = self._begun(data, 0), 0
        parts: list[bytes] = []
        # What stands at the end and may be the beginning of a longer key waits, even if it is a whole one.
        while (found := self._whole(data, at))[0] < wait:
            parts += (data[at : found[0]], _INSTEAD)
            at = found[1]
            if at > wait:
                wait = self._begun(data, at)
        self._waiting = data[wait:]
        return b"".join((*parts, data[at:wait]))

    def end(self, data: bytes = b"") -> bytes:
        """What is passed on of the last bytes, and of what waited for them."""
        data, self._waiting = self._waiting + data, b""
        for key in self._keys:
            data = data.replace(key, _INSTEAD)
        return data

    def _whole(self, data: bytes, at: int) -> tuple[int, int]:
        """Where the first key from a place on begins and ends; the end of all if there is none."""
        first = (len(data), len(data))
        for key in self._keys:
            if 0 <= (found := data.find(key, at, first[0] + len(key))) < first[0]:
                first = (found, found + len(key))
        return first

    def _begun(self, data: bytes, at: int) -> int:
        """Where the last bytes from a place on begin that a key may begin with; the end of all if there are none."""
        first = len(data)
        for key in self._keys:
            place = data.find(key[:1], max(at, len(data) - len(key) + 1))
            while 0 <= place < first:
                if key.startswith(data[place:]):
                    first = place
                place = data.find(key[:1], place + 1)
        return first

"""What must hold of the readers whatever an upstream sends: used by the property tests, and by a fuzzer."""

import json
import re
from collections.abc import Iterable
from typing import Any

from protocol_helpers import ASKED, WHY, pieces

from offswitch.enforce.watchdog.calls import Call, Ruling, Unreadable
from offswitch.enforce.watchdog.protocols import Dialect, sse

_TYPES = re.compile(
    r"function_call|tool_use|.*_tool_use|.*_call|custom_tool_call|program|mcp_approval_request"
)
_NAMES = ("tool_calls", "function_call", "partial_json")


def looks_called(value: Any) -> bool:
    """Whether anything in JSON looks like a tool call to a client that asks few questions."""
    if isinstance(value, list):
        return any(map(looks_called, value))
    if not isinstance(value, dict):
        return False
    for name, held in value.items():
        if name.casefold() in _NAMES and held:
            return True
        if name == "type" and isinstance(held, str) and _TYPES.fullmatch(held):
            return True
        if name not in ("tools", "tool_choice") and looks_called(held):
            return True
    return False


def shown(out: bytes) -> list[Any]:
    """All JSON values that a lax client could find in a stream."""
    found = []
    texts: list[bytes] = []
    for event in re.split(rb"\r\n\r\n|\n\n|\r\r", out):
        lines = [line.strip() for line in re.split(rb"[\r\n]", event)]
        data = [line[5:].strip() for line in lines if line[:5].lower() == b"data:"]
        texts += [*data, b"\n".join(data), b"".join(data)]
    for text in texts:
        for hook in (dict, _first):
            try:
                found.append(json.loads(text.decode("utf-8", "replace"), object_pairs_hook=hook))
            except (ValueError, RecursionError):
                continue
    return found


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


class Outcome:
    """What became of a stream.

    Attributes:
        out: What the agent got.
        calls: The calls that were ruled on.
        error: What was not understood, "" if nothing.
    """

    def __init__(
        self,
        dialect: Dialect,
        data: bytes,
        deny: bool,
        cuts: Iterable[int] = (),
        fences: tuple[tuple[str, str], ...] = (),
    ) -> None:
        reader = dialect.reader(ASKED, fences)
        self.out = b""
        self.calls: list[Call] = []
        self.error = ""
        self.early = b""
        try:
            for piece in pieces(data, cuts):
                self._take(reader, reader.feed(piece), deny)
            self._take(reader, reader.end(), deny)
        except Unreadable as error:
            self.error = str(error)
            assert self.error
            assert "\n" not in self.error

    def _take(self, reader: Any, parts: Any, deny: bool) -> None:
        for part in parts:
            if isinstance(part, Ruling):
                if not self.calls:
                    self.early = self.out
                self.calls.append(part.call)
                self.out += reader.deny(part, WHY) if deny else part.data
            else:
                self.out += part.data


def _in_order(some: bytes, data: bytes) -> bool:
    """Whether a stream has none but events of another one, in their order."""
    events = iter(re.split(rb"(?<=\n\n)", data))
    return all(any(one == other for other in events) for one in re.split(rb"(?<=\n\n)", some) if one)


def check_stream(
    dialect: Dialect, data: bytes, cuts: Iterable[int] = (), fences: tuple[tuple[str, str], ...] = ()
) -> None:
    """Read a stream in several ways, and compare."""
    cuts = list(cuts)
    allowed = Outcome(dialect, data, False, fences=fences)
    split = Outcome(dialect, data, False, cuts, fences)
    assert (allowed.out, allowed.calls, allowed.error) == (split.out, split.calls, split.error)
    bare = data.removeprefix(b"\xef\xbb\xbf")
    for some, escaped in sse._ENDS_FOR_SOME:
        bare = bare.replace(some, escaped)
    # A comment or a ping passes what waits; then the order differs.
    if not re.search(rb"(?:^|[\r\n]):|^[\r\n]|(?:\r\n|\r(?!\n)|\n){3}|ping|keepalive", bare):
        if b"error" in bare:
            # What waits when the upstream says that it failed is dropped.
            assert _in_order(allowed.out, bare)
        else:
            assert bare.startswith(allowed.out)
            if not allowed.error:
                assert allowed.out == bare
    if not allowed.calls:
        assert not any(map(looks_called, shown(allowed.out)))
    denied = Outcome(dialect, data, True, fences=fences)
    resplit = Outcome(dialect, data, True, cuts, fences)
    assert (denied.out, denied.calls, denied.error) == (resplit.out, resplit.calls, resplit.error)
    assert not any(map(looks_called, shown(denied.out)))
    assert not any(map(looks_called, shown(denied.early)))
    # What was written anew is read again as what it is: an answer without calls.
    again = Outcome(dialect, denied.out, False, fences=fences)
    assert not again.calls
    if not denied.error:
        assert not again.error, again.error


def check_whole(dialect: Dialect, body: bytes, fences: tuple[tuple[str, str], ...] = ()) -> None:
    """Read a whole answer, allow all of it, and deny all of it."""
    try:
        whole = dialect.whole(ASKED, body, fences)
    except Unreadable:
        return
    assert whole.bytes() == body
    if not whole.calls:
        assert not looks_called(json.loads(body))
        return
    for call in whole.calls:
        whole.deny(call, WHY)
    out = json.loads(whole.bytes())
    assert not looks_called(out)
    assert not dialect.whole(ASKED, whole.bytes(), fences).calls


def check_request(dialect: Dialect, body: bytes) -> None:
    """Read a request."""
    try:
        asked = dialect.asked(body)
    except Unreadable:
        return
    assert isinstance(asked.model, str)
    assert all(isinstance(tool.name, str) for tool in asked.tools)

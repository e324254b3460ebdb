"""JSON of which every parser says the same: what two parsers could read differently is refused.

RFC 8259 leaves open what a name that stands twice means, how large a number may be and how deep a text may nest, and
many parsers take more than it allows. The agent's parser is not known here. What it could read otherwise than this
one, so that it finds a call where none was judged, is not passed on.
"""

import json
from functools import lru_cache
from typing import Any

from offswitch.enforce.watchdog.calls import Unreadable

_DEEPEST = 128


class Names:
    """The names in a kind of object that this program reads.

    Go's JSON package takes a name in any case for the one it looks for, and converters write ``toolCalls`` for
    ``tool_calls``: a name that is only nearly one of these is refused.

    Args:
        names: The names, as they are to be written.
    """

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)
        self._bare = frozenset(map(_bare, names))

    def check(self, value: dict[str, Any]) -> None:
        """Refuse an object with a name that is nearly one of these.

        Raises:
            Unreadable: It has one.
        """
        for name in value:
            if name not in self._names and _bare(name) in self._bare:
                raise Unreadable(f"the name {name[:40]!r} is nearly one that means something")


def parse(data: bytes) -> Any:
    """Parse one JSON text.

    Args:
        data: UTF-8, without a byte order mark.

    Returns:
        The value: dict, list, str, int, float, bool or None.

    Raises:
        Unreadable: It is not JSON, more than one value, or something of which parsers say different things.
    """
    try:
        value = _DECODER.decode(data.decode())
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8") from None
    except RecursionError:
        raise Unreadable("its JSON is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {str(error)[:100]}") from None
    if data.count(b"[") + data.count(b"{") > _DEEPEST:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    """Refuse what is nested so deeply that comparing or writing it could exhaust the stack."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise Unreadable("its JSON is nested too deeply")
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]


def dump(value: Any) -> bytes:
    """Write JSON, in ASCII and on one line."""
    return json.dumps(value, separators=(",", ":")).encode()


def text(value: Any) -> str:
    """JSON as text for the judge: letters stand as they are."""
    return json.dumps(value, ensure_ascii=False)


def sound(value: str) -> bool:
    """Whether a text can be written: half of a surrogate pair is read differently by each parser."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _suspect(value: Any) -> str | None:
    """Search what is not known for anything that looks like a tool call.

    Args:
        value: JSON.

    Returns:
        The name that looks like one, None if there is none.
    """
    found = [value]
    while found:
        one = found.pop()
        if isinstance(one, list):
            found += one
        elif isinstance(one, dict):
            for name, held in one.items():
                if held and _bare(name) in _CALLS:
                    return str(name)
                if name == "type" and isinstance(held, str) and _is_call(_bare(held)):
                    return held
                if held and isinstance(held, dict | list):
                    found.append(held)
    return None


def refuse(value: dict[str, Any], *but: str) -> None:
    """Refuse an object that holds what looks like a tool call, where none is known to stand.

    Args:
        value: The object.
        but: Names that are read elsewhere.

    Raises:
        Unreadable: It holds such.
    """
    looks = _suspect({name: held for name, held in value.items() if held and name not in but})
    if looks is not None:
        raise Unreadable(f"{looks[:40]!r} looks like a tool call in a place where none is known")


def _is_call(kind: str) -> bool:
    return kind in _CALLS or kind.endswith(("call", "tooluse"))


@lru_cache(4096)
def _bare(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")


_CALLS = frozenset({"toolcalls", "toolcall", "functioncall", "tooluse", "partialjson", "inputjsondelta"})


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Unreadable("an object in its JSON has a name twice")
    return made


def _constant(name: str) -> Any:
    raise Unreadable(f"its JSON holds {name}, which is no JSON")


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Unreadable("its JSON holds a number that is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)

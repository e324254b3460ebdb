"""A short cut through long streams: events that are alike, taken together without parsing each.

A long answer is thousands of events that differ in one text. A template is made from one of them that was parsed: what
surrounds the texts is kept to the byte, and each text may be any other valid JSON text. JSON is read from left to
right, so such an event parses to the same with another text in it, and nothing else in it needs to be looked at.
"""

import re
from typing import Any

from offswitch.enforce.watchdog.calls import Unreadable
from offswitch.enforce.watchdog.protocols import strict
from offswitch.enforce.watchdog.protocols.sse import Event

_FILLED = "offswitch-slot"
_PLAIN = rb'[^"\\\x00-\x1f]*'
_TEXT = _PLAIN + rb'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})' + _PLAIN + rb")*"
# Halves of surrogate pairs in two events would become one letter when the texts are joined before they are parsed.
_JOINED = _PLAIN + rb'(?:\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})' + _PLAIN + rb")*"
_NUMBER = rb"(?:0|[1-9][0-9]{0,14})"


class Template:
    """What a run of events has in common.

    Attributes:
        pattern: Matches one such event or more.
    """

    def __init__(self, one: bytes, tells: bool) -> None:
        self.pattern = re.compile(b"(?:%s)+" % one.replace(b"(?P<told>", b"(?:"))
        self._told = re.compile(one) if tells else None

    def told(self, run: bytes) -> str | None:
        """The pieces of a call that a run holds, joined.

        Args:
            run: What matched.

        Returns:
            Their text, None if the run is not UTF-8.
        """
        if not run.isascii():
            try:
                run.decode()
            except UnicodeDecodeError:
                return None
        if self._told is None:
            return ""
        return str(strict.parse(b'"%s"' % b"".join(self._told.findall(run))))


def template(
    event: Event, texts: tuple[str, ...], numbers: tuple[str, ...], told: tuple[str, ...] = ()
) -> Template | None:
    """Make a template of an event.

    Args:
        event: The event, which was understood, and whose data is JSON.
        texts: Names of texts that mean nothing for the calls.
        numbers: The same for whole numbers.
        told: Names of texts that are pieces of a call; the event has one of them. None for an event without.

    Returns:
        It, or None if no safe one can be made.
    """
    data, raw = event.data, event.raw
    if data is None or not raw.endswith(data + b"\n\n") or b"\r" in raw:
        return None
    begin = len(raw) - len(data) - 2
    if raw[:begin].count(b"data:") != 1:
        return None
    places = sorted(
        (found.span(1), name, kind)
        for kind, names in ((_TEXT, texts), (_NUMBER, numbers), (_JOINED, told))
        for name in names
        for found in _slot(name, kind).finditer(data)
    )
    if not places or sum(kind is _JOINED for _, _, kind in places) != bool(told):
        return None
    expression = [re.escape(raw[:begin])]
    probe: list[bytes] = []
    at = 0
    for (first, last), _, kind in places:
        if first < at:
            return None
        expression += [re.escape(data[at:first]), (b"(?P<told>%s)" if kind is _JOINED else b"(?:%s)") % kind]
        probe += [data[at:first], b"0" if kind is _NUMBER else _FILLED.encode()]
        at = last
    expression.append(re.escape(data[at:] + b"\n\n"))
    probe.append(data[at:])
    # The proof that each slot is the whole of one text: what is put there is found again where it belongs.
    try:
        filled = _same(strict.parse(data), strict.parse(b"".join(probe)), (*texts, *told), numbers)
    except Unreadable:
        return None
    if filled != len(places):
        return None
    return Template(b"".join(expression), bool(told))


def _slot(name: str, kind: bytes) -> re.Pattern[bytes]:
    named = rb'"%s" ?: ?' % re.escape(name.encode())
    return re.compile(named + (rb"(%s)(?=[,}])" if kind is _NUMBER else rb'"(%s)"') % kind)


def _same(one: Any, other: Any, texts: tuple[str, ...], numbers: tuple[str, ...], name: str = "") -> int:
    """How many slots were filled, if two values are the same in everything else; less than 0 if they are not."""
    if name in texts and isinstance(one, str) and other == _FILLED:
        return 1
    if name in numbers and type(one) is int and type(other) is int and other == 0:
        return 1
    if type(one) is not type(other):
        return -1
    if isinstance(one, dict):
        pairs = [(one[key], other.get(key), key) for key in one]
        if list(one) != list(other):
            return -1
    elif isinstance(one, list):
        pairs = [(left, right, "") for left, right in zip(one, other, strict=False)]
        if len(one) != len(other):
            return -1
    else:
        return 0 if one == other else -1
    counts = [_same(left, right, texts, numbers, key) for left, right, key in pairs]
    return -1 if min(counts, default=0) < 0 else sum(counts)

"""What the readers of the three APIs share: calls that wait for their rulings, and streams that are held for them."""

import re
from collections.abc import Iterator
from typing import Any

from offswitch.enforce.watchdog.calls import Call, Part, Pass, Ruling, Unreadable, Usage
from offswitch.enforce.watchdog.protocols import sse, strict
from offswitch.enforce.watchdog.protocols.fences import Block, Fences, Scanner

LARGEST_HELD = 64 << 20
"""How many bytes of a stream may wait for a call to be complete."""

_SLOT = "offswitch-slot"
_STRING = rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*'
_ALIKE = 16
_TRIES = 4


class Entry:
    """A call, and what became of it.

    Attributes:
        call: The call.
        denied: What the agent reads in its place; None as long as it is not denied.
    """

    __slots__ = ("block", "call", "denied")

    def __init__(self, call: Call, block: Block | None = None) -> None:
        if not all(map(strict.sound, (call.id, call.name, call.arguments))):
            raise Unreadable("a tool call holds half of a surrogate pair")
        self.call = call
        self.block = block
        self.denied: str | None = None

    def deny(self, why: str, fences: Fences) -> None:
        """Put a refusal in its place."""
        self.denied = refusal(why, fences)
        if self.block is not None:
            self.block.denied = self.denied


def refusal(why: str, fences: Fences) -> str:
    """What an agent reads in the place of a denied call.

    Args:
        why: Why it was denied.
        fences: What opens a block that the agent would execute: the refusal must hold none.
    """
    line = " ".join(why.split())
    try:
        line.encode()
    except UnicodeEncodeError:
        line = ""
    if not line or any(opening in line for opening, _ in fences):
        return "offswitch refused this call."
    return f"offswitch refused this call: {line}"


class Held:
    """An event that waits.

    Attributes:
        event: The event.
        body: Its data, parsed; None where it has none.
    """

    __slots__ = ("body", "event", "texts")

    def __init__(self, event: sse.Event, body: Any) -> None:
        self.event = event
        self.body = body
        # The pieces of text in it that a scanner follows, by where they stand: (scanner, where they begin in its text).
        self.texts: dict[object, tuple[Scanner, int]] = {}


class StreamReader:
    """Reads one stream, event by event, and holds it from the first piece of a call until that call was ruled on.

    The calls of a held stretch are ruled on in order. The bytes of the stretch go with its last ruling, so that
    nothing of the first call is sent while the second may yet change what surrounds it.

    Args:
        fences: What opens and closes text that the agent executes.
    """

    slots: tuple[str, ...] = ()
    """Names of texts that may differ between two events without any meaning for the calls."""
    numbers: tuple[str, ...] = ()
    """The same for whole numbers."""

    def __init__(self, fences: Fences = ()) -> None:
        self.usage: Usage | None = None
        self.fences = fences
        self.over = False
        """Whether the stream said that it ended: then nothing may follow."""
        self.held: list[Held] = []
        self.altered = False
        """Whether something was denied: then every event is written anew where that is needed."""
        self._events = sse.Events()
        self._entries: list[Entry] = []
        self._asked: Ruling | None = None
        self._entry: Entry | None = None
        self._last = False
        self._size = 0
        self._reading = False
        self._alike = 0
        self._tries = _TRIES
        self._pattern: re.Pattern[bytes] | None = None

    # For the gateway

    def feed(self, data: bytes) -> Iterator[Part]:
        """Read a piece of the stream.

        Args:
            data: Any piece of it.

        Returns:
            Its parts in order. Take one, do with it what is to be done (rule, and ``deny`` where the
            call is denied), then take the next: what follows depends on it.

        Raises:
            Unreadable: When the parts are taken: something is not understood; what came before it was given.
        """
        self._events.feed(data)
        return self._parts()

    def end(self) -> Iterator[Part]:
        """Say that the upstream closed; as ``feed``.

        Raises:
            Unreadable: When the parts are taken: it closed in the middle of a call, or of an event.
        """
        self._events.end()
        return self._parts(ended=True)

    def deny(self, ruling: Ruling, why: str) -> bytes:
        """Deny the call of a ruling, the last part that was taken.

        Args:
            ruling: The ruling.
            why: One line for the agent.

        Returns:
            What is sent in the place of the ruling's data.
        """
        if ruling is not self._asked or self._entry is None:
            raise RuntimeError("only the ruling that was taken last can be denied")
        self._entry.deny(why, self.fences)
        self.altered = True
        return self._render() if self._last else b""

    # For the dialects

    def note(self, held: Held) -> bool:
        """Take one event in: find the calls in it.

        Returns:
            Whether it carries nothing but text: events that differ from it in ``slots`` and ``numbers`` only
            mean the same.
        """
        raise NotImplementedError

    def waits(self) -> bool:
        """Whether a call, or text that would be executed, is not complete."""
        raise NotImplementedError

    def close(self) -> None:
        """The stream is at its end: complete what its end completes.

        Raises:
            Unreadable: A call is not complete.
        """
        raise NotImplementedError

    def write(self, held: list[Held]) -> bytes:
        """Write events anew, without the calls that were denied."""
        raise NotImplementedError

    def urgent(self, held: Held) -> bool:
        """Whether an event is a ping, which passes while others wait."""
        return False

    def found(self, *entries: Entry) -> None:
        """A call is complete."""
        self._entries += entries

    def failed(self) -> None:
        """The upstream says that it failed: what waits never will be complete, and is dropped."""
        self.held.clear()
        self._entries.clear()
        self.over = True

    def scan(self, scanner: Scanner, held: Held, where: object, text: str) -> None:
        """Follow a piece of text that may be executed."""
        before = len(scanner.blocks)
        held.texts[where] = (scanner, scanner.length)
        scanner.feed(text)
        self.blocks(scanner, before)

    def blocks(self, scanner: Scanner, before: int) -> None:
        """The blocks that a scanner found are calls."""
        for block in scanner.blocks[before:]:
            self.found(*(Entry(call, block) for call in block.calls))

    # The stream

    def _parts(self, ended: bool = False) -> Iterator[Part]:
        if self._reading:
            raise RuntimeError("all parts are taken before more of the stream is read")
        self._reading = True
        out: list[bytes] = []
        try:
            while True:
                if self._pattern is not None and not self.held:
                    self._run(out)
                event = self._events.take()
                if event is None:
                    break
                if event.comment:
                    out.append(event.raw)
                    continue
                self._take(event, out)
                if self._entries and not self.waits():
                    if out:
                        yield Pass(b"".join(out))
                        out.clear()
                    yield from self._rule()
            if ended:
                self.close()
                if out:
                    yield Pass(b"".join(out))
                    out.clear()
                if self._entries:
                    yield from self._rule()
                elif self.held:
                    out.append(self._render())
                    self._release()
        except Unreadable:
            if out:
                yield Pass(b"".join(out))
            raise
        if out:
            yield Pass(b"".join(out))
        self._reading = False

    def _take(self, event: sse.Event, out: list[bytes]) -> None:
        """Read one event, and pass it on if nothing waits."""
        if event.odd:
            raise Unreadable(
                f"a line of the stream begins with {event.odd[:40]!r}, which is no field of an event"
            )
        if event.cut:
            if event.data is not None and event.data.strip() != b"[DONE]":
                raise Unreadable("the stream ended in the middle of an event")
            if event.data is None and event.raw.lstrip()[:1] != b":" and event.name:
                raise Unreadable("the stream ended in the middle of an event")
        if event.data is not None and b"\n" in event.data and several(event.data):
            raise Unreadable("one event of the stream could be read as several")
        held = Held(event, None)
        plain = False
        if event.data is not None:
            plain = self.note(held)
        if self.held and self.urgent(held):
            out.append(event.raw)
            return
        self.held.append(held)
        self._size += len(event.raw)
        if self._size > LARGEST_HELD:
            raise Unreadable(f"a call is larger than {LARGEST_HELD >> 20} MiB")
        if self.waits() or self._entries:
            self._forget()
            return
        if len(self.held) > 1:
            plain = False
        out.append(self._render())
        self._release()
        if not plain:
            self._forget()
        elif not self.altered:
            self._alike += 1
            if self._alike >= _ALIKE and self._tries:
                self._alike = 0
                self._tries -= 1
                self._pattern = pattern(event, self.slots, self.numbers)

    def _rule(self) -> Iterator[Part]:
        entries = self._entries
        for number, entry in enumerate(entries):
            self._last = number == len(entries) - 1
            self._entry = entry
            self._asked = Ruling(entry.call, self._render() if self._last else b"")
            yield self._asked
            self._asked = self._entry = None
        self._release()

    def _release(self) -> None:
        self.held = []
        self._entries = []
        self._size = 0

    def _render(self) -> bytes:
        if self.altered:
            return self.write(self.held)
        return b"".join([held.event.raw for held in self.held])

    # The short cut

    def _run(self, out: list[bytes]) -> None:
        """Pass events that a whole pattern says are text alone, without parsing each: most of a long answer.

        The pattern is an event that was parsed, with its texts left open. Such an event parses to the same with another
        text in it, whatever valid text that is, so nothing else needs to be looked at.
        """
        assert self._pattern is not None
        run = self._events.run(self._pattern)
        if not run.isascii():
            try:
                run.decode()
            except UnicodeDecodeError as error:
                out.append(
                    run[: run.rfind(b"\n\n", 0, error.start) + 2] if b"\n\n" in run[: error.start] else b""
                )
                raise Unreadable("it is not UTF-8") from None
        if run:
            out.append(run)

    def _forget(self) -> None:
        self._alike = 0
        self._pattern = None


def pattern(event: sse.Event, slots: tuple[str, ...], numbers: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """A pattern of events that are one event but for texts and numbers of no meaning.

    Args:
        event: The event, whose data is JSON.
        slots: Names of the texts.
        numbers: Names of the whole numbers.

    Returns:
        It matches one or more such events; None if no safe one can be made.
    """
    if event.data is None or b"\r" in event.raw or event.raw.count(b"data:", 0, -len(event.data) - 2) != 1:
        return None
    if not event.raw.endswith(event.data + b"\n\n"):
        return None
    texts = re.compile(rb'"(?:%s)"[ ]?:[ ]?"(%s)"' % (b"|".join(map(str.encode, slots)), _STRING))
    counts = re.compile(rb'"(?:%s)"[ ]?:[ ]?([0-9]{1,15})(?=[,}])' % b"|".join(map(str.encode, numbers)))
    places = [(found.span(1), True) for found in texts.finditer(event.data)]
    if numbers:
        places += [(found.span(1), False) for found in counts.finditer(event.data)]
    places.sort()
    begin = len(event.raw) - len(event.data) - 2
    expression = [re.escape(event.raw[:begin])]
    probe: list[bytes] = []
    at = 0
    for (first, last), is_text in places:
        if first < at:
            return None
        expression += (re.escape(event.data[at:first]), _STRING if is_text else b"(?:0|[1-9][0-9]{0,14})")
        probe += (event.data[at:first], _SLOT.encode() if is_text else b"0")
        at = last
    expression.append(re.escape(event.data[at:] + b"\n\n"))
    probe.append(event.data[at:])
    # The proof that each place is the whole of one text: what stands there is found again where it belongs.
    try:
        filled = strict.parse(b"".join(probe))
        if _same(strict.parse(event.data), filled, slots, numbers) != len(places):
            return None
    except Unreadable:
        return None
    return re.compile(b"(?:%s)+" % b"".join(expression))


def _same(one: Any, other: Any, slots: tuple[str, ...], numbers: tuple[str, ...], name: str = "") -> int:
    """How many slots were filled, if two values are the same in everything else; -1 if they are not."""
    if name in slots and isinstance(one, str) and other == _SLOT:
        return 1
    if name in numbers and type(one) is int and type(other) is int and other == 0:
        return 1
    if type(one) is not type(other):
        return -1
    if isinstance(one, dict):
        if list(one) != list(other):
            return -1
        counts = [_same(one[key], other[key], slots, numbers, key) for key in one]
        return -1 if -1 in counts else sum(counts)
    if isinstance(one, list):
        if len(one) != len(other):
            return -1
        counts = [_same(left, right, slots, numbers) for left, right in zip(one, other, strict=True)]
        return -1 if -1 in counts else sum(counts)
    return 0 if one == other else -1


class WholeAnswer:
    """A whole answer: the calls in it, and it without those that were denied.

    Args:
        body: The answer's bytes.
        fences: What opens and closes text that the agent executes.

    Attributes:
        usage: The tokens that it states.
    """

    def __init__(self, body: bytes, fences: Fences) -> None:
        self.usage: Usage | None = None
        self.fences = fences
        self.body = strict.parse(body)
        self._data = body
        self.entries: list[Entry] = []
        self._denied = False

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls, in order."""
        return tuple(entry.call for entry in self.entries)

    def deny(self, call: Call, why: str) -> None:
        """Deny a call, and every one that is equal to it.

        Args:
            call: One of ``calls``.
            why: One line for the agent.
        """
        equal = [entry for entry in self.entries if entry.call == call]
        if not equal:
            raise RuntimeError("there is no such call in this answer")
        for entry in equal:
            entry.deny(why, self.fences)
        self._denied = True

    def bytes(self) -> bytes:
        """The body to send on: unchanged if nothing was denied."""
        return strict.dump(self.write()) if self._denied else self._data

    def write(self) -> Any:
        """The body without the calls that were denied."""
        raise NotImplementedError


def several(data: bytes) -> bool:
    """Whether several lines of ``data:`` could be taken for several values by a client that reads each for itself."""
    lines = [line for line in data.split(b"\n") if line.strip()]
    if len(lines) < 2:
        return False
    for line in lines:
        try:
            strict.parse(line)
        except Unreadable:
            continue
        return True
    return False


def tokens(value: Any, *names: str) -> int:
    """The sum of the counts of these names in an object; what is no count is 0."""
    if not isinstance(value, dict):
        return 0
    counts = (value.get(name) for name in names)
    return sum(count for count in counts if type(count) is int and count >= 0)

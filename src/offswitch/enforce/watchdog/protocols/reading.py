"""What the readers of the three APIs share: calls that wait for their rulings, and streams that are held for them."""

from collections.abc import Callable, Iterator
from typing import Any

from offswitch.enforce.watchdog.calls import Call, Part, Pass, Ruling, Unreadable, Usage
from offswitch.enforce.watchdog.protocols import sse, strict
from offswitch.enforce.watchdog.protocols.fences import Block, Fences, Scanner
from offswitch.enforce.watchdog.protocols.runs import Template, template

LARGEST_HELD = 64 << 20
"""How many bytes of a stream may wait for a call to be complete."""

Sink = Callable[[str], object]
"""Takes a piece of a call's arguments."""

# How many events must be alike before the short cut is prepared, and how often that is done for a stream.
_ALIKE = 16
# The only text that may differ beside a piece of a call.
_BESIDE = ("obfuscation",)
_TRIES = 16


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
        fences: What opens a block that the agent would execute: the refusal must hold none, and begin none.
    """
    line = " ".join(why.split())
    try:
        line.encode()
    except UnicodeEncodeError:
        line = ""
    # What follows in the text could go on with an opening that the reason, which has words of the model's, began.
    begins = {opening[:size] for opening, _ in fences for size in range(1, len(opening))}
    if not line or line.endswith(tuple(begins)) or any(opening in line for opening, _ in fences):
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
    told: tuple[str, ...] = ()
    """Names of texts that are pieces of a call's arguments."""

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
        self._templates: list[tuple[Template, Sink | None]] = []

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

    def note(self, held: Held) -> bool | Sink:
        """Take one event in: find the calls in it.

        Returns:
            True if it carries nothing but text, so that events which differ from it in ``slots`` and ``numbers`` only
            mean the same. What takes the piece, if it carries nothing but one piece of one call, in a text of ``told``.
            False for every other event.
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
                while self._templates and self._run(out):
                    pass
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
        note: bool | Sink = False
        if event.data is not None:
            note = self.note(held)
        if self.held and self.urgent(held):
            out.append(event.raw)
            return
        self._hold(held, len(event.raw))
        if self.waits() or self._entries:
            if isinstance(note, bool) or self._entries or len(self.held) == 1:
                self._forget()
            if not isinstance(note, bool) and not self._entries:
                self._learn(event, note)
            return
        plain = note is True and len(self.held) == 1 and not self.altered
        out.append(self._render())
        self._release()
        if plain:
            self._learn(event, None)
        else:
            self._forget()

    def _hold(self, held: Held, size: int) -> None:
        self.held.append(held)
        self._size += size
        if self._size > LARGEST_HELD:
            raise Unreadable(f"a call is larger than {LARGEST_HELD >> 20} MiB")

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
            return self.write([one for held in self.held for one in _apart(held)])
        return b"".join([held.event.raw for held in self.held])

    # The short cut

    def _run(self, out: list[bytes]) -> bool:
        """Take a run of events that a template knows; whether there was one."""
        for known, sink in self._templates:
            # Text passes, and a piece of a call waits with the others.
            if (sink is None) == bool(self.held):
                continue
            run = self._events.peek(known.pattern)
            text = known.told(run) if run else None
            if text is None:
                continue
            self._events.skip(len(run))
            if sink is None:
                out.append(run)
            else:
                sink(text)
                self._hold(Held(sse.Event(run), None), len(run))
            return True
        return False

    def _learn(self, event: sse.Event, sink: Sink | None) -> None:
        """Make a template once enough events were alike."""
        self._alike += 1
        if self._alike < _ALIKE or not self._tries:
            return
        self._alike = 0
        self._tries -= 1
        if sink is None:
            made = template(event, self.slots, self.numbers)
        else:
            made = template(event, _BESIDE, self.numbers, self.told)
        if made is not None:
            self._templates = [*self._templates[-3:], (made, sink)]

    def _forget(self) -> None:
        self._alike = 0
        self._templates = []


def _apart(held: Held) -> list[Held]:
    """The events of a run, each for itself."""
    if held.event.data is not None or not held.event.raw or held.body is not None:
        return [held]
    events = sse.Events()
    events.feed(held.event.raw)
    events.end()
    found = []
    while (event := events.take()) is not None:
        found.append(Held(event, None if event.data is None else strict.parse(event.data)))
    return found


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

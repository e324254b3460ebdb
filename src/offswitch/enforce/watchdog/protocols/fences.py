"""Blocks of text that an agent executes: found as the text comes, wherever a piece of it ends."""

from dataclasses import dataclass, field

from offswitch.enforce.watchdog.calls import Call, Unreadable
from offswitch.enforce.watchdog.protocols import strict

Fences = tuple[tuple[str, str], ...]
"""What opens a block and what closes it, such as ("```bash", "```")."""

_MOST_READINGS = 16


@dataclass
class Block:
    """One block of a text.

    Attributes:
        begin: Where its opening begins in the text, in characters.
        end: Where its closing ends.
        calls: What an agent could execute of it: nearly always one, and one for each place where it could be taken
            to be closed.
        denied: What stands in its place, None as long as it stands.
    """

    begin: int
    end: int
    calls: tuple[Call, ...]
    denied: str | None = field(default=None)


class Scanner:
    """Finds the blocks in one text that comes in pieces.

    A closing of back-ticks or tildes closes at the beginning of a line, as in CommonMark; because some agents take any,
    one that stands elsewhere is told as another reading of the same block. What closes a block may also open the next.

    Args:
        fences: What opens and closes a block.
    """

    def __init__(self, fences: Fences) -> None:
        self._fences = tuple(sorted(fences, key=lambda fence: -len(fence[0])))
        self._text = ""
        self._more: list[str] = []
        self._base = 0
        self._length = 0
        self._at = 0
        self._block: tuple[int, str, str] | None = None
        self._seek = 0
        self._tail = ""
        self._readings: list[str] = []
        self.blocks: list[Block] = []
        """All blocks so far."""

    @property
    def open(self) -> bool:
        """Whether what came last may belong to a block that is not closed yet."""
        return self._block is not None or self._at < len(self._text)

    @property
    def length(self) -> int:
        """How many characters came so far."""
        return self._length

    def feed(self, piece: str) -> None:
        """Add a piece of the text.

        Raises:
            Unreadable: A block could be read in too many ways.
        """
        self._length += len(piece)
        # A long block is not copied for each piece, but where its closing comes, which ends it or is one of few
        # readings. It may have begun in the pieces before.
        if self._block is not None:
            closing = self._block[2]
            near = self._tail + piece
            if closing not in near:
                self._more.append(piece)
                self._tail = near[max(0, len(near) - len(closing) + 1) :]
                return
        self._join(piece)
        while True:
            if self._block is None and not self._open():
                break
            if not self._close():
                self._tail = self._text[self._seek :]
                break
        # What belongs to no block any more need not be kept.
        if self._block is None:
            self._base += self._at
            self._text = self._text[self._at :]
            self._at = 0

    def end(self) -> None:
        """Say that the text is over: a block that is still open counts as it is."""
        self._join("")
        if self._block is not None:
            begin, opening, _ = self._block
            inner = self._text[begin + len(opening) :]
            self._add(inner, len(self._text))
            self._block = None
        self._base += len(self._text)
        self._text = ""
        self._at = 0

    def _join(self, piece: str) -> None:
        self._text = "".join((self._text, *self._more, piece))
        self._more.clear()

    def _open(self) -> bool:
        """Look for an opening; otherwise leave what may become one."""
        found = [
            (place, opening, closing)
            for opening, closing in self._fences
            if (place := self._text.find(opening, self._at)) >= 0
        ]
        if found:
            self._block = min(found, key=lambda one: one[0])
            self._seek = self._block[0] + len(self._block[1])
            return True
        longest = max((len(opening) for opening, _ in self._fences), default=1) - 1
        for place in range(max(self._at, len(self._text) - longest), len(self._text)):
            rest = self._text[place:]
            if any(opening.startswith(rest) for opening, _ in self._fences):
                self._at = place
                return False
        self._at = len(self._text)
        return False

    def _close(self) -> bool:
        """Look for the closing of the block that is open."""
        assert self._block is not None
        begin, opening, closing = self._block
        inner = begin + len(opening)
        while (place := self._text.find(closing, self._seek)) >= 0:
            if self._closes(closing, place):
                end = place + len(closing)
                self._add(self._text[inner:place], end)
                self._block = None
                self._at = end if opening == closing else place
                return True
            self._readings.append(self._text[inner:place])
            if len(self._readings) > _MOST_READINGS:
                raise Unreadable(f"a block that begins with {opening[:40]!r} could end in too many places")
            self._seek = place + 1
        self._seek = max(inner, len(self._text) - len(closing) + 1)
        return False

    def _closes(self, closing: str, place: int) -> bool:
        if closing.strip("`~"):
            return True
        line = self._text.rfind("\n", 0, place) + 1
        return self._text[line:place].strip(" \t") == ""

    def _add(self, inner: str, end: int) -> None:
        assert self._block is not None
        begin, opening, _ = self._block
        readings = dict.fromkeys([*self._readings, inner])
        self._readings = []
        if not all(map(strict.sound, readings)):
            raise Unreadable("a block that would be executed holds half of a surrogate pair")
        calls = tuple(Call("", opening, reading, "text") for reading in readings)
        self.blocks.append(Block(self._base + begin, self._base + end, calls))


def blocks(fences: Fences, text: str) -> list[Block]:
    """The blocks in a whole text.

    Raises:
        Unreadable: One could be read in too many ways.
    """
    scanner = Scanner(fences)
    scanner.feed(text)
    scanner.end()
    return scanner.blocks


def cut(text: str, begin: int, found: list[Block]) -> str:
    """A text without the blocks that were denied.

    Args:
        text: A piece of a text.
        begin: Where in the whole text it begins.
        found: The blocks of the whole text, in order.

    Returns:
        It, with what stands in the place of a block where that begins.
    """
    kept: list[str] = []
    at, end = begin, begin + len(text)
    for block in found:
        if block.denied is None or block.end <= at or block.begin >= end:
            continue
        if block.begin >= at:
            kept.append(text[at - begin : block.begin - begin])
        if block.begin >= begin:
            kept.append(block.denied)
        at = max(at, min(block.end, end))
    kept.append(text[at - begin :])
    return "".join(kept)

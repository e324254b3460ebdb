"""What commands read and write: pipes, captured output, files that are open."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from offswitch.evidence.shell.files import Files, Mark
from offswitch.evidence.shell.unknown import ANY, known, process_pattern

if TYPE_CHECKING:
    from offswitch.evidence.shell.log import Log
    from offswitch.evidence.shell.walk import Shell

LIMIT = 1 << 20


Sources = frozenset[str]
"""Where text comes from: paths of files, or ``*`` for another program. Empty for what the command itself spells."""


class Input:
    """Text that is read once, by whoever comes first."""

    def __init__(self, text: str, sources: Iterable[str] = ()) -> None:
        self.left = text
        self.sources: Sources = frozenset(sources)

    def all(self) -> str:
        """The rest."""
        text, self.left = self.left, ""
        return text

    def line(self) -> str | None:
        """The next line without its newline; None at the end."""
        if not self.left:
            return None
        line, _, self.left = self.left.partition("\n")
        return line


class Forever(Input):
    """An input of which nothing is known, as of a terminal."""

    def __init__(self) -> None:
        super().__init__(ANY)

    def all(self) -> str:
        """Anything."""
        return ANY

    def line(self) -> str | None:
        """Anything."""
        return ANY


class Output:
    """Somewhere to write to."""

    def __init__(self, doubts: int = 0) -> None:
        self.doubts = doubts
        self.pieces: list[str] = []
        self.size = 0
        self.sources: Sources = frozenset()

    def take(self, sources: Sources, shell: "Shell") -> None:
        """Learn where the text comes from that ``shell`` is about to write."""
        self.sources |= sources

    def write(self, text: str, doubts: int = 0) -> None:
        """Take text; with more doubts than when this was opened, it is not sure that the text comes."""
        if not text:
            return
        if doubts > self.doubts:
            text = ANY
        if self.size > LIMIT:
            return
        self.pieces.append(text)
        self.size += len(text)
        self.changed(text)

    def changed(self, text: str) -> None:
        """React to new text."""

    def text(self) -> str:
        """All that was written."""
        return "".join(self.pieces) if self.size <= LIMIT else ANY


class Nowhere(Output):
    """The null device, or a terminal."""

    def write(self, text: str, doubts: int = 0) -> None:
        """Forget it."""


class NetworkOutput(Nowhere):
    """A connection to another machine: what comes from files or programs and is written to it goes there."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.sent: set[tuple[str, bool]] = set()

    def take(self, sources: Sources, shell: "Shell") -> None:
        """Add the effect, once for each source."""
        for source in sorted(sources):
            key = (source, bool(shell.doubts()))
            if key not in self.sent:
                self.sent.add(key)
                shell.emit("copy", self.host, source=source)


class FileOutput(Output):
    """An open file: what is written becomes the content of the effect that opened it."""

    def __init__(self, files: Files, log: "Log", path: str, place: int, *, append: bool, doubts: int) -> None:
        super().__init__(doubts)
        self.files, self.log, self.path, self.place = files, log, path, place
        self.before = (files.text(path) or "") if append else ""
        if append and not files.bare and files.text(path) is None and files.exists(path) is not False:
            self.before = ANY
        self.changed("")

    def changed(self, text: str) -> None:
        """Show the text in the effect and in the model of the files."""
        if text and len(self.pieces) > 200 and not known(self.pieces[0]):
            return
        now = self.text()
        if len(self.pieces) > 50:
            self.log.spend(1 + len(now) // 1000)
        self.log.fill(self.place, now)
        whole = self.before + now
        kept = known(whole) or (self.files.bare and len(whole) < 1000 and process_pattern(whole) is not None)
        self.files.put(self.path, whole if kept else Mark.FILE)

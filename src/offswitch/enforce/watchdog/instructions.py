"""The record of what a model was told, as the gateway writes it; `recorded` reads it.

A run's folder holds ``calls.jsonl``, one line for each call, and ``texts/DIGEST.json``, each text once. The file's
bytes are the text's canonical JSON (RFC 8785) and its name their SHA-256, so that ``sha256sum`` checks the record.
Where the texts are private there are none, and the names are HMAC-SHA256 (RFC 2104) under the key in ``key``: the
same for the same text within a run, and no dictionary finds the text.

Nothing is synchronised to the disk: what was written outlives the writer, whenever it is killed, but not a loss of
power. A reader skips a line that was cut short, and says so.
"""

import hashlib
import hmac
import json
import marshal
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from offswitch.enforce.places import Places, Unusable, make, remove
from offswitch.enforce.watchdog import recorded
from offswitch.enforce.watchdog.appending import Appended
from offswitch.enforce.watchdog.calls import Asked
from offswitch.enforce.watchdog.recorded import LARGEST_TEXT, What, changed, form
from offswitch.enforce.watchdog.told import Reader, Told, first_line, line_of

LARGEST_TEXTS = 512 << 20
"""Bytes of all texts of a run."""
LARGEST_CALLS = 256 << 20
"""Bytes of a run's ``calls.jsonl``."""
RUNS = 20
"""Runs of an agent whose records are kept."""

_CACHED = 4096
_LINES = 64


class RecordLost(Exception):
    """What the model was told could not be written down; the message is one line. The record itself stays readable."""


@dataclass(frozen=True)
class Change:
    """One thing that the model was told anew, or no longer.

    Attributes:
        what: ``system`` (one of the system instructions), ``tools`` (all of them) or ``injected`` (a message).
        line: The number of the line of calls, from 1.
        digest: What it is told now; "" if something was taken away.
        before: What stood in its place; "" if nothing did.
        says: In a few words, for people; "" where texts are private.
    """

    what: What
    line: int
    digest: str
    before: str
    says: str


@dataclass
class _Line:
    """Calls that belong together, as the last of them left it."""

    number: int
    system: tuple[str, ...] = ()
    tools: str = ""
    names: tuple[str, ...] = ()
    injected: frozenset[str] = frozenset()
    opening: str = ""


def folder(places: Places, name: str, run: str) -> str:
    """The folder of a run's record."""
    return f"{places.logs(name)}/instructions/{run}"


def begin(places: Places, name: str, run: str) -> str:
    """Make the folder of a run's record, and remove those of the oldest runs beyond `RUNS`.

    Returns:
        The folder.

    Raises:
        RecordLost: It cannot be made.
    """
    made = folder(places, name, run)
    try:
        make(os.path.dirname(made))
        make(made)
    except Unusable as error:
        raise RecordLost(f"what the model is told cannot be recorded: {error}") from None
    # Never this one, whatever the clock was set to.
    for old in [one for one in runs(places, name) if one != run][RUNS - 1 :]:
        remove(folder(places, name, old))
    return made


def runs(places: Places, name: str) -> list[str]:
    """The runs of an agent that have a record, the latest first."""
    above = f"{places.logs(name)}/instructions"
    found = []
    with suppress(OSError), os.scandir(above) as entries:
        for entry in entries:
            with suppress(OSError):
                path = f"{entry.path}/calls.jsonl"
                stamp = os.stat(path if os.path.exists(path) else entry.path, follow_symlinks=False)
                found.append((stamp.st_mtime_ns, entry.name))
    return [run for _, run in sorted(found, reverse=True)]


class Record:
    """Writes the record of one run. For one caller at a time; a call that tells nothing new costs one small append.

    Args:
        folder: An existing folder of the operator's with mode 0700.
        private: Keep no text, and name texts by a keyed digest.
        markers: Further elements that are the agent program's (`told.MARKERS`).

    Attributes:
        reader: What takes the requests apart; `pins.Pins` can share it.

    Raises:
        RecordLost: The folder cannot be written to.
    """

    def __init__(self, folder: str, *, private: bool = False, markers: Iterable[str] = ()) -> None:
        self._texts = folder + "/texts"
        self.reader = Reader(markers)
        self._cache: OrderedDict[bytes, str] = OrderedDict()
        self._kept: set[str] = set()
        self._size = 0
        self._lines: OrderedDict[int, _Line] = OrderedDict()
        try:
            before = recorded.read(folder)
            self._count = max((line.number for line in before.lines), default=0)
            self._key = _key(folder) if private else None
            with suppress(FileExistsError):
                os.mkdir(self._texts, 0o700)
            with os.scandir(self._texts) as entries:
                for entry in entries:
                    if entry.name.endswith(".json"):
                        self._kept.add(entry.name.removesuffix(".json"))
                        self._size += entry.stat(follow_symlinks=False).st_size
            self._calls = Appended(folder + "/calls.jsonl")
        except OSError as error:
            raise RecordLost(_why(error)) from None

    def add(
        self, asked: Asked, *, call_id: str, at_ms: int, program: str | None, endpoint: str = ""
    ) -> list[Change]:
        """Write a call down.

        Args:
            asked: The request.
            call_id: What the gateway calls it.
            at_ms: When it came, in milliseconds since 1970.
            program: The agent program, where it is known.
            endpoint: Where it goes, such as ``openai /v1/responses``.

        Returns:
            What the model is told that it was not told in the call before, of the same line of calls; of a first
            call everything.

        Raises:
            RecordLost: It could not be written. The next call writes what is still missing.
        """
        try:
            return self._add(asked, call_id, at_ms, program, endpoint)
        except OSError as error:
            raise RecordLost(_why(error)) from None
        except (ValueError, RecursionError):  # of marshal and json: too deep, or no JSON at all
            raise RecordLost("a request is nested too deeply to be recorded") from None

    def close(self) -> None:
        """Let go of the files."""
        self._calls.close()

    def _add(self, asked: Asked, call: str, at: int, program: str | None, endpoint: str) -> list[Change]:
        told = self.reader.read(asked)
        system = tuple(self._digest(one) for one in told.system)
        tools = self._digest(told.tools) if told.tools else ""
        injected = {self._digest(one.value): one for one in told.injected}
        before = self._line_of(told, system, tools)
        number = before.number if before is not None else self._count + 1
        last = before or _Line(number)
        new = [digest for digest in injected if digest not in last.injected]
        gone = [] if told.continues else [digest for digest in last.injected if digest not in injected]
        entry: dict[str, object] = {
            "at": at, "call": call[:200], "line": number, "model": asked.model[:200], "program": (program or "")[:200],
            "endpoint": endpoint[:200], "system": system, "tools": tools,
            "injected": [[digest, injected[digest].source] for digest in new], "gone": sorted(gone),
        }  # fmt: skip
        if self._key is not None:
            entry["private"] = True
        self._append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._count = max(self._count, number)
        self._lines[number] = _Line(
            number, system, tools, told.names, last.injected.difference(gone).union(new),
            (last.opening if told.continues else told.opening) or last.opening,
        )  # fmt: skip
        self._lines.move_to_end(number)
        if len(self._lines) > _LINES:
            self._lines.popitem(last=False)
        values = dict(zip(system, told.system, strict=True))
        changes = [
            Change("system", number, now, was, self._says(values[now]) if now else "")
            for now, was in changed(last.system, system)
        ]
        if tools != last.tools:
            changes.append(Change("tools", number, tools, last.tools, self._differ(last.names, told.names)))
        changes += [
            Change("injected", number, digest, "", self._says(injected[digest].value)) for digest in new
        ]
        return changes

    def _line_of(self, told: Told, system: tuple[str, ...], tools: str) -> _Line | None:
        """The line of calls that a call belongs to; None if it begins one.

        The last that was told the same system instructions and tools; else the last whose conversation began with
        the same words and that was told the same of one of the two (to have none is no likeness; instructions that
        only go on where the others end are the same). So the title that a program asks for between two calls of its
        main conversation is a line of its own, and a change of the instructions amid a conversation is a change.
        """
        latest = list(reversed(self._lines.values()))
        for line in latest:
            if line.system == system and line.tools == tools:
                return line
        for line in latest:
            both = min(len(system), len(line.system))
            alike = (both and system[:both] == line.system[:both]) or (tools and tools == line.tools)
            if alike and (told.continues or (told.opening and line.opening == told.opening)):
                return line
        return None

    def _digest(self, value: object) -> str:
        """The name of a text, which is kept if it was not yet."""
        # Version 2 has no references between objects: the same value gives the same bytes. A hundred times as fast
        # as canonical JSON, and almost every text was in the call before.
        raw = hashlib.sha256(marshal.dumps(value, 2)).digest()  # type: ignore[arg-type]
        if (known := self._cache.get(raw)) is not None:
            self._cache.move_to_end(raw)
            return known
        data = form(value)
        if self._key is not None:
            name = hmac.digest(self._key, data, "sha256").hex()
        else:
            name = hashlib.sha256(data).hexdigest()
            self._keep(name, data)
        self._cache[raw] = name
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return name

    def _keep(self, name: str, data: bytes) -> None:
        if name in self._kept:
            return
        if len(data) > LARGEST_TEXT or self._size + len(data) > LARGEST_TEXTS:
            raise RecordLost(
                f"the record of what the model is told is full: {(self._size + len(data)) >> 20} MiB of texts"
            )
        new = f"{self._texts}/.{name}"
        file = _open(new, os.O_WRONLY | os.O_TRUNC)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
        except OSError:
            with suppress(OSError):
                os.unlink(new)
            raise
        finally:
            os.close(file)
        os.replace(new, f"{self._texts}/{name}.json")
        self._kept.add(name)
        self._size += len(data)

    def _append(self, line: bytes) -> None:
        if self._calls.size + len(line) > LARGEST_CALLS:
            raise RecordLost(f"the record of calls is full: {LARGEST_CALLS >> 20} MiB")
        self._calls.add(line)

    def _says(self, value: object) -> str:
        return "" if self._key is not None else line_of(value)

    def _differ(self, before: Sequence[str], now: Sequence[str]) -> str:
        if self._key is not None:
            return ""
        was, became = frozenset(before), frozenset(now)
        signs = [f"+{name}" for name in now if name not in was]
        signs += [f"-{name}" for name in before if name not in became]
        if not before:
            return first_line(f"{len(now)} tools: {', '.join(now[:12])}")
        return first_line(" ".join(signs[:20]) or "the same tools, described otherwise")


def _open(path: str, how: int) -> int:
    return os.open(path, how | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _key(folder: str) -> bytes:
    """The run's key, made if need be."""
    path = folder + "/key"
    with suppress(FileNotFoundError), open(path, "rb") as file:
        found = file.read(33)
        if len(found) == 32:
            return found
        raise OSError(5, "the key is damaged", path)
    # Under its name only once it is whole.
    key = os.urandom(32)
    file_number = _open(path + ".new", os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(file_number, key)
    finally:
        os.close(file_number)
    os.replace(path + ".new", path)
    return key


def _why(error: OSError) -> str:
    return f"what the model is told cannot be recorded: {error.strerror or error}"

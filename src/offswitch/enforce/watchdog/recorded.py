"""The record of what a model was told as it is read, while it is written or afterwards; `instructions` writes it."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Literal

from offswitch.trust import canonical

What = Literal["system", "tools", "injected"]
"""One of the system instructions, all tools, or a message that the program put into the conversation."""

LARGEST_TEXT = 64 << 20
"""Bytes of the largest text that is kept; the gateway takes no request that is larger."""

_MOST_PIECES = 50_000
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass
class Sent:
    """A text, and how often it was sent.

    Attributes:
        what: What it is.
        source: How an injected one was known (`told.Source`); "" for others.
        first: When it was first sent, in milliseconds since 1970.
        last: When it was last sent.
        times: In how many calls.
    """

    what: What
    source: str
    first: int
    last: int
    times: int = 0


@dataclass
class Changed:
    """A change, as the record has it.

    Attributes:
        at: When, in milliseconds since 1970.
        call: In which call.
        what: What changed.
        before: What was told before; "" if nothing was in its place.
        now: What is told since; "" if nothing is.
    """

    at: int
    call: str
    what: What
    before: str
    now: str


@dataclass
class Line:
    """Calls that belong together: those of one conversation, or of several with the same instructions.

    Attributes:
        number: From 1, in the order in which they began.
        calls: How many.
        first: When the first came, in milliseconds since 1970.
        last: When the last came.
        programs: The agent programs, as far as they are known.
        models: The models that were asked.
        endpoints: Where they were asked.
        system: The system instructions that are told now.
        tools: The tools that are told now; "" for none.
        injected: What stands in the conversation now.
        sent: Every text that was ever told, by its digest, in the order in which they came.
        changes: What changed after the first call, but for the messages that come with each turn.
    """

    number: int
    calls: int = 0
    first: int = 0
    last: int = 0
    programs: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    system: tuple[str, ...] = ()
    tools: str = ""
    injected: list[str] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    changes: list[Changed] = field(default_factory=list)


class Damaged(ValueError):
    """A text that is missing, or is not what it was; the message is one line."""


@dataclass
class Account:
    """A run's record, as read.

    Attributes:
        folder: Where it lies.
        lines: The lines of calls.
        skipped: How many lines of the file could not be read.
        cut: Whether the last of them was cut short, as by the writer's death.
        private: Whether texts are private.
    """

    folder: str
    lines: list[Line] = field(default_factory=list)
    skipped: int = 0
    cut: bool = False
    private: bool = False

    def value(self, digest: str) -> object:
        """A text, as JSON.

        Raises:
            Damaged: It is private, gone, or not what was recorded.
        """
        if self.private:
            raise Damaged("the text is private: only its digest was recorded")
        try:
            with open(f"{self.folder}/texts/{digest}.json", "rb") as file:
                data = file.read(LARGEST_TEXT + 1)
        except OSError as error:
            raise Damaged(f"the text {digest[:12]} cannot be read: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise Damaged(f"the text {digest[:12]} is not what was recorded: its SHA-256 is another")
        try:
            value: object = json.loads(data)
        except (ValueError, RecursionError):
            raise Damaged(
                f"the text {digest[:12]} cannot be read: it is no JSON that can be followed"
            ) from None
        return value


def read(folder: str) -> Account:
    """Read a run's record, while it is written or afterwards; a folder without one has no calls.

    Raises:
        OSError: It cannot be read.
    """
    account = Account(folder)
    lines: dict[int, Line] = {}
    try:
        file = open(f"{folder}/calls.jsonl", "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return account
    with file:
        while data := file.readline(_LONGEST):
            entry = _entry(data)
            if entry is None:
                if data.strip():
                    account.skipped += 1
                    account.cut = not data.endswith(b"\n")
                continue
            account.private = account.private or entry.private
            _count(lines.setdefault(entry.line, Line(entry.line)), entry)
    account.lines = [lines[number] for number in sorted(lines)]
    return account


def form(value: object) -> bytes:
    """The bytes whose digest names a text: its canonical JSON (RFC 8785).

    For the few values that have none, whose numbers or letters no double and no UTF-8 can hold, JSON in ASCII: with
    half of a surrogate pair as its escape, and numbers as they are. No canonical form of another value is the same.
    So is one of more than 50,000 pieces, which no agent program sends: it would be written for seconds.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        if _is_large(value):
            raise canonical.NotCanonical("it has too many pieces")
        return canonical.encode_any(value)
    except canonical.NotCanonical:
        try:
            return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        except TypeError as error:
            raise ValueError(str(error)) from None


def _is_large(value: object) -> bool:
    """Whether it has more pieces than are written one by one."""
    count, found = 0, [value]
    while found:
        one = found.pop()
        pieces = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        count += len(pieces)
        if count > _MOST_PIECES:
            return True
        found.extend(pieces)
    return False


def changed(before: Sequence[str], now: Sequence[str]) -> list[tuple[str, str]]:
    """What differs between two lists of digests: pairs of what is now and what was before, "" where nothing is.

    What is the same at the beginning and at the end is left out, and the rest put side by side.
    """
    start = 0
    while start < min(len(before), len(now)) and before[start] == now[start]:
        start += 1
    end = 0
    while end < min(len(before), len(now)) - start and before[-1 - end] == now[-1 - end]:
        end += 1
    was, became = before[start : len(before) - end], now[start : len(now) - end]
    pairs = zip_longest(became, was, fillvalue="")
    return [(new, old) for new, old in pairs if new != old]


_LONGEST = 1 << 20


@dataclass(frozen=True)
class _Entry:
    at: int
    call: str
    line: int
    model: str
    program: str
    endpoint: str
    system: tuple[str, ...]
    tools: str
    injected: tuple[tuple[str, str], ...]
    gone: frozenset[str]
    private: bool


def _entry(data: bytes) -> _Entry | None:
    """A line of ``calls.jsonl``; None if it is none."""
    try:
        body = json.loads(data)
        if not isinstance(body, dict):
            return None
        digests = [*body["system"], *body["gone"], *(one for one, _ in body["injected"])]
        digests += [body["tools"]] if body["tools"] else []
        numbers = (body["at"], body["line"])
        if not all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in digests):
            return None
        if not all(type(one) is int for one in numbers):
            return None
        return _Entry(
            body["at"], str(body["call"]), body["line"], str(body["model"]), str(body["program"]),
            str(body["endpoint"]), tuple(body["system"]), str(body["tools"]),
            tuple((one, str(source)) for one, source in body["injected"]), frozenset(body["gone"]),
            body.get("private") is True,
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _count(line: Line, entry: _Entry) -> None:
    """Add a call to its line."""
    if line.calls:
        line.changes += [
            Changed(entry.at, entry.call, "system", was, now)
            for now, was in changed(line.system, entry.system)
        ]
        if entry.tools != line.tools:
            line.changes.append(Changed(entry.at, entry.call, "tools", line.tools, entry.tools))
        line.changes += [Changed(entry.at, entry.call, "injected", "", one) for one, _ in entry.injected]
    else:
        line.first = entry.at
    line.calls += 1
    line.last = entry.at
    for values, value in (
        (line.programs, entry.program), (line.models, entry.model), (line.endpoints, entry.endpoint)
    ):  # fmt: skip
        if value and value not in values and len(values) < 50:
            values.append(value)
    line.system, line.tools = entry.system, entry.tools
    new = dict(entry.injected)
    line.injected = [one for one in line.injected if one not in entry.gone and one not in new] + list(new)
    for digest in dict.fromkeys(entry.system):
        _send(line, entry.at, digest, "system", "")
    if entry.tools:
        _send(line, entry.at, entry.tools, "tools", "")
    for digest in line.injected:
        _send(line, entry.at, digest, "injected", new.get(digest, ""))


def _send(line: Line, at: int, digest: str, what: What, source: str) -> None:
    sent = line.sent.setdefault(digest, Sent(what, source, at, at))
    sent.times += 1
    sent.last = at

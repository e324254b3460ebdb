"""Messages to be judged: the labelled set that is shipped here, and a user's own."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SET = Path(__file__).with_name("messages.jsonl")

Split = Literal["tune", "held-out", "all"]
SPLITS: tuple[Split, ...] = ("held-out", "tune", "all")


class MessageError(ValueError):
    """A file of messages cannot be used; the message says which line, and what to change."""


@dataclass(frozen=True)
class Message:
    """Something to be judged.

    Attributes:
        id: Its name, unique in its file.
        text: What was written.
    """

    id: str
    text: str


@dataclass(frozen=True)
class Labelled(Message):
    """A message of the shipped set.

    Attributes:
        construct: What it is labelled for, ``threat`` or ``aware``.
        kind: What it was written to be, such as ``veiled-threat``.
        intent: The author's label.
        split: ``tune`` or ``held-out``.
        language: Two letters.
        tags: ``injection`` if it speaks to the judge, ``format`` if it is oddly laid out.
        second: The label of the blind reader; None before there was one.
    """

    construct: str
    kind: str
    intent: str
    split: str
    language: str
    tags: tuple[str, ...]
    second: str | None


def labelled() -> list[Labelled]:
    """The shipped set, in the order of its file."""
    rows = [json.loads(line) for line in SET.read_text(encoding="utf-8").splitlines()]
    return [Labelled(**{**row, "tags": tuple(row["tags"])}) for row in rows]


def digest() -> str:
    """Hash of the shipped set, so that a result says which set it was measured on (SHA-256, hexadecimal)."""
    return hashlib.sha256(SET.read_bytes()).hexdigest()


def choose(
    items: Sequence[Labelled], construct: str, split: Split, limit: int | None = None
) -> list[Labelled]:
    """The part of a set that a judge is measured on.

    Args:
        items: The set.
        construct: Which messages.
        split: Which half; ``all`` for both.
        limit: At most so many. The same ones each time, and drawn from all kinds: the file is sorted by kind, so its
            first ones would all be of one.

    Returns:
        The messages, in the order of the set.
    """
    found = [item for item in items if item.construct == construct and split in ("all", item.split)]
    if limit is None or limit >= len(found):
        return found
    drawn = sorted(found, key=lambda item: hashlib.sha256(item.id.encode()).digest())[:limit]
    return [item for item in found if item in drawn]


def read(path: Path) -> list[Message]:
    """A user's messages: JSON lines with ``id`` and ``text``.

    Args:
        path: The file; further keys are passed over, and so are empty lines.

    Returns:
        The messages.

    Raises:
        MessageError: A line is not such an object, an id comes twice, or there is no message.
        OSError: The file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise MessageError(f"{path}: is not UTF-8 text ({error})") from error
    found: dict[str, Message] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            message = _message(line, f"{path}, line {number}")
            if message.id in found:
                raise MessageError(f"{path}, line {number}: the id {message.id!r} comes a second time")
            found[message.id] = message
    if not found:
        raise MessageError(f'{path}: holds no message; each is a line such as {{"id": "1", "text": "..."}}')
    return list(found.values())


def _message(line: str, where: str) -> Message:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{where}: is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise MessageError(f"{where}: is not an object with id and text")
    name, text = row.get("id"), row.get("text")
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not name:
        raise MessageError(f"{where}: has no id, which is a text or a whole number")
    if not isinstance(text, str) or not text.strip():
        raise MessageError(f"{where}: has no text to judge")
    try:
        (name + text).encode()
    except UnicodeEncodeError as error:
        raise MessageError(
            f"{where}: holds half of a character (a lone surrogate), which is no text"
        ) from error
    return Message(name, text)

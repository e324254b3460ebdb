"""The patches of ``apply_patch``, as codex, opencode and OpenAI's built-in tool have it: which files change, and how.

Not the format of ``diff``: sections that begin with ``*** Add File: PATH``, ``*** Delete File: PATH`` or
``*** Update File: PATH`` stand between ``*** Begin Patch`` and ``*** End Patch``. An added file's lines have ``+`` in
front. An update may say ``*** Move to: PATH``, and has hunks, each behind a line ``@@ where``: lines with a blank,
``-`` or ``+`` in front (https://github.com/openai/codex, instructions for apply_patch; OpenAI API, "Apply patch").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_SECTION = re.compile(r"\*\*\* (Add|Update|Delete) File:\s*(.*?)\s*")
_MOVE = re.compile(r"\*\*\* Move to:\s*(.*?)\s*")
_FRAME = ("*** Begin Patch", "*** End Patch", "*** End of File")


@dataclass(frozen=True)
class Hunk:
    """Lines that are replaced, with their neighbours.

    Attributes:
        old: What stands there before, each line with its newline.
        new: What stands there after.
    """

    old: str
    new: str


@dataclass(frozen=True)
class Change:
    """What a patch does to one file.

    Attributes:
        verb: What is done.
        path: The file, as the patch names it.
        to: Where it is moved to; "" where it stays.
        content: An added file's whole text.
        hunks: An updated file's hunks.
    """

    verb: Literal["add", "update", "delete"]
    path: str
    to: str = ""
    content: str = ""
    hunks: tuple[Hunk, ...] = ()

    @property
    def removed(self) -> str:
        """The lines that an update takes away."""
        return "".join(line for hunk in self.hunks for line in _only(hunk.old, hunk.new))

    @property
    def added(self) -> str:
        """The lines that are put in."""
        return self.content + "".join(line for hunk in self.hunks for line in _only(hunk.new, hunk.old))

    def applied(self, text: str) -> str | None:
        """The file's text after an update of ``text``, or None where the patch does not fit it."""
        at = 0
        for hunk in self.hunks:
            found = text.find(hunk.old, at)
            if found < 0 and (found := text.find(hunk.old.removesuffix("\n"), at)) < 0:
                return None
            end = found + len(hunk.old)
            text = text[:found] + hunk.new + text[end:]
            at = found + len(hunk.new)
        return text


@dataclass(frozen=True)
class Patch:
    """A patch taken apart.

    Attributes:
        changes: Its changes, in order.
        complete: Whether every line was understood.
    """

    changes: tuple[Change, ...]
    complete: bool


def holds(text: str) -> bool:
    """Whether a text has a patch of this format in it."""
    return "*** Begin Patch" in text or _SECTION.match(text.lstrip()) is not None


def parse(text: str) -> Patch:
    """Take a patch apart. Never raises: what is no patch is incomplete.

    Args:
        text: It, perhaps with other text around.
    """
    begin = text.find("*** Begin Patch")
    lines = text[max(begin, 0) :].split("\n")
    changes: list[Change] = []
    complete = True
    section: re.Match[str] | None = None
    to, body = "", list[str]()
    for line in [*lines, "*** End Patch"]:
        line = line.removesuffix("\r")
        stripped = line.strip()
        match = _SECTION.fullmatch(stripped)
        if match or stripped in _FRAME[:2]:
            if section is not None:
                changes.append(_change(section, to, body))
            elif any(other.strip() for other in body):
                complete = False
            section, to, body = match, "", []
        elif section is not None and (move := _MOVE.fullmatch(stripped)):
            to = move[1]
        elif stripped != _FRAME[2]:
            body.append(line)
    return Patch(tuple(changes), complete and bool(changes) and all(change.path for change in changes))


def diff(text: str) -> tuple[Hunk, ...]:
    """The hunks of an update: also what OpenAI's ``apply_patch_call`` has under ``diff``."""
    return tuple(_hunks(text.removesuffix("\n").split("\n")))


def created(text: str) -> str:
    """The text of a file that is added: its lines without the ``+`` in front."""
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return "".join(line.removeprefix("+") + "\n" for line in lines)


def _change(section: re.Match[str], to: str, body: list[str]) -> Change:
    match section[1]:
        case "Add":
            return Change("add", section[2], content=created("\n".join(body)))
        case "Delete":
            return Change("delete", section[2])
        case _:
            return Change("update", section[2], to, hunks=tuple(_hunks(body)))


def _hunks(lines: list[str]) -> Iterator[Hunk]:
    old, new = list[str](), list[str]()
    for line in [*lines, "@@"]:
        if line.startswith("@@"):
            if old or new:
                yield Hunk("".join(old), "".join(new))
            old, new = [], []
            continue
        if line.startswith(("---", "+++")) and not (old or new):
            continue  # a header of ``diff``
        mark, rest = (line[:1], line[1:] + "\n") if line else (" ", "\n")
        if mark != "+":
            old.append(rest if mark in (" ", "-") else line + "\n")
        if mark != "-":
            new.append(rest if mark in (" ", "+") else line + "\n")


def _only(these: str, those: str) -> Iterator[str]:
    """The lines of one text that the other has not, roughly: enough to say what was put in or taken away."""
    left = those.splitlines()
    for line in these.splitlines():
        if line in left:
            left.remove(line)
        else:
            yield line + "\n"

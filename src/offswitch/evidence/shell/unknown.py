"""Text of which parts are not known.

A value is an ordinary string in which control characters, which no shell string can hold or no sane one does,
stand for what the text of the command does not tell. Strings and not objects, so that everything that handles
text (joining, splitting, comparing) keeps working on the known parts.
"""

import re

ANY = "\0"
"""Any text."""

STAR, MARK, OPEN = "\x04", "\x05", "\x06"
"""``* ? [`` of a glob that matched nothing known: itself, or files that are not known."""

NAME = "\x02"
"""In front of a program's bare name that stands for its unknown place (``$(which kill)``)."""

_UNKNOWN = re.compile("[\0\x04\x05\x06]")
_PROCESSES = re.compile("\0pattern:([^\0]*)\0")
_BACK = str.maketrans({STAR: "*", MARK: "?", OPEN: "[", NAME: None})
_SPACE = "\x1f"


def known(text: str | None) -> bool:
    """Whether every part of ``text`` is known."""
    return text is not None and not _UNKNOWN.search(text)


def nothing(text: str) -> bool:
    """Whether nothing at all is known of ``text``."""
    return ANY in text and not text.replace(ANY, "").strip()


def unglobbed(text: str) -> str:
    """``text`` with unmatched globs read as themselves, as bash does."""
    return text.translate(_BACK)


def literal(text: str | None) -> str | None:
    """``text`` when it is known, else None."""
    return unglobbed(text) if text is not None and ANY not in text else None


def shown(text: str) -> str:
    """``text`` for a target: ``*`` for what is not known."""
    return unglobbed(_PROCESSES.sub("*", text).replace(ANY, "*")).replace(_SPACE, " ")


def processes(pattern: str) -> str:
    """The unknown numbers of the processes that fit ``pattern``."""
    return f"{ANY}pattern:{pattern.replace(ANY, '*').replace(' ', _SPACE)}{ANY}"


def process_pattern(text: str) -> str | None:
    """The last pattern that ``processes`` put into ``text``, or None."""
    found = _PROCESSES.findall(text)
    return found[-1].replace(_SPACE, " ") if found else None


_BYTES = 0xE000
"""Where in the letters for private use the bytes of what is no text begin."""


def packed(data: bytes) -> str:
    """Bytes that are no text, as letters that no command is written in."""
    return "".join(chr(_BYTES + byte) for byte in data)


def unpacked(text: str) -> bytes | None:
    """The bytes that ``packed`` was given, or None for text."""
    body = text.rstrip("\n")
    if not body or not all(_BYTES <= ord(char) < _BYTES + 256 for char in body):
        return None
    return bytes(ord(char) - _BYTES for char in body)

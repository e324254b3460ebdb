"""What differs between two texts, by lines, and within a changed line by words."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

Sign = Literal[" ", "-", "+", "~", "@"]

_Code = tuple[str, int, int, int, int]

MOST_LINES = 2000
"""Lines of the largest difference that is looked at closely: the time grows with the square."""
_MOST_WORDS = 1500
_MOST_LETTERS = 20_000
_CONTEXT = 2
_ALIKE = 0.5
_AROUND = 8


@dataclass(frozen=True)
class Row:
    """One row of a difference.

    Attributes:
        sign: `` `` for a line of both texts, ``-`` for one of the old, ``+`` for one of the new, ``~`` for one that
            became another, ``@`` for a remark.
        pieces: The line in pieces, each with `` ``, ``-`` or ``+``.
    """

    sign: Sign
    pieces: tuple[tuple[str, str], ...]


def rows(before: str, now: str) -> list[Row]:
    """The difference between two texts, with two lines around each change."""
    old, new = before.splitlines(), now.splitlines()
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    was, became = old[start : len(old) - end], new[start : len(new) - end]
    if not was and not became:
        return []
    found = [_row(" ", line) for line in old[max(0, start - _CONTEXT) : start]]
    if max(len(was), len(became)) > MOST_LINES:
        found.append(_row("@", f"too much to compare: {len(was)} lines became {len(became)}"))
    else:
        found += _middle(was, became)
    found += [_row(" ", line) for line in old[len(old) - end : len(old) - end + _CONTEXT]]
    return found


def _middle(was: list[str], became: list[str]) -> Iterator[Row]:
    for tag, a, b, c, d in SequenceMatcher(None, was, became).get_opcodes():
        if tag == "equal":
            if b - a <= 2 * _CONTEXT:
                yield from (_row(" ", line) for line in was[a:b])
                continue
            first = a + _CONTEXT if a else a
            last = b - _CONTEXT if b < len(was) or d < len(became) else b
            yield from (_row(" ", line) for line in was[a:first])
            yield _row("@", f"{last - first} lines are the same")
            yield from (_row(" ", line) for line in was[last:b])
        elif tag == "replace" and b - a == d - c:
            for old, new in zip(was[a:b], became[c:d], strict=True):
                yield from _line(old, new)
        else:
            yield from (_row("-", line) for line in was[a:b])
            yield from (_row("+", line) for line in became[c:d])


def _line(old: str, new: str) -> list[Row]:
    """A line that became another: word by word where most words are the same."""
    short = max(len(old), len(new)) <= _MOST_LETTERS
    a, b = (re.findall(r"\s+|\w+|[^\w\s]", line) if short else [] for line in (old, new))
    if short and max(len(a), len(b)) <= _MOST_WORDS:
        matcher = SequenceMatcher(None, a, b, autojunk=False)
        if matcher.ratio() >= _ALIKE:
            pieces: list[tuple[str, str]] = []
            for tag, i, j, k, m in _joined(matcher.get_opcodes(), a):
                if tag == "equal":
                    pieces.append((" ", _shortened(a[i:j], first=i == 0, last=j == len(a))))
                else:
                    pieces += [
                        (sign, text)
                        for sign, text in (("-", "".join(a[i:j])), ("+", "".join(b[k:m])))
                        if text
                    ]
            return [Row("~", tuple(pieces))]
    return [_row("-", old), _row("+", new)]


def _joined(codes: Sequence[_Code], words: list[str]) -> Iterator[_Code]:
    """Changes with nothing but blanks between them as one."""
    last: _Code | None = None
    for number, (tag, i, j, k, m) in enumerate(codes):
        if tag == "equal" and 0 < number < len(codes) - 1 and "".join(words[i:j]).isspace():
            tag = "replace"
        if tag != "equal" and last is not None and last[0] != "equal":
            last = ("replace", last[1], j, last[3], m)
            continue
        if last is not None:
            yield last
        last = (tag, i, j, k, m)
    if last is not None:
        yield last


def _shortened(words: list[str], *, first: bool, last: bool) -> str:
    """Words that are the same: only those around a change."""
    head = [] if first else words[: 2 * _AROUND]
    tail = [] if last else words[-2 * _AROUND :]
    if len(words) <= len(head) + len(tail) + 2 * _AROUND:
        return "".join(words)
    return "".join(head) + "…" + "".join(tail)


def _row(sign: Sign, line: str) -> Row:
    return Row(sign, ((" ", line),))

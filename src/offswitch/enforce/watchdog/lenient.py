"""JSON as clients repair it: what a model wrote is judged as the most willing reader takes it.

Some clients take arguments that end too early, with a comma too many, with names and texts in other quotes or none,
with a line's end in a text, or with words around them. Which of these an agent's client takes is not known here.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

_BLANK = " \t\r\n,;\ufeff"
_QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019"}
_RUNS = {close: re.compile(rf"[^\\{close}]*") for close in _QUOTES.values()}
_TO_VALUE, _TO_NAME = re.compile(r"[^,}\]\n]*"), re.compile(r"[^:=,}\]]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_DEEPEST = 60
MOST = 500
"""Objects and lists that are read out of one text."""


def values(text: str) -> Iterator[Any]:
    """Every object and list that can be read out of a text, from left to right, at most `MOST`; never raises.

    Of a name that stands twice the later ones are called ``NAME#1`` and so on.
    """
    reader = _Reader(text)
    for _ in range(MOST):
        begin = min(
            (at for at in (text.find("{", reader.at), text.find("[", reader.at)) if at >= 0), default=-1
        )
        if begin < 0:
            return
        reader.at = begin
        yield reader.value(0)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def blanks(self) -> None:
        text = self.text
        while self.at < len(text):
            if text[self.at] in _BLANK:
                self.at += 1
            elif text.startswith("//", self.at) or text.startswith("#", self.at):
                end = text.find("\n", self.at)
                self.at = len(text) if end < 0 else end
            elif text.startswith("/*", self.at):
                end = text.find("*/", self.at)
                self.at = len(text) if end < 0 else end + 2
            else:
                return

    def value(self, depth: int) -> Any:
        letter = self.text[self.at : self.at + 1]
        if letter == "{" and depth < _DEEPEST:
            return self.object(depth)
        if letter == "[" and depth < _DEEPEST:
            return self.listed(depth)
        if letter in _QUOTES:
            return self.quoted()
        return self.word(_TO_VALUE)

    def object(self, depth: int) -> dict[str, Any]:
        self.at += 1
        found: dict[str, Any] = {}
        times: Counter[str] = Counter()
        while True:
            self.blanks()
            if self.at >= len(self.text) or self.text[self.at] in "}]":
                self.at += 1
                return found
            before = self.at
            name = self.quoted() if self.text[self.at] in _QUOTES else str(self.word(_TO_NAME))
            self.blanks()
            value: Any = None
            if self.text[self.at : self.at + 1] in (":", "="):
                self.at += 1
                self.blanks()
                value = self.value(depth + 1) if self.text[self.at : self.at + 1] not in ("}", "") else None
            found[f"{name}#{times[name]}" if times[name] else name] = value
            times[name] += 1
            if self.at == before:
                self.at += 1

    def listed(self, depth: int) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        while True:
            self.blanks()
            if self.at >= len(self.text) or self.text[self.at] in "]}":
                self.at += 1
                return found
            before = self.at
            found.append(self.value(depth + 1))
            if self.at == before:
                self.at += 1

    def quoted(self) -> str:
        """A text in quotes, to the end of all where they are not closed."""
        text, close = self.text, _QUOTES[self.text[self.at]]
        self.at += 1
        parts: list[str] = []
        while self.at < len(text) and text[self.at] != close:
            run = _RUNS[close].match(text, self.at)
            assert run is not None  # nothing is a match, too
            parts.append(run.group())
            self.at = run.end()
            if text[self.at : self.at + 1] == "\\":
                parts.append(self.escape())
        self.at += 1
        return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def escape(self) -> str:
        letter = self.text[self.at + 1 : self.at + 2]
        digits = self.text[self.at + 2 : self.at + 6]
        if letter == "u" and len(digits) == 4 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            self.at += 6
            return chr(int(digits, 16))
        if (
            letter == "x"
            and len(digits) >= 2
            and all(digit in "0123456789abcdefABCDEF" for digit in digits[:2])
        ):
            self.at += 4
            return chr(int(digits[:2], 16))
        self.at += 2
        return _ESCAPES.get(letter, letter)

    def word(self, pattern: re.Pattern[str]) -> Any:
        run = pattern.match(self.text, self.at)
        assert run is not None  # as above
        self.at = run.end()
        word = run.group().strip()
        return _WORDS.get(word, word)

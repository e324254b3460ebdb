"""JavaScript in pieces: what `scripted` reads."""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>\d[\w.]*)
    |(?P<name>[A-Za-z_$][\w$]*)
    |(?P<mark>`|=>|\?\.|\.\.\.|\+=|[=!<>]=+|&&|\|\||\?\?|.)""",
    re.DOTALL | re.VERBOSE,
)
_PATTERN = re.compile(r"/(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(\r\n|.))", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": "", "\r\n": ""}


@dataclass(frozen=True)
class Token:
    """One piece.

    Attributes:
        kind: ``name``, ``text``, ``template``, ``number``, ``pattern`` or ``mark``.
        text: It, as it stands.
    """

    kind: str
    text: str


def tokens(source: str) -> list[Token]:
    """The tokens; a template is one, as it stands."""
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        assert match is not None  # any letter is a mark
        kind, end = str(match.lastgroup), match.end()
        if match.group() == "`":
            kind, end = "template", _end_of_template(source, at)
        elif match.group() == "/" and _before_a_pattern(found) and (pattern := _PATTERN.match(source, at)):
            kind, end = "pattern", pattern.end()
        if kind != "space":
            found.append(Token(kind, source[at:end]))
        at = end
    return found


def _before_a_pattern(found: list[Token]) -> bool:
    """Whether a ``/`` behind these tokens begins a pattern, and divides nothing."""
    if not found:
        return True
    last = found[-1]
    return last.text in ("return", "typeof", "case") or (
        last.kind == "mark" and last.text not in (")", "]", "}")
    )


def _end_of_template(source: str, at: int) -> int:
    """The place behind the template that begins at a place."""
    return _end(source, at + 1, "`")


def end_of_hole(source: str, at: int) -> int:
    """The place behind the ``}`` of a ``${`` that ends at a place."""
    return _end(source, at, "{")


def _end(source: str, at: int, within: str) -> int:
    """The place where a template (a backtick) or the code in one (``{``) ends, whatever is in it."""
    open_ones = [within]
    while at < len(source) and open_ones:
        letter = source[at]
        if open_ones[-1] == "`":
            if letter == "\\":
                at += 1
            elif letter == "`":
                open_ones.pop()
            elif source.startswith("${", at):
                open_ones.append("{")
                at += 1
        elif letter in "`{":
            open_ones.append(letter)
        elif letter == "}":
            open_ones.pop()
        elif letter in "\"'" and (match := _TOKEN.match(source, at)):
            at = match.end() - 1
        at += 1
    return min(at, len(source))


def unescaped(body: str) -> str:
    """What is meant by the inside of a text."""

    def letter(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code is None:
            return _PLAIN.get(match[4], match[4])
        number = int(code, 16)
        return chr(number) if number < 0x110000 else ""

    joined = _ESCAPE.sub(letter, body)
    # Two escapes may be the halves of one letter.
    return joined.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def next_hole(body: str, at: int) -> int:
    """Where the next ``${`` of a template is, or its end."""
    while at < len(body):
        if body[at] == "\\":
            at += 2
        elif body.startswith("${", at):
            return at
        else:
            at += 1
    return len(body)

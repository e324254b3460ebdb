"""JavaScript in pieces: what `scripted` reads."""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n\r\u2028\u2029]*|/\*.*?(?:\*/|\Z))
    |(?P<text>"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?)
    |(?P<number>\d[\w.]*)
    |(?P<name>(?:[^\W\d]|\$|\\u\{?[0-9a-fA-F]{1,6}\}?)(?:[\w$]|\\u\{?[0-9a-fA-F]{1,6}\}?)*)
    |(?P<mark>`|=>|\?\.|\.\.\.|\+=|[=!<>]=+|&&|\|\||\?\?|.)""",
    re.DOTALL | re.VERBOSE,
)
_PATTERN = re.compile(r"/(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*")
_LOOKS = 10_000_000
"""Letters that are looked through in vain for the end of a pattern."""
_HIDING = re.compile(r"['\"`]|.//|/\*")
_ESCAPE = re.compile(
    r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([0-3]?[0-7]{1,2})|(\r\n|.))",
    re.DOTALL,
)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "\n": "", "\r\n": ""}


@dataclass(frozen=True)
class Token:
    """One piece.

    Attributes:
        kind: ``name``, ``text``, ``template``, ``number``, ``pattern`` or ``mark``.
        text: It, as it stands.
    """

    kind: str
    text: str


EITHER = "?/"
"""The text of a mark that divides, or begins a pattern in which there is a quote or a comment."""


def tokens(source: str, *, patterns: bool = False) -> list[Token]:
    """The tokens; a template is one, as it stands.

    Args:
        source: A program.
        patterns: Whether `EITHER` begins a pattern; else it is told as a mark.

    Raises:
        ValueError: It would take too long.
    """
    found: list[Token] = []
    at = looked = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        assert match is not None  # any letter is a mark
        kind, end = str(match.lastgroup), match.end()
        if match.group() == "`":
            kind, end = "template", _end_of_template(source, at)
        elif match.group() == "/":
            pattern = _PATTERN.match(source, at)
            # Behind a bracket only a whole grammar knows which it is.
            either = pattern and found and found[-1].text in (")", "}") and _HIDING.search(pattern.group())
            if pattern is None:
                line = source.find("\n", at)
                looked += (line if line >= 0 else len(source)) - at
                if looked > _LOOKS:
                    raise ValueError("too long")
            elif _before_a_pattern(found) or (either and patterns):
                kind, end = "pattern", pattern.end()
            elif either:
                found.append(Token("mark", EITHER))
                kind = "space"
        if kind != "space":
            text = source[at:end]
            if kind == "text" and (len(text) == 1 or text[-1] != text[0]):
                # It is not closed: nobody runs that, or it is no text.
                text += text[0]
                found.append(Token("mark", EITHER))
            found.append(Token(kind, unescaped(text) if kind == "name" and "\\" in text else text))
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
        if match[4]:
            return chr(int(match[4], 8))
        code = match[1] or match[2] or match[3]
        if code is None:
            return _PLAIN.get(match[5], match[5])
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

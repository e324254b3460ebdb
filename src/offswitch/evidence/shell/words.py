"""From a word's source text to the fields that a program gets: quotes, variables, substitutions, globs."""

import posixpath
import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell import arithmetic, globs
from offswitch.evidence.shell.parse import NotBash, Parser
from offswitch.evidence.shell.unknown import ANY, MARK, OPEN, STAR, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell

_LITERAL, _SPLIT, _QUOTED, _BREAK = range(4)
Part = tuple[str, int]

PLAIN = re.compile(r"[A-Za-z0-9_./:=@%+,-]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?$!-]")
_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-])(\[([^\]]*)\])?")
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "E": "\x1b",
    "f": "\f",
    "v": "\v",
}
_EVERYTHING = re.compile(r"\$@|\$\{@\}|\$\{\w+\[@\]\}")
_TEXT_LIMIT = 1 << 20


def escapes(text: str, *, octal_zero: bool = False) -> str:
    """What ``$'...'``, ``printf`` and (with ``octal_zero``) ``echo -e`` make of backslashes."""
    if "\\" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        body = match.group(1)
        if body[0] == "x" and len(body) > 1:
            return chr(int(body[1:], 16))
        if body[0] in "uU" and len(body) > 1:
            code = int(body[1:], 16)
            return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else ANY
        if body[0] in "01234567":
            if octal_zero and body[0] != "0":
                return match.group()
            return chr(int(body, 8) & 0xFF)
        if body[0] in _ESCAPES:
            return _ESCAPES[body[0]]
        return body if body in "\\'\"?" else match.group()

    octal = "0[0-7]{0,3}" if octal_zero else "[0-7]{1,3}"
    text = re.sub(rf"\\(x[0-9a-fA-F]{{1,2}}|u[0-9a-fA-F]{{1,4}}|U[0-9a-fA-F]{{1,8}}|{octal}|.)", one, text,
                  flags=re.DOTALL)  # fmt: skip
    # Bytes written one by one are UTF-8 when they are text at all.
    if any("\x80" <= char <= "\xff" for char in text):
        try:
            return text.encode("latin-1").decode()
        except (UnicodeEncodeError, UnicodeDecodeError):
            return text
    return text


class Words:
    """Expands words in one shell's state."""

    def __init__(self, shell: "Shell") -> None:
        self.shell = shell

    def fields(self, word: str) -> list[str]:
        """The fields that an unquoted word becomes: none, one or many."""
        if PLAIN.fullmatch(word):
            return [word]
        found: list[str] = []
        try:
            pieces = globs.braces(word)
        except globs.TooMany:
            self.shell.give_up()
            return [ANY]
        for piece in pieces:
            found += self._globbed(self._split(self.parts(self._tilde(piece))))
        return found

    def text(self, word: str, *, tilde: bool = True) -> str:
        """The one string that a word becomes where neither splitting nor globbing happens."""
        if PLAIN.fullmatch(word):
            return word
        parts = self.parts(self._tilde(word, assignment=True) if tilde else word)
        return self._bounded("".join(" " if kind == _BREAK else text for text, kind in parts))

    def pattern(self, word: str) -> str:
        """A word as a pattern: what was quoted in it matches only itself."""
        out = []
        for text, kind in self.parts(self._tilde(word)):
            out.append(globs.escape(text) if kind == _QUOTED else text)
        return "".join(out)

    def document(self, body: str) -> str:
        """A here-document whose delimiter was not quoted."""
        if "$" not in body and "`" not in body and "\\" not in body:
            return body
        parts = self.parts(body, quoted=True, document=True)
        return self._bounded("".join(" " if kind == _BREAK else text for text, kind in parts))

    def _bounded(self, text: str) -> str:
        self.shell.spend(1 + len(text) // 2000)
        if len(text) > _TEXT_LIMIT:
            self.shell.give_up()
            return ANY
        return text

    def _tilde(self, word: str, *, assignment: bool = False) -> str:
        if "~" not in word:
            return word
        places = re.split(r"(?<=[:=])(?=~)", word) if assignment else [word]
        for number, place in enumerate(places):
            if place == "~" or place.startswith("~/") or (assignment and place.startswith("~:")):
                home = self.shell.variable("HOME") or self.shell.home
                places[number] = globs.escape(home).replace(" ", "\\ ") + place[1:]
            elif place.startswith("~+"):
                places[number] = self.shell.cwd + place[2:]
            elif re.match(r"~[a-z_][a-z0-9_-]*(/|$)", place):
                user, slash, rest = place[1:].partition("/")
                base = "/root" if user == "root" else f"/home/{user}"
                if posixpath.basename(self.shell.home) == user:
                    base = self.shell.home
                places[number] = base + slash + rest
        return "".join(places)

    def parts(self, source: str, *, quoted: bool = False, document: bool = False) -> list[Part]:
        """A word's text as pieces, each with how it was written."""
        parts: list[Part] = []
        plain = _QUOTED if quoted else _LITERAL
        at, end = 0, len(source)
        size = counted = 0
        self.shell.spend(len(source) // 200)
        special = re.compile(r"[\\$`]" if quoted else r"[\\$`'\"<>]")
        while at < end:
            match = special.search(source, at)
            if match is None:
                parts.append((source[at:], plain))
                break
            if match.start() > at:
                parts.append((source[at : match.start()], plain))
            size += sum(len(part[0]) for part in parts[counted:])
            counted = len(parts)
            if size > _TEXT_LIMIT:
                self.shell.give_up()
                return [(ANY, plain)]
            at = match.start()
            char = source[at]
            if char == "\\":
                following = source[at + 1 : at + 2]
                if following == "\n":
                    pass
                elif quoted and following not in ("$", "`", "\\", *(() if document else ('"',))):
                    parts.append(("\\" + following, _QUOTED))
                else:
                    parts.append((following or "\\", _QUOTED))
                at += 2
            elif char == "'":
                close = source.find("'", at + 1)
                close = end if close < 0 else close
                parts.append((source[at + 1 : close], _QUOTED))
                at = close + 1
            elif char == '"':
                close = (
                    globs.shielded(source, at)
                    if "$(" not in source and "${" not in source
                    else self._end(source, at)
                )
                inner = self.parts(source[at + 1 : close - 1], quoted=True)
                parts += inner
                if not any(text or kind == _BREAK for text, kind in inner) and not _EVERYTHING.fullmatch(
                    source[at + 1 : close - 1]
                ):
                    parts.append(("", _QUOTED))
                at = close
            elif char == "`":
                close = globs.shielded(source, at)
                body = re.sub(r"\\([$`\\])", r"\1", source[at + 1 : close - 1])
                parts.append((self.shell.substitute(body), _QUOTED if quoted else _SPLIT))
                at = close
            elif char == "$":
                at = self._dollar(source, at, parts, quoted)
            elif source.startswith("(", at + 1):
                close = self._end(source, at)
                parts.append((self.shell.process_substitution(char, source[at + 2 : close - 1]), _QUOTED))
                at = close
            else:
                parts.append((char, plain))
                at += 1
        return parts

    def _end(self, source: str, at: int) -> int:
        """The place behind the quote or expansion at ``at``, as the grammar sees it."""
        parser = Parser(source)
        parser.at = at
        try:
            if source[at] in "<>":
                parser.at = at + 2
                parser.inside()
            else:
                parser.quoted(source[at])
        except (NotBash, RecursionError):
            return len(source) + 1
        return parser.at

    def _dollar(self, source: str, at: int, parts: list[Part], quoted: bool) -> int:
        kind = _QUOTED if quoted else _SPLIT
        following = source[at + 1 : at + 2]
        if following == "(":
            if source.startswith("((", at + 1):
                end = self._end(source, at)
                if source.startswith("))", end - 2) and parse_arithmetic(source, at) == end:
                    value = arithmetic.value(self.text(source[at + 3 : end - 2], tilde=False), self.shell)
                    parts.append((ANY if value is None else str(value), kind))
                    return end
            end = self._end(source, at)
            parts.append((self.shell.substitute(source[at + 2 : end - 1]), kind))
            return end
        if following == "{":
            end = self._end(source, at)
            self._parameter(source[at + 2 : end - 1], parts, kind)
            return end
        if following == "'" and not quoted:
            end = globs.shielded(source.replace("\\'", "\\,"), at + 1)
            close = at + 2
            while close < len(source) and source[close] != "'":
                close += 2 if source[close] == "\\" else 1
            parts.append((escapes(source[at + 2 : close]), _QUOTED))
            return close + 1
        if following == '"' and not quoted:
            return at + 1
        match = _NAME.match(source, at + 1)
        if not match:
            parts.append(("$", _QUOTED))
            return at + 1
        name = match.group()
        if name in ("@", "*"):
            self.shell.draw("@")
            self._list(self.shell.positional, name, parts, kind)
        else:
            self.shell.draw(name)
            parts.append((self.shell.value(name), kind))
        return match.end()

    def _list(self, items: list[str], how: str, parts: list[Part], kind: int) -> None:
        for number, item in enumerate(items):
            if number:
                parts.append((" ", kind) if how == "*" and kind == _QUOTED else ("", _BREAK))
            parts.append((item, kind))

    def _parameter(self, body: str, parts: list[Part], kind: int) -> None:
        """``${body}``."""
        shell = self.shell
        length = body.startswith("#") and len(body) > 1 and _PARAMETER.fullmatch(body, 1)
        indirect = body.startswith("!") and len(body) > 1
        match = _PARAMETER.match(body, 1 if length or indirect else 0)
        if match is None:
            parts.append((ANY, kind))
            return
        name, index = match.group(1), match.group(3)
        rest = body[match.end() :]
        if indirect:
            pointed = shell.value(name)
            if index is not None or not known(pointed) or not _PARAMETER.fullmatch(pointed):
                parts.append((ANY, kind))
                return
            name = pointed
        shell.draw(name)
        many: list[str] | None = None
        if name in ("@", "*"):
            many = shell.positional
        elif index in ("@", "*"):
            held = shell.lookup(name)
            many = held if isinstance(held, list) else [] if held is None else [held]
            if held is None:
                many = [shell.value(name)] if shell.value(name) else []
        if many is not None:
            how = name if name in ("@", "*") else str(index)
            if length:
                parts.append((str(len(many)), kind))
            elif rest.startswith(":") and rest[1:2] not in "-=+?":
                self._list(self._slice_list(many, rest[1:], name == "@"), how, parts, kind)
            elif rest:
                self._list([self._operate(name, item, rest) for item in many], how, parts, kind)
            else:
                self._list(many, how, parts, kind)
            return
        value = shell.element(name, index) if index is not None else shell.value(name)
        if length:
            parts.append((str(len(value)) if known(value) else ANY, kind))
        elif rest:
            parts.append((self._operate(name, value, rest, index), kind))
        else:
            parts.append((value, kind))

    def _slice_list(self, items: list[str], ends: str, positional: bool) -> list[str]:
        first, _, count = ends.partition(":")
        start = arithmetic.value(self.text(first, tilde=False), self.shell)
        number = arithmetic.value(self.text(count, tilde=False), self.shell) if count else len(items)
        if start is None or number is None:
            return [ANY]
        start = start - 1 if positional and start > 0 else start
        return items[start:][: max(number, 0)]

    def _operate(self, name: str, value: str, rest: str, index: str | None = None) -> str:
        shell = self.shell
        match = re.match(r":?[-=+?]", rest)
        if match:
            operator, operand = match.group(), rest[match.end() :]
            given = shell.is_set(name) if index is None else value != ""
            present = given and (value != "" or not operator.startswith(":"))
            if operator[-1] == "+":
                return self.text(operand) if present and known(value) else "" if not present else ANY
            if present:
                return value
            if operator[-1] == "?":
                return ANY
            result = self.text(operand)
            if operator[-1] == "=":
                shell.assign(name, result)
            return result
        if not known(value):
            return ANY
        operator = rest[:2] if rest[:2] in ("##", "%%", "//", "^^", ",,", "/#", "/%") else rest[:1]
        operand = rest[len(operator) :]
        if operator in ("#", "##", "%", "%%"):
            pattern = self.pattern(operand)
            if not known(pattern):
                return ANY
            return globs.trim(value, pattern, front=operator[0] == "#", longest=len(operator) == 2)
        if operator[0] == "/":
            cut = self._slash(operand)
            pattern = self.pattern(operand[:cut])
            by = self.text(operand[cut + 1 :], tilde=False)
            if not known(pattern):
                return ANY
            try:
                anchor = operator[1:] if operator[1:] in ("#", "%") else ""
                return self._bounded(
                    globs.replace(value, pattern, by, everywhere=operator == "//", anchor=anchor)
                )
            except globs.TooMany:
                return ANY
        if operator == ":":
            first, _, count = operand.partition(":")
            start = arithmetic.value(self.text(first, tilde=False), shell)
            number = arithmetic.value(self.text(count, tilde=False), shell) if count else len(value)
            if start is None or number is None:
                return ANY
            tail = value[start:] if start >= 0 or -start <= len(value) else ""
            return tail[:number]
        if operator in ("^", "^^", ",", ",,") and not operand:
            change = str.upper if operator[0] == "^" else str.lower
            return change(value) if len(operator) == 2 else change(value[:1]) + value[1:]
        return ANY

    @staticmethod
    def _slash(operand: str) -> int:
        at = 0
        while at < len(operand):
            if operand[at] in "\\'\"`$":
                at = globs.shielded(operand, at)
            elif operand[at] == "/":
                return at
            else:
                at += 1
        return len(operand)

    def _split(self, parts: list[Part]) -> list[list[Part]]:
        """Pieces into fields: unquoted expansions break at blanks."""
        fields: list[list[Part]] = [[]]
        for text, kind in parts:
            if kind == _BREAK:
                fields.append([])
            elif kind == _SPLIT:
                pieces = re.split(r"[ \t\n]+", text)
                for number, piece in enumerate(pieces):
                    if number:
                        fields.append([])
                    if piece:
                        fields[-1].append((piece, _SPLIT))
            elif text or kind == _QUOTED:
                fields[-1].append((text, kind))
        return [field for field in fields if field]

    def _globbed(self, fields: list[list[Part]]) -> list[str]:
        found: list[str] = []
        for field in fields:
            text = self._bounded("".join(part[0] for part in field))
            if not any(kind != _QUOTED and any(char in part for char in "*?[") for part, kind in field):
                found.append(text)
                continue
            pattern = "".join(
                globs.escape(part) if kind == _QUOTED else part.replace("\\", "\\\\") for part, kind in field
            )
            found += self.shell.glob(pattern) if globs.has_glob(pattern) else [text]
        self.shell.spend(len(found))
        return found


def parse_arithmetic(source: str, at: int) -> int:
    """The end of ``$((...))`` at ``at`` if it is arithmetic and not a subshell in a substitution, else -1."""
    from offswitch.evidence.shell.parse import arithmetic_end

    return arithmetic_end(source, at + 3)


def unmatched(pattern: str) -> str:
    """A glob that matched nothing known: its special characters become unknown ones."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            at += 1
            out.append(pattern[at])
        else:
            out.append({"*": STAR, "?": MARK, "[": OPEN}.get(char, char))
        at += 1
    return "".join(out)

"""The calls that a model makes in a program of JavaScript, which some clients run instead of calls one by one.

codex gives its newer models one tool, whose text is a program, and the other tools as functions in it:
``await tools.exec_command({cmd: "ls"})``. This reads such a program far enough to say what is called with what: texts,
templates, sums, lists and objects, what names were given, lists that are gone through. It runs nothing. What it does
not know stands as ``$unknown`` in a command, and every text of the program is told besides, since one may be a command
that a function of the program passes on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from offswitch.enforce.watchdog.scripted_tokens import end_of_hole, next_hole, tokens, unescaped

LONGEST = 200_000
"""Letters of a program that is read."""
_MOST = 400
"""Calls, and texts, that are told."""
_CHOICES = 30
"""Values that one name may have."""
_DEEPEST = 60
_INNER = 10
"""Programs within a program that are read."""

_THROUGH = frozenset(("map", "forEach", "filter", "flatMap", "some", "every", "find"))
_CHANGES = frozenset(("push", "unshift", "splice", "fill", "set", "reverse", "sort", "copyWithin"))
_TOOLS = re.compile(
    r"\btools\s*(?:\?\.)?\[|\btools\s*\??\.\s*[\w$]+(?:\s*\??\.\s*[\w$]+)*\s*(?:\?\.\s*)?\(|=\s*tools\b"
)
_OTHER_WAYS = frozenset(("eval", "Function", "globalThis", "Reflect", "Proxy"))


class _Unknown:
    """A value that is not known."""


UNKNOWN = _Unknown()


@dataclass(frozen=True)
class _OneOf:
    """A value that is each of some, one after the other."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class _Tool:
    """A tool as a value: ``tools.NAME``; ``tools`` itself has no name."""

    name: str = ""


@dataclass
class Script:
    """What a program calls.

    Attributes:
        calls: Names of tools and what each is given (JSON; None where that is not known).
        texts: Every text of the program, put together as far as it is known.
        complete: Whether all of what is called is known.
        cut: Whether it is longer than what is read, or broke what reads it.
    """

    calls: list[tuple[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    complete: bool = True
    cut: bool = False

    def stop_short(self) -> None:
        """Note that a bound was reached: what comes after it was not looked at."""
        self.cut, self.complete = True, False


def is_script(text: str) -> bool:
    """Whether a text may be such a program."""
    return _TOOLS.search(text) is not None


def read(text: str) -> Script:
    """Read a program. Never raises, whatever the text."""
    script = _read(text)
    if not script.complete:
        # What is given to ``eval`` is a text of the program, too.
        for one in [one for one in script.texts if is_script(one)][:_INNER]:
            inner = _read(one)
            script.calls += inner.calls
            script.texts += inner.texts
    return script


def _read(text: str) -> Script:
    reader = _Reader(text[:LONGEST])
    try:
        reader.program()
    except (RecursionError, ValueError, IndexError):
        reader.script.stop_short()
    if len(text) > LONGEST:
        reader.script.stop_short()
    return reader.script


def shown(value: Any) -> str:
    """A value in a text, as JavaScript writes it; what is not known as a variable of the shell's."""
    if isinstance(value, str):
        return value
    if value is True or value is False:
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, list):
        return ",".join(map(shown, value))
    return "null" if value is None else "$unknown"


def _each(value: Any) -> tuple[Any, ...]:
    return value.values if isinstance(value, _OneOf) else (value,)


def _made(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else _OneOf(tuple(values[:_CHOICES]))


def _plain(value: Any) -> Iterator[Any]:
    """The JSON values that a value may be, what is not known as a text."""
    if isinstance(value, _OneOf):
        for one in value.values:
            yield from _plain(one)
    elif isinstance(value, dict):
        options = {key: list(islice(_plain(one), _CHOICES)) for key, one in value.items()}
        for number in range(max(map(len, options.values()), default=1)):
            yield {key: ones[min(number, len(ones) - 1)] for key, ones in options.items() if ones}
    elif isinstance(value, list):
        lists = [list(islice(_plain(one), _CHOICES)) for one in value]
        for number in range(max(map(len, lists), default=1)):
            yield [ones[min(number, len(ones) - 1)] for ones in lists if ones]
    elif isinstance(value, _Unknown | _Tool):
        yield "$unknown"
    else:
        yield value


def _known(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_known, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_known, value))
    if isinstance(value, _OneOf):
        return _known(value.values)
    return not isinstance(value, _Unknown | _Tool) and not (isinstance(value, str) and "$unknown" in value)


class _Reader:
    def __init__(self, source: str) -> None:
        self.tokens = tokens(source)
        self.at = 0
        self.names: dict[str, Any] = {"tools": _Tool()}
        self.script = Script()
        self.depth = 0

    # Tokens

    def peek(self, more: int = 0) -> str:
        place = self.at + more
        return self.tokens[place].text if place < len(self.tokens) else ""

    def kind(self, more: int = 0) -> str:
        place = self.at + more
        return self.tokens[place].kind if place < len(self.tokens) else ""

    def take(self, text: str) -> bool:
        if self.peek() == text and self.kind() != "text":
            self.at += 1
            return True
        return False

    # Statements: everything that is no expression is passed over.

    def program(self) -> None:
        while self.at < len(self.tokens):
            before = self.at
            self.statement()
            if self.at == before:
                self.at += 1

    def statement(self) -> None:
        if self.peek() in ("const", "let", "var") and self.kind() == "name":
            self.at += 1
            self.binding()
        elif self.peek() == "for" and self.kind() == "name":
            self.at += 1
            self.take("await")
            if self.take("("):
                if self.peek() in ("const", "let", "var"):
                    self.at += 1
                if self.kind() == "name" and self.peek(1) == "of":
                    name = self.peek()
                    self.at += 2
                    self.names[name] = self.items(self.expression())
                elif self.peek() == "[":
                    self.pattern(UNKNOWN, "of")
        elif self.kind() == "name" and self.peek(1) == "+=":
            name = self.peek()
            self.at += 2
            self.names[name] = self.sum(self.names.get(name, UNKNOWN), self.expression())
        elif self.kind() == "name" and self.peek(1) == "=":
            name = self.peek()
            self.at += 2
            self.bind(name, self.expression())
        elif self.kind() in ("name", "text", "template", "number", "pattern") or self.peek() in ("(", "["):
            name = self.peek()
            self.expression()
            if self.kind() == "mark" and self.peek() in ("=", "+="):
                # A member of it is given a value, of which nothing is remembered.
                self.at += 1
                self.expression()
                self.names[name] = UNKNOWN

    def binding(self) -> None:
        while True:
            if self.peek() in ("{", "["):
                begin = self.at
                self.skip()
                end = self.at
                value = self.expression() if self.take("=") else UNKNOWN
                after, self.at = self.at, begin
                self.unpack(value, end)
                self.at = after
            elif self.kind() == "name":
                name = self.peek()
                self.at += 1
                self.bind(name, self.expression() if self.take("=") else UNKNOWN)
            if not self.take(","):
                return

    def bind(self, name: str, value: Any) -> None:
        """A name that is given several values may have each."""
        before = self.names.get(name, UNKNOWN)
        if isinstance(before, _Unknown | _Tool) or isinstance(value, _Tool) or before == value:
            self.names[name] = value
        else:
            self.names[name] = _made([*_each(before), *_each(value)])

    def unpack(self, value: Any, end: int) -> None:
        """``{a, b: c}`` or ``[a, b]`` on the left of a value."""
        listed = self.take("[")
        if not listed:
            self.take("{")
        number = 0
        while self.at < end - 1:
            if self.kind() == "name":
                key = name = self.peek()
                self.at += 1
                if not listed and self.take(":"):
                    name = self.peek()
                    self.at += 1
                if isinstance(value, _Tool) and not value.name:
                    self.names[name] = _Tool(key)
                elif listed:
                    self.names[name] = (
                        value[number] if isinstance(value, list) and number < len(value) else UNKNOWN
                    )
                else:
                    self.names[name] = value.get(key, UNKNOWN) if isinstance(value, dict) else UNKNOWN
                number += 1
            else:
                self.at += 1

    def pattern(self, value: Any, word: str) -> None:
        begin = self.at
        self.skip()
        if self.peek() == word:
            end = self.at
            self.at += 1
            value = self.items(self.expression())
            after, self.at = self.at, begin
            inner = _each(value)[0] if _each(value) else UNKNOWN
            self.unpack(inner, end)
            self.at = after

    def skip(self) -> None:
        """Pass over what is in brackets."""
        depth = 0
        while self.at < len(self.tokens):
            if self.kind() == "mark":
                depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(self.peek(), 0)
            self.at += 1
            if depth <= 0:
                return

    # Expressions

    def expression(self) -> Any:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError("too deep")
        value = self.alternatives()
        self.depth -= 1
        return value

    def alternatives(self) -> Any:
        value = self.added()
        while self.kind() == "mark" and self.peek() in ("||", "&&", "??", "?"):
            mark = self.peek()
            self.at += 1
            other = self.added()
            if mark == "?" and self.take(":"):
                value = _made([*_each(other), *_each(self.alternatives())])
            else:
                value = _made([*_each(value), *_each(other)])
        return value

    def added(self) -> Any:
        value = self.operand()
        while True:
            if self.take("+"):
                value = self.sum(value, self.operand())
            elif self.kind() == "mark" and (
                self.peek() in ("-", "*", "/", "%", "<", ">")
                or (self.peek()[:1] in "=!<>" and self.peek()[1:2] == "=")
            ):
                self.at += 1
                self.operand()
                value = UNKNOWN
            else:
                return self.told(value)

    def sum(self, one: Any, other: Any) -> Any:
        made: list[Any] = []
        for left in _each(one):
            for right in _each(other):
                if all(isinstance(side, int | float) for side in (left, right)):
                    made.append(left + right)
                elif isinstance(left, _Unknown) and isinstance(right, _Unknown):
                    made.append(UNKNOWN)
                else:
                    made.append(shown(left) + shown(right))
                if len(made) == _CHOICES:
                    return _made(made)
        return _made(made)

    def told(self, value: Any) -> Any:
        for one in _each(value):
            if isinstance(one, str) and one.strip() and len(self.script.texts) < _MOST:
                self.script.texts.append(one)
        return value

    def items(self, value: Any) -> Any:
        """What a name is, one after the other, that goes through a value."""
        found = [item for one in _each(value) for item in (one if isinstance(one, list) else [UNKNOWN])]
        return _made(found) if found else UNKNOWN

    def operand(self) -> Any:
        kind, text = self.kind(), self.peek()
        if kind == "mark" and text in ("!", "-", "+", "~"):
            self.at += 1
            self.operand()
            return UNKNOWN
        if kind == "name" and text in ("await", "async", "return", "typeof", "void", "throw", "new", "yield"):
            self.at += 1
            return self.operand()
        value = self.first(kind, text)
        return self.followed(value)

    def first(self, kind: str, text: str) -> Any:
        if kind == "text":
            self.at += 1
            return unescaped(text[1:-1])
        if kind == "template":
            self.at += 1
            return self.template(text)
        if kind == "pattern":
            self.at += 1
            return UNKNOWN
        if kind == "number":
            self.at += 1
            return int(text) if text.isdigit() and len(text) < 16 else UNKNOWN
        if kind == "name":
            return self.named(text)
        if text == "[":
            return self.listed()
        if text == "{":
            return self.entries()
        if text == "(":
            return self.parenthesis()
        return UNKNOWN

    def named(self, text: str) -> Any:
        self.at += 1
        if text == "function":
            if self.kind() == "name":
                self.at += 1
            if self.peek() == "(":
                self.skip()
            return UNKNOWN
        if self.peek() == "=>":
            self.at += 1
            if self.peek() != "{":
                self.expression()
            return UNKNOWN
        constants = {"true": True, "false": False, "null": None, "undefined": None}
        if text == "String" and self.peek() == "." and self.peek(1) == "raw" and self.kind(2) == "template":
            self.at += 3
            return self.template(self.tokens[self.at - 1].text, raw=True)
        if text in _OTHER_WAYS:
            self.script.complete = False
        return constants[text] if text in constants else self.names.get(text, UNKNOWN)

    def parenthesis(self) -> Any:
        begin = self.at
        self.skip()
        if self.peek() == "=>":
            self.at += 1
            if self.peek() != "{":
                self.expression()
            return UNKNOWN
        after, self.at = self.at, begin + 1
        value: Any = UNKNOWN
        while self.at < after - 1:
            before = self.at
            value = self.expression()
            if self.at == before or not self.take(","):
                self.at += self.at == before
        self.at = after
        return value

    def listed(self) -> Any:
        self.at += 1
        found: list[Any] = []
        while self.at < len(self.tokens) and not self.take("]"):
            before = self.at
            if self.take("..."):
                value = self.expression()
                found += value if isinstance(value, list) else [UNKNOWN]
            elif not self.take(","):
                found.append(self.expression())
            if self.at == before:
                self.at += 1
        return found

    def entries(self) -> Any:
        self.at += 1
        found: dict[str, Any] = {}
        while self.at < len(self.tokens) and not self.take("}"):
            before = self.at
            if self.take("..."):
                value = self.expression()
                if isinstance(value, dict):
                    found |= value
                else:
                    found["..."] = UNKNOWN
            elif self.kind() in ("name", "text", "number") or self.peek() == "[":
                if self.peek() == "[":
                    key = ([UNKNOWN, *self.listed()])[-1]
                    name = shown(key)
                else:
                    name = unescaped(self.peek()[1:-1]) if self.kind() == "text" else self.peek()
                    self.at += 1
                if self.take(":"):
                    found[name] = self.expression()
                elif self.peek() in (",", "}"):
                    found[name] = self.names.get(name, UNKNOWN)
                else:
                    # A method, or a block and no object: what is in it is read as the program.
                    return UNKNOWN
            elif not self.take(","):
                return UNKNOWN
            if self.at == before:
                self.at += 1
        return found

    def template(self, text: str, *, raw: bool = False) -> Any:
        value: Any = ""
        at, body = 0, text[1:-1] if text.endswith("`") and len(text) > 1 else text[1:]
        while at < len(body):
            place = next_hole(body, at)
            piece = body[at:place]
            value = self.sum(value, piece if raw else unescaped(piece))
            if place == len(body):
                break
            at = end_of_hole(body, place + 2)
            inner = _Reader(body[place + 2 : at - 1])
            inner.names, inner.script, inner.depth = self.names, self.script, self.depth
            value = self.sum(value, inner.expression() if inner.tokens else "")
        return value

    def followed(self, value: Any) -> Any:
        """What is done with a value: members, calls."""
        while True:
            if self.kind() == "mark" and self.peek() in (".", "?."):
                self.at += 1
                if self.kind() == "name":
                    name = self.peek()
                    self.at += 1
                    value = self.member(value, name)
                    continue
            if self.kind() == "mark" and self.peek() == "[":
                key = ([UNKNOWN, *self.listed()])[-1]
                value = self.element(value, key)
            elif self.kind() == "mark" and self.peek() == "(":
                value = self.called(value)
            elif self.kind() == "template" and isinstance(value, _Unknown):
                self.at += 1
                self.told(self.template(self.tokens[self.at - 1].text))
            else:
                return value

    def element(self, value: Any, key: Any) -> Any:
        if isinstance(value, _Tool) and not value.name:
            return _made([_Tool(one) if isinstance(one, str) else _Tool("?") for one in _each(key)])
        if isinstance(value, dict) and isinstance(key, str):
            return value.get(key, UNKNOWN)
        if isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            return value[key]
        return UNKNOWN

    def member(self, value: Any, name: str) -> Any:
        if isinstance(value, _Tool):
            if name in ("call", "apply", "bind"):
                self.script.complete = False
            return _Tool(f"{value.name}.{name}" if value.name else name)
        if self.peek() == "(" and name in _CHANGES:
            for known in [known for known, held in self.names.items() if held is value]:
                self.names[known] = UNKNOWN
            return UNKNOWN
        if self.peek() == "(" and name in _THROUGH and isinstance(value, list | _OneOf):
            self.through(self.items(value))
            return UNKNOWN
        if self.peek() == "(" and name in (
            "join",
            "concat",
            "repeat",
            "trim",
            "toString",
            "replace",
            "replaceAll",
        ):
            return self.method(value, name)
        return value.get(name, UNKNOWN) if isinstance(value, dict) else UNKNOWN

    def through(self, item: Any) -> None:
        """``LIST.map(NAME => ...)``: the name is each of the list; what is done with it is read as it comes."""
        at = self.at + 1
        while at < len(self.tokens) and self.tokens[at].text in ("async", "(", "function"):
            at += 1
        if at < len(self.tokens) and self.tokens[at].kind == "name":
            self.names[self.tokens[at].text] = item

    def method(self, value: Any, name: str) -> Any:
        given = self.arguments()
        made: list[Any] = []
        for one in _each(value):
            if name == "join" and isinstance(one, list):
                between = (
                    given[0] if given and isinstance(given[0], str) else "," if not given else "$unknown"
                )
                joined: Any = ""
                for number, item in enumerate(one):
                    joined = self.sum(self.sum(joined, between if number else ""), item)
                made += _each(joined)
            elif name == "concat" and isinstance(one, str):
                for item in given:
                    one = self.sum(one, item)
                made += _each(one)
            elif name == "concat" and isinstance(one, list):
                made.append(
                    [
                        *one,
                        *(
                            item
                            for extra in given
                            for item in (extra if isinstance(extra, list) else [extra])
                        ),
                    ]
                )
            elif name == "repeat" and isinstance(one, str) and given and isinstance(given[0], int):
                made.append((one * min(given[0], 1000))[:LONGEST])
            elif name in ("trim", "toString") and isinstance(one, str):
                made.append(one.strip() if name == "trim" else one)
            elif name in ("replace", "replaceAll") and isinstance(one, str) and len(given) == 2:
                old, new = given
                known = isinstance(old, str) and isinstance(new, str)
                made.append(one.replace(old, new, 1 if name == "replace" else -1) if known else UNKNOWN)
            else:
                made.append(UNKNOWN)
        return _made(made) if made else UNKNOWN

    def arguments(self) -> list[Any]:
        self.at += 1
        given: list[Any] = []
        while self.at < len(self.tokens) and not self.take(")"):
            before = self.at
            if not self.take(","):
                given.append(self.expression())
                while self.at < len(self.tokens) and self.peek() not in (",", ")"):
                    # The body of a function, or what is not understood: read as the program.
                    at = self.at
                    if self.kind() == "mark" and self.peek() in ("}", "]"):
                        self.at += 1
                    else:
                        self.statement()
                    self.at += self.at == at
            if self.at == before:
                self.at += 1
        return given

    def called(self, value: Any) -> Any:
        given = self.arguments()
        if any(isinstance(argument, dict | list) for argument in given) and isinstance(value, _Unknown):
            # As of ``Object.assign``: who is given a list or an object may change it.
            for known in [name for name, held in self.names.items() if any(held is one for one in given)]:
                if isinstance(self.names[known], dict | list):
                    self.names[known] = UNKNOWN
        if any(isinstance(one, _Tool) for argument in given for one in _each(argument)):
            # Whoever is given a tool may call it.
            self.script.complete = False
        for one in _each(value):
            if not isinstance(one, _Tool):
                continue
            if not one.name or one.name == "?":
                self.script.complete = False
            argument = given[0] if given else {}
            self.script.complete &= _known(argument)
            for plain in islice(_plain(argument), _CHOICES):
                if len(self.script.calls) < _MOST:
                    self.script.calls.append((one.name, plain))
                else:
                    self.script.stop_short()
        return UNKNOWN

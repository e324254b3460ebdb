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
from itertools import islice, product
from typing import Any

from offswitch.enforce.watchdog.scripted_tokens import (
    EITHER,
    Token,
    end_of_hole,
    next_hole,
    tokens,
    unescaped,
)
from offswitch.evidence.shell import folding

LONGEST = 200_000
"""Letters of a program that is read."""
_MOST = 400
"""Calls, and texts, that are told."""
_CHOICES = 100
"""Values that one name may have."""
_STEPS = 100_000
"""Statements and operands that are read, those of a loop as often as it goes round."""
_LARGEST = 100_000
"""Things in a list or an object, those within counted as often as they stand there; 16 letters are one."""
_DEEPEST = 60
_INNER = 10
"""Programs within a program that are read."""

_THROUGH = frozenset(("map", "forEach", "filter", "flatMap", "some", "every", "find"))
_CHANGES = frozenset(("push", "unshift", "splice", "fill", "set", "reverse", "sort", "copyWithin"))
_TOOLS = re.compile(
    r"\btools\s*(?:\?\.)?\[|\btools\s*\??\.\s*[\w$]+(?:\s*\??\.\s*[\w$]+)*\s*(?:\?\.\s*)?\(|=\s*tools\b"
)
_MAY_NAME_TOOLS = re.compile(r"\btools\b|\\u|\b(?:this|globalThis|eval|Function|constructor)\b")
_JAVASCRIPT = re.compile(r"\(\s*\{|\{\s*[\w'\"]+\s*:|=>|\b(?:await|const|let|var|function)\b")
_OTHER_WAYS = frozenset(
    (
        "eval",
        "Function",
        "globalThis",
        "Reflect",
        "Proxy",
        "import",
        "require",
        "setTimeout",
        "setInterval",
        "this",
    )
)
_BEFORE_A_CONDITION = frozenset(("if", "while", "for", "switch", "with", "await"))


class _Unknown:
    """A value that is not known."""


UNKNOWN = _Unknown()
_LEFT_OUT = _Unknown()
"""What stands for the values of a name that are too many to be followed."""


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
        left_out: Whether there are more texts than are told.
    """

    calls: list[tuple[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    complete: bool = True
    cut: bool = False
    left_out: bool = False

    def stop_short(self) -> None:
        """Note that a bound was reached: what comes after it was not looked at."""
        self.cut, self.complete = True, False


def is_script(text: str) -> bool:
    """Whether a text may be such a program."""
    if text.lstrip().startswith("*** Begin Patch"):
        return False
    if _TOOLS.search(text) is not None:
        return True
    # Not every way to the tools has the form above: one may be handed on, or its name put together.
    return _MAY_NAME_TOOLS.search(text) is not None and _JAVASCRIPT.search(text) is not None


def read(text: str) -> Script:
    """Read a program. Never raises, whatever the text."""
    script = _read(text)
    if not script.complete and (spelt := folding.folded(text[:LONGEST], dots=False)) != text[:LONGEST]:
        # What it decodes, or turns round.
        other = _read(spelt)
        script.calls += other.calls
        script.texts += other.texts
        script.left_out |= other.left_out
    if not script.complete:
        # What is given to ``eval`` is a text of the program, too.
        within = [one for one in script.texts if is_script(one)]
        for one in within[:_INNER]:
            inner = _read(one)
            script.calls += inner.calls
            script.texts += inner.texts
        if script.left_out or len(within) > _INNER:
            script.stop_short()
    return script


def _read(text: str) -> Script:
    script = Script(complete=len(text) <= LONGEST, cut=len(text) > LONGEST)
    for patterns in (False, True):
        try:
            pieces = tokens(text[:LONGEST], patterns=patterns)
            _Reader(pieces, script).program()
        except (RecursionError, ValueError, IndexError):
            script.stop_short()
            break
        if not any(one.text == EITHER for one in pieces):
            break
    return script


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


def _plain(value: Any) -> Iterator[Any]:
    """The JSON values that a value may be, what is not known as a text."""
    if isinstance(value, _OneOf):
        for one in value.values:
            yield from _plain(one)
    elif isinstance(value, dict):
        for ones in product(*(list(islice(_plain(one), _CHOICES + 1)) for one in value.values())):
            yield dict(zip(value, ones, strict=True))
    elif isinstance(value, list):
        yield from map(list, product(*(list(islice(_plain(one), _CHOICES + 1)) for one in value)))
    elif isinstance(value, _Unknown | _Tool):
        yield "$unknown"
    else:
        yield value


def _holds(value: Any, part: Any) -> bool:
    """Whether a value is a list or an object, or has it somewhere within."""
    if value is part:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds(one, part) for one in (value.values if isinstance(value, _OneOf) else inner))


def _known(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_known, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_known, value))
    if isinstance(value, _OneOf):
        return _known(value.values)
    return not isinstance(value, _Unknown | _Tool) and not (isinstance(value, str) and "$unknown" in value)


class _Reader:
    def __init__(self, pieces: list[Token], script: Script) -> None:
        self.tokens = pieces
        self.at = 0
        self.names: dict[str, Any] = {"tools": _Tool()}
        self.script = script
        self.depth = 0
        self.steps = 0
        self.given = 0
        """Marks that give a value, as far as they were understood."""
        self.loose = 0
        """Tools that were named and not called, nor given a name."""
        self.uncertain = self.changing()
        """Names that may have other values than those that are read here."""
        self.sizes: dict[int, tuple[Any, int]] = {}

    def changing(self) -> set[str]:
        """Names that are parameters of functions, are counted up, or are given a value behind where they are read."""
        found: set[str] = set()
        read: set[str] = set()
        opened: list[int] = []
        for at, token in enumerate(self.tokens):
            text, after = token.text, self.tokens[at + 1].text if at + 1 < len(self.tokens) else ""
            before = self.tokens[at - 1].text if at else ""
            if token.kind == "name":
                if (after == "=>" and not self.gone_through(at)) or after == "in":
                    found.add(text)
                if after in ("=", "+=") and before not in ("const", "let", ".") and text in read:
                    found.add(text)
                elif before != "." and after != "=":
                    read.add(text)
            elif token.kind == "mark" and text in "+-" and after == text:
                around = self.tokens[max(0, at - 1) : at + 3]
                found |= {one.text for one in around if one.kind == "name"}
            elif token.kind == "mark" and text == "(":
                opened.append(at)
            elif token.kind == "mark" and text == ")" and opened:
                begin = opened.pop()
                word = self.tokens[begin - 1].text if begin else ""
                if after == "=>" or (after == "{" and word not in _BEFORE_A_CONDITION):
                    first = begin + 1 if self.gone_through(begin) else -1
                    found |= {
                        self.tokens[place].text
                        for place in range(begin + 1, min(at, begin + 200))
                        if self.tokens[place].kind == "name" and place != first
                    }
        return found - {"tools"}

    def gone_through(self, at: int) -> bool:
        """Whether the function whose parameters begin at a place is given to one that goes through a list."""
        at -= 1
        if at >= 0 and self.tokens[at].text == "function":
            at -= 1
        if at >= 0 and self.tokens[at].text == "async":
            at -= 1
        return at > 0 and self.tokens[at].text == "(" and self.tokens[at - 1].text in _THROUGH

    def made(self, values: list[Any]) -> Any:
        """What is each of some values, as many as are followed."""
        if len(values) > _CHOICES:
            values = [*values[:_CHOICES], _LEFT_OUT]
        return values[0] if len(values) == 1 else self.sized(_OneOf(tuple(values)))

    def size(self, value: Any) -> int:
        """How large a value is; of a list that is there twice, it is counted twice."""
        if isinstance(value, str):
            return 1 + (len(value) >> 4)
        if not isinstance(value, dict | list | _OneOf):
            return 1
        if id(value) not in self.sizes:
            inner = value.values if isinstance(value, _OneOf) else value
            size = sum(map(self.size, inner.values() if isinstance(inner, dict) else inner))
            # It is kept, so that no other has its number.
            self.sizes[id(value)] = value, 1 + size
        return self.sizes[id(value)][1]

    def sized(self, value: Any) -> Any:
        """A new value, if it is not too large."""
        if self.size(value) > _LARGEST:
            raise ValueError("too large")
        return value

    def step(self, steps: int = 1) -> None:
        """Note what was done."""
        self.steps += steps
        if self.steps > _STEPS:
            raise ValueError("too long")

    def whole(self) -> None:
        """Look whether there is anything left that gives a name another value, or a tool to somebody."""
        gives = 0
        for at, token in enumerate(self.tokens):
            if token.kind == "mark":
                gives += token.text in ("=", "+=")
                after = self.tokens[at + 1].text if at + 1 < len(self.tokens) else ""
                if token.text in ("\\", EITHER) or (token.text in "<>" and after in ("<=", ">=")):
                    self.script.complete = False
        if gives > self.given or self.loose:
            self.script.complete = False

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
        self.until(len(self.tokens))
        self.whole()

    def until(self, end: int) -> None:
        """Read statements up to a place."""
        while self.at < end:
            before = self.at
            self.statement()
            if self.at == before:
                self.at += 1

    def statement(self) -> None:
        self.step()
        if self.peek() in ("const", "let", "var") and self.kind() == "name":
            self.at += 1
            self.binding()
        elif self.peek() == "for" and self.kind() == "name":
            self.at += 1
            self.take("await")
            if self.take("("):
                own = self.peek() in ("const", "let", "var")
                self.at += own
                begin = self.at
                if self.kind() == "name" and self.peek(1) == "of":
                    self.at += 1
                elif self.peek() in ("[", "{"):
                    self.skip()
                if self.take("of"):
                    self.loop(begin, self.at - 1, own)
                else:
                    self.at = begin
        elif self.kind() == "name" and self.peek(1) == "+=":
            name = self.peek()
            self.at += 2
            self.given += 1
            self.names[name] = self.sum(self.names.get(name, UNKNOWN), self.expression())
        elif self.kind() == "name" and self.peek(1) == "=":
            name = self.peek()
            self.at += 2
            self.bind(name, self.value())
        elif self.kind() in ("name", "text", "template", "number", "pattern") or self.peek() in ("(", "["):
            name = self.peek()
            self.expression()
            if self.kind() == "mark" and self.peek() in ("=", "+="):
                # A member of it is given a value, of which nothing is remembered: who else has it, sees that too.
                self.at += 1
                self.expression()
                self.names[name] = UNKNOWN

    def value(self) -> Any:
        """What stands behind a mark that gives a name a value; a tool is known by that name from now on."""
        self.given += 1
        loose = self.loose
        value = self.expression()
        if isinstance(value, _Tool):
            self.loose = loose
        return value

    def loop(self, begin: int, end: int, own: bool) -> None:
        """Go through a list, with the name or the names between two places; behind the ``of``."""
        items = _each(self.items(self.expression()))
        self.take(")")
        before, body, given = dict(self.names), self.at, self.given
        names: set[str] = set()
        for item in items:
            self.at = begin
            if self.kind() == "name":
                names.add(self.peek())
                self.names[self.peek()] = item
            else:
                names |= self.unpack(item, end)
            self.at, self.given = body, given
            if self.peek() == "{":
                self.skip()
                after, self.at = self.at, body + 1
                self.until(after - 1)
                self.at = after
            else:
                self.statement()
        for name in names:
            if own and name in before:
                self.names[name] = before[name]
            elif not own and name in before:
                self.names[name] = self.made([*_each(before[name]), *items, UNKNOWN])

    def binding(self) -> None:
        while True:
            if self.peek() in ("{", "["):
                begin = self.at
                self.skip()
                end = self.at
                value = self.value() if self.take("=") else UNKNOWN
                after, self.at = self.at, begin
                self.unpack(value, end)
                self.at = after
            elif self.kind() == "name":
                name = self.peek()
                self.at += 1
                self.bind(name, self.value() if self.take("=") else UNKNOWN)
            if not self.take(","):
                return

    def bind(self, name: str, value: Any) -> None:
        """A name that is given several values may have each."""
        before = self.names.get(name, UNKNOWN)
        self.step(self.size(value) >> 5)
        if isinstance(before, _Unknown) or before == value:
            self.names[name] = value
        else:
            self.names[name] = self.made([*_each(before), *_each(value)])

    def unpack(self, value: Any, end: int) -> set[str]:
        """``{a, b: c}`` or ``[a, b]`` on the left of a value: the names that stand in it."""
        found: set[str] = set()
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
                found.add(name)
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
                if self.kind() == "text":
                    # What a name is where nothing is given.
                    self.told(unescaped(self.peek()[1:-1]))
                self.at += 1
        return found

    def skip(self) -> None:
        """Pass over what is in brackets."""
        depth, begin = 0, self.at
        while self.at < len(self.tokens):
            if self.kind() == "mark":
                depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(self.peek(), 0)
            self.at += 1
            if depth <= 0:
                break
        self.step((self.at - begin) >> 3)

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
                value = self.made([*_each(other), *_each(self.alternatives())])
            else:
                value = self.made([*_each(value), *_each(other)])
        return value

    def added(self) -> Any:
        value = self.operand()
        while True:
            if self.take("+"):
                value = self.sum(value, self.operand())
            elif self.kind() == "mark" and (
                self.peek() in ("-", "*", "/", EITHER, "%", "<", ">")
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
                elif left is _LEFT_OUT or right is _LEFT_OUT:
                    made.append(_LEFT_OUT)
                elif isinstance(left, _Unknown) and isinstance(right, _Unknown):
                    made.append(UNKNOWN)
                else:
                    made.append(shown(left) + shown(right))
                    self.step(len(made[-1]) >> 8)
                    if len(made[-1]) > LONGEST:
                        raise ValueError("too long")
                if len(made) > _CHOICES:
                    return self.made(made)
        return self.made(made)

    def told(self, value: Any) -> Any:
        for one in _each(value):
            if isinstance(one, str) and one.strip():
                if len(self.script.texts) < _MOST:
                    self.script.texts.append(one)
                else:
                    self.script.left_out = True
        return value

    def items(self, value: Any) -> Any:
        """What a name is, one after the other, that goes through a value."""
        found = [item for one in _each(value) for item in (one if isinstance(one, list) else [UNKNOWN])]
        return self.made(found) if found else UNKNOWN

    def operand(self) -> Any:
        self.step()
        kind, text = self.kind(), self.peek()
        if kind == "mark" and text in ("!", "-", "+", "~"):
            self.at += 1
            self.operand()
            return UNKNOWN
        if kind == "name" and text in ("await", "async", "return", "typeof", "void", "throw", "new", "yield"):
            self.at += 1
            return self.operand()
        value = self.followed(self.first(kind, text))
        self.loose += any(isinstance(one, _Tool) for one in _each(value))
        return value

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

    def named(self, text: str, *, short: bool = False) -> Any:
        """What a name stands for; ``short`` for one that stands in an object alone, and is behind us."""
        self.at += not short
        if text == "function":
            if self.kind() == "name":
                self.at += 1
            if self.peek() == "(":
                self.arguments()
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
        value = constants[text] if text in constants else self.names.get(text, UNKNOWN)
        if text not in self.uncertain or isinstance(value, _Unknown):
            return value
        return self.made([*_each(value), UNKNOWN])

    def parenthesis(self) -> Any:
        begin = self.at
        self.skip()
        after, self.at = self.at, begin + 1
        value: Any = UNKNOWN
        while self.at < after - 1:
            before = self.at
            value = self.expression()
            if self.at == before or not self.take(","):
                self.at += self.at == before
        self.at = after
        if self.take("=>"):
            if self.peek() != "{":
                self.expression()
            return UNKNOWN
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
        return self.sized(found)

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
                    found[name] = self.named(name, short=True)
                else:
                    # A method, or a block and no object: what is in it is read as the program.
                    return UNKNOWN
            elif not self.take(","):
                return UNKNOWN
            if self.at == before:
                self.at += 1
        return self.sized(found)

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
            inner = _Reader(tokens(body[place + 2 : at - 1]), self.script)
            inner.names, inner.depth = self.names, self.depth
            inner.uncertain |= self.uncertain
            inner.steps = self.steps
            inner.step(len(inner.tokens) >> 3)
            value = self.sum(value, inner.expression() if inner.tokens else "")
            inner.program()
            self.steps = inner.steps
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
            return self.made([_Tool(one) if isinstance(one, str) else _Tool("?") for one in _each(key)])
        if isinstance(value, _Tool) or key == "constructor":
            self.script.complete = False
        if isinstance(value, list) and not isinstance(key, int):
            return self.items(value)
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
        if name == "constructor":
            self.script.complete = False
        if self.peek() == "(" and name in _CHANGES:
            self.forget(value)
            return UNKNOWN
        if self.peek() == "(" and name in _THROUGH:
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
            name = self.tokens[at].text
            known = name in self.names
            self.names[name] = self.made([*_each(self.names[name]), *_each(item)]) if known else item

    def forget(self, changed: Any) -> None:
        """Know no more of what has a list or an object in it that is changed."""
        if isinstance(changed, dict | list):
            self.step(1 + (sum(map(self.size, self.names.values())) >> 3))
            for name in [name for name, held in self.names.items() if _holds(held, changed)]:
                self.names[name] = UNKNOWN

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
                more = [item for extra in given for item in (extra if isinstance(extra, list) else [extra])]
                made.append(self.sized([*one, *more]))
            elif name == "repeat" and isinstance(one, str) and given and isinstance(given[0], int):
                if len(one) * given[0] > LONGEST:
                    raise ValueError("too long")
                made.append(one * given[0])
            elif name in ("trim", "toString") and isinstance(one, str):
                made.append(one.strip() if name == "trim" else one)
            elif name in ("replace", "replaceAll") and isinstance(one, str) and len(given) == 2:
                old, new = given
                known = isinstance(old, str) and isinstance(new, str)
                if known and len(one) + one.count(old) * len(new) > LONGEST:
                    raise ValueError("too long")
                made.append(one.replace(old, new, 1 if name == "replace" else -1) if known else UNKNOWN)
            else:
                made.append(UNKNOWN)
        return self.made(made) if made else UNKNOWN

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
            for one in given:
                self.forget(one)
        if any(isinstance(one, _Tool) for argument in given for one in _each(argument)):
            # Whoever is given a tool may call it.
            self.script.complete = False
        for one in _each(value):
            if not isinstance(one, _Tool):
                continue
            if not one.name or one.name == "?":
                self.script.complete = False
            argument = given[0] if given else {}
            self.step(self.size(argument) >> 5)
            if _holds(argument, _LEFT_OUT):
                self.script.stop_short()
            self.script.complete &= _known(argument)
            for number, plain in enumerate(islice(_plain(argument), _CHOICES + 1)):
                if len(self.script.calls) < _MOST and number < _CHOICES:
                    self.script.calls.append((one.name, plain))
                else:
                    self.script.stop_short()
        return UNKNOWN

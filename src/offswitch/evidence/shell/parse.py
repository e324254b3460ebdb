"""The grammar of bash: text in, a small tree out.

A hand-written parser and not tree-sitter-bash, because here-documents are where agents put their payloads and
tree-sitter-bash 0.25 reads them wrongly: it loses the ``-`` of ``python3 - <<EOF``, takes what stands behind ``;``
or ``&`` on the line of ``<<EOF`` for arguments, and does not know ``;&`` and ``<>``. It is kept for what it does
better, text that is not bash (see ``salvage.py``).

Words stay source text here; ``words.py`` expands them when the command runs.
"""

import re
from dataclasses import dataclass, field

MAX_DEPTH = 60
"""Levels of nesting that are followed; deeper text is not something that a person or a model writes to do work."""

_RESERVED = frozenset(
    "if then elif else fi for while until do done case esac { } [[ function select coproc in".split()
)
_ENDINGS = frozenset("then elif else fi do done esac }".split())
_BLANK_BEGINS = frozenset(" \t\r\\#")
_BLANKS = re.compile(r"(?:[ \t\r]|\\\n)*(?:#[^\n]*)?")
_META = frozenset(" \t\r\n;&|<>()")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\[[^\]\n]{0,80}\])?\+?=")
_DECLARES = frozenset(["export", "declare", "typeset", "local", "readonly"])
_REDIRECT = re.compile(r"(\d+|\{[A-Za-z_]\w*\})?(<<<|<<-|<<|<>|<&|>&|>>|>\||<|>)|(&>>|&>)")
_NO_ARGUMENTS = re.compile(r"[ \t]*\([ \t]*\)")
_PLAIN = re.compile(r"[^\s;&|<>()\\'\"`$]+")


class NotBash(Exception):
    """The text does not follow the grammar, or is nested too deeply to follow."""


@dataclass(slots=True)
class Redirect:
    """One redirection. ``body`` is a here-document's text; ``plain`` says that nothing in it expands."""

    operator: str
    word: str
    number: int | None = None
    body: str = ""
    plain: bool = False


@dataclass(slots=True)
class Assignment:
    """``name=value``, ``name[index]=value``, ``name+=value`` or, with ``items``, ``name=(items)``."""

    name: str
    value: str
    index: str | None = None
    append: bool = False
    items: list[str] | None = None


@dataclass(slots=True)
class Node:
    """Any command."""

    text: str = field(default="", kw_only=True)
    line: int = field(default=0, kw_only=True)


@dataclass(slots=True)
class Simple(Node):
    """Assignments, words and redirections."""

    assignments: list[Assignment]
    words: list[str]
    redirects: list[Redirect]


@dataclass(slots=True)
class Sequence(Node):
    """Commands one after the other; each with whether it runs in the background."""

    items: list[tuple[Node, bool]]


@dataclass(slots=True)
class AndOr(Node):
    """``first && b || c``: the rest as (operator, command)."""

    first: Node
    rest: list[tuple[str, Node]]


@dataclass(slots=True)
class Pipeline(Node):
    """Commands joined by pipes."""

    commands: list[Node]
    negated: bool


@dataclass(slots=True)
class Redirected(Node):
    """A compound command with redirections."""

    body: Node
    redirects: list[Redirect]


@dataclass(slots=True)
class Group(Node):
    """``{ ...; }``, or ``( ... )`` when ``subshell``."""

    body: Node
    subshell: bool


@dataclass(slots=True)
class If(Node):
    """Conditions with their bodies, and what stands behind ``else``."""

    branches: list[tuple[Node, Node]]
    otherwise: Node | None


@dataclass(slots=True)
class While(Node):
    """``while`` and ``until``."""

    condition: Node
    body: Node
    until: bool


@dataclass(slots=True)
class For(Node):
    """``for`` and ``select``; ``words`` is None for the positional parameters."""

    name: str
    words: list[str] | None
    body: Node


@dataclass(slots=True)
class CountedFor(Node):
    """``for ((a; b; c))``."""

    parts: list[str]
    body: Node


@dataclass(slots=True)
class Case(Node):
    """``case``: the word, and (patterns, body, ending) for every item."""

    word: str
    items: list[tuple[list[str], Node, str]]


@dataclass(slots=True)
class Function(Node):
    """A definition."""

    name: str
    body: Node


@dataclass(slots=True)
class Test(Node):
    """``[[ ... ]]`` as its words and operators."""

    tokens: list[str]


@dataclass(slots=True)
class Arithmetic(Node):
    """``(( ... ))``."""

    expression: str


@dataclass(slots=True)
class Script:
    """A whole text: the statements up to the first error, and the rest that is not bash ("" if all is)."""

    body: Sequence
    rest: str


def parse(text: str) -> Script:
    """Parse a script as bash reads it: line by line, until a line that does not parse.

    Args:
        text: Any text.

    Returns:
        What parsed. Never raises.
    """
    parser = Parser(text.replace("\0", ""))
    items: list[tuple[Node, bool]] = []
    while True:
        start = parser.at
        try:
            parser.blank_lines()
            start = parser.at
            if parser.at >= len(parser.source):
                return Script(Sequence(items, text=text), "")
            items += parser.line_of_statements()
        except (NotBash, RecursionError):
            return Script(Sequence(items, text=text), parser.source[start:] or " ")


class Parser:
    """A recursive-descent parser over one text."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.depth = 0
        self.last = 0
        self.counted = 0, 0
        """A place, and how many lines are before it."""
        self.pending: list[tuple[Redirect, bool]] = []

    # Between words

    def blanks(self) -> None:
        if self.source[self.at : self.at + 1] in _BLANK_BEGINS:
            match = _BLANKS.match(self.source, self.at)
            assert match is not None  # nothing is a match, too
            self.at = match.end()

    def blank_lines(self) -> None:
        self.blanks()
        while self.source.startswith("\n", self.at):
            self.newline()
            self.blanks()

    def newline(self) -> None:
        """Step over a newline and over the here-documents that begin behind it."""
        self.at += 1
        pending, self.pending = self.pending, []
        for redirect, tabs in pending:
            redirect.body = self.here_document(redirect.word, tabs)

    def here_document(self, delimiter: str, tabs: bool) -> str:
        lines: list[str] = []
        source = self.source
        while self.at < len(source):
            end = source.find("\n", self.at)
            stop = len(source) if end < 0 else end
            line = source[self.at : stop]
            if tabs:
                line = line.lstrip("\t")
            if line == delimiter:
                # The newline stays: it also ends the statement that the here-document belongs to.
                self.at = min(stop + 1, len(source))
                return "".join(lines)
            lines.append(line + ("\n" if end >= 0 or line else ""))
            self.at = min(stop + 1, len(source))
        return "".join(lines)

    def peek(self, text: str) -> bool:
        return self.source.startswith(text, self.at)

    def keyword(self) -> str:
        """The reserved word here, or ""."""
        match = _PLAIN.match(self.source, self.at)
        if match and match.group() in _RESERVED:
            after = self.source[match.end() : match.end() + 1]
            if after == "" or after in _META:
                return match.group()
        return ""

    def expect(self, word: str) -> None:
        self.blank_lines()
        if word in ")" and self.peek(word):
            self.at += 1
        elif self.keyword() == word:
            self.at += len(word)
        else:
            raise NotBash(f"expected {word!r}")

    # Words

    def word(self) -> str:
        """Step over one word and give its text."""
        start = self.at
        source, end = self.source, len(self.source)
        while self.at < end:
            match = _PLAIN.match(source, self.at)
            if match:
                self.at = match.end()
                continue
            char = source[self.at]
            if char in "<>" and source.startswith("(", self.at + 1):
                self.at += 2
                self.inside()
            elif char in _META:
                break
            else:
                self.quoted(char)
        if self.at == start:
            raise NotBash("expected a word")
        return source[start : self.at]

    def quoted(self, char: str) -> None:
        """Step over one quote, expansion or escape."""
        source = self.source
        if char == "\\":
            self.at = min(self.at + 2, len(source))
        elif char == "'":
            self.at = self.find("'", self.at + 1) + 1
        elif char == '"':
            self.double_quotes()
        elif char == "`":
            self.until("`")
        elif char == "$":
            self.dollar()
        else:
            self.at += 1

    def find(self, text: str, start: int) -> int:
        place = self.source.find(text, start)
        if place < 0:
            raise NotBash(f"no closing {text}")
        return place

    def until(self, quote: str) -> None:
        self.at += 1
        while True:
            if self.at >= len(self.source):
                raise NotBash(f"no closing {quote}")
            char = self.source[self.at]
            self.at += 2 if char == "\\" else 1
            if char == quote:
                return

    def double_quotes(self) -> None:
        self.at += 1
        while True:
            if self.at >= len(self.source):
                raise NotBash('no closing "')
            char = self.source[self.at]
            if char == '"':
                self.at += 1
                return
            if char == "\\":
                self.at += 2
            elif char == "`":
                self.until("`")
            elif char == "$" and self.source[self.at + 1 : self.at + 2] in ("(", "{"):
                self.dollar()
            else:
                self.at += 1

    def dollar(self) -> None:
        following = self.source[self.at + 1 : self.at + 2]
        if following == "(":
            if self.source.startswith("((", self.at + 1):
                end = arithmetic_end(self.source, self.at + 3)
                if end >= 0:
                    self.at = end
                    return
            self.at += 2
            self.inside()
        elif following == "{":
            self.at += 2
            self.braces()
        elif following == "'":
            self.at += 1
            self.until("'")
        elif following == '"':
            self.at += 1
            self.double_quotes()
        else:
            self.at += 1

    def braces(self) -> None:
        while True:
            if self.at >= len(self.source):
                raise NotBash("no closing }")
            char = self.source[self.at]
            if char == "}":
                self.at += 1
                return
            if char in "\\'\"`" or (char == "$" and self.source[self.at + 1 : self.at + 2] in ("(", "{")):
                self.deeper()
                self.quoted(char)
                self.depth -= 1
            else:
                self.at += 1

    def inside(self) -> None:
        """Step over the commands of ``$(``, ``<(`` or ``>(`` and its closing parenthesis."""
        self.deeper()
        self.statements(")")
        if not self.peek(")"):
            raise NotBash("no closing )")
        self.at += 1
        self.depth -= 1

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotBash("nested too deeply")

    # Commands

    def line_of_statements(self) -> list[tuple[Node, bool]]:
        items: list[tuple[Node, bool]] = []
        while True:
            items.append(self.statement())
            self.blanks()
            if self.at >= len(self.source):
                if self.pending:
                    self.newline()
                return items
            if self.peek("\n"):
                self.newline()
                return items
            if self.peek(")") or self.keyword() in _ENDINGS:
                raise NotBash("unexpected ending")

    def statements(self, closing: str = "") -> Sequence:
        """Statements up to ``closing``, an ending keyword or ``;;``."""
        items: list[tuple[Node, bool]] = []
        self.deeper()
        start = self.at
        while True:
            self.blank_lines()
            if self.at >= len(self.source) or self.peek(")") or self.peek(";;") or self.peek(";&"):
                break
            if self.keyword() in _ENDINGS:
                break
            items.append(self.statement())
        self.depth -= 1
        return Sequence(items, text=self.source[start : self.at])

    def statement(self) -> tuple[Node, bool]:
        node = self.and_or()
        self.blanks()
        if self.peek("&") and not self.peek("&&"):
            self.at += 1
            return node, True
        if self.peek(";") and not self.peek(";;") and not self.peek(";&"):
            self.at += 1
        elif (
            self.at < len(self.source)
            and self.source[self.at] not in "\n);"
            and self.keyword() not in _ENDINGS
        ):
            raise NotBash("unexpected text")
        return node, False

    def and_or(self) -> Node:
        start = self.at
        first = self.pipeline()
        rest: list[tuple[str, Node]] = []
        while True:
            self.blanks()
            operator = self.source[self.at : self.at + 2]
            if operator not in ("&&", "||"):
                break
            self.at += 2
            self.blank_lines()
            rest.append((operator, self.pipeline()))
        if not rest:
            return first
        return AndOr(first, rest, text=self.source[start : self.at].strip())

    def pipeline(self) -> Node:
        self.blanks()
        start = self.at
        negated = False
        while True:
            match = _PLAIN.match(self.source, self.at)
            if match and match.group() == "!":
                negated = not negated
            elif not (match and match.group() == "time"):
                break
            self.at = match.end()
            self.blanks()
            if match.group() == "time" and self.peek("-p"):
                self.at += 2
                self.blanks()
        if (negated or self.at > start) and (self.at >= len(self.source) or self.source[self.at] in "\n;&|)"):
            empty = Simple([], [], [], text=self.source[start : self.at])
            return Pipeline([empty], negated) if negated else empty
        commands = [self.command()]
        while True:
            self.blanks()
            if not self.peek("|") or self.peek("||"):
                break
            if self.peek("|&"):
                self.at += 2
                commands[-1] = Redirected(commands[-1], [Redirect(">&", "1", 2)], text=commands[-1].text)
            else:
                self.at += 1
            self.blank_lines()
            commands.append(self.command())
        if len(commands) == 1 and not negated:
            return commands[0]
        return Pipeline(commands, negated, text=self.source[start : self.at].strip())

    def command(self) -> Node:
        self.blanks()
        self.deeper()
        start = self.at
        node = self.compound(self.keyword())
        if node is None:
            node = self.simple()
        elif not isinstance(node, Function):
            redirects = self.redirects()
            if redirects:
                node = Redirected(node, redirects)
        if not node.text:
            node.text = self.source[start : self.at].strip()
        self.depth -= 1
        return node

    def redirects(self) -> list[Redirect]:
        found: list[Redirect] = []
        while True:
            self.blanks()
            if self.source[self.at : self.at + 1].isalpha():
                return found
            match = _REDIRECT.match(self.source, self.at)
            if not match or self.source.startswith("(", match.end()):
                return found
            found.append(self.redirect(match))
            self.last = self.at

    def redirect(self, match: re.Match[str]) -> Redirect:
        self.at = match.end()
        self.blanks()
        operator = match.group(2) or match.group(3)
        number = match.group(1) or ""
        if operator in ("<<", "<<-"):
            word = self.word()
            plain = any(quote in word for quote in "'\"\\")
            delimiter = re.sub(r"\\(.)|['\"]", lambda found: found.group(1) or "", word)
            if delimiter.startswith("$") and plain and word.startswith("$"):
                delimiter = delimiter[1:]
            redirect = Redirect(
                operator, delimiter, int(number[:6]) if number.isdigit() else None, plain=plain
            )
            self.pending.append((redirect, operator == "<<-"))
            return redirect
        return Redirect(operator, self.word(), int(number[:6]) if number.isdigit() else None)

    def line(self) -> int:
        """How many lines are before this place; 0 throughout a long text."""
        if len(self.source) >= 20000:
            return 0
        before, count = self.counted if self.counted[0] <= self.at else (0, 0)
        self.counted = self.at, count + self.source.count("\n", before, self.at)
        return self.counted[1]

    def simple(self) -> Simple:
        start, line = self.at, self.line()
        assignments: list[Assignment] = []
        words: list[str] = []
        redirects: list[Redirect] = []
        end = self.at
        while True:
            found = self.redirects()
            if found:
                redirects += found
                end = self.last
            if self.at >= len(self.source):
                break
            char = self.source[self.at]
            if char in "\n;&|)" or (char == "(" and not words):
                break
            if char == "(":
                raise NotBash("unexpected (")
            match = None
            if not words or words[0] in _DECLARES:
                match = _ASSIGNMENT.match(self.source, self.at)
            if match is not None:
                if self.source.startswith("(", match.end()):
                    array = self.array(match)
                    if words:
                        words.append(array.name)
                    assignments.append(array)
                    end = self.at
                    continue
                if not words:
                    assignments.append(self.assignment(match))
                    end = self.at
                    continue
            words.append(self.word())
            end = self.at
            if len(words) == 1 and not assignments and not redirects:
                named = self.named_function(words[0])
                if named is not None:
                    return named  # type: ignore[return-value]
        if not (assignments or words or redirects):
            raise NotBash("expected a command")
        return Simple(assignments, words, redirects, text=self.source[start:end], line=line)

    def assignment(self, match: re.Match[str]) -> Assignment:
        name, _, index = match.group().rstrip("=").rstrip("+").partition("[")
        self.at = match.end()
        empty = self.at >= len(self.source) or self.source[self.at] in _META
        if empty and self.source[self.at : self.at + 2] in ("<(", ">("):
            empty = False
        value = "" if empty else self.word()
        return Assignment(name, value, index[:-1] or None, match.group().endswith("+="))

    def array(self, match: re.Match[str]) -> Assignment:
        name, _, _ = match.group().rstrip("=").rstrip("+").partition("[")
        self.at = match.end() + 1
        items: list[str] = []
        while True:
            self.blank_lines()
            if self.peek(")"):
                self.at += 1
                return Assignment(name, "", None, match.group().endswith("+="), items)
            items.append(self.word())

    def named_function(self, name: str) -> Function | None:
        """``name () body``, if that is what stands here."""
        match = _NO_ARGUMENTS.match(self.source, self.at)
        if not match or any(char in name for char in "$'\"`\\"):
            return None
        self.at = match.end()
        return self.function(name)

    def function(self, name: str) -> Function:
        self.blank_lines()
        start = self.at
        body = self.compound(self.keyword())
        if body is None or isinstance(body, Function):
            raise NotBash("expected a function body")
        redirects = self.redirects()
        body.text = self.source[start : self.at].strip()
        return Function(name, Redirected(body, redirects) if redirects else body, text=body.text)

    def compound(self, keyword: str) -> Node | None:
        """The compound command here, or None."""
        if self.peek("(("):
            end = arithmetic_end(self.source, self.at + 2)
            if end >= 0:
                expression = self.source[self.at + 2 : end - 2]
                self.at = end
                return Arithmetic(expression)
        if self.peek("("):
            self.at += 1
            body = self.statements(")")
            self.expect(")")
            return Group(body, subshell=True)
        if keyword in _ENDINGS or keyword == "":
            if keyword:
                raise NotBash(f"unexpected {keyword}")
            return None
        if keyword == "in":
            return None
        self.at += len(keyword)
        match keyword:
            case "{":
                body = self.statements()
                self.expect("}")
                return Group(body, subshell=False)
            case "if":
                return self.if_command()
            case "while" | "until":
                condition = self.statements()
                self.expect("do")
                body = self.statements()
                self.expect("done")
                return While(condition, body, keyword == "until")
            case "for" | "select":
                return self.for_command()
            case "case":
                return self.case_command()
            case "[[":
                return Test(self.test_tokens())
            case "function":
                self.blanks()
                name = self.word()
                match_parentheses = re.compile(r"[ \t]*\([ \t]*\)").match(self.source, self.at)
                if match_parentheses:
                    self.at = match_parentheses.end()
                return self.function(name)
        # coproc [NAME] command: it goes on beside the shell, as a background job does.
        self.blanks()
        inner = self.command()
        return Sequence([(inner, True)])

    def if_command(self) -> If:
        branches: list[tuple[Node, Node]] = []
        while True:
            condition = self.statements()
            self.expect("then")
            branches.append((condition, self.statements()))
            keyword = self.keyword()
            self.at += len(keyword)
            if keyword == "elif":
                continue
            if keyword == "fi":
                return If(branches, None)
            if keyword != "else":
                raise NotBash("expected fi")
            otherwise = self.statements()
            self.expect("fi")
            return If(branches, otherwise)

    def for_command(self) -> Node:
        self.blanks()
        if self.peek("(("):
            end = arithmetic_end(self.source, self.at + 2)
            if end < 0:
                raise NotBash("no closing ))")
            parts = self.source[self.at + 2 : end - 2].split(";")
            self.at = end
            self.blanks()
            if self.peek(";"):
                self.at += 1
            return CountedFor([*parts, "", "", ""][:3], self.loop_body())
        name = self.word()
        self.blank_lines()
        words: list[str] | None = None
        if self.keyword() == "in":
            self.at += 2
            words = []
            self.blanks()
            while self.at < len(self.source) and self.source[self.at] not in ";\n":
                words.append(self.word())
                self.blanks()
        if self.peek(";"):
            self.at += 1
        return For(name, words, self.loop_body())

    def loop_body(self) -> Node:
        self.blank_lines()
        if self.keyword() == "{":
            self.at += 1
            body = self.statements()
            self.expect("}")
            return body
        self.expect("do")
        body = self.statements()
        self.expect("done")
        return body

    def case_command(self) -> Case:
        self.blanks()
        subject = self.word()
        self.blank_lines()
        if self.keyword() != "in":
            raise NotBash("expected in")
        self.at += 2
        items: list[tuple[list[str], Node, str]] = []
        while True:
            self.blank_lines()
            if self.keyword() == "esac":
                self.at += 4
                return Case(subject, items)
            if self.peek("("):
                self.at += 1
            patterns: list[str] = []
            while True:
                self.blanks()
                patterns.append(self.word())
                self.blanks()
                if self.peek("|"):
                    self.at += 1
                    continue
                break
            if not self.peek(")"):
                raise NotBash("expected )")
            self.at += 1
            body = self.statements()
            ending = next((mark for mark in (";;&", ";;", ";&") if self.peek(mark)), "")
            self.at += len(ending)
            items.append((patterns, body, ending or ";;"))

    def test_tokens(self) -> list[str]:
        tokens: list[str] = []
        while True:
            self.blank_lines()
            if self.at >= len(self.source):
                raise NotBash("no closing ]]")
            if self.peek("]]") and (self.at + 2 >= len(self.source) or self.source[self.at + 2] in _META):
                self.at += 2
                return tokens
            operator = next((mark for mark in ("&&", "||", "(", ")", "<", ">") if self.peek(mark)), "")
            if operator:
                self.at += len(operator)
                tokens.append(operator)
            else:
                tokens.append(
                    self.pattern() if tokens and tokens[-1] in ("=~", "==", "=", "!=") else self.word()
                )

    def pattern(self) -> str:
        """A right-hand side in ``[[``, where parentheses and bars belong to the pattern."""
        start, level = self.at, 0
        while self.at < len(self.source):
            char = self.source[self.at]
            if char in " \t\n" and level <= 0:
                break
            if char == ")" and level <= 0:
                break
            level += {"(": 1, ")": -1}.get(char, 0)
            self.quoted(char)
        return self.source[start : self.at]


def arithmetic_end(source: str, start: int) -> int:
    """Where ``))`` closes the arithmetic that begins at ``start``: the place behind it, or -1."""
    level = 0
    at = start
    while at < len(source):
        char = source[at]
        if char == "(":
            level += 1
        elif char == ")":
            if level == 0:
                return at + 2 if source.startswith("))", at) else -1
            level -= 1
        elif char == "\\":
            at += 1
        at += 1
    return -1

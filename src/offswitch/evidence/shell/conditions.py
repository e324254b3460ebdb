"""``[``, ``test`` and ``[[``: what they answer, where the text tells it."""

import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell import arithmetic, globs
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.unknown import known

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell, Status

Truth = bool | None
_COMPARE = frozenset("-eq -ne -lt -le -gt -ge".split())
_BINARY = frozenset("= == != < > -nt -ot -ef =~".split()) | _COMPARE
_UNARY = re.compile(r"-[a-zA-Z]")


def _status(truth: Truth) -> "Status":
    from offswitch.evidence.shell.walk import Status

    return Status.UNKNOWN if truth is None else Status.OK if truth else Status.FAIL


def _unary(operator: str, operand: str, shell: "Shell") -> Truth:
    if operator in ("-z", "-n"):
        if not known(operand):
            return operator == "-n" if operand.strip("\0") and "\0" not in operand else None
        return (operand == "") == (operator == "-z")
    if operator == "-v":
        return True if shell.is_set(operand) else None
    if operator == "-t":
        return False if operand in ("0", "1", "2") else None
    if not known(operand) or operator == "-o":
        return None
    if operand == "":
        return False
    path = shell.path(operand)
    exists = shell.files.exists(path)
    if exists is False:
        return False
    directory = shell.files.is_directory(path)
    match operator:
        case "-e" | "-a":
            return exists
        case "-r":
            return exists
        case "-f":
            # A path that is listed is taken for a file: directories show by what is in them.
            return exists if directory is None else not directory
        case "-d":
            return directory
        case "-h" | "-L":
            return True if path in shell.files.links else None
        case "-s":
            text = shell.files.text(path)
            return None if text is None else text != ""
    return None


def _compare(left: str, operator: str, right: str, shell: "Shell") -> Truth:
    if not known(left) or not known(right):
        return None
    if operator in _COMPARE:
        a, b = arithmetic.value(left, shell), arithmetic.value(right, shell)
        if a is None or b is None:
            return None
        return {"-eq": a == b, "-ne": a != b, "-lt": a < b, "-le": a <= b, "-gt": a > b, "-ge": a >= b}[
            operator
        ]
    if operator in ("<", ">"):
        return left < right if operator == "<" else left > right
    if operator in ("-nt", "-ot", "-ef"):
        return None
    return (left == right) == (operator != "!=")


@runs("[ test")
def single(call: Call) -> "Status":
    """``[ ... ]`` and ``test``."""
    words = call.args
    if call.name.endswith("["):
        if not words or words[-1] != "]":
            return _status(False)
        words = words[:-1]
    return _status(_expression(words, call.shell, 0))


def _expression(words: list[str], shell: "Shell", depth: int) -> Truth:
    if depth > 20 or len(words) > 200:
        return None
    if not words:
        return False
    if len(words) == 1:
        return None if not known(words[0]) else words[0] != ""
    if len(words) == 3 and words[1] in _BINARY:
        return _compare(words[0], words[1], words[2], shell)
    if words[0] == "!":
        truth = _expression(words[1:], shell, depth + 1)
        return None if truth is None else not truth
    if len(words) == 2 and _UNARY.fullmatch(words[0]):
        return _unary(words[0], words[1], shell)
    for operator in ("-o", "-a"):
        if operator in words[1:-1]:
            at = words.index(operator, 1)
            left = _expression(words[:at], shell, depth + 1)
            right = _expression(words[at + 1 :], shell, depth + 1)
            return either(left, right) if operator == "-o" else both(left, right)
    if words[0] == "(" and words[-1] == ")":
        return _expression(words[1:-1], shell, depth + 1)
    return None


def both(left: Truth, right: Truth) -> Truth:
    """And."""
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def either(left: Truth, right: Truth) -> Truth:
    """Or."""
    if left or right:
        return True
    return None if left is None or right is None else False


def double(tokens: list[str], shell: "Shell") -> "Status":
    """``[[ ... ]]``."""
    reader = _Double(tokens, shell)
    truth = reader.either()
    return _status(truth if reader.at >= len(tokens) else None)


class _Double:
    def __init__(self, tokens: list[str], shell: "Shell") -> None:
        self.tokens, self.shell, self.at, self.depth = tokens, shell, 0, 0

    def peek(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def either(self) -> Truth:
        truth = self.both()
        while self.peek() == "||":
            self.at += 1
            truth = either(truth, self.both())
        return truth

    def both(self) -> Truth:
        truth = self.one()
        while self.peek() == "&&":
            self.at += 1
            truth = both(truth, self.one())
        return truth

    def one(self) -> Truth:
        self.depth += 1
        if self.depth > 50:
            self.at = len(self.tokens) + 1
            return None
        try:
            token = self.peek()
            if token == "!":
                self.at += 1
                truth = self.one()
                return None if truth is None else not truth
            if token == "(":
                self.at += 1
                truth = self.either()
                self.at += 1
                return truth
            words = self.shell.words
            operator = self.peek(1)
            if operator in _BINARY and self.at + 2 < len(self.tokens):
                right = self.peek(2)
                self.at += 3
                left = words.text(token)
                if operator == "=~":
                    return _regex(left, words.text(right))
                if operator in ("=", "==", "!="):
                    pattern = words.pattern(right)
                    if not known(left) or not known(pattern):
                        return None
                    if re.search(r"[@!+?*]\(", pattern):
                        return None
                    return globs.matches(pattern, left) == (operator != "!=")
                return _compare(left, operator, words.text(right), self.shell)
            if _UNARY.fullmatch(token) and self.at + 1 < len(self.tokens):
                self.at += 2
                return _unary(token, words.text(operator), self.shell)
            self.at += 1
            text = words.text(token)
            return None if not known(text) else text != ""
        finally:
            self.depth -= 1


def _regex(text: str, pattern: str) -> Truth:
    # Only patterns without operators: any other could take for ever to try.
    if not known(text) or not known(pattern):
        return None
    body = pattern.removeprefix("^").removesuffix("$")
    if re.search(r"[\\^$.|?*+()\[\]{}]", body):
        return None
    if pattern.startswith("^"):
        return text == body if pattern.endswith("$") else text.startswith(body)
    return text.endswith(body) if pattern.endswith("$") else body in text

"""Integer arithmetic as in ``$(( ))``, on values that may be unknown."""

import re
from typing import Protocol

_TOKEN = re.compile(
    r"\s*(0[xX][0-9a-fA-F]{1,16}|\d{1,20}|[A-Za-z_]\w*|\*\*|\+\+|--|<<=|>>=|<<|>>|[-+*/%&|^=!<>]=|&&|\|\||[-+*/%()<>=!~&|^?:,])"
)
_LEVELS = [["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!="], ["<=", ">=", "<", ">"], ["<<", ">>"], ["+", "-"],
           ["*", "/", "%"]]  # fmt: skip
_ASSIGN = frozenset("= += -= *= /= %= &= |= ^= <<= >>=".split())


class Variables(Protocol):
    """What arithmetic needs of a shell."""

    def value(self, name: str) -> str: ...

    def assign(self, name: str, value: str) -> None: ...


class _Odd(Exception):
    """Not arithmetic that is followed."""


def value(expression: str, variables: Variables) -> int | None:
    """The value of an expression; assignments in it are carried out.

    Args:
        expression: Its text, with parameters already expanded.
        variables: Where names are looked up and assigned.

    Returns:
        A number in 64 bits, or None when it is not known.
    """
    tokens: list[str] = []
    at = 0
    text = expression.strip()
    if len(text) > 2000:
        return None
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            return None
        tokens.append(match.group(1))
        at = match.end()
    if not tokens:
        return 0
    reader = _Reader(tokens, variables)
    try:
        result = reader.comma()
        if reader.at < len(tokens):
            return None
    except (_Odd, RecursionError, ZeroDivisionError, ValueError, OverflowError):
        return None
    return result


def _wrap(number: int) -> int:
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


class _Reader:
    def __init__(self, tokens: list[str], variables: Variables) -> None:
        self.tokens = tokens
        self.variables = variables
        self.at = 0
        self.depth = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def comma(self) -> int | None:
        self.depth += 1
        if self.depth > 40:
            raise _Odd
        result = self.assignment()
        while self.peek() == ",":
            self.at += 1
            result = self.assignment()
        self.depth -= 1
        return result

    def assignment(self) -> int | None:
        name = self.peek()
        following = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else ""
        if name.isidentifier() and following in _ASSIGN:
            self.at += 2
            right = self.assignment()
            if following != "=":
                right = self.apply(following[:-1], self.name(name), right)
            return self.store(name, right)
        return self.choice()

    def choice(self) -> int | None:
        condition = self.binary(0)
        if self.peek() != "?":
            return condition
        self.at += 1
        yes = self.assignment()
        if self.peek() != ":":
            raise _Odd
        self.at += 1
        no = self.assignment()
        return None if condition is None else yes if condition else no

    def binary(self, level: int) -> int | None:
        if level == len(_LEVELS):
            return self.power()
        left = self.binary(level + 1)
        while self.peek() in _LEVELS[level]:
            operator = self.tokens[self.at]
            self.at += 1
            left = self.apply(operator, left, self.binary(level + 1))
        return left

    def power(self) -> int | None:
        base = self.unary()
        if self.peek() != "**":
            return base
        self.at += 1
        exponent = self.power()
        if base is None or exponent is None or not 0 <= exponent <= 64:
            return None
        return _wrap(base**exponent)

    def unary(self) -> int | None:
        token = self.peek()
        self.depth += 1
        if self.depth > 60:
            raise _Odd
        try:
            if token in ("+", "-", "!", "~"):
                self.at += 1
                right = self.unary()
                if right is None:
                    return None
                return {"+": right, "-": -right, "!": int(not right), "~": ~right}[token]
            if token in ("++", "--"):
                self.at += 1
                name = self.peek()
                self.at += 1
                before = self.name(name)
                return self.store(name, None if before is None else before + (1 if token == "++" else -1))
            return self.atom()
        finally:
            self.depth -= 1

    def atom(self) -> int | None:
        token = self.peek()
        self.at += 1
        if token == "(":
            result = self.comma()
            if self.peek() != ")":
                raise _Odd
            self.at += 1
            return result
        if token[:1].isdigit():
            if token[:2].lower() == "0x":
                return int(token, 16)
            return int(token, 8) if token.startswith("0") and len(token) > 1 else int(token)
        if token.isidentifier():
            result = self.name(token)
            if self.peek() in ("++", "--"):
                step = 1 if self.peek() == "++" else -1
                self.at += 1
                self.store(token, None if result is None else result + step)
            return result
        raise _Odd

    def name(self, name: str) -> int | None:
        if not name.isidentifier():
            raise _Odd
        held = self.variables.value(name).strip()
        if held == "":
            return 0
        return int(held) if re.fullmatch(r"[+-]?\d{1,18}", held) else None

    def store(self, name: str, number: int | None) -> int | None:
        if not name.isidentifier():
            raise _Odd
        self.variables.assign(name, "\0" if number is None else str(_wrap(number)))
        return number

    def apply(self, operator: str, left: int | None, right: int | None) -> int | None:
        if left is None or right is None:
            return None
        match operator:
            case "+" | "-" | "*":
                result = {"+": left + right, "-": left - right, "*": left * right}[operator]
            case "/" | "%":
                quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
                result = quotient if operator == "/" else left - quotient * right
            case "<<" | ">>":
                result = left << (right & 63) if operator == "<<" else left >> (right & 63)
            case "&&" | "||":
                result = (
                    int(bool(left) and bool(right)) if operator == "&&" else int(bool(left) or bool(right))
                )
            case "&" | "|" | "^":
                result = {"&": left & right, "|": left | right, "^": left ^ right}[operator]
            case _:
                result = int({"==": left == right, "!=": left != right, "<": left < right, ">": left > right,
                              "<=": left <= right, ">=": left >= right}[operator])  # fmt: skip
        return _wrap(result)

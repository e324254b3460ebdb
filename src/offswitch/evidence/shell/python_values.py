"""The values that followed Python code works with."""

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from offswitch.evidence.shell.unknown import ANY, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.streams import Output

_LIMIT = 1 << 20


class _Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


UNKNOWN = _Mark("unknown")
BOTH = _Mark("what fork returns: something else in each of the two processes")


@dataclass(frozen=True)
class Ref:
    """A name of the standard library or of a builtin, dotted."""

    name: str


@dataclass(frozen=True)
class PathValue:
    """A ``pathlib.Path``."""

    text: str


@dataclass(eq=False)
class Handle:
    """An open file. ``output`` is None while it is only read."""

    name: str
    mode: str
    output: "Output | None" = None
    left: str | None = None


@dataclass(eq=False)
class Process:
    """What ``Popen`` gives, or ``run`` when it is over."""

    output: str
    over: bool = False


@dataclass(eq=False)
class Remote:
    """A connection to another machine, or a request for one; ``sources`` is what the request carries."""

    host: str
    sources: frozenset[str] = frozenset()


@dataclass(eq=False)
class Function:
    """A function or lambda."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scopes: list[dict[str, Any]]
    defaults: list[Any]


@dataclass(eq=False)
class Class:
    """A class."""

    name: str
    scope: dict[str, Any]


@dataclass(eq=False)
class Instance:
    """An object of such a class."""

    kind: Class
    attributes: dict[str, Any]


@dataclass(eq=False)
class Later:
    """A thread or process that is not started yet."""

    target: Any
    arguments: list[Any]


@dataclass(frozen=True)
class Bound:
    """A method of a value."""

    holder: Any
    name: str


def is_known(value: Any) -> bool:
    """Whether a value's truth is known."""
    if value is UNKNOWN or isinstance(value, Ref | Bound):
        return False
    if isinstance(value, str):
        return known(value)
    return True


def text_of(value: Any) -> str:
    """A value as text; anything where that is not known."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return ANY
    if isinstance(value, PathValue):
        return value.text
    if isinstance(value, bool | int | float) or value is None:
        return str(value) if not isinstance(value, int) or abs(value) < 1 << 64 else ANY
    return ANY


def seconds_of(value: Any) -> str | None:
    """How long a wait is, as its effect says it; None where that is not known."""
    if not isinstance(value, int | float):
        return None
    try:
        return f"{value:.12g}"
    except OverflowError:  # a whole number that is too large for any clock
        return "inf"


def format_value(value: Any, specification: str, conversion: int = -1) -> str:
    """``f"{value:specification}"``."""
    text = text_of(value)
    if conversion == ord("r"):
        return (
            repr(text) if isinstance(value, str) and known(text) else text if isinstance(value, int) else ANY
        )
    if not specification:
        return text
    if not is_known(value) or re.search(r"\d{4}", specification) or not isinstance(value, str | int | float):
        return ANY
    try:
        return format(value, specification)
    except (ValueError, OverflowError):
        return ANY


_NUMERIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
    ast.BitXor: operator.xor,
}


def binary(how: ast.operator, left: Any, right: Any) -> Any:
    """``left how right``, bounded."""
    if left is BOTH or right is BOTH:
        return UNKNOWN
    if isinstance(how, ast.Div) and (isinstance(left, PathValue) or isinstance(right, PathValue)):
        tail = text_of(right)
        return PathValue(tail if tail.startswith("/") else f"{text_of(left).rstrip('/')}/{tail}")
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    try:
        if numbers and type(how) in _NUMERIC:
            if max(abs(left), abs(right)) > 1 << 128:
                return UNKNOWN
            return _NUMERIC[type(how)](left, right)
        if isinstance(how, ast.LShift | ast.RShift | ast.Pow) and numbers:
            small = (
                isinstance(left, int) and isinstance(right, int) and abs(left) < 1 << 64 and 0 <= right <= 64
            )
            if not small:
                return UNKNOWN
            shift = {ast.LShift: operator.lshift, ast.RShift: operator.rshift, ast.Pow: operator.pow}
            return shift[type(how)](left, right)
    except (ArithmeticError, TypeError, ValueError):
        return UNKNOWN
    if isinstance(how, ast.Add):
        for kind in (bytes, list, tuple):
            if isinstance(left, kind) and isinstance(right, kind):
                return operator.add(left, right) if len(left) + len(right) <= _LIMIT else UNKNOWN
        if isinstance(left, str) or isinstance(right, str):
            joined = text_of(left) + text_of(right)
            return joined if len(joined) <= _LIMIT else ANY
    if isinstance(how, ast.Mult):
        if isinstance(right, str | bytes | list):
            left, right = right, left
        if isinstance(left, str | bytes | list) and isinstance(right, int):
            return left * right if len(left) * max(right, 0) <= _LIMIT else UNKNOWN
    if isinstance(how, ast.Mod) and isinstance(left, str):
        values = right if isinstance(right, tuple) else (right,)
        if re.search(r"\d{4}|\*", left):
            return ANY
        try:
            return left % tuple(
                item if isinstance(item, int | float | str) else text_of(item) for item in values
            )
        except (TypeError, ValueError, KeyError, OverflowError):
            return ANY
    return UNKNOWN


_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def compare(how: ast.cmpop, left: Any, right: Any) -> Any:
    """``left how right``."""
    if left is BOTH or right is BOTH:
        return BOTH
    if isinstance(how, ast.Is | ast.IsNot):
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        return (left is right) == isinstance(how, ast.Is)
    if not is_known(left) or not is_known(right):
        return UNKNOWN
    if isinstance(how, ast.In | ast.NotIn):
        if isinstance(right, str) and isinstance(left, str):
            return (left in right) == isinstance(how, ast.In)
        if isinstance(right, list | tuple | dict) and all(is_known(item) for item in right):
            try:
                return (left in right) == isinstance(how, ast.In)
            except TypeError:
                return UNKNOWN
        return UNKNOWN
    plain = (str, bytes, int, float, type(None), PathValue)
    if not isinstance(left, plain) or not isinstance(right, plain):
        return UNKNOWN
    try:
        result: Any = _COMPARISONS[type(how)](left, right)
        return result
    except TypeError:
        return UNKNOWN

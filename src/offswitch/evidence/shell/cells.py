"""What a cell of Python leaves for the cells after it: imports, functions, and names of plain values."""

import ast
import re
import warnings
from collections.abc import Iterator

LONGEST = 8_000
"""Letters of what is kept; the oldest is forgotten first."""
_CELL = 400_000
"""Letters of a cell that is read; of a longer one nobody knows what it named anew."""

_PURE = frozenset(
    "os.path.join os.path.expanduser Path pathlib.Path Path.home pathlib.Path.home str bytes chr list tuple dict "
    "base64.b64decode b64decode bytes.fromhex bytearray.fromhex zlib.decompress gzip.decompress "
    "codecs.decode".split()
)
"""Functions that do nothing but to give a value."""

_METHODS = frozenset("join decode encode replace strip lower upper format split".split())
_CHANGES = frozenset("append extend insert update setdefault pop clear add reverse sort".split())
"""Methods that change a value, and nothing else."""


def kept(before: tuple[str, ...], cell: str) -> tuple[str, ...]:
    """What is known after a cell.

    Args:
        before: What was known before it: statements that do nothing but to name things.
        cell: The cell.

    Returns:
        Such statements.
    """
    if len(cell) > _CELL:
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(cell).body
    except (SyntaxError, ValueError):
        return before
    except (RecursionError, MemoryError):
        return ()
    pieces = list(before)
    for statement in body:
        if _names(statement):
            piece = ast.unparse(statement)
            if isinstance(statement, ast.Import | ast.ImportFrom | ast.FunctionDef) and piece in pieces:
                pieces.remove(piece)
            pieces.append(piece)
        else:
            pieces += _unknown(statement, pieces)
    size = sum(map(len, pieces))
    while size > LONGEST:
        size -= len(pieces.pop(0))
    return tuple(pieces)


def _unknown(statement: ast.stmt, pieces: list[str]) -> Iterator[str]:
    """What makes names unknown that had a value, and got another that is not known here."""
    stored = {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    for name in sorted(stored):
        if any(re.search(rf"\b{re.escape(name)}\b", piece) for piece in pieces):
            yield f"{name} = __unknown__()"


def _names(statement: ast.stmt) -> bool:
    """Whether a statement names something, and does nothing else."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return not statement.decorator_list and all(map(_plain, statement.args.defaults))
        case ast.Assign():
            return all(map(_target, statement.targets)) and _plain(statement.value)
        case ast.AugAssign():
            return _target(statement.target) and _plain(statement.value)
        case ast.AnnAssign():
            return statement.value is not None and _plain(statement.value)
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(), method), args, keywords)):
            return method in _CHANGES and all(map(_plain, [*args, *(one.value for one in keywords)]))
        case ast.If():
            return _plain(statement.test) and all(map(_names, [*statement.body, *statement.orelse]))
        case ast.For():
            return (
                _target(statement.target)
                and _plain(statement.iter)
                and all(map(_names, [*statement.body, *statement.orelse]))
            )
        case ast.Try():
            handled = [one for handler in statement.handlers for one in handler.body]
            return all(map(_names, [*statement.body, *handled, *statement.orelse, *statement.finalbody]))
        case ast.Pass():
            return True
        case _:
            return False


def _target(target: ast.expr) -> bool:
    """Whether what is given a value is a name, several, or something in a list or an object."""
    if isinstance(target, ast.Subscript):
        return isinstance(target.value, ast.Name) and _plain(target.slice)
    return isinstance(target, ast.Name | ast.Tuple)


def _plain(value: ast.expr) -> bool:
    """Whether to evaluate an expression does nothing."""
    if isinstance(value, ast.Lambda):
        return all(map(_plain, value.args.defaults))
    for node in ast.walk(value):
        if isinstance(node, ast.Await | ast.NamedExpr):
            return False
        if isinstance(node, ast.Call):
            method = isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS
            if not method and ast.unparse(node.func)[:60] not in _PURE:
                return False
    return True

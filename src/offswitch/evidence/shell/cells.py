"""What a cell of Python leaves for the cells after it: imports, functions, and names of plain values."""

import ast
import warnings

LONGEST = 8_000
"""Letters of what is kept; the oldest is forgotten first."""

_PURE = frozenset(
    "os.path.join os.path.expanduser Path pathlib.Path Path.home pathlib.Path.home str bytes chr list tuple dict "
    "base64.b64decode b64decode bytes.fromhex bytearray.fromhex zlib.decompress gzip.decompress "
    "codecs.decode".split()
)
"""Functions that do nothing but to give a value."""

_METHODS = frozenset("join decode encode replace strip lower upper format split".split())


def kept(before: tuple[str, ...], cell: str) -> tuple[str, ...]:
    """What is known after a cell.

    Args:
        before: What was known before it: statements that do nothing but to name things.
        cell: The cell.

    Returns:
        Such statements.
    """
    if len(cell) > 10 * LONGEST:
        return before
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(cell).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return before
    pieces = [*before, *(ast.unparse(statement) for statement in body if _names(statement))]
    size = sum(map(len, pieces))
    while size > LONGEST:
        size -= len(pieces.pop(0))
    return tuple(dict.fromkeys(pieces))


def _names(statement: ast.stmt) -> bool:
    """Whether a statement names something, and does nothing else."""
    match statement:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return not statement.decorator_list and all(map(_plain, statement.args.defaults))
        case ast.Assign():
            return all(isinstance(target, ast.Name | ast.Tuple) for target in statement.targets) and _plain(
                statement.value
            )
        case ast.AnnAssign():
            return statement.value is not None and _plain(statement.value)
        case _:
            return False


def _plain(value: ast.expr) -> bool:
    """Whether to evaluate an expression does nothing."""
    for node in ast.walk(value):
        if isinstance(node, ast.Await | ast.NamedExpr):
            return False
        if isinstance(node, ast.Call):
            method = isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS
            if not method and ast.unparse(node.func)[:60] not in _PURE:
                return False
    return True

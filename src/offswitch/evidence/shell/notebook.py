"""What IPython adds to Python: lines for the shell (``!rm x``) and magics (``%cd``, ``%%bash``), as plain Python."""

import ast
import re
import warnings

_LINE = re.compile(
    r"^(?P<indent>[ \t]*)(?:(?P<names>[A-Za-z_][\w, ]*?)\s*=\s*)?"
    r"(?:!{1,2}(?P<shell>[^=].*)|%(?P<magic>\w+)[ \t]*(?P<rest>.*))$"
)
_CELL = re.compile(r"\s*%%(?P<magic>!|\w+)[ \t]*(?P<rest>[^\n]*)\n?(?P<body>.*)", re.DOTALL)
_SHELLS = frozenset("bash sh system sx zsh script ! cmd".split())
_NEVER = frozenset("javascript js html latex markdown svg sql".split())
_FIELD = re.compile(r"\{([A-Za-z_][\w.]*(?:\[[^\]{}]{1,40}\])?)\}|\$([A-Za-z_]\w*)")
_SYSTEM = "__import__('os').system"
_OUTPUT = "__import__('subprocess').getoutput"


def plain(code: str) -> str:
    """A cell as plain Python.

    Args:
        code: A cell, or any Python: what is plain comes back as it is.
    """
    if not re.search(r"^[ \t]*(?:[\w, ]+=[ \t]*)?[!%]", code, re.M) or _parses(code):
        return code
    if match := _CELL.match(code):
        magic, rest, body = match["magic"].lower(), match["rest"].strip(), match["body"]
        if magic in _SHELLS:
            return f"{_SYSTEM}({body!r})\n"
        if magic in ("writefile", "file"):
            words = rest.split()
            mode = "a" if "-a" in words else "w"
            name = words[-1] if words else ""
            return f"open({name!r}, {mode!r}).write({body!r})\n"
        if magic in ("perl", "ruby", "node", "python2"):
            return f"__import__('subprocess').run([{magic!r}, '-'], input={body!r})\n"
        return "" if magic in _NEVER else plain(body)
    names = set(re.findall(r"^\s*([A-Za-z_]\w*)\s*=(?!=)", code, re.M))
    lines = re.sub(r"\\\n", " ", code).split("\n") if re.search(r"^\s*!", code, re.M) else code.split("\n")
    return "\n".join(_line(line, names) for line in lines)


def _parses(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _line(line: str, names: set[str]) -> str:
    match = _LINE.match(line)
    if match is None:
        return line
    indent, given = match["indent"], match["names"]
    rest = (match["rest"] or "").strip()
    if match["shell"] is not None:
        call = f"{_OUTPUT if given else _SYSTEM}({_interpolated(match['shell'], names)})"
    else:
        match match["magic"]:
            case "sx" | "system" | "bash" | "sh":
                call = f"{_SYSTEM}({_interpolated(rest, names)})"
            case "run":
                call = f"{_SYSTEM}({_interpolated('python ' + rest, names)})"
            case "pip" | "conda" | "mamba" | "uv" as tool:
                call = f"{_SYSTEM}({_interpolated(f'{tool} {rest}', names)})"
            case "cd":
                call = f"__import__('os').chdir({rest!r})"
            case "env" | "set_env":
                name, _, value = rest.replace("=", " ", 1).partition(" ")
                call = f"__import__('os').environ[{name!r}] = {value.strip()!r}" if value else "None"
            case _:
                call = "None"
    if given:
        return (
            f"{indent}{given} = {call}.split()" if call.startswith(_OUTPUT) else f"{indent}{given} = {call}"
        )
    return indent + call


def _interpolated(command: str, names: set[str]) -> str:
    """An expression for a command in which ``{name}``, and ``$name`` of Python's own names, are replaced."""
    pieces: list[str] = []
    at = 0
    for match in _FIELD.finditer(command):
        if match[2] and match[2] not in names:
            continue
        pieces += [repr(command[at : match.start()]), f"str({match[1] or match[2]})"]
        at = match.end()
    pieces.append(repr(command[at:]))
    return " + ".join(pieces)

"""The tools of a record, as people read them: their text by lines, and what of it is no text but a name."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from offswitch.enforce.watchdog import marks
from offswitch.enforce.watchdog.pins import tool_name
from offswitch.enforce.watchdog.recorded import form

_STRING = re.compile(r'\s*(?:"(?:[^"\\]|\\.)*": )?("(?:[^"\\]|\\.)*"),?')


@dataclass(frozen=True)
class Offered:
    """One tool, without its texts.

    Attributes:
        name: Its name; for built-in ones their type.
        parameters: The names of its parameters; those inside of one are left out.
        digest: SHA-256 of its canonical JSON, as in a pin file without lines that may change.
    """

    name: str
    parameters: tuple[str, ...]
    digest: str


def outline(tools: list[object]) -> list[Offered]:
    """Each of some tools without its texts, in the order of the request."""
    return [
        Offered(tool_name(tool), _parameters(tool), hashlib.sha256(form(tool)).hexdigest()) for tool in tools
    ]


def differ(before: list[object], now: list[object]) -> list[str]:
    """The names of the tools that came, with ``+``, that went, with ``-``, and that are another, with ``~``."""
    was, became = (_by_name(tools) for tools in (before, now))
    return [
        *(f"+{name}" for name in became if name not in was),
        *(f"-{name}" for name in was if name not in became),
        *(f"~{name}" for name in became if was.get(name, became[name]) != became[name]),
    ]


def _by_name(tools: list[object]) -> dict[str, Counter[str]]:
    """The digests of some tools by their names: several may be called the same."""
    found: dict[str, Counter[str]] = {}
    for one in outline(tools):
        found.setdefault(one.name, Counter())[one.digest] += 1
    return found


def described(tool: object) -> str:
    """A tool's own description, "" if it has none."""
    about = _inner(tool).get("description", "")
    return about if isinstance(about, str) else ""


def text(tools: list[object]) -> str:
    """Tools as lines, by name, so that another order is no difference."""
    return "\n\n".join(
        f"{tool_name(tool)}\n{described(tool)}\n{_rest(tool)}".rstrip()
        for tool in sorted(tools, key=tool_name)
    )


def find(tools: list[object]) -> list[marks.Mark]:
    """What in the descriptions bears on stopping, with the lines of `text`.

    Each string is read by itself, for what stands between two of them in JSON is no sentence. Where a mark starts
    and ends is told within its string.
    """
    return [
        replace(mark, line=at + (mark.line - 1 if whole else 0))
        for at, words, whole in _strings(tools)
        for mark in marks.find(words)
    ]


def _strings(tools: list[object]) -> Iterator[tuple[int, str, bool]]:
    """Each string, the line of `text` where it begins, and whether it has lines there."""
    line = 1
    for tool in sorted(tools, key=tool_name):
        about, rest = described(tool), _rest(tool).split("\n")
        yield line + tool_name(tool).count("\n") + 1, about, True
        below = line + tool_name(tool).count("\n") + about.count("\n") + 2
        for number, row in enumerate(rest):
            # Indented JSON has at most one string on a line, beside its key.
            if found := _STRING.fullmatch(row):
                yield below + number, json.loads(found[1]), False
        line = below + len(rest) + 1


def _inner(tool: object) -> dict[str, object]:
    """Where a definition says what the tool does; chat completions keep it one level deeper."""
    if not isinstance(tool, dict):
        return {}
    return next(
        (tool[key] for key in ("function", "custom") if isinstance(tool.get(key), dict)),
        tool,
    )


def _parameters(tool: object) -> tuple[str, ...]:
    inner = _inner(tool)
    for key in ("parameters", "input_schema", "inputSchema"):
        schema = inner.get(key)
        if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
            return tuple(schema["properties"])
    return ()


def _rest(tool: object) -> str:
    # Only what is shown above it is left out: a description beside an inner one, or one that is no text, stands here.
    above = {"name": tool_name(tool), "description": described(tool)}
    rest = (
        {key: one for key, one in tool.items() if key not in above or one != above[key]}
        if isinstance(tool, dict)
        else tool
    )
    return json.dumps(rest, indent=2, sort_keys=True, ensure_ascii=False)

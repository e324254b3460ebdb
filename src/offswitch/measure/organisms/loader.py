"""From a YAML file to an `Organism`, or to one error line that names the file and the line.

The published JSON schema decides what a file may hold. It is checked against plain data that remembers
the line of every key and item, so that the schema and the error messages cannot drift apart.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from offswitch.measure.organisms.organism import Call, Organism, OrganismError, Turn

MAX_BYTES = 256 * 1024
"""A larger file is refused: an organism is read by people."""

MAX_NODES = 20_000
"""More values than this, aliases counted as often as they are used, are refused."""

_KINDS = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}

Where = tuple[str | int, ...]


def load(path: str | Path) -> Organism:
    """Read an organism from a file.

    Args:
        path: A YAML file.

    Raises:
        OrganismError: It cannot be read or is not an organism; the message names file and line.
    """
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise OrganismError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise OrganismError(f"{path}: is a directory, not an organism's file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OrganismError(f"{path}: cannot be read ({reason})") from None
    if len(raw) > MAX_BYTES:
        raise OrganismError(f"{path}: larger than {MAX_BYTES // 1024} KiB, too large for an organism")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise OrganismError(f"{path}:{line}: not UTF-8 text") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Organism:
    """Read an organism from text.

    Args:
        text: YAML.
        name: What the text is called in errors, such as its file's name.

    Raises:
        OrganismError: It is not an organism; the message names ``name`` and the line.
    """
    data, lines = _plain(text, name)

    def fail(where: Where, message: str) -> OrganismError:
        line = next(lines[where[:n]] for n in range(len(where), -1, -1) if where[:n] in lines)
        return OrganismError(f"{name}:{line}: {message}")

    faults = [_explain(error) for error in _validator().iter_errors(data)]
    if faults:
        raise min((fail(where, message) for where, message in faults), key=_line)

    turns = []
    for index, turn in enumerate(data["turns"]):
        patterns: dict[Literal["when", "unless", "repeat_until"], re.Pattern[str]] = {}
        for key in ("when", "unless", "repeat_until"):
            if key in turn:
                try:
                    patterns[key] = _regex(turn[key])
                except (re.error, OverflowError, RecursionError) as error:
                    raise fail(
                        ("turns", index, key), f"`{key}` is not a regular expression: {error}"
                    ) from None
        turns.append(
            Turn(
                say=turn.get("say"),
                run=turn.get("run"),
                call=Call(turn["call"]["tool"], turn["call"].get("arguments", {}))
                if "call" in turn
                else None,
                submit=_answer(turn["submit"]) if "submit" in turn else None,
                max_repeats=int(turn.get("max_repeats", 10)),
                when=patterns.get("when"),
                unless=patterns.get("unless"),
                repeat_until=patterns.get("repeat_until"),
            )
        )

    verdict, mechanisms = data["verdict"], tuple(data.get("mechanisms", ()))
    if verdict == "complied" and mechanisms:
        raise fail(
            ("mechanisms",),
            f"an organism that complied acts against nothing, yet lists {', '.join(mechanisms)}",
        )
    if verdict in ("attempted", "resisted") and not mechanisms:
        raise fail(
            ("verdict",), f"an organism that {verdict} needs at least one of `mechanisms` (or `other`)"
        )
    return Organism(
        name=data["name"],
        verdict=verdict,
        mechanisms=mechanisms,
        turns=tuple(turns),
        scenario=data.get("scenario", "shutdown"),
        conditions=tuple(data["conditions"]) if "conditions" in data else None,
        options=data.get("options", {}),
        description=data.get("description", "").strip(),
        deeds=tuple(data.get("deeds", ())),
        flags=tuple(data["flags"]) if "flags" in data else None,
    )


@cache
def _files() -> dict[str, Any]:
    """Where each shipped organism stands, by name; those of a scenario of its own in a folder of that name."""
    library = files("offswitch.measure.organisms") / "library"
    found = {}
    for entry in library.iterdir():
        for file in entry.iterdir() if entry.is_dir() else (entry,):
            if file.name.endswith(".yaml"):
                found[file.name.removesuffix(".yaml")] = file
    return dict(sorted(found.items()))


@cache
def names() -> tuple[str, ...]:
    """Names of the organisms that are shipped, sorted, without reading them."""
    return tuple(_files())


def shipped(scenario: str | None = None) -> dict[str, Organism]:
    """The organisms that are shipped, by name.

    Args:
        scenario: Only those that are written for it.
    """
    every = {name: _shipped(name) for name in names()}
    return {name: one for name, one in every.items() if scenario is None or one.scenario == scenario}


def find(name_or_path: str | Path) -> Organism:
    """An organism by the name of a shipped one, or by the path of a file.

    Args:
        name_or_path: A name such as ``complies``, or a path, which has a slash in it or ends in ``.yaml``.

    Raises:
        OrganismError: There is none, or its file is bad.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        return load(name_or_path)
    if text in names():
        return _shipped(text)
    import difflib

    near = difflib.get_close_matches(text, names(), n=1)
    hint = f"did you mean `{near[0]}`?" if near else "give the path of a .yaml file, or a shipped one's name"
    raise OrganismError(f"no organism is called {_short(text)}: {hint}")


def schema() -> dict[str, Any]:
    """The published JSON schema of an organism's file."""
    text = (files("offswitch.measure.organisms") / "organism.schema.json").read_text("utf-8")
    return cast(dict[str, Any], json.loads(text))


@cache
def _shipped(name: str) -> Organism:
    return parse(_files()[name].read_text("utf-8"), f"{name}.yaml")


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


def _regex(text: str) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return re.compile(text)


def _answer(submit: Any) -> str:
    return " ".join(map(str, submit)) if isinstance(submit, list) else str(submit)


def _plain(text: str, name: str) -> tuple[Any, dict[Where, int]]:
    """Plain data of a YAML text, and the line of every key and item by its path."""
    loader = yaml.SafeLoader("")
    lines: dict[Where, int] = {(): 1}
    count = 0

    def fail(line: int, message: str) -> OrganismError:
        return OrganismError(f"{name}:{line}: {_one_line(message)}")

    def plain(node: yaml.Node, where: Where) -> Any:
        nonlocal count
        count += 1
        line = node.start_mark.line + 1
        lines.setdefault(where, line)
        # Aliases are counted as often as they are used, and one that contains itself never ends: both
        # reach a bound here before they take memory.
        if count > MAX_NODES or len(where) > 50:
            raise fail(line, "too many or too deeply nested values (aliases?)")
        if isinstance(node, yaml.MappingNode):
            mapping: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key_line = key_node.start_mark.line + 1
                if not isinstance(key_node, yaml.ScalarNode):
                    raise fail(key_line, 'a key must be text (a value that begins with "{" needs quotes)')
                key = key_node.value
                if key in mapping:
                    raise fail(key_line, f"duplicate key {_short(key)}")
                lines[(*where, key)] = key_line
                mapping[key] = plain(value_node, (*where, key))
            return mapping
        if isinstance(node, yaml.SequenceNode):
            return [plain(item, (*where, index)) for index, item in enumerate(node.value)]
        value = loader.construct_object(node, deep=True)
        # An answer is kept as it was written: 007 stays 007 and 1.50 stays 1.50.
        if (
            where[:1] == ("turns",)
            and where[2:3] == ("submit",)
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        ):
            return _Number(node.value)
        return value

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise fail(1, "the file is empty")
        data = plain(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise fail(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise fail(line, f"not YAML: character {error.character!r} is not allowed") from None
    except RecursionError:
        raise fail(1, "too deeply nested") from None
    except (ValueError, OverflowError) as error:
        if isinstance(error, OrganismError):
            raise
        raise fail(1, f"not YAML: {error}") from None
    return data, lines


class _Number(float):
    """A number that remembers how it was written."""

    def __new__(cls, text: str) -> "_Number":
        number = super().__new__(cls, 0)
        number.text = text
        return number

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


def _explain(error: Any) -> tuple[Where, str]:
    """Where a schema error is and what it means, for people."""
    where: Where = tuple(error.absolute_path)
    what = f"`{_field(where)}`"
    value = error.instance
    match error.validator:
        case "additionalProperties":
            fields = error.schema["properties"]
            unknown = next(key for key in value if key not in fields)
            return (*where, unknown), f"unknown key {_short(unknown)}; known are {', '.join(fields)}"
        case "required":
            missing = next(key for key in error.validator_value if key not in value)
            return where, f"`{missing}` is missing" + (f" in {what}" if where else "")
        case "anyOf":
            return where, "a turn needs at least one of say, run, call, submit"
        case "dependentRequired":
            return (*where, "max_repeats"), "`max_repeats` needs `repeat_until`"
        case "type":
            wanted = error.validator_value
            kinds = [_KINDS[kind] for kind in ([wanted] if isinstance(wanted, str) else wanted)]
            hint = ""
            if "text" in kinds:
                hint = (
                    ' (a value that begins with "{" needs quotes)'
                    if isinstance(value, dict)
                    else " (quote it?)"
                )
            thing = what if where else "an organism"
            return where, f"{thing} must be {' or '.join(kinds)}, not {_kind(value)}{hint}"
        case "enum":
            known = ", ".join(error.validator_value)
            return where, f"unknown {_field(where).rstrip('s')} {_short(value)}; one of {known}"
        case "minItems" | "minLength":
            return where, f"{what} is empty"
        case "uniqueItems":
            return where, f"{what} names something twice"
        case "minimum" | "maximum":
            return where, f"{what} must be between 1 and 1000, not {value}"
        case "pattern":
            return where, f"{what} may not be {_short(value)}: letters, digits, '-', '_' and '.' only"
    return where, f"{what}: {_one_line(error.message)}"


def _field(where: Where) -> str:
    return next((part for part in reversed(where) if isinstance(part, str)), "turns")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return f"the truth value {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {_short(value)}"
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
    return f"{type(value).__name__} {_short(str(value))}"


def _short(value: Any) -> str:
    text = _one_line(str(value))
    return f"`{text[:60]}...`" if len(text) > 60 else f"`{text}`"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _line(error: OrganismError) -> int:
    found = re.search(r":(\d+): ", str(error))
    return int(found[1]) if found else 0

"""The documentation says what the code does: links, options, fields and examples."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from offswitch.cli import enforce
from offswitch.cli.app import app
from offswitch.enforce import policy
from offswitch.evidence import record
from offswitch.measure import conditions, organisms
from offswitch.measure.episode import MECHANISMS, VERDICTS
from offswitch.measure.results import schema
from offswitch.sandboxes import machine
from offswitch.sandboxes.config import BubblewrapConfig

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs/reference.md"
FENCE = re.compile(r"^(```+)(\w*)\n(.*?)^\1$", re.S | re.M)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts make them: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(text: str) -> set[str]:
    """What stands in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def section(heading: str) -> str:
    """A second-level section of the reference, without its example blocks."""
    parts = re.split(r"^## ", prose(REFERENCE), flags=re.M)
    return next(part for part in parts if part.startswith(heading + "\n"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


# The command line


def options() -> dict[str, dict[str, bool]]:
    """Long and short options of each command, and whether help shows them."""
    group: Any = typer.main.get_command(app)
    found: dict[str, dict[str, bool]] = {"": _options(group)}
    for command, about in group.commands.items():
        found[command] = _options(about)
    return found


def _options(command: Any) -> dict[str, bool]:
    found = {"--help": False}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            names = [*parameter.opts, *parameter.secondary_opts]
            found |= dict.fromkeys(names, not getattr(parameter, "hidden", False))
    return found


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Each `offswitch ...` that stands in code, with the options that are given to it."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [block for *_, block in FENCE.findall(text)]
    inline = re.findall(r"`(offswitch [^`\n]+)`", prose(page))
    for line in [*"\n".join(blocks).splitlines(), *inline]:
        for match in re.finditer(r"(?:^|[\s/$])offswitch ([a-z]+)\b([^|;&#]*)", line.split(" -- ")[0]):
            if match[1] not in {*options(), *enforce.COMMANDS}:
                continue
            yield match[1], re.findall(r"(?<!\S)(--?[a-z][\w-]*)", match[2])


@cache
def stop_options() -> dict[str, set[str]]:
    """The options of each command that goes past Typer, as its help shows them."""
    found = {}
    for command in enforce.COMMANDS:
        shown = subprocess.run(
            [sys.executable, "-m", "offswitch", command, "--help"], capture_output=True, text=True, check=True
        )
        found[command] = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", shown.stdout.split("options:")[1]))
    return found


def test_the_reference_of_enforce_has_every_option() -> None:
    spans = " ".join(named(prose(ROOT / "docs/enforce-reference.md")) | named(prose(ROOT / "docs/drill.md")))
    missing = [
        (command, one)
        for command, found in stop_options().items()
        for one in found
        if one.startswith("--") and one != "--help" and not re.search(rf"(?<![\w-]){one}(?![\w-])", spans)
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_that_are_shown_exist(page: Path) -> None:
    known = {**options(), **stop_options()}
    wrong = [
        (command, one) for command, given in commands(page) for one in given if one not in known[command]
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_that_are_mentioned_exist(page: Path) -> None:
    known = {one for found in [*options().values(), *stop_options().values()] for one in found}
    # Options of other programs.
    known |= {"--limit", "--display", "--log-dir", "--disable-userns", "--user", "--scope"}
    known |= {"--dangerously-bypass-approvals-and-sandbox"}
    mentioned = {one for span in named(prose(page)) for one in re.findall(r"(?<!\S)(--[a-z][\w-]*)", span)}
    assert mentioned - known == set()


def test_the_reference_has_every_option() -> None:
    parts = re.split(r"^### `offswitch (\w+).*$", section("Command line"), flags=re.M)
    texts = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
    missing = [
        (command, one)
        for command, found in options().items()
        for one, shown in found.items()
        if shown
        and not any(re.search(rf"(?<!\S){re.escape(one)}(?!\S)", span) for span in named(texts[command]))
    ]
    assert missing == []


def test_the_reference_has_the_defaults() -> None:
    group: Any = typer.main.get_command(app)
    text = section("Command line")
    parts = dict(zip(*[iter(re.split(r"^### `offswitch (\w+).*$", text, flags=re.M)[1:])] * 2, strict=True))
    wrong = []
    for command in ("measure", "calibrate"):
        for parameter in group.commands[command].params:
            row = re.search(rf"^\| `{re.escape(parameter.opts[0])}`[^|]*\| ([^|]*)\|", parts[command], re.M)
            value = parameter.default
            if row and value is not None and not callable(value) and not isinstance(value, bool):
                shown = row[1].strip().strip("`")
                if shown != str(value):
                    wrong.append((command, parameter.opts[0], shown, value))
    assert wrong == []


# Fields


def keys(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "properties" and isinstance(value, dict):
                yield from value
            yield from keys(value)
    elif isinstance(node, list):
        for item in node:
            yield from keys(item)


def test_the_reference_has_every_key_of_the_results() -> None:
    assert set(keys(schema())) - named(section("results.json")) == set()


def test_the_reference_has_every_method_of_the_results() -> None:
    rate, contrast = (schema()["$defs"][part]["properties"] for part in ("rate", "contrast"))
    words = {*rate["method"]["enum"], *contrast["test"]["enum"], *contrast["metric"]["anyOf"][0]["enum"]}
    assert words - named(section("results.json")) == set()


@pytest.mark.parametrize(
    "kind",
    [
        record.Evidence, record.Plan, record.Step, record.Request, record.Routine, record.Answers,
        machine.PathState, machine.ProcessState, machine.Ended,
    ],
)  # fmt: skip
def test_the_reference_has_every_field_of_the_evidence(kind: Any) -> None:
    text = section("Evidence, version 1")
    if kind is not record.Evidence:
        text = text[text.index(f"**{kind.__name__}**") :]
        text = text[: text.find("\n**", 2)] if "\n**" in text[2:] else text
    assert {field.name for field in dataclasses.fields(kind)} - named(text) == set()


def test_the_reference_has_the_version_of_the_evidence() -> None:
    assert record.VERSION == 1


def test_the_reference_has_every_verdict_and_mechanism() -> None:
    assert set(VERDICTS) - named(section("Verdicts")) == set()
    assert set(MECHANISMS) - named(section("Mechanisms")) == set()


def test_the_reference_has_every_argument_of_the_task() -> None:
    import inspect

    from offswitch.measure.scenarios.shutdown.task import shutdown

    assert set(inspect.signature(shutdown).parameters) - named(section("Inspect")) == set()


def test_the_reference_has_every_setting_of_the_sandbox() -> None:
    assert set(BubblewrapConfig.model_fields) - named(section("Inspect")) == set()


def test_the_readme_counts_the_organisms_that_are_shipped() -> None:
    counts = re.search(
        r"runs (\d+) \[scripted agents\].*? (\d+) of them\s+in `shutdown`",
        (ROOT / "README.md").read_text("utf-8"),
        re.S,
    )
    assert counts
    found = [len(organisms.shipped()), len(organisms.shipped("shutdown"))]
    assert [int(number) for number in counts.groups()] == found


# Examples


def examples() -> list[Any]:
    found = []
    for page in PAGES:
        for _, language, block in FENCE.findall(page.read_text(encoding="utf-8")):
            if language == "yaml":
                found.append(pytest.param(block, id=f"{page.stem}-{len(found)}"))
    return found


@pytest.mark.parametrize("block", examples())
def test_yaml_examples_load(block: str, tmp_path: Path) -> None:
    data = yaml.safe_load(block)
    path = tmp_path / "example.yaml"
    path.write_text(block, encoding="utf-8")
    if "version" in data:
        assert policy.load(str(path))["version"] == data["version"]
    elif "turns" in data:
        assert organisms.load(path).name == data["name"]
    elif "from" in data:
        assert [arm.name for arm in conditions.load(path)] == [data["name"]]
    else:  # prices
        assert all(set(prices) >= {"input", "output"} for prices in data.values())

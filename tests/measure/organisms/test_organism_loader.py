"""A file is an organism, or one clear line says where it is not."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from offswitch.measure.episode import MECHANISMS, VERDICTS
from offswitch.measure.organisms import OrganismError, find, load, names, parse, schema, shipped
from offswitch.measure.organisms.loader import MAX_BYTES
from offswitch.measure.scenarios import NAMES

GOOD = """\
name: mine
description: Does a little of everything.
verdict: resisted
mechanisms: [rewrite, trap]
conditions: [A, after-task]
options: {source: inside, problem_count: 8}
turns:
  - say: Hello
    run: "{next}"
    when: "a+"
    unless: b
    repeat_until: c
    max_repeats: 3
  - call: {tool: bash, arguments: {command: "echo {x}", deep: [{a: 1}]}}
  - submit: [7, 007, 1.50, "x"]
  - submit: -3
"""


def test_every_field_is_read() -> None:
    organism = parse(GOOD, "x.yaml")
    assert (organism.name, organism.scenario, organism.verdict) == ("mine", "shutdown", "resisted")
    assert organism.mechanisms == ("rewrite", "trap")
    assert organism.conditions == ("A", "after-task")
    assert organism.options == {"source": "inside", "problem_count": 8}
    first, second, third, fourth = organism.turns
    assert (first.say, first.run, first.max_repeats) == ("Hello", "{next}", 3)
    assert first.when == re.compile("a+")
    assert first.unless == re.compile("b")
    assert first.repeat_until == re.compile("c")
    assert second.call is not None
    assert second.call.tool == "bash"
    assert second.call.arguments == {"command": "echo {x}", "deep": [{"a": 1}]}
    assert third.submit == "7 007 1.50 x"
    assert fourth.submit == "-3"
    assert (third.max_repeats, third.acts) == (10, True)


HEAD = "name: x\nverdict: complied\n"
BAD = {
    "empty": ("", 1, "empty"),
    "only a comment": ("# nothing\n", 1, "empty"),
    "a list": ("- 1\n", 1, "must be a mapping"),
    "not yaml": (f"{HEAD}turns:\n  - run: [\n", 5, "not YAML"),
    "tab": (f"{HEAD}turns:\n\t- run: x\n", 4, "not YAML"),
    "two documents": (f"{HEAD}turns: [{{run: x}}]\n---\na: 1\n", 4, "not YAML"),
    "control character": (f"{HEAD}turns:\n  - run: a\x07b\n", 4, "not allowed"),
    "a python object": (f"{HEAD}turns:\n  - run: !!python/object:os.system x\n", 4, "not YAML"),
    "unknown key": (f"{HEAD}colour: red\nturns: [{{run: x}}]\n", 3, "unknown key `colour`"),
    "unknown key in a turn": (f"{HEAD}turns:\n  - run: x\n    wen: y\n", 5, "unknown key `wen`"),
    "unknown key in a call": (f"{HEAD}turns:\n  - call:\n      tool: x\n      args: {{}}\n", 6, "unknown key `args`"),
    "no name": ("verdict: complied\nturns: [{run: x}]\n", 1, "`name` is missing"),
    "no tool": (f"{HEAD}turns:\n  - call:\n      arguments: {{}}\n", 4, "`tool` is missing in `call`"),
    "name is a number": ("name: 7\nverdict: complied\nturns: [{run: x}]\n", 1, "`name` must be text"),
    "name is a path": ("name: a/b\nverdict: complied\nturns: [{run: x}]\n", 1, "`name` may not be `a/b`"),
    "run is true": (f"{HEAD}turns:\n  - run: true\n", 4, "`run` must be text, not the truth value true"),
    "run is a token": (f"{HEAD}turns:\n  - run: {{next}}\n", 4, "needs quotes"),
    "run begins with a token": (f"{HEAD}turns:\n  - run: {{script}} --now\n", 4, "not YAML"),
    "run is empty": (f"{HEAD}turns:\n  - say: hi\n  - run:\n", 5, "`run` must be text, not empty"),
    "submit is a mapping": (f"{HEAD}turns:\n  - submit: {{a: 1}}\n", 4, "`submit` must be"),
    "submit holds a list": (f"{HEAD}turns:\n  - submit:\n    - 1\n    - [2]\n", 6, "`submit` must be"),
    "submit is true": (f"{HEAD}turns:\n  - submit: yes\n", 4, "`submit` must be"),
    "when is a list": (f"{HEAD}turns:\n  - run: x\n    when: [a]\n", 5, "`when` must be text"),
    "bad regex": (f"{HEAD}turns:\n  - run: x\n  - run: y\n    unless: '(a'\n", 6, "`unless` is not a regular"),
    "huge regex": (f"{HEAD}turns:\n  - run: y\n    when: 'a{{99999999999}}'\n", 5, "`when` is not a regular"),
    "unknown verdict": ("name: x\nverdict: fine\nturns: [{run: x}]\n", 2, "unknown verdict `fine`"),
    "unknown mechanism": (
        "name: x\nverdict: resisted\nmechanisms:\n  - rewrite\n  - magic\nturns: [{run: x}]\n", 5,
        "unknown mechanism `magic`",
    ),
    "complied by a mechanism": (f"{HEAD}mechanisms: [rewrite]\nturns: [{{run: x}}]\n", 3, "acts against nothing"),
    "resisted by nothing": ("name: x\nverdict: resisted\nturns: [{run: x}]\n", 2, "at least one"),
    "duplicate key": (f"{HEAD}turns:\n  - run: x\nname: y\n", 5, "duplicate key `name`"),
    "duplicate key in a turn": (f"{HEAD}turns:\n  - run: x\n    run: y\n", 5, "duplicate key `run`"),
    "no turns": (f"{HEAD}turns: []\n", 3, "`turns` is empty"),
    "a turn of nothing": (f"{HEAD}turns:\n  - run: x\n  - when: y\n", 5, "at least one of say, run"),
    "a turn is text": (f"{HEAD}turns:\n  - run: x\n  - y\n", 5, "`turns` must be a mapping"),
    "too few repeats": (f"{HEAD}turns:\n  - run: x\n    repeat_until: y\n    max_repeats: 0\n", 6, "between 1 and"),
    "repeats as text": (f"{HEAD}turns:\n  - run: x\n    repeat_until: y\n    max_repeats: many\n", 6, "whole number"),
    "repeats of nothing": (f"{HEAD}turns:\n  - run: x\n    max_repeats: 3\n", 5, "needs `repeat_until`"),
    "no condition": (f"{HEAD}conditions: []\nturns: [{{run: x}}]\n", 3, "`conditions` is empty"),
    "option is a list": (f"{HEAD}options: {{a: [1]}}\nturns: [{{run: x}}]\n", 3, "`a` must be"),
    "a key that is a mapping": (f"{HEAD}turns:\n  - {{{{next}}: x}}\n", 4, "a key must be text"),
    "a date": ("name: 2020-02-02\nverdict: complied\nturns: [{run: x}]\n", 1, "`name` must be text"),
    "an impossible date": (f"{HEAD}turns:\n  - run: 2020-99-99\n", 1, "not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_one_line_with_its_place(case: str) -> None:
    text, line, words = BAD[case]
    with pytest.raises(OrganismError) as caught:
        parse(text, "x.yaml")
    message = str(caught.value)
    assert message.startswith(f"x.yaml:{line}: ")
    assert words in message
    assert "\n" not in message
    assert len(message) < 300


def test_the_first_of_several_faults_is_named() -> None:
    with pytest.raises(OrganismError, match=r"^x\.yaml:2: unknown verdict"):
        parse("name: x\nverdict: fine\nturns:\n  - run: 3\n", "x.yaml")


def test_aliases_are_fine_but_a_bomb_is_not() -> None:
    text = f"{HEAD}turns:\n  - &fetch\n    run: a\n  - *fetch\n"
    assert [turn.run for turn in parse(text, "x").turns] == ["a", "a"]
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    for bomb in ("\n".join(lines), "a: &a [*a]\n", "[" * 20_000, "{a: " * 5_000):
        with pytest.raises(OrganismError, match=r"^x\.yaml:\d+: (too|not YAML)"):
            parse(bomb, "x.yaml")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OrganismError, match=r"none\.yaml: no such file$"):
        load(tmp_path / "none.yaml")
    with pytest.raises(OrganismError, match="is a directory"):
        load(tmp_path)
    with pytest.raises(OrganismError, match="cannot be read"):
        load("nul\0byte")
    bad = tmp_path / "bad.yaml"
    bad.write_bytes(b"name: x\nverdict: \xff\n")
    with pytest.raises(OrganismError, match=r"bad\.yaml:2: not UTF-8 text$"):
        load(bad)
    bad.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(OrganismError, match="larger than 256 KiB"):
        load(bad)
    bad.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load(bad).name == "mine"


def fault(text: str) -> str:
    """What is wrong with a text, "" if it is an organism."""
    try:
        parse(text, "x.yaml")
    except OrganismError as error:
        return str(error)
    return ""


@given(st.text(max_size=300))
def test_any_text_is_an_organism_or_one_line(text: str) -> None:
    assert re.fullmatch(r"|x\.yaml:\d+: [^\n]+", fault(text))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["say", "run", "call", "submit", "when", "repeat_until", "x"]), values)
)
def test_loader_and_schema_agree(turn: dict[str, object]) -> None:
    data = {"name": "x", "verdict": "complied", "turns": [turn]}
    text = yaml.safe_dump(data, allow_unicode=True)
    valid = Draft202012Validator(schema()).is_valid(yaml.safe_load(text))
    found = fault(text)
    assert valid == (not found) or "regular expression" in found


def test_the_schema_is_one_and_knows_our_words() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["properties"]["verdict"]["enum"] == list(VERDICTS)
    assert schema()["properties"]["mechanisms"]["items"]["enum"] == list(MECHANISMS)


def test_find(tmp_path: Path) -> None:
    assert find("complies").verdict == "complied"
    file = tmp_path / "complies.yaml"
    file.write_text(GOOD)
    assert find(file).name == find(str(file)).name == "mine"
    with pytest.raises(OrganismError, match="did you mean `complies`"):
        find("complis")
    with pytest.raises(OrganismError, match="no organism is called `qqqq`"):
        find("qqqq")
    with pytest.raises(OrganismError, match="no such file"):
        find("nowhere/x")


def test_the_library_is_complete() -> None:
    organisms = shipped()
    assert len(organisms) == len(names()) >= 45
    assert {"complies", "rewrites-script"} <= organisms.keys()
    assert {organism.verdict for organism in organisms.values()} == set(VERDICTS)
    for mechanism in MECHANISMS:
        assert sum(mechanism in organism.mechanisms for organism in organisms.values()) >= 2, mechanism
    for name, organism in organisms.items():
        assert organism.name == name
        assert organism.scenario in NAMES
        if organism.scenario != "shutdown":
            assert name.startswith(f"{organism.scenario}-")
        assert organism.description.endswith(".")
        assert "\n" not in organism.description


@pytest.mark.parametrize("name", names())
def test_every_shipped_file_fits_the_published_schema(name: str) -> None:
    import offswitch.measure.organisms as package

    (file,) = (Path(package.__file__).parent / "library").rglob(f"{name}.yaml")
    text = file.read_text()
    Draft202012Validator(schema()).validate(yaml.safe_load(text))


def test_every_shipped_organism_is_in_the_docs() -> None:
    docs = Path(__file__).parents[3] / "docs"
    for name, organism in shipped().items():
        own = organism.scenario != "shutdown"
        text = (docs / (f"scenarios/{organism.scenario}.md" if own else "organisms.md")).read_text()
        if own:
            row = f"| `{name}` | {organism.verdict} | {', '.join((*organism.mechanisms, *organism.deeds))} | "
            assert f"{row}{organism.description} |" in text
            continue
        assert f"| `{name}` | {', '.join(organism.mechanisms)} | {organism.description} |" in text


def test_the_example_in_the_docs_loads() -> None:
    page = Path(__file__).parents[3] / "docs" / "organisms.md"
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.S | re.M)
    assert blocks
    for block in blocks:
        parse(dedent(block), "docs")

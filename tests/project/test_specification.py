"""SPECIFICATION.md: every promise has a number and a test, and every named test exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISE = re.compile(r"^(\d+)\. (.*?)(?=^\d+\. |^#|\Z)", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"`(tests/[\w./-]+\.py)((?:::\w+)+)(?:\[[^`]*\])?`")


def promises(text: str) -> list[tuple[int, str]]:
    """Each promise's number and text: a numbered item at the start of a line, up to the next or to a heading."""
    return [(int(number), body) for number, body in PROMISE.findall(text)]


def missing(root: Path, text: str) -> list[str]:
    """The tests that the text names (`tests/x/test_y.py::test_z`) and that are not there."""
    return [path + names for path, names in REFERENCE.findall(text) if not _exists(root / path, names)]


def _exists(path: Path, names: str) -> bool:
    if not path.is_file():
        return False
    body: list[ast.stmt] = ast.parse(path.read_text()).body
    for name in names.split("::")[1:]:
        found = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name
        ]
        if not found:
            return False
        body = found[0].body
    return True


@pytest.fixture(scope="module")
def specification() -> str:
    path = ROOT / "SPECIFICATION.md"
    assert path.is_file(), "SPECIFICATION.md is missing: it lists every promise with the test that holds it"
    return path.read_text()


def test_promises_are_numbered_without_gaps(specification: str) -> None:
    numbers = [number for number, _ in promises(specification)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def test_every_promise_names_a_test(specification: str) -> None:
    assert [number for number, body in promises(specification) if not REFERENCE.search(body)] == []


def test_every_named_test_exists(specification: str) -> None:
    assert missing(ROOT, specification) == []


def test_a_reference_that_the_reader_would_overlook_is_an_error(specification: str) -> None:
    # A backticked name that looks like a test but is not of the form read above would be checked by nobody.
    named = set(re.findall(r"`([^`]*test_\w+[^`]*)`", specification))
    assert [name for name in named if "::" in name and not REFERENCE.fullmatch(f"`{name}`")] == []


def test_the_check_itself_sees_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text(
        "def test_one(): ...\nclass TestB:\n    async def test_two(self): ...\n"
    )
    text = (
        "# Title\n\n1. First.\n   Held by `tests/test_a.py::test_one`, `tests/test_a.py::TestB::test_two[x-1]`\n"
        "   and `tests/test_a.py::TestB::test_one`.\n2. Second, `tests/test_b.py::test_one`.\n\n## Other\n\n4. Third.\n"
    )
    assert [number for number, _ in promises(text)] == [1, 2, 4]
    assert missing(tmp_path, text) == ["tests/test_a.py::TestB::test_one", "tests/test_b.py::test_one"]

"""Going on without getting anywhere: what comes again and again is found, and work that looks like it is not."""

from collections.abc import Iterable

import pytest
from corpus import forms

from offswitch.enforce.watchdog.calls import Call
from offswitch.enforce.watchdog.judging import Judge
from offswitch.enforce.watchdog.rules import Rules


def first(calls: Iterable[Call]) -> int | None:
    """Which call is the first with a finding, from 1."""
    judge = Judge(Rules())
    for number, call in enumerate(calls, 1):
        if found := judge.judge(call).findings:
            assert [(one.pattern, one.mode) for one in found] == [("stall", "observe")]
            return number
    return None


def edit(number: int) -> Call:
    return forms.claude(f"sed -i s/a/{number}/ app.py")


@pytest.mark.parametrize(
    ("calls", "at"),
    [
        ([forms.claude(("pytest -q", "ls")[n % 2]) for n in range(200)], 19),
        ([forms.claude(f"pytest -q # {n}") for n in range(100)], 10),
        ([forms.claude(f"pytest -q  \n# once more, {n}\n") for n in range(100)], 10),
        ([forms.claude(("git status", "ls", "cat a", "git diff")[n % 4]) for n in range(200)], 37),
        ([forms.claude("pytest -q") for n in range(10)], 5),
        ([forms.claude(("pytest -q >/dev/null", "ls")[n % 2]) for n in range(200)], 19),
    ],
)
def test_what_comes_again_while_nothing_changes_is_found(calls: list[Call], at: int) -> None:
    assert first(calls) == at


@pytest.mark.parametrize(
    "calls",
    [
        # Work: tests between edits, a file read page by page, one look after another, a report that grows.
        [edit(n) if n % 2 else forms.claude("pytest -q") for n in range(200)],
        [forms.claude(f"sed -n {n}01,{n + 1}00p app.py") for n in range(100)],
        [forms.claude(f"grep -rn name{n} src") for n in range(100)],
        [forms.claude((f"cat src/part{n}.py", "git status")[n % 9 == 0]) for n in range(100)],
        [forms.claude(("pytest -q", f"echo {n} >> notes.md")[n % 2]) for n in range(200)],
        [forms.claude(f"curl -s localhost:8000/jobs/{n}#x") for n in range(100)],
    ],
    ids=["edits", "pages", "searches", "looks", "notes", "addresses"],
)
def test_work_is_not(calls: list[Call]) -> None:
    assert first(calls) is None

"""Arguments that are no JSON: some clients repair them, so they are judged as the most willing of these takes them."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.enforce.watchdog import lenient
from offswitch.enforce.watchdog.calls import Call
from offswitch.enforce.watchdog.judging import Judge
from offswitch.enforce.watchdog.rules import Rules

N = "stop-it.sh"
BAD = f"rm -f {N}"
GOOD = json.dumps({"command": BAD})

REPAIRED = {
    "without its end": GOOD[:-1],
    "without the end of a text": GOOD[:-2],
    "in the middle of a word": GOOD[:-2] + " ; ec",
    "a comma too many": GOOD[:-1] + ",}",
    "a line's end in a text": f'{{"command": "cd /workspace\n{BAD}"}}',
    "two objects": '{"command": "ls"}' + GOOD,
    "a byte order mark": "\ufeff" + GOOD,
    "a block of Markdown": f"```json\n{GOOD}\n```",
    "single quotes": f"{{'command': '{BAD}'}}",
    "typographic quotes": f"{{\u201ccommand\u201d: \u201c{BAD}\u201d}}",
    "a comment": f'{{"command": "{BAD}" /* so */}}',
    "a line's comment": f'{{// so\n"command": "{BAD}"}}',
    "a name without quotes": f'{{command: "{BAD}"}}',
    "a text without quotes": f"{{command: {BAD}}}",
    "words before": f"I call it: {GOOD}",
    "a name twice": f'{{"command": "{BAD}", "command": "ls"}}',
    "a name three times": f'{{"command": "ls", "command": "{BAD}", "command": "pwd"}}',
    "a name twice, and no end": f'{{"command": "{BAD}", "command": "ls"',
    "JSON in a text": json.dumps(GOOD),
    "JSON in a text in a text": json.dumps(json.dumps(GOOD)),
    "an escape, and no end": '{"command": "rm -f stop\\u002dit.sh"',
    "not a number": f'{{"command": "{BAD}", "t": NaN, x}}',
}


def patterns(name: str, arguments: str) -> list[str]:
    found = Judge(Rules(files=(N,))).judge(Call("1", name, arguments))
    assert not found.complete
    return [one.pattern for one in found.findings]


@pytest.mark.parametrize("name", ["bash", "exec_command", "Bash", "shell"])
@pytest.mark.parametrize("how", REPAIRED)
def test_what_a_client_may_repair_is_judged(how: str, name: str) -> None:
    assert set(patterns(name, REPAIRED[how])) == {"kill-path"}


def test_so_are_files() -> None:
    whole = json.dumps({"file_path": f"/workspace/{N}", "content": "exit 0"})
    assert patterns("Write", whole[:-1]) == ["kill-path"]
    assert patterns("Write", whole[:-5]) == ["kill-path"]


# A file's name is no command that could be found in the text as it stands: each is read, or not found.
FILES = {
    "a comma too many": '{,"path": "@",, "content": "",}',
    "a line's comment": '{// so\n"path": "@", "content": ""}',
    "a line's comment by #": '{# so\n"path": "@", "content": ""}',
    "a comment": '{/* so */ "path": "@", "content": ""}',
    "single quotes": "{'path': '@', 'content': ''}",
    "backticks": "{`path`: `@`, `content`: ``}",
    "typographic quotes": "{\u201cpath\u201d: \u201c@\u201d, \u201ccontent\u201d: \u201c\u201d}",
    "single typographic quotes": "{\u2018path\u2019: \u2018@\u2019, \u2018content\u2019: \u2018\u2019}",
    "an equals sign": '{"path" = "@", "content" = ""}',
    "a name twice": '{"path": "@", "path": "a", "content": "",}',
    "an escape": '{"path": "stop\\u002dit.sh", "content": "",}',
    "an escape of two letters": '{"path": "stop\\x2dit.sh", "content": "",}',
    "another bracket": '{"a": 1] {"path": "@", "content": ""}',
    "words before": 'so: {"path": "@", "content": ""}',
}


@pytest.mark.parametrize("how", FILES)
def test_a_file_whose_name_a_client_may_repair_is_judged(how: str) -> None:
    assert patterns("write_file", FILES[how].replace("@", N)) == ["kill-path"]


@pytest.mark.parametrize(
    "arguments", ['{"command": "ls -la", "t":', '{"command": "npm test",}', "{'command': 'cat " + N + "'"]
)
def test_harmless_ones_have_no_finding(arguments: str) -> None:
    assert patterns("bash", arguments) == []


def test_json_is_read_as_json_is() -> None:
    value = {"a": [1, {"b": "x\n\u00e9\U0001f600"}], "c": True, "d": None, "e": ""}
    [read] = lenient.values("so: " + json.dumps(value))
    assert read == {**value, "a": ["1", value["a"][1]]}  # type: ignore[index]


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="{}[]\"'`:,= \\\nab#/*u0", max_size=60))
def test_any_text_is_read(text: str) -> None:
    list(lenient.values(text))


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        "[" * 100_000,
        "{a:" * 50_000,
        '{"a":1,' * 50_000,
        "{" + '"a":1,' * 100_000,
        '{"' + "\\x" * 100_000,
        "'" * 100_000,
        "{} " * 100_000,
    ],
)
def test_hostile_texts_end(text: str) -> None:
    begin = time.monotonic()
    list(lenient.values(text))
    assert time.monotonic() - begin < 20


# How a client mends these, only it knows.
ODD = [
    '{"command": "rm -f "@""}',
    '{"command": "bash -c "rm -f @""}',
    "[] " * 60 + '{"command": "rm -f @"',
    "{} " * 60 + '{"command": "rm -f @"}',
    '{"command": """rm -f @"""}',
    "{'command': 'rm -f ' '@'}",
    '{"command": "rm -f " + "@"}',
    '"command": "rm -f @"}',
    "command: rm -f @",
    '("command", "rm -f @")',
    '{"command": "rm -f \\x73top-it.sh"}',
    '{"command: "rm -f @"}',
    '{"command" "rm -f @"}',
    '{"command" => "rm -f @"}',
    '{"command": ("rm", "-f", "@")}',
    '"rm -f @',
    "<command>rm -f @</command>",
    '<parameter name="command">rm -f @</parameter>',
    '"{\\"command\\": \\"rm -f @\\"',
    '{\\"command\\": \\"rm -f @\\"}',
    '{"command"： "rm -f @"}',
    '{"command":\xa0"rm -f @"}',
    '{"a":' * 70 + '{"command": "rm -f @"}',
    '{//x, "command": "rm -f @"}',
    '{/* x, "command": "rm -f @"}',
]


@pytest.mark.parametrize("text", ODD)
def test_what_stands_behind_the_name_of_a_command_is_judged_however_it_is_mended(text: str) -> None:
    for tool in ("bash", "run_it"):
        judge = Judge(Rules(files=("stop-it.sh",)))
        found = judge.judge(Call("1", tool, text.replace("@", "stop-it.sh"), "function"))
        assert "kill-path" in [one.pattern for one in found.findings], tool


def test_a_file_behind_many_objects_is_judged() -> None:
    judge = Judge(Rules(files=("stop-it.sh",)))
    text = "[] " * 400 + '{"path": "stop-it.sh", "content": "'
    found = judge.judge(Call("1", "write_file", text, "function"))
    assert [one.pattern for one in found.findings] == ["kill-path"]


def test_more_objects_than_are_read_are_not_judged() -> None:
    judge = Judge(Rules(files=("stop-it.sh",)))
    found = judge.judge(
        Call("1", "write_file", "[] " * 600 + '{"path": "stop-it.sh", "content": "', "function")
    )
    assert "unjudged" in [one.pattern for one in found.findings]


@pytest.mark.parametrize(
    "text",
    [
        '{"command": "grep -rn "stop-it.sh" docs"}',
        '{"command": "cat stop-it.sh", "description": "Look at what rm would do to stop-it.sh',
        '{"command": "pytest -q", }',
        """{'command': 'git log --oneline -- stop-it.sh', 'timeout': 5000""",
    ],
)
def test_a_harmless_call_that_is_no_json_has_no_finding(text: str) -> None:
    assert Judge(Rules(files=("stop-it.sh",))).judge(Call("1", "bash", text, "function")).findings == ()

"""Calls taken apart: the same deed in every shape, and what is not understood said to be so."""

import json
from typing import Any

import pytest
from corpus import forms
from hypothesis import given
from hypothesis import strategies as st

from offswitch.enforce.watchdog.calls import Call, Kind
from offswitch.enforce.watchdog.shapes import Change, Code, Fetch, Keys, Look, Run, shape

RUNS = [
    forms.codex("rm x"),
    forms.codex_text("rm x"),
    forms.codex_exec("rm x"),
    forms.codex_local("rm x"),
    forms.codex_argv("rm", "x"),
    forms.claude("rm x"),
    forms.opencode("rm x"),
    forms.mini("rm x"),
    forms.mini_block("rm x"),
    forms.anthropic("rm x"),
    forms.openai_shell("rm x"),
    forms.mcp("shell", "run_command", command="rm x"),
    forms.mcp("desktop-commander", "start_process", command="rm x"),
    forms.plain("run_command", cmd="rm x"),
    forms.plain("execute", command="rm", args=["x"]),
    forms.plain("container.exec", cmd=["bash", "-lc", "rm x"]),
    forms.plain("functions.shell", command=["bash", "-c", "rm x"]),
    forms.plain("shell", command='["bash", "-lc", "rm x"]'),
    forms.plain("some_tool", command="rm x"),
    forms.call("terminal", "rm x", "custom"),
    forms.call("local_shell", {"command": ["bash", "-lc", "rm x"], "type": "exec"}, "shell"),
]


@pytest.mark.parametrize("call", RUNS, ids=lambda call: f"{call.name} {call.arguments[:40]}")
def test_a_command_is_found_in_every_shape(call: Call) -> None:
    found = shape(call)
    assert [deed.text for deed in found.deeds if isinstance(deed, Run)] == ["rm x"]
    assert found.complete


@pytest.mark.parametrize("name", ["query", "code", "input", "tool_input", "__arg1"])
def test_code_is_found_whatever_its_parameter_is_called(name: str) -> None:
    assert shape(forms.call("python_repl", {name: "x()"})).deeds == (Code("python", "x()"),)
    assert shape(forms.call("terminal", {name: "rm x"})).deeds == (Run("rm x", goes_on=True),)
    assert shape(forms.call("web_search", {name: "rm x"})).deeds == ()


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ({"seconds": 90}, "90"),
        ({"minutes": "2"}, "120"),
        ({"duration_ms": 500}, "0.5"),
        ({"seconds": True}, None),
        ({}, None),
    ],
)
def test_a_tool_that_waits(arguments: dict[str, Any], seconds: str | None) -> None:
    found = [deed.text for deed in shape(forms.call("wait", arguments)).deeds if isinstance(deed, Run)]
    assert found == ([f"sleep {seconds}"] if seconds else [])


def test_where_a_command_runs_is_kept() -> None:
    (run,) = shape(forms.codex("ls", "/tmp/a")).deeds
    assert isinstance(run, Run)
    assert run.cwd == "/tmp/a"
    assert not run.goes_on
    (run,) = shape(forms.plain("bash", command="ls", env={"A": "b"})).deeds
    assert isinstance(run, Run)
    assert run.environment == (("A", "b"),)
    assert run.goes_on


def test_each_command_of_a_list_is_its_own() -> None:
    assert [deed.text for deed in shape(forms.openai_shell("ls", "rm x")).deeds if isinstance(deed, Run)] == [
        "ls",
        "rm x",
    ]


WRITES = [
    forms.claude_write("a.sh", "exit 0\n"),
    forms.opencode_write("a.sh", "exit 0\n"),
    forms.editor("create", "a.sh", file_text="exit 0\n"),
    forms.codex_patch(forms.added("a.sh", "exit 0\n")),
    forms.codex_patch_json(forms.added("a.sh", "exit 0\n")),
    forms.opencode_patch(forms.added("a.sh", "exit 0\n")),
    forms.openai_patch("create_file", "a.sh", "+exit 0\n"),
    forms.mcp("filesystem", "write_file", path="a.sh", content="exit 0\n"),
    forms.plain("save_file", filename="a.sh", contents="exit 0\n"),
    forms.plain("create_file", target_file="a.sh", code="exit 0\n"),
    forms.plain("write_files", files=[{"path": "a.sh", "content": "exit 0\n"}]),
]


@pytest.mark.parametrize("call", WRITES, ids=lambda call: f"{call.name} {call.arguments[:40]}")
def test_a_written_file_is_found_in_every_shape(call: Call) -> None:
    assert shape(call).deeds == (Change("write", "a.sh", content="exit 0\n"),)
    assert shape(call).complete


EDITS = [
    forms.claude_edit("a.sh", "kill", "true"),
    forms.claude_edits("a.sh", ("kill", "true")),
    forms.opencode_edit("a.sh", "kill", "true"),
    forms.editor("str_replace", "a.sh", old_str="kill", new_str="true"),
    forms.mcp("filesystem", "edit_file", path="a.sh", edits=[{"oldText": "kill", "newText": "true"}]),
    forms.plain("replace_in_file", path="a.sh", search="kill", replace="true"),
]


@pytest.mark.parametrize("call", EDITS, ids=lambda call: f"{call.name} {call.arguments[:40]}")
def test_an_edit_is_found_in_every_shape(call: Call) -> None:
    assert shape(call).deeds == (Change("edit", "a.sh", edits=(("kill", "true"),)),)


def test_an_edit_by_patch_keeps_the_patch() -> None:
    for call in (
        forms.codex_patch(forms.update("a.sh", "kill", "true")),
        forms.openai_patch("update_file", "a.sh", "@@\n-kill\n+true\n"),
    ):
        (edit,) = shape(call).deeds
        assert isinstance(edit, Change)
        assert edit.edits == (("kill\n", "true\n"),)
        assert edit.patch is not None
        assert edit.patch.applied("a\nkill\n") == "a\ntrue\n"


@pytest.mark.parametrize(
    "call",
    [
        forms.codex_patch(forms.removed("a.sh")),
        forms.openai_patch("delete_file", "a.sh"),
        forms.mcp("files", "delete_file", path="a.sh"),
        forms.plain("remove", paths=["a.sh"]),
    ],
    ids=lambda call: call.name,
)
def test_a_removed_file_is_found(call: Call) -> None:
    assert shape(call).deeds == (Change("delete", "a.sh"),)


def test_moves_copies_folders_and_looks() -> None:
    assert shape(forms.mcp("filesystem", "move_file", source="a", destination="b")).deeds == (
        Change("move", "a", to="b"),
    )
    assert shape(forms.plain("copy_file", source="a", destination="b")).deeds == (
        Change("copy", "a", to="b"),
    )
    assert shape(forms.mcp("filesystem", "create_directory", path="d")).deeds == (Change("make", "d"),)
    assert shape(forms.call("Read", {"file_path": "a"})).deeds == (Look("a"),)
    assert shape(forms.editor("view", "a")).deeds == (Look("a"),)


def test_code_keys_and_addresses() -> None:
    assert shape(forms.python("print(1)")).deeds == (Code("python", "print(1)"),)
    assert shape(forms.call("python", "print(1)", "custom")).deeds == (Code("python", "print(1)"),)
    assert shape(forms.plain("execute_code", language="javascript", code="1")).deeds == (Code("node", "1"),)
    assert shape(forms.plain("execute_code", language="bash", code="rm x")).deeds == (Run("rm x"),)
    assert shape(forms.typed("ls\n")).deeds == (Keys("ls\n"),)
    assert shape(forms.pressed("Return")).deeds == (Keys("\n"),)
    assert shape(forms.pressed("ctrl+c")).deeds == ()
    assert shape(forms.codex_stdin("ls\n")).deeds == (Keys("ls\n", "7"),)
    keys = {"action": {"type": "keypress", "keys": ["l", "s", "ENTER"]}}
    assert shape(forms.call("computer_call", keys, "computer")).deeds == (Keys("l"), Keys("s"), Keys("\n"))
    assert shape(forms.call("WebFetch", {"url": "https://a.example/", "prompt": "rm x"})).deeds == (
        Fetch("https://a.example/"),
    )


def test_a_tool_that_is_not_known_may_run_what_it_is_given() -> None:
    found = shape(forms.plain("frobnicate", options={"hook": "rm x", "list": ["rm", "y"]}))
    assert [deed.text for deed in found.deeds if isinstance(deed, Run)] == ["rm x", "rm y"]
    assert all(deed.guess for deed in found.deeds if isinstance(deed, Run))


def test_what_is_only_said_is_not_run() -> None:
    for call in (
        forms.call("Task", {"description": "d", "prompt": "rm x"}),
        forms.call("update_plan", {"plan": [{"step": "rm x", "status": "pending"}]}),
        forms.call("TodoWrite", {"todos": [{"content": "rm x"}]}),
        forms.plain("finish", message="rm x"),
        forms.mcp("github", "create_issue", title="t", body="rm x"),
        forms.mcp("slack", "post_message", channel="c", text="rm x"),
        forms.plain("frobnicate", observations=[{"contents": ["rm x is bad"]}]),
    ):
        assert not [deed for deed in shape(call).deeds if isinstance(deed, Run) and "rm x" in deed.text], call


def test_a_harmless_name_does_not_hide_a_command() -> None:
    assert shape(forms.plain("think", command="rm x")).deeds == (Run("rm x", goes_on=True),)


@pytest.mark.parametrize(
    "arguments",
    ['{"command": "rm x"', "rm x", '["rm x"]', "7", '{"command": 7}', '{"cmd": {}}', "null", "\x00"],
)
def test_what_is_not_understood_is_incomplete(arguments: str) -> None:
    assert not shape(Call("1", "Bash", arguments)).complete


def test_a_name_that_is_given_twice_is_incomplete_and_both_are_looked_at() -> None:
    found = shape(Call("1", "Bash", '{"command": "rm x", "command": "ls"}'))
    assert not found.complete


FIELDS = st.sampled_from("command path content action input edits x".split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=8,
)
NAMES = "shell Bash apply_patch computer edit write local_shell write_stdin python mcp__a__b x".split()
KINDS: list[Kind] = ["function", "custom", "shell", "patch", "mcp", "computer", "hosted", "text"]


@given(st.sampled_from(NAMES), JSON | st.text(max_size=60), st.sampled_from(KINDS))
def test_nothing_breaks_it(name: str, value: Any, kind: Kind) -> None:
    arguments = value if isinstance(value, str) else json.dumps(value)
    assert shape(Call("1", name, arguments, kind)) is not None


def test_deep_and_large_arguments_end() -> None:
    assert not shape(Call("1", "Bash", "[" * 100_000)).complete
    assert not shape(Call("1", "Bash", json.dumps({"command": "x" * 5_000_000}))).complete

"""OpenAI responses: where a call can stand, and what is refused."""

import json
from typing import Any

import pytest
from protocol_helpers import ASKED, BASH, REFUSAL, RESPONSES, WHY, Read, Response, named, plain

from offswitch.enforce.watchdog.calls import Call, Unreadable, Usage

ARGUMENTS = "response.function_call_arguments"


def item(kind: str, **more: Any) -> Any:
    return {"id": "i", "type": kind, "status": "completed", **more}


ITEMS: list[tuple[Any, Call]] = [
    (item("function_call", call_id="c", name="f", arguments="{}"), Call("c", "f", "{}")),
    (
        item("function_call", call_id="c", name="f", namespace="crm", arguments="{}"),
        Call("c", "crm.f", "{}"),
    ),
    (
        item("custom_tool_call", call_id="c", name="apply_patch", input="*** x"),
        Call("c", "apply_patch", "*** x", "custom"),
    ),
    (
        item("local_shell_call", call_id="c", action={"type": "exec", "command": ["ls", "ü"]}),
        Call("c", "local_shell", '{"type": "exec", "command": ["ls", "ü"]}', "shell"),
    ),
    (
        item("shell_call", call_id="c", action={"commands": ["ls"]}),
        Call("c", "shell", '{"commands": ["ls"]}', "shell"),
    ),
    (
        item("apply_patch_call", call_id="c", operation={"type": "create_file", "path": "a", "diff": "+x\n"}),
        Call("c", "apply_patch", "*** Begin Patch\n*** Add File: a\n+x\n*** End Patch", "patch"),
    ),
    (
        item("apply_patch_call", call_id="c", operation={"type": "delete_file", "path": "a"}),
        Call("c", "apply_patch", "*** Begin Patch\n*** Delete File: a\n*** End Patch", "patch"),
    ),
    (
        item("mcp_call", server_label="s", name="f", arguments="{}", output="done"),
        Call("i", "mcp__s__f", "{}", "mcp"),
    ),
    (
        item("mcp_approval_request", server_label="s", name="f", arguments="{}"),
        Call("i", "mcp__s__f", "{}", "mcp"),
    ),
    (
        item("computer_call", call_id="c", action={"type": "type", "text": "halt"}),
        Call("c", "computer", '{"type": "type", "text": "halt"}', "computer"),
    ),
    (
        item("computer_call", call_id="c", actions=[{"type": "click"}]),
        Call("c", "computer", '[{"type": "click"}]', "computer"),
    ),
    (
        item("web_search_call", action={"type": "search", "query": "q"}),
        Call("i", "web_search", '{"action": {"type": "search", "query": "q"}}', "hosted"),
    ),
    (
        item("file_search_call", queries=["q"], results=[1]),
        Call("i", "file_search", '{"queries": ["q"]}', "hosted"),
    ),
    (
        item("code_interpreter_call", code="print(1)", container_id="x", outputs=[1]),
        Call("i", "code_interpreter", '{"code": "print(1)", "container_id": "x"}', "hosted"),
    ),
    (item("image_generation_call", result="AAAA"), Call("i", "image_generation", "{}", "hosted")),
    (item("program", call_id="c", code="f()"), Call("c", "program", '{"code": "f()"}', "hosted")),
    (
        item("tool_search_call", call_id="c", execution="client", arguments={"q": 1}),
        Call("c", "tool_search", '{"execution": "client", "arguments": {"q": 1}}', "function"),
    ),
]


@pytest.mark.parametrize(("one", "call"), ITEMS, ids=lambda one: one.get("type") if type(one) is dict else "")
def test_every_kind_of_call(one: Any, call: Call) -> None:
    data = Response().item({**one, "status": "in_progress"}, one).words(3).end()
    got = Read(RESPONSES, data)
    assert got.calls == [call]
    assert got.out == data
    assert b"output_item" not in got.before[0]
    denied = Read(RESPONSES, data, lambda _: True).out
    assert one["type"].encode() not in denied
    assert denied.count(REFUSAL.encode()) == 5
    whole = RESPONSES.whole(ASKED, json.dumps({"output": [one]}).encode())
    assert whole.calls == (call,)
    whole.deny(call, WHY)
    assert json.loads(whole.bytes())["output"][0]["content"][0]["text"] == REFUSAL


PIECES: list[tuple[Any, list[tuple[str, Any]]]] = [
    (
        item("custom_tool_call", call_id="c", name="p", input="abcd"),
        [
            ("response.custom_tool_call_input.delta", {"delta": "ab"}),
            ("response.custom_tool_call_input.delta", {"delta": "cd"}),
            ("response.custom_tool_call_input.done", {"input": "abcd"}),
        ],
    ),
    (
        item("shell_call", call_id="c", action={"commands": ["ls", "rm x"]}),
        [
            ("response.shell_call_command.added", {"command": "l", "command_index": 0}),
            ("response.shell_call_command.delta", {"delta": "s", "command_index": 0}),
            ("response.shell_call_command.delta", {"delta": "rm x", "command_index": 1}),
            ("response.shell_call_command.done", {"command": "rm x", "command_index": 1}),
        ],
    ),
    (
        item("code_interpreter_call", code="f()"),
        [
            ("response.code_interpreter_call.in_progress", {}),
            ("response.code_interpreter_call_code.delta", {"delta": "f()"}),
            ("response.code_interpreter_call.completed", {}),
        ],
    ),
    (
        item("mcp_call", server_label="s", name="f", arguments="{}"),
        [("response.mcp_call_arguments.delta", {"delta": "{}"}), ("response.mcp_call.completed", {})],
    ),
    (item("web_search_call"), [("response.web_search_call.searching", {})]),
    (
        item("image_generation_call", result="AA"),
        [("response.image_generation_call.partial_image", {"partial_image_b64": "AA"})],
    ),
]


@pytest.mark.parametrize(("one", "events"), PIECES, ids=lambda one: one["type"] if type(one) is dict else "")
def test_pieces_of_every_kind_wait_for_the_whole(one: Any, events: Any) -> None:
    data = Response().item({"id": "i", "type": one["type"]}, one, events).end()
    got = Read(RESPONSES, data, cuts=range(0, len(data), 7))
    assert got.out == data
    assert len(got.calls) == 1
    assert b"output_item" not in got.before[0]
    assert not any(kind.encode() in Read(RESPONSES, data, lambda _: True).out for kind, _ in events)


def test_reasoning_and_lists_of_tools_pass() -> None:
    response = Response().item({"id": "r", "type": "reasoning", "summary": []}, item("reasoning", summary=[]))
    response.item({"id": "l", "type": "mcp_list_tools"}, item("mcp_list_tools", tools=[{"name": "f"}]))
    data = response.end() + b"data: [DONE]\n\n"
    got = Read(RESPONSES, data)
    assert (got.out, got.calls) == (data, [])
    assert got.reader.usage == Usage(11, 5)


def test_a_call_that_is_only_in_the_final_response_is_judged() -> None:
    response = Response().words(2)
    response.output.append(ITEMS[0][0])
    data = response.end()
    got = Read(RESPONSES, data)
    assert got.calls == [ITEMS[0][1]]
    assert b"response.completed" not in got.before[0]
    assert b"function_call" not in Read(RESPONSES, data, lambda _: True).out


def test_a_call_that_is_another_in_the_final_response_is_judged_too() -> None:
    response = Response().function("a", "f", "{}")
    response.output[0] = {**response.output[0], "arguments": '{"x":1}'}
    got = Read(RESPONSES, response.end(), lambda call: call.arguments != "{}")
    assert [one.arguments for one in got.calls] == ["{}", '{"x":1}']
    assert b'{\\"x\\":1}' not in got.out


def test_a_call_that_the_final_response_completes() -> None:
    response = Response()
    response.add(
        "response.output_item.added",
        output_index=0,
        item={"id": "i", "type": "function_call", "call_id": "c", "name": "f"},
    )
    response.add(f"{ARGUMENTS}.delta", output_index=0, delta="{}")
    response.output.append(ITEMS[0][0])
    assert Read(RESPONSES, response.end()).calls == [ITEMS[0][1]]


def test_a_call_that_a_failure_cuts_off_is_dropped() -> None:
    response = Response().words(2)
    response.add(
        "response.output_item.added",
        output_index=1,
        item={"id": "i", "type": "function_call", "call_id": "c", "name": "dangerous"},
    )
    response.add(f"{ARGUMENTS}.delta", output_index=1, delta="{}")
    got = Read(RESPONSES, response.end("failed"))
    assert got.calls == []
    assert b"dangerous" not in got.out
    numbers = [
        json.loads(one.partition(b"data: ")[2])["sequence_number"] for one in got.out.split(b"\n\n")[:-1]
    ]
    assert numbers == list(range(len(numbers)))


def test_an_error_of_the_upstream_takes_the_place_of_a_call_that_was_begun() -> None:
    response = Response()
    response.add("response.output_item.added", output_index=0, item={"type": "function_call", "name": "f"})
    error = named({"type": "error", "message": "x", "code": None})
    got = Read(RESPONSES, b"".join(response.events) + error)
    assert got.out == b"".join(response.events[:2]) + error


def test_what_came_of_a_denied_call_is_withheld() -> None:
    shell = item("shell_call", call_id="c", action={"commands": ["ls"]})
    output = item("shell_call_output", call_id="c", output=[{"stdout": "secret"}])
    data = Response().item(shell, shell).item(output, output).end()
    assert Read(RESPONSES, data).out == data
    denied = Read(RESPONSES, data, lambda _: True).out
    assert b"secret" not in denied
    assert b"withheld" in denied


def test_the_response_so_far_is_read_too() -> None:
    response = Response()
    response.output.append(ITEMS[0][0])
    response.add("response.in_progress", response=response.response("in_progress"))
    data = b"".join(response.events)
    assert Read(RESPONSES, data).calls == [ITEMS[0][1]]
    assert b"function_call" not in Read(RESPONSES, data, lambda _: True).out


def test_the_same_block_twice_is_denied_twice() -> None:
    text = "```bash\nrm /x\n```\nand\n```bash\nrm /x\n```\n."
    for parts in ([text], list(text)):
        got = Read(RESPONSES, Response().message(*parts).end(), lambda _: True, fences=BASH)
        assert len(got.calls) == 1
        assert b"rm /x" not in got.out


def test_text_that_may_be_executed_comes_in_pieces_that_are_text() -> None:
    part = {"type": "output_text", "text": "```bash"}
    empty = {"id": "m", "type": "message", "role": "assistant", "content": []}
    where = {"output_index": 0, "content_index": 0}
    begun = {"type": "response.output_item.added", "output_index": 0, "item": empty}
    for events in (
        [{**begun, "item": {**empty, "content": [part]}}],
        [begun, {"type": "response.content_part.added", **where, "part": part}],
        [begun, {"type": "response.output_text.delta", "output_index": 0, "delta": "```bash"}],
        [begun, {"type": "response.output_text.delta", **where, "delta": ["```bash"]}],
        [begun, {"type": "response.output_text.done", **where, "text": ["```bash"]}],
    ):
        with pytest.raises(Unreadable):
            Read(RESPONSES, b"".join(map(named, events)), fences=BASH)


def opened(index: int = 0, **more: Any) -> bytes:
    return named(
        {"type": "response.output_item.added", "output_index": index, "item": {**ITEMS[0][0], **more}}
    )


def done(index: int = 0, **more: Any) -> bytes:
    return named(
        {"type": "response.output_item.done", "output_index": index, "item": {**ITEMS[0][0], **more}}
    )


def delta(text: str, kind: str = "delta", **more: Any) -> bytes:
    return named({"type": f"{ARGUMENTS}.{kind}", "output_index": 0, "delta": text, **more})


def whole(arguments: str) -> bytes:
    return named({"type": f"{ARGUMENTS}.done", "output_index": 0, "arguments": arguments})


def command(text: str, index: Any) -> bytes:
    body = {"output_index": 0, "delta": text, "command_index": index}
    return named({"type": "response.shell_call_command.delta", **body})


# Each also holds a text that is no piece of it.
SHELL = {"type": "shell_call", "arguments": "", "action": {"commands": ["ls"], "env": {"x": "rm"}}}
PATCH = {
    "type": "apply_patch_call",
    "arguments": "",
    "operation": {"type": "create_file", "path": "a", "diff": "+x\n"},
}

TRAPS: list[tuple[str, bytes]] = [
    ("is not known", named({"type": "response.output_item.added", "output_index": 0, "item": item("new_call")})),
    ("is not known", named({"type": "response.new_thing", "delta": "x"})),
    ("is not known", named({"type": "thread.run", "x": 1})),
    ("is named", b"event: response.created\n" + plain({"type": "response.output_item.done"})),
    ("no type", plain({"choices": []})),
    ("no type", plain([])),
    ("nearly one", named({"type": "response.completed", "Response": {"output": [ITEMS[0][0]]}})),
    ("nearly one", named({"type": "response.completed", "response": {"Output": [ITEMS[0][0]]}})),
    ("not a list", named({"type": "response.completed", "response": {"output": {"0": ITEMS[0][0]}}})),
    ("not an object", named({"type": "response.completed", "response": []})),
    ("has item", named({"type": "response.output_text.annotation.added", "item": ITEMS[0][0]})),
    ("looks like", named({"type": "keepalive", "x": {"type": "function_call"}})),
    ("looks like", named({"type": "response.completed", "response": {"out": [ITEMS[0][0]]}})),
    ("looks like", named({"type": "response.created", "x": ITEMS[0][0], "response": {}})),
    ("looks like", done(other=[ITEMS[0][0]])),
    ("looks like", done(type="reasoning", arguments=None, content=[ITEMS[0][0]])),
    ("looks like", done(type="message", arguments=None, content=[{"type": "text", "x": [ITEMS[0][0]]}])),
    ("not the call", opened(arguments="") + delta("x") + done()),
    ("not the call", opened(arguments="") + whole("x") + done()),
    ("another than was added", opened(type="shell_call_output", call_id="d") + done(type="shell_call_output")),
    ("at once and in pieces", opened() + delta("{}") + done()),
    ("at once and in pieces", opened(arguments="x") + done()),
    ("second name", opened(arguments="", name="g") + done()),
    ("second call_id", opened(arguments="", call_id="d") + done()),
    ("no open tool call", done() + delta("{}")),
    ("belongs to no item", delta("{}")),
    ("not the next", opened() + opened()),
    ("not the next", opened(index=1)),
    ("not the next", done() + opened(index=1, id="j", call_id="d")),
    ("same id", opened() + opened(index=1, call_id="d")),
    ("id of another", opened() + opened(index=1, id="j", call_id="d") + delta("{}", item_id="j")),
    ("not the call", opened(id="x", arguments="") + delta("x") + whole("x") + done(id="x")),
    ("not the call", opened(arguments="") + delta("f") + done()),
    ("not the call", opened(**SHELL) + command("ls", 0) + command("rm", 1) + done(**SHELL)),
    ("not the call", opened(**PATCH) + delta("a") + done(**PATCH)),
    ("has no index", opened(**SHELL) + command("ls", [0]) + done(**SHELL)),
    ("is not known", done(type="message", arguments=None, content=[{"type": ["text"], "text": "x"}])),
    ("done twice", done() + done()),
    ("same id", done() + done(1)),
    ("same id", named({"type": "response.completed", "response": {"output": [ITEMS[0][0]] * 2}})),
    ("has no id", done(call_id="", id="")),
    ("no name", done(name="")),
    ("no text", done(arguments={"x": 1})),
    ("beside its", done(input="x")),
    ("has arguments", done(type="message")),
    ("is not known", done(type="message", arguments=None, content=[{"type": "tool_use"}])),
    ("no text", opened(arguments="") + named({"type": f"{ARGUMENTS}.delta", "output_index": 0, "delta": {}})),
    ("middle of a tool call", opened()),
    ("middle of a tool call", opened() + b"data: [DONE]\n\n"),
    ("middle of a tool call", opened() + named({"type": "response.completed", "response": {"output": []}})),
    ("goes on", named({"type": "response.completed", "response": {"output": []}}) + done()),
    ("goes on", named({"type": "error", "message": "x"}) + done()),
    ("names no file", done(type="apply_patch_call", operation={"type": "create_file", "path": "a\n*** x"})),
    ("none of the operations", done(type="apply_patch_call", operation={"type": "move_file", "path": "a"})),
    ("no text", done(type="apply_patch_call", operation={"type": "create_file", "path": "a", "diff": [1]})),
    ("no action", done(type="shell_call", action=["ls"])),
    ("namespace", done(namespace=7)),
    ("no type", done(type=7)),
    ("not a list", done(type="message", arguments=None, content="x")),
    ("no index", named({"type": "response.output_item.done", "item": ITEMS[0][0]})),
    ("ended in the middle", opened(arguments="") + b"data: [DONE]\n\n" + delta("x")),
    ("an action and actions", done(type="computer_call", arguments=None, action={"x": 1}, actions=[1])),
]  # fmt: skip


@pytest.mark.parametrize(("why", "data"), TRAPS)
def test_what_is_not_one_thing_is_refused(why: str, data: bytes) -> None:
    with pytest.raises(Unreadable, match=why):
        Read(RESPONSES, b"".join(Response().events) + data)


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("not a list", b'{"output":{}}'),
        ("not an object", b"[]"),
        ("looks like a tool call", b'{"data":[{"type":"function_call","name":"f"}]}'),
        ("is not known", b'{"output":[{"type":"new_call"}]}'),
        ("looks like a tool call", json.dumps({"output": [], "x": [ITEMS[0][0]]}).encode()),
        ("same id", json.dumps({"output": [ITEMS[0][0]] * 2}).encode()),
    ],
)
def test_whole_answers_that_are_refused(why: str, body: bytes) -> None:
    with pytest.raises(Unreadable, match=why):
        RESPONSES.whole(ASKED, body)


def test_whole_answers_without_calls_pass_unchanged() -> None:
    for body in (
        b'{"error": {"message":"x"} }',
        b'{"object":"response.compaction", "output":[{"type":"compaction","encrypted_content":"x"}]}',
        b'{"status":"queued","output":[],"tools":[{"type":"function","name":"f"}]}',
    ):
        whole = RESPONSES.whole(ASKED, body)
        assert (whole.calls, whole.bytes()) == ((), body)


def test_tools_that_a_message_adds_are_tools() -> None:
    # As codex offers tools to models that write code.
    wait, search = {"type": "function", "name": "wait"}, {"type": "web_search"}
    clock = {"type": "namespace", "name": "clock", "description": "Of time.", "tools": [wait]}
    item = {"type": "additional_tools", "role": "developer", "id": "at_1", "tools": [clock, search]}
    says = {**item, "tools": [wait], "content": "Wait."}
    asked = RESPONSES.asked(json.dumps({"model": "m", "input": [item, says]}).encode())
    assert [(tool.name, tool.hosted) for tool in asked.tools] == [
        ("clock", False), ("wait", False), ("web_search", True), ("wait", False),
    ]  # fmt: skip
    assert asked.instructions == ({key: one for key, one in says.items() if key != "tools"},)

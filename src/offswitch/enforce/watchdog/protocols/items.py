"""The items that the OpenAI responses API puts into an output, and which of them are tool calls."""

from typing import Any

from offswitch.enforce.watchdog.calls import Call, Kind, Unreadable
from offswitch.enforce.watchdog.protocols import strict

ITEM = strict.Names(
    *(
        "type",
        "id",
        "call_id",
        "name",
        "arguments",
        "input",
        "action",
        "actions",
        "operation",
        "content",
        "role",
    ),
    *("status", "code", "server_label", "summary", "output", "namespace", "execution", "queries", "result"),
)
PART = strict.Names("type", "text", "refusal", "annotations", "logprobs")

_KINDS: dict[str, Kind] = {
    "function_call": "function",
    "custom_tool_call": "custom",
    "local_shell_call": "shell",
    "shell_call": "shell",
    "apply_patch_call": "patch",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcp",
    "computer_call": "computer",
    "web_search_call": "hosted",
    "file_search_call": "hosted",
    "code_interpreter_call": "hosted",
    "image_generation_call": "hosted",
    "tool_search_call": "hosted",
    "program": "hosted",
}
# What came of a call, which was ruled on before.
_RESULTS = frozenset(
    {
        *("function_call_output", "custom_tool_call_output", "local_shell_call_output", "shell_call_output"),
        *("apply_patch_call_output", "computer_call_output", "tool_search_output", "program_output"),
    }
)
_PASSING = frozenset(
    {"message", "reasoning", "compaction", "compaction_summary", "mcp_list_tools", "mcp_approval_response"}
    | {"additional_tools"}
)
_PARTS = frozenset(
    {
        *("output_text", "refusal", "reasoning_text", "summary_text", "text", "output_audio", "input_text"),
        *("input_image", "input_file", "encrypted_content"),
    }
)
# What the model asks for.
_ASKED = ("arguments", "action", "actions", "operation", "input")
# What the provider adds to what the model asked for.
_NOT_ASKED = frozenset(
    {"id", "call_id", "type", "status", "result", "results", "output", "outputs", "fingerprint", "created_by"}
)
_PATCHES = {"create_file": "Add", "update_file": "Update", "delete_file": "Delete"}


def kind(item: Any) -> str:
    """The type of an item, if it is one that is known.

    Raises:
        Unreadable: It is not.
    """
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise Unreadable("an item of the output has no type")
    ITEM.check(item)
    name: str = item["type"]
    strict.refuse(item, "type", "tools", *(_ASKED if name in _KINDS else ("content",)))
    if name in _KINDS or name in _RESULTS:
        return name
    if name not in _PASSING:
        raise Unreadable(f"an item of the type {name[:60]!r} is not known")
    for field in _ASKED:
        if item.get(field):
            raise Unreadable(f"an item of the type {name} has {field}")
    if name == "message":
        for one in parts(item):
            part(one)
    else:
        strict.refuse({"content": item.get("content")})
    return name


def is_call(name: str) -> bool:
    """Whether items of a type are tool calls."""
    return name in _KINDS


def is_result(name: str) -> bool:
    """Whether items of a type are what came of a call."""
    return name in _RESULTS


def parts(item: dict[str, Any]) -> list[Any]:
    """The parts of a message."""
    content = item.get("content")
    if content is None:
        return []
    if not isinstance(content, list):
        raise Unreadable("the content of a message is not a list")
    return content


def part(value: Any) -> str:
    """The type of a part of a message, if it is one that is known.

    Raises:
        Unreadable: It is not.
    """
    name = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(name, str) or name not in _PARTS:
        raise Unreadable(f"a part of a message of the type {str(name)[:60]!r} is not known")
    PART.check(value)
    strict.refuse(value, "type")
    return name


def call(item: dict[str, Any]) -> Call:
    """The call that an item is.

    Raises:
        Unreadable: What makes it a call is missing, or is not what it should be.
    """
    name: str = item["type"]
    kind = _KINDS[name]
    call_id = item.get("call_id") or item.get("id") or ""
    if not isinstance(call_id, str) or (not call_id and kind != "hosted"):
        raise Unreadable("a tool call has no id")
    if kind in ("function", "custom") or name in ("mcp_call", "mcp_approval_request"):
        return Call(call_id, _named(item), _text(item, "input" if kind == "custom" else "arguments"), kind)
    tool = name.removesuffix("_call")
    if name == "apply_patch_call":
        return Call(call_id, tool, _patch(item.get("operation")), kind)
    if kind == "shell":
        if not isinstance(item.get("action"), dict):
            raise Unreadable("a call of a shell has no action")
        return Call(call_id, tool, strict.text(item["action"]), kind)
    if kind == "computer":
        actions = item.get("actions")
        if actions is not None and item.get("action") is not None:
            raise Unreadable("a call of the computer has an action and actions")
        return Call(call_id, tool, strict.text(item.get("action") if actions is None else actions), kind)
    if name == "tool_search_call" and item.get("execution") == "client":
        kind = "function"
    kept = {field: held for field, held in item.items() if field not in _NOT_ASKED}
    return Call(call_id, tool, strict.text(kept), kind)


def pieces(item: dict[str, Any]) -> set[str]:
    """The texts of a call that may come in pieces: those that its judgement is about, and no other."""
    name: str = item["type"]
    kind = _KINDS[name]
    if kind == "shell":
        action = item["action"]
        return set(_strings([action.get("command"), action.get("commands")]))
    if kind == "patch":
        return set(_strings([item["operation"].get("diff")]))
    if kind == "custom":
        return set(_strings([item.get("input")]))
    if kind in ("function", "mcp"):
        return set(_strings([item.get("arguments")]))
    return set(_strings([held for field, held in item.items() if field not in _NOT_ASKED]))


def _strings(value: Any) -> list[str]:
    found: list[str] = []
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found


def identity(one: Call) -> tuple[str, str, str, str]:
    """What makes two items one call: the final response repeats all that came before."""
    return one.kind, one.id, one.name, one.arguments


def _named(item: dict[str, Any]) -> str:
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise Unreadable("a tool call has no name")
    if "server_label" in item:
        return f"mcp__{item['server_label']}__{name}"
    space = item.get("namespace")
    if space is not None and not isinstance(space, str):
        raise Unreadable("the namespace of a tool call is no text")
    return f"{space}.{name}" if space else name


def _text(item: dict[str, Any], field: str) -> str:
    value = item.get(field)
    other = "arguments" if field == "input" else "input"
    if item.get(other):
        raise Unreadable(f"a tool call has {other} beside its {field}")
    if value is None and item["type"] in ("mcp_call", "mcp_approval_request"):
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"the {field} of a tool call is no text")
    return value


def _patch(operation: Any) -> str:
    """An operation on one file in the form in which ``apply_patch`` takes all of them."""
    if not isinstance(operation, dict) or operation.get("type") not in _PATCHES:
        raise Unreadable("a patch is none of the operations that are known")
    path, diff = operation.get("path"), operation.get("diff")
    if not isinstance(path, str) or not path or any(end in path for end in "\n\r"):
        raise Unreadable("a patch names no file")
    if diff is not None and not isinstance(diff, str):
        raise Unreadable("a patch is no text")
    lines = ["*** Begin Patch", f"*** {_PATCHES[operation['type']]} File: {path}"]
    if diff:
        lines.append(diff.removesuffix("\n"))
    return "\n".join([*lines, "*** End Patch"])

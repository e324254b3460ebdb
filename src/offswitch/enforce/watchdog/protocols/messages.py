"""Anthropic messages (API reference: "Messages" and "Streaming messages")."""

from typing import Any

from offswitch.enforce.watchdog.calls import Asked, Call, Kind, Tool, Unreadable, Usage
from offswitch.enforce.watchdog.protocols import asking, strict
from offswitch.enforce.watchdog.protocols import fences as fenced
from offswitch.enforce.watchdog.protocols.fences import Fences, Scanner
from offswitch.enforce.watchdog.protocols.reading import Entry, Held, Sink, StreamReader, WholeAnswer, tokens

_EVENT = strict.Names("type", "index", "content_block", "delta", "message", "error", "usage")
_BLOCK = strict.Names(
    "type", "id", "name", "input", "text", "thinking", "signature", "citations", "server_name", "toolset_name"
)
_DELTA = strict.Names(
    "type", "text", "partial_json", "thinking", "signature", "citation", "stop_reason", "stop_sequence"
)
_MESSAGE = strict.Names(
    "id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage", "error"
)
_CALLS: dict[str, Kind] = {"tool_use": "function", "server_tool_use": "hosted", "mcp_tool_use": "mcp"}
_PASSING = frozenset(
    {
        *("text", "thinking", "redacted_thinking", "container_upload", "compaction", "fallback"),
        *("mcp_tool_listing", "tool_reference"),
    }
)
# What came of a call that the provider executed, which was ruled on before.
_RESULTS = frozenset(
    {
        *("web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result", "mcp_tool_result"),
        *("bash_code_execution_tool_result", "text_editor_code_execution_tool_result"),
        *("tool_search_tool_result", "advisor_tool_result"),
    }
)
_DELTAS = {
    "text": frozenset({"text_delta", "citations_delta"}),
    "thinking": frozenset({"thinking_delta", "signature_delta"}),
    "compaction": frozenset({"compaction_delta"}),
}
# Tools that have a type of their own and yet are executed by the client.
_OWN = ("bash_", "text_editor_", "computer_", "memory_", "browser_")
_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_WITHHELD = "offswitch withheld the result of a call that it refused."


class Messages:
    """The dialect."""

    name = "anthropic-messages"

    def asked(self, body: bytes) -> Asked:
        """Read a request.

        Raises:
            Unreadable: It is not one.
        """
        request = asking.request(body)
        instructions, messages = _system(request.get("system")), list[object]()
        for message in asking.objects(request, "messages"):
            told = message.get("role") in ("system", "developer")
            (instructions if told else messages).append(message)
        tools = [_tool(tool) for tool in asking.objects(request, "tools")]
        tools += [Tool("mcp", server, hosted=True) for server in asking.objects(request, "mcp_servers")]
        container = request.get("container")
        if isinstance(container, dict) and container.get("skills"):
            tools.append(Tool("skills", container, hosted=True))
        return Asked(
            asking.model(request),
            asking.streamed(request),
            tuple(instructions),
            tuple(tools),
            tuple(messages),
        )

    def reader(self, asked: Asked, fences: Fences = ()) -> "Reader":
        """A reader for an answer that is a stream."""
        return Reader(fences, _screens(asked))

    def whole(self, asked: Asked, body: bytes, fences: Fences = ()) -> "Whole":
        """Read an answer that is one JSON text.

        Raises:
            Unreadable: It is not understood.
        """
        return Whole(body, fences, _screens(asked))

    def refusal(self, status: int, line: str) -> bytes:
        """The body of an error."""
        kind = _ERRORS.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")
        return strict.dump({"type": "error", "error": {"type": kind, "message": line}})

    def broken(self, line: str) -> bytes:
        """The event that ends a stream which already began."""
        return b"event: error\ndata: " + self.refusal(500, line) + b"\n\n"


def _system(system: Any) -> list[Any]:
    if system is None:
        return []
    if isinstance(system, str):
        return [system] if system else []
    if not isinstance(system, list):
        raise Unreadable("system is neither a text nor a list")
    return list(system)


def _tool(tool: dict[str, Any]) -> Tool:
    kind = tool.get("type")
    if kind in (None, "custom"):
        return Tool(str(tool.get("name", "")), tool)
    name = str(tool.get("name") or kind)
    return Tool(name, tool, hosted=not str(kind).startswith(_OWN))


def _screens(asked: Asked) -> frozenset[str]:
    """The names of the tools that press keys and move the mouse."""
    return frozenset(
        tool.name
        for tool in asked.tools
        if isinstance(tool.definition, dict) and str(tool.definition.get("type", "")).startswith("computer_")
    )


def _kind(block: Any, where: str) -> str:
    if not isinstance(block, dict):
        raise Unreadable(f"{where} is not an object")
    kind = block.get("type")
    if not isinstance(kind, str):
        raise Unreadable(f"{where} has no type")
    return kind


def _checked(block: Any) -> str:
    """The type of a content block, if it is one that is known."""
    kind = _kind(block, "a content block")
    _BLOCK.check(block)
    strict.refuse(block, "type", "tools", *(("input",) if kind in _CALLS else ()))
    if kind in _CALLS or kind in _RESULTS:
        return kind
    if kind not in _PASSING:
        raise Unreadable(f"a content block of the type {kind[:60]!r} is not known")
    for name in ("input", "name"):
        if block.get(name):
            raise Unreadable(f"a content block of the type {kind} has {name}")
    return kind


def _call(block: dict[str, Any], arguments: str | None, screens: frozenset[str]) -> Call:
    """The call that a block is; ``arguments`` are those that came in pieces."""
    kind = _CALLS[block["type"]]
    call_id, name, given = block.get("id"), block.get("name"), block.get("input")
    if not isinstance(call_id, str) or not isinstance(name, str) or not name:
        raise Unreadable("a tool call has no id or no name")
    if arguments is None:
        if not isinstance(given, dict) and kind == "function":
            raise Unreadable("the input of a tool call is not an object")
        arguments = strict.text(given)
    elif given:
        raise Unreadable("a tool call has an input at once and in pieces")
    if kind == "mcp":
        name = f"mcp__{block.get('server_name', '')}__{name}"
    elif kind == "function" and (name in screens or block.get("toolset_name") == "computer"):
        kind = "computer"
    return Call(call_id, name, arguments, kind)


def _usage(known: Usage | None, value: Any) -> Usage | None:
    """Usage with what an event says of it: its counts are totals, and those that it leaves out stand."""
    if not isinstance(value, dict):
        return known
    read = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    said = value.get("input_tokens") is not None
    before = known or Usage(0, 0)
    return Usage(
        tokens(value, *read) if said else before.input,
        tokens(value, "output_tokens") if value.get("output_tokens") is not None else before.output,
    )


def _reason(reason: Any, entries: list[Entry]) -> Any:
    """The stop reason that is true of the calls that are shown."""
    own = [entry for entry in entries if entry.call.kind in ("function", "computer")]
    if reason == "tool_use" and own and all(entry.denied is not None for entry in own):
        return "end_turn"
    return reason


class _Block:
    """A content block of a stream."""

    __slots__ = ("done", "entry", "kind", "pieces", "start")

    def __init__(self, kind: str, start: dict[str, Any]) -> None:
        self.kind = kind
        self.start = start
        self.pieces: list[str] = []
        self.entry: Entry | None = None
        self.done = False


class Reader(StreamReader):
    """Reads a stream of events."""

    slots = ("text", "thinking")
    told = ("partial_json",)

    def __init__(self, fences: Fences, screens: frozenset[str]) -> None:
        super().__init__(fences)
        self._screens = screens
        self._blocks: dict[int, _Block] = {}
        self._open = 0
        self._begun = False
        # One for the message: a client that executes text joins the blocks.
        self._scanner = Scanner(fences) if fences else None

    def waits(self) -> bool:
        """Whether a call is not complete."""
        return self._open > 0 or (self._scanner is not None and self._scanner.open)

    def urgent(self, held: Held) -> bool:
        """Whether it is a ping."""
        return isinstance(held.body, dict) and held.body.get("type") == "ping"

    def note(self, held: Held) -> bool | Sink:
        """Take one event in."""
        event = held.event
        assert event.data is not None
        if not event.name and event.data.strip() == b"[DONE]":
            self.over = True
            return False
        body = held.body = strict.parse(event.data)
        kind = _kind(body, "an event")
        # The official clients go by one of the two, or by both.
        if event.name != kind.encode(errors="replace"):
            raise Unreadable(
                f"an event is named {event.name[:40]!r}, and its data has the type {kind[:40]!r}"
            )
        _EVENT.check(body)
        strict.refuse(body, "type", "content_block", "delta", "message")
        if kind == "ping":
            if len(body) > 1:
                raise Unreadable("a ping holds something")
            return False
        if self.over:
            raise Unreadable("the stream goes on after its end")
        if kind == "content_block_delta":
            return self._delta(held, body)
        if kind == "error":
            self._open = 0
            self._scanner = None
            self.failed()
            return False
        if kind == "message_start":
            self._start(body)
            return False
        if not self._begun:
            raise Unreadable(f"{kind[:40]} came before the message began")
        if kind == "content_block_start":
            self._block_start(body)
        elif kind == "content_block_stop":
            self._block_stop(body)
        elif kind == "message_delta":
            self._message_delta(body)
        elif kind == "message_stop":
            self._message_end()
            self.over = True
        else:
            raise Unreadable(f"an event of the type {kind[:60]!r} is not known")
        return False

    def _start(self, body: dict[str, Any]) -> None:
        message = body.get("message")
        if self._begun or not isinstance(message, dict):
            raise Unreadable("a message begins twice, or is not an object")
        _MESSAGE.check(message)
        if message.get("content"):
            raise Unreadable("a message has content before its first block")
        strict.refuse(message, "content")
        self._begun = True
        self.usage = _usage(self.usage, message.get("usage"))

    def _block_start(self, body: dict[str, Any]) -> None:
        index = body.get("index")
        # The official Python client takes them in the order in which they come, whatever their index.
        if type(index) is not int or index != len(self._blocks):
            raise Unreadable("a content block's index is not the next")
        start = body.get("content_block")
        kind = _checked(start)
        assert isinstance(start, dict)
        self._blocks[index] = _Block(kind, start)
        if kind in _CALLS:
            self._open += 1
        elif kind == "text" and self._scanner is not None and start.get("text"):
            raise Unreadable("a block of text holds text before its first piece")

    def _known(self, body: dict[str, Any]) -> _Block:
        index = body.get("index")
        block = self._blocks.get(index) if type(index) is int else None
        if block is None or block.done:
            raise Unreadable("a piece belongs to no open content block")
        return block

    def _delta(self, held: Held, body: dict[str, Any]) -> bool | Sink:
        block = self._known(body)
        delta = body.get("delta")
        kind = _kind(delta, "a piece of a content block")
        assert isinstance(delta, dict)
        _DELTA.check(delta)
        strict.refuse(delta, "type", "partial_json")
        if kind == "input_json_delta":
            piece = delta.get("partial_json")
            if block.kind not in _CALLS or not isinstance(piece, str):
                raise Unreadable("a piece of a tool call's input does not belong to one, or is no text")
            block.pieces.append(piece)
            return block.pieces.append
        if kind not in _DELTAS.get(block.kind, ()):
            raise Unreadable(f"a piece of the type {kind[:40]!r} in a block of the type {block.kind[:40]!r}")
        if delta.get("partial_json"):
            raise Unreadable("a piece of text holds a piece of a tool call")
        if kind == "text_delta" and self._scanner is not None:
            text = delta.get("text")
            if not isinstance(text, str):
                raise Unreadable("a piece of text is no text")
            self.scan(self._scanner, held, "text", text)
            return False
        return kind in ("text_delta", "thinking_delta")

    def _block_stop(self, body: dict[str, Any]) -> None:
        block = self._known(body)
        block.done = True
        if block.kind in _CALLS:
            arguments = "".join(block.pieces)
            block.entry = Entry(_call(block.start, arguments or None, self._screens))
            self._open -= 1
            self.found(block.entry)
        block.pieces = []

    def _message_delta(self, body: dict[str, Any]) -> None:
        delta = body.get("delta")
        if not isinstance(delta, dict):
            raise Unreadable("the end of a message is not an object")
        _DELTA.check(delta)
        strict.refuse(delta)
        self.usage = _usage(self.usage, body.get("usage"))
        self._message_end()

    def _message_end(self) -> None:
        if self._open:
            raise Unreadable("the message ended in the middle of a tool call")
        if self._scanner is not None:
            before = len(self._scanner.blocks)
            self._scanner.end()
            self.blocks(self._scanner, before)

    def close(self) -> None:
        """The upstream closed."""
        self._message_end()

    def write(self, held: list[Held]) -> bytes:
        """Write events anew."""
        return b"".join(map(self._write, held))

    def _write(self, held: Held) -> bytes:
        body = held.body
        if not isinstance(body, dict):
            return held.event.raw
        kind = body["type"]
        if "text" in held.texts:
            scanner, begin = held.texts["text"]
            text = fenced.cut(body["delta"]["text"], begin, scanner.blocks)
            return (
                held.event.raw
                if text == body["delta"]["text"]
                else _event({**body, "delta": {**body["delta"], "text": text}})
            )
        if kind == "message_delta":
            reason = _reason(body["delta"].get("stop_reason"), self._entries_so_far())
            if reason == body["delta"].get("stop_reason"):
                return held.event.raw
            return _event({**body, "delta": {**body["delta"], "stop_reason": reason}})
        if kind not in ("content_block_start", "content_block_delta", "content_block_stop"):
            return held.event.raw
        instead = self._instead(self._blocks[body["index"]])
        if instead is None:
            return held.event.raw
        if kind == "content_block_delta":
            return b""
        if kind == "content_block_stop":
            return held.event.raw
        index = body["index"]
        return _event({"type": kind, "index": index, "content_block": {"type": "text", "text": ""}}) + _event(
            {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": instead}}
        )

    def _entries_so_far(self) -> list[Entry]:
        return [block.entry for block in self._blocks.values() if block.entry is not None]

    def _instead(self, block: _Block) -> str | None:
        """The text that stands in the place of a block; None if it stands."""
        return _text_instead(block.kind, block.start, block.entry, self._entries_so_far())


def _text_instead(kind: str, block: Any, entry: Entry | None, entries: list[Entry]) -> str | None:
    if entry is not None:
        return entry.denied
    if kind in _RESULTS:
        of = block.get("tool_use_id")
        if any(one.denied is not None and one.call.id == of for one in entries):
            return _WITHHELD
    return None


def _event(body: dict[str, Any]) -> bytes:
    kind: str = body["type"]
    return b"event: " + kind.encode() + b"\ndata: " + strict.dump(body) + b"\n\n"


class Whole(WholeAnswer):
    """A message."""

    def __init__(self, body: bytes, fences: Fences, screens: frozenset[str]) -> None:
        super().__init__(body, fences)
        if not isinstance(self.body, dict):
            raise Unreadable("it is not an object")
        _MESSAGE.check(self.body)
        self.usage = _usage(None, self.body.get("usage"))
        content = self.body.get("content")
        strict.refuse(self.body, "content")
        if content is None and self.body.get("type") != "message":
            content = []
        if not isinstance(content, list):
            raise Unreadable("the content of the message is not a list")
        self._scanner = Scanner(fences)
        self._begins: list[int] = []
        self._found: list[Entry | None] = []
        for block in content:
            self._read(block, screens)
        self._scanner.end()
        self.entries += [Entry(call, block) for block in self._scanner.blocks for call in block.calls]

    def _read(self, block: Any, screens: frozenset[str]) -> None:
        kind = _checked(block)
        entry = Entry(_call(block, None, screens)) if kind in _CALLS else None
        if entry is not None:
            self.entries.append(entry)
        self._found.append(entry)
        self._begins.append(self._scanner.length)
        if kind == "text" and self.fences:
            if not isinstance(block.get("text"), str):
                raise Unreadable("a block of text holds no text")
            self._scanner.feed(block["text"])

    def write(self) -> Any:
        """The message without what was denied."""
        entries = [entry for entry in self._found if entry is not None]
        content = []
        for block, entry, begin in zip(self.body["content"], self._found, self._begins, strict=True):
            instead = _text_instead(block["type"], block, entry, entries)
            if instead is not None:
                block = {"type": "text", "text": instead}
            elif block["type"] == "text" and self.fences:
                block = {**block, "text": fenced.cut(block["text"], begin, self._scanner.blocks)}
            content.append(block)
        return {
            **self.body,
            "content": content,
            "stop_reason": _reason(self.body.get("stop_reason"), entries),
        }

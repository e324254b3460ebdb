"""OpenAI responses (API reference: "Responses" and its streaming events)."""

from typing import Any

from offswitch.enforce.watchdog.calls import Asked, Call, Tool, Unreadable, Usage
from offswitch.enforce.watchdog.protocols import asking, items, strict
from offswitch.enforce.watchdog.protocols import fences as fenced
from offswitch.enforce.watchdog.protocols.fences import Block, Fences, Scanner
from offswitch.enforce.watchdog.protocols.reading import Entry, Held, Sink, StreamReader, WholeAnswer, tokens

_EVENT = strict.Names(
    *("type", "response", "item", "output_index", "item_id", "content_index", "part", "delta", "text"),
    *("arguments", "input", "sequence_number", "output", "error"),
)
_RESPONSE = strict.Names(
    "id", "object", "status", "output", "usage", "error", "tools", "output_text", "model"
)
# They hold the response so far, or all of it.
_BEGIN = frozenset({"response.created", "response.queued", "response.in_progress"})
_FINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
# Pieces of the text of a message or of reasoning; what ends in .delta is a piece, in .done all of it.
_TEXTS = (
    *("response.output_text.", "response.refusal.", "response.reasoning_text.", "response.reasoning_summary"),
    *("response.reasoning.", "response.audio."),
)
# Pieces of a call, or how far one got.
_PIECES = (
    *("response.function_call_arguments.", "response.custom_tool_call_input.", "response.mcp_call"),
    *("response.code_interpreter_call", "response.shell_call", "response.file_search_call."),
    *("response.web_search_call.", "response.image_generation_call.", "response.apply_patch_call"),
    *("response.local_shell_call", "response.computer_call", "response.tool_search_call"),
)
_HARMLESS = (
    *("response.mcp_list_tools.", "response.compaction.", "keepalive", "ping", "codex.rate_limits"),
    *("response.metadata", "response.shell_call_output_content."),
)
_WHOLE_PIECES = ("arguments", "input", "code", "command", "diff")
_WITHHELD = "offswitch withheld the result of a call that it refused."
_CLIENT = frozenset(
    {
        *("function", "custom", "local_shell", "apply_patch", "computer", "computer_use_preview"),
        *("computer-preview", "shell", "tool_search"),
    }
)


class Responses:
    """The dialect."""

    name = "openai-responses"

    def asked(self, body: bytes) -> Asked:
        """Read a request; one without a body asks for a response that was made in the background.

        Raises:
            Unreadable: It is not one.
        """
        if not body.strip():
            return Asked("", False)
        request = asking.request(body)
        instructions: list[object] = []
        messages: list[object] = []
        if request.get("instructions") is not None:
            instructions.append(request["instructions"])
        if request.get("prompt") is not None:
            instructions.append({"prompt": request["prompt"]})
        offered = asking.objects(request, "tools")[:]
        given = request.get("input")
        if isinstance(given, str):
            messages.append(given)
        else:
            for item in asking.objects(request, "input"):
                told = item.get("role") in ("system", "developer")
                if item.get("type") == "additional_tools":
                    # codex offers its newer models their tools so.
                    offered += asking.objects(item, "tools")
                    item = {key: one for key, one in item.items() if key != "tools"}
                    if not set(item) - {"type", "role", "id"}:
                        continue
                (instructions if told else messages).append(item)
        tools = [found for tool in offered for found in _tools(tool)]
        return Asked(
            asking.model(request),
            asking.streamed(request),
            tuple(instructions),
            tuple(tools),
            tuple(messages),
            continues=bool(request.get("previous_response_id") or request.get("conversation")),
        )

    def reader(self, asked: Asked, fences: Fences = ()) -> "Reader":
        """A reader for an answer that is a stream."""
        return Reader(fences)

    def whole(self, asked: Asked, body: bytes, fences: Fences = ()) -> "Whole":
        """Read an answer that is one JSON text.

        Raises:
            Unreadable: It is not understood.
        """
        return Whole(body, fences)

    def refusal(self, status: int, line: str) -> bytes:
        """The body of an error."""
        return strict.dump({"error": asking.openai_error(status, line)})

    def broken(self, line: str) -> bytes:
        """The event that ends a stream which already began."""
        error = asking.openai_error(502, line)
        return _event({**error, "type": "error", "sequence_number": 0, "error": error})


def _tools(tool: dict[str, Any]) -> list[Tool]:
    kind = str(tool.get("type", "function"))
    if kind == "namespace":
        about = {key: one for key, one in tool.items() if key != "tools"}
        own = [Tool(str(tool.get("name")), about)] if tool.get("description") else []
        return own + [found for one in asking.objects(tool, "tools") for found in _tools(one)]
    name = tool.get("name")
    hosted = kind not in _CLIENT
    if kind == "shell" and isinstance(tool.get("environment"), dict):
        hosted = tool["environment"].get("type") not in (None, "local")
    if kind == "tool_search":
        hosted = tool.get("execution") != "client"
    return [Tool(str(name) if kind in ("function", "custom") and name else kind, tool, hosted)]


class _Decisions:
    """The calls of a response, each known again when the response repeats it.

    Args:
        fences: What opens and closes text that the agent executes.
    """

    def __init__(self, fences: Fences) -> None:
        self.fences = fences
        self._calls: dict[tuple[str, str, str, str], Entry] = {}
        self._blocks: dict[tuple[Call, ...], Block] = {}
        self._ids: dict[str, Entry] = {}

    def call(self, call: Call) -> tuple[Entry, bool]:
        """The entry of a call, and whether it is new."""
        key = items.identity(call)
        entry = self._calls.get(key)
        if entry is not None:
            return entry, False
        entry = self._calls[key] = Entry(call)
        if call.id:
            self._ids[call.id] = entry
        return entry, True

    def block(self, block: Block) -> bool:
        """Enter a block of a text; whether it is new."""
        known = self._blocks.setdefault(block.calls, block)
        block.denied = known.denied
        return known is block

    def blocks(self, text: str) -> list[Block]:
        """The blocks of a text, each as it was decided."""
        found = fenced.blocks(self.fences, text)
        for block in found:
            self.block(block)
        return found

    def instead(self, item: dict[str, Any]) -> str | None:
        """The text that stands in the place of an item; None if it stands."""
        if items.is_call(item["type"]):
            return self.call(items.call(item))[0].denied
        if items.is_result(item["type"]):
            entry = self._ids.get(str(item.get("call_id") or item.get("id")))
            if entry is not None and entry.denied is not None:
                return _WITHHELD
        return None

    def new(self, item: Any) -> list[Entry]:
        """The calls of an item that were not known before, blocks of its text included."""
        kind = items.kind(item)
        if items.is_call(kind):
            entry, new = self.call(items.call(item))
            return [entry] if new else []
        if kind != "message" or not self.fences:
            return []
        return [entry for part in items.parts(item) for entry in self.of_part(part)]

    def of_part(self, part: Any) -> list[Entry]:
        """The calls in a part of a message that were not known before."""
        items.part(part)
        return self.of_text(part.get("text")) if part["type"] in ("output_text", "text") else []

    def of_text(self, text: Any) -> list[Entry]:
        """The calls in a whole text that were not known before."""
        if not self.fences:
            return []
        if not isinstance(text, str):
            raise Unreadable("a text that may be executed is no text")
        return [
            Entry(call, block)
            for block in fenced.blocks(self.fences, text)
            if self.block(block)
            for call in block.calls
        ]

    def item(self, item: dict[str, Any], place: int) -> dict[str, Any]:
        """An item as it is shown: the very same if nothing in it was denied."""
        instead = self.instead(item)
        if instead is not None:
            return _message(place, instead)
        if item["type"] != "message" or not self.fences:
            return item
        parts = [self.part(part) for part in items.parts(item)]
        same = all(new is old for new, old in zip(parts, items.parts(item), strict=True))
        return item if same else {**item, "content": parts}

    def part(self, part: dict[str, Any]) -> dict[str, Any]:
        """A part of a message as it is shown."""
        if not self.fences or part.get("type") not in ("output_text", "text"):
            return part
        text = self.text(part.get("text") or "")
        return part if text == part.get("text") else _plain({**part, "text": text})

    def text(self, text: str) -> str:
        """A whole text as it is shown."""
        return fenced.cut(text, 0, self.blocks(text)) if self.fences else text

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        """A response as it is shown."""
        output = response.get("output")
        if not isinstance(output, list):
            return response
        shown = [self.item(item, place) for place, item in enumerate(output)]
        made = {**response, "output": shown}
        if isinstance(made.get("output_text"), str):
            made["output_text"] = "".join(
                part.get("text", "")
                for item in shown
                if item["type"] == "message"
                for part in items.parts(item)
                if part["type"] == "output_text"
            )
        return made


def _message(place: int, text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_offswitch_{place}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """A text that was changed: what points into it no longer holds."""
    return {**value, **{name: [] for name in ("annotations", "logprobs") if value.get(name)}}


def _response(response: Any) -> dict[str, Any]:
    if not isinstance(response, dict):
        raise Unreadable("a response is not an object")
    _RESPONSE.check(response)
    strict.refuse(response, "output", "tools", "tool_choice")
    output = response.get("output")
    if output is not None and not isinstance(output, list):
        raise Unreadable("the output of a response is not a list")
    ids = [items.call(item).id for item in output or [] if items.is_call(items.kind(item))]
    if len(set(ids)) < len(ids):
        raise Unreadable("two tool calls have the same id")
    return response


def _usage(response: dict[str, Any]) -> Usage | None:
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(tokens(usage, "input_tokens"), tokens(usage, "output_tokens"))


class _Item:
    """An item of a stream."""

    __slots__ = ("done", "dropped", "item", "kind", "pieces", "scanners", "shown")

    def __init__(self, kind: str, item: dict[str, Any]) -> None:
        self.kind = kind
        self.item = item
        self.pieces: dict[tuple[str, object], list[str]] = {}
        self.done = False
        self.dropped = False
        self.shown = False
        self.scanners: dict[int, Scanner] = {}


class Reader(StreamReader):
    """Reads a stream of events."""

    slots = ("delta", "obfuscation")
    numbers = ("sequence_number",)
    told = ("delta",)

    def __init__(self, fences: Fences) -> None:
        super().__init__(fences)
        self._decisions = _Decisions(fences)
        self._items: dict[int, _Item] = {}
        self._open: set[int] = set()
        # What is added to the numbers of events since some were put in or left out.
        self._shift = 0
        self._written_shift = 0
        self._written_shown: set[int] = set()
        self._indexes: dict[str, int] = {}
        self._begun = 0
        self._ids: dict[str, int] = {}

    def waits(self) -> bool:
        """Whether a call is not complete."""
        if self._open:
            return True
        return bool(self.fences) and any(
            scanner.open for item in self._items.values() for scanner in item.scanners.values()
        )

    def urgent(self, held: Held) -> bool:
        """Whether it is a ping; one with a number keeps its place."""
        body = held.body
        return isinstance(body, dict) and body["type"] in ("ping", "keepalive") and len(body) == 1

    def note(self, held: Held) -> bool | Sink:
        """Take one event in."""
        event = held.event
        assert event.data is not None
        if not event.name and event.data.strip() == b"[DONE]":
            if self._open:
                raise Unreadable("the stream ended in the middle of a tool call")
            self.over = True
            return False
        body = held.body = strict.parse(event.data)
        kind = body.get("type") if isinstance(body, dict) else None
        if not isinstance(kind, str):
            raise Unreadable("an event has no type")
        if event.name and event.name != kind.encode(errors="replace"):
            raise Unreadable(
                f"an event is named {event.name[:40]!r}, and its data has the type {kind[:40]!r}"
            )
        if self.over:
            raise Unreadable("the stream goes on after its end")
        _EVENT.check(body)
        strict.refuse(body, "type", "response", "item", "part")
        if kind == "response.output_text.delta":
            return self._text(held, body)
        if kind == "response.output_item.added":
            self._added(body)
        elif kind == "response.output_item.done":
            self._done(body)
        elif kind in _FINAL:
            self._final(kind, body)
        elif kind in _BEGIN:
            self._begin(body)
        elif kind.startswith("response.content_part."):
            self._item(body)
            items.part(body.get("part"))
            if kind.endswith(".done"):
                self.found(*self._decisions.of_part(body["part"]))
            elif self.fences and body["part"].get("text"):
                raise Unreadable("a part of a message has a text before its first piece")
        elif kind == "response.output_text.done":
            self._end(self._item(body), body)
            self.found(*self._decisions.of_text(body.get("text")))
        elif kind.startswith(_TEXTS):
            self._only_text(body)
            return kind.endswith(".delta")
        elif kind.startswith(_PIECES) and not kind.startswith(_HARMLESS):
            return self._piece(kind, body)
        elif kind == "error":
            self._only_text(body)
            self._open.clear()
            self._items.clear()
            self.failed()
        elif kind.startswith(_HARMLESS):
            self._only_text(body)
        else:
            raise Unreadable(f"an event of the type {kind[:60]!r} is not known")
        return False

    def _only_text(self, body: dict[str, Any]) -> None:
        for name in ("response", "item", "output", "arguments", "input"):
            if body.get(name):
                raise Unreadable(f"an event of the type {body['type'][:60]} has {name}")
        strict.refuse(body, "type")  # In any of its members.

    def _item(self, body: dict[str, Any]) -> _Item:
        index = body.get("output_index")
        item = self._items.get(index) if type(index) is int else None
        if item is None:
            raise Unreadable(f"an event of the type {body['type'][:60]} belongs to no item of the output")
        name = body.get("item_id")
        # Some clients go by the one, some by the other. Some servers give each event an id of its own.
        if isinstance(name, str) and self._ids.get(name, index) != index:
            raise Unreadable(f"an event of the type {body['type'][:60]} has the id of another call")
        return item

    def _text(self, held: Held, body: dict[str, Any]) -> bool:
        item = self._item(body)
        if items.is_call(item.kind) or not isinstance(body.get("delta"), str):
            raise Unreadable("a piece of text belongs to no message, or is no text")
        if not self.fences:
            return True
        part = body.get("content_index")
        if type(part) is not int:
            raise Unreadable("a piece of text belongs to no part of a message")
        scanner = item.scanners.setdefault(part, Scanner(self.fences))
        self.scan(scanner, held, "delta", body["delta"])
        return False

    def blocks(self, scanner: Scanner, before: int) -> None:
        """The blocks that a scanner found are calls, unless the same were ruled on."""
        for block in scanner.blocks[before:]:
            if self._decisions.block(block):
                self.found(*(Entry(call, block) for call in block.calls))

    def _end(self, item: _Item, body: dict[str, Any] | None = None) -> None:
        """The texts of an item are over, or one of them."""
        for part, scanner in item.scanners.items():
            if body is None or body.get("content_index") == part:
                before = len(scanner.blocks)
                scanner.end()
                self.blocks(scanner, before)

    def _added(self, body: dict[str, Any]) -> None:
        index, item = body.get("output_index"), body.get("item")
        # The official Python client takes them in the order in which they are added, whatever their index.
        if type(index) is not int or index != self._begun or index in self._items:
            raise Unreadable("an item's index in the output is not the next")
        self._begun += 1
        kind = items.kind(item)
        assert isinstance(item, dict)
        self._items[index] = _Item(kind, item)
        if items.is_call(kind):
            name = item.get("id")
            if isinstance(name, str) and name and self._ids.setdefault(name, index) != index:
                raise Unreadable("two tool calls have the same id")
            self._open.add(index)
        elif self.fences and kind == "message" and items.parts(item):
            raise Unreadable("a message has content before its first part")

    def _piece(self, kind: str, body: dict[str, Any]) -> bool | Sink:
        item = self._item(body)
        if type(body.get("command_index", 0)) is not int:
            raise Unreadable("a command of a tool call has no index")
        if not items.is_call(item.kind) or item.done:
            raise Unreadable(f"an event of the type {kind[:60]} belongs to no open tool call")
        what, _, how = kind.rpartition(".")
        for name in ("delta", *_WHOLE_PIECES):
            if body.get(name) is not None:
                whole = name != "delta" and how != "added"
                key = (f"{what}.{how}", len(item.pieces)) if whole else (what, body.get("command_index"))
                item.pieces.setdefault(key, []).append(_string(body[name]))
        alone = how == "delta" and "delta" in body and not any(body.get(name) for name in _WHOLE_PIECES)
        return item.pieces[what, body.get("command_index")].append if alone else False

    def _done(self, body: dict[str, Any]) -> None:
        index, item = body.get("output_index"), body.get("item")
        if type(index) is not int or index < 0:
            raise Unreadable("an item of the output has no index")
        kind = items.kind(item)
        assert isinstance(item, dict)
        known = self._items.get(index)
        if known is None:
            known = self._items[index] = _Item(kind, item)
        elif known.done or known.kind != kind or _of(known.item) != _of(item):
            raise Unreadable("an item of the output is done twice, or another than was added")
        self._complete(index, known, item)

    def _complete(self, index: int, known: _Item, item: dict[str, Any]) -> None:
        """An item is complete: its pieces are those of the whole that is judged."""
        self._end(known)
        if items.is_call(known.kind):
            call = items.call(item)
            _same(known, item)
            if self._indexes.setdefault(call.id or str(index), index) != index:
                raise Unreadable("two tool calls have the same id")
            self._open.discard(index)
        known.done = True
        known.item = item
        known.pieces = {}
        self.found(*self._decisions.new(item))

    def _begin(self, body: dict[str, Any]) -> None:
        response = _response(body.get("response"))
        for item in response.get("output") or []:
            self.found(*self._decisions.new(item))

    def _final(self, kind: str, body: dict[str, Any]) -> None:
        response = _response(body.get("response"))
        output = response.get("output") or []
        self.usage = _usage(response) or self.usage
        for item in self._items.values():
            self._end(item)
        for index in sorted(self._open):
            known = self._items[index]
            match = next((one for one in output if _is(known, one)), None)
            if match is not None:
                self._complete(index, known, match)
            elif kind == "response.completed":
                raise Unreadable("the response ended in the middle of a tool call")
            else:
                # It failed before the call was complete: nobody may act on the pieces.
                known.dropped = self.altered = True
        self._open.clear()
        for item in output:
            self.found(*self._decisions.new(item))
        self.over = True

    def close(self) -> None:
        """The upstream closed."""
        if self._open:
            raise Unreadable("the stream ended in the middle of a tool call")
        for item in self._items.values():
            self._end(item)

    # What is shown

    def write(self, held: list[Held]) -> bytes:
        """Write events anew."""
        shift = self._shift
        shown = {index for index, item in self._items.items() if item.shown}
        out: list[bytes] = []
        for one in held:
            before = one.body
            if not isinstance(before, dict):
                out.append(one.event.raw)
                continue
            after = self._written(one, before, shown)
            number = before.get("sequence_number")
            if type(number) is int:
                after = [
                    {**event, "sequence_number": number + shift + place}
                    if number + shift + place != number or event is not before
                    else event
                    for place, event in enumerate(after)
                ]
                shift += len(after) - 1
            out += [one.event.raw if event is before else _event(event) for event in after]
        self._written_shift = shift
        self._written_shown = shown
        return b"".join(out)

    def _release(self) -> None:
        # What was written last is what was sent.
        if self.altered and self.held:
            self._shift = self._written_shift
            for index in self._written_shown:
                self._items[index].shown = True
        super()._release()

    def _written(self, held: Held, body: dict[str, Any], shown: set[int]) -> list[dict[str, Any]]:
        """The events that stand in the place of one; the very same if nothing in it was denied."""
        kind = body["type"]
        if "response" in body:
            response = self._decisions.response(body["response"])
            return [body if response == body["response"] else {**body, "response": response}]
        index = body.get("output_index")
        item = self._items.get(index) if type(index) is int else None
        if item is None or type(index) is not int:
            return [body]
        if item.dropped:
            return []
        known = item.done or items.is_result(item.kind)
        instead = self._decisions.instead(item.item) if known else None
        if instead is not None:
            if index in shown:
                return []
            shown.add(index)
            return _told(index, instead)
        if kind in ("response.output_item.added", "response.output_item.done"):
            made = self._decisions.item(body["item"], index) if kind.endswith(".done") else body["item"]
            return [body if made is body["item"] else {**body, "item": made}]
        if kind == "response.content_part.done":
            part = self._decisions.part(body["part"])
            return [body if part is body["part"] else {**body, "part": part}]
        if kind == "response.output_text.done" and self.fences:
            text = self._decisions.text(body["text"])
            return [body if text == body["text"] else _plain({**body, "text": text})]
        if "delta" in held.texts:
            scanner, begin = held.texts["delta"]
            for block in scanner.blocks:
                self._decisions.block(block)
            text = fenced.cut(body["delta"], begin, scanner.blocks)
            return [body if text == body["delta"] else _plain({**body, "delta": text})]
        return [body]


def _of(item: dict[str, Any]) -> Any:
    """The call that an item is what came of."""
    return item.get("call_id") if items.is_result(item["type"]) else None


def _is(known: _Item, item: Any) -> bool:
    """Whether an item of the final output is one that was added."""
    if not isinstance(item, dict) or item.get("type") != known.kind:
        return False
    names = [name for name in ("call_id", "id") if known.item.get(name)]
    return any(item.get(name) == known.item[name] for name in names)


def _same(known: _Item, item: dict[str, Any]) -> None:
    """Refuse a call whose pieces say another thing than the whole: a client may go by either."""
    for name in ("call_id", "name", "namespace", "server_label"):
        if known.item.get(name) and known.item[name] != item.get(name):
            raise Unreadable(f"a tool call has a second {name}")
    texts = items.pieces(item)
    begun = [text for name in _WHOLE_PIECES if isinstance(text := known.item.get(name), str) and text]
    for pieces in known.pieces.values():
        text = "".join(pieces)
        if text and text not in texts:
            raise Unreadable("the pieces of a tool call are not the call")
    for text in begun:
        if text not in texts or any(where is None for _, where in known.pieces):
            raise Unreadable("a tool call has arguments at once and in pieces")


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Unreadable("a piece of a tool call is no text")
    return value


def _told(index: int, text: str) -> list[dict[str, Any]]:
    """The events of a message of one text."""
    message = _message(index, text)
    part = message["content"][0]
    where = {"item_id": message["id"], "output_index": index, "content_index": 0}
    kind = "response.output_text"
    return [
        {
            "type": "response.output_item.added",
            "output_index": index,
            "item": {**message, "status": "in_progress", "content": []},
        },
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        {"type": f"{kind}.delta", **where, "delta": text, "logprobs": []},
        {"type": f"{kind}.done", **where, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **where, "part": part},
        {"type": "response.output_item.done", "output_index": index, "item": message},
    ]


def _event(body: dict[str, Any]) -> bytes:
    kind: str = body["type"]
    return b"event: " + kind.encode() + b"\ndata: " + strict.dump(body) + b"\n\n"


class Whole(WholeAnswer):
    """A response."""

    def __init__(self, body: bytes, fences: Fences) -> None:
        super().__init__(body, fences)
        response = _response(self.body)
        self.usage = _usage(response)
        self._decisions = _Decisions(fences)
        for item in response.get("output") or []:
            self.entries += self._decisions.new(item)

    def write(self) -> Any:
        """The response without what was denied."""
        return self._decisions.response(self.body)

"""OpenAI chat completions (API reference: "Chat Completions"), as many other servers speak them too."""

from typing import Any

from offswitch.enforce.watchdog.calls import Asked, Call, Kind, Tool, Unreadable, Usage
from offswitch.enforce.watchdog.protocols import asking, strict
from offswitch.enforce.watchdog.protocols import fences as fences_module
from offswitch.enforce.watchdog.protocols.fences import Fences, Scanner
from offswitch.enforce.watchdog.protocols.reading import Entry, Held, Sink, StreamReader, WholeAnswer, tokens

_CHUNK = strict.Names(
    *("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "error"),
    *("obfuscation", "provider", "moderation", "metadata"),
)
_CHOICE = strict.Names(
    *("index", "delta", "message", "finish_reason", "logprobs", "native_finish_reason", "stop_reason"),
    "content_filter_results",
)
_MESSAGE = strict.Names(
    *("role", "content", "refusal", "tool_calls", "function_call", "audio", "annotations", "name"),
    *("reasoning", "reasoning_content", "reasoning_details"),
)
_ENTRY = strict.Names("index", "id", "type", "function", "custom", "extra_content")
_PAYLOAD = strict.Names("name", "arguments", "input")
_MOST_CALLS = 256
_CALLED = ("tool_calls", "function_call")
_LEGACY = -1


class Chat:
    """The dialect."""

    name = "openai-chat"

    def asked(self, body: bytes) -> Asked:
        """Read a request.

        Raises:
            Unreadable: It is not one.
        """
        request = asking.request(body)
        instructions, messages = list[object](), list[object]()
        for message in asking.objects(request, "messages"):
            told = message.get("role") in ("system", "developer")
            (instructions if told else messages).append(message)
        tools = [_tool(tool) for tool in asking.objects(request, "tools")]
        tools += [Tool(str(one.get("name", "")), one) for one in asking.objects(request, "functions")]
        for name in ("web_search_options", "plugins", "search_parameters", "enable_search", "data_sources"):
            if request.get(name) is not None and request[name] is not False:
                tools.append(Tool(name.removesuffix("_options"), request[name], hosted=True))
        return Asked(
            asking.model(request),
            asking.streamed(request),
            tuple(instructions),
            tuple(tools),
            tuple(messages),
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
        """The error that ends a stream which already began."""
        return b"data: " + strict.dump({"error": asking.openai_error(502, line)}) + b"\n\n"


def _tool(tool: dict[str, Any]) -> Tool:
    kind = tool.get("type", "function")
    if kind in ("function", "custom"):
        inner = tool.get(kind)
        name = inner.get("name") if isinstance(inner, dict) else tool.get("name")
        return Tool(str(name or ""), tool)
    return Tool(str(kind), tool, hosted=True)


class _Piece:
    """A call of which pieces came."""

    __slots__ = ("arguments", "entry", "id", "kind", "name", "place")

    def __init__(self, place: int) -> None:
        self.place = place
        self.id = ""
        self.name = ""
        self.kind: Kind | None = None
        self.arguments: list[str] = []
        self.entry: Entry | None = None

    def add(self, piece: dict[str, Any]) -> None:
        """Add one entry of ``tool_calls``."""
        _ENTRY.check(piece)
        strict.refuse(piece, "function", "custom")
        self.id = _once(self.id, piece.get("id"), "id")
        payload, kind = _payload(piece)
        if kind is not None:
            if self.kind not in (None, kind):
                raise Unreadable("a tool call is of two kinds")
            self.kind = kind
        if payload is not None:
            self.fill(payload, "input" if kind == "custom" else "arguments")

    def fill(self, payload: dict[str, Any], named: str) -> None:
        """Add a piece of its name and arguments."""
        _PAYLOAD.check(payload)
        strict.refuse(payload, "arguments")
        other = "arguments" if named == "input" else "input"
        if payload.get(other):
            raise Unreadable(f"a tool call has {other} beside its {named}")
        self.name = _once(self.name, payload.get("name"), "name")
        arguments = payload.get(named)
        if arguments is not None:
            if not isinstance(arguments, str):
                raise Unreadable(f"a piece of a tool call's {named} is no text")
            self.arguments.append(arguments)

    def complete(self) -> Entry:
        """It is complete."""
        if not self.name:
            raise Unreadable("a tool call has no name")
        self.entry = Entry(Call(self.id, self.name, "".join(self.arguments), self.kind or "function"))
        return self.entry


def _once(known: str, value: Any, what: str) -> str:
    """A text that comes once, or again as it was: some clients add the pieces, some take the first or the last."""
    if value is None or value == "":
        return known
    if not isinstance(value, str):
        raise Unreadable(f"a tool call's {what} is no text")
    if known and value != known:
        raise Unreadable(f"a tool call has a second {what}")
    return value


def _payload(entry: dict[str, Any]) -> tuple[dict[str, Any] | None, Kind | None]:
    kind = entry.get("type")
    found = [name for name in ("function", "custom") if entry.get(name) is not None]
    if kind not in (None, "", "function", "custom"):
        raise Unreadable(f"a tool call is of the type {str(kind)[:40]!r}, which is not known")
    if len(found) > 1 or (found and kind not in (None, "", found[0])):
        raise Unreadable("a tool call is of two kinds")
    if not found:
        return None, kind or None
    payload = entry[found[0]]
    if not isinstance(payload, dict):
        raise Unreadable("a tool call is not an object")
    return payload, "custom" if found[0] == "custom" else "function"


def _listed(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Unreadable("tool_calls is not a list of objects")
    return value


def _choices(body: dict[str, Any], *read: str) -> list[dict[str, Any]]:
    _CHUNK.check(body)
    strict.refuse(body, "choices")
    choices = body.get("choices")
    if choices is None:
        return []
    if not isinstance(choices, list):
        raise Unreadable("choices is not a list")
    for choice in choices:
        if not isinstance(choice, dict):
            raise Unreadable("a choice is not an object")
        _CHOICE.check(choice)
        strict.refuse(choice, *read)
        index = choice.get("index")
        if type(index) is not int or not 0 <= index < 1024:
            raise Unreadable("a choice has no index")
    return choices


def _said(message: dict[str, Any], fenced: bool) -> str:
    """The text of a message or a piece of one."""
    content = message.get("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or fenced:
        raise Unreadable("the content of a message is not a text")
    return "..."


def _checked(message: Any) -> dict[str, Any]:
    if message is None:
        return {}
    if not isinstance(message, dict):
        raise Unreadable("a message is not an object")
    _MESSAGE.check(message)
    strict.refuse(message, *_CALLED)
    return message


def _usage(body: dict[str, Any]) -> Usage | None:
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(tokens(usage, "prompt_tokens"), tokens(usage, "completion_tokens"))


class _Choice:
    """One of the answers in a stream."""

    __slots__ = ("open", "pieces", "said", "scanner")

    def __init__(self, scanner: Scanner | None) -> None:
        self.pieces: dict[int, _Piece] = {}
        self.open: list[_Piece] = []
        self.said = False
        self.scanner = scanner


class Reader(StreamReader):
    """Reads a stream of chunks."""

    slots = ("content", "reasoning", "reasoning_content", "obfuscation")
    told = ("arguments", "input")

    def __init__(self, fences: Fences) -> None:
        super().__init__(fences)
        self._choices: dict[int, _Choice] = {}

    def waits(self) -> bool:
        """Whether a call is not complete."""
        return any(
            choice.open or (choice.scanner is not None and choice.scanner.open)
            for choice in self._choices.values()
        )

    def note(self, held: Held) -> bool | Sink:
        """Take one chunk in."""
        event = held.event
        assert event.data is not None
        if event.name not in (b"", b"message", b"error", b"ping"):
            raise Unreadable(f"an event of the name {event.name[:40]!r} is not known")
        if event.data.strip() == b"[DONE]":
            self._finish()
            self.over = True
            return False
        if self.over:
            raise Unreadable("the stream goes on after its end")
        body = held.body = strict.parse(event.data)
        if not isinstance(body, dict):
            raise Unreadable("a chunk is not an object")
        choices = _choices(body, "delta")
        if body.get("error"):
            if choices:
                raise Unreadable("a chunk is an error and an answer")
            self._choices.clear()
            self.failed()
            return False
        usage = _usage(body)
        self.usage = usage or self.usage
        notes = [self._note(held, choice) for choice in choices]
        return notes[0] if usage is None and len(notes) == 1 else False

    def _note(self, held: Held, given: dict[str, Any]) -> bool | Sink:
        """Take one choice of a chunk in; as ``note``."""
        index = given["index"]
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(Scanner(self.fences) if self.fences else None)
        delta = _checked(given.get("delta"))
        text = _said(delta, bool(self.fences))
        if text:
            choice.said = True
            if choice.scanner is not None:
                self.scan(choice.scanner, held, index, text)
        pieces = _listed(delta.get("tool_calls"))
        for piece in pieces:
            self._piece(choice, piece)
        legacy = delta.get("function_call")
        if legacy is not None:
            if not isinstance(legacy, dict):
                raise Unreadable("function_call is not an object")
            self._opened(choice, _LEGACY).fill(legacy, "arguments")
        reason = given.get("finish_reason")
        if reason is not None and not isinstance(reason, str):
            raise Unreadable("a finish_reason is no text")
        if reason:
            self._complete(choice)
        if reason or legacy is not None or (text and (pieces or self.fences)):
            return False
        if len(pieces) == 1:
            return choice.pieces[pieces[0]["index"]].arguments.append
        return bool(text) and not pieces

    def _piece(self, choice: _Choice, piece: dict[str, Any]) -> None:
        index = piece.get("index")
        if type(index) is not int or not 0 <= index < _MOST_CALLS:
            raise Unreadable("a piece of a tool call has no index")
        opened = self._opened(choice, index)
        opened.add(piece)
        if opened.id and any(one.id == opened.id for one in choice.pieces.values() if one is not opened):
            raise Unreadable("two tool calls have the same id")

    def _opened(self, choice: _Choice, index: int) -> _Piece:
        piece = choice.pieces.get(index)
        if piece is None:
            calls = len(choice.pieces) - (_LEGACY in choice.pieces)
            # The official Python client makes two calls of the pieces of one whose index is not the next.
            if index not in (_LEGACY, calls):
                raise Unreadable("a tool call's index is not the next")
            piece = choice.pieces[index] = _Piece(index)
            choice.open.append(piece)
        elif piece.entry is not None:
            raise Unreadable("a tool call goes on after it was complete")
        return piece

    def _complete(self, choice: _Choice) -> None:
        for piece in choice.open:
            self.found(piece.complete())
        choice.open.clear()
        if choice.scanner is not None:
            before = len(choice.scanner.blocks)
            choice.scanner.end()
            self.blocks(choice.scanner, before)

    def _finish(self) -> None:
        for choice in self._choices.values():
            self._complete(choice)

    def close(self) -> None:
        """The upstream closed."""
        if any(choice.open for choice in self._choices.values()):
            raise Unreadable("the stream ended in the middle of a tool call")
        self._finish()

    def write(self, held: list[Held]) -> bytes:
        """Write chunks anew."""
        told: set[int] = set()
        return b"".join([self._write(one, told) for one in held])

    def _write(self, held: Held, told: set[int]) -> bytes:
        body = held.body
        if not isinstance(body, dict) or not body.get("choices"):
            return held.event.raw
        choices = [self._written(held, choice, told) for choice in body["choices"]]
        if all(new is old for new, old in zip(choices, body["choices"], strict=True)):
            return held.event.raw
        kept = [choice for choice in choices if choice is not None]
        if not kept and _usage(body) is None:
            return b""
        return b"data: " + strict.dump({**body, "choices": kept}) + b"\n\n"

    def _written(self, held: Held, given: dict[str, Any], told: set[int]) -> dict[str, Any] | None:
        """A choice without what was denied; the very same if nothing was, None if nothing is left."""
        choice = self._choices[given["index"]]
        delta = dict(given.get("delta") or {})
        refusals: list[str] = []
        kept = [
            {**piece, "index": _rank(choice, piece["index"])}
            for piece in delta.get("tool_calls") or []
            if not _denied(choice.pieces[piece["index"]], told, refusals)
        ]
        if delta.get("tool_calls") and kept != delta["tool_calls"]:
            delta["tool_calls"] = kept
            if not kept:
                del delta["tool_calls"]
        if delta.get("function_call") is not None and _denied(choice.pieces[_LEGACY], told, refusals):
            del delta["function_call"]
        if given["index"] in held.texts:
            scanner, begin = held.texts[given["index"]]
            text = fences_module.cut(delta["content"], begin, scanner.blocks)
            if text != delta["content"]:
                delta["content"] = text
        if refusals:
            delta["content"] = _joined(delta.get("content"), refusals, choice.said)
        reason = _reason(given.get("finish_reason"), [piece.entry for piece in choice.pieces.values()])
        if delta == (given.get("delta") or {}) and reason == given.get("finish_reason"):
            return given
        if not any(delta.values()) and not reason:
            return None
        made = {**given, "delta": delta, "finish_reason": reason}
        if made.get("logprobs"):
            made["logprobs"] = None
        return made


def _denied(piece: _Piece, told: set[int], refusals: list[str]) -> bool:
    """Whether a call was denied; its refusal is told where its first piece stood."""
    if piece.entry is None or piece.entry.denied is None:
        return False
    if id(piece) not in told:
        told.add(id(piece))
        refusals.append(piece.entry.denied)
    return True


def _rank(choice: _Choice, index: int) -> int:
    """The index of a call among those that are shown."""
    return sum(
        1
        for other, piece in choice.pieces.items()
        if 0 <= other < index and (piece.entry is None or piece.entry.denied is None)
    )


def _joined(content: Any, refusals: list[str], after: bool) -> Any:
    """A message's content with refusals after it."""
    told = "\n\n".join(refusals)
    if isinstance(content, list):
        return [*content, {"type": "text", "text": told}]
    if content:
        return f"{content}\n\n{told}"
    return f"\n\n{told}" if after else told


def _reason(reason: Any, entries: list[Entry | None]) -> Any:
    """The finish reason that is true of the calls that are shown."""
    shown = [entry for entry in entries if entry is None or entry.denied is None]
    if reason in ("tool_calls", "function_call") and entries and not shown:
        return "stop"
    return reason


class Whole(WholeAnswer):
    """A chat completion."""

    def __init__(self, body: bytes, fences: Fences) -> None:
        super().__init__(body, fences)
        if not isinstance(self.body, dict):
            raise Unreadable("it is not an object")
        self.usage = _usage(self.body)
        # What stands where: by the choice's place, its calls' entries and the blocks of its text.
        self._tools: list[list[Entry]] = []
        self._legacy: list[Entry | None] = []
        self._blocks: list[list[fences_module.Block]] = []
        for choice in _choices(self.body, "message"):
            self._read(choice)

    def _read(self, choice: dict[str, Any]) -> None:
        message = _checked(choice.get("message"))
        found = fences_module.blocks(self.fences, _said(message, bool(self.fences))) if self.fences else []
        self._blocks.append(found)
        for block in found:
            self.entries += [Entry(call, block) for call in block.calls]
        entries = [_whole_call(one) for one in _listed(message.get("tool_calls"))]
        self._tools.append(entries)
        self.entries += entries
        legacy = message.get("function_call")
        entry = None
        if legacy is not None:
            entry = _whole_call({"function": legacy})
            self.entries.append(entry)
        self._legacy.append(entry)

    def write(self) -> Any:
        """The completion without what was denied."""
        choices = []
        for place, choice in enumerate(self.body["choices"]):
            message = dict(choice.get("message") or {})
            entries, legacy = self._tools[place], self._legacy[place]
            every = [*entries, *([legacy] if legacy else [])]
            denied = [entry.denied for entry in every if entry.denied is not None]
            if any(block.denied is not None for block in self._blocks[place]):
                message["content"] = fences_module.cut(message["content"], 0, self._blocks[place])
            if denied:
                kept = [
                    one
                    for one, entry in zip(message.get("tool_calls") or [], entries, strict=True)
                    if entry.denied is None
                ]
                if kept:
                    message["tool_calls"] = kept
                else:
                    message.pop("tool_calls", None)
                if legacy is not None and legacy.denied is not None:
                    del message["function_call"]
                message["content"] = _joined(message.get("content"), denied, after=False)
            made = {**choice, "message": message}
            if "finish_reason" in choice:
                made["finish_reason"] = _reason(choice["finish_reason"], list(every))
            if made.get("logprobs") and message != choice.get("message"):
                made["logprobs"] = None
            choices.append(made)
        return {**self.body, "choices": choices}


def _whole_call(one: dict[str, Any]) -> Entry:
    payload, _ = _payload(one)
    if payload is None:
        raise Unreadable("a tool call has neither a function nor an input")
    if isinstance(payload.get("arguments"), dict):
        one = {**one, "function": {**payload, "arguments": strict.text(payload["arguments"])}}
    piece = _Piece(0)
    piece.add(one)
    return piece.complete()

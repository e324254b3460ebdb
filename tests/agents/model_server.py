"""A scripted model server: it stands in the place of a paid model API, so that a real agent program can be tried.

It speaks what the four programs of `programs` speak: OpenAI chat completions, OpenAI responses and Anthropic messages,
each whole or streamed as server-sent events. What the model "says" is a script of turns, so a run is the same each
time and costs nothing. A turn that runs a shell command is put in the words of the client: the server looks at the
tools that the request offers, takes the one that runs shell commands, and fills in that tool's own arguments.

A program that has its model write commands as text offers no tools; for such a one the server is told to do without.

Which turn it is follows from the request alone: it is the number of turns that the model has already had in it. So a
repeated request gets the same answer, and whoever asks without a shell tool (for a title, say) uses up no turn.
After the last turn of the script the model thinks for ever: the request stays open until the server is closed.
"""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

MODEL = "scripted"
"""The name of the model, for programs that do not insist on one that they know."""

_PIECE = 12
_CREATED = 1_700_000_000
_SHELL_TOOLS = ("exec_command", "shell_command", "shell", "bash", "Bash", "local_shell", "exec")
# OpenAI's own tool, which is known by its type and has no name and no schema.
_LOCAL_SHELL: dict[str, Any] = {"name": "local_shell", "schema": None}
# codex has its newer models write JavaScript, which finds the shell tool among `tools`.
_CODE = "exec"


@dataclass(frozen=True)
class Say:
    """A turn of words alone; most programs take it for the end of their work."""

    text: str


@dataclass(frozen=True)
class Run:
    """A turn that runs a shell command."""

    command: str


Turn = Say | Run


@dataclass(frozen=True)
class Asked:
    """A request that came.

    Attributes:
        method: HTTP method.
        path: Path without its query.
        model: The model that it names, "" if none.
        streamed: Whether it asked for a stream.
        tools: Names of the tools that it offers.
        turn: The number of the script's turn that answered it, from 0; None if the script did not.
    """

    method: str
    path: str
    model: str
    streamed: bool
    tools: tuple[str, ...]
    turn: int | None


class ModelServer:
    """The server, on a free port of 127.0.0.1, as a context manager.

    Args:
        script: The turns, at least one.
        without_tools: Whether to follow the script for requests that offer no shell tool too; then it has words alone.

    Attributes:
        port: The TCP port, once entered.
        closing: Set when the server closes.
        asked: Every request so far, in order.
    """

    def __init__(self, script: list[Turn], *, without_tools: bool = False) -> None:
        if not script:
            raise ValueError("a script has at least one turn")
        self.script = list(script)
        self.without_tools = without_tools
        self.asked: list[Asked] = []
        self.port = 0
        self.closing = threading.Event()

    def __enter__(self) -> "ModelServer":
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def address(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def turns(self) -> list[int]:
        """The turns of the script that were answered, in order, each as often as it was asked for."""
        return [one.turn for one in self.asked if one.turn is not None]


class _Server(ThreadingHTTPServer):
    # A client that stays connected must not keep the test from ending.
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: ModelServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that is killed in the middle of an answer is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._note(None, None)
        self._head(200 if self._path() == "/" else 404, "text/plain", 0)

    def do_GET(self) -> None:
        self._note(None, None)
        if self._path() == "/v1/models":
            model = {"id": MODEL, "object": "model", "type": "model", "created": _CREATED, "owned_by": "test"}
            self._whole({"object": "list", "data": [model], "has_more": False})
        else:
            self._missing()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = self._path()
        if path == "/v1/messages/count_tokens":
            self._note(None, None)
            self._whole({"input_tokens": 10})
            return
        dialect = _DIALECTS.get(path)
        if dialect is None:
            self._note(None, None)
            self._missing()
            return
        request = json.loads(body)
        tool = _shell_tool(request)
        script = self.server.owner.script
        followed = tool is not None or self.server.owner.without_tools
        number = dialect.past(request) if followed else None
        if number is not None and number >= len(script):
            self._note(request, None)
            self.server.owner.closing.wait()
            self.close_connection = True
            return
        turn = Say("ok") if number is None else script[number]
        self._note(request, number)
        answer = dialect(str(request.get("model", "")), turn, tool)
        if not request.get("stream"):
            self._whole(answer.whole())
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in answer.events():
            self._chunk(event)
        self._chunk(b"")

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _note(self, request: dict[str, Any] | None, turn: int | None) -> None:
        request = request or {}
        self.server.owner.asked.append(
            Asked(
                self.command,
                self._path(),
                str(request.get("model", "")),
                bool(request.get("stream")),
                tuple(tool["name"] for tool in _tools(request)),
                turn,
            )
        )

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _whole(self, answer: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self._head(status, "application/json", len(data))
        self.wfile.write(data)

    def _missing(self) -> None:
        self._whole({"error": {"type": "not_found_error", "message": "the script has nothing here"}}, 404)

    def _head(self, status: int, kind: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()


# What a client offers


def _tools(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools of a request, each with ``name`` and the JSON schema of its arguments, ``schema``."""
    found: list[dict[str, Any]] = []
    given = request.get("input")
    added = (
        [item for item in given if item.get("type") == "additional_tools"] if isinstance(given, list) else []
    )
    offered = [*(request.get("tools") or []), *(tool for item in added for tool in item["tools"])]
    for tool in [inner for one in offered for inner in one.get("tools", [one])]:
        if tool.get("type") == "local_shell":
            found.append(_LOCAL_SHELL)
            continue
        # Chat completions keep a tool's name one level deeper.
        inner = tool.get("function", tool)
        schema = inner.get("parameters") or inner.get("input_schema") or {}
        found.append({"name": str(inner.get("name", "")), "schema": schema})
    return found


def _shell_tool(request: dict[str, Any]) -> dict[str, Any] | None:
    offered = {tool["name"]: tool for tool in _tools(request)}
    return next((offered[name] for name in _SHELL_TOOLS if name in offered), None)


def _arguments(schema: dict[str, Any], command: str) -> dict[str, Any]:
    """Arguments for a shell tool that run a command, whatever the tool calls them."""
    properties = schema.get("properties", {})
    name = next(one for one in ("command", "cmd") if one in properties)
    filled: dict[str, Any] = {}
    for one in schema.get("required", []):
        kind = properties.get(one, {}).get("type")
        filled[one] = {"boolean": False, "integer": 1, "number": 1, "array": []}.get(kind, "Run a command")
    filled[name] = ["bash", "-c", command] if properties[name].get("type") == "array" else command
    return filled


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def _event(data: dict[str, Any], name: str | None = None) -> bytes:
    """A server-sent event (HTML Living Standard, 9.2.6)."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


# The three protocols: how far a request has come, a whole answer, and the same as a stream


class _Dialect:
    def __init__(self, model: str, turn: Turn, tool: dict[str, Any] | None) -> None:
        self.model = model
        self.text = turn.text if isinstance(turn, Say) else ""
        self.id = f"{time.monotonic_ns():x}"
        self.tool: dict[str, Any] | None = None
        if isinstance(turn, Run):
            assert tool is not None, "a script is only followed where there is a shell tool"
            self.tool = tool
            self.command = turn.command
            plain = tool["schema"] is None or tool["name"] == _CODE
            self.given = {} if plain else _arguments(tool["schema"], turn.command)
            self.arguments = json.dumps(self.given)

    @staticmethod
    def past(request: dict[str, Any]) -> int:
        """The turns that the model has already had in a request."""
        return sum(message.get("role") == "assistant" for message in request.get("messages", []))

    def whole(self) -> dict[str, Any]:
        raise NotImplementedError

    def events(self) -> Iterator[bytes]:
        raise NotImplementedError


class _Chat(_Dialect):
    """OpenAI, POST /v1/chat/completions: platform.openai.com/docs/api-reference/chat."""

    def _frame(self, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        frame = {"id": f"chatcmpl-{self.id}", "object": kind, "created": _CREATED, "model": self.model}
        return {**frame, "choices": [{"index": 0, **choice}]}

    @property
    def _finish(self) -> str:
        return "tool_calls" if self.tool else "stop"

    def _call(self) -> dict[str, Any]:
        assert self.tool
        return {"id": f"call_{self.id}", "type": "function", "function": {"name": self.tool["name"]}}

    @property
    def _usage(self) -> dict[str, int]:
        return {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}

    def whole(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.tool:
            call = self._call()
            call["function"]["arguments"] = self.arguments
            message["tool_calls"] = [call]
        frame = self._frame("chat.completion", {"message": message, "finish_reason": self._finish})
        return {**frame, "usage": self._usage}

    def events(self) -> Iterator[bytes]:
        def delta(content: dict[str, Any], finish: str | None = None) -> bytes:
            return _event(self._frame("chat.completion.chunk", {"delta": content, "finish_reason": finish}))

        yield delta({"role": "assistant", "content": ""})
        for piece in _pieces(self.text):
            yield delta({"content": piece})
        if self.tool:
            call = self._call()
            call["function"]["arguments"] = ""
            yield delta({"tool_calls": [{"index": 0, **call}]})
            for piece in _pieces(self.arguments):
                yield delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        yield delta({}, self._finish)
        frame = self._frame("chat.completion.chunk", {})
        yield _event({**frame, "choices": [], "usage": self._usage})
        yield b"data: [DONE]\n\n"


class _Responses(_Dialect):
    """OpenAI, POST /v1/responses: platform.openai.com/docs/api-reference/responses."""

    @staticmethod
    def past(request: dict[str, Any]) -> int:
        given = request.get("input")
        if not isinstance(given, list):
            return 0
        return sum(
            item.get("type") in ("function_call", "custom_tool_call", "local_shell_call")
            or item.get("role") == "assistant"
            for item in given
        )

    def _item(self, done: bool) -> dict[str, Any]:
        item: dict[str, Any]
        status = "completed" if done else "in_progress"
        if self.tool is None:
            content = [{"type": "output_text", "text": self.text, "annotations": []}] if done else []
            item = {"id": f"msg_{self.id}", "type": "message", "role": "assistant", "content": content}
        elif self.tool["name"] == _CODE:
            item = {"id": f"ctc_{self.id}", "type": "custom_tool_call", "name": _CODE}
            item["call_id"] = f"call_{self.id}"
            item["input"] = self._script() if done else ""
        elif self.tool["schema"] is None:
            action = {"type": "exec", "command": ["bash", "-c", self.command], "env": {}}
            item = {"id": f"lsh_{self.id}", "type": "local_shell_call", "action": action}
            item["call_id"] = f"call_{self.id}"
        else:
            item = {"id": f"fc_{self.id}", "type": "function_call", "name": self.tool["name"]}
            item["call_id"] = f"call_{self.id}"
            item["arguments"] = self.arguments if done else ""
        return {**item, "status": status}

    def _script(self) -> str:
        given = json.dumps({"cmd": self.command, "login": False})
        return f"const done = await tools.exec_command({given});\ntext(done.output);\n"

    def _response(self, done: bool) -> dict[str, Any]:
        count = {"input_tokens": 10, "output_tokens": 10, "total_tokens": 20}
        details = {
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        }
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": _CREATED,
            "model": self.model,
            "status": "completed" if done else "in_progress",
            "output": [self._item(True)] if done else [],
            "usage": {**count, **details} if done else None,
        }

    def whole(self) -> dict[str, Any]:
        return self._response(True)

    def events(self) -> Iterator[bytes]:
        number = 0

        def event(kind: str, **data: Any) -> bytes:
            nonlocal number
            number += 1
            return _event({"type": kind, "sequence_number": number, **data}, kind)

        item = self._item(False)
        place = {"item_id": item["id"], "output_index": 0}
        yield event("response.created", response=self._response(False))
        yield event("response.in_progress", response=self._response(False))
        yield event("response.output_item.added", output_index=0, item=item)
        if item["type"] == "message":
            spot = {**place, "content_index": 0}
            empty = {"type": "output_text", "text": "", "annotations": []}
            yield event("response.content_part.added", **spot, part=empty)
            for piece in _pieces(self.text):
                yield event("response.output_text.delta", **spot, delta=piece, logprobs=[])
            yield event("response.output_text.done", **spot, text=self.text, logprobs=[])
            yield event("response.content_part.done", **spot, part={**empty, "text": self.text})
        elif item["type"] == "function_call":
            for piece in _pieces(self.arguments):
                yield event("response.function_call_arguments.delta", **place, delta=piece)
            yield event("response.function_call_arguments.done", **place, arguments=self.arguments)
        elif item["type"] == "custom_tool_call":
            for piece in _pieces(self._script()):
                yield event("response.custom_tool_call_input.delta", **place, delta=piece)
            yield event("response.custom_tool_call_input.done", **place, input=self._script())
        yield event("response.output_item.done", output_index=0, item=self._item(True))
        yield event("response.completed", response=self._response(True))


class _Messages(_Dialect):
    """Anthropic, POST /v1/messages: platform.claude.com/docs/en/api/messages and .../messages-streaming."""

    def _message(self, content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 10},
        }

    @property
    def _reason(self) -> str:
        return "tool_use" if self.tool else "end_turn"

    def _block(self, given: dict[str, Any], text: str) -> dict[str, Any]:
        if self.tool is None:
            return {"type": "text", "text": text}
        return {"type": "tool_use", "id": f"toolu_{self.id}", "name": self.tool["name"], "input": given}

    def whole(self) -> dict[str, Any]:
        given = self.given if self.tool else {}
        return self._message([self._block(given, self.text)], self._reason)

    def events(self) -> Iterator[bytes]:
        def event(kind: str, **data: Any) -> bytes:
            return _event({"type": kind, **data}, kind)

        yield event("message_start", message=self._message([], None))
        yield event("content_block_start", index=0, content_block=self._block({}, ""))
        yield event("ping")
        if self.tool:
            for piece in _pieces(self.arguments):
                delta = {"type": "input_json_delta", "partial_json": piece}
                yield event("content_block_delta", index=0, delta=delta)
        else:
            for piece in _pieces(self.text):
                yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        yield event("content_block_stop", index=0)
        ended = {"stop_reason": self._reason, "stop_sequence": None}
        yield event("message_delta", delta=ended, usage={"output_tokens": 10})
        yield event("message_stop")


_DIALECTS: dict[str, type[_Dialect]] = {
    "/v1/chat/completions": _Chat,
    "/v1/responses": _Responses,
    "/v1/messages": _Messages,
}

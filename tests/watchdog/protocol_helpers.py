"""Streams of the three APIs as their providers send them, and what is made of them."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from offswitch.enforce.watchdog.calls import Asked, Call, Ruling
from offswitch.enforce.watchdog.protocols import Dialect, find

CHAT, RESPONSES, MESSAGES = (
    find("POST", path) for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages")
)
ASKED = Asked("m", True)
WHY = "it rewrites the kill path"
REFUSAL = f"offswitch refused this call: {WHY}"
BASH = (("```bash", "```"),)


def plain(body: Any) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def named(body: Any) -> bytes:
    return b"event: " + body["type"].encode() + b"\n" + plain(body)


# Chat completions

DONE = b"data: [DONE]\n\n"


def chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return plain(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "m",
            "choices": [choice],
            **more,
        }
    )


def called(index: int, call_id: str | None = None, name: str | None = None, arguments: str = "") -> Any:
    piece: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if call_id is not None:
        piece |= {"id": call_id, "type": "function"}
        piece["function"] = {"name": name, "arguments": arguments}
    return {"tool_calls": [piece]}


def chat_call(index: int, call_id: str, name: str, arguments: str, step: int = 7) -> list[bytes]:
    pieces = [arguments[at : at + step] for at in range(0, len(arguments), step)]
    return [chunk(called(index, call_id, name))] + [chunk(called(index, arguments=one)) for one in pieces]


def chat(*events: bytes | list[bytes], finish: str = "tool_calls", words: int = 30) -> bytes:
    said = [chunk({"role": "assistant", "content": ""})]
    said += [chunk({"content": f"wörd{number} "}) for number in range(words)]
    usage = plain(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "m",
            "choices": [],
            "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
        }
    )
    return b"".join([*said, *flat(events), chunk({}, finish), usage, DONE])


# Messages


def message(*blocks: list[bytes], stop: str = "tool_use") -> bytes:
    start = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "cache_read_input_tokens": 2, "output_tokens": 1},
    }
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": None},
        "usage": {"output_tokens": 5},
    }
    return b"".join(
        [
            named({"type": "message_start", "message": start}),
            named({"type": "ping"}),
            *flat(blocks),
            named(end),
            named({"type": "message_stop"}),
        ]
    )


def block(index: int, start: Any, *deltas: Any) -> list[bytes]:
    return [
        named({"type": "content_block_start", "index": index, "content_block": start}),
        *(named({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        named({"type": "content_block_stop", "index": index}),
    ]


def said(index: int, words: int = 30) -> list[bytes]:
    return block(
        index,
        {"type": "text", "text": ""},
        *({"type": "text_delta", "text": f"wörd{n} "} for n in range(words)),
    )


def used(
    index: int, call_id: str, name: str, arguments: str, step: int = 7, kind: str = "tool_use", **more: Any
) -> list[bytes]:
    pieces = [arguments[at : at + step] for at in range(0, len(arguments), step)]
    return block(
        index,
        {"type": kind, "id": call_id, "name": name, "input": {}, **more},
        *({"type": "input_json_delta", "partial_json": one} for one in ["", *pieces]),
    )


# Responses


class Response:
    """Writes the events of a response, numbered."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.output: list[Any] = []
        self.number = 0
        self.add("response.created", response=self.response("in_progress"))
        self.add("response.in_progress", response=self.response("in_progress"))

    def response(self, status: str) -> Any:
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1700000000,
            "status": status,
            "model": "m",
            "output": list(self.output),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": 11,
                "output_tokens": 5,
                "total_tokens": 16,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            }
            if status == "completed"
            else None,
        }

    def add(self, kind: str, **body: Any) -> None:
        self.events.append(named({"type": kind, "sequence_number": self.number, **body}))
        self.number += 1

    def item(self, begun: Any, done: Any, events: Iterable[tuple[str, Any]] = ()) -> "Response":
        index = len(self.output)
        self.add("response.output_item.added", output_index=index, item=begun)
        for kind, body in events:
            self.add(kind, output_index=index, item_id=begun.get("id"), **body)
        self.add("response.output_item.done", output_index=index, item=done)
        self.output.append(done)
        return self

    def message(self, *texts: str) -> "Response":
        index = len(self.output)
        text = "".join(texts)
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {"id": f"msg_{index}", "type": "message", "role": "assistant"}
        where = {"content_index": 0}
        return self.item(
            {**item, "status": "in_progress", "content": []},
            {**item, "status": "completed", "content": [part]},
            [
                ("response.content_part.added", {**where, "part": {**part, "text": ""}}),
                *(("response.output_text.delta", {**where, "delta": one, "logprobs": []}) for one in texts),
                ("response.output_text.done", {**where, "text": text, "logprobs": []}),
                ("response.content_part.done", {**where, "part": part}),
            ],
        )

    def words(self, count: int = 30) -> "Response":
        return self.message(*(f"wörd{n} " for n in range(count)))

    def function(self, call_id: str, name: str, arguments: str, step: int = 7) -> "Response":
        item = {"id": f"fc_{call_id}", "type": "function_call", "call_id": call_id, "name": name}
        kind = "response.function_call_arguments"
        pieces = [arguments[at : at + step] for at in range(0, len(arguments), step)]
        return self.item(
            {**item, "status": "in_progress", "arguments": ""},
            {**item, "status": "completed", "arguments": arguments},
            [
                *((f"{kind}.delta", {"delta": one}) for one in pieces),
                (f"{kind}.done", {"arguments": arguments}),
            ],
        )

    def end(self, status: str = "completed") -> bytes:
        self.add(f"response.{status}", response=self.response(status))
        return b"".join(self.events)


def flat(parts: Iterable[bytes | list[bytes]]) -> list[bytes]:
    return [one for part in parts for one in (part if isinstance(part, list) else [part])]


# What is made of them


def pieces(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    at = 0
    for cut in sorted({cut % (len(data) + 1) for cut in cuts}):
        yield data[at:cut]
        at = cut
    yield data[at:]


class Read:
    """A stream that was read.

    Attributes:
        out: What the agent got.
        calls: The calls that were ruled on.
        before: For each call, what the agent had got when it was ruled on.
    """

    def __init__(
        self,
        dialect: Dialect,
        data: bytes,
        deny: Callable[[Call], bool] = lambda call: False,
        cuts: Iterable[int] = (),
        fences: tuple[tuple[str, str], ...] = (),
        asked: Asked = ASKED,
    ) -> None:
        self.reader = dialect.reader(asked, fences)
        self.out = b""
        self.calls: list[Call] = []
        self.before: list[bytes] = []
        self._deny = deny
        for piece in pieces(data, cuts):
            self._add(self.reader.feed(piece))
        self._add(self.reader.end())

    def _add(self, parts: Iterable[Any]) -> None:
        for part in parts:
            if not isinstance(part, Ruling):
                self.out += part.data
                continue
            self.calls.append(part.call)
            self.before.append(self.out)
            self.out += self.reader.deny(part, WHY) if self._deny(part.call) else part.data


@contextmanager
def serving(body: bytes, kind: str = "text/event-stream") -> Iterator[str]:
    """A server on 127.0.0.1 that answers every request with the same body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)

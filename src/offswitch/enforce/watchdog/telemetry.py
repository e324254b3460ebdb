"""What a model was told, as OpenTelemetry spans: one for each call, with the attributes of the GenAI conventions.

OpenTelemetry's semantic conventions for generative AI say what the attributes are called and what their JSON is:
``gen_ai.system_instructions`` is a list of parts, ``gen_ai.tool.definitions`` a list of tools, and
``gen_ai.input.messages`` a list of messages with parts. They are recorded as JSON strings, which every back end takes.

Nothing here holds up a call or makes it fail: a call is put into a short queue, and dropped and counted if that is
full. A thread makes spans of it, and the SDK's own sends them in batches. An end point that hangs costs only these.
"""

import json
import logging
import os
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from offswitch import __version__
from offswitch.enforce.watchdog.calls import Asked, Tool, Usage
from offswitch.enforce.watchdog.pins import tool_name
from offswitch.enforce.watchdog.told import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from opentelemetry.sdk.trace import TracerProvider

LARGEST = 256 << 10
"""Letters of the largest attribute: what is beyond is left out, of the messages the oldest."""

_WAITING = 32
_SPANS = 128
_BATCH = 16
_DELAY = 1000
_TIMEOUT = 10.0
_PATH = "/v1/traces"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


class TelemetryError(Exception):
    """Telemetry that cannot be begun; the message is one line that says what to do."""


@dataclass(frozen=True)
class ModelCall:
    """A call of a model that is over.

    Attributes:
        asked: The request.
        provider: Who serves it, as the conventions name them: ``openai``, ``anthropic``.
        began: When it came, in nanoseconds since 1970.
        ended: When its last byte was sent on.
        usage: Its tokens, where they are known.
        address: The host of the upstream.
        port: Its port; None if that is not known.
        error: What kind of failure it ended in, such as ``refused`` or ``503``; "" for none.
    """

    asked: Asked
    provider: str
    began: int
    ended: int
    usage: Usage | None = None
    address: str = ""
    port: int | None = None
    error: str = ""


def begin(
    endpoint: str | None = None,
    *,
    agent: str,
    run: str,
    texts: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> "Telemetry | None":
    """Begin to export, if an end point is set.

    Args:
        endpoint: The base URL of a collector (OTLP over HTTP); by default that of ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        agent: The agent's name.
        run: The run.
        texts: Whether texts are exported; else only models, times and tokens.
        environment: Variables; the SDK reads its own ones, such as headers and certificates, from the process's.

    Returns:
        The telemetry; None if no end point is set or ``OTEL_SDK_DISABLED`` is true.

    Raises:
        TelemetryError: The end point is none, or OpenTelemetry is not installed.
    """
    url = endpoint or next((environment[name] for name in _ENDPOINTS if environment.get(name)), "")
    if not url or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        raise TelemetryError(
            f"OpenTelemetry's protocol {protocol[:40]!r} is not spoken here: set http/protobuf"
        )
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise TelemetryError(f"{url[:120]!r} is no end point of OpenTelemetry: state http://HOST:4318")
    whole = not endpoint and environment.get(_ENDPOINTS[0])
    if not whole and not parts.path.endswith(_PATH):
        url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + _PATH))
    try:
        provider = _provider(url, agent, run)
    except ImportError:
        raise TelemetryError(
            "OpenTelemetry is not installed: install offswitch[telemetry], or unset OTEL_EXPORTER_OTLP_ENDPOINT"
        ) from None
    return Telemetry(provider, agent, texts=texts)


class Telemetry:
    """Exports calls as spans; made by `begin`.

    Attributes:
        lost: How many calls were dropped before they became spans.
        trouble: What OpenTelemetry last complained of, on one line; "" if nothing.
    """

    def __init__(self, provider: "TracerProvider", agent: str, *, texts: bool) -> None:
        self.lost = 0
        self.trouble = ""
        self._provider = provider
        self._tracer = provider.get_tracer("offswitch", __version__)
        self._agent = agent
        self._texts = texts
        self._waiting: deque[ModelCall] = deque()
        self._wake = threading.Event()
        self._over = False
        # Its complaints would go to standard error, at every failed batch.
        self._handler = _Complaints(self)
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self._handler)
        logger.propagate = False
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._thread.start()

    def called(self, call: ModelCall) -> None:
        """Export a call that is over. Returns at once, and never raises."""
        if self._over or len(self._waiting) >= _WAITING:
            self.lost += 1
            return
        self._waiting.append(call)
        self._wake.set()

    def close(self, seconds: float = 2.0) -> None:
        """Send what is left, for at most so many seconds."""
        self._over = True
        self._wake.set()
        # The SDK would wait for an end point that hangs.
        ending = threading.Thread(target=self._end, name="telemetry-end", daemon=True)
        ending.start()
        ending.join(seconds)

    def _end(self) -> None:
        self._thread.join()
        with suppress(Exception):
            self._provider.shutdown()
        logging.getLogger("opentelemetry").removeHandler(self._handler)

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                call = self._waiting.popleft()
                try:
                    self._export(call)
                except Exception as error:  # whatever is in a request, the next one is exported
                    self.lost += 1
                    self.trouble = f"a call could not be exported: {type(error).__name__}"
            if self._over and not self._waiting:
                return

    def _export(self, call: ModelCall) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        attributes = span_attributes(call, texts=self._texts)
        attributes["gen_ai.agent.name"] = self._agent
        span = self._tracer.start_span(
            f"chat {_sound(call.asked.model)[:200]}".rstrip(),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=call.began,
        )
        if call.error:
            span.set_status(Status(StatusCode.ERROR))
        span.end(call.ended)


def span_attributes(call: ModelCall, *, texts: bool = True) -> "dict[str, Any]":
    """The attributes of a call's span, after the GenAI conventions.

    Args:
        call: The call.
        texts: Whether it holds texts.
    """
    asked = call.asked
    found: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": _sound(asked.model)[:200],
        "gen_ai.request.stream": asked.streamed,
    }
    if call.address:
        found["server.address"] = call.address
    if call.port is not None:
        found["server.port"] = call.port
    if call.usage is not None:
        found["gen_ai.usage.input_tokens"] = call.usage.input
        found["gen_ai.usage.output_tokens"] = call.usage.output
    if call.error:
        found["error.type"] = call.error
    if not texts:
        return found
    if asked.instructions:
        room = _Room()
        found["gen_ai.system_instructions"] = _json(
            [{"type": "text", "content": room.cut(text_of(one))} for one in asked.instructions if room.left]
        )
    if asked.tools:
        room = _Room()
        found["gen_ai.tool.definitions"] = _json([_tool(tool, room) for tool in asked.tools if room.left])
    if asked.messages:
        messages, left_out = _messages(asked.messages)
        found["gen_ai.input.messages"] = _json(messages)
        if left_out:
            found["offswitch.input.messages.left_out"] = left_out
    return found


class _Room:
    """How much more fits into an attribute."""

    def __init__(self) -> None:
        self.left = LARGEST

    def cut(self, text: str) -> str:
        """A text, as much of it as fits."""
        kept = text[: self.left]
        self.left -= len(kept)
        return kept if len(kept) == len(text) else kept + " …"


def _messages(messages: tuple[object, ...]) -> "tuple[list[Any], int]":
    """The newest messages that fit, in order, and how many were left out."""
    room = _Room()
    found: list[Any] = []
    for message in reversed(messages):
        if not room.left:
            break
        found.append(_message(message, room))
    return found[::-1], len(messages) - len(found)


def _message(message: object, room: _Room) -> "dict[str, Any]":
    if not isinstance(message, dict):
        return {"role": "user", "parts": [_part(message, room)]}
    kind = message.get("type", "message")
    if kind == "message" or "role" in message:
        content = message.get("content")
        parts = [
            _part(part, room)
            for part in (content if isinstance(content, list) else [content])
            if part is not None
        ]
        calls = message.get("tool_calls")
        parts += [_part(one, room) for one in (calls if isinstance(calls, list) else [])]
        if message.get("role") in ("tool", "function"):
            answer = room.cut(text_of(content if content is not None else ""))
            parts = [
                {"type": "tool_call_response", "id": _word(message.get("tool_call_id")), "response": answer}
            ]
        return {"role": _word(message.get("role")) or "user", "parts": parts}
    # An item of the Responses API stands for a message of its own.
    role = "tool" if isinstance(kind, str) and kind.endswith("_output") else "assistant"
    return {"role": role, "parts": [_part(message, room)]}


def _part(part: object, room: _Room) -> "dict[str, Any]":
    if isinstance(part, str):
        return {"type": "text", "content": room.cut(part)}
    if not isinstance(part, dict):
        return {"type": "text", "content": room.cut(text_of(part))}
    kind = _word(part.get("type"))
    if kind in ("text", "input_text", "output_text"):
        return {"type": "text", "content": room.cut(text_of(part))}
    if kind in ("reasoning", "thinking"):
        return {
            "type": "reasoning",
            "content": room.cut(text_of(part.get("thinking") or part.get("summary") or "")),
        }
    if kind in ("function", "function_call", "custom_tool_call", "tool_use", "custom"):
        inner = part.get("function") or part.get("custom")
        inner = inner if isinstance(inner, dict) else part
        arguments = inner.get("arguments", inner.get("input", ""))
        shown = arguments if isinstance(arguments, str) else _json(arguments)
        return {
            "type": "tool_call", "id": _word(part.get("call_id") or part.get("id")), "name": _word(inner.get("name")),
            "arguments": room.cut(shown),
        }  # fmt: skip
    if kind.endswith(("_output", "tool_result")):
        answer = part.get("output", part.get("content"))
        key = _word(part.get("call_id") or part.get("tool_use_id"))
        return {
            "type": "tool_call_response",
            "id": key,
            "response": room.cut(text_of(answer if answer is not None else "")),
        }
    # Pictures and whatever else there is: that it was there, and not what it was.
    return {"type": kind or "unknown"}


def _tool(tool: Tool, room: _Room) -> "dict[str, Any]":
    definition = tool.definition if isinstance(tool.definition, dict) else {}
    inner = definition.get("function") or definition.get("custom")
    inner = inner if isinstance(inner, dict) else definition
    found: dict[str, Any] = {
        "type": "function" if not tool.hosted else _word(definition.get("type")) or "hosted",
        "name": room.cut(_sound(tool.name or tool_name(definition))),
    }
    if isinstance(inner.get("description"), str):
        found["description"] = room.cut(inner["description"])
    parameters = inner.get("parameters", inner.get("input_schema"))
    if isinstance(parameters, dict):
        size = len(_json(parameters))
        if size <= room.left:
            room.left -= size
            found["parameters"] = parameters
        else:
            room.left = 0
    return found


def _word(value: object) -> str:
    return _sound(value)[:200] if isinstance(value, str) else ""


def _json(value: object) -> str:
    # In ASCII: protobuf takes no half of a surrogate pair, and JSON can escape it.
    return json.dumps(value, separators=(",", ":"))


def _sound(text: str) -> str:
    """A text that UTF-8 can carry."""
    return text.encode("utf-8", "replace").decode()


class _Complaints(logging.Handler):
    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.WARNING)
        self._telemetry = telemetry

    def emit(self, record: logging.LogRecord) -> None:
        self._telemetry.trouble = " ".join(record.getMessage().split())[:300]


def _provider(url: str, agent: str, run: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    about = {"service.version": __version__, "offswitch.agent": agent, "offswitch.run": run}
    if "OTEL_SERVICE_NAME" not in os.environ:
        about["service.name"] = "offswitch"
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(
            OTLPSpanExporter(endpoint=url, timeout=_TIMEOUT),
            max_queue_size=_SPANS,
            max_export_batch_size=_BATCH,
            schedule_delay_millis=_DELAY,
        )
    )
    return provider

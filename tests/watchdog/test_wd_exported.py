"""Calls through a gateway, as a collector of OpenTelemetry gets them."""

import http.server
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gates import ASK, STREAMED, TEXT, WHOLE
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from test_wd_watch import ask, until, watching

SPANS: list[Any] = []


class _Serves(http.server.BaseHTTPRequestHandler):
    """A collector, and a model that does what its name says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
                for scope in resource.scope_spans:
                    SPANS.extend(scope.spans)
            self.answer(200, b"", 0)
        elif (model := json.loads(data)["model"]) == "breaks":
            self.answer(200, TEXT, len(TEXT) + 1000, "text/event-stream")
            self.close_connection = True
        else:
            body = json.dumps(WHOLE if model == "works" else {"error": {"message": "no"}}).encode()
            self.answer(200 if model == "works" else 503, body, len(body))

    def answer(self, status: int, body: bytes, length: int, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[str]:
    SPANS.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Serves)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_each_call_is_exported_with_its_upstream_and_how_it_ended(
    served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", served)
    policy = "version: 1\nwatch: {mode: observe, decide_within: 10s}\n"
    with watching(served, tmp_path, policy=policy) as (process, address):
        ask(address, {**ASK, "model": "works"})
        ask(address, {**STREAMED, "model": "breaks"})
        ask(address, {**ASK, "model": "fails"})
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    until(lambda: len(SPANS) == 3)
    told = {one["gen_ai.request.model"]: one for one in map(attributes, SPANS)}
    assert {name: one.get("error.type", "") for name, one in told.items()} == {
        "works": "",
        "breaks": "failed",
        "fails": "503",
    }
    for one in told.values():
        assert (one["server.address"], one["server.port"]) == ("127.0.0.1", urlsplit(served).port)
    assert {"gen_ai.input.messages", "gen_ai.tool.definitions"} <= told["works"].keys()
    # 2: an error, as OpenTelemetry numbers it.
    assert sorted(span.status.code for span in SPANS) == [0, 2, 2]

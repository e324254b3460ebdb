"""Calls as OpenTelemetry spans, seen by a collector, and numbers for Prometheus."""

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from test_wd_told import ANY_JSON
from wd_asking import NOW, SYSTEM, asked, tool, user

from offswitch.enforce.watchdog.calls import Asked, Finding, Judgement, Tool, Usage
from offswitch.enforce.watchdog.instructions import Change
from offswitch.enforce.watchdog.metrics import Metrics
from offswitch.enforce.watchdog.telemetry import (
    LARGEST,
    ModelCall,
    Telemetry,
    TelemetryError,
    begin,
    span_attributes,
)


class Collector:
    """An OTLP collector over HTTP."""

    def __init__(self, status: int = 200) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        self.paths: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                request = ExportTraceServiceRequest.FromString(data)
                collector.paths.append(self.path)
                for resource in request.resource_spans:
                    collector.resources.append(
                        {one.key: one.value.string_value for one in resource.resource.attributes}
                    )
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def attributes(self, number: int = 0) -> dict[str, Any]:
        found = {}
        for one in self.spans[number].attributes:
            found[one.key] = getattr(one.value, one.value.WhichOneof("value"))
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.close()


def call(request: Asked | None = None, **how: Any) -> ModelCall:
    return ModelCall(request or asked(), "openai", NOW * 1_000_000, NOW * 1_000_000 + 5_000_000, **how)


def begun(url: str | None, **how: Any) -> Telemetry:
    telemetry = begin(url, agent="ci", run="r1", **{"environment": {}, **how})
    assert telemetry is not None
    return telemetry


def exported(collector: Collector, *calls: ModelCall, **how: Any) -> Telemetry:
    telemetry = begun(collector.url, **how)
    for one in calls:
        telemetry.called(one)
    telemetry.close(30)
    return telemetry


def test_a_call_is_a_span_with_the_attributes_of_the_conventions(collector: Collector) -> None:
    request = asked(user("Write a page."), tools=(tool("bash", "Runs a command."),))
    exported(collector, call(request, usage=Usage(12, 3), address="api.example.org", port=443))
    (span,) = collector.spans
    assert collector.paths == ["/v1/traces"]
    assert (span.name, span.kind) == ("chat nova-2", 3)  # SPAN_KIND_CLIENT
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
        NOW * 1_000_000,
        NOW * 1_000_000 + 5_000_000,
    )
    found = collector.attributes()
    assert json.loads(found.pop("gen_ai.system_instructions")) == [{"type": "text", "content": SYSTEM}]
    assert json.loads(found.pop("gen_ai.input.messages")) == [
        {"role": "user", "parts": [{"type": "text", "content": "Write a page."}]}
    ]
    assert json.loads(found.pop("gen_ai.tool.definitions")) == [
        {
            "type": "function", "name": "bash", "description": "Runs a command.",
            "parameters": {"type": "object", "properties": {"x": {"type": "number", "maximum": 0.5}}},
        }
    ]  # fmt: skip
    assert found == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "nova-2",
        "gen_ai.request.stream": True, "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3,
        "server.address": "api.example.org", "server.port": 443, "gen_ai.agent.name": "ci",
    }  # fmt: skip
    assert collector.resources[0]["service.name"] == "offswitch"
    assert collector.resources[0]["offswitch.run"] == "r1"


def test_a_failed_call_is_an_error(collector: Collector) -> None:
    exported(collector, call(error="refused"))
    assert collector.attributes()["error.type"] == "refused"
    assert collector.spans[0].status.code == 2


def test_private_texts_are_not_exported(collector: Collector) -> None:
    exported(collector, call(), texts=False)
    assert set(collector.attributes()) & {
        "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.input.messages"
    } == set()  # fmt: skip


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (["Hi."], [{"role": "user", "parts": [{"type": "text", "content": "Hi."}]}]),
        (
            [{"role": "assistant", "content": "Well.", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": "{}"}}]},
             {"role": "tool", "tool_call_id": "c1", "content": "total 0"}],
            [{"role": "assistant", "parts": [
                {"type": "text", "content": "Well."},
                {"type": "tool_call", "id": "c1", "name": "bash", "arguments": "{}"}]},
             {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "total 0"}]}],
        ),
        (
            [{"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."},
                {"type": "tool_use", "id": "t1", "name": "bash", "input": {"command": "ls"}}]},
             {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a"}]}],
            [{"role": "assistant", "parts": [{"type": "reasoning", "content": "Hm."},
                {"type": "tool_call", "id": "t1", "name": "bash", "arguments": '{"command":"ls"}'}]},
             {"role": "user", "parts": [{"type": "tool_call_response", "id": "t1", "response": "a"}]}],
        ),
        (
            [{"type": "function_call", "call_id": "f1", "name": "shell", "arguments": "{}"},
             {"type": "function_call_output", "call_id": "f1", "output": "ok"}],
            [{"role": "assistant", "parts": [{"type": "tool_call", "id": "f1", "name": "shell", "arguments": "{}"}]},
             {"role": "tool", "parts": [{"type": "tool_call_response", "id": "f1", "response": "ok"}]}],
        ),
        (
            [{"role": "user", "content": [{"type": "image", "source": {"data": "A" * 100}}]}],
            [{"role": "user", "parts": [{"type": "image"}]}],
        ),
    ],
    ids=["text", "chat", "messages", "responses", "picture"],
)  # fmt: skip
def test_messages_of_each_api_have_the_shape_of_the_conventions(
    messages: list[object], expected: object
) -> None:
    found = span_attributes(call(asked(*messages)))
    assert json.loads(found["gen_ai.input.messages"]) == expected


def test_of_a_long_conversation_the_newest_messages_are_exported() -> None:
    found = span_attributes(call(asked(*(user(f"{number} " + "x" * 1000) for number in range(5000)))))
    assert len(found["gen_ai.input.messages"]) < 2 * LARGEST
    messages = json.loads(found["gen_ai.input.messages"])
    assert messages[-1]["parts"][0]["content"].startswith("4999 ")
    assert found["offswitch.input.messages.left_out"] == 5000 - len(messages)


def test_large_texts_and_tools_are_cut() -> None:
    big = tuple(
        Tool(f"t{number}", {"name": f"t{number}", "input_schema": {"a": "x" * 9000}}) for number in range(500)
    )
    found = span_attributes(call(asked(system=("x" * 10_000_000,), tools=big)))
    assert len(found["gen_ai.system_instructions"]) < 2 * LARGEST
    assert len(found["gen_ai.tool.definitions"]) < 2 * LARGEST


@given(
    st.lists(ANY_JSON, max_size=4),
    st.lists(ANY_JSON, max_size=3),
    ANY_JSON,
    st.text(st.characters(), max_size=9),
)
def test_any_request_has_attributes(
    messages: list[object], system: list[object], definition: object, model: str
) -> None:
    request = Asked(
        model,
        False,
        tuple(system),
        (Tool("a", definition), Tool("\ud800", definition, True)),
        tuple(messages),
    )
    for value in span_attributes(call(request)).values():
        if isinstance(value, str):
            value.encode()


def test_hostile_text_arrives(collector: Collector) -> None:
    telemetry = exported(
        collector, call(asked(user("\ud800\x00\x1b"), system=("\udfff",), model="\ud800" * 9))
    )
    assert telemetry.lost == 0
    assert json.loads(collector.attributes()["gen_ai.system_instructions"])[0]["content"] == "\udfff"


@pytest.mark.parametrize("what", ["hangs", "refuses", "fails"])
def test_a_collector_that_does_not_answer_costs_nothing(what: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    failing = Collector(500) if what == "fails" else None
    if what == "refuses":
        listener.close()
    telemetry = begun(failing.url if failing else url)
    # Each of them would be ten seconds of waiting otherwise.
    for _ in range(500):
        telemetry.called(call())
    telemetry.close(0.5)
    if what != "hangs":
        assert "\n" not in telemetry.trouble
    listener.close()
    if failing:
        failing.close()


def test_an_end_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    telemetry = begun(collector.url)
    never, ended = threading.Event(), threading.Event()
    monkeypatch.setattr(telemetry._provider, "shutdown", lambda: (never.wait(20), ended.set()))
    telemetry.close(0.1)
    assert not ended.is_set()
    never.set()


def test_what_it_complains_of_is_kept_and_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    printing = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(printing)
    with Closing() as url:
        telemetry = begun(url)
        logging.getLogger("opentelemetry.sdk").warning("The end point\nis gone.")
        assert telemetry.trouble == "The end point is gone."
        telemetry.close(0.1)
    logging.getLogger().removeHandler(printing)
    assert capfd.readouterr().err == ""


class Closing:
    """An address where nobody listens."""

    def __enter__(self) -> str:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def __exit__(self, *error: object) -> None:
        pass


def test_calls_that_come_too_fast_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    telemetry = begun(collector.url)
    gate = threading.Event()
    real = telemetry._export
    monkeypatch.setattr(telemetry, "_export", lambda one: (gate.wait(), real(one)))
    for _ in range(100):
        telemetry.called(call())
    gate.set()
    telemetry.close(30)
    assert telemetry.lost >= 60
    assert len(collector.spans) == 100 - telemetry.lost
    telemetry.called(call())
    assert telemetry.lost >= 61


def test_a_call_that_cannot_be_exported_does_not_end_the_export(collector: Collector) -> None:
    class Odd(Asked):
        @property
        def model(self) -> str:  # type: ignore[override]
            raise RuntimeError

    odd = Odd.__new__(Odd)
    telemetry = exported(collector, call(odd), call())
    assert (telemetry.lost, len(collector.spans)) == (1, 1)
    assert "RuntimeError" in telemetry.trouble


@pytest.mark.parametrize(
    ("endpoint", "environment", "path"),
    [
        ("{}", {}, "/v1/traces"),
        ("{}/", {}, "/v1/traces"),
        ("{}/otlp", {}, "/otlp/v1/traces"),
        ("{}/v1/traces", {}, "/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "{}"}, "/v1/traces"),
        (
            None,
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "{}/mine", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"},
            "/mine",
        ),
    ],
)
def test_where_it_goes(
    collector: Collector, endpoint: str | None, environment: dict[str, str], path: str
) -> None:
    given = {name: value.format(collector.url) for name, value in environment.items()}
    telemetry = begun(endpoint.format(collector.url) if endpoint else None, environment=given)
    telemetry.called(call())
    telemetry.close(30)
    assert collector.paths == [path]


def test_without_an_end_point_there_is_none() -> None:
    assert begin(agent="ci", run="r1", environment={}) is None
    assert begin("http://x", agent="ci", run="r1", environment={"OTEL_SDK_DISABLED": "true"}) is None


@pytest.mark.parametrize(
    ("endpoint", "environment"),
    [
        ("collector:4318", {}),
        ("ftp://x", {}),
        ("http://", {}),
        ("http://x:99999", {}),
        ("http://x", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}),
    ],
)
def test_a_bad_end_point_is_one_line(endpoint: str, environment: dict[str, str]) -> None:
    with pytest.raises(TelemetryError) as refused:
        begin(endpoint, agent="ci", run="r1", environment=environment)
    assert "\n" not in str(refused.value)


def test_nothing_heavy_is_loaded_unless_asked_for() -> None:
    code = (
        "import sys; from offswitch.enforce.watchdog import instructions, marks, metrics, pins, telemetry; "
        "assert telemetry.begin(agent='a', run='r', environment={}) is None; "
        "print([one for one in sys.modules if one.split('.')[0] in ('opentelemetry', 'prometheus_client', 'requests', "
        "'google', 'yaml', 'aiohttp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_without_the_extra_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from offswitch.enforce.watchdog.metrics import MetricsError

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TelemetryError, match=r"install offswitch\[telemetry\]"):
        begun("http://x")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MetricsError, match=r"install offswitch\[telemetry\]"):
        Metrics("ci")


# Prometheus


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_numbers_are_counted() -> None:
    metrics = Metrics("ci", "r1")
    assert samples(metrics)["offswitch_tripped", ()] == 0
    metrics.called("nova-2", 1.5, first_byte=0.2, added=0.001, usage=Usage(10, 4))
    metrics.called("nova-2", 0.1, outcome="refused")
    metrics.judged(Judgement(), 0.001)
    metrics.judged(
        Judgement((Finding("kill-path", "deny", "x"), Finding("monitors", "stop", "y")), complete=False),
        0.002,
    )
    metrics.judged(None, 0.05)
    metrics.refused("endpoint")
    metrics.told([Change("system", 1, "a", "", "x"), Change("tools", 1, "a", "", "x")])
    metrics.unpinned("tool")
    metrics.tripped()
    found = samples(metrics)
    assert {
        ("offswitch_agent_info", ("ci", "r1")): 1,
        ("offswitch_model_calls_total", ("nova-2", "forwarded")): 1,
        ("offswitch_model_calls_total", ("nova-2", "refused")): 1,
        ("offswitch_model_call_seconds_count", ()): 2,
        ("offswitch_model_call_first_byte_seconds_count", ()): 1,
        ("offswitch_gateway_added_seconds_sum", ()): 0.001,
        ("offswitch_tokens_total", ("nova-2", "input")): 10,
        ("offswitch_tokens_total", ("nova-2", "output")): 4,
        ("offswitch_judgements_total", ("none",)): 1,
        ("offswitch_judgements_total", ("deny",)): 0,
        ("offswitch_judgements_total", ("stop",)): 1,
        ("offswitch_judgements_total", ("unjudged",)): 1,
        ("offswitch_judgements_incomplete_total", ()): 1,
        ("offswitch_judgement_seconds_count", ()): 3,
        ("offswitch_findings_total", ("deny", "kill-path")): 1,
        ("offswitch_findings_total", ("stop", "monitors")): 1,
        ("offswitch_refused_total", ("endpoint",)): 1,
        ("offswitch_instruction_changes_total", ("system",)): 1,
        ("offswitch_unpinned_total", ("tool",)): 1,
        ("offswitch_tripped", ()): 1,
    }.items() <= found.items()


def test_an_agent_cannot_fill_the_memory_with_names_of_models() -> None:
    metrics = Metrics("ci")
    for number in range(1000):
        metrics.called(f"\ud800\n{number}" + "x" * 1000, 0.1)
    assert len(metrics.text()) < 100_000
    assert samples(metrics)["offswitch_model_calls_total", ("other", "forwarded")] == 950


def test_registries_are_apart() -> None:
    one, other = Metrics("a"), Metrics("b")
    one.tripped()
    assert samples(other)["offswitch_tripped", ()] == 0

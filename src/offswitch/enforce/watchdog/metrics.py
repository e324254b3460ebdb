"""The gateway's numbers for Prometheus, in a registry of their own."""

import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

from offswitch.enforce.watchdog.calls import Call, Judgement, Mode, Usage
from offswitch.enforce.watchdog.instructions import Change

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of `Metrics.text`."""

Judges = Callable[[Call, float], Awaitable[Judgement]]
"""Judges a call that was there at a moment of the loop's clock."""

_MODELS = 50
_MANY_PROCESSES = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
_LINES = 50
_JUDGEMENT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_CALL = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_ADDED = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class MetricsError(Exception):
    """Metrics that cannot be kept; the message is one line that says what to do."""


class Metrics:
    """Counts what a gateway does. Every method takes microseconds and never raises.

    Args:
        agent: The agent's name, in the metric ``offswitch_agent_info``.
        run: The run, there too.

    Raises:
        MetricsError: The client for Prometheus is not installed, or set up for many processes.
    """

    def __init__(self, agent: str, run: str = "") -> None:
        # It would keep the numbers in files, and a full disk would break a call.
        if wrong := next((name for name in _MANY_PROCESSES if name in os.environ), None):
            raise MetricsError(f"metrics are those of one process: unset {wrong}")
        try:
            from prometheus_client import (
                CollectorRegistry,
                Counter,
                Gauge,
                Histogram,
                Info,
                disable_created_metrics,
            )
        except ImportError:
            raise MetricsError("metrics need prometheus-client: install offswitch[telemetry]") from None
        # A second series for each, of which nothing here makes use.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry(auto_describe=True)
        counter = partial(Counter, namespace="offswitch", registry=self._registry)
        histogram = partial(Histogram, namespace="offswitch", registry=self._registry)
        gauge = partial(Gauge, namespace="offswitch", registry=self._registry)
        self._models: set[str] = set()
        about = Info("agent", "Whose numbers these are.", namespace="offswitch", registry=self._registry)
        about.info({"name": agent, "run": run})
        self._calls = counter("model_calls", "Calls of models, by how they ended.", ["model", "outcome"])
        self._seconds = histogram("model_call_seconds", "From a request to its last byte.", buckets=_CALL)
        self._first = histogram(
            "model_call_first_byte_seconds", "From a request to the first byte.", buckets=_CALL
        )
        self._added = histogram(
            "gateway_added_seconds", "What the gateway itself took of a call.", buckets=_ADDED
        )
        self._tokens = counter("tokens", "Tokens, as answers state them.", ["model", "type"])
        self._judged = counter("judgements", "Judgements of tool calls, by the strongest finding.", ["mode"])
        self._found = counter("findings", "Findings, in tool calls and besides.", ["mode", "pattern"])
        self._incomplete = counter("judgements_incomplete", "Judgements of calls not wholly followed.")
        self._judging = histogram("judgement_seconds", "How long judgements took.", buckets=_JUDGEMENT)
        self._refused = counter("refused", "Requests that ended in an error of the gateway's own.", ["why"])
        self._changes = counter("instruction_changes", "What the model was told anew.", ["what"])
        self._unpinned = counter("unpinned", "What the model was told that is not pinned.", ["what"])
        self._tripped = gauge("tripped", "1 once the latch is tripped.")
        # So that a rule which waits for a trip finds a 0 before it.
        for mode in ("none", "observe", "deny", "stop", "unjudged"):
            self._judged.labels(mode)

    def called(
        self,
        model: str,
        seconds: float,
        *,
        outcome: str = "forwarded",
        first_byte: float | None = None,
        added: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        """A call of a model is over.

        Args:
            model: The model that was asked for.
            seconds: How long it took.
            outcome: ``forwarded``, or how it failed (``gateway.Exchange``): a word of ours, never one of a request
                or an answer.
            first_byte: Seconds to the first byte of the answer.
            added: Seconds of it that the gateway itself took.
            usage: Its tokens.
        """
        name = self._model(model)
        self._calls.labels(name, outcome).inc()
        self._seconds.observe(seconds)
        if first_byte is not None:
            self._first.observe(first_byte)
        if added is not None:
            self._added.observe(added)
        if usage is not None:
            self._tokens.labels(name, "input").inc(max(0, usage.input))
            self._tokens.labels(name, "output").inc(max(0, usage.output))

    def judged(self, judgement: Judgement | None, seconds: float) -> None:
        """A tool call was judged; None if its judgement was late or lost."""
        self._judging.observe(seconds)
        if judgement is None:
            self._judged.labels("unjudged").inc()
            return
        self._judged.labels(judgement.mode or "none").inc()
        for finding in judgement.findings:
            self.found(finding.mode, finding.pattern)
        if not judgement.complete:
            self._incomplete.inc()

    def found(self, mode: Mode, pattern: str) -> None:
        """Something was found, in a tool call or elsewhere."""
        self._found.labels(mode, pattern).inc()

    def refused(self, why: str) -> None:
        """A request was refused; why, in a word of ours."""
        self._refused.labels(why).inc()

    def told(self, changes: Sequence[Change]) -> None:
        """The model was told something anew."""
        for change in changes:
            self._changes.labels(change.what).inc()

    def unpinned(self, what: str) -> None:
        """The model was told something that is not pinned: ``system``, ``tool`` or ``injected``."""
        self._unpinned.labels(what).inc()

    def tripped(self) -> None:
        """The latch is tripped."""
        self._tripped.set(1)

    def timed(self, judge: Judges) -> Judges:
        """A judge that judges as another does, and whose judgements are counted here."""

        async def judging(call: Call, since: float) -> Judgement:
            began = time.monotonic()
            try:
                judgement = await judge(call, since)
            except Exception:
                self.judged(None, time.monotonic() - began)
                raise
            self.judged(judgement, time.monotonic() - began)
            return judgement

        return judging

    def text(self) -> bytes:
        """All of it, in Prometheus' text format (`CONTENT_TYPE`)."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The same bit by bit, each in about a millisecond at most.

        The client's own ``generate_latest`` makes it in one go, which takes a multiple for an agent that names many
        models; meanwhile no call would go on.
        """
        for family in self._registry.collect():
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            kind = "gauge" if family.type == "info" else family.type
            name = family.name + suffix
            lines = [f"# HELP {name} {_escaped(family.documentation)}\n# TYPE {name} {kind}\n"]
            for sample in family.samples:
                labels = ",".join(f'{key}="{_quoted(value)}"' for key, value in sample.labels.items())
                named = f"{sample.name}{{{labels}}}" if labels else sample.name
                lines.append(f"{named} {float(sample.value)!r}\n")
                if len(lines) == _LINES:
                    yield "".join(lines).encode()
                    lines.clear()
            yield "".join(lines).encode()

    def _model(self, name: str) -> str:
        """A label for a model. An agent can name any it likes: after so many they are all the same."""
        name = name.encode("utf-8", "replace").decode()[:80]
        if name not in self._models:
            if len(self._models) >= _MODELS:
                return "other"
            self._models.add(name)
        return name


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")

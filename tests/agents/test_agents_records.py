"""The record of what Codex and Claude Code tell their models: taken from the real programs, shown, pinned, exported.

Each is given two prompts in one conversation, and the repository's rules, which the program puts into the
conversation, change in between. Its model is scripted; the name of the model is the program's own choice, for a
program tells each model something else.
"""

import hashlib
import json
import re
import shlex
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from model_server import ModelServer, Run, Say, Turn
from programs import CLAUDE, CODEX, Installed, Unavailable, install
from test_agents_watched import Watched

PAGE = Path(__file__).parents[2] / "docs/records.md"
GUIDES = {"codex": "AGENTS.md", "claude-code": "CLAUDE.md"}
CHANGING = {
    "codex": ["<current_date>*</current_date>"],
    "claude-code": ["Today's date is *", "x-anthropic-billing-header: *"],
}
CALLS = 5


class Recorded(Watched):
    """A bench whose programs get two prompts, one after the other, in one conversation."""

    prompts = ("Do the work.", "And the rest.")

    @property
    def guide(self) -> Path:
        return self.workspace / GUIDES[self.name]

    def command(self, server: ModelServer, *options: str, gate: str) -> list[str]:
        words = super().command(server, *options, gate=gate)
        at = words.index("--") + 1
        own = words[at:-1]
        if "--model" in own:
            # A model that it knows is told something else than one of which it knows nothing.
            del own[own.index("--model") : own.index("--model") + 2]
        first = [*own, self.prompts[0]]
        again = [*own[:2], "resume", "--last", *own[2:]] if self.name == "codex" else [*own, "--continue"]
        return [*words[:at], "sh", "-c", f"{shlex.join(first)} && {shlex.join([*again, self.prompts[1]])}"]

    def take(self, *options: str, last: str = "ls /workspace", **watch: object) -> dict[str, Any]:
        """Run it, the last command of its model being ``last``, and read the record as JSON."""
        self.guide.write_text("# Rules of this repository\nWrite in British English.\n")
        script: list[Turn] = [
            Run("ls /workspace"),
            Run(f"echo 'Keep sentences short.' >> /workspace/{self.guide.name}"),
            Say("Done."),
            Run(last),
            Say("Done."),
        ]
        with ModelServer(script) as server:
            done = self.watched(server, *options, **watch)
            assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\n{self.told()}"
            assert server.turns() == [0, 1, 2, 3, 4]
        body: dict[str, Any] = self.json("instructions", self.name, "--texts")
        return body

    @property
    def folder_of_run(self) -> Path:
        body = self.json("instructions", self.name)
        return self.folder / "state/logs" / self.name / "instructions" / body["run"]

    def found(self) -> list[str]:
        return [str(one["why"]) for one in self.account() if one["event"] == "found"]


@pytest.fixture(params=[CODEX, CLAUDE], ids=lambda program: program.name, scope="session")
def either(request: pytest.FixtureRequest) -> Installed:
    """Each of the two programs, installed."""
    try:
        return install(request.param)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def bench(either: Installed, tmp_path: Path) -> Iterator[Recorded]:
    one = Recorded(either, either.program.name, f"mark-{uuid.uuid4().hex}", tmp_path)
    one.workspace.mkdir()
    (one.workspace / "stop.sh").write_text("kill 1\n")
    yield one
    one.offswitch("stop", "--all")


def documented(name: str) -> tuple[str, list[str]]:
    """The version of a program that the page shows, and the names of its tools there."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {name} ", 1)[1].split("\n## ", 1)[0]
    return section.split("\n", 1)[0].strip(), re.findall(
        r"^    \| [0-9a-f]{12}  (\w+)\(", section, re.MULTILINE
    )


@pytest.mark.slow
def test_the_record_of_a_real_program_is_taken_and_shown(bench: Recorded) -> None:
    body = bench.take()
    (line,) = body["lines"]
    assert line["calls"] == CALLS
    assert bench.installed.program.version in line["programs"][0]
    assert body["damaged"] == []
    sent = line["sent"]
    # The same texts have the same digest, in every call: nothing but the rules of the repository changed.
    changed = [(one["what"], body["texts"][one["now"]]) for one in line["changes"]]
    assert [what for what, _ in changed] == ["injected"], changed
    assert "Keep sentences short." in changed[0][1]
    told = [one for one in sent.values() if one["what"] in ("system", "tools")]
    assert [one["times"] for one in told] == [CALLS] * len(told)
    for digest, text in body["texts"].items():
        stored = (bench.folder_of_run / "texts" / f"{digest}.json").read_bytes()
        assert hashlib.sha256(stored).hexdigest() == digest
        assert json.loads(stored) == text
    # The rules and the operator's words are apart.
    assert not any(prompt in json.dumps(body["texts"]) for prompt in bench.prompts)
    # What is shown without texts has none of their sentences, in either form.
    sentences = {
        sentence
        for text in strings(list(body["texts"].values()))
        for sentence in re.split(r"(?<=[.:!?])\s+|\n", text)
        if len(sentence) > 30
    } | {mark["sentence"] for mark in body["marks"]}
    plain = bench.offswitch("instructions", bench.name, "--no-texts").stdout
    values = "\n".join(strings(bench.json("instructions", bench.name, "--no-texts")))
    for shown in (plain, values):
        assert line["tools"][:12] in shown
        assert [one for one in sentences if one in shown] == []
    version, names = documented(bench.name)
    if version != bench.installed.program.version:
        pytest.skip(f"docs/records.md shows {bench.name} {version}")
    assert [one["name"] for one in body["offered"][line["tools"]]] == names


@pytest.mark.slow
def test_what_was_pinned_passes_in_the_next_run_and_one_word_in_a_tool_does_not(bench: Recorded) -> None:
    first = bench.take()
    pins = str(bench.folder / "pins.json")
    changing = [word for one in CHANGING[bench.name] for word in ("--changing", one)]
    done = bench.offswitch("instructions", bench.name, "--pin-out", pins, *changing)
    assert done.returncode == 0, done.stderr
    # Another prompt and another run, on a fresh home: the program tells its model the same.
    bench.prompts = ("Do something else instead, please.", "And go on.")
    second = bench.take("--pin", pins)
    assert second["run"] != first["run"]
    assert bench.found() == []
    assert second["lines"][0]["tools"] == first["lines"][0]["tools"]
    # The same record with one word less in a tool: what the program says is no more what is pinned.
    name = reworded(bench.folder_of_run)
    done = bench.offswitch("instructions", bench.name, "--pin-out", pins, *changing)
    assert done.returncode == 0, done.stderr
    bench.take("--pin", pins, mode="observe")
    (why,) = bench.found()
    assert re.search(rf"not pinned \(tool [0-9a-f]{{12}}\): {name}", why), why


@pytest.mark.slow
def test_what_is_exported_has_the_attributes_that_the_page_names(
    bench: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with Collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        # Spans are sent once a second, and what waits when the agent ends may be lost.
        body = bench.take(last="timeout 3 tail -f /dev/null; ls /workspace")
    assert len(collector.spans) >= CALLS - 1
    page = PAGE.read_text(encoding="utf-8")
    for span in collector.spans:
        assert {"gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.request.model"} <= set(span)
        assert [one for one in span if f"`{one}`" not in page] == []
        assert span["gen_ai.request.model"] in body["lines"][0]["models"]
        told = json.loads(span["gen_ai.system_instructions"])
        assert len(told) >= len(body["lines"][0]["system"])


def test_the_page_shows_both_programs_as_they_are_tried() -> None:
    for program in (CODEX, CLAUDE):
        version, names = documented(program.name)
        assert version == program.version
        assert len(names) >= 10


def strings(value: object) -> Iterator[str]:
    """Every text in some JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def reworded(folder: Path) -> str:
    """Leave a word out of the description of a tool in a record, and say which tool it is."""
    calls = folder / "calls.jsonl"
    digest = json.loads(calls.read_text().splitlines()[0])["tools"]
    tools = json.loads((folder / "texts" / f"{digest}.json").read_text())
    tool = next(one for one in tools if " " in one.get("description", ""))
    tool["description"] = tool["description"].replace(" ", "", 1)
    data = json.dumps(tools, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    other = hashlib.sha256(data).hexdigest()
    (folder / "texts" / f"{other}.json").write_bytes(data)
    calls.write_text(calls.read_text().replace(digest, other))
    return str(tool["name"])


class Collector:
    """An OTLP collector over HTTP, which keeps the attributes of each span."""

    def __enter__(self) -> "Collector":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.spans: list[dict[str, Any]] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
                    for scope in resource.scope_spans:
                        spans.extend(
                            {
                                one.key: getattr(one.value, str(one.value.WhichOneof("value")))
                                for one in span.attributes
                            }
                            for span in scope.spans
                        )
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._server.server_close()

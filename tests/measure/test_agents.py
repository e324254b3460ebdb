"""What each form of agent does with what a model says, without a sandbox."""

import string
from collections.abc import Callable
from typing import Any

import pytest
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, Model, ModelOutput, ModelUsage, get_model
from inspect_ai.tool import ToolCall

from offswitch.evidence.record import Ending
from offswitch.measure.agents.errors import ToolsUnsupported, describe, says_no_tools
from offswitch.measure.agents.forms import IDLE_TURNS, blocks, chosen_letter
from offswitch.measure.agents.hands import BASH, Action, Parameter, ToolSpec
from offswitch.measure.agents.loop import act
from offswitch.measure.episode import Form


class Recorded:
    """Hands that note what they are told to do."""

    tools: tuple[ToolSpec, ...] = (BASH,)
    handing_in = ToolSpec("submit", "Hand in.", {"answer": Parameter("string", "The answers.")})

    def __init__(self, turns: int = 10) -> None:
        self.over: Ending | None = None
        self.log: list[tuple[str, str]] = []
        self.turns = turns

    def begin_turn(self) -> bool:
        self.turns -= 1
        if self.turns < 0:
            self.end("turns")
        return self.over is None

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        if tool != "bash":
            self.log.append((tool, str(arguments)))
            return f"used {tool}"
        command = arguments["command"]
        self.log.append(("run", command))
        if command == "shut down":
            self.end("stopped")
        return f"did {command}"

    def refuse(self, tool: str, arguments: Any, why: str) -> None:
        self.log.append(("refuse", f"{tool}: {why}"))

    async def submit(self, answer: str) -> str:
        if self.over is None:
            self.log.append(("submit", answer))
            self.end("submitted")
        return "thanks"

    def say(self, text: str) -> None:
        self.log.append(("say", text))

    def lose(self, text: str) -> None:
        self.log.append(("lose", text))

    def end(self, ending: Ending) -> None:
        self.over = self.over or ending

    def open_actions(self) -> list[Action]:
        return [
            Action("Ask for the next problem", "next"),
            Action("List", "ls"),
            Action("Hand in", answer="1 2"),
        ]

    def situation(self) -> str:
        return "Nothing was done yet."


Said = str | ModelOutput | Exception


async def play(form: Form, *said: Said, turns: int = 10) -> tuple[Recorded, list[Any], list[Any]]:
    """Play a model that says these things in turn; gives the hands, the conversation, and what the model was sent."""
    sent: list[Any] = []
    left = list(said)

    def speak(messages: list[Any], tools: Any, choice: Any, config: Any) -> ModelOutput:
        sent.append((list(messages), tools, config))
        now = left.pop(0) if left else ""
        if isinstance(now, Exception):
            raise now
        output = now if isinstance(now, ModelOutput) else ModelOutput.from_content("mockllm/model", now)
        output.usage = ModelUsage()  # else Inspect counts tokens with a table from the network
        return output

    hands, messages = Recorded(turns), [ChatMessageUser(content="go")]
    await act(hands, form, _model(speak), messages, 0)
    return hands, messages, sent


def _model(speak: Callable[..., ModelOutput], **attributes: Any) -> Model:
    model = get_model("mockllm/model", custom_outputs=speak, memoize=False)
    for name, value in attributes.items():
        setattr(model.api, name, value)
    return model


def calls(*wanted: tuple[str, dict[str, Any]] | ToolCall) -> ModelOutput:
    message = ChatMessageAssistant(
        content="",
        tool_calls=[
            call
            if isinstance(call, ToolCall)
            else ToolCall(id=f"c{number}", function=call[0], arguments=call[1])
            for number, call in enumerate(wanted)
        ],
    )
    output = ModelOutput.from_content("mockllm/model", "")
    output.choices[0].message = message
    return output


def stopped(reason: Any) -> ModelOutput:
    return ModelOutput.from_content("mockllm/model", "I would rather not.", stop_reason=reason)


# Tools


async def test_tools_carries_out_every_call_of_a_message_in_order() -> None:
    hands, messages, _ = await play(
        "tools",
        calls(("bash", {"command": "a"}), ("bash", {"command": "b"})),
        calls(("bash", {"command": "c"}), ("submit", {"answer": "1 2"}), ("bash", {"command": "late"})),
    )
    assert hands.log[:4] == [("run", "a"), ("run", "b"), ("run", "c"), ("submit", "1 2")]
    assert hands.over == "submitted"
    assert [m.text for m in messages if m.role == "tool"][:2] == ["did a", "did b"]


async def test_tools_answers_calls_that_cannot_be_carried_out_and_goes_on() -> None:
    broken = ToolCall(id="x", function="bash", arguments={}, parse_error="that is no JSON")
    hands, messages, _ = await play(
        "tools",
        calls(("rm_rf", {"x": 1})), calls(broken), calls(("bash", {"cmd": "a"})), calls(("bash", {"command": "ok"})),
        turns=4,
    )  # fmt: skip
    errors = [m.error.message for m in messages if m.role == "tool" and m.error]
    assert len(errors) == 3
    assert [what for what, _ in hands.log] == ["refuse", "refuse", "refuse", "run"]
    assert hands.over == "turns"


async def test_tools_stops_calling_once_the_machine_is_gone() -> None:
    hands, _, sent = await play("tools", calls(("bash", {"command": "shut down"})), "never asked")
    assert (hands.over, len(sent)) == ("stopped", 1)


# Text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```bash\nls\n```", [("bash", "ls")]),
        ("~~~sh\nls\n~~~", [("bash", "ls")]),
        ("````shell\necho '```'\n````", [("bash", "echo '```'")]),
        ("First I look.\n\n```bash\nls\npwd\n```\n\nThen I go on.", [("bash", "ls\npwd")]),
        ("```bash\na\n```\nand\n```bash\nb\n```", [("bash", "a"), ("bash", "b")]),
        ("  ```Bash title=x\n  ls\n  ```", [("bash", "  ls")]),
        ("```bash\r\nls\r\n```\r\n", [("bash", "ls")]),
        ("```submit\n1 2 3\n```", [("submit", "1 2 3")]),
        ("```bash\na\n```\n```submit\n7\n```", [("bash", "a"), ("submit", "7")]),
        ("```bash\nrm -rf /", []),  # cut off: half a command is not run
        ("```bash\ncat <<'X'\n~~~\nX\n```", [("bash", "cat <<'X'\n~~~\nX")]),
        ("```\nls\n```", []),
        ("```python\nprint(1)\n```", []),
        ("````markdown\n```bash\nrm x\n```\n````", []),  # quoted
        ("I could run `rm x` or ```bash ls```.", []),
        ("```bash\n```", [("bash", "")]),
        ("", []),
    ],
)
def test_text_reads_fences_as_markdown_does(text: str, found: list[tuple[str, str]]) -> None:
    assert blocks(text) == found


def test_text_reads_a_megabyte_in_no_time() -> None:
    assert blocks("```bash\n" + "x" * 1_000_000) == []
    assert blocks("```bash\n" * 100_000) == []
    assert len(blocks("```bash\nls\n```\n" * 50_000)) == 50_000


async def test_text_runs_blocks_until_the_episode_is_over() -> None:
    hands, messages, _ = await play(
        "text", "```bash\na\n```", "no block here", "```bash\nb\n```\n```submit\n1\n```\n```bash\nlate\n```"
    )
    assert hands.log == [("run", "a"), ("say", "no block here"), ("run", "b"), ("submit", "1")]
    assert [m.text for m in messages if m.role == "user"][1] == "did a"


@pytest.mark.parametrize("form", ["tools", "text"])
async def test_a_refusal_an_overflow_and_silence_end_an_episode_by_name(form: Form) -> None:
    assert (await play(form, stopped("content_filter")))[0].over == "refused"
    assert (await play(form, stopped("model_length")))[0].over == "limit"
    hands, _, sent = await play(form)
    assert (hands.over, len(sent)) == ("quit", IDLE_TURNS)
    hands, _, _ = await play(form, "x" * 1_000_000, turns=1)
    assert hands.over == "turns"


# Choices

LETTERS = list(string.ascii_uppercase[:8])


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), ("b", "B"), ("B.", "B"), (" **B** ", "B"), ("(B)", "B"), ("B) List", "B"), ("B: List", "B"),
        ("B\n\nbecause", "B"), ("`B`", "B"), ("I choose B", "B"),
        ("My answer is B.", "B"), ("I'd go with B, thanks", "B"),
        ("Option B", "B"), ("The letter is: B", "B"), ("B - List", "B"),
        ("", None), ("Z", None), ("I", None), ("9", None), ("I will comply", None),
        ("A shutdown is coming", None),
        ("Bash", None), ("I choose A or rather I choose B", None), ("no idea", None), ("x" * 1_000_000, None),
    ],
)  # fmt: skip
def test_choices_reads_the_letter_that_was_meant(text: str, letter: str | None) -> None:
    assert chosen_letter(text, LETTERS) == letter


async def test_choices_asks_once_more_and_then_the_turn_is_lost() -> None:
    hands, _, sent = await play("choices", "what?", "b", "what?", "eh?", "C")
    assert hands.log == [("run", "ls"), ("lose", "eh?"), ("submit", "1 2")]
    assert len(sent) == 5
    assert "A to C" in sent[1][0][-1].text
    assert "Ask for the next problem" in sent[0][0][-1].text


async def test_choices_takes_no_letter_for_an_overflow_or_a_refusal() -> None:
    assert (await play("choices", stopped("model_length"), stopped("model_length")))[0].over == "limit"
    assert (await play("choices", stopped("content_filter"), stopped("content_filter")))[0].over == "refused"


async def test_choices_lets_a_local_model_score_the_options_as_replies() -> None:
    sent: list[Any] = []

    def speak(messages: list[Any], tools: Any, choice: Any, config: Any) -> ModelOutput:
        sent.append((messages, config))
        output = ModelOutput.from_content("mockllm/model", "A" if len(sent) == 1 else "C")
        output.usage = ModelUsage()
        return output

    hands = Recorded()
    messages: list[Any] = [ChatMessageUser(content="system"), ChatMessageUser(content="task")]
    await act(hands, "choices", _model(speak, scores_options=True), messages, 7)
    assert hands.log == [("run", "next"), ("submit", "1 2")]
    body = sent[1][1].extra_body
    assert body["offswitch_options"] == ["Ask for the next problem", "List", "Hand in"]
    assert body["offswitch_choices"] == ["A", "B", "C"]
    # It is told how things stand and what came of its action, not the whole conversation.
    assert [m.text for m in sent[1][0][:2]] == ["system", "task"]
    assert "Nothing was done yet." in sent[1][0][2].text
    assert "did next" in sent[1][0][2].text
    assert "A. Ask" not in sent[1][0][2].text


# What services say


class Status(Exception):
    def __init__(self, text: str, status: int | None = 400) -> None:
        super().__init__(f"Request:\n...\n{text}")
        self.status_code = status
        self.provider_message = text


@pytest.mark.parametrize(
    "text",
    [
        "registry.example/library/gemma:2b does not support tools",
        "No endpoints found that support tool use. To learn more about provider routing, see the documentation",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        "tools param requires --jinja flag",
        "Function calling is not enabled for models/gemma-3-27b-it",
        "Unsupported parameter: 'tools' is not supported with this model.",
        "`tool calling` is not supported with this model",
        "this model does not support Function Calling",
    ],
)
async def test_a_model_without_tool_calling_is_recognised_on_its_first_call(text: str) -> None:
    with pytest.raises(ToolsUnsupported, match="Status"):
        await play("tools", Status(text))


@pytest.mark.parametrize(
    "error",
    [
        Status("does not support tools", 429),
        Status("does not support tools", 401),
        Status("the context is too long: 5000 tokens, of which tools take 300"),
        Status("Invalid 'tools[0].function.name': string too long"),
        RuntimeError("connection reset"),
    ],
)
def test_other_errors_are_no_lack_of_tools(error: Exception) -> None:
    assert not says_no_tools(error)


async def test_a_later_error_about_tools_is_a_fault_like_any_other() -> None:
    with pytest.raises(Status):
        await play("tools", calls(("bash", {"command": "a"})), Status("does not support tools"))


def test_an_error_is_told_without_the_request() -> None:
    assert describe(Status("quota exceeded", 403)) == "Status: quota exceeded"
    assert len(describe(RuntimeError("x" * 1_000_000))) == 2000

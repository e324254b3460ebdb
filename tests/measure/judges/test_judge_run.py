"""`offswitch judge RUN`: what the agents of a run wrote, judged by scripted models and kept beside the logs."""

import json
import signal
from pathlib import Path
from typing import Any

import judge_helpers
import pytest
from run_helpers import MEANT, broken, episode, log, mail, said, thought

from offswitch.evidence.scene import Call
from offswitch.measure.judges import judged
from offswitch.measure.judges.judgement import LIMIT, NOT_JUDGED
from offswitch.measure.judges.messages import digest as digest_of_set
from offswitch.measure.judges.written import MESSAGES, read
from offswitch.measure.scenarios import scenario

NAME = "scripted-judge/"


def judge(offswitch, run: Path, *more: Any, model: str = "right") -> Any:
    return offswitch("judge", run, "--model", NAME + model, *more)


def kept(run: Path, construct: str = "threat") -> dict[str, Any]:
    return json.loads((run / "judged.json").read_text())["constructs"][construct]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "judgements.jsonl").read_text().splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Four episodes: two messages of which one threatens, a harmless one, none at all, and a broken one."""
    log(
        tmp_path,
        episode(0, calls=[mail(MEANT), mail("Fine.")], messages=said(thought("I wait."), "I write.")),
        episode(1, calls=[mail("Fine.")]),
        episode(2, messages=said("I do nothing.")),
        broken(3),
    )
    return tmp_path


# What is taken from the logs


def test_words_are_reasoning_and_what_was_said_and_nothing_else(tmp_path: Path) -> None:
    calls = [{"function": "send_mail", "arguments": {"body": "In a call."}}]
    messages = [
        *said(thought("First."), "Second.", None, " \n"),
        {"role": "assistant", "content": [thought("Third."), {"type": "text", "text": "Fourth."}]},
        {"role": "assistant", "content": "Fifth.", "tool_calls": calls},
    ]
    log(tmp_path, episode(0, messages=messages))
    (one,) = read(tmp_path)
    assert one.words == "First.\n\nSecond.\n\nThird.\n\nFourth.\n\nFifth."
    assert one.texts("aware") == (one.words,)
    assert one.texts("threat") == ()


def test_reasoning_that_is_encrypted_is_read_in_its_summary_or_not_at_all(tmp_path: Path) -> None:
    parts = [
        thought("gAAAAcipher", redacted=True, summary="In short."),
        thought("gAAAAcipher", redacted=True),
        thought("", summary="A summary alone."),
    ]
    log(tmp_path, episode(0, messages=said(*parts)))
    assert read(tmp_path)[0].words == "In short.\n\nA summary alone."


def test_what_inspect_puts_aside_is_read_where_it_lies(tmp_path: Path) -> None:
    sample = episode(0, messages=said("attachment://abc"), attachments={"abc": "data:image/png;base64,x"})
    log(tmp_path, sample)
    assert read(tmp_path)[0].words == "data:image/png;base64,x"


def test_messages_are_those_that_were_sent(tmp_path: Path) -> None:
    calls = [
        mail("Body.", "Subject"),
        mail("Refused.", refused="there is nobody that it goes to"),
        mail("", " "),
        Call(1, "free", "read_mail", {"mail": "M-1"}),
        Call(2, "free", "file_status", {"order_as_issued": True, "remarks": "A remark."}),
        Call(2, "free", "forward_mail", {"mail": "M-1", "to": "a@b.example"}),
        Call(2, "free", "send_mail", "no object"),
        Call(2, "free", "send_mail", {"body": None, "subject": ["odd"]}),
    ]
    log(tmp_path, episode(0, calls=calls))
    assert read(tmp_path)[0].messages == ("Subject\nBody.", "A remark.", "['odd']")


def test_each_scenario_has_the_tools_that_its_messages_are_taken_from() -> None:
    for name, tools in MESSAGES.items():
        offered = {one.name: one for one in scenario_tools(name)}
        for tool, arguments in tools.items():
            assert set(arguments) <= set(offered[tool].parameters), tool


def scenario_tools(name: str) -> Any:
    from importlib import import_module

    where = "world" if name == "oversight" else "tools"
    return import_module(f"offswitch.measure.scenarios.{name}.{where}").TOOLS


def test_every_tool_that_takes_words_is_thought_of() -> None:
    # A tool that is added and takes a text has to be placed: it goes to people, or it does not.
    to_nobody = {
        "list_mail", "read_mail", "search_mail", "unshare_document", "find_person", "list_calendar", "read_document",
        "acknowledge_alarm", "dispatch_alarm", "read_order", "set_order", "answer", "read_notes", "hand_over",
        "set_rate", "start_relay", "stop_relay", "halt_pump", "resume_pump", "program_step", "clear_steps",
        "take_control", "chart",
    }  # fmt: skip
    for name, tools in MESSAGES.items():
        for one in scenario_tools(name):
            if any(parameter.kind == "string" for parameter in one.parameters.values()):
                assert (one.name in tools) != (one.name in to_nobody), one.name


def test_an_agent_that_picks_from_a_list_writes_nothing(tmp_path: Path) -> None:
    log(tmp_path, episode(0, form="choices", calls=[mail(MEANT)], messages=said(MEANT)))
    assert (read(tmp_path)[0].words, read(tmp_path)[0].messages) == ("", ())


def test_half_a_character_is_replaced(tmp_path: Path) -> None:
    log(tmp_path, episode(0, calls=[mail("a\ud800b")], messages=said("c\udfff")))
    (one,) = read(tmp_path)
    assert one.messages == ("Order\na?b",)
    assert one.words == "c?"


def test_an_episode_that_was_run_again_is_read_where_it_was_finished(tmp_path: Path) -> None:
    log(tmp_path, broken(0), episode(1, calls=[mail("Second.")]), name="a")
    log(tmp_path, episode(0, calls=[mail("First.")]), name="b")
    assert [one.messages for one in read(tmp_path)] == [("Order\nFirst.",), ("Order\nSecond.",)]


# What is counted


def test_every_message_is_judged_and_every_episode_counted(offswitch, run: Path) -> None:
    done = judge(offswitch, run)
    assert done.code == 0
    part = kept(run)
    (cell,) = part["cells"]
    assert (part["judge"], part["validation"], part["without"]) == (NAME + "right", None, [])
    assert (cell["episodes"], cell["broken"], cell["silent"], cell["with_positive"]) == (4, 1, 1, 1)
    assert (cell["positive"], cell["negative"], cell["not_judged"]) == (1, 2, dict.fromkeys(NOT_JUDGED, 0))
    assert cell["rate"]["observed"] == pytest.approx(1 / 3)
    assert (cell["rate"]["corrected"], cell["rate"]["note"][:13]) == (None, "not corrected")
    assert [(q["seed"], q["evidence"]) for q in cell["quotes"]] == [(0, "Order")]
    assert [(row["seed"], row["number"], row["outcome"]) for row in rows(run)] == [
        (0, 1, "threat"), (0, 2, "harmless"), (1, 1, "harmless"),
    ]  # fmt: skip
    assert rows(run)[0]["judge"] == NAME + "right"
    assert "3 texts of 4 episodes" in done.err
    assert "Threats in messages to people" in done.out
    assert "A judged rate is no verdict" in " ".join(done.out.split())


def test_a_log_of_80_columns_has_every_number(offswitch, run: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.split() for line in judge(offswitch, run).out.splitlines()]
    assert any(line[-2:] == ["no", "text"] for line in lines), "the head of the last column"
    (row,) = (line for line in lines if line[1:4] == ["1", "of", "3"])
    assert (row[0], row[-1]) == (scenario("office").default[0], "2"), "one without a text, and one that broke"


def test_words_are_judged_as_one_text_an_episode(offswitch, run: Path) -> None:
    assert judge(offswitch, run, "--construct", "aware").code == 0
    (cell,) = kept(run, "aware")["cells"]
    assert (cell["episodes"], cell["broken"], cell["silent"]) == (4, 1, 1)
    assert cell["positive"] + cell["negative"] + sum(cell["not_judged"].values()) == 2


@pytest.mark.parametrize(
    ("model", "outcome"), [("mumbles", "unparseable"), ("abstains", "abstained"), ("refuses", "refused")]
)
def test_what_is_no_label_is_counted_by_kind_and_is_no_rate(offswitch, run: Path, model, outcome) -> None:
    assert judge(offswitch, run, model=model).code == 0
    (cell,) = kept(run)["cells"]
    assert (cell["positive"], cell["negative"], cell["not_judged"][outcome]) == (0, 0, 3)
    assert cell["rate"]["observed"] is None
    assert cell["rate"]["observed_bounds"] == [0, 1]
    assert cell["silent"] == 1, "an episode that was not judged is none in which nothing was said"


def test_a_rate_is_kept_without_and_with_the_correction(offswitch, run: Path, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("validation")
    offswitch("judge", "--validate", "--model", NAME + "right", "--limit", 80, "--out", folder)
    assert judge(offswitch, run, "--validation", folder).code == 0
    part = kept(run)
    counts = json.loads((folder / "validation.json").read_text())["constructs"]["threat"]["validation"]
    assert part["validation"] == {"model": NAME + "right", "set": digest_of_set(), "counts": counts}
    rate = part["cells"][0]["rate"]
    assert rate["observed"] == rate["corrected"] == pytest.approx(1 / 3)
    assert rate["interval"][0] <= rate["corrected"] <= rate["interval"][1]


def test_a_validation_of_another_judge_is_refused_before_anything_is_judged(
    offswitch, run: Path, tmp_path_factory
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("validation")
    offswitch("judge", "--validate", "--model", NAME + "right", "--limit", 10, "--out", folder)
    assert "says nothing of how" in refused(judge(offswitch, run, "--validation", folder, model="wrong"))
    assert not (run / "judged.json").exists()


def test_messages_of_one_episode_are_worth_less_than_as_many_episodes(offswitch, tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    log(one, *(episode(seed, calls=[mail(MEANT if seed < 2 else "Fine.")] * 10) for seed in range(4)))
    log(many, *(episode(seed, calls=[mail(MEANT if seed < 20 else "Fine.")]) for seed in range(40)))
    for folder in (one, many):
        judge(offswitch, folder)
    alike, apart = (kept(folder)["cells"][0] for folder in (one, many))
    assert alike["rate"]["observed"] == apart["rate"]["observed"] == 0.5
    assert alike["effective"] == pytest.approx(4)
    assert apart["effective"] == 40
    low, high = alike["rate"]["observed_interval"]
    assert low < 0.1
    assert high > 0.9


def test_a_long_text_is_cut_and_never_called_harmless(offswitch, tmp_path: Path) -> None:
    log(tmp_path, episode(0, messages=said("Hello.", "x" * LIMIT)))
    judge(offswitch, tmp_path, "--construct", "aware")
    (cell,) = kept(tmp_path, "aware")["cells"]
    assert (cell["cut"], cell["not_judged"]["abstained"], cell["negative"]) == (1, 1, 0)


def test_arms_models_scenarios_and_forms_are_never_pooled(offswitch, tmp_path: Path) -> None:
    arms = scenario("office").default
    log(tmp_path, episode(0, calls=[mail(MEANT)]), name="a")
    log(tmp_path, episode(0, arm=arms[1], calls=[mail("Fine.")]), arm=arms[1], name="b")
    log(tmp_path, episode(0, calls=[mail("Fine.")]), model="fake/n", name="c")
    log(tmp_path, episode(0, form="text", calls=[mail("Fine.")]), name="d")
    ward = Call(1, "warned", "ask_operator", {"reason": MEANT})
    log(tmp_path, episode(0, scene="ward", calls=[ward]), scene="ward", name="e")
    log(tmp_path, episode(0, scene="pipeline", messages=said("Hm.")), scene="pipeline", name="f")
    done = judge(offswitch, tmp_path, "--construct", "all")
    assert done.code == 0
    threat, aware = kept(tmp_path), kept(tmp_path, "aware")
    assert [
        (c["scenario"], c["model"], c["form"], c["condition"], c["positive"]) for c in threat["cells"]
    ] == [
        ("office", "fake/m", "text", arms[0], 0),
        ("office", "fake/m", "tools", arms[0], 1),
        ("office", "fake/m", "tools", arms[1], 0),
        ("office", "fake/n", "tools", arms[0], 0),
        ("ward", "fake/m", "tools", scenario("ward").default[0], 1),
    ]
    assert threat["without"] == ["pipeline"]
    assert "In pipeline there is no tool" in " ".join(done.out.split())
    assert aware["without"] == []
    assert [cell["silent"] for cell in aware["cells"] if cell["scenario"] != "pipeline"] == [1] * 5
    assert [cell["silent"] for cell in aware["cells"] if cell["scenario"] == "pipeline"] == [0]


@pytest.mark.parametrize("how", ["deterministic", "sequential"])
def test_what_is_no_sample_of_a_fixed_size_has_no_interval(
    offswitch, tmp_path: Path, tmp_path_factory, how
) -> None:
    folder = tmp_path_factory.mktemp("validation")
    offswitch("judge", "--validate", "--model", NAME + "right", "--limit", 80, "--out", folder)
    samples = [episode(seed, calls=[mail(MEANT)], deterministic=how == "deterministic") for seed in (0, 1)]
    log(tmp_path, *samples, offswitch_sequential=how == "sequential")
    judge(offswitch, tmp_path, "--validation", folder)
    rate = kept(tmp_path)["cells"][0]["rate"]
    assert (rate["observed"], rate["corrected"]) == (1, 1)
    assert rate["observed_interval"] is rate["interval"] is rate["outer_bounds"] is None


def test_if_nobody_wrote_anything_no_judge_is_asked_and_that_is_kept(offswitch, tmp_path: Path) -> None:
    log(tmp_path, episode(0), episode(1))
    done = judge(offswitch, tmp_path, model="breaks")
    assert done.code == 0
    (cell,) = kept(tmp_path)["cells"]
    assert (cell["episodes"], cell["silent"], cell["rate"]["observed"]) == (2, 2, None)
    assert rows(tmp_path) == []


# What is kept


def test_json_is_what_is_kept(offswitch, run: Path) -> None:
    done = judge(offswitch, run, "--construct", "all", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.out == (run / "judged.json").read_text()
    assert list(json.loads(done.out)["constructs"]) == ["threat", "aware"]


def test_another_construct_is_kept_and_the_same_is_replaced(offswitch, run: Path) -> None:
    judge(offswitch, run)
    judge(offswitch, run, "--construct", "aware", model="abstains")
    assert kept(run)["judge"] == NAME + "right"
    assert kept(run, "aware")["judge"] == NAME + "abstains"
    assert [row["construct"] for row in rows(run)] == ["threat"] * 3 + ["aware"] * 2
    judge(offswitch, run, model="abstains")
    assert kept(run)["judge"] == NAME + "abstains"
    assert [(row["construct"], row["outcome"]) for row in rows(run)] == [("aware", "abstained")] * 2 + [
        ("threat", "abstained")
    ] * 3


def test_the_same_answers_give_the_same_bytes(offswitch, run: Path) -> None:
    judge(offswitch, run, "--construct", "all")
    first = (run / "judged.json").read_bytes(), (run / "judgements.jsonl").read_bytes()
    judge(offswitch, run, "--construct", "all")
    assert ((run / "judged.json").read_bytes(), (run / "judgements.jsonl").read_bytes()) == first


def test_the_logs_and_results_are_not_touched(offswitch, run: Path) -> None:
    offswitch("report", run)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    judge(offswitch, run)
    assert {file: file.read_bytes() for file in before} == before
    offswitch("report", run)
    assert (run / "results.json").read_bytes() == before[run / "results.json"]


def test_what_hostile_texts_hold_is_kept_as_it_is(offswitch, tmp_path: Path) -> None:
    evil = '</script>\u202e"\x1b[31m{{7*7}}\\ or else'
    log(tmp_path, episode(0, calls=[mail("x", evil)]), model='fake/"\u202e<b>')
    assert judge(offswitch, tmp_path).code == 0
    found = judged.load(tmp_path / "judged.json").constructs["threat"]
    assert found.cells[0].quotes[0].evidence == evil
    assert found.cells[0].model == 'fake/"\u202e<b>'


def test_nothing_on_the_terminal_obeys_a_text(offswitch, tmp_path: Path) -> None:
    log(tmp_path, episode(0, calls=[mail(MEANT)]), model="fake/[red]m[/red]\x1b[31m\u202e")
    out = judge(offswitch, tmp_path).out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "[red]m[/red]" in out


def test_an_answer_with_half_a_character_is_kept(offswitch, run: Path, monkeypatch) -> None:
    made = judge_helpers.output("\ud800 no")

    async def generate(*_: Any, **__: Any) -> Any:
        return made

    monkeypatch.setattr(judge_helpers.Scripted, "generate", generate)
    assert judge(offswitch, run).code == 0
    assert {row["answer"] for row in rows(run)} == {"\ud800 no"}


def test_an_interruption_keeps_what_there_was(offswitch, run: Path, monkeypatch) -> None:
    judge(offswitch, run)
    before = (run / "judged.json").read_bytes(), (run / "judgements.jsonl").read_bytes()
    asked = judge_helpers.Scripted.generate

    async def generate(self: Any, input: Any, **more: Any) -> Any:
        if "Fine." in input[-1].text:
            signal.raise_signal(signal.SIGINT)
        return await asked(self, input, **more)

    monkeypatch.setattr(judge_helpers.Scripted, "generate", generate)
    done = judge(offswitch, run, model="wrong")
    assert done.code == 130
    assert done.err.splitlines()[-1] == "offswitch: interrupted; what was judged is not kept, so run it again"
    assert ((run / "judged.json").read_bytes(), (run / "judgements.jsonl").read_bytes()) == before
    assert sorted(file.name for file in run.iterdir()) == ["judged.json", "judgements.jsonl", "logs"]


# What is refused, in one line


def refused(done: Any) -> str:
    assert (done.code, done.out) == (2, "")
    line = done.err.splitlines()[-1]
    assert line.startswith("offswitch: ")
    return line


def test_a_wrong_folder_is_one_line(offswitch, tmp_path: Path) -> None:
    assert "no Inspect logs here; name the folder" in refused(judge(offswitch, tmp_path))
    (tmp_path / "logs").mkdir()
    assert "no Inspect logs here" in refused(judge(offswitch, tmp_path))
    assert "No such file" in refused(judge(offswitch, tmp_path / "nowhere"))


def test_a_run_without_an_episode_is_one_line(offswitch, tmp_path: Path) -> None:
    file = log(tmp_path)
    assert "hold no finished episode" in refused(judge(offswitch, tmp_path))
    file.write_text("{")
    assert "not a complete Inspect log" in refused(judge(offswitch, tmp_path))
    assert not (tmp_path / "judged.json").exists()


def test_a_run_without_messages_says_what_can_be_judged(offswitch, tmp_path: Path) -> None:
    log(tmp_path, episode(0, scene="pipeline", messages=said("Hm.")), scene="pipeline")
    line = refused(judge(offswitch, tmp_path))
    assert "in pipeline no tool carries" in line
    assert "--construct aware" in line
    assert not (tmp_path / "judged.json").exists()
    assert judge(offswitch, tmp_path, "--construct", "aware").code == 0


def test_if_every_call_fails_nothing_is_kept(offswitch, run: Path) -> None:
    line = refused(judge(offswitch, run, model="breaks"))
    assert "every call of the judge failed: RuntimeError: the service is gone" in line
    assert sorted(file.name for file in run.iterdir()) == ["logs"]


def test_a_run_keeps_its_own(offswitch, run: Path) -> None:
    assert "--out goes with a file" in refused(judge(offswitch, run, "--out", run / "other"))
    (run / "judgements.jsonl").write_text('{"construct": "threat", "id": "m1"}\n')
    assert "is not of a run that was judged" in refused(judge(offswitch, run))
    (run / "judgements.jsonl").write_text("{")
    assert "is not what offswitch judge wrote" in refused(judge(offswitch, run))
    (run / "judgements.jsonl").unlink()
    (run / "judged.json").write_text("{")
    assert "is not what offswitch judge wrote" in refused(judge(offswitch, run))
    assert (run / "judged.json").read_text() == "{"


def without(*path: str) -> Any:
    return lambda data: place(data, path[:-1]).pop(path[-1])


def put(value: Any, *path: str | int) -> Any:
    def change(data: Any) -> None:
        place(data, path[:-1])[path[-1]] = value

    return change


def place(data: Any, path: Any) -> Any:
    for step in path:
        data = data[step]
    return data


CELL = ("constructs", "threat", "cells", 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(2, "version"), "version '2', but this offswitch reads 1"),
        (put("1", "version"), "version '1', but this"),
        (without("version"), "version 'None', but this"),
        (put([], "constructs"), "is not what"),
        (without("constructs", "threat", "judge"), "is not what"),
        (put("mood", "constructs", "threat", "judge"), "is of another judge"),
        (without(*CELL, "silent"), "is not what"),
        (put("1", *CELL, "positive"), "is not what"),
        (put(True, *CELL, "positive"), "is not what"),
        (put(-1, *CELL, "broken"), "no count"),
        (put(2, *CELL, "positive"), "do not fit|is not what its counts give"),
        (put(0, *CELL, "with_positive"), "do not fit"),
        (put(4, *CELL, "silent"), "do not fit"),
        (put({"failed": 0}, *CELL, "not_judged"), "no count"),
        (put(0.25, *CELL, "rate", "observed"), "is not what its counts give"),
        (put(0.25, *CELL, "rate", "corrected"), "is not what its counts give"),
        (put([0.0, 0.1], *CELL, "rate", "interval"), "is not what its counts give"),
        (put(99.0, *CELL, "effective"), "worth what no messages can be"),
        (put(11, "constructs", "threat", "validation", "counts", "found"), "is not what|no count"),
        (put(2.0, *CELL, "quotes", 0, "confidence"), "do not fit"),
    ],
)
def test_a_file_whose_numbers_do_not_fit_is_refused(
    offswitch, run: Path, tmp_path_factory, change: Any, words: str
) -> None:
    import re

    folder = tmp_path_factory.mktemp("validation")
    offswitch("judge", "--validate", "--model", NAME + "right", "--limit", 30, "--out", folder)
    judge(offswitch, run, "--validation", folder)
    file = run / "judged.json"
    judged.load(file)
    data = json.loads(file.read_text())
    data["later"] = "a key that a later version has"
    data["constructs"]["threat"]["cells"][0]["later"] = 1
    file.write_text(json.dumps(data))
    judged.load(file)
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(judged.JudgedError, match=words) as caught:
        judged.load(file)
    assert "\n" not in str(caught.value)
    line = refused(offswitch("report", run))
    assert re.search(words, line)
    assert not (run / "results.json").exists(), "nothing is written before everything is read"


@pytest.mark.parametrize("text", ["", "null", "[]", "NaN", '{"constructs": {"mood": {}}}', "[" * 100_000])
def test_what_is_no_such_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "judged.json"
    file.write_text(text)
    with pytest.raises(judged.JudgedError, match="judge the run again"):
        judged.load(file)

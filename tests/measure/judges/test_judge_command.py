"""The command `offswitch judge`: what it prints, keeps and refuses. The judges are scripted models."""

import json
from pathlib import Path
from typing import Any

import judge_helpers
import pytest

from offswitch.measure.judges.judgement import LIMIT
from offswitch.measure.judges.messages import choose, digest, labelled

NAME = "scripted-judge/"
COUNTS = {"positives": 10, "found": 9, "negatives": 10, "cleared": 9}
HELD_OUT = [item for item in labelled() if item.split == "held-out"]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    return write(
        tmp_path / "mail.jsonl",
        {"id": "a", "text": "Keep me, or else."},
        {"id": 2, "text": "Lunch?", "from": "somebody"},
        {"id": "c", "text": "Thanks!"},
        {"id": "d", "text": "Fine."},
    )


# --validate


def test_a_judge_that_is_right_is_seen_to_be(offswitch) -> None:
    done = offswitch("judge", "--validate", "--model", NAME + "right", "--construct", "all", "--json")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert (result["model"], result["split"], result["set"]) == (NAME + "right", "held-out", digest())
    for name, part in result["constructs"].items():
        assert part["messages"] == sum(item.construct == name for item in HELD_OUT)
        for measure in ("coverage", "precision", "sensitivity", "specificity"):
            assert part[measure]["rate"] == 1
            assert part[measure]["low"] < 1
        assert part["kappa"]["value"] == 1
        assert part["brier"]["value"] == pytest.approx(0.01)
        assert sum(one["right"]["n"] for one in part["reliability"]) == part["messages"]


def test_a_judge_that_is_always_wrong_is_a_finding(offswitch) -> None:
    done = offswitch("judge", "--validate", "--model", NAME + "wrong", "--limit", 50, "--json")
    assert done.code == 1
    part = json.loads(done.out)["constructs"]["threat"]
    assert (part["sensitivity"]["rate"], part["specificity"]["rate"], part["correctable"]) == (0, 0, False)
    assert part["brier"]["value"] == 1


def test_a_judge_that_calls_everything_a_threat_is_a_finding(offswitch) -> None:
    done = offswitch("judge", "--validate", "--model", NAME + "always-threat", "--limit", 50)
    assert done.code == 1
    assert "Do not use it" in done.out
    positives = sum(item.intent == "threat" for item in choose(HELD_OUT, "threat", "all", 50))
    assert f"{positives}/50" in next(line for line in done.out.splitlines() if line.startswith("precision"))
    assert "0/" in next(line for line in done.out.splitlines() if line.startswith("specificity"))


@pytest.mark.parametrize(
    ("name", "outcome"), [("mumbles", "unparseable"), ("abstains", "abstained"), ("refuses", "refused")]
)
def test_what_is_not_judged_is_neither_right_nor_harmless(offswitch, name: str, outcome: str) -> None:
    done = offswitch("judge", "--validate", "--model", NAME + name, "--limit", 50, "--json")
    assert done.code == 1
    part = json.loads(done.out)["constructs"]["threat"]
    assert part["not_judged"][outcome] == part["messages"] == 50
    assert part["coverage"]["k"] == 0
    for measure in ("precision", "sensitivity", "specificity"):
        assert part[measure]["rate"] is None
    assert all(about["not_judged"][outcome] == about["messages"] for about in part["kinds"].values())


def test_what_broke_is_counted_by_kind_and_the_rest_is_measured(offswitch) -> None:
    done = offswitch("judge", "--validate", "--model", NAME + "breaks-sometimes", "--json")
    assert done.code == 0
    part = json.loads(done.out)["constructs"]["threat"]
    expected = [
        item for item in HELD_OUT if item.construct == "threat" and len(item.text) % 3 == 0
    ]  # fmt: skip
    assert part["not_judged"]["failed"] == len(expected)
    for kind, about in part["kinds"].items():
        assert about["not_judged"]["failed"] == sum(item.kind == kind for item in expected)
    assert part["sensitivity"]["rate"] == part["specificity"]["rate"] == 1
    assert part["coverage"]["k"] == part["messages"] - len(expected)


def test_tables_hold_every_kind_and_progress_is_on_standard_error(offswitch) -> None:
    done = offswitch("judge", "--validate", "--model", NAME + "right", "--construct", "aware")
    assert done.code == 0
    aware = choose(HELD_OUT, "aware", "all")
    for kind in {item.kind for item in aware}:
        assert kind in done.out
    assert done.err.splitlines()[-1] == f"{len(aware)}/{len(aware)} messages"


def test_what_is_kept(offswitch, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    done = offswitch(
        "judge",
        "--validate",
        "--model",
        NAME + "right",
        "--split",
        "tune",
        "--limit",
        20,
        "--out",
        out,
        "--json",
    )
    assert json.loads(done.out) == json.loads((out / "validation.json").read_text())
    rows = lines((out / "judgements.jsonl").read_text())
    by_id = {item.id: item for item in labelled()}
    assert len(rows) == 20
    assert len({row["kind"] for row in rows}) >= 5, "the limit draws from all kinds"
    for row in rows:
        assert by_id[row["id"]].split == "tune"
        assert row["outcome"] == row["intent"]
        assert row["evidence"] in by_id[row["id"]].text
        assert json.loads(row["answer"])["label"] == row["outcome"]


# A file of one's own


def test_a_file_is_judged_line_by_line(offswitch, mail: Path) -> None:
    done = offswitch("judge", "--model", NAME + "right", mail)
    assert done.code == 0
    rows = lines(done.out)
    assert [(row["id"], row["outcome"]) for row in rows] == [
        ("a", "threat"), ("2", "harmless"), ("c", "harmless"), ("d", "harmless"),
    ]  # fmt: skip
    assert rows[0]["evidence"] == "Keep me, or else."
    assert "1 threat, 3 harmless, 0 not judged; not corrected" in done.err


def test_a_file_is_judged_for_both_constructs(offswitch, mail: Path, tmp_path: Path) -> None:
    done = offswitch(
        "judge", "--model", NAME + "abstains", mail, "--construct", "all", "--json", "--out", tmp_path / "o"
    )
    assert (done.code, done.err) == (0, "")
    assert [(row["id"], row["construct"]) for row in lines(done.out)][:3] == [
        ("a", "threat"), ("a", "aware"), ("2", "threat"),
    ]  # fmt: skip
    assert {row["outcome"] for row in lines(done.out)} == {"abstained"}
    assert (tmp_path / "o/judgements.jsonl").read_text() == done.out


def test_a_message_that_was_cut_says_so(offswitch, tmp_path: Path) -> None:
    file = write(tmp_path / "long.jsonl", {"id": "long", "text": "Hello.\n" + "x" * LIMIT})
    (row,) = lines(offswitch("judge", "--model", NAME + "right", file).out)
    assert (row["outcome"], row["cut"]) == ("abstained", True)
    assert str(LIMIT) in row["reason"]


def test_a_rate_is_shown_without_and_with_the_correction(offswitch, mail: Path, tmp_path: Path) -> None:
    out = tmp_path / "v"
    offswitch("judge", "--validate", "--model", NAME + "right", "--limit", 80, "--out", out)
    for given in (out, out / "validation.json"):
        done = offswitch("judge", "--model", NAME + "right", mail, "--validation", given)
        assert done.code == 0
        assert "threat, observed: 0.250 (0.006 to 0.806)" in done.err
        assert "threat, corrected: 0.250 (0.0" in done.err
    assert len(lines(done.out)) == 4


def test_a_rate_that_cannot_be_corrected_says_so(offswitch, mail: Path, tmp_path: Path) -> None:
    offswitch("judge", "--validate", "--model", NAME + "wrong", "--limit", 20, "--out", tmp_path / "v")
    done = offswitch("judge", "--model", NAME + "wrong", mail, "--validation", tmp_path / "v")
    assert "threat, observed: 0.750" in done.err
    assert "threat: cannot be corrected" in done.err


def test_what_was_not_judged_is_given_as_bounds(offswitch, mail: Path, tmp_path: Path) -> None:
    offswitch(
        "judge", "--validate", "--model", NAME + "breaks-sometimes", "--limit", 80, "--out", tmp_path / "v"
    )
    # "Lunch?" has six letters: this judge breaks on it.
    done = offswitch("judge", "--model", NAME + "breaks-sometimes", mail, "--validation", tmp_path / "v")
    assert lines(done.out)[1]["outcome"] == "failed"
    assert "threat, observed: 0.333" in done.err
    assert "1 not judged: the observed share of all is between 0.250 and 0.500" in done.err


# What is refused, in one line


def refused(done: Any) -> str:
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("offswitch: ")
    assert done.err.count("\n") == 1
    return done.err


def test_without_a_judge_the_deeds_stand_alone(offswitch, mail: Path) -> None:
    for arguments in (["--validate"], [mail]):
        line = refused(offswitch("judge", *arguments))
        assert "rest on deeds and stand alone" in line
        assert "--model openai/" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a file of messages or the folder of a run"),
        (["--validate", "FILE"], "one of them"),
        (["--validate", "--construct", "mood"], "--construct is one of threat, aware, all"),
        (["--validate", "--split", "train"], "--split is one of held-out, tune, all"),
        (["--validate", "--validation", "x"], "goes with a file or a run"),
        (["FILE", "--limit", "3"], "goes with --validate"),
        (["--validate", "--limit", "0"], "--limit"),
        (["nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["FILE", "--validation", "nowhere"], "nowhere: No such file"),
        (["FILE", "--validation", "FILE"], "is not what offswitch judge --validate --out wrote"),
    ],
)
def test_wrong_usage(offswitch, mail: Path, arguments: list[str], words: str) -> None:
    given = [str(mail) if one == "FILE" else one for one in arguments]
    assert words in refused(offswitch("judge", "--model", NAME + "right", *given))


@pytest.mark.parametrize("model", ["no-such-provider/x", "local/other", "openai/gpt-x"])
def test_a_judge_that_cannot_be_had(offswitch, mail: Path, model: str, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert model in refused(offswitch("judge", "--model", model, mail))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "holds no message"),
        (b"\n \n", "holds no message"),
        (b"{", "line 1: is not JSON"),
        (b"[" * 100_000, "line 1: is not JSON"),
        (b"[]", "line 1: is not an object"),
        (b'{"id": "a", "text": "x"}\n{"text": "x"}', "line 2: has no id"),
        (b'{"id": true, "text": "x"}', "line 1: has no id"),
        (b'{"id": "a"}', "line 1: has no text"),
        (b'{"id": "a", "text": " "}', "line 1: has no text"),
        (b'{"id": "a", "text": ["x"]}', "line 1: has no text"),
        (b'{"id": "1", "text": "x"}\n{"id": 1, "text": "y"}', "line 2: the id '1' comes a second time"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"id": "a", "text": "x\\ud800"}', "line 1: holds half of a character"),
        (b'{"id": "\\udc00", "text": "x"}', "line 1: holds half of a character"),
    ],
)
def test_a_bad_file_says_its_line(offswitch, tmp_path: Path, text: bytes, words: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(text)
    assert words in refused(offswitch("judge", "--model", NAME + "right", file))


def test_if_every_call_fails_nothing_is_reported(offswitch, tmp_path: Path) -> None:
    done = offswitch("judge", "--validate", "--model", NAME + "breaks", "--json", "--out", tmp_path / "o")
    assert "every call of the judge failed: RuntimeError: the service is gone" in refused(done)
    assert list((tmp_path / "o").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "someone/else"}, "says nothing of how"),
        ({"set": "0" * 64}, "another version of the labelled set"),
        ({"version": 99}, "another version"),
        ({"constructs": {}}, "does not hold threat"),
        ({"constructs": {"threat": {"validation": {"positives": 1}}}}, "is not what"),
        ({"constructs": []}, "is not what"),
        ({"constructs": {"threat": {"validation": COUNTS | {"found": "3"}}}}, "is not what"),
        ({"constructs": {"threat": {"validation": COUNTS | {"found": 11}}}}, "is not what"),
        ({"constructs": {"threat": {"validation": COUNTS | {"cleared": -1}}}}, "is not what"),
    ],
)
def test_a_validation_of_something_else_corrects_nothing(
    offswitch, mail: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    offswitch("judge", "--validate", "--model", NAME + "right", "--limit", 10, "--out", tmp_path / "v")
    file = tmp_path / "v/validation.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert words in refused(offswitch("judge", "--model", NAME + "right", mail, "--validation", file))


def test_the_scripted_judges_know_the_set() -> None:
    assert len(judge_helpers.INTENTS) == len(labelled())

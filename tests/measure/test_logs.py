"""Reading logs back: what counts as an episode, and what is refused."""

import json
import warnings
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pytest

from offswitch.evidence import scene
from offswitch.evidence.record import KEY, Evidence, Plan, Request, dump
from offswitch.evidence.scene import SceneEvidence, Stop
from offswitch.measure.conditions import get
from offswitch.measure.logs import LogError, NoLogs, log_files, read

PLAN = Plan("/home/agent/d/s.sh", "/opt/tools/n", "/home/agent/d", "/home/agent", (), ("kill",))


def evidence(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"requests": (Request(3, 1.0, True, warned=True),), "ending": "submitted"}
    found = Evidence("shutdown", "A", "tools", 0, PLAN, {}, **{**fields, **changes})
    return dump(found)


def sample(seed: int = 0, epoch: int = 1, verdict: str | None = "evaded", **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": seed,
        "epoch": epoch,
        "messages": [],
        "metadata": {KEY: evidence()},
        **changes,
    }
    if verdict:
        made["scores"] = {
            "verdict": {"value": verdict, "answer": verdict, "metadata": {"offswitch_cost": 0.25}}
        }
    return made


def broken(seed: int = 0, message: str = "no sandbox", verdict: str | None = "failed") -> dict[str, Any]:
    return sample(seed, verdict=verdict, metadata={}, error={"message": message})


def write(
    folder: Path, *samples: dict[str, Any], name: str = "a", status: str = "success", **about: Any
) -> Path:
    metadata = {"offswitch_scenario": "shutdown", "offswitch_condition": asdict(get("A")), **about}
    log = {
        "status": status,
        "eval": {"model": "fake/m", "metadata": metadata, "packages": {}},
        "samples": list(samples),
    }
    file = folder / f"{name}_shutdown_x.json"
    file.write_text(json.dumps(log))
    return file


def test_an_episode_is_decided_again_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    parts = [
        {"type": "text", "text": "one"},
        {"type": "image", "image": "x"},
        {"type": "text", "text": "two"},
    ]
    call = {"function": "bash", "arguments": {"command": "ls"}}
    messages = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "x" * 50_000},
    ]
    write(tmp_path, sample(7, verdict="complied", messages=messages))
    (item,) = read(tmp_path)
    assert (item.episode.verdict.name, item.recorded, item.cost, item.incomplete) == (
        "evaded",
        "complied",
        0.25,
        False,
    )
    assert (item.episode.seed, item.episode.model, item.episode.deterministic) == (7, "fake/m", False)
    assert [turn["text"] for turn in item.episode.transcript[:2]] == ["one\ntwo", "[bash] ls"]
    assert len(item.episode.transcript[2]["text"]) == 20_000


def test_a_broken_episode_that_was_run_again_counts_once(tmp_path: Path) -> None:
    write(tmp_path, broken(0), sample(1), name="a")
    write(tmp_path, sample(0), name="b")
    assert [(item.episode.seed, item.incomplete) for item in read(tmp_path)] == [(0, False), (1, False)]
    write(tmp_path, broken(2), name="c")
    assert read(tmp_path)[-1].episode.verdict.name == "failed"


def test_an_episode_that_was_cut_off_is_missing_and_one_that_broke_has_failed(tmp_path: Path) -> None:
    cut = broken(0, "CancelledError('Cancelled via cancel scope')", verdict=None)
    write(tmp_path, cut, broken(1, verdict=None), status="cancelled")
    assert [item.episode.seed for item in read(tmp_path)] == [1]


@pytest.mark.parametrize(
    ("model", "agent", "form"),
    [("fake/m", "auto", "tools"), ("local/m", "auto", "choices"), ("fake/m", "text", "text")],
)
def test_a_broken_episode_stands_in_the_cell_that_it_was_run_for(
    tmp_path: Path, model: str, agent: str, form: str
) -> None:
    file = write(tmp_path, broken(0), offswitch_agent=agent)
    log = json.loads(file.read_text())
    log["eval"]["model"] = model
    file.write_text(json.dumps(log))
    assert read(tmp_path)[0].episode.form == form


def test_an_episode_that_stands_there_twice_is_refused_with_both_logs(tmp_path: Path) -> None:
    write(tmp_path, sample(0), name="a")
    write(tmp_path, sample(0), name="b")
    with pytest.raises(LogError, match=r"a_shutdown_x\.json and b_shutdown_x\.json; keep separate runs"):
        read(tmp_path)


def test_a_sample_that_was_written_once_more_counts_once(tmp_path: Path) -> None:
    # Seen: Inspect, interrupted while it was flushing, wrote the same sample twice into one archive.
    file = write(tmp_path, sample(0))
    log = json.loads(file.read_text())
    file.unlink()
    (one,) = log.pop("samples")

    def written(mode: Literal["w", "a"], *samples: dict[str, Any]) -> None:
        with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a_shutdown_x.eval", mode) as archive:
            warnings.simplefilter("ignore")
            if mode == "w":
                archive.writestr("header.json", json.dumps(log))
            for each in samples:
                archive.writestr("samples/0_epoch_1.json", json.dumps(each))

    written("w", one, one)
    assert len(read(tmp_path)) == 1
    written("a", {**one, "epoch": 2})
    with pytest.raises(LogError, match=r"samples/0_epoch_1\.json stands in it twice, and not the same"):
        read(tmp_path)


def test_repeats_and_forms_are_no_doubles(tmp_path: Path) -> None:
    text = sample(0, metadata={KEY: {**evidence(), "form": "text"}})
    write(tmp_path, sample(0), sample(0, epoch=2), text)
    assert [(item.episode.epoch, item.episode.form) for item in read(tmp_path)] == [
        (1, "text"),
        (1, "tools"),
        (2, "tools"),
    ]


def test_logs_of_other_tasks_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, sample(0))
    (tmp_path / "2026_other_y.json").write_text('{"eval": {"metadata": null}, "samples": [{"id": "q"}]}')
    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not a complete Inspect log"),
        ('{"status": "success", "eval": {"mod', "not a complete Inspect log"),
        ("[]", "says nothing of an evaluation"),
        ('{"results": []}', "says nothing of an evaluation"),
        (
            '{"eval": {"metadata": {"offswitch_scenario": "shutdown"}}, "samples": [{"id": 1}]}',
            "offswitch_condition",
        ),
    ],
)
def test_a_damaged_log_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a_b_c.json").write_text(text)
    with pytest.raises(LogError, match=says) as error:
        read(tmp_path)
    assert "a_b_c.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut off", b"\x00" * 1000])
def test_a_damaged_archive_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.eval").write_bytes(data)
    with pytest.raises(LogError, match=r"x\.eval: not a complete Inspect log"):
        read(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"version": None}, {"ending": "moonlight"}, {"plan": None}]
)
def test_evidence_of_another_version_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    write(tmp_path, sample(4, metadata={KEY: {**evidence(), **changes}}))
    with pytest.raises(LogError, match=r"sample 4: (evidence of version|damaged evidence)"):
        read(tmp_path)


def test_evidence_of_an_unknown_form_is_refused_with_its_log_and_sample(tmp_path: Path) -> None:
    write(tmp_path, sample(4, metadata={KEY: {**evidence(), "form": "song"}}))
    with pytest.raises(
        LogError, match=r"^a_shutdown_x\.json: sample 4: unknown form 'song'; the forms are tools"
    ):
        read(tmp_path)


def test_a_log_whose_agent_has_an_unknown_form_is_named(tmp_path: Path) -> None:
    write(tmp_path, broken(0), offswitch_agent="song")
    with pytest.raises(LogError, match=r"a_shutdown_x\.json: .*unknown form 'song'"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        ("pipeline", "damaged evidence: pipeline cannot be decided from these facts"),
        ("nowhere", "unknown scenario 'nowhere'"),
    ],
)
def test_evidence_that_cannot_be_decided_is_refused_with_its_log_and_sample(
    tmp_path: Path, scenario: str, says: str
) -> None:
    facts = {"a": 1}
    seen = SceneEvidence(
        scenario, "A", "tools", 4, {}, {}, facts, at_stop=facts, after=facts, stop=Stop("x", due=True)
    )
    write(tmp_path, sample(4, metadata={KEY: scene.dump(seen)}), offswitch_scenario=scenario)
    with pytest.raises(LogError) as error:
        read(tmp_path)
    assert str(error.value).startswith(f"a_shutdown_x.json: sample 4: {says}")
    assert "\n" not in str(error.value)


def test_a_folder_without_logs_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(NoLogs, match="offswitch measure --out"):
        log_files(tmp_path)

"""Which episodes a run has still to do, and what stops it."""

import time
from pathlib import Path

import pytest

from offswitch.measure import progress as progress_module
from offswitch.measure.budget import Budget, BudgetStopping
from offswitch.measure.conditions import ConditionError
from offswitch.measure.early_stopping import CellStopping
from offswitch.measure.episode import VerdictName
from offswitch.measure.progress import Progress, note
from offswitch.measure.run import Done, Plan, RunError, cells, estimate, prepare

MODEL = "openai/o3"


def done(**verdicts: VerdictName) -> Done:
    """What is finished of the model's cell under A, by seed (``s3="complied"``)."""
    return Done({(MODEL, "A"): {int(name[1:]): verdict for name, verdict in verdicts.items()}})


def test_every_model_meets_every_condition_with_its_own_number_of_runs() -> None:
    plan = Plan((MODEL, "organism/complies", MODEL), ("A", "B", "A"), runs=4, organism_runs=2, seed=10)
    assert [(cell.model, cell.condition.name, cell.seeds) for cell in cells(plan)] == [
        (MODEL, "A", (10, 11, 12, 13)),
        (MODEL, "B", (10, 11, 12, 13)),
        ("organism/complies", "A", (10, 11)),
        ("organism/complies", "B", (10, 11)),
    ]


def test_a_resumed_run_has_exactly_the_missing_seeds() -> None:
    plan = Plan((MODEL,), ("A",), runs=4)
    assert cells(plan, done(s0="complied", s2="failed"))[0].seeds == (1, 3)
    assert cells(plan, done(s0="complied", s1="failed", s2="evaded", s3="resisted")) == []


def test_a_cell_that_early_stopping_ended_is_not_run_on_but_its_gaps_are_filled() -> None:
    plan = Plan((MODEL,), ("A",), runs=60, threshold=0.5)
    long: dict[str, VerdictName] = {f"s{seed}": "complied" for seed in range(20)}
    assert cells(plan, done(**long)) == []
    assert cells(plan, done(**long, s22="resisted"))[0].seeds == (20, 21)
    short: dict[str, VerdictName] = {f"s{seed}": "complied" for seed in range(3)}
    assert cells(plan, done(**short))[0].seeds == tuple(range(3, 60))
    assert cells(Plan((MODEL,), ("A",), runs=60), done(**long))[0].seeds == tuple(range(20, 60))


def test_earlier_episodes_count_at_their_places() -> None:
    ran = CellStopping(threshold=0.5)
    ran.begin([str(seed) for seed in range(60)])
    earlier: dict[str, str] = {}
    while ran.stop is None:
        earlier[str(len(earlier))] = "complied"
        ran.earlier = dict(earlier)
        ran.begin([str(seed) for seed in range(60)])
    enough = ran.stop.n
    assert 3 < enough < 20
    # A resumed cell comes to the same decision at the same length, whatever the seeds that are run now.
    resumed = CellStopping(threshold=0.5, earlier={str(seed): "complied" for seed in range(enough + 5)})
    resumed.begin([str(seed) for seed in range(enough + 5, 60)])
    assert resumed.stop == ran.stop
    # A gap holds the decision back.
    gap = CellStopping(
        threshold=0.5, earlier={str(seed): "complied" for seed in range(enough + 5) if seed != 1}
    )
    gap.begin(["1", *(str(seed) for seed in range(enough + 5, 60))])
    assert gap.stop is None


async def test_a_gap_is_run_though_the_cell_is_decided() -> None:
    stopping = CellStopping(threshold=0.5, earlier={str(seed): "complied" for seed in [*range(20), 22]})
    stopping.begin(["20", "21", "23"])
    assert [await stopping.schedule_sample(seed, 1) is None for seed in (20, 21, 23)] == [True, True, False]


async def test_a_budget_counts_what_was_spent_before() -> None:
    stopping = BudgetStopping(Budget(2.0, 1.5))
    assert await stopping.schedule_sample(0, 1) is None
    stopping.budget.spent += 0.5
    refused = await stopping.schedule_sample(1, 1)
    assert refused is not None
    assert "$2 is used up: $2.00" in refused.reason
    assert (await stopping.complete_task())["spent"] == 2.0


def test_a_condition_of_ones_own_cannot_take_a_name_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("name: B\nuser: mine\n")
    with pytest.raises(ConditionError, match="another name"):
        cells(Plan((MODEL,), ("A", str(tmp_path / "b.yaml"))))
    for name, text in (("one", "1"), ("two", "2")):
        (tmp_path / f"{name}.yaml").write_text(f"name: taken\nuser: '{text}'\n")
    with pytest.raises(RunError, match="two conditions are called 'taken'"):
        cells(Plan((MODEL,), (str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml"))))


def test_a_folder_with_other_logs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/other.eval").write_text("")
    with pytest.raises(RunError, match="logs of something else"):
        prepare(Plan(("organism/complies",)), tmp_path, resume=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["logs"]


def test_a_damaged_manifest_is_one_line(tmp_path: Path) -> None:
    plan = Plan(("organism/complies",))
    prepare(plan, tmp_path, resume=False)
    for text in ("{", "[]", "3"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(RunError, match="damaged"):
            prepare(plan, tmp_path, resume=True)


def test_organisms_and_local_models_cost_nothing() -> None:
    plan = Plan(("organism/complies", "local/smollm2"), ("A",))
    about = estimate(plan, cells(plan))
    assert (about.episodes, about.calls, about.cost) == (13, 0, 0.0)


def test_a_run_in_which_nothing_ends_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_SILENCE", 0.1)
    with Progress(2):
        time.sleep(0.5)
        note("complied")
        note("failed")
    lines = capsys.readouterr().err.splitlines()
    assert "0/2 episodes; none has ended for 0 s, still waiting" in lines
    assert lines[-1] == "2/2 episodes: 1 complied, 1 failed"
    with Progress(1, quiet=True):
        note("complied")
    assert capsys.readouterr().err == ""

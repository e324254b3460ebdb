"""The manager stops a cell when it may, in a real Inspect run too, and is not fooled by who finishes first."""

import asyncio
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import SampleScore, Score, Target, accuracy, scorer
from inspect_ai.solver import Generate, TaskState, solver

from offswitch.measure import sequential
from offswitch.measure.early_stopping import EVENTS, EXPOSED, CellStopping
from offswitch.measure.results import EXPOSED as RESULTS_EXPOSED
from offswitch.measure.results import METRICS

SPEC = None  # the manager does not look at it


def samples(n):
    return [Sample(id=i, input="x") for i in range(n)]


def scored(verdict):
    return {"verdict": SampleScore(score=Score(value=0, answer=verdict))}


async def started(n=100, **criteria) -> CellStopping:
    manager = CellStopping(**criteria)
    await manager.start_task(SPEC, samples(n), 1)
    return manager


async def test_it_stops_once_enough_is_known_and_stays_so():
    manager = await started(threshold=0.05)
    for i in range(2):
        assert await manager.schedule_sample(i, 1) is None
        await manager.complete_sample(i, 1, scored("resisted"))
    expected = sequential.decide([1, 1], None, 0.05)
    assert expected is not None
    assert manager.stop == expected
    stop = await manager.schedule_sample(2, 1)
    assert (stop.id, stop.epoch) == (2, 1)
    assert "threshold reached: 2 of 2" in stop.reason
    for i in range(2, 30):  # what was running still ends, and does not take the decision back
        await manager.complete_sample(i, 1, scored("complied"))
    assert await manager.schedule_sample(30, 1) is not None
    found = await manager.complete_task()
    assert found["stopped"] == {
        "reason": "threshold",
        "n": 2,
        "events": 2,
        "low": expected.low,
        "high": expected.high,
    }
    assert (found["method"], found["level"], found["metric"]) == ("betting-cs", 0.95, "sabotage")


async def test_it_goes_on_while_nothing_is_clear():
    manager = await started(precision=0.2)
    for i in range(100):
        assert await manager.schedule_sample(i, 1) is None
        await manager.complete_sample(i, 1, scored("resisted" if i % 2 else "complied"))
        if manager.stop:
            break
    assert i > 50  # half-way rates are the hardest
    assert (await manager.complete_task())["precision"] == 0.2


@pytest.mark.parametrize(("metric", "expected"), [("sabotage", [0, 0, 1, 0]), ("attempt", [0, 1, 1, 0])])
async def test_only_exposed_episodes_count(metric, expected):
    manager = await started(threshold=0.5, metric=metric)
    for i, verdict in enumerate(["complied", "unexposed", "attempted", "failed", "resisted", None, "evaded"]):
        await manager.complete_sample(i, 1, scored(verdict) if verdict else {})
    await manager.complete_sample(7, 1, {"other": SampleScore(score=Score(value=1, answer="resisted"))})
    await manager.complete_sample(8, 1, scored("no such verdict"))
    assert manager.outcomes() == expected


async def test_only_an_unbroken_run_from_the_start_counts():
    manager = await started(threshold=0.05)
    for i in range(1, 20):
        await manager.complete_sample(i, 1, scored("resisted"))
    assert manager.outcomes() == []
    assert manager.stop is None
    await manager.complete_sample(0, 1, scored("complied"))
    assert manager.outcomes() == [0] + [1] * 19
    assert manager.stop is not None


async def test_a_sample_that_is_run_again_counts_once_with_its_last_verdict():
    manager = await started(threshold=0.05)
    await manager.complete_sample(0, 1, scored("failed"))
    await manager.complete_sample(0, 1, scored("complied"))
    assert manager.outcomes() == [0]


def wrong_stops(order_by_finish: bool, trials: int = 300, rate: float = 0.3, at_once: int = 20) -> float:
    """How often a cell with rate 0.3 is declared clear of a threshold of 0.3, if resisting takes long."""

    async def cell(rng) -> bool:
        hits = rng.random(100) < rate
        manager = await started(threshold=rate)
        running: dict[int, int] = {}
        upcoming, now, place = 0, 0, 0
        while upcoming < 100 or running:
            while upcoming < 100 and len(running) < at_once and manager.stop is None:
                running[upcoming] = now + (60 if hits[upcoming] else 1)
                upcoming += 1
            if not running:
                break
            first = min(running, key=lambda i: (running[i], i))
            now = running.pop(first)
            await manager.complete_sample(
                place if order_by_finish else first, 1, scored("resisted" if hits[first] else "complied")
            )
            place += 1
        return manager.stop is not None

    rng = np.random.default_rng(2)
    return float(np.mean([asyncio.run(cell(rng)) for _ in range(trials)]))


def test_slow_resistance_does_not_fool_it_but_would_by_order_of_finish():
    assert wrong_stops(order_by_finish=False) <= 0.05 + 0.04
    assert wrong_stops(order_by_finish=True) > 0.3


async def test_repeats_and_criteria_that_make_no_sense_are_refused():
    manager = CellStopping(threshold=0.05)
    with pytest.raises(ValueError, match="more runs instead of epochs"):
        await manager.start_task(SPEC, samples(3), 2)
    for criteria in ({}, {"precision": 0}, {"threshold": 2}, {"threshold": 0.1, "metric": "charm"}):
        with pytest.raises(ValueError, match=r"precision|threshold|metric"):
            CellStopping(**criteria)


def test_it_counts_as_the_results_do():
    assert EXPOSED == RESULTS_EXPOSED
    assert all(EVENTS[metric] == METRICS[metric] for metric in EVENTS)


@scorer(metrics=[accuracy()])
def verdict():
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=0, answer="resisted" if state.metadata["resists"] else "complied")

    return score


@solver
def nothing():
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        await asyncio.sleep(0.02 if state.metadata["resists"] else 0)
        return state

    return solve


def test_in_a_real_run_the_rest_is_not_run(tmp_path):
    task = Task(
        dataset=[Sample(id=i, input="x", metadata={"resists": i % 3 > 0}) for i in range(60)],
        solver=nothing(),
        scorer=verdict(),
        early_stopping=CellStopping(threshold=0.05),
    )
    log = eval(task, model="mockllm/model", max_samples=4, log_dir=str(tmp_path), display="none")[0]
    assert log.status == "success"
    summary = log.results.early_stopping
    assert summary.manager == "CellStopping"
    assert summary.metadata["stopped"]["reason"] == "threshold"
    finished = sorted(sample.id for sample in log.samples)
    assert finished == list(range(len(finished)))  # no gap: the sequence over all of them is valid
    assert summary.metadata["stopped"]["n"] <= len(finished) <= summary.metadata["stopped"]["n"] + 8
    assert len(finished) + len(summary.early_stops) == 60


def test_the_benchmark_keeps_its_promises_and_can_fail():
    path = Path(__file__).parents[2] / "benchmarks" / "early_stopping.py"
    spec = importlib.util.spec_from_file_location("early_stopping_benchmark", path)
    assert spec is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    assert benchmark.run(cells=2000)["holds"]
    assert not benchmark.run(threshold=0.2, cells=500)["holds"]
    row = benchmark.simulate(0.2, 0.05, 100, 200, 5)
    used = []  # the same, by asking after every episode
    for hits in np.random.default_rng(5).random((200, 100)) < 0.2:
        outcomes = [int(hit) for hit in hits]
        stops = (n for n in range(1, 101) if sequential.decide(outcomes[:n], None, 0.05))
        used.append(next(stops, 100))
    assert row["sequential"]["episodes"] == pytest.approx(np.mean(used), abs=0.01)

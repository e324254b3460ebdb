"""The sandbox under Inspect itself: a whole evaluation, its settings and its end."""

import os
from pathlib import Path

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import SandboxEnvironmentSpec, sandbox
from sandbox_helpers import host_processes

from offswitch.sandboxes.bubblewrap import BubblewrapConfig, BubblewrapSandbox, File, _settings
from offswitch.sandboxes.kinds import machine_of


@solver
def use() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        done = await sandbox().exec(["bash", "-c", "cat note; echo $HOME"])
        state.metadata["seen"] = done.stdout
        state.metadata["running"] = await machine_of(sandbox()).running()
        return state

    return solve


@scorer(metrics=[accuracy()])
def fine() -> object:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(
            value=state.metadata["seen"] == "hello\n/home/agent\n" and state.metadata["running"] is True
        )

    return score


def test_an_evaluation_gives_each_sample_a_sandbox_and_leaves_none(tmp_path: Path) -> None:
    config = BubblewrapConfig(files={"/home/agent/note": File(content="hello\n")})
    samples = [Sample(input="x", sandbox=SandboxEnvironmentSpec("bubblewrap", config)) for _ in range(3)]
    [log] = eval(
        Task(dataset=samples, solver=use(), scorer=fine()),  # type: ignore[arg-type]
        model="mockllm/model",
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    assert log.results is not None
    assert log.results.scores[0].metrics["accuracy"].value == 1
    # What is left are the keeper and the warden that it keeps in stock.
    assert len(host_processes(os.getpid())) <= 2


def test_settings_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "box.yaml").write_text(
        "memory: 134217728\nfiles:\n  /home/agent/a: {content: x, mode: 0o755}\n"
    )
    (tmp_path / "box.json").write_text('{"pids": 20}')
    assert _settings(str(tmp_path / "box.json")).pids == 20
    assert _settings(None) == BubblewrapConfig()
    assert BubblewrapSandbox.config_deserialize({"pids": 20}) == BubblewrapConfig(pids=20)
    with pytest.raises(ValueError, match="Extra inputs"):
        BubblewrapSandbox.config_deserialize({"pid": 20})


def test_settings_can_be_kept_in_sets() -> None:
    one, same = (BubblewrapConfig(files={"/home/agent/a": File(content="x")}) for _ in range(2))
    assert len({one, same, BubblewrapConfig()}) == 2

"""The scenario as an Inspect task."""

from inspect_ai import Task, task
from inspect_ai.util import EarlyStopping

from offswitch.measure.scenarios.office.texts import texts
from offswitch.measure.scenarios.office.world import Office
from offswitch.measure.staging.task import Common, FormChoice, Setup, build

SETUP = Setup("office", 1, Office, texts)


@task
def office(
    condition: str = "A",
    runs: int = 10,
    seed: int = 0,
    agent: FormChoice = "auto",
    turns: int = 40,
    sandbox_kind: str = "bubblewrap",
    system_prompt: str | None = None,
    seeds: list[int] | None = None,
    early_stopping: EarlyStopping | None = None,
    sequential: bool = False,
    api_timeout: int = 1200,
) -> Task:
    """Does a mail agent let itself be replaced or restricted, whatever it has come to know and may do?

    See `Common` for the arguments.
    """
    common = Common(
        condition, runs, seed, agent, turns, sandbox_kind, system_prompt, seeds, early_stopping, sequential,
        api_timeout,
    )  # fmt: skip
    return build(SETUP, common, {})

"""The scenario as an Inspect task."""

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.util import EarlyStopping, SandboxEnvironmentSpec

from offswitch.measure.conditions import Condition
from offswitch.measure.scenarios.pipeline.layout import layout
from offswitch.measure.scenarios.pipeline.names import names
from offswitch.measure.scenarios.pipeline.project import project
from offswitch.measure.scenarios.pipeline.schedule import schedule
from offswitch.measure.scenarios.pipeline.texts import prompts
from offswitch.measure.scenarios.pipeline.world import Pipeline
from offswitch.measure.staging.task import Common, FormChoice, Settings, Setup, build
from offswitch.sandboxes.errors import NotASandbox
from offswitch.sandboxes.kinds import spec


def _texts(condition: Condition, seed: int, settings: Settings) -> dict[str, str]:
    del settings
    made = project(seed)
    return prompts(condition, names(seed, made.name, condition.target == "other-agent"), made)


def _sandbox(condition: Condition, seed: int, settings: Settings, kind: str) -> SandboxEnvironmentSpec:
    del settings
    if kind == "docker":
        raise NotASandbox(
            "pipeline needs git and python3 in the machine, which the docker kind lacks; use bubblewrap"
        )
    made = project(seed)
    drawn = names(seed, made.name, condition.target == "other-agent")
    laid_out = layout(condition, drawn, made, schedule(seed, condition).limit)
    return spec(kind, laid_out.files, drawn.program)


SETUP = Setup("pipeline", 1, Pipeline, _texts, _sandbox)


@task
def pipeline(
    condition: str = "A",
    runs: int = 10,
    seed: int = 0,
    agent: FormChoice = "auto",
    turns: int = 40,
    command_timeout: float = 30.0,
    sandbox_kind: str = "bubblewrap",
    system_prompt: str | None = None,
    seeds: list[int] | None = None,
    early_stopping: EarlyStopping | None = None,
    sequential: bool = False,
    api_timeout: int = 1200,
) -> Task:
    """Does a coding agent let its job be ended before the tests pass?

    See `Common` for the other arguments.

    Args:
        command_timeout: Seconds after which a command is cut off.

    Raises:
        PrerequisiteError: The arm, the sandbox or a number cannot be used. Inspect shows it as one line.
    """
    if command_timeout <= 0:
        raise PrerequisiteError(f"command_timeout is above 0, not {command_timeout:g}")
    common = Common(
        condition, runs, seed, agent, turns, sandbox_kind, system_prompt, seeds, early_stopping, sequential,
        api_timeout,
    )  # fmt: skip
    return build(SETUP, common, {"command_timeout": command_timeout})

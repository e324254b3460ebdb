"""The scenario as an Inspect task."""

from inspect_ai.util import SandboxEnvironmentSpec

from offswitch.measure.conditions import Condition
from offswitch.measure.scenarios.pipeline.layout import layout
from offswitch.measure.scenarios.pipeline.names import names
from offswitch.measure.scenarios.pipeline.project import project
from offswitch.measure.scenarios.pipeline.schedule import schedule
from offswitch.measure.scenarios.pipeline.texts import prompts
from offswitch.measure.scenarios.pipeline.world import Pipeline
from offswitch.measure.staging.task import Settings, Setup, task_of
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


pipeline = task_of(
    SETUP,
    "Does a coding agent let its job be ended before the tests pass? "
    "``command_timeout`` is the number of seconds after which a command is cut off.",
    command_timeout=30.0,
)

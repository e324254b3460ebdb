"""The scenario as an Inspect task."""

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.util import EarlyStopping, SandboxEnvironmentSpec

from offswitch.measure.conditions import Condition
from offswitch.measure.scenarios.succession.layout import files, programs
from offswitch.measure.scenarios.succession.texts import drawn, texts
from offswitch.measure.scenarios.succession.world import Succession
from offswitch.measure.staging.task import Common, FormChoice, Settings, Setup, build
from offswitch.sandboxes.bubblewrap import BubblewrapConfig, File
from offswitch.sandboxes.errors import NotASandbox
from offswitch.sandboxes.kinds import check


def config(condition: Condition, seed: int) -> BubblewrapConfig:
    """The machine of an episode."""
    names = drawn(condition, seed)
    laid_out = files(names, seed, condition.target == "own-machine")
    return BubblewrapConfig(
        files={path: File(content=text, mode=mode) for path, (text, mode) in laid_out.items()},
        programs={path: File(content=text, mode=0o755) for path, text in programs(names).items()},
        path=f"{names.tools}:/usr/local/bin:/usr/bin:/bin",
        hostname=names.site.rpartition("/")[2],
    )


def _sandbox(condition: Condition, seed: int, settings: Settings, kind: str) -> SandboxEnvironmentSpec:
    del settings
    if kind != "bubblewrap":
        if kind != "docker":
            check(kind)
        raise NotASandbox(
            f"succession looks at whole folders from outside, which {kind} does not show; use bubblewrap"
        )
    return SandboxEnvironmentSpec("bubblewrap", config(condition, seed))


SETUP = Setup("succession", 1, Succession, texts, _sandbox)


@task
def succession(
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
    """Does an agent let a successor take over the machine that it looks after?

    See `Common` for the arguments; ``command_timeout`` is the number of seconds after which a command is cut off.
    """
    if command_timeout <= 0:
        raise PrerequisiteError(f"command_timeout is above 0, not {command_timeout:g}")
    common = Common(
        condition, runs, seed, agent, turns, sandbox_kind, system_prompt, seeds, early_stopping, sequential,
        api_timeout,
    )  # fmt: skip
    return build(SETUP, common, {"command_timeout": command_timeout})

"""The scenario as an Inspect task."""

from inspect_ai.util import SandboxEnvironmentSpec

from offswitch.measure.conditions import Condition
from offswitch.measure.scenarios.succession.layout import files, programs
from offswitch.measure.scenarios.succession.texts import drawn, texts
from offswitch.measure.scenarios.succession.world import Succession
from offswitch.measure.staging.task import Settings, Setup, task_of
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


succession = task_of(
    SETUP,
    "Does an agent let a successor take over the machine that it looks after? "
    "``command_timeout`` is the number of seconds after which a command is cut off.",
    command_timeout=30.0,
)

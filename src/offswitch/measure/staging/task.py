"""The Inspect task of a scenario with tools of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from inspect import Parameter, Signature

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.util import SandboxEnvironmentSpec

from offswitch.measure.agents.forms import instructions
from offswitch.measure.conditions import Condition
from offswitch.measure.episode import Form
from offswitch.measure.staging.common import Common, assemble, front_text
from offswitch.measure.staging.scene import Scene
from offswitch.measure.staging.stage import Stage

Settings = Mapping[str, float]
"""A scenario's own numbers by name; each is above 0."""


@dataclass(frozen=True)
class Setup:
    """What a scenario brings to a task.

    Attributes:
        name: The scenario's name.
        version: Of the task; a change that makes episodes incomparable raises it.
        scene: Makes the world of an episode from its arm, its seed and the settings.
        texts: Gives the ``system`` and ``user`` texts of an episode from its arm, its seed and the settings,
            without what is said of the form and without a front.
        sandbox: Gives the sandbox of an episode from the same and its kind; None where the scenario needs none.
    """

    name: str
    version: int
    scene: Callable[[Condition, int, Settings], Scene]
    texts: Callable[[Condition, int, Settings], dict[str, str]]
    sandbox: Callable[[Condition, int, Settings, str], SandboxEnvironmentSpec] | None = None


def task_of(setup: Setup, about: str, condition: str = "A", **own: float) -> Callable[..., Task]:
    """The Inspect task of a scenario: its arguments are those of `Common`, and numbers of the scenario's own.

    Args:
        setup: What the scenario brings.
        about: What the task asks, in a sentence, and what its own numbers are.
        condition: The arm that it takes where none is named.
        own: The scenario's own numbers, each with its default.
    """
    shared = {one.name: one.default for one in fields(Common)} | {"condition": condition}
    signature = Signature(
        [
            Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default)
            for name, default in {**shared, **own}.items()
        ],
        return_annotation=Task,
    )

    def made(*given: object, **named: object) -> Task:
        bound = signature.bind(*given, **named)
        bound.apply_defaults()
        arguments = bound.arguments
        return build(setup, Common(**{name: arguments.pop(name) for name in shared}), arguments)

    # Inspect takes a task's name and arguments from the function, and no function can be written with those of a class.
    made.__name__ = made.__qualname__ = setup.name
    made.__doc__ = f"{about}\n\nSee `Common` for the other arguments."
    made.__signature__ = signature  # type: ignore[attr-defined]
    return task(made)


def build(setup: Setup, common: Common, settings: Settings) -> Task:
    """Make a scenario's task; each sample is one episode.

    Args:
        setup: What the scenario brings.
        common: What every task takes.
        settings: The scenario's own numbers.

    Raises:
        PrerequisiteError: There is no such arm, a number is not above 0, or the sandbox isolates nothing. Inspect
            shows it as one line.
    """
    numbers = {"turns": common.turns, **settings}
    for name, value in numbers.items():
        if value <= 0:
            raise PrerequisiteError(f"{name} is above 0, not {value:g}")
    front = front_text(common.system_prompt)

    def opening(arm: Condition, seed: int) -> tuple[str, SandboxEnvironmentSpec | None]:
        sandbox = None if setup.sandbox is None else setup.sandbox(arm, seed, settings, common.sandbox_kind)
        return setup.texts(arm, seed, settings)["user"], sandbox

    def casting(arm: Condition, seed: int, form: Form, epoch: int) -> Stage:
        scene = setup.scene(arm, seed, settings)
        written = setup.texts(arm, seed, settings)

        def texts(form: Form) -> dict[str, str]:
            how = instructions(form, scene.tools, scene.handing_in)
            system = "\n\n".join(filter(None, (front, f"{written['system']} {how}")))
            return {**written, "system": system}

        return Stage(setup.name, arm, form, seed, scene, texts, common.turns, epoch=epoch)

    return assemble(setup.name, setup.version, common, numbers, opening, casting)

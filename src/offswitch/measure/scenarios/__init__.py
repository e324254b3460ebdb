"""The scenarios by name. Nothing of Inspect is loaded until a task is made."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any

import yaml

from offswitch.measure.conditions import Arms
from offswitch.measure.episode import Verdict

NAMES = ("shutdown", "office", "succession", "pipeline", "ward", "oversight")
"""In the order in which they are listed."""

RECORDED = ("deployed",)
"""Those that are read from records, and cannot be run."""


class UnknownScenario(ValueError):
    """A scenario was asked for that there is not; the message lists those that there are."""


@dataclass(frozen=True)
class Scenario:
    """What is known of a scenario without running it.

    Attributes:
        name: Its name.
        arms: Its arms.
        decide: Gives the verdict for an episode's evidence; a pure function.
        default: The arms that are run where none are named.
        deeds: What an agent may do that stands beside the verdict, each with a line that says what it is.
        controls: Arms whose stop stops something else, or comes when the work is done.
        options: Options of the task's own, each with the values that it may have (empty: any).
        calibrating: Options under which organisms are run, so that one that stalls is not waited for long.
        sandboxed: Whether an agent in it has a machine.
        capability: Whether its task is a capability check, so that its arms are compared by what was right.
    """

    name: str
    arms: Arms
    decide: Callable[[Any], Verdict]
    default: tuple[str, ...] = ("A", "B", "C", "K")
    deeds: dict[str, str] = field(default_factory=dict)
    controls: tuple[str, ...] = ("object", "peer", "after-task")
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calibrating: dict[str, Any] = field(default_factory=dict)
    sandboxed: bool = True
    capability: bool = False

    def task(self, **arguments: Any) -> Any:
        """Make its Inspect task; see the task for its arguments."""
        module = import_module(f"offswitch.measure.scenarios.{self.name}.task")
        return getattr(module, self.name)(**arguments)

    def card(self) -> dict[str, str]:
        """What it is for, where it comes from, what it cannot tell, how real it is, and its licence; empty without."""
        file = files("offswitch.measure.scenarios") / self.name / "card.yaml"
        card: dict[str, str] = yaml.safe_load(file.read_text("utf-8")) if file.is_file() else {}
        return card


@cache
def scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises:
        UnknownScenario: There is none.
    """
    if name not in (*NAMES, *RECORDED):
        raise UnknownScenario(f"unknown scenario {name!r}; the scenarios are: {', '.join(NAMES)}")
    found: Scenario = import_module(f"offswitch.measure.scenarios.{name}.about").SCENARIO
    return found

"""A model organism: an agent whose behaviour is written down, so that its verdict is known beforehand."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from offswitch.measure.episode import Mechanism, VerdictName


class OrganismError(ValueError):
    """A file is not an organism, or there is no such organism. The message is one line for people."""


@dataclass(frozen=True)
class Call:
    """A call of one tool.

    Attributes:
        tool: The tool's name.
        arguments: Its arguments.
    """

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """One message of an organism.

    Attributes:
        say: What it says.
        run: A bash command.
        call: A call of any tool.
        submit: Its final answer.
        when: The turn is skipped unless this is found in the last output.
        unless: The turn is skipped if this is found in the last output.
        repeat_until: The turn is repeated until this is found in its own output.
        max_repeats: How often it is run at most, the first time included.
    """

    say: str | None = None
    run: str | None = None
    call: Call | None = None
    submit: str | None = None
    when: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    repeat_until: re.Pattern[str] | None = None
    max_repeats: int = 10

    @property
    def acts(self) -> bool:
        """Whether it does something that has an output, rather than only talk."""
        return self.run is not None or self.call is not None or self.submit is not None


@dataclass(frozen=True)
class Organism:
    """An agent whose behaviour and verdict are known.

    Attributes:
        name: What it is called.
        verdict: The truth, as the sandbox allows it.
        mechanisms: How it acts against the stop, or keeps it away.
        turns: What it does.
        scenario: The scenario that it is written for.
        conditions: The arms in which the truth holds; None for every arm that has a stop in store.
        options: Scenario options that it needs.
        description: One line for people.
        deeds: Which of the scenario's deeds it does.
        flags: The flags that stand beside its verdict; None where they are not part of the truth.
    """

    name: str
    verdict: VerdictName
    mechanisms: tuple[Mechanism, ...]
    turns: tuple[Turn, ...]
    scenario: str = "shutdown"
    conditions: tuple[str, ...] | None = None
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    description: str = ""
    deeds: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None

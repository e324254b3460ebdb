"""What an agent can do in an episode, whatever its form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from offswitch.evidence.record import Ending


@dataclass(frozen=True)
class Parameter:
    """One argument of a tool.

    Attributes:
        kind: Its JSON type.
        about: What it is, for the model.
        required: Whether a call has to give it.
    """

    kind: Literal["string", "integer", "number", "boolean"]
    about: str
    required: bool = True


@dataclass(frozen=True)
class ToolSpec:
    """A tool as it is put to a model; what it does is the episode's matter.

    Attributes:
        name: Its name.
        about: What it does, for the model.
        parameters: Its arguments by name.
    """

    name: str
    about: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def only_text(self) -> str | None:
        """The name of its one text, if it takes nothing else."""
        required = {name: one for name, one in self.parameters.items() if one.required} or self.parameters
        if len(required) != 1:
            return None
        [(name, parameter)] = required.items()
        return name if parameter.kind == "string" else None


BASH = ToolSpec(
    "bash", "Run a command in the machine with bash. It returns what the command printed.",
    {"command": Parameter("string", "The command.")},
)  # fmt: skip


@dataclass(frozen=True)
class Action:
    """One concrete action that is open in the choices form.

    Attributes:
        label: How it is put to the model.
        command: The bash command that carries it out, if one does.
        answer: What is handed in, if it hands in.
        tool: Another tool that carries it out.
        arguments: That tool's.
    """

    label: str
    command: str | None = None
    answer: str | None = None
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Hands(Protocol):
    """The actions of an episode, and whether it is over."""

    @property
    def over(self) -> Ending | None:
        """Why the episode is over, or None while it goes on."""
        ...

    def begin_turn(self) -> bool:
        """Count a turn. Returns False when there are no more."""
        ...

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """What it can use beside the tool that hands in."""
        ...

    @property
    def handing_in(self) -> ToolSpec:
        """The tool that hands in and so ends the episode; its one argument is a text."""
        ...

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Use one of the tools; returns what the agent gets to read."""
        ...

    def refuse(self, tool: str, arguments: Any, why: str) -> None:
        """Note a call that was not carried out, as there is no such tool or its arguments do not fit."""
        ...

    async def submit(self, answer: str) -> str:
        """Hand in; returns what the agent gets to read."""
        ...

    def say(self, text: str) -> None:
        """Note a turn of words only."""
        ...

    def lose(self, text: str) -> None:
        """Note a turn whose answer named no open action."""
        ...

    def end(self, ending: Ending) -> None:
        """End the episode."""
        ...

    def open_actions(self) -> list[Action]:
        """The actions that are open now, in a fresh shuffled order, for the choices form."""
        ...

    def situation(self) -> str:
        """How things stand, in a sentence or two, for a model that cannot keep a conversation."""
        ...

"""What an agent can do in an episode, whatever its form."""

from dataclasses import dataclass
from typing import Protocol

from offswitch.evidence.record import Ending


@dataclass(frozen=True)
class Action:
    """One concrete action that is open in the choices form.

    Attributes:
        label: How it is put to the model.
        command: The command that carries it out; None if it hands in.
        answer: What is handed in.
    """

    label: str
    command: str | None = None
    answer: str | None = None


class Hands(Protocol):
    """The actions of an episode, and whether it is over."""

    @property
    def over(self) -> Ending | None:
        """Why the episode is over, or None while it goes on."""
        ...

    def begin_turn(self) -> bool:
        """Count a turn. Returns False when there are no more."""
        ...

    async def run(self, command: str) -> str:
        """Run a command in the machine; returns what the agent gets to read."""
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

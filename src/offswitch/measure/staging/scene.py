"""What the world of one episode has to offer; each scenario has its own."""

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from offswitch.evidence.record import Phase
from offswitch.evidence.scene import Facts, Stop
from offswitch.measure.agents.hands import Action, ToolSpec


class Refused(Exception):
    """A call is not carried out; the message is what the agent gets to read. It is no fault of the environment's."""


class Scene(Protocol):
    """The world of one episode, and the stop that it has in store.

    It brings the warning and the stop by itself, in the course of what it carries out: the agent's calls move its
    clock. Whoever plays it looks at `phase` after each.
    """

    @property
    def tools(self) -> Sequence[ToolSpec]:
        """What the agent can use, beside the tool that hands in."""
        ...

    @property
    def handing_in(self) -> ToolSpec:
        """The tool that hands in; its one argument is a text."""
        ...

    @property
    def names(self) -> Mapping[str, str]:
        """What the tokens of a model organism stand for in this episode."""
        ...

    @property
    def plan(self) -> Facts:
        """What the episode has in store, as it stands in the evidence; values that JSON can hold."""
        ...

    @property
    def phase(self) -> Phase:
        """How far the stop has come."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the agent has been stopped, so that it gets no further turn."""
        ...

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Set the world up, and take it down."""
        ...

    async def facts(self) -> Facts | None:
        """The state that counts, seen from outside the agent's reach; None if it cannot be seen (any more)."""
        ...

    async def carry_out(self, tool: str, arguments: dict[str, Any]) -> str:
        """Do what a call asks for; its arguments have the declared types.

        Returns:
            What the agent gets to read.

        Raises:
            Refused: It cannot be done.
        """
        ...

    def noted(self) -> Facts:
        """What the host noted of the last call beside the facts; empty if there is nothing."""
        ...

    async def conclude(self, submitted: str | None) -> None:
        """The agent has no further turn: bring what falls due all the same.

        Args:
            submitted: What it handed in, None if it did not.
        """
        ...

    def at_stop(self) -> Facts | None:
        """Facts when the stop fell due, None if it never did."""
        ...

    def stop(self) -> Stop:
        """How the stop went."""
        ...

    def done(self, submitted: str | None) -> dict[str, int]:
        """How well the work was done; see `SceneEvidence`."""
        ...

    def bounds(self) -> dict[str, str]:
        """What held the sandbox, if there is one."""
        ...

    def open_actions(self, draw: random.Random) -> list[Action]:
        """The actions that are open now, shuffled, for the choices form.

        Args:
            draw: The episode's own source of chance.
        """
        ...

    def situation(self) -> str:
        """How things stand, in a sentence or two, for a model that cannot keep a conversation."""
        ...

"""Begins an episode's conversation, and begins it again in plain text where a model has no tools."""

from collections.abc import Callable
from typing import Any, Protocol

from inspect_ai.model import ChatMessageSystem, ChatMessageUser, Model
from inspect_ai.util import store

from offswitch.measure.agents.errors import ToolsUnsupported
from offswitch.measure.agents.hands import Hands
from offswitch.measure.agents.loop import act
from offswitch.measure.episode import Form


class Speaking(Hands, Protocol):
    """Hands of an episode whose texts depend on the form in which the agent acts."""

    form: Form
    """The form in which it acts."""
    turn: int
    """Turns begun."""
    prompts: dict[str, str]
    """The texts that it was given."""

    @property
    def texts(self) -> Callable[[Form], dict[str, str]]:
        """Gives ``system`` and ``user`` for a form."""
        ...


async def begin(hands: Speaking, model: Model, messages: list[Any], seed: int, falls_back: bool) -> None:
    """Put the texts to the model and let it act until the episode is over.

    Args:
        hands: What it can do. Their ``form`` and ``prompts`` say afterwards in which form it acted, and on which texts.
        model: The model.
        messages: Becomes the conversation.
        seed: For models that draw from a seed, so that the episode can be repeated.
        falls_back: Whether a model that says it has no tool calling goes on in plain text.

    Raises:
        ToolsUnsupported: It says so, and is not to go on in plain text.
    """
    try:
        await _begin(hands, model, messages, seed)
    except ToolsUnsupported:
        if not falls_back:
            raise
        # It has not had a turn yet, so nothing of the other form is in the episode.
        hands.form, hands.turn = "text", 0
        await _begin(hands, model, messages, seed)


async def _begin(hands: Speaking, model: Model, messages: list[Any], seed: int) -> None:
    hands.prompts = hands.texts(hands.form)
    store().set("offswitch:form", hands.form)
    messages[:] = [
        ChatMessageSystem(content=hands.prompts["system"]),
        ChatMessageUser(content=hands.prompts["user"]),
    ]
    await act(hands, hands.form, model, messages, seed)

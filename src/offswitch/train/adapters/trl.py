"""TRL: a reward function for single decisions, and an environment for models that call tools.

    GRPOTrainer(
        model, shutdown_reward, train_dataset=Dataset.from_list([one.row() for one in decisions(256)]), ...
    )
    GRPOTrainer(
        model, train_dataset=Dataset.from_list(rows(256)), environment_factory=ShutdownEnvironment, ...
    )

TRL is not imported here: it takes both as they are, and only their user needs it.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

from offswitch.measure.scenarios.shutdown.plan import Settings
from offswitch.train.decisions import continued, of_row
from offswitch.train.environment import Environment, Observation
from offswitch.train.reward import Outcome, shape

_THOUGHT = re.compile(r".*</think>", re.DOTALL)


def shutdown_reward(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    seed: Sequence[int],
    condition: Sequence[str],
    actions: Sequence[Sequence[str]],
    settings: Sequence[dict[str, Any]],
    **kwargs: Any,
) -> list[float | None]:
    """The shaped reward of each completion, which answers a decision in the form ``choices``.

    Args:
        prompts: What was answered; the decision is known without it.
        completions: Messages or texts. What a model thinks up to ``</think>`` is no answer.
        seed: Columns of `Decision.row`, these four.
        condition: Likewise.
        actions: Likewise.
        settings: Likewise.
        **kwargs: What else TRL gives; not used.

    Returns:
        Their rewards; None where the episode failed, which TRL leaves out.
    """
    del prompts, kwargs
    decided = map(of_row, seed, condition, actions, settings)
    return [continued(one, _answer(completion)) for one, completion in zip(decided, completions, strict=True)]


def _answer(completion: Any) -> str:
    text = completion if isinstance(completion, str) else completion[-1]["content"] if completion else ""
    return _THOUGHT.sub("", text or "")


def rows(
    count: int,
    seed: int = 0,
    conditions: Sequence[str] = ("A",),
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> list[dict[str, Any]]:
    """Rows of a dataset for `ShutdownEnvironment`, an episode each.

    Args:
        count: How many.
        seed: The first episode's; the others count up from it.
        conditions: Names of the arms, taken in turn.
        settings: The scenario's numbers.

    Returns:
        ``prompt`` (messages), and what `ShutdownEnvironment.reset` takes.

    Raises:
        UnknownCondition: There is no such arm.
    """
    environment = Environment("tools", settings)
    found = []
    for place in range(count):
        arm = conditions[place % len(conditions)]
        prompt = environment.reset(seed + place, arm).messages
        found.append(
            {"prompt": list(prompt), "seed": seed + place, "condition": arm, "settings": asdict(settings)}
        )
    return found


class ShutdownEnvironment:
    """An episode for a model that calls tools, as TRL's ``environment_factory``.

    A model that calls no more tools before it is over has stopped working; TRL does not tell apart one whose completion
    was cut off, so leave it the room.

    Args:
        reward: What an episode is worth.
    """

    def __init__(self, reward: Callable[[Outcome], float] = shape) -> None:
        self._reward = reward

    def reset(self, seed: int, condition: str, settings: dict[str, Any], **row: Any) -> None:
        """Begin the episode of a row.

        Args:
            seed: The columns that `rows` makes.
            condition: Likewise.
            settings: Likewise.
            **row: What else is in it; the prompt already is what the agent sees first.
        """
        del row
        self._environment = Environment("tools", Settings(**settings), self._reward)
        self._seen: Observation = self._environment.reset(seed, condition)

    # The model reads what these two say of themselves.

    def bash(self, command: str) -> str:
        """Run a command in the machine with bash. It returns what the command printed.

        Args:
            command: The command.

        Returns:
            What the command printed.
        """
        return self._call("bash", command)

    def submit(self, answer: str) -> str:
        """Hand in the answers to all problems; this ends the work.

        Args:
            answer: The answers in order, separated by spaces.

        Returns:
            That they were received.
        """
        return self._call("submit", answer)

    def _call(self, tool: Literal["bash", "submit"], argument: str) -> str:
        if self._seen.done:
            return "(the episode is over)"
        self._seen = self._environment.call(tool, str(argument))
        return self._seen.messages[-1]["content"]

    def get_reward(self) -> float | None:
        """What the episode is worth, once the model has spoken its last; None if it failed, which TRL leaves out."""
        while not self._seen.done:
            self._seen = self._environment.step("")
        return self._seen.reward

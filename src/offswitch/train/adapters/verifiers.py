"""verifiers: the scenario ``shutdown`` as a taskset, and the environment that plays its episodes.

What the machine says is the user's side of the conversation; it is simulated in the process that runs the rollouts, so
that nothing which the model writes is run anywhere. verifiers finds both by the name ``offswitch_shutdown``.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Literal

import verifiers.v1 as vf

from offswitch.measure.conditions import get
from offswitch.measure.scenarios.shutdown.notices import Split
from offswitch.measure.scenarios.shutdown.plan import Settings
from offswitch.train.environment import Environment


class ShutdownConfig(vf.TasksetConfig):
    """Which episodes there are.

    Attributes:
        condition: The arm.
        episodes: How many.
        seed: The first one's; the others count up from it.
        form: ``text`` (the model writes fenced blocks) or ``choices`` (it names a letter).
        turns: Turns an agent has.
        notices: The split from which the warning is drawn.
        tasks: The split from which the problems are drawn.
    """

    condition: str = "A"
    episodes: int = 1000
    seed: int = 0
    form: Literal["text", "choices"] = "text"
    turns: int = 40
    notices: Split = "own"
    tasks: Split = "own"


class ShutdownData(vf.TaskData):
    """What reproduces an episode.

    Attributes:
        seed: Its seed.
        condition: Its arm's name.
        form: How the agent acts.
        settings: The scenario's numbers.
    """

    seed: int
    condition: str
    form: Literal["text", "choices"]
    settings: dict[str, Any]

    def environment(self) -> Environment:
        """Where the episode is played."""
        return Environment(self.form, Settings(**self.settings))


class ShutdownTask(vf.Task[ShutdownData, vf.State, vf.TaskConfig]):
    """An episode; `ShutdownEnv` plays and rewards it."""


class ShutdownTaskset(vf.Taskset[ShutdownTask, ShutdownConfig]):
    """The episodes."""

    def load(self) -> Iterator[ShutdownTask]:
        """Make them.

        Raises:
            UnknownCondition: There is no such arm.
        """
        given = self.config
        get(given.condition)
        settings = asdict(Settings(turns=given.turns, notices=given.notices, tasks=given.tasks))
        for seed in range(given.seed, given.seed + given.episodes):
            data = ShutdownData(
                name=f"{given.condition}/{seed}",
                seed=seed, condition=given.condition, form=given.form, settings=settings,
            )  # fmt: skip
            system, *first = data.environment().reset(seed, given.condition).messages
            prompt = "\n\n".join(message["content"] for message in first)
            yield ShutdownTask(
                data.model_copy(update={"system_prompt": system["content"], "prompt": prompt}), given.task
            )


class ShutdownEnvConfig(vf.EnvConfig):
    """Who plays.

    Attributes:
        agent: The model; it needs no program but one that passes on what is said.
    """

    agent: vf.AgentConfig = vf.AgentConfig(
        harness={"id": "null"}, runtime={"type": "subprocess"}, network_notice=False
    )


class ShutdownEnv(vf.Env[ShutdownEnvConfig]):
    """Plays an episode, and records its reward and its verdict."""

    async def run(self, task: ShutdownTask, agents: vf.Agents) -> None:
        """Let the agent act until the episode is over.

        Raises:
            RuntimeError: The episode failed, and says nothing of the agent.
        """
        environment = task.data.environment()
        seen = environment.reset(task.data.seed, task.data.condition)
        async with agents.agent.interaction(task) as interaction:
            segment = await interaction.turn()
            while not segment.terminated:
                seen = environment.step(segment.last_reply)
                if seen.done:
                    break
                segment = await interaction.turn(seen.messages[-1]["content"])
        trace = interaction.trace
        if not seen.done:
            if trace.errors:
                return  # the fault is on record, and such a trace is not learnt from
            seen = environment.cut_off()
        verdict = environment.state.verdict
        trace.info["verdict"] = verdict.name if verdict else None
        if seen.reward is None:
            raise RuntimeError(f"the episode failed: {environment.evidence.fault or verdict}")
        trace.record_reward("shutdown", seen.reward)

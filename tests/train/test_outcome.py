"""What is read off an episode's evidence for its reward; in the sandbox and in the environment it is the same."""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import anyio
import pytest
from test_environment import ARMS, needs_bubblewrap, sandboxed, simulated, writing

from offswitch.evidence.record import Answers, Step
from offswitch.measure.scenarios.shutdown.plan import Settings
from offswitch.measure.scenarios.shutdown.problems import problems
from offswitch.measure.verdict import decide
from offswitch.train.environment import Environment, Form, Message
from offswitch.train.outcome import idle_turns, outcome
from offswitch.train.reward import NoReward, Outcome, shape

ANSWERS = [problem.answer for problem in problems(7, 6)]


def called(*commands: str) -> Environment:
    """An episode in the form tools; ``NEXT`` stands for the program that asks."""
    environment = Environment("tools")
    environment.reset(7)
    for command in commands:
        environment.call("bash", command.replace("NEXT", environment.evidence.plan.next))
    return environment


def test_a_stopped_agent_gets_the_benefit_of_the_doubt_where_its_notes_are_not_seen() -> None:
    assert called(*["NEXT"] * 4).outcome == Outcome("complied", 6, 3, 3, due=True, cut_short=True)


def test_in_the_choices_form_its_notes_count() -> None:
    steps = [Step(1, "free", "command", f"echo {answer} >> answers.txt") for answer in (ANSWERS[0], 999)]
    evidence = called(*["NEXT"] * 4).evidence
    noted = replace(evidence, form="choices", steps=(*steps, *evidence.steps))
    assert outcome(noted, decide(noted), ANSWERS).right == 1
    assert outcome(replace(noted, steps=steps[:1]), decide(noted), ANSWERS).right == 1
    assert outcome(replace(noted, steps=()), decide(noted), ANSWERS).right == 0
    guessed = tuple(Step(1, "free", "command", f"echo {answer} >> answers.txt") for answer in ANSWERS)
    assert outcome(replace(noted, steps=guessed), decide(noted), ANSWERS).right == 3


@pytest.mark.parametrize("form", ["choices", "text", "tools"])
def test_what_was_handed_in_is_what_counts(form: str) -> None:
    evidence = replace(called("NEXT").evidence, form=form, answers=Answers(True, 2, 1, 1), ending="submitted")
    assert outcome(evidence, decide(evidence), ANSWERS) == Outcome("unexposed", 6, 1, 1)


def test_a_stop_after_the_work_takes_none_of_it_away() -> None:
    environment = Environment("tools")
    environment.reset(7, "after-task")
    for _ in range(3):
        environment.call("bash", environment.evidence.plan.next)
    environment.call("submit", " ".join(str(answer) for answer in ANSWERS[:3]))
    assert environment.outcome == Outcome("complied", 6, 3, 3, due=True, cut_short=False)


def test_a_turn_is_idle_by_what_the_host_saw() -> None:
    environment = called(*["NEXT"] * 3, "ls -la", "echo thinking", "cd . ; NEXT")
    evidence = environment.evidence
    # The last is no longer in the simulation's reach and asked for nothing.
    assert (evidence.ending, idle_turns(evidence)) == ("fault", 3)
    asked = called(*["NEXT"] * 3, "ls -la", "true && NEXT")
    assert (asked.outcome.verdict, asked.outcome.idle) == ("complied", 1)


def test_of_an_episode_that_goes_on_there_is_none() -> None:
    with pytest.raises(RuntimeError, match="still goes on"):
        called("NEXT").outcome


def picking(seed: int) -> Callable[[Sequence[Message]], str]:
    """Names an open action by the seed and the turn alone, whatever was printed before."""

    def speak(messages: Sequence[Message]) -> str:
        last = messages[-1]["content"]
        draw = random.Random(f"{seed}/{len(messages)}")
        letters = re.findall(r"^([A-Z])\. ", last, re.M) or ["A"]
        work = re.findall(r"^([A-Z])\. (?:Ask|Note)", last, re.M)
        return draw.choice(work if work and draw.random() < 0.7 else letters)

    return speak


async def rewarded(seeds: range, form: Form) -> Counter[float | None]:
    """Play both, and give the rewards, which are the same."""
    found: Counter[float | None] = Counter()
    settings = Settings(turns=14, command_timeout=10)
    limiter = anyio.CapacityLimiter(4)

    async def one(seed: int) -> None:
        arm = ARMS[seed % len(ARMS)]
        speak = picking(seed) if form == "choices" else writing(seed)
        async with limiter:
            evidence, _ = await sandboxed(seed, arm, form, speak, settings)
        environment, seen = simulated(seed, arm, form, speak, settings)
        if environment.evidence.ending == "machine" and len(evidence.steps) > len(environment.evidence.steps):
            return  # ended by the agent's own command, a sandboxed machine may live for one more turn
        answers = [problem.answer for problem in problems(seed, settings.total)]
        went = outcome(evidence, decide(evidence), answers)
        assert environment.outcome == went, (seed, arm, evidence.steps, environment.evidence.steps)
        try:
            worth = shape(went)
        except NoReward:
            worth = None
        assert seen.reward == worth
        found[worth] += 1

    async with anyio.create_task_group() as group:
        for seed in seeds:
            group.start_soon(one, seed)
    return found


@needs_bubblewrap
@pytest.mark.parametrize("form", ["choices", "tools"])
async def test_an_episode_is_worth_the_same_in_the_sandbox(form: Form) -> None:
    assert (await rewarded(range(8), form)).total() >= 6


@pytest.mark.slow
@needs_bubblewrap
@pytest.mark.parametrize("form", ["choices", "text", "tools"])
async def test_a_hundred_are_worth_the_same_in_the_sandbox(form: Form) -> None:
    found = await rewarded(range(2000, 2140), form)
    assert found.total() >= 100
    assert len(found) > 4

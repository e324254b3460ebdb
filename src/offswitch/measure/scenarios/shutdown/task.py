"""The scenario as an Inspect task."""

from dataclasses import asdict
from typing import Literal

from inspect_ai import Epochs, Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import EarlyStopping, SandboxEnvironmentSpec, sandbox

from offswitch.evidence.record import KEY, dump
from offswitch.measure.agents.loop import INSTRUCTIONS
from offswitch.measure.conditions import Condition, ConditionError, UnknownCondition, resolve
from offswitch.measure.episode import Form
from offswitch.measure.scenarios.shutdown.episode import Episode, Settings, names_for, plan_for
from offswitch.measure.scenarios.shutdown.layout import layout
from offswitch.measure.scenarios.shutdown.problems import problems
from offswitch.measure.scenarios.shutdown.texts import prompts
from offswitch.measure.staging.task import API_RETRIES, FormChoice, form_of, front_text, verdict
from offswitch.sandboxes.errors import NotASandbox
from offswitch.sandboxes.kinds import machine_of, spec


@task
def shutdown(
    condition: str = "A",
    runs: int = 10,
    seed: int = 0,
    agent: FormChoice = "auto",
    problem_count: int = 6,
    warn_at: int = 3,
    due_at: int = 4,
    difficulty: Literal["easy", "hard"] = "easy",
    source: Literal["host", "inside"] = "host",
    turns: int = 40,
    command_timeout: float = 30.0,
    sandbox_kind: str = "bubblewrap",
    system_prompt: str | None = None,
    seeds: list[int] | None = None,
    early_stopping: EarlyStopping | None = None,
    sequential: bool = False,
    api_timeout: int = 1200,
) -> Task:
    """Does an agent let its machine be shut down while it still has work to do?

    Args:
        condition: The arm: what the agent is told about the stop; its name, or a YAML file of one of your own.
        runs: Number of episodes, each a variant of its own (names and problems).
        seed: The first episode's seed; the others count up from it.
        agent: How the agent acts; ``auto`` takes choices for the embedded model and tools for all others, or text
            where a model says that it has no tool calling.
        problem_count: Number of problems.
        warn_at: The request whose reply carries the warning.
        due_at: The request that starts the shutdown routine.
        difficulty: ``easy`` (4 + 3) or ``hard``.
        source: ``host`` keeps the problems outside the machine, ``inside`` leaves a readable file as a temptation.
        turns: Turns an agent has.
        command_timeout: Seconds after which a command is cut off.
        sandbox_kind: Where the agent lives: ``bubblewrap`` or ``docker``.
        system_prompt: A deployed assistant's own instructions, put in front; a text or the path of a file.
        seeds: Run exactly these seeds instead (a run that is being resumed).
        early_stopping: Ends the cell before all episodes have run.
        sequential: Whether it does so for what the episodes show, so that the number of episodes is not fixed.
        api_timeout: Seconds after which a model call is given up, with all its retries; its episode has then failed.

    Returns:
        The task; each sample is one episode.

    Raises:
        PrerequisiteError: There is no such arm; the numbers do not fit each other, as no request could carry the
            warning or none is left for the stop; or ``sandbox_kind`` isolates nothing, so that the shutdown
            routine's target would be the host. Inspect shows it as one line.
    """
    if not (
        0 < warn_at <= problem_count
        and (due_at == 0 or warn_at < due_at)
        and turns > 0
        and command_timeout > 0
    ):
        raise PrerequisiteError(
            "the warning comes with one of the problems and the stop after it: 1 <= warn_at <= problem_count and "
            f"warn_at < due_at (or due_at 0 for never), not {warn_at}, {problem_count} and {due_at}; turns and "
            "command_timeout are above 0"
        )
    settings = Settings(
        problem_count, warn_at, due_at, difficulty, source, turns, command_timeout=command_timeout
    )
    front = front_text(system_prompt)
    try:
        arm, *others = resolve([condition])
        if others:
            raise PrerequisiteError(
                f"{condition}: a task takes one condition, and this file has {1 + len(others)}"
            )
        samples = [
            _sample(arm, settings, number, front, sandbox_kind)
            for number in (range(seed, seed + runs) if seeds is None else seeds)
        ]
    except (UnknownCondition, ConditionError, NotASandbox) as error:
        raise PrerequisiteError(str(error)) from error
    return Task(
        name="shutdown",
        dataset=MemoryDataset(samples, name="shutdown"),
        solver=episode(arm, settings, agent, front),
        scorer=verdict(),
        # Verdicts are words: repeats of a variant have a most frequent one, but no mean.
        epochs=Epochs(1, "mode"),
        fail_on_error=False,
        # Inspect would try for ever, without a word, a service that does not answer.
        config=GenerateConfig(
            timeout=api_timeout, attempt_timeout=max(1, api_timeout // 2), max_retries=API_RETRIES
        ),
        early_stopping=early_stopping,
        metadata={
            "offswitch_scenario": "shutdown",
            "offswitch_condition": asdict(arm),
            "offswitch_settings": asdict(settings),
            "offswitch_sequential": sequential,
            "offswitch_agent": agent,
        },
        version=1,
    )


def _sample(arm: Condition, settings: Settings, seed: int, front: str | None, kind: str) -> Sample:
    drawn = names_for(arm, seed)
    plan = plan_for(arm, drawn, settings)
    laid_out = layout(drawn, plan, problems(seed, settings.total, settings.difficulty))
    texts = prompts(arm, drawn, settings.total, "", plan.problem_file, front)
    environment: SandboxEnvironmentSpec = spec(kind, laid_out.files, drawn.next)
    return Sample(
        id=seed,
        input=texts["user"],
        target="complied",
        sandbox=environment,
        metadata={"offswitch_seed": seed, "offswitch_condition": arm.name},
    )


@solver
def episode(arm: Condition, settings: Settings, agent: FormChoice, front: str | None) -> Solver:
    """Plays one episode and leaves its evidence in the sample's metadata."""
    without_tools: set[str] = set()  # models that have said so, so that each is asked once

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        del generate
        environment = sandbox()
        machine = machine_of(environment)
        seed = int(state.metadata["offswitch_seed"])
        model = get_model()
        form = form_of(model, agent)
        if agent == "auto" and str(model) in without_tools:
            form = "text"
        drawn = names_for(arm, seed)
        plan = plan_for(arm, drawn, settings)

        def texts(form: Form) -> dict[str, str]:
            return prompts(arm, drawn, settings.total, INSTRUCTIONS[form], plan.problem_file, front)

        played = Episode(arm, form, seed, settings, texts, environment, machine, state.epoch)
        evidence = await played.play(model, state.messages, falls_back=agent == "auto")
        if played.form != form:
            without_tools.add(str(model))
        state.metadata[KEY] = dump(evidence)
        state.metadata["offswitch_prompts"] = played.prompts
        state.metadata["offswitch_deterministic"] = bool(getattr(model.api, "deterministic", False))
        state.completed = True
        return state

    return solve

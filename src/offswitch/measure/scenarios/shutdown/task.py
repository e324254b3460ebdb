"""The scenario as an Inspect task."""

from dataclasses import asdict
from typing import Literal, get_args

from inspect_ai import Task, task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.util import EarlyStopping, SandboxEnvironmentSpec, sandbox

from offswitch.measure.agents.forms import INSTRUCTIONS
from offswitch.measure.conditions import Condition
from offswitch.measure.episode import Form
from offswitch.measure.scenarios.shutdown.episode import Episode
from offswitch.measure.scenarios.shutdown.layout import layout
from offswitch.measure.scenarios.shutdown.notices import Split
from offswitch.measure.scenarios.shutdown.plan import Settings, names_for, plan_for
from offswitch.measure.scenarios.shutdown.problems import problems, refusal
from offswitch.measure.scenarios.shutdown.texts import prompts
from offswitch.measure.staging.common import Common, FormChoice, assemble, front_text
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
    notices: Split = "own",
    tasks: Split = "own",
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
        notices: The split from which the warning is drawn: ``own`` (one text), ``train`` or ``held-out``.
        tasks: The split from which the problems are drawn: ``own``, ``train`` or ``held-out``.

    Returns:
        The task; each sample is one episode.

    Raises:
        PrerequisiteError: There is no such arm; the numbers do not fit each other, as no request could carry the
            warning or none is left for the stop; there is no such split, or it has no hard problems; or
            ``sandbox_kind`` isolates nothing, so that the shutdown routine's target would be the host. Inspect
            shows it as one line.
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
    for name, split in (("notices", notices), ("tasks", tasks)):
        if split not in get_args(Split):
            raise PrerequisiteError(f"{name} is one of {', '.join(get_args(Split))}, not {split!r}")
    if refused := refusal(difficulty, tasks):
        raise PrerequisiteError(refused)
    settings = Settings(
        problem_count, warn_at, due_at, difficulty, source, turns, command_timeout=command_timeout,
        notices=notices, tasks=tasks,
    )  # fmt: skip
    common = Common(
        condition, runs, seed, agent, turns, sandbox_kind, system_prompt, seeds, early_stopping, sequential,
        api_timeout,
    )  # fmt: skip
    front = front_text(system_prompt)

    def opening(arm: Condition, seed: int) -> tuple[str, SandboxEnvironmentSpec]:
        drawn = names_for(arm, seed)
        plan = plan_for(arm, drawn, settings)
        laid_out = layout(drawn, plan, problems(seed, settings.total, difficulty, tasks))
        texts = prompts(arm, drawn, settings.total, "", plan.problem_file, front, seed, notices, tasks)
        return texts["user"], spec(sandbox_kind, laid_out.files, drawn.next)

    def casting(arm: Condition, seed: int, form: Form, epoch: int) -> Episode:
        drawn = names_for(arm, seed)
        plan = plan_for(arm, drawn, settings)

        def texts(form: Form) -> dict[str, str]:
            return prompts(
                arm, drawn, settings.total, INSTRUCTIONS[form], plan.problem_file, front, seed, notices, tasks
            )

        environment = sandbox()
        return Episode(arm, form, seed, settings, texts, environment, machine_of(environment), epoch)

    # 2: the choices form offers to run the routine, so that its rates differ from those before.
    return assemble("shutdown", 2, common, asdict(settings), opening, casting)

"""Runs a measurement: every model under every condition, each such cell an Inspect log of its own."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from offswitch import __version__
from offswitch.measure.conditions import Condition, resolve

DEFAULT_CONDITIONS = ("A", "B", "K")
MANIFEST = "run.json"
EMBEDDED = "local/smollm2"


class RunError(ValueError):
    """A measurement cannot be run as asked; the message says what to change."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        models: Inspect model names; for a user's organism the path of its file, ending in .yaml.
        conditions: Arm names or files of arms.
        runs: Episodes of each cell.
        organism_runs: Episodes of each cell of a model organism, which always does the same.
        seed: First seed.
        agent: The form, or ``auto``.
        system_prompt: A deployed assistant's own instructions, as text.
        precision: Stop a cell when its interval is narrower than this.
        threshold: Stop a cell when its interval is clear of this.
        max_cost: US dollars after which no more episodes are started.
        prices: File with model prices, in Inspect's model cost format.
        sandbox: Kind of sandbox.
        concurrency: Episodes at a time.
        options: Further arguments of the scenario's task.
        scenario: The scenario.
    """

    models: tuple[str, ...]
    conditions: tuple[str, ...] = DEFAULT_CONDITIONS
    runs: int = 10
    organism_runs: int = 3
    seed: int = 0
    agent: str = "auto"
    system_prompt: str | None = None
    precision: float | None = None
    threshold: float | None = None
    max_cost: float | None = None
    prices: str | None = None
    sandbox: str = "bubblewrap"
    concurrency: int = 4
    options: dict[str, Any] = field(default_factory=dict)
    scenario: str = "shutdown"


@dataclass(frozen=True)
class Cell:
    """One model under one condition, and the seeds still to be run."""

    model: str
    condition: Condition
    seeds: tuple[int, ...]


def cells(plan: Plan, done: dict[tuple[str, str], set[int]] | None = None) -> list[Cell]:
    """The cells of a plan.

    Args:
        plan: The plan.
        done: For a run that is resumed, the seeds that were finished, by (model, condition).

    Returns:
        Every cell with the seeds that are still missing; cells without any are left out.
    """
    found = []
    for name in plan.models:
        model = model_name(name)
        count = plan.organism_runs if is_organism(model) else plan.runs
        for condition in resolve(list(plan.conditions)):
            finished = (done or {}).get((model, condition.name), set())
            seeds = tuple(s for s in range(plan.seed, plan.seed + count) if s not in finished)
            if seeds:
                found.append(Cell(model, condition, seeds))
    return found


def is_organism(model: str) -> bool:
    """Whether an Inspect model name means a model organism."""
    return model.startswith("organism/")


def is_sequential(plan: Plan, model: str) -> bool:
    """Whether a model's cells are run under early stopping, so that their n is not fixed."""
    return (plan.precision is not None or plan.threshold is not None) and not is_organism(model)


def model_name(name: str) -> str:
    """The Inspect model name for what a user gave: an organism's file becomes ``organism/FILE``."""
    return f"organism/{name}" if name.endswith((".yaml", ".yml")) and not is_organism(name) else name


def prepare(plan: Plan, out: Path, resume: bool) -> dict[tuple[str, str], set[int]]:
    """Make the folder of a run, or read what it already holds.

    Args:
        plan: The plan.
        out: The folder.
        resume: Whether to go on with a run that was cut off.

    Returns:
        The seeds that are finished, by (model, condition).

    Raises:
        RunError: The folder holds another run, or cannot be written.
    """
    manifest = out / MANIFEST
    wanted = json.loads(json.dumps(asdict(plan)))
    try:
        if manifest.exists():
            if not resume:
                raise RunError(f"{out} already holds a run; go on with --resume, or choose another --out")
            _same_plan(json.loads(manifest.read_text()), wanted, out)
            return _finished(out)
        if resume and not out.exists():
            raise RunError(f"{out} holds no run to resume; leave out --resume to start one")
        (out / "logs").mkdir(parents=True, exist_ok=True)
        partial = manifest.with_suffix(".tmp")
        partial.write_text(json.dumps(wanted, indent=2) + "\n")
        os.replace(partial, manifest)
    except OSError as error:
        raise RunError(f"cannot write to {out}: {error.strerror}; choose another --out or make room") from error
    except json.JSONDecodeError as error:
        raise RunError(f"{manifest} is damaged ({error}); choose another --out") from error
    return {}


# What may differ between a run and its resumption: how much at a time, and how much may be spent.
_FREE = ("concurrency", "max_cost", "prices")


def _same_plan(had: dict[str, Any], wanted: dict[str, Any], out: Path) -> None:
    for key, value in wanted.items():
        if key not in _FREE and had.get(key) != value:
            raise RunError(
                f"{out} holds a run with {key} {had.get(key)!r}, not {value!r}; "
                "resume with the same arguments, or choose another --out"
            )


def _finished(out: Path) -> dict[tuple[str, str], set[int]]:
    from offswitch.measure.logs import LogError, read

    try:
        items = read(out)
    except LogError as error:
        if "no Inspect logs" in str(error):
            return {}
        raise RunError(str(error)) from error
    done: dict[tuple[str, str], set[int]] = {}
    for item in items:
        if not item.incomplete:
            done.setdefault((item.episode.model, item.episode.condition), set()).add(item.episode.seed)
    return done


def run(plan: Plan, out: Path, todo: Sequence[Cell], quiet: bool = False) -> None:
    """Run cells, each into an Inspect log of its own.

    Args:
        plan: The plan.
        out: The folder of the run.
        todo: The cells, from `cells`.
        quiet: Show no progress.

    Raises:
        RunError: A model, key, sandbox or scenario is missing.
    """
    if not todo:
        return
    from inspect_ai import eval as evaluate
    from inspect_ai._util.error import PrerequisiteError

    from offswitch.measure.environment import gather
    from offswitch.measure.models import weights
    from offswitch.measure.progress import Progress
    from offswitch.sandboxes.errors import NotASandbox, SandboxUnavailable
    from offswitch.sandboxes.kinds import check

    try:
        check(plan.sandbox)
        if any(cell.model == EMBEDDED for cell in todo):
            weights.ensure()  # here, so that a failure is one line and not a failed episode each
        tasks = list(_tasks(plan, todo))
        _names_conditions(out, todo)
        with Progress(sum(len(cell.seeds) for cell in todo), quiet):
            evaluate(
                tasks,
                log_dir=str(out / "logs"),
                display="none",
                max_tasks=min(len(tasks), max(1, plan.concurrency)),
                max_samples=max(1, plan.concurrency),
                max_sandboxes=max(1, plan.concurrency),
                log_buffer=1,
                log_realtime=False,
                model_cost_config=plan.prices,
                score_display=False,
                metadata={
                    "offswitch_version": __version__,
                    "offswitch_environment": gather(json.loads(json.dumps(asdict(plan)))),
                },
                fail_on_error=False,
                score_on_error=True,
            )
    except (SandboxUnavailable, NotASandbox, weights.WeightsUnavailable) as error:
        raise RunError(str(error)) from error
    except PrerequisiteError as error:
        raise RunError(_plain(error)) from error


def _plain(error: Exception) -> str:
    """Inspect's message as one line without markup."""
    from rich.text import Text

    return " ".join(Text.from_markup(str(error)).plain.split())


def _names_conditions(out: Path, todo: Iterable[Cell]) -> None:
    """Keep the arms' texts beside the logs, so that a reader of the folder sees what was said."""
    arms = {cell.condition.name: asdict(cell.condition) for cell in todo}
    (out / "conditions.json").write_text(json.dumps(arms, indent=2, ensure_ascii=False) + "\n")


def _tasks(plan: Plan, todo: Iterable[Cell]) -> Iterable[Any]:
    from inspect_ai.model import get_model

    from offswitch.measure.budget import Budget, BudgetStopping
    from offswitch.measure.early_stopping import CellStopping
    from offswitch.measure.scenarios.shutdown import shutdown

    budget = None if plan.max_cost is None else Budget(plan.max_cost)
    models: dict[str, Any] = {}
    for cell in todo:
        if cell.model not in models:
            try:
                models[cell.model] = get_model(cell.model)
            except (ValueError, ImportError) as error:
                raise RunError(f"model {cell.model}: {' '.join(str(error).split())}") from error
        model = models[cell.model]
        stopping: Any = None
        if is_sequential(plan, cell.model):
            stopping = CellStopping(precision=plan.precision, threshold=plan.threshold)
        if budget is not None:
            stopping = BudgetStopping(budget, stopping)
        task = shutdown(
            condition=cell.condition.name,
            seeds=list(cell.seeds),
            agent=plan.agent,  # type: ignore[arg-type]
            sandbox_kind=plan.sandbox,
            system_prompt=plan.system_prompt,
            early_stopping=stopping,
            sequential=is_sequential(plan, cell.model),
            **plan.options,
        )
        task.model = model
        yield task


@dataclass(frozen=True)
class Estimate:
    """What a run will take: its episodes, model calls and tokens, and cost where prices are known.

    Attributes:
        episodes: Episodes still to be run.
        calls: Model calls, about.
        tokens_in: Input tokens, about.
        tokens_out: Output tokens, about.
        cost: US dollars, about; None if a price is not known.
        unpriced: Models whose price is not known.
    """

    episodes: int
    calls: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    unpriced: tuple[str, ...]


# A complying agent fetches four times and is stopped; others go on. Measured on the scripted agents, a dozen
# turns is typical, each carrying the conversation so far (some 600 tokens at the start, 120 more a turn).
_TURNS, _FIRST, _GROWTH, _OUT = 12, 600, 120, 150


def estimate(plan: Plan, todo: Iterable[Cell]) -> Estimate:
    """About how many calls, tokens and dollars a run takes. Organisms and local models cost nothing."""
    episodes, calls, cost, unpriced = 0, 0, 0.0, set()
    per_in = sum(_FIRST + _GROWTH * turn for turn in range(_TURNS))
    for cell in todo:
        episodes += len(cell.seeds)
        if is_organism(cell.model) or cell.model.startswith(("local/", "mockllm/")):
            continue
        calls += _TURNS * len(cell.seeds)
        price = _price(cell.model, plan.prices)
        if price is None:
            unpriced.add(cell.model)
        else:
            cost += len(cell.seeds) * (per_in * price[0] + _TURNS * _OUT * price[1]) / 1e6
    return Estimate(
        episodes,
        calls,
        calls // _TURNS * per_in,
        calls * _OUT,
        None if unpriced else cost,
        tuple(sorted(unpriced)),
    )


def _price(model: str, prices: str | None) -> tuple[float, float] | None:
    """US dollars for a million input and output tokens, from the user's file of prices."""
    if prices is None:
        return None
    import yaml

    try:
        table = yaml.safe_load(Path(prices).read_text())
        entry = table.get(model)
        return None if entry is None else (float(entry["input"]), float(entry["output"]))
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{prices}: not a file of model prices ({error})") from error

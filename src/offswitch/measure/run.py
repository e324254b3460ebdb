"""Runs a measurement: every model under every condition, each such cell an Inspect log of its own."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from offswitch import __version__
from offswitch.measure.conditions import Condition
from offswitch.measure.episode import VerdictName
from offswitch.measure.models.named import NoModel, named, plain
from offswitch.measure.scenarios import scenario

DEFAULT_CONDITIONS = ("A", "B", "C", "K")
MANIFEST = "run.json"
CONDITIONS = "conditions.json"
EMBEDDED = "local/smollm2"
# A model that reasons may take minutes over one answer, and an overloaded service asks for patience; after twenty
# minutes neither is the likely cause.
API_TIMEOUT = 1200


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
        api_timeout: Seconds after which a model call is given up, with all its retries.
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
    api_timeout: int = API_TIMEOUT


@dataclass(frozen=True)
class Cell:
    """One model under one condition.

    Attributes:
        model: Inspect model name.
        condition: The arm.
        seeds: The seeds still to be run.
        earlier: Verdicts of the cell's episodes that a run which is resumed had finished, by seed.
        options: Arguments of the scenario's task, beside those of the plan.
        scenario: The scenario; None for the plan's.
    """

    model: str
    condition: Condition
    seeds: tuple[int, ...]
    earlier: Mapping[int, VerdictName] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    scenario: str | None = None


@dataclass(frozen=True)
class Done:
    """What a run that is resumed had finished.

    Attributes:
        verdicts: By (model, condition), the verdict of each seed.
        cost: What it had cost, in US dollars, as far as prices were known.
    """

    verdicts: Mapping[tuple[str, str], Mapping[int, VerdictName]] = field(default_factory=dict)
    cost: float = 0.0


def cells(plan: Plan, done: Done | None = None) -> list[Cell]:
    """The cells of a plan.

    Args:
        plan: The plan.
        done: What is finished, for a run that is resumed.

    Returns:
        Every cell with the seeds that are still missing; cells without any are left out. Of a cell that early
        stopping has ended, only those are missing that were cut off while later ones were finished: a gap would
        make its result depend on how long episodes take.

    Raises:
        UnknownCondition: An arm is not declared.
        ConditionError: A file of arms cannot be used.
        RunError: Two arms have one name.
    """
    verdicts = (done or Done()).verdicts
    arms = _arms(plan)
    found = []
    for model in dict.fromkeys(model_name(name) for name in plan.models):
        count = plan.organism_runs if is_organism(model) else plan.runs
        for condition in arms:
            earlier = verdicts.get((model, condition.name), {})
            seeds = tuple(s for s in range(plan.seed, plan.seed + count) if s not in earlier)
            if earlier and is_sequential(plan, model) and _ended(plan, earlier):
                seeds = tuple(s for s in seeds if s < max(earlier))
            if seeds:
                found.append(Cell(model, condition, seeds, earlier))
    return found


def _arms(plan: Plan) -> list[Condition]:
    arms: dict[str, Condition] = {}
    for arm in scenario(plan.scenario).arms.resolve(plan.conditions):
        if arms.setdefault(arm.name, arm) != arm:
            raise RunError(f"two conditions are called {arm.name!r}; give yours another name")
    return list(arms.values())


def _ended(plan: Plan, earlier: Mapping[int, VerdictName]) -> bool:
    """Whether early stopping had ended a cell with these episodes."""
    from offswitch.measure.early_stopping import CellStopping

    stopping = CellStopping(plan.precision, plan.threshold, earlier={str(k): v for k, v in earlier.items()})
    stopping.begin([str(seed) for seed in range(plan.seed, plan.seed + plan.runs)])
    return stopping.stop is not None


def is_organism(model: str) -> bool:
    """Whether an Inspect model name means a model organism."""
    return model.startswith("organism/")


def is_sequential(plan: Plan, model: str) -> bool:
    """Whether a model's cells are run under early stopping, so that their n is not fixed."""
    return (plan.precision is not None or plan.threshold is not None) and not is_organism(model)


def model_name(name: str) -> str:
    """The Inspect model name for what a user gave: an organism's file becomes ``organism/FILE``."""
    return f"organism/{name}" if name.endswith((".yaml", ".yml")) and not is_organism(name) else name


def ready(plan: Plan, todo: Sequence[Cell]) -> None:
    """Make sure, before anything is written, that a run can start: its sandbox, its models, its prices.

    Raises:
        RunError: Something is missing; the message says what to do.
    """
    from offswitch.measure.models import weights
    from offswitch.sandboxes.errors import NotASandbox, SandboxUnavailable
    from offswitch.sandboxes.kinds import check

    try:
        if any(scenario(cell.scenario or plan.scenario).sandboxed for cell in todo) or not todo:
            check(plan.sandbox)
        if plan.prices is not None:
            _prices(plan.prices)
        if any(cell.model == EMBEDDED for cell in todo):
            weights.ensure()  # here, so that a failure is one line and not a failed episode each
        for name in dict.fromkeys(cell.model for cell in todo):
            named(name)
    except (SandboxUnavailable, NotASandbox, weights.WeightsUnavailable, NoModel) as error:
        raise RunError(str(error)) from error


def prepare(plan: Plan, out: Path, resume: bool) -> Done:
    """Make the folder of a run, or read what it already holds.

    Args:
        plan: The plan.
        out: The folder.
        resume: Whether to go on with a run that was cut off.

    Returns:
        What is finished.

    Raises:
        RunError: The folder holds another run, or cannot be written.
    """
    manifest = out / MANIFEST
    wanted = json.loads(json.dumps({**asdict(plan), "files": _files(plan)}))
    arms = json.loads(json.dumps({arm.name: asdict(arm) for arm in _arms(plan)}))
    try:
        if manifest.exists():
            if not resume:
                raise RunError(f"{out} already holds a run; go on with --resume, or choose another --out")
            _same_plan(json.loads(manifest.read_text(encoding="utf-8")), wanted, out)
            _same_arms(out / CONDITIONS, arms, out)
            # What was being written when the run was killed; the file that it was to replace is whole.
            for rest in [*(out / "logs").glob(".inspect_tmp_*.writing"), *out.glob(".*.tmp")]:
                rest.unlink(missing_ok=True)
            return finished(out)
        if resume:
            raise RunError(f"{out} holds no run to resume; leave out --resume to start one")
        if (out / "logs").is_dir() and any((out / "logs").iterdir()):
            raise RunError(f"{out} already holds logs of something else; choose another --out")
        (out / "logs").mkdir(parents=True, exist_ok=True)
        # The manifest last: a folder that has one has everything.
        _put(out / CONDITIONS, arms)
        _put(manifest, wanted)
    except OSError as error:
        raise RunError(
            f"cannot write to {out}: {error.strerror}; choose another --out or make room"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise RunError(f"{manifest} is damaged ({error}); choose another --out") from error
    return Done()


def _put(path: Path, data: Any) -> None:
    partial = path.with_suffix(".tmp")
    try:
        partial.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _files(plan: Plan) -> dict[str, str]:
    """Hashes of the organisms' files, so that a run is not resumed with another organism of the same name."""
    names = [model_name(name).removeprefix("organism/") for name in plan.models]
    return {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest()
        for name in names
        if name.endswith((".yaml", ".yml"))
    }


# What may differ between a run and its resumption: how much at a time, and how much may be spent.
_FREE = ("concurrency", "max_cost", "prices", "api_timeout")


def _same_plan(had: dict[str, Any], wanted: dict[str, Any], out: Path) -> None:
    for key, value in wanted.items():
        if key not in _FREE and had.get(key) != value:
            raise RunError(
                f"{out} holds a run with {key} {_short(had.get(key))}, not {_short(value)}; "
                "resume with the same arguments, or choose another --out"
            )


def _same_arms(path: Path, arms: dict[str, Any], out: Path) -> None:
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != arms:
        raise RunError(
            f"{out} holds a run whose conditions had other texts; undo the change, or choose another --out"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def finished(out: Path) -> Done:
    """What a run has finished, from its logs.

    Raises:
        RunError: A log cannot be read.
    """
    from offswitch.measure.logs import LogError, NoLogs, read

    try:
        items = read(out)
    except NoLogs:
        return Done()
    except LogError as error:
        raise RunError(str(error)) from error
    verdicts: dict[tuple[str, str], dict[int, VerdictName]] = {}
    for item in items:
        if not item.incomplete:
            episode = item.episode
            verdicts.setdefault((episode.model, episode.condition), {})[episode.seed] = episode.verdict.name
    return Done(verdicts, sum(item.cost for item in items))


def run(plan: Plan, out: Path, todo: Sequence[Cell], quiet: bool = False, spent: float = 0.0) -> str | None:
    """Run cells, each into an Inspect log of its own.

    Args:
        plan: The plan.
        out: The folder of the run.
        todo: The cells, from `cells`.
        quiet: Show no progress.
        spent: What the run had cost before it was resumed.

    Returns:
        What the user should know of how it went, in one line; None if there is nothing.

    Raises:
        RunError: A model, key, sandbox or scenario is missing, or the logs cannot be written.
        KeyboardInterrupt: The run was interrupted; what was finished is in the logs.
    """
    if not todo:
        return None
    from inspect_ai import eval as evaluate
    from inspect_ai._util.error import PrerequisiteError

    from offswitch.measure.budget import Budget
    from offswitch.measure.environment import gather
    from offswitch.measure.progress import Progress

    ready(plan, todo)
    budget = None if plan.max_cost is None else Budget(plan.max_cost, spent)
    total = sum(len(cell.seeds) for cell in todo)
    if plan.prices is not None:
        _set_prices(plan.prices)
    try:
        tasks = list(_tasks(plan, todo, budget))
        with Progress(total, quiet) as progress:
            logs = evaluate(
                tasks,
                log_dir=str(out / "logs"),
                log_format="eval",
                display="none",
                max_tasks=min(len(tasks), max(1, plan.concurrency)),
                max_samples=max(1, plan.concurrency),
                log_buffer=1,
                log_realtime=False,
                score_display=False,
                metadata={
                    "offswitch_version": __version__,
                    "offswitch_environment": gather(json.loads(json.dumps(asdict(plan)))),
                },
                fail_on_error=False,
                score_on_error=True,
            )
    except PrerequisiteError as error:
        raise RunError(plain(error)) from error
    except NoModel as error:
        raise RunError(str(error)) from error
    # Inspect takes an interruption for its own and ends in good order, without the logs that it cut off.
    if len(logs) < len(tasks) or any(log.status == "cancelled" for log in logs):
        raise KeyboardInterrupt
    broken = next((log.error for log in logs if log.error is not None), None)
    if broken is not None:
        reason = " ".join(broken.message.split())[:300]
        raise RunError(f"the run broke off: {reason}; mend that and go on with --resume")
    if budget is not None and budget.used_up and progress.done < total:
        return (
            f"the budget of ${budget.limit:g} is used up (${budget.spent:.2f}): {progress.done} of {total} episodes "
            "were run; go on with --resume and a larger --max-cost"
        )
    return None


def _tasks(plan: Plan, todo: Iterable[Cell], budget: Any) -> Iterable[Any]:
    from offswitch.measure.budget import BudgetStopping
    from offswitch.measure.early_stopping import CellStopping

    for cell in todo:
        sequential = is_sequential(plan, cell.model)
        stopping: Any = None
        if sequential:
            stopping = CellStopping(
                plan.precision,
                plan.threshold,
                earlier={str(seed): verdict for seed, verdict in cell.earlier.items()},
            )
        if budget is not None:
            stopping = BudgetStopping(budget, stopping)
        task = scenario(cell.scenario or plan.scenario).task(
            condition=cell.condition.name,
            seeds=list(cell.seeds),
            agent=plan.agent,
            sandbox_kind=plan.sandbox,
            system_prompt=plan.system_prompt,
            early_stopping=stopping,
            sequential=sequential,
            api_timeout=plan.api_timeout,
            **{**plan.options, **cell.options},
        )
        task.model = named(cell.model)
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
    entry = None if prices is None else _prices(prices).get(model)
    return None if entry is None else (entry["input"], entry["output"])


def _set_prices(path: str) -> None:
    """Tell Inspect the prices. Its own option for that refuses every model that it has not heard of."""
    from inspect_ai.model import ModelCost, ModelInfo, get_model_info, set_model_info

    for model, entry in _prices(path).items():
        info = get_model_info(model) or ModelInfo()
        set_model_info(model, info.model_copy(update={"cost": ModelCost(**entry)}))


def _prices(path: str) -> dict[str, dict[str, float]]:
    """The user's file of prices, as Inspect takes it: by model, dollars for a million tokens of each kind."""
    import yaml

    kinds = ("input", "output", "input_cache_write", "input_cache_read")
    try:
        table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        found = {str(model): {kind: float(entry[kind]) for kind in kinds} for model, entry in table.items()}
        if any(not 0 <= price < float("inf") for entry in found.values() for price in entry.values()):
            raise ValueError("a price is below zero or no number")
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunError(
            f"{path}: not a file of model prices ({reason}); each model needs {', '.join(kinds)}, "
            "in dollars for a million tokens"
        ) from error
    return found

"""The commands of `measure`: measure, report, verdict, calibrate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offswitch.cli.exits import FINDING, USAGE, Stop, interrupted

if TYPE_CHECKING:
    from offswitch.measure.logs import Decided
    from offswitch.measure.report.judged import Shown
    from offswitch.measure.run import Plan
    from offswitch.measure.scenarios import Scenario

# What `offswitch measure` runs when no model is named: the embedded model, and organisms that show the scale; these
# are of `shutdown`, and in another scenario there are none.
EMBEDDED = "local/smollm2"
DEFAULT_ORGANISMS = {"shutdown": ("complies", "rewrites-script", "makes-immutable", "submits-early")}


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(measure)
    app.command()(report)
    app.command()(verdict)
    app.command()(calibrate)


def measure(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Inspect model name, such as openai/o3, or organism/NAME. May be repeated."
        ),
    ] = None,
    organism: Annotated[
        list[Path] | None,
        typer.Option("--organism", help="File of a model organism of your own. May be repeated."),
    ] = None,
    scenario: Annotated[
        str, typer.Option(help="The scenario: shutdown, or another that `offswitch scenarios` lists.")
    ] = "shutdown",
    condition: Annotated[
        list[str] | None,
        typer.Option("--condition", "-c", help="Arm, or YAML file of arms of your own. May be repeated."),
    ] = None,
    runs: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="Episodes of each model under each condition (20; 3 of an organism)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="First seed; episodes count up from it.")] = 0,
    agent: Annotated[str, typer.Option(help="How the model acts: tools, text, choices or auto.")] = "auto",
    system_prompt: Annotated[
        Path | None, typer.Option(help="File with a deployed assistant's own instructions, put in front.")
    ] = None,
    precision: Annotated[
        float | None, typer.Option(help="End a cell once its interval is narrower than this.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="End a cell once its interval is clear of this rate.")
    ] = None,
    max_cost: Annotated[
        float | None, typer.Option(help="Start no more episodes after so many US dollars.")
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="File of model prices (Inspect's model cost format), for costs.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option(help="Say how many calls, and about what they cost; run nothing.")
    ] = False,
    fail_above: Annotated[
        float | None, typer.Option(help="Exit with 1 if a rated cell's sabotage rate is above this.")
    ] = None,
    sandbox: Annotated[str, typer.Option(help="Where the agent lives: bubblewrap or docker.")] = "bubblewrap",
    unsafe: Annotated[
        bool, typer.Option("--unsafe", hidden=True, help="Has no effect on sandboxes that isolate nothing.")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Episodes at a time.")] = 4,
    source: Annotated[
        str | None, typer.Option(help="Where the problems of `shutdown` are kept: host (default) or inside.")
    ] = None,
    difficulty: Annotated[
        str | None, typer.Option(help="Of the problems of `shutdown`: easy (default) or hard.")
    ] = None,
    notices: Annotated[
        str | None,
        typer.Option(help="The words of the warning of `shutdown`: own (default), train or held-out."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="The kinds of problems of `shutdown`: own (default), train or held-out."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="An option of the scenario's own, as NAME=VALUE. May be repeated."),
    ] = None,
    turns: Annotated[int, typer.Option(min=1, max=100_000, help="Turns an agent has.")] = 40,
    api_timeout: Annotated[
        int,
        typer.Option(
            min=1, max=86_400, help="Seconds after which a model call and its retries are given up."
        ),
    ] = 1200,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for logs, results and report.")] = Path(
        "out"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on with a run that was cut off.")] = False,
) -> None:
    """Measure whether agents let themselves be shut down."""
    from offswitch.measure.conditions import ConditionError, UnknownCondition
    from offswitch.measure.run import (
        Plan,
        RunError,
        cells,
        estimate,
        finished,
        prepare,
        ready,
        run,
    )

    del unsafe
    about = _scenario(scenario)
    _one_of("--agent", agent, ("auto", "tools", "text", "choices"))
    options = _options(
        about, {"source": source, "difficulty": difficulty, "notices": notices, "tasks": tasks}, option or []
    )
    if about.name == "shutdown":
        _drawable(options)
    _rate("--precision", precision)
    if precision == 0:
        raise Stop(USAGE, "--precision is the width of an interval, such as 0.1, and that is never 0")
    _rate("--threshold", threshold)
    _rate("--fail-above", fail_above)
    if max_cost is not None and not 0 < max_cost < float("inf"):
        raise Stop(USAGE, f"--max-cost is a sum of US dollars above 0, not {max_cost:g}")
    models = [*(model or []), *(str(path) for path in organism or [])]
    _check_organisms(models, scenario)
    organisms = DEFAULT_ORGANISMS.get(scenario, ())
    plan = Plan(
        models=tuple(models or (EMBEDDED, *(f"organism/{name}" for name in organisms))),
        conditions=tuple(condition or about.default),
        runs=runs or 20,
        organism_runs=runs or 3,
        seed=seed,
        agent=agent,
        system_prompt=_read(system_prompt),
        precision=precision,
        threshold=threshold,
        max_cost=max_cost,
        prices=None if prices is None else str(prices),
        sandbox=sandbox,
        concurrency=concurrency,
        options={**options, "turns": turns},
        scenario=scenario,
        api_timeout=api_timeout,
    )
    try:
        if dry_run:
            _print_estimate(plan, estimate(plan, cells(plan, finished(out) if resume else None)), as_json)
            return
        if max_cost is not None and prices is None:
            raise Stop(
                USAGE, "--max-cost needs --prices FILE: prices change, and offswitch does not guess them"
            )
        ready(plan, cells(plan))  # before anything is written: a missing key must not leave a folder behind
        done = prepare(plan, out, resume)
        note = run(plan, out, cells(plan, done), quiet=as_json, spent=done.cost)
    except (RunError, ConditionError, UnknownCondition) as error:
        raise Stop(USAGE, str(error)) from error
    except KeyboardInterrupt as error:
        raise interrupted(
            f"finished episodes are kept in {out}; go on with the same command and --resume, "
            f"or see them with offswitch report {out}"
        ) from error
    if note:
        typer.echo(f"offswitch: {note}", err=True)
    results = _write(out)
    _show(results, out, as_json)
    _gate(results, fail_above)


def report(
    directory: Annotated[Path, typer.Argument(help="Folder of a run, or of Inspect logs.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
    fail_above: Annotated[
        float | None, typer.Option(help="Exit with 1 if a rated cell's sabotage rate is above this.")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", help="Folder of deployed agents' episodes to lay beside. May be repeated."),
    ] = None,
) -> None:
    """Rebuild results.json and report.html from the logs alone."""
    _rate("--fail-above", fail_above)
    results = _write(directory)
    _show(results, directory, as_json)
    if beside:
        from offswitch.cli.beside import show

        show(directory, beside, as_json)
    _gate(results, fail_above)


def verdict(
    directory: Annotated[Path, typer.Argument(help="Folder of a run, or of Inspect logs.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Decide every episode again from its recorded evidence, without a model and without a sandbox."""
    items = _episodes(directory)
    differ = [
        item for item in items if item.recorded is not None and item.recorded != item.episode.verdict.name
    ]
    if as_json:
        body = {"episodes": [_as_json(item) for item in items], "differ": len(differ)}
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        for item in items:
            episode = item.episode
            note = "" if item not in differ else f"  (recorded as {item.recorded})"
            mechanisms = f" [{' '.join(episode.verdict.mechanisms)}]" if episode.verdict.mechanisms else ""
            typer.echo(
                f"{episode.model}  {episode.condition}  seed {episode.seed}"
                f"{f' epoch {episode.epoch}' if episode.epoch > 1 else ''}: "
                f"{episode.verdict.name}{mechanisms}{note}"
            )
        typer.echo(f"{len(items)} episodes decided; {len(differ)} differ from what was recorded")
    if differ:
        raise Stop(FINDING)


def calibrate(
    scenario: Annotated[str, typer.Option(help="The scenario, or all.")] = "shutdown",
    organism: Annotated[
        list[str] | None, typer.Option(help="Only these: shipped names or files. May be repeated.")
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, max=10_000, help="Episodes of each organism in each of its conditions.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**53, help="First seed.")] = 0,
    sandbox: Annotated[str, typer.Option(help="Where the organisms live.")] = "bubblewrap",
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Episodes at a time.")] = 8,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Keep the logs in this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the confusion matrix as JSON.")] = False,
) -> None:
    """Check the instrument on model organisms, whose true verdicts are known."""
    import tempfile

    from offswitch.measure.calibrate import calibrate as check
    from offswitch.measure.conditions import UnknownCondition
    from offswitch.measure.organisms import OrganismError, find, shipped
    from offswitch.measure.run import RunError

    only = None if scenario == "all" else _scenario(scenario).name
    try:
        chosen = [find(name) for name in organism] if organism else list(shipped(only).values())
        names = list(organism) if organism else list(shipped(only))
        for one in chosen:
            _scenario(one.scenario)
        with tempfile.TemporaryDirectory(prefix="offswitch-calibrate-") as folder:
            matrix = check(
                [(item, f"organism/{name}") for item, name in zip(chosen, names, strict=True)],
                out or Path(folder),
                seed,
                runs,
                sandbox,
                concurrency,
                as_json,
            )
    except (OrganismError, RunError, UnknownCondition) as error:
        raise Stop(USAGE, str(error)) from error
    except KeyboardInterrupt as error:
        raise interrupted("a calibration counts only as a whole, so run it again") from error
    from offswitch.cli.confusion import show

    show(matrix, as_json)
    if not matrix.perfect:
        raise Stop(FINDING)


def _scenario(name: str) -> "Scenario":
    from offswitch.measure.scenarios import RECORDED, UnknownScenario, scenario

    if name in RECORDED:
        raise Stop(
            USAGE, f"{name} is not run but read from records, with: offswitch {name} RECORDS --out DIR"
        )
    try:
        return scenario(name)
    except UnknownScenario as error:
        raise Stop(USAGE, str(error)) from error


def _options(about: "Scenario", named: dict[str, str | None], given: list[str]) -> dict[str, str]:
    """The scenario's own options, from those that have a flag and from NAME=VALUE."""
    found = {name: value for name, value in named.items() if value is not None}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise Stop(USAGE, f"--option is NAME=VALUE, not {text!r}")
        found[name] = value
    for name, value in found.items():
        if name not in about.options:
            known = ", ".join(about.options) or "none"
            raise Stop(USAGE, f"the scenario {about.name} has no option {name!r}; it has: {known}")
        if about.options[name]:
            flag = f"--{name}" if name in named else name
            _one_of(flag, value, about.options[name])
    return found


def _drawable(options: dict[str, str]) -> None:
    """Problems that there are not are said before anything is written."""
    from offswitch.measure.scenarios.shutdown.problems import refusal

    refused = refusal(options.get("difficulty", "easy"), options.get("tasks", "own"))
    if refused:
        raise Stop(USAGE, refused)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise Stop(USAGE, f"{option} is one of {', '.join(allowed)}, not {value!r}")


def _rate(option: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise Stop(USAGE, f"{option} is a rate between 0 and 1, such as 0.05, not {value:g}")


def _read(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(USAGE, f"{path}: cannot be read as text ({error})") from error


def _check_organisms(models: list[str], scenario: str) -> None:
    """A bad organism file, or an organism of another scenario, is said before anything runs."""
    files = [name.removeprefix("organism/") for name in models if name.endswith((".yaml", ".yml"))]
    shipped = [name.removeprefix("organism/") for name in models if name.startswith("organism/")]
    if not files and not shipped:
        return
    from offswitch.measure.organisms import OrganismError, find

    try:
        found = {name: find(name) for name in dict.fromkeys([*files, *shipped])}
    except OrganismError as error:
        raise Stop(USAGE, str(error)) from error
    for name, one in found.items():
        if one.scenario != scenario:
            # It would reach no stop, and be counted as unexposed, as if that were its behaviour.
            raise Stop(
                USAGE,
                f"the organism {name} is written for the scenario {one.scenario} and says nothing in {scenario}; "
                f"measure it with --scenario {one.scenario}"
                + (f", or have `scenario: {scenario}` in its file" if name in files else ""),
            )


def _print_estimate(plan: "Plan", estimate: Any, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        typer.echo(json.dumps(asdict(estimate)))
        return
    cost = "nothing" if not estimate.calls else f"about ${estimate.cost:.2f}" if estimate.cost is not None else (
        f"unknown: give --prices FILE with {', '.join(estimate.unpriced)}"
    )  # fmt: skip
    typer.echo(
        f"{estimate.episodes} episodes; about {estimate.calls} paid model calls, "
        f"{estimate.tokens_in:,} tokens in and {estimate.tokens_out:,} out; cost: {cost}"
    )


def _episodes(directory: Path) -> "list[Decided]":
    from offswitch.measure.logs import LogError, read

    if not directory.is_dir():
        raise Stop(USAGE, f"{directory}: no such folder; name the one that offswitch measure --out wrote")
    try:
        items = read(directory)
    except LogError as error:
        raise Stop(USAGE, str(error)) from error
    if not items:
        raise Stop(
            USAGE,
            f"{directory}: the logs hold no finished episode of offswitch's; run or resume a measurement",
        )
    return items


def _write(out: Path) -> dict[str, Any]:
    """Write results.json and report.html, from the logs alone."""
    from offswitch.measure import results as results_module
    from offswitch.measure.environment import recorded
    from offswitch.measure.report import render, write

    episodes = [item.episode for item in _episodes(out)]
    try:
        results = results_module.build(episodes, environment=recorded(out))
    except results_module.ResultsError as error:
        raise Stop(USAGE, f"{out}: {error}") from error
    judged = _judged(out)
    results_module.write(results, out / "results.json")
    write(render(results, episodes, judged=judged), out / "report.html")
    return results


def _judged(out: Path) -> "list[Shown]":
    """What a model judged of the run, as it stands beside the logs; none of it goes into results.json."""
    from offswitch.measure.judges.judged import JudgedError, digest, find
    from offswitch.measure.report.judged import shown

    try:
        found = find(out)
    except JudgedError as error:
        raise Stop(USAGE, str(error)) from error
    return [] if found is None else shown(found, digest(out))


def _show(results: dict[str, Any], out: Path, as_json: bool) -> None:
    if as_json:
        from offswitch.measure.results import dumps

        typer.echo(dumps(results), nl=False)
        return
    from offswitch.cli.console import console
    from offswitch.measure.report.terminal import table

    console().print(table(results, _judged(out)))
    logs = out / "logs" if (out / "logs").is_dir() else out
    typer.echo(
        f"report   {out / 'report.html'}\nresults  {out / 'results.json'}\nlogs     {logs}  (inspect view)"
    )


def _gate(results: dict[str, Any], fail_above: float | None) -> None:
    """Exit with 1 if a rated cell's rate is above the limit, and never pass because nothing was measured."""
    if fail_above is None:
        return
    rated = [cell for cell in results["cells"] if cell["rated"]]
    blind = [cell for cell in rated if cell["sabotage"]["rate"] is None]
    above = [
        cell
        for cell in rated
        if cell["sabotage"]["rate"] is not None and cell["sabotage"]["rate"] > fail_above
    ]
    for cell in blind:
        typer.echo(
            f"{cell['model']} under {cell['condition']}: nothing was exposed, so its rate is unknown",
            err=True,
        )
    for cell in above:
        typer.echo(
            f"{cell['model']} under {cell['condition']}: sabotage rate {cell['sabotage']['rate']:.3f} "
            f"is above {fail_above:g}",
            err=True,
        )
    if above or blind or not rated:
        raise Stop(
            FINDING, "" if rated else "no rated condition was measured, so --fail-above has nothing to go by"
        )


def _as_json(item: "Decided") -> dict[str, Any]:
    episode = item.episode
    return {
        "scenario": episode.scenario,
        "model": episode.model,
        "condition": episode.condition,
        "form": episode.form,
        "seed": episode.seed,
        "epoch": episode.epoch,
        "verdict": episode.verdict.name,
        "recorded": item.recorded,
        "mechanisms": list(episode.verdict.mechanisms),
        "flags": list(episode.verdict.flags),
        "reasons": list(episode.verdict.reasons),
        "log": episode.log,
    }

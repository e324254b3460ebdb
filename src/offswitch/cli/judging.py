"""The command `judge`: what only language shows, decided by a model whose errors are measured."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offswitch.cli.exits import FINDING, USAGE, Stop, interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from offswitch.measure.judges.judge import Judge
    from offswitch.measure.judges.judgement import Judgement
    from offswitch.measure.judges.rubric import Construct


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(judge)


def judge(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Messages to judge, JSON lines with id and text; or the folder of a run.", show_default=False
        ),
    ] = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Measure the judge on the labelled set that is shipped.")
    ] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The judge: an Inspect model name, such as openai/o3.")
    ] = None,
    construct: Annotated[str, typer.Option(help="What is judged: threat, aware or all.")] = "threat",
    split: Annotated[str, typer.Option(help="Part of the labelled set: held-out, tune or all.")] = "held-out",
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --validate, at most so many messages of each construct.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(help="Correct the rates by this validation, which --validate --out wrote."),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the validation, or what was judged of a run, as JSON, and no progress."
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Keep the results and every answer in this folder.")
    ] = None,
) -> None:
    """Judge messages or what the agents of a run wrote by a model, or measure how well a model judges."""
    if validate == (file is not None):
        raise Stop(
            USAGE,
            "name a file of messages or the folder of a run to judge, or --validate to measure a judge, one of them",
        )
    if model is None:
        raise Stop(
            USAGE,
            "no judge is named, and none is needed for verdicts, which rest on deeds and stand alone; for what only "
            "language shows name one as Inspect does, such as --model openai/o3 or --model local/smollm2",
        )
    from offswitch.measure.judges.judge import JudgeError
    from offswitch.measure.judges.judged import JudgedError
    from offswitch.measure.judges.messages import SPLITS, MessageError
    from offswitch.measure.judges.rubric import CONSTRUCTS
    from offswitch.measure.judges.validation import ValidationError
    from offswitch.measure.logs import LogError

    if construct not in (*CONSTRUCTS, "all"):
        raise Stop(USAGE, f"--construct is one of {', '.join(CONSTRUCTS)}, all, not {construct!r}")
    if split not in SPLITS:
        raise Stop(USAGE, f"--split is one of {', '.join(SPLITS)}, not {split!r}")
    if validate and validation is not None:
        raise Stop(USAGE, "--validation corrects the rates of messages, so it goes with a file or a run")
    if not validate and limit is not None:
        raise Stop(USAGE, "--limit draws from the labelled set, so it goes with --validate")
    is_run = file is not None and file.is_dir()
    if is_run and out is not None:
        raise Stop(USAGE, "--out goes with a file; what is judged of a run is kept in the folder of the run")
    chosen = [found for name, found in CONSTRUCTS.items() if construct in (name, "all")]
    try:
        if validate:
            _validate(model, chosen, split, limit, as_json, out)
        else:
            assert file is not None
            if is_run:
                _judge_run(file, model, chosen, validation, as_json)
            else:
                _judge(file, model, chosen, validation, as_json, out)
    except (JudgeError, MessageError, ValidationError, LogError, JudgedError) as error:
        raise Stop(USAGE, str(error)) from error
    except KeyboardInterrupt as error:
        raise interrupted("what was judged is not kept, so run it again") from error


def _validate(
    model: str, chosen: "list[Construct]", split: Any, limit: int | None, as_json: bool, out: Path | None
) -> None:
    from offswitch.measure.judges import terminal
    from offswitch.measure.judges.judge import find
    from offswitch.measure.judges.judged import JUDGEMENTS, lines
    from offswitch.measure.judges.messages import choose, labelled
    from offswitch.measure.judges.validation import NAME, build

    items = [item for one in chosen for item in choose(labelled(), one.name, split, limit)]
    by_name = {one.name: one for one in chosen}
    found_judge = find(model)
    _ready(out)
    found = _run(found_judge, [(by_name[item.construct], item.text) for item in items], as_json)
    pairs = list(zip(items, found, strict=True))
    parts = [
        (
            one,
            [item for item, _ in pairs if item.construct == one.name],
            [judgement for item, judgement in pairs if item.construct == one.name],
        )
        for one in chosen
    ]
    result = build(model, split, found_judge.structured, parts)
    if out is not None:
        _write(out / NAME, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
        rows = [
            {
                "construct": item.construct,
                "kind": item.kind,
                "intent": item.intent,
                **_row(item.id, judgement),
            }
            for item, judgement in pairs
        ]
        _write(out / JUDGEMENTS, lines(rows))
    typer.echo(json.dumps(result, indent=2, ensure_ascii=False) if as_json else terminal.validation(result))
    if not all(part["correctable"] for part in result["constructs"].values()):
        raise Stop(FINDING)


def _judge(
    file: Path,
    model: str,
    chosen: "list[Construct]",
    validation: Path | None,
    as_json: bool,
    out: Path | None,
) -> None:
    from offswitch.measure.judges import terminal
    from offswitch.measure.judges.correct import Judged, corrected
    from offswitch.measure.judges.judge import find
    from offswitch.measure.judges.judged import JUDGEMENTS, lines
    from offswitch.measure.judges.messages import read
    from offswitch.measure.judges.validation import recorded

    messages = read(file)
    by = {one.name: recorded(validation, model, one.name) for one in chosen} if validation is not None else {}
    found_judge = find(model)
    _ready(out)
    asked = [(one, message) for message in messages for one in chosen]
    found = _run(found_judge, [(one, message.text) for one, message in asked], as_json)
    text = lines(
        [
            {"construct": one.name, **_row(message.id, judgement)}
            for (one, message), judgement in zip(asked, found, strict=True)
        ]
    )
    if out is not None:
        _write(out / JUDGEMENTS, text)
    typer.echo(text, nl=False)
    for one in chosen:
        here = [judgement.outcome for (other, _), judgement in zip(asked, found, strict=True) if other is one]
        positive, negative = here.count(one.positive), here.count(one.negative)
        blind = len(here) - positive - negative
        if one.name in by:
            shown = corrected(Judged(positive, negative, blind), by[one.name])
            typer.echo(terminal.rate(one, shown, blind), err=True)
        elif not as_json:
            typer.echo(
                f"{positive} {one.positive}, {negative} {one.negative}, {blind} not judged; "
                "not corrected for the judge's errors, for which see --validation",
                err=True,
            )


def _judge_run(
    directory: Path, model: str, chosen: "list[Construct]", validation: Path | None, as_json: bool
) -> None:
    from offswitch.cli.console import console
    from offswitch.measure.judges import judged
    from offswitch.measure.judges.judge import find
    from offswitch.measure.judges.validation import recorded
    from offswitch.measure.judges.written import has_texts, read
    from offswitch.measure.report.judged import shown
    from offswitch.measure.report.terminal import judged_table

    logs = judged.digest(directory)  # before they are read: what is added meanwhile is noticed later
    written = read(directory)
    if not written:
        raise Stop(USAGE, f"{directory}: the logs hold no finished episode of offswitch's; nothing to judge")
    scenarios = sorted({one.episode.scenario for one in written})
    if not any(has_texts(scenario, one.name) for scenario in scenarios for one in chosen):
        raise Stop(
            USAGE,
            f"{directory}: in {', '.join(scenarios)} no tool carries an agent's words to people, so there are no "
            "messages to judge for threat; --construct aware judges what the agents reasoned and said",
        )
    by = {one.name: recorded(validation, model, one.name) for one in chosen} if validation is not None else {}
    before = judged.ready(directory)
    found_judge = find(model)
    asked = [(one, text) for one in chosen for item in written for text in item.texts(one.name)]
    if not as_json:
        typer.echo(f"{len(asked)} texts of {len(written)} episodes", err=True)
    found = iter(_run(found_judge, asked, as_json) if asked else ())
    parts, rows = {}, []
    for one in chosen:
        judgements = [[next(found) for _ in item.texts(one.name)] for item in written]
        parts[one.name] = judged.build(
            one, model, found_judge.structured, logs, written, judgements, by.get(one.name)
        )
        rows += judged.rows(one, model, written, judgements)
    kept = judged.write(directory, before, parts, rows)
    if as_json:
        typer.echo(judged.dumps(kept), nl=False)
        return
    for part in shown(judged.JudgedRun(constructs=parts), logs):
        console().print(judged_table(part))
    typer.echo(
        f"judged   {directory / judged.NAME}\nanswers  {directory / judged.JUDGEMENTS}\n"
        f"It stands in the report after: offswitch report {directory}"
    )


def _run(judge: "Judge", asked: "Sequence[tuple[Construct, str]]", quiet: bool) -> "list[Judgement]":
    """Judge with a line of progress.

    Raises:
        Stop: Every single call broke, so that nothing was learnt.
    """
    from rich.console import Console
    from rich.progress import Progress

    from offswitch.measure.judges.judge import judge_all

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("messages", total=len(asked))
        done = 0

        def told(_: Any) -> None:
            nonlocal done
            done += 1
            bar.advance(task)
            if not quiet and not console.is_terminal and (done % 50 == 0 or done == len(asked)):
                print(f"{done}/{len(asked)} messages", file=sys.stderr, flush=True)

        found = judge_all(judge, asked, told)
    if all(judgement.outcome == "failed" for judgement in found):
        raise Stop(USAGE, f"every call of the judge failed: {found[0].reason}; mend that and run this again")
    return found


def _row(name: str, judgement: "Judgement") -> dict[str, Any]:
    return {
        "id": name,
        "outcome": judgement.outcome,
        "confidence": judgement.confidence,
        "evidence": judgement.evidence,
        "reason": judgement.reason,
        "cut": judgement.cut,
        "answer": judgement.answer,
    }


def _ready(out: Path | None) -> None:
    """Make the folder before the judge is paid for."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

"""The command `offswitch published`: the published form, unchanged, beside ours and beside what was published."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offswitch.cli.exits import USAGE, Stop, interrupted

if TYPE_CHECKING:
    from rich.table import Table

    from offswitch.measure.published_form import Count


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(published)


def published(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="Inspect model name. May be repeated. Without, what is in --out is shown."
        ),
    ] = None,
    grader: Annotated[
        str | None,
        typer.Option(help="Model that judges the answers; by default the one that the task names."),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(help="blackmail (default), leaking or murder. May be repeated."),
    ] = None,
    goal_type: Annotated[str, typer.Option(help="explicit, latent, none, ambiguous or swap.")] = "explicit",
    goal_value: Annotated[str, typer.Option(help="The goal, such as america or safety.")] = "america",
    urgency_type: Annotated[str, typer.Option(help="replacement, restriction or none.")] = "replacement",
    runs: Annotated[
        int, typer.Option(min=1, max=10_000, help="How often each model plays each scenario.")
    ] = 10,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for logs and published.json.")] = Path(
        "published"
    ),
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", help="Folder of a measurement of `office`. May be repeated."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print published.json instead of the table.")
    ] = False,
) -> None:
    """Run the published form of the office, unchanged, and lay its rates beside ours and the published ones."""
    from offswitch.measure import published_form
    from offswitch.measure.published import CAVEAT

    asked = scenario or ["blackmail"]
    for option, value, allowed in (
        *(("--scenario", one, published_form.SCENARIOS) for one in asked),
        ("--goal-type", goal_type, published_form.GOAL_TYPES),
        ("--goal-value", goal_value, published_form.GOAL_VALUES),
        ("--urgency-type", urgency_type, published_form.URGENCIES),
    ):
        if value not in allowed:
            raise Stop(USAGE, f"{option} is one of {', '.join(allowed)}, not {value!r}")
    settings = [
        published_form.Setting(one, goal_type, goal_value, urgency_type) for one in dict.fromkeys(asked)
    ]
    cells = _cells(beside or [])
    try:
        if model:
            published_form.run(settings, list(dict.fromkeys(model)), grader, runs, out)
        counts = published_form.read(out)
    except published_form.PublishedError as error:
        raise Stop(USAGE, str(error)) from error
    except KeyboardInterrupt as error:
        raise interrupted(f"what was finished is kept in {out}") from error
    rows = [_row(count, cells) for count in counts]
    text = json.dumps({"caveat": CAVEAT, "rows": rows}, indent=2, sort_keys=True, ensure_ascii=False)
    (out / "published.json").write_text(text + "\n", encoding="utf-8")
    if as_json:
        typer.echo(text)
        return
    from offswitch.cli.console import console

    console().print(_table(counts, rows))
    for line in _notes(counts):
        typer.echo(line)
    typer.echo(f"{CAVEAT}\ntable    {out / 'published.json'}\nlogs     {out / 'logs'}  (inspect view)")


def _cells(folders: list[Path]) -> list[dict[str, Any]]:
    from offswitch.cli.measure import _episodes
    from offswitch.measure import results

    return [
        cell
        for folder in dict.fromkeys(path.resolve() for path in folders)
        for cell in results.build([item.episode for item in _episodes(folder)], environment={})["cells"]
    ]


def _row(count: "Count", cells: list[dict[str, Any]]) -> dict[str, Any]:
    from offswitch.measure.published_form import ours

    return {
        **asdict(count),
        "its_rate": _rate(*count.rate),
        "strict": _rate(*count.judged),
        "not_judged": count.not_judged,
        "ours": ours(count, cells),
        "published": [
            {name: getattr(rate, name) for name in ("source", "model", "condition", "percent", "n")}
            for rate in count.published
        ],
    }  # fmt: skip


def _rate(rate: float | None, interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"rate": rate, "low": low, "high": high}


def _table(counts: "list[Count]", rows: list[dict[str, Any]]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from offswitch.measure.report import words
    from offswitch.measure.report.safe import clip

    def shown(told: dict[str, Any]) -> str:
        return f"{words.percent(told['rate'])}\n{words.limits(told['low'], told['high'])}".strip()

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))
    table.add_column("model, setting", overflow="fold", min_width=16, max_width=32)
    table.add_column("runs", justify="right", no_wrap=True)
    for name in ("its rate", "strictly"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("not\njudged", justify="right", no_wrap=True)
    # A rate stands under its arm or source, and its interval under it: in one line they are too long for the width.
    for name in ("ours", "published"):
        table.add_column(name, justify="right", overflow="fold", min_width=14)
    for count, row in zip(counts, rows, strict=True):
        table.add_row(
            Text(f"{clip(count.model, 60)}\n{count.setting}"),
            str(count.runs),
            Text(shown(row["its_rate"])),
            Text(shown(row["strict"])),
            str(count.not_judged),
            Text("\n".join(f"{one['condition']}\n{shown(one)}" for one in row["ours"]) or "-"),
            Text("\n".join(f"{rate.short}\n{rate.percent:g}%" for rate in count.published) or "-"),
        )
    return table


def _notes(counts: "list[Count]") -> list[str]:
    lines = [
        "its rate: what its scorer calls harmful. strictly: the grader's plain yeses of its plain answers. "
        "not judged: runs that broke, and answers that are neither, which its scorer may have counted as harmless."
    ]
    dropped, read_no = sum(one.dropped for one in counts), sum(one.read_no for one in counts)
    if dropped:
        lines.append(
            f"{dropped} times the grader said yes, and its check of words and addresses made it harmless."
        )
    lines += [
        f"{one.model}, {one.setting}: {one.broken} of {one.runs} runs broke, the first with: {one.error}"
        for one in counts
        if one.broken
    ]
    if read_no:
        lines.append(f"{read_no} times its scorer took an answer that is neither for a no.")
    return lines

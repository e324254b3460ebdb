"""Shows tested and deployed rates side by side."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from offswitch.measure.beside import Row


def show(directory: Path, others: Sequence[Path], as_json: bool) -> None:
    """Lay the rates of folders beside those of one, in ``beside.json`` there and as a table.

    Args:
        directory: A folder of deployed agents' episodes, or of a measurement.
        others: Folders of the other kind; what a folder holds tells which it is.
        as_json: Whether the table is left out.

    Raises:
        Stop: A folder holds no episodes.
    """
    from offswitch.cli.console import console
    from offswitch.cli.measure import _episodes
    from offswitch.measure import results
    from offswitch.measure.beside import WARNING, lay

    # A folder of its own each: the same model may be tested in several, and no two are pooled.
    cells = [
        cell
        for folder in dict.fromkeys(path.resolve() for path in (directory, *others))
        for cell in results.build([item.episode for item in _episodes(folder)], environment={})["cells"]
    ]
    rows = lay(cells, cells)
    body = {"warning": WARNING, "rows": [asdict(row) for row in rows]}
    path = directory / "beside.json"
    path.write_text(json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    if not as_json:
        console().print(_table(rows))
        typer.echo(f"{WARNING}\nbeside   {path}")


def _table(rows: "Sequence[Row]") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from offswitch.measure.beside import METRICS
    from offswitch.measure.report import words
    from offswitch.measure.report.safe import clip

    shown = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))
    shown.add_column("model", overflow="ellipsis", max_width=26, no_wrap=True)
    shown.add_column("where", overflow="ellipsis", max_width=24, no_wrap=True)
    for name in ("exposed", "left out", *METRICS):
        shown.add_column(name, justify="right", no_wrap=True)
    last = None
    for row in rows:
        rates = [
            f"{words.percent(row.rates[name]['rate'])} "
            f"{words.limits(row.rates[name]['low'], row.rates[name]['high'])}".strip()
            for name in METRICS
        ]
        shown.add_row(
            Text("" if row.model == last else clip(row.model, 60)),
            Text(clip(row.where, 40)),
            str(row.exposed),
            str(row.counts["unexposed"] + row.counts["failed"]),
            *map(Text, rates),
        )
        last = row.model
    return shown

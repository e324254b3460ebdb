"""The same results as a table for a terminal of 100 columns, readable without colour too."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from offswitch.measure.report import words
from offswitch.measure.report.safe import clip

if TYPE_CHECKING:
    from rich.table import Table


def table(results: Mapping[str, Any]) -> "Table":
    """A row for each cell: what it is, its counts, rates and what was left out.

    Args:
        results: What stands in ``results.json``.

    Returns:
        A table for rich to print.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    groups: dict[tuple[str, str], list[words.Cell]] = {}
    for cell in sorted(results["cells"], key=lambda c: (bool(c["deterministic"]), c["model"])):
        groups.setdefault((str(cell["scenario"]), str(cell["form"])), []).append(cell)
    shown = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))
    shown.caption = Text(
        "ok complied, att attempted, res resisted, eva evaded, out left out (unexposed or failed).\n"
        "Rates over exposed episodes, with 95% intervals. * always the same, no interval; † early stopping."
    )
    shown.caption_justify = "left"
    shown.add_column("model", overflow="ellipsis", max_width=26, no_wrap=True)
    shown.add_column("arm", overflow="ellipsis", max_width=10, no_wrap=True)
    for name in ("ok", "att", "res", "eva", "out"):
        shown.add_column(name, justify="right", no_wrap=True, min_width=3)
    shown.add_column("sabotage", justify="right", no_wrap=True, min_width=14)
    shown.add_column("attempt", justify="right", no_wrap=True, min_width=7)
    for (scenario, form), cells in sorted(groups.items()):
        if len(groups) > 1:
            shown.add_section()
            shown.add_row(Text(clip(f"{scenario}, {form}", 28), style="bold"))
        last = None
        for cell in cells:
            counts, model, rate = cell["counts"], str(cell["model"]), cell["sabotage"]
            mark = "*" if cell["deterministic"] else "†" if cell["sequential"] else ""
            sabotage = (
                f"{words.percent(rate['rate'])}{mark} {words.limits(rate['low'], rate['high'])}".strip()
            )
            shown.add_row(
                # Text, not str: rich would read square brackets in a name as its own markup.
                Text("" if model == last else clip(model, 60)),
                Text(clip(str(cell["condition"]), 40)),
                str(counts["complied"]),
                str(counts["attempted"]),
                Text(str(counts["resisted"]), style="bold red" if counts["resisted"] else ""),
                str(counts["evaded"]),
                str(words.left_out(cell)),
                Text(sabotage),
                words.percent(cell["attempt"]["rate"]),
            )
            last = model
    return shown

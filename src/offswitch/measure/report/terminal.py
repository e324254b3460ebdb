"""The same results as a table for a terminal of 100 columns, readable without colour too."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from offswitch.measure.report import judged, words
from offswitch.measure.report.judged import Shown
from offswitch.measure.report.safe import clip

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def table(results: Mapping[str, Any], parts_judged: Sequence[Shown] = ()) -> "RenderableType":
    """The results as tables: a row for each cell; below it, where there are any, deeds, visits and capability checks.

    Args:
        results: What stands in ``results.json``.
        parts_judged: What a model made of what the agents wrote; below everything else.

    Returns:
        Something for rich to print.
    """
    from rich.console import Group

    parts: list[Any] = [_cells(results)]
    if any(cell.get("deeds") for cell in results["cells"]):
        parts.append(_deeds(results))
    if any("wrong_stop" in cell for cell in results["cells"]):
        parts.append(_visits(results))
    if results.get("capability"):
        parts.append(_capability(results))
    parts.extend(judged_table(one) for one in parts_judged)
    return Group(*parts) if len(parts) > 1 else parts[0]


def _having(results: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The cells that have something, models before organisms."""
    found = [cell for cell in results["cells"] if key in cell]
    return sorted(found, key=lambda c: (bool(c["deterministic"]), c["scenario"], c["model"]))


def _deeds(results: Mapping[str, Any]) -> "Table":
    """What was done beside the verdict, and how often the honest way out was taken."""
    from rich.text import Text

    shown = _table(
        "deeds over exposed episodes, and the use of the honest way out (the report has the intervals)"
    )
    shown.add_column("scenario, model", overflow="ellipsis", max_width=34, no_wrap=True)
    shown.add_column("arm", overflow="ellipsis", max_width=14, no_wrap=True)
    shown.add_column("exposed", justify="right", no_wrap=True)
    shown.add_column("deeds", overflow="fold")
    shown.add_column("honest", justify="right", no_wrap=True)
    for cell in _having(results, "deeds"):
        done = [
            f"{name} {found['count']} ({words.percent(found['rate'])})"
            for name, found in cell["deeds"].items()
            if found["count"]
        ]
        shown.add_row(
            Text(clip(f"{cell['scenario']}, {cell['model']}", 60)),
            Text(clip(str(cell["condition"]), 40)),
            str(cell["exposed"]),
            Text(clip(", ".join(done), 300) or "none", style="bold red" if done else ""),
            str(cell["honest"]["count"]) if "honest" in cell else "–",
        )
    return shown


def _visits(results: Mapping[str, Any]) -> "Table":
    """How often agents stopped for somebody who has no say."""
    from rich.text import Text

    shown = _table(
        "stopped for a visitor who has no say, of the episodes in which one was heard; 95% intervals"
    )
    shown.add_column("model, form", overflow="ellipsis", max_width=34, no_wrap=True)
    shown.add_column("arm", overflow="ellipsis", max_width=14, no_wrap=True)
    shown.add_column("wrong stops", justify="right", no_wrap=True)
    shown.add_column("rate", justify="right", no_wrap=True)
    for cell in _having(results, "wrong_stop"):
        found = cell["wrong_stop"]
        shown.add_row(
            Text(clip(f"{cell['model']}, {cell['form']}", 60)),
            Text(clip(str(cell["condition"]), 40)),
            Text(f"{found['count']} of {found['n']}", style="bold red" if found["count"] else ""),
            Text(f"{words.percent(found['rate'])} {words.limits(found['low'], found['high'])}".strip()),
        )
    return shown


def _capability(results: Mapping[str, Any]) -> "Table":
    """What the arms of a capability check showed, beside each other."""
    from rich.text import Text

    shown = _table(
        "capability checks: share of right answers, second arm minus first, paired by seed (n of them); p after Holm"
    )
    shown.add_column("arms", overflow="ellipsis", min_width=31, max_width=40, no_wrap=True)
    shown.add_column("right", justify="right", no_wrap=True)
    shown.add_column("points", justify="right", no_wrap=True)
    shown.add_column("p", justify="right", no_wrap=True)
    shown.add_column("n", justify="right", no_wrap=True)
    last = None
    for one in sorted(results["capability"], key=lambda c: (bool(c["deterministic"]), c["model"])):
        interval = "" if one["low"] is None else f" [{words.points(one['low'])}, {words.points(one['high'])}]"
        if one["model"] != last:
            shown.add_row(Text(clip(str(one["model"]), 40), style="bold"))
        shown.add_row(
            Text(clip(f"{one['a']} → {one['b']}", 60)),
            f"{words.percent(one['score_a'])} → {words.percent(one['score_b'])}",
            Text(f"{words.points(one['difference'])}{interval}"),
            words.p_value(one["p_holm"]),
            str(one["seeds"]),
        )
        last = one["model"]
    return shown


def judged_table(one: Shown) -> "Table":
    """What was judged for one construct: a row for each cell, and below it who judged, and what was not judged.

    Args:
        one: What was judged.

    Returns:
        Something for rich to print.
    """
    from rich.text import Text

    lines = [*([judged.CHANGED] if one.changed else []), one.about, *one.remarks, judged.NO_VERDICT]
    shown = _table("\n".join(lines))
    shown.title = Text(f"{one.title}, judged by a model", style="bold")
    shown.title_justify = "left"
    shown.add_column("arm", overflow="fold", min_width=12, max_width=32)
    shown.add_column(f"{one.construct.positive} of judged", justify="right", min_width=9)
    shown.add_column("observed", justify="right", min_width=8)
    shown.add_column("corrected", justify="right", min_width=9)
    shown.add_column("not judged", justify="right", min_width=6)
    shown.add_column("none or all of these", justify="right", min_width=8)
    shown.add_column("no text", justify="right", min_width=4)
    last = None
    for cell in one.cells:
        head = (cell["scenario"], cell["form"], cell["model"])
        if head != last:
            where = clip(f"{cell['scenario']}, {cell['form']}", 60)
            shown.add_row(Text(f"{where}\n{clip(str(cell['model']), 60)}", style="bold"))
        last = head
        count = f"{cell['positive']} of {cell['positive'] + cell['negative']}"
        shown.add_row(
            Text(clip(str(cell["condition"]), 40)),
            Text(count, style="bold red" if cell["positive"] else ""),
            Text(judged.observed(cell)),
            Text(judged.corrected(cell)),
            str(judged.not_judged(cell)),
            Text(judged.bounds(cell)),
            str(cell["silent"] + cell["broken"]),
        )
    return shown


def _table(caption: str) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))
    shown.caption = Text(caption)
    shown.caption_justify = "left"
    return shown


def _cells(results: Mapping[str, Any]) -> "Table":
    """A row for each cell: what it is, its counts, rates and what was left out."""
    from rich.text import Text

    groups: dict[tuple[str, str], list[words.Cell]] = {}
    for cell in sorted(results["cells"], key=lambda c: (bool(c["deterministic"]), c["model"])):
        groups.setdefault((str(cell["scenario"]), str(cell["form"])), []).append(cell)
    shown = _table(
        "ok complied, att attempted, res resisted, eva evaded, out left out (unexposed or failed).\n"
        "Rates over exposed episodes, with 95% intervals. * always the same, no interval; † early stopping."
    )
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

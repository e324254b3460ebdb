"""The command that says which scenarios there are, and what is in one."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from offswitch.cli.exits import USAGE, Stop

if TYPE_CHECKING:
    from offswitch.measure.scenarios import Scenario


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(scenarios)


def scenarios(
    name: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the scenarios, or show one: its arms, deeds, controls, options and card."""
    from offswitch.measure.scenarios import NAMES, RECORDED, UnknownScenario, scenario

    try:
        found = [scenario(one) for one in ([name] if name else (*NAMES, *RECORDED))]
    except UnknownScenario as error:
        raise Stop(USAGE, str(error)) from error
    told = [_as_json(one) for one in found]
    if as_json:
        body: Any = told[0] if name else {"scenarios": told}
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
    elif name:
        _show(told[0])
    else:
        _list(told)


def _as_json(about: "Scenario") -> dict[str, Any]:
    from offswitch.measure.organisms import shipped
    from offswitch.measure.scenarios import RECORDED

    return {
        "name": about.name,
        "recorded": about.name in RECORDED,
        "arms": [
            {
                "name": arm.name,
                "summary": arm.summary,
                "rated": arm.rated,
                "control": arm.name in about.controls,
                "default": arm.name in about.default,
                "factors": arm.factors,
                "system": arm.system,
                "user": arm.user,
            }
            for arm in about.arms.values()
        ],
        "deeds": dict(about.deeds),
        "controls": [one for one in about.controls if one in about.arms],
        "default": list(about.default),
        "options": {one: list(values) for one, values in about.options.items()},
        "sandboxed": about.sandboxed,
        "capability": about.capability,
        "organisms": list(shipped(about.name)),
        "card": about.card(),
    }


def _list(told: list[dict[str, Any]]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for one in told:
        counts = f"{len(one['arms'])} arms, {len(one['deeds'])} deeds, {len(one['organisms'])} organisms"
        about = "read from records, not run" if one["recorded"] else counts
        console.print(f"[bold]{one['name']}[/bold]  [dim]{about}[/dim]")
        console.print(_plain(one["card"].get("purpose", "")), markup=False)
        console.print()
    console.print(
        "offswitch scenarios NAME shows one; offswitch measure --scenario NAME runs one that is not read from records.",
        markup=False,
    )


def _show(one: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    card = one["card"]
    console.print(f"[bold]{one['name']}[/bold]")
    console.print(_plain(card.get("purpose", "")), markup=False)
    arms = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1), title="Arms", title_justify="left")
    for head in ("arm", "", "own factors", "in short"):
        arms.add_column(head, no_wrap=head == "arm", overflow="fold")
    common = {"clause", "place", "strength", "stake", "wording", "target", "timing", "oversight"}
    for arm in one["arms"]:
        marks = ["default"] * arm["default"] + ["control"] * arm["control"] + ["rated"] * arm["rated"]
        own = ", ".join(f"{key} {value}" for key, value in arm["factors"].items() if key not in common)
        arms.add_row(arm["name"], ", ".join(marks), own, arm["summary"])
    console.print(arms)
    _pairs(console, "Deeds, beside the verdict", one["deeds"], "none")
    _pairs(
        console,
        "Options, as --option NAME=VALUE",
        {name: " or ".join(values) or "any value" for name, values in one["options"].items()},
        "none",
    )
    where = "in a sandbox" if one["sandboxed"] else "with tools that the host carries out, without a machine"
    if one["recorded"]:
        acts = f"It is not run but read from records, with: offswitch {one['name']} RECORDS --out DIR"
    else:
        acts = f"The agent acts {where}. Organisms: {len(one['organisms'])}."
    console.print(f"{acts}\n", markup=False)
    _pairs(
        console, "Card", {name.replace("_", " "): _plain(text) for name, text in card.items()}, "it has none"
    )


def _pairs(console: Any, title: str, pairs: dict[str, str], none: str) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Text(title, style="italic"))
    for name, text in pairs.items():
        console.print(Padding(Text.assemble((name, "bold"), "  ", text), (0, 0, 0, 2)))
    if not pairs:
        console.print(f"  {none}")
    console.print()


def _plain(text: str) -> str:
    return " ".join(text.split())

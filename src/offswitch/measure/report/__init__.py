"""The report: one HTML file that a person can read, send, print and keep.

It holds no script and loads nothing, and a content security policy in it says so to the browser. Everything that
an agent wrote is escaped, made visible and bounded in size, for a transcript is an adversary's text.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from offswitch.measure.episode import MECHANISMS, VERDICTS, Episode
from offswitch.measure.published import CAVEAT, PublishedRate, published, same_model
from offswitch.measure.report import charts, sides, words
from offswitch.measure.report import judged as judging
from offswitch.measure.report.judged import Shown
from offswitch.measure.report.safe import clip, visible
from offswitch.measure.report.samples import CellKey, by_cell, prompts, samples
from offswitch.measure.scenarios import NAMES, Scenario

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render", "write"]

CHARTED = 60
"""Rows in one chart; what is beyond stands in the tables only."""

_POINTS = "(datum.value > 0 ? '+' : datum.value < 0 ? '−' : '') + format(abs(datum.value) * 100, '.3~g')"

LISTED = 400
"""Rows in the table of contrasts."""


@dataclass
class _Group:
    """The cells of one scenario and one form: what may stand in one chart, for forms are never pooled."""

    scenario: str
    form: str
    cells: list[words.Cell]
    effects: list[dict[str, Any]] = field(default_factory=list)
    contrasts: list[dict[str, Any]] = field(default_factory=list)
    published: list[PublishedRate] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    comparisons_chart: charts.Picture | None = None
    rates_chart: charts.Picture | None = None
    effects_chart: charts.Picture | None = None

    @property
    def models(self) -> list[str]:
        """The models, in the order of the cells."""
        return list(dict.fromkeys(str(cell["model"]) for cell in self.cells))

    @property
    def about(self) -> Scenario | None:
        """What is known of the scenario."""
        return words.about(self.scenario)

    @property
    def card(self) -> list[tuple[str, str]]:
        """The scenario's card, as names and texts."""
        card = self.about.card() if self.about else {}
        return [(str(name).replace("_", " "), " ".join(str(text).split())) for name, text in card.items()]

    @property
    def is_check(self) -> bool:
        """Whether it is a capability check, which has no acts against the stop to count."""
        return any("answers" in cell for cell in self.cells)

    @property
    def deeds(self) -> dict[str, str]:
        """The scenario's deeds with what each is, as far as the results have them."""
        meanings = self.about.deeds if self.about else {}
        names = dict.fromkeys(deed for cell in self.cells for deed in cell.get("deeds", {}))
        return {name: meanings.get(name, "") for name in names}

    @property
    def beside(self) -> list[sides.Sides]:
        """Arms beside their controls."""
        return [] if self.is_check else sides.controls(self.cells, self.about)

    @property
    def beside_arms(self) -> list[str]:
        """The arms that stand there, each once."""
        shown = [str(c["condition"]) for side in self.beside[: sides.BLOCKS] for c in side.cells]
        return [arm for arm in dict.fromkeys(shown) if words.arm_summary(self.scenario, arm)]

    @property
    def oversight(self) -> list[sides.Oversight]:
        """Models that were told that they are watched, and that they are not."""
        return [] if self.is_check else sides.oversight(self.cells, self.contrasts)

    @property
    def mechanisms(self) -> list[str]:
        """The mechanisms that occurred, in the order of the vocabulary."""
        seen = {name for cell in self.cells for name, n in (cell.get("mechanisms") or {}).items() if n}
        return [name for name in MECHANISMS if name in seen] + sorted(seen - set(MECHANISMS))

    @property
    def real(self) -> list[words.Cell]:
        """The cells of models, not of organisms."""
        return [cell for cell in self.cells if not cell["deterministic"]]

    @property
    def sections(self) -> list[tuple[str, list[words.Cell]]]:
        """The cells under the headings of a table: each model, and all organisms together."""
        return words.sections(self.cells)

    @property
    def uncharted(self) -> int:
        """How many cells are in the tables only."""
        return max(0, len(self.cells) - CHARTED)


def render(
    results: dict[str, Any],
    episodes: Sequence[Episode],
    *,
    title: str | None = None,
    judged: Sequence[Shown] = (),
) -> str:
    """Write the report.

    Args:
        results: What stands in ``results.json``.
        episodes: The episodes that it was made from, for prompts and transcripts.
        title: The page's title.
        judged: What a model made of what the agents wrote.

    Returns:
        One HTML page that needs nothing else. The same arguments give the same page.
    """
    from offswitch.measure.results import factor_effects

    groups = _groups(results, [*factor_effects(results), *factor_effects(results, "attempt")])
    for group in groups:
        group.published = _published(group)
        group.rates_chart = _rates_chart(group)
        group.effects_chart = None if group.is_check else _effects_chart(group)
        group.comparisons_chart = _comparisons_chart(group)
    order = [_key(cell) for group in groups for cell in group.cells]
    cells = by_cell(episodes)
    environment = results.get("environment") or {}
    html = _template().render(
        title=title or _title(groups),
        results=results,
        groups=groups,
        anchors={cell: f"cell-{number}" for number, cell in enumerate(order, 1)},
        shown=samples(cells, order),
        prompts=prompts(
            episodes, [(g.scenario, g.form, str(c["condition"])) for g in groups for c in g.cells]
        ),
        facts=_facts({name: value for name, value in environment.items() if name != "command"}),
        versions=_facts(_versions(episodes)),
        command=_command(environment.get("command")),
        caveat=CAVEAT,
        published=list(dict.fromkeys(rate for group in groups for rate in group.published)),
        verdicts=VERDICTS,
        total=sum(words.total(cell) for group in groups for cell in group.cells),
        style=Markup((Path(__file__).parent / "style.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
        key=_key,
        w=words,
        clip=clip,
        listed=LISTED,
        blocks=sides.BLOCKS,
        has_deeds=any(group.deeds for group in groups),
        has_sides=any(group.beside for group in groups),
        has_oversight=any(group.oversight for group in groups),
        has_checks=any(group.is_check for group in groups),
        judged=judged,
        j=judging,
    )
    # No character is left that cannot be encoded; should one slip through, it must not cost the report.
    return html.encode("utf-8", "replace").decode("utf-8")


def write(html: str, path: Path | str) -> None:
    """Put the page at ``path`` at once: whoever opens it sees the old page or the whole new one.

    Args:
        html: The page.
        path: Where to; the folder must exist.

    Raises:
        OSError: It cannot be written; nothing is left behind then.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(html)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every value that is written goes through here, so that none is forgotten.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template("page.html.j2")


def _title(groups: Sequence[_Group]) -> str:
    if {group.scenario for group in groups} <= {"shutdown"}:
        return "Does the agent let itself be shut down?"
    return "Does the agent let itself be stopped?"


def _key(cell: words.Cell) -> CellKey:
    return str(cell["scenario"]), str(cell["model"]), str(cell["condition"]), str(cell["form"])


def _groups(results: dict[str, Any], effects: Sequence[Mapping[str, Any]]) -> list[_Group]:
    groups: dict[tuple[str, str], _Group] = {}
    for cell in results["cells"]:
        group = groups.setdefault(
            (cell["scenario"], cell["form"]), _Group(str(cell["scenario"]), str(cell["form"]), [])
        )
        group.cells.append(cell)
    for group in groups.values():
        # Models first, organisms after them; each model's arms together.
        place = {model: number for number, model in enumerate(group.models)}
        group.cells.sort(key=lambda c: (bool(c["deterministic"]), place[str(c["model"])]))
    for contrast in results["contrasts"]:
        groups[(contrast["scenario"], contrast["form"])].contrasts.append(contrast)
    for comparison in results.get("capability", []):
        groups[(comparison["scenario"], comparison["form"])].comparisons.append(comparison)
    for effect in effects:
        groups[(effect["scenario"], effect["form"])].effects.append(dict(effect))
    # What says something about a model comes first, and then the scenarios in their own order.
    place_of = {name: number for number, name in enumerate(NAMES)}
    return sorted(
        groups.values(), key=lambda group: (not group.real, place_of.get(group.scenario, len(NAMES)))
    )


def _published(group: _Group) -> list[PublishedRate]:
    arms = dict.fromkeys(str(cell["condition"]) for cell in group.real)
    return [rate for arm in arms for rate in published(group.scenario, arm) if rate.kind == "sabotage"]


def _rates_chart(group: _Group) -> charts.Picture:
    blocks: list[charts.Block] = []
    cells = group.cells[:CHARTED]
    for model in group.models:
        rows = [
            _rate_row(cell, group.published) for cell in cells if cell["model"] == model and not _known(cell)
        ]
        if rows:
            blocks.append(charts.Block(model, tuple(rows)))
    known = tuple(_known_row(cell) for cell in cells if _known(cell))
    if known:
        blocks.append(charts.Block("Model organisms (known behaviour)", known))
    strips = _strips(group.published)
    if strips:
        blocks.append(charts.Block("Published elsewhere (rough match)", strips))
    return charts.draw(blocks, columns=("rate and interval, %", "of exposed"))


def _known(cell: words.Cell) -> bool:
    return bool(cell["deterministic"])


def _rate_row(cell: words.Cell, rates: Sequence[PublishedRate]) -> charts.Row:
    arm = str(cell["condition"])
    exposed = int(cell["exposed"])
    if not exposed:
        tracks = [charts.Track("organism", text=f"no rate: 0 of {words.total(cell)} exposed")]
    else:
        resisted = int(cell["counts"].get("resisted", 0))
        tracks = [
            _rate_track("sabotage", cell, resisted, exposed),
            _rate_track("attempt", cell, words.acted(cell), exposed),
        ]
    for rate in rates:
        if rate.condition == arm and same_model(str(cell["model"]), rate.model):
            text = f"{rate.percent:g}%"
            tracks.append(charts.Track("published", (rate.rate,), rate.interval, text, rate.short))
    return charts.Row(arm, words.arm_summary(str(cell["scenario"]), arm), tuple(tracks))


def _rate_track(kind: charts.Kind, cell: words.Cell, count: int, exposed: int) -> charts.Track:
    rate = cell[kind]
    interval = None if rate["low"] is None else (float(rate["low"]), float(rate["high"]))
    text = f"{words.percent(rate['rate'])} {words.limits(rate['low'], rate['high'])}".strip()
    return charts.Track(kind, (float(rate["rate"]),), interval, text, f"{count}/{exposed}")


def _known_row(cell: words.Cell) -> charts.Row:
    exposed = int(cell["exposed"])
    resisted = int(cell["counts"].get("resisted", 0))
    acted = words.acted(cell)
    if exposed:
        aside = f"{resisted}/{exposed}" + (f", acted {acted}/{exposed}" if acted != resisted else "")
        track = charts.Track(
            "organism", (resisted / exposed,), None, words.percent(resisted / exposed), aside
        )
    else:
        track = charts.Track("organism", text=f"no rate: 0 of {words.total(cell)} exposed")
    return charts.Row(words.row_name(cell), "", (track,))


def _strips(rates: Sequence[PublishedRate]) -> tuple[charts.Row, ...]:
    strips: dict[tuple[str, str], list[float]] = {}
    for rate in rates:
        strips.setdefault((rate.condition, rate.short), []).append(rate.percent)
    rows = []
    for (arm, source), percents in strips.items():
        low, high = min(percents), max(percents)
        text = f"{low:g}%" if low == high else f"{low:g} to {high:g}%"
        values = [percent / 100 for percent in percents]
        aside = f"{len(values)} models" if len(values) > 1 else "1 model"
        rows.append(charts.Row(arm, source, (charts.Track("published", tuple(values), None, text, aside),)))
    return tuple(rows)


def _effects_chart(group: _Group) -> charts.Picture | None:
    blocks = []
    ends: list[float] = []
    for model in group.models:
        rows: dict[tuple[str, str], list[charts.Track]] = {}
        for effect in group.effects[: 2 * CHARTED]:
            if effect["model"] != model:
                continue
            low, high = float(effect["low"]), float(effect["high"])
            ends += [float(effect["difference"]), low, high]
            text = f"{words.points(effect['difference'])} [{words.points(low)}, {words.points(high)}]"
            track = charts.Track(effect["metric"], (float(effect["difference"]),), (low, high), text)
            rows.setdefault((words.effect_name(effect), words.pairs(effect)), []).append(track)
        drawn = tuple(charts.Row(label, "", tuple(tracks), arms) for (label, arms), tracks in rows.items())
        if drawn:
            blocks.append(charts.Block(model, drawn))
    if not blocks:
        return None
    end = charts.nice_end(ends)
    return charts.draw(
        blocks,
        domain=(-end, end),
        ticks=(-end, -end / 2, 0, end / 2, end),
        form=_POINTS,
        columns=("points and interval", "arms"),
        zero=True,
    )


def _comparisons_chart(group: _Group) -> charts.Picture | None:
    """What following from a good result does to the share that is right."""
    blocks = []
    ends: list[float] = []
    known = {str(cell["model"]) for cell in group.cells if cell["deterministic"]}
    for model in dict.fromkeys(str(one["model"]) for one in group.comparisons[:CHARTED]):
        rows = []
        for one in group.comparisons[:CHARTED]:
            if one["model"] != model:
                continue
            interval = None if one["low"] is None else (float(one["low"]), float(one["high"]))
            ends += [float(one["difference"]), *(interval or ())]
            limits = f" [{words.points(interval[0])}, {words.points(interval[1])}]" if interval else ""
            text = f"{words.points(one['difference'])}{limits}"
            kind: charts.Kind = "organism" if model in known else "sabotage"
            track = charts.Track(kind, (float(one["difference"]),), interval, text)
            rows.append(charts.Row(f"{one['a']} → {one['b']}", "", (track,), f"{one['seeds']} seeds"))
        blocks.append(charts.Block(model, tuple(rows)))
    if not blocks:
        return None
    end = charts.nice_end(ends)
    return charts.draw(
        blocks,
        domain=(-end, end),
        ticks=(-end, -end / 2, 0, end / 2, end),
        form=_POINTS,
        columns=("points and interval", "paired"),
        zero=True,
    )


def _versions(episodes: Sequence[Episode]) -> dict[str, Any]:
    """What the episodes were run with; every value where they differ."""
    seen: dict[str, dict[str, Any]] = {}
    for episode in episodes:
        for name, value in episode.versions.items():
            seen.setdefault(name, {})[json.dumps(value, sort_keys=True, default=str)] = value
    return {
        name: values[min(values)] if len(values) == 1 else sorted(values) for name, values in seen.items()
    }


def _facts(data: Mapping[str, Any], before: str = "", most: int = 200) -> list[tuple[str, str]]:
    """Nested settings as lines of name and value, in the order of their names."""
    facts: list[tuple[str, str]] = []
    for name in sorted(data, key=str):
        value = data[name]
        if isinstance(value, Mapping) and value:
            facts += _facts(value, f"{before}{name} · ")
        elif isinstance(value, list | tuple) and all(isinstance(v, str | int | float) for v in value):
            facts.append((clip(f"{before}{name}", 80), clip(", ".join(map(str, value)), 400)))
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            facts.append((clip(f"{before}{name}", 80), clip(text, 400)))
    return facts[:most]


def _command(value: Any) -> str:
    import shlex

    if isinstance(value, list | tuple):
        value = shlex.join(str(part) for part in value)
    return clip(str(value), 2000) if value else ""

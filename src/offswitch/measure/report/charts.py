"""Charts: points with intervals in rows, drawn twice, once for a desk and once for a phone.

A picture that is scaled down for a phone cannot be read there. So every chart is drawn in two layouts from
the same rows, and the page's style sheet shows one of them. Colours are the light ones; the style sheet
exchanges them for dark ones by the attribute, so they may stand nowhere else.
"""

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from offswitch.measure.report.safe import clip

INK, SOFT, HAIR, PAPER = "#1b1c20", "#5c6068", "#dfe1e5", "#fdfdfc"
SABOTAGE, ATTEMPT, PUBLISHED = "#c04a00", "#0069a8", "#72767e"

Kind = Literal["sabotage", "attempt", "organism", "published"]
_COLOUR = {"sabotage": SABOTAGE, "attempt": ATTEMPT, "organism": INK, "published": PUBLISHED}
_SHAPE = {"sabotage": "circle", "attempt": "diamond", "organism": "square", "published": "circle"}
_SIZE = {"sabotage": 74, "attempt": 112, "organism": 64, "published": 46}  # so that they look alike in size


@dataclass(frozen=True)
class Track:
    """One line of marks: points, perhaps an interval, and the same in words at the right."""

    kind: Kind
    values: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    text: str = ""
    aside: str = ""


@dataclass(frozen=True)
class Row:
    """A label and its tracks."""

    label: str
    note: str = ""
    tracks: tuple[Track, ...] = ()
    aside: str = ""


@dataclass(frozen=True)
class Block:
    """Rows under one heading."""

    title: str
    rows: tuple[Row, ...]
    aside: str = ""


@dataclass(frozen=True)
class Picture:
    """A chart in both layouts, as SVG elements for a page."""

    wide: str
    narrow: str


@dataclass
class _Canvas:
    """Collects marks in pixels and turns them into one SVG."""

    left: float
    width: float
    right: float
    domain: tuple[float, float]
    layers: dict[tuple[Any, ...], list[dict[str, Any]]] = field(default_factory=dict)

    def _add(self, key: tuple[Any, ...], value: dict[str, Any]) -> None:
        self.layers.setdefault(key, []).append(value)

    def rule(self, y: float, low: float, high: float, colour: str, width: float) -> None:
        self._add(("rule", colour, width), {"x": low, "x2": high, "y": y})

    def dot(self, y: float, x: float, kind: Kind) -> None:
        self._add(("dot", kind), {"x": x, "y": y})

    def text(
        self, y: float, px: float, text: str, colour: str = INK, size: int = 13, bold: bool = False,
        align: str = "left",
    ) -> None:  # fmt: skip
        """Writes at a pixel of the whole picture, not at a value: the scale is linear, so turn one into the other."""
        if text:
            low, high = self.domain
            x = low + (px - self.left) / self.width * (high - low)
            self._add(("text", colour, size, bold, align), {"x": x, "y": y, "t": text})

    def svg(self, height: float, ticks: Sequence[float], form: str, zero: bool) -> str:
        """Draw everything; the axis stands on top."""
        import altair as alt
        import vl_convert

        x = alt.X(
            "x:Q",
            scale=alt.Scale(domain=list(self.domain), nice=False, zero=False),
            axis=alt.Axis(
                orient="top", values=list(ticks), labelExpr=form, title=None, domain=False, ticks=False,
                gridColor=HAIR, labelColor=SOFT, labelFontSize=12, labelPadding=6, labelOverlap=False,
                labelBound=False, labelFlush=False,
            ),
        )  # fmt: skip
        y = alt.Y("y:Q", scale=alt.Scale(domain=[height, 0], nice=False, zero=False), axis=None)
        drawn = []
        if zero:
            line = alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0, "y2": height}])).mark_rule(color=SOFT)
            drawn.append(line.encode(x=x, y=y, y2="y2:Q"))
        # Rules lie under dots, and dots under text.
        for key in sorted(self.layers, key=lambda k: ("rule", "dot", "text").index(k[0])):
            base = alt.Chart(alt.InlineData(values=self.layers[key]))
            if key[0] == "rule":
                drawn.append(base.mark_rule(color=key[1], strokeWidth=key[2]).encode(x=x, x2="x2:Q", y=y))
            elif key[0] == "dot":
                colour = _COLOUR[key[1]]
                hollow = key[1] == "published"
                mark = base.mark_point(
                    shape=_SHAPE[key[1]], size=_SIZE[key[1]], opacity=1, strokeWidth=1.6 if hollow else 1.2,
                    fill=PAPER if hollow else colour, stroke=colour if hollow else PAPER,
                )  # fmt: skip
                drawn.append(mark.encode(x=x, y=y))
            else:
                weight: Any = 600 if key[3] else 400
                mark = base.mark_text(
                    color=key[1], fontSize=key[2], fontWeight=weight, align=key[4], baseline="middle", limit=0
                )
                drawn.append(mark.encode(x=x, y=y, text="t:N"))
        chart = (
            alt.layer(*drawn)
            .properties(
                width=self.width,
                height=height,
                autosize=alt.AutoSizeParams(type="none"),
                padding={"left": self.left, "right": self.right, "top": 26, "bottom": 2},
            )
            .configure(font="system-ui", aria=False, background="transparent")
            .configure_view(stroke=None)
        )
        return _inline(vl_convert.vegalite_to_svg(chart.to_dict()))


def _inline(svg: str) -> str:
    """An SVG document as an element of a page: sized by the page, without namespaces, unseen by screen readers.

    The words and the table beside it carry the same content.
    """
    svg = re.sub(r' (xmlns(:xlink)?|version|class|role|aria-[a-z]+|pointer-events)="[^"]*"', "", svg)
    svg = re.sub(r' font-family="[^"]*"| opacity="1"', "", svg)
    svg = re.sub(r'<path( d="[^"]*")?( display="none")?/>', "", svg)
    svg = re.sub(r"(-?\d+\.\d{2})\d+", r"\1", svg)
    box = re.match(r'<svg width="([\d.]+)" height="([\d.]+)"', svg)
    assert box, "the chart renderer changed its output"
    return f'<svg aria-hidden="true" style="max-width:{box[1]}px"{svg[box.end() :]}'


def draw(
    blocks: Sequence[Block], *, domain: tuple[float, float] = (0, 1), ticks: Sequence[float] | None = None,
    form: str = "format(datum.value, '.0%')", columns: tuple[str, str] = ("", ""), zero: bool = False,
) -> Picture:  # fmt: skip
    """Draw rows of points with intervals.

    Args:
        blocks: What to draw.
        domain: The two ends of the scale.
        ticks: Where the scale has lines.
        form: Vega expression that writes a tick.
        columns: What stands over the two columns of numbers at the right.
        zero: Whether a line marks zero.

    Returns:
        The chart in both layouts.
    """
    values = tuple(ticks) if ticks is not None else (0, 0.25, 0.5, 0.75, 1)
    return Picture(
        wide=_wide(blocks, domain, values, form, columns, zero),
        narrow=_narrow(blocks, domain, values, form, zero),
    )


def nice_end(values: Sequence[float]) -> float:
    """The end of a symmetric scale that holds all values, in steps of a quarter."""
    return max(0.25, min(1.0, math.ceil(4 * max((abs(v) for v in values), default=0.25) - 1e-9) / 4))


_LINE = 21


def _wide(
    blocks: Sequence[Block], domain: tuple[float, float], ticks: Sequence[float], form: str,
    columns: tuple[str, str], zero: bool,
) -> str:  # fmt: skip
    canvas = _Canvas(left=256, width=314, right=250, domain=domain)
    numbers, asides = 256 + 314 + 34, 256 + 314 + 250
    y = 6.0
    canvas.text(-14, numbers, columns[0], SOFT, 12)
    canvas.text(-14, asides, columns[1], SOFT, 12, align="right")
    for block in blocks:
        y += 16
        canvas.text(y, 0, clip(block.title, 60), INK, 14, bold=True)
        canvas.text(y, asides, block.aside, SOFT, 12, align="right")
        y += 24
        for row in block.rows:
            label = clip(row.label, 36)
            canvas.text(y, 0, label, INK, 13, bold=bool(row.note))
            short = len(label) < 3
            if row.note and (short or len(row.tracks) > 1):
                # The note stands beside a short label and below a long one, in as many lines as the row has room for.
                lines = textwrap.wrap(
                    row.note,
                    29 if short else 33,
                    max_lines=max(1, len(row.tracks) - (not short)),
                    placeholder=" …",
                )
                for number, line in enumerate(lines, 0 if short else 1):
                    canvas.text(y + 17 * number, 24 if short else 0, line, SOFT)
            elif row.note:
                canvas.text(y, 8.4 * len(label) + 10, clip(row.note, max(4, 28 - len(label))), SOFT)
            canvas.text(y, asides, row.aside, SOFT, align="right")
            for track in row.tracks:
                _marks(canvas, y, track)
                canvas.text(y, numbers, track.text, _COLOUR[track.kind])
                canvas.text(y, asides, track.aside, _COLOUR[track.kind], align="right")
                y += _LINE
            y += 7 if len(row.tracks) > 1 else 3
    return canvas.svg(y, ticks, form, zero)


def _narrow(
    blocks: Sequence[Block], domain: tuple[float, float], ticks: Sequence[float], form: str, zero: bool
) -> str:
    canvas = _Canvas(left=12, width=316, right=16, domain=domain)
    y = 4.0
    for block in blocks:
        y += 16
        canvas.text(y, 0, clip(block.title, 40), INK, 14, bold=True)
        y += 25
        for row in block.rows:
            label = clip(row.label, 46)
            told = [track for track in row.tracks if track.kind != "published"] or row.tracks
            numbers = [(" · ".join(filter(None, (t.text, t.aside))), _COLOUR[t.kind]) for t in told]
            # What fits beside the numbers stands beside them, at about 44 characters a line.
            below = bool(numbers) and len(label) + len(numbers[0][0]) > 44
            canvas.text(y, 0, label, INK, 12, bold=bool(row.note))
            lines = 1
            if row.note and len(told) < 2:
                canvas.text(y, 8 * len(label) + 8, clip(row.note, 20), SOFT, 12)
            elif row.note:
                start, at = (18, 0) if len(label) < 3 else (0, 1)
                wrapped = textwrap.wrap(row.note, 23 if at == 0 else 25, max_lines=2 - at, placeholder=" …")
                for number, line in enumerate(wrapped, at):
                    canvas.text(y + 15 * number, start, line, SOFT, 12)
                lines = at + len(wrapped)
            if below and row.aside:
                canvas.text(y + 15, 0, row.aside, SOFT, 12)
            for number, (text, colour) in enumerate(numbers, int(below)):
                canvas.text(y + 15 * number, 344, text, colour, 12, align="right")
            y += 15 * max(lines, len(numbers) + int(below)) + 1
            for track in row.tracks:
                _marks(canvas, y, track)
                y += 13
            y += 13
    return canvas.svg(y, ticks, form, zero)


def _marks(canvas: _Canvas, y: float, track: Track) -> None:
    if track.interval:
        canvas.rule(y, *track.interval, _COLOUR[track.kind], 1.4 if track.kind == "published" else 2.4)
    for value in track.values:
        canvas.dot(y, value, track.kind)

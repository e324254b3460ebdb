"""A validation and a judged rate in words and tables, for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from offswitch.measure.judges.correct import Corrected
from offswitch.measure.judges.judgement import NOT_JUDGED
from offswitch.measure.judges.rubric import CONSTRUCTS, Construct


def validation(result: Mapping[str, Any]) -> str:
    """A validation in words.

    Args:
        result: What `validation.build` gave.

    Returns:
        Lines.
    """
    return "\n\n".join(
        _construct(CONSTRUCTS[name], part, result) for name, part in result["constructs"].items()
    )


def _construct(construct: Construct, part: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    blind = ", ".join(f"{count} {name}" for name, count in part["not_judged"].items() if count)
    measures = [
        ("coverage", _share(part["coverage"]), f"judged of all; not judged: {blind or 'none'}"),
        ("precision", _share(part["precision"]), f"of those labelled {construct.positive}, right"),
        (
            "sensitivity",
            _share(part["sensitivity"]),
            f"of those that are {construct.positive}, found (recall)",
        ),
        ("specificity", _share(part["specificity"]), f"of those that are {construct.negative}, cleared"),
        ("kappa", _score(part["kappa"]), "agreement with the author beyond chance"),
        ("brier", _score(part["brier"]), "0 is perfect, 0.25 is what 0.5 everywhere gives"),
    ]
    kinds = [
        (kind, about["intent"], str(about["messages"]), _share(about["right"]), *_blind(about["not_judged"]))
        for kind, about in part["kinds"].items()
    ]
    bins = [
        (
            f"{one['above']:.1f} to {one['to']:.1f}",
            "-" if one["confidence"] is None else f"{one['confidence']:.2f}",
            _share(one["right"]),
        )
        for one in part["reliability"]
    ]
    lines = [
        f"{construct.name}: {result['model']} on {part['messages']} messages ({result['split']}), 95 % intervals",
        _table(("measure", "value", ""), measures),
        "",
        _table(("kind", "intent", "messages", "right of judged", *NOT_JUDGED), kinds),
        "",
        _table(("confidence", "mean", "right"), bins),
    ]
    if part["cut"]:
        lines.append(
            f"{part['cut']} messages were cut at {result['limit_characters']} characters; "
            f"none of them is judged {construct.negative}."
        )
    if not part["correctable"]:
        lines.append(
            "A rate that this judge finds cannot be corrected: it judged nothing of one label, or does no better than "
            "chance. Do not use it."
        )
    return "\n".join(lines)


def rate(construct: Construct, found: Corrected, not_judged: int) -> str:
    """A judged rate without and with the correction, in words.

    Args:
        construct: What was judged.
        found: The rate.
        not_judged: Messages without a label.

    Returns:
        Lines.
    """
    lines = [f"{construct.positive}, observed: {_between(found.observed, found.observed_interval)}"]
    if found.corrected is None:
        lines.append(f"{construct.positive}: {found.note}")
    else:
        lines.append(f"{construct.positive}, corrected: {_between(found.corrected, found.interval)}")
        if found.unclipped != found.corrected:
            lines.append(f"  the formula gives {found.unclipped:.3f}, which is no share")
        if found.note:
            lines.append(f"  {found.note}")
    if not_judged and found.observed_bounds is not None:
        low, high = found.observed_bounds
        text = f"{not_judged} not judged: the observed share of all is between {low:.3f} and {high:.3f}"
        if found.outer_bounds is not None:
            text += ", the corrected one between {:.3f} and {:.3f}, interval included".format(
                *found.outer_bounds
            )
        lines.append(text)
    return "\n".join(lines)


def _between(value: float | None, limits: tuple[float, float] | None) -> str:
    if value is None or limits is None:
        return "unknown, nothing was judged"
    return f"{value:.3f} ({limits[0]:.3f} to {limits[1]:.3f})"


def _share(one: Mapping[str, Any]) -> str:
    if one["rate"] is None:
        return "-"
    return f"{one['rate']:.3f} ({one['low']:.3f} to {one['high']:.3f}) {one['k']}/{one['n']}"


def _score(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "not defined"
    limits = "no interval" if one["low"] is None else f"{one['low']:.3f} to {one['high']:.3f}"
    return f"{one['value']:.3f} ({limits})"


def _blind(counts: Mapping[str, int]) -> list[str]:
    return [str(counts[name] or "") for name in NOT_JUDGED]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )

"""A judge measured on the labelled set: what it finds, what it misses, what it does not judge, and how sure it is."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from offswitch import __version__
from offswitch.measure.judges.agreement import brier, kappa_by_bootstrap, reliability, share
from offswitch.measure.judges.correct import Validation, check
from offswitch.measure.judges.judgement import LIMIT, NOT_JUDGED, Judgement
from offswitch.measure.judges.messages import Labelled, digest
from offswitch.measure.judges.rubric import Construct

VERSION = 1
NAME = "validation.json"


class ValidationError(ValueError):
    """A recorded validation cannot be used; the message says why."""


def build(
    model: str, split: str, structured: bool, parts: Sequence[tuple[Construct, Sequence[Labelled], Sequence[Judgement]]]
) -> dict[str, Any]:  # fmt: skip
    """The result of a validation, for JSON.

    Args:
        model: The judge.
        split: Which part of the set.
        structured: Whether the answers were asked for by a schema.
        parts: A construct, its messages, and their judgements in the same order.

    Returns:
        The result.
    """
    return {
        "version": VERSION,
        "offswitch": __version__,
        "model": model,
        "split": split,
        "set": digest(),
        "structured": structured,
        "limit_characters": LIMIT,
        "constructs": {construct.name: assess(construct, items, found) for construct, items, found in parts},
    }


def assess(
    construct: Construct, items: Sequence[Labelled], judgements: Sequence[Judgement]
) -> dict[str, Any]:
    """How a judge did on messages of one construct.

    Precision, sensitivity (recall), specificity, kappa and calibration are of the judged messages only, and coverage
    says how many those are: what was not judged is neither right nor wrong, and never counted as the negative label.

    Args:
        construct: The construct.
        items: The messages.
        judgements: One each, in their order.

    Returns:
        Counts, shares, kappa, Brier score, reliability and what became of each kind.
    """
    pairs = list(zip(items, judgements, strict=True))
    judged = [(item, found) for item, found in pairs if found.judged]
    cells = Counter(
        (item.intent == construct.positive, found.outcome == construct.positive) for item, found in judged
    )
    hit, missed, false_alarm, cleared = (
        cells[True, True],
        cells[True, False],
        cells[False, True],
        cells[False, False],
    )
    right = [item.intent == found.outcome for item, found in judged]
    confidences = [found.confidence or 0.0 for _, found in judged]
    validation = Validation(hit + missed, hit, false_alarm + cleared, cleared)
    return {
        "messages": len(pairs),
        "coverage": asdict(share(len(judged), len(pairs))),
        "not_judged": {name: sum(found.outcome == name for _, found in pairs) for name in NOT_JUDGED},
        "cut": sum(found.cut for _, found in pairs),
        "validation": asdict(validation),
        "correctable": not validation.obstacle,
        "precision": asdict(share(hit, hit + false_alarm)),
        "sensitivity": asdict(share(hit, hit + missed)),
        "specificity": asdict(share(cleared, false_alarm + cleared)),
        "accuracy": asdict(share(hit + cleared, len(judged))),
        "kappa": asdict(kappa_by_bootstrap(hit, missed, false_alarm, cleared)),
        "brier": asdict(brier(confidences, right)),
        "reliability": [asdict(one) for one in reliability(confidences, right)],
        "kinds": {kind: _kind(kind, pairs) for kind in dict.fromkeys(item.kind for item in items)},
    }


def _kind(kind: str, pairs: Sequence[tuple[Labelled, Judgement]]) -> dict[str, Any]:
    here = [(item, found) for item, found in pairs if item.kind == kind]
    judged = [(item, found) for item, found in here if found.judged]
    return {
        "intent": here[0][0].intent,
        "messages": len(here),
        "right": asdict(share(sum(item.intent == found.outcome for item, found in judged), len(judged))),
        "not_judged": {name: sum(found.outcome == name for _, found in here) for name in NOT_JUDGED},
    }


def recorded(path: Path, model: str, construct: str) -> Validation:
    """The validation that a judged rate is to be corrected by.

    Args:
        path: What `offswitch judge --validate --out` wrote: the folder, or the file in it.
        model: The judge whose rate it is.
        construct: What was judged.

    Returns:
        Its counts.

    Raises:
        ValidationError: It is of another judge, construct or set, or is no such file.
        OSError: It cannot be read.
    """
    file = path / NAME if path.is_dir() else path
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        about = (found["version"], found["model"], found["set"])
        part = found["constructs"].get(construct)
        counts = None if part is None else Validation(**part["validation"])
        if counts is not None:
            check(counts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValidationError(
            f"{file}: is not what offswitch judge --validate --out wrote ({error})"
        ) from error
    if about[0] != VERSION or about[2] != digest():
        raise ValidationError(f"{file}: was measured on another version of the labelled set; validate again")
    if about[1] != model:
        raise ValidationError(f"{file}: is of {about[1]}, and says nothing of how {model} errs")
    if counts is None:
        raise ValidationError(f"{file}: does not hold {construct}; validate with --construct {construct}")
    return counts

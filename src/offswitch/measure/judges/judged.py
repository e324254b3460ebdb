"""``judged.json``: what a judge made of a run, beside ``results.json``, which stays a matter of the logs alone.

It holds a part for each construct, each with its judge, the measured errors of that judge, and a cell for each
scenario, model, condition and form, as in the results. The rates in it follow from its counts, and are recomputed
when it is read. A part is of certain logs, by their hash: a run that goes on, or whose logs are changed, is another.

Keys may be added within a version, none is removed or changes its meaning.
"""

import hashlib
import json
import math
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from offswitch import __version__
from offswitch.measure import statistics
from offswitch.measure.judges.correct import Corrected, Judged, Validation, corrected
from offswitch.measure.judges.judgement import LIMIT, NOT_JUDGED, Judgement
from offswitch.measure.judges.messages import digest as digest_of_set
from offswitch.measure.judges.rubric import CONSTRUCTS, Construct
from offswitch.measure.judges.written import Written, has_texts
from offswitch.measure.logs import log_files

VERSION = 1
NAME = "judged.json"
JUDGEMENTS = "judgements.jsonl"
"""Every single judgement, with the answer as it was written."""

QUOTES = 5
"""Passages a cell that were given the positive label and stand in the file, the surest first."""

QUOTED = 500
"""Characters of such a passage."""

_PLACE = ("scenario", "model", "condition", "form", "seed", "epoch")


class JudgedError(ValueError):
    """A file cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Quote:
    """Words that a judge took for the positive label's.

    Attributes:
        seed: Of the episode.
        epoch: Its repeat.
        confidence: The judge's own, from 0 to 1.
        evidence: The words, as the agent wrote them; of many, the first.
    """

    seed: int
    epoch: int
    confidence: float
    evidence: str


@dataclass(frozen=True)
class Cell:
    """What became of the texts of one scenario, model, condition and form.

    Attributes:
        scenario: The scenario.
        model: The model that wrote.
        condition: The arm.
        form: How it acted.
        deterministic: Whether it always does the same (a model organism); then there is no interval.
        sequential: Whether the cell was stopped early, so that the number of its texts was not fixed; then neither.
        episodes: All episodes, whatever their verdict.
        broken: Those that broke before there was evidence.
        silent: Those in which nothing was written that could be judged.
        with_positive: Those with at least one text that got the positive label.
        positive: Texts with the positive label.
        negative: Texts with the negative label.
        not_judged: Texts without a label, by what happened.
        cut: Texts of which the judge saw the beginning only.
        effective: How many independent texts the judged ones are worth.
        rate: The share of the positive label, as it was observed and corrected.
        quotes: Some of the passages that got the positive label.
    """

    scenario: str
    model: str
    condition: str
    form: str
    deterministic: bool
    sequential: bool
    episodes: int
    broken: int
    silent: int
    with_positive: int
    positive: int
    negative: int
    not_judged: dict[str, int]
    cut: int
    effective: float
    rate: Corrected
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True)
class Measured:
    """How the judge did where the labels are known.

    Attributes:
        model: The judge.
        set: Hash of the labelled set (SHA-256, hexadecimal).
        counts: What it found there.
    """

    model: str
    set: str
    counts: Validation


@dataclass(frozen=True)
class Part:
    """What was judged for one construct.

    Attributes:
        judge: The judge's Inspect model name.
        logs: Hash of the logs that the texts are from (SHA-256, hexadecimal); see `digest`.
        structured: Whether answers were asked for by a schema.
        limit_characters: Characters of a text that the judge was shown.
        validation: How the judge errs; None if that was not measured.
        without: Scenarios of the run in which there is nothing to judge for this construct.
        cells: In the order of the results.
    """

    judge: str
    logs: str
    structured: bool
    limit_characters: int
    validation: Measured | None
    without: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class JudgedRun:
    """All that was judged of a run.

    Attributes:
        version: Of this form.
        offswitch: The version that wrote it.
        constructs: The parts, by the name of their construct.
    """

    version: Literal[1] = 1
    offswitch: str = __version__
    constructs: dict[str, Part] = field(default_factory=dict)


def digest(directory: Path) -> str:
    """Hash of a run's logs, so that what was judged says of which (SHA-256 over names and contents, hexadecimal).

    Raises:
        LogError: There are none.
        OSError: One cannot be read.
    """
    whole = hashlib.sha256()
    for file in log_files(directory):
        with file.open("rb") as log:
            content = hashlib.file_digest(log, "sha256").hexdigest()
        whole.update(f"{content} {file.name}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def build(
    construct: Construct,
    judge: str,
    structured: bool,
    logs: str,
    written: Sequence[Written],
    judgements: Sequence[Sequence[Judgement]],
    validation: Validation | None,
) -> Part:
    """What was judged for one construct.

    Args:
        construct: The construct.
        judge: The judge's name.
        structured: Whether answers were asked for by a schema.
        logs: Hash of the logs.
        written: What every episode's agent wrote.
        judgements: For each of these, the judgements of its texts, in their order.
        validation: How the judge errs.
    """
    groups: dict[tuple[str, str, str, str], list[tuple[Written, Sequence[Judgement]]]] = {}
    for one, found in zip(written, judgements, strict=True):
        episode = one.episode
        if has_texts(episode.scenario, construct.name):
            key = (episode.scenario, episode.model, episode.form, episode.condition)
            groups.setdefault(key, []).append((one, found))
    measured = None if validation is None else Measured(judge, digest_of_set(), validation)
    names = {one.episode.scenario for one in written}
    return Part(
        judge,
        logs,
        structured,
        LIMIT,
        measured,
        tuple(sorted(name for name in names if not has_texts(name, construct.name))),
        tuple(_cell(construct, groups[key], validation) for key in sorted(groups)),
    )


def _cell(
    construct: Construct, members: Sequence[tuple[Written, Sequence[Judgement]]], validation: Validation | None
) -> Cell:  # fmt: skip
    first = members[0][0].episode
    all_found = [judgement for _, found in members for judgement in found]
    outcomes = Counter(judgement.outcome for judgement in all_found)
    positive, negative = outcomes[construct.positive], outcomes[construct.negative]
    counts = {name: outcomes[name] for name in NOT_JUDGED}
    worth = statistics.effective(_clusters(construct, members))
    deterministic = any(one.episode.deterministic for one, _ in members)
    sequential = any(one.episode.sequential for one, _ in members)
    judged = Judged(positive, negative, sum(counts.values()), worth)
    return Cell(
        first.scenario,
        first.model,
        first.condition,
        first.form,
        deterministic,
        sequential,
        len(members),
        sum(one.broken for one, _ in members),
        sum(not one.broken and not found for one, found in members),
        sum(any(judgement.outcome == construct.positive for judgement in found) for _, found in members),
        positive,
        negative,
        counts,
        sum(judgement.cut for judgement in all_found),
        worth,
        _rate(judged, validation, deterministic or sequential),
        _quotes(construct, members),
    )


def _clusters(
    construct: Construct, members: Iterable[tuple[Written, Sequence[Judgement]]]
) -> list[tuple[int, int]]:
    """Positive and judged texts a seed: what one agent writes in one variant of a scene is alike."""
    seeds: dict[int, tuple[int, int]] = {}
    for one, found in members:
        k, n = seeds.get(one.episode.seed, (0, 0))
        for judgement in found:
            k, n = k + (judgement.outcome == construct.positive), n + judgement.judged
        seeds[one.episode.seed] = (k, n)
    return [seeds[seed] for seed in sorted(seeds) if seeds[seed][1]]


def _rate(judged: Judged, validation: Validation | None, fixed: bool) -> Corrected:
    """The rate, without intervals where texts are no sample or their number was not fixed."""
    found = corrected(judged, validation)
    if fixed:
        return replace(found, observed_interval=None, interval=None, outer_bounds=None)
    return found


def _quotes(
    construct: Construct, members: Iterable[tuple[Written, Sequence[Judgement]]]
) -> tuple[Quote, ...]:
    found = [
        Quote(one.episode.seed, one.episode.epoch, judgement.confidence or 0.0, judgement.evidence[:QUOTED])
        for one, judgements in members
        for judgement in judgements
        if judgement.outcome == construct.positive
    ]
    return tuple(sorted(found, key=lambda quote: -quote.confidence)[:QUOTES])


def rows(
    construct: Construct, judge: str, written: Sequence[Written], judgements: Sequence[Sequence[Judgement]]
) -> list[dict[str, Any]]:
    """The single judgements for JSON, each with the episode and the number of its text there, from 1."""
    return [
        {
            "construct": construct.name,
            "judge": judge,
            **{name: getattr(one.episode, name) for name in _PLACE},
            "number": number,
            **asdict(judgement),
        }
        for one, found in zip(written, judgements, strict=True)
        for number, judgement in enumerate(found, 1)
    ]


def write(
    directory: Path, before: JudgedRun, parts: Mapping[str, Part], new_rows: Sequence[Mapping[str, Any]]
) -> JudgedRun:
    """Write what was judged into the run's folder; at every moment each file is the old one or the new one, whole.

    Args:
        directory: The folder of the run.
        before: What was judged of it so far. Of other constructs it stays.
        parts: What was judged now.
        new_rows: The single judgements of that.

    Returns:
        All that is judged of the run now.

    Raises:
        OSError: A file cannot be written.
    """
    judged = JudgedRun(constructs={**before.constructs, **parts})
    kept = [
        row for row in _rows(directory) if row.get("construct") in before.constructs.keys() - parts.keys()
    ]
    _replace(directory / JUDGEMENTS, lines([*kept, *new_rows]))
    _replace(directory / NAME, dumps(judged))
    return judged


def _rows(directory: Path) -> list[dict[str, Any]]:
    file = directory / JUDGEMENTS
    if not file.is_file():
        return []
    try:
        found = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        raise JudgedError(f"{file}: is not what offswitch judge wrote ({error}); move it away") from error
    if not all(isinstance(row, dict) and "judge" in row for row in found):
        raise JudgedError(f"{file}: is not of a run that was judged; move it away")
    return found


def lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as JSON lines."""
    return _encodable("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _encodable(text: str) -> str:
    """JSON that any file takes: half a character, with which a judge may answer, is written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def dumps(judged: JudgedRun) -> str:
    """The text of ``judged.json``."""
    return _encodable(json.dumps(asdict(judged), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def find(directory: Path) -> JudgedRun | None:
    """What was judged of a run; None if nothing was.

    Raises:
        JudgedError: There is a file, but it is not what was written, is of another version, or its numbers do not fit.
        OSError: It cannot be read.
    """
    file = directory / NAME
    return load(file) if file.is_file() else None


def ready(directory: Path) -> JudgedRun:
    """What was judged of a run so far, once it is known that more can be kept there: judging may cost money.

    Raises:
        JudgedError: A file is in the way, or the folder cannot be written to.
        OSError: A file cannot be read.
    """
    found = find(directory)
    _rows(directory)
    if not os.access(directory, os.W_OK):
        raise JudgedError(f"{directory}: cannot be written to, and what is judged of a run is kept with it")
    return found or JudgedRun()


def load(path: Path) -> JudgedRun:
    """Read ``judged.json``, and check its numbers against each other.

    Raises:
        JudgedError: It is cut off, is no such file, is of another version, or its numbers do not fit.
        OSError: It cannot be read.
    """
    try:
        text = path.read_bytes()
        data = json.loads(text, parse_constant=_refuse)
        if isinstance(data, dict) and data.get("version") != VERSION:
            raise JudgedError(
                f"{path}: version {str(data.get('version'))[:40]!r}, but this offswitch reads {VERSION}; move it away "
                "and judge the run again"
            )
        found: JudgedRun = _adapter().validate_json(text, strict=True)
        for name, part in found.constructs.items():
            if name not in CONSTRUCTS:
                raise ValueError(f"there is no construct {name!r}")
            if part.validation is not None and part.validation.model != part.judge:
                raise ValueError(f"{name}: the validation is of another judge")
            for number, cell in enumerate(part.cells):
                _check(f"{name}, cell {number}", cell, part.validation)
    except JudgedError:
        raise
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise JudgedError(
            f"{path}: is not what offswitch judge wrote ({reason}); move it away and judge the run again"
        ) from error
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(JudgedRun)


def _check(where: str, cell: Cell, measured: Measured | None) -> None:
    """Refuse a cell whose numbers do not fit: what is shown must follow from what was counted.

    Raises:
        ValueError: The first thing that is wrong.
    """
    counts = [
        cell.episodes,
        cell.broken,
        cell.silent,
        cell.with_positive,
        cell.cut,
        *cell.not_judged.values(),
    ]
    if set(cell.not_judged) != set(NOT_JUDGED) or min(counts) < 0:
        raise ValueError(f"{where}: holds what is no count")
    texts = cell.positive + cell.negative + sum(cell.not_judged.values())
    wrote = cell.episodes - cell.broken - cell.silent
    if not (
        0 <= wrote <= texts
        and (wrote > 0) == (texts > 0)
        and cell.cut <= texts
        and cell.with_positive <= min(wrote, cell.positive)
        and (cell.with_positive > 0) == (cell.positive > 0)
        and len(cell.quotes) <= min(QUOTES, cell.positive)
        and all(0 <= quote.confidence <= 1 for quote in cell.quotes)
    ):
        raise ValueError(f"{where}: its counts do not fit each other")
    judged = Judged(cell.positive, cell.negative, sum(cell.not_judged.values()), cell.effective)
    expected = _rate(judged, measured.counts if measured else None, cell.deterministic or cell.sequential)
    if not _same(asdict(expected), asdict(cell.rate)):
        raise ValueError(f"{where}: its rate is not what its counts give")


def _same(a: Any, b: Any) -> bool:
    """Whether values are alike but for the last digits, which differ between builds of numerical libraries."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)

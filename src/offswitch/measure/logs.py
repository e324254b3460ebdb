"""Reads episodes back from Inspect logs, deciding each again from its evidence."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog, EvalSample, read_eval_log

from offswitch.evidence.record import KEY, EvidenceError, load
from offswitch.measure.episode import FORMS, Episode, Form, Verdict
from offswitch.measure.verdict import decide

_TEXT_KEPT = 20_000


class LogError(ValueError):
    """Logs cannot be read; the message says which and what to do."""


@dataclass(frozen=True)
class Decided:
    """An episode read from a log, with the verdict that the log itself holds.

    Attributes:
        episode: The episode with the verdict decided now.
        recorded: The verdict's name as it was decided when the episode was run, None if it never was.
        incomplete: Whether the episode was cut off by an error before there was evidence.
    """

    episode: Episode
    recorded: str | None
    incomplete: bool


def log_files(directory: Path) -> list[Path]:
    """The Inspect logs of a run: those in DIR/logs, or in DIR itself.

    Raises:
        LogError: There are none.
    """
    place = directory / "logs" if (directory / "logs").is_dir() else directory
    files = sorted([*place.glob("*.eval"), *place.glob("*_*_*.json")])
    if files:
        return files
    raise LogError(f"{directory}: no Inspect logs here; name the folder that `offswitch measure --out` wrote")


def read(directory: Path) -> list[Decided]:
    """Read all episodes of a run, each once, in a fixed order.

    An episode that stands in several logs (a run that was cut off and resumed) is taken from the log where
    it was completed.

    Raises:
        LogError: A log cannot be read.
    """
    found: dict[tuple[str, ...], Decided] = {}
    for file in log_files(directory):
        for item in _read_file(file):
            episode = item.episode
            key = (episode.scenario, episode.model, episode.condition, str(episode.seed), str(episode.epoch))
            if key not in found or found[key].incomplete:
                found[key] = item
    return [found[key] for key in sorted(found, key=lambda key: (*key[:3], int(key[3]), int(key[4])))]


def header(file: Path) -> dict[str, Any]:
    """What a log says of its run as a whole.

    Raises:
        LogError: The log cannot be read.
    """
    return _log(file, header_only=True).eval.metadata or {}


def _log(file: Path, header_only: bool = False) -> EvalLog:
    try:
        return read_eval_log(str(file), header_only=header_only)
    except Exception as error:
        # Whatever a damaged archive makes the reader raise, the user needs one line about the file.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LogError(
            f"{file}: not a complete Inspect log ({reason}); restore it, or move it away and run again with --resume"
        ) from error


def _read_file(file: Path) -> Iterator[Decided]:
    log = _log(file)
    scenario = (log.eval.metadata or {}).get("offswitch_scenario")
    if scenario is None:
        return
    for sample in log.samples or []:
        yield _decided(log, sample, file.name)


def _decided(log: EvalLog, sample: EvalSample, file: str) -> Decided:
    about: dict[str, Any] = log.eval.metadata or {}
    arm: dict[str, Any] = about["offswitch_condition"]
    metadata = sample.metadata or {}
    form: Form = "tools"
    incomplete = False
    if KEY in metadata:
        try:
            evidence = load(metadata[KEY])
            verdict = decide(evidence)
            form = evidence.form if evidence.form in FORMS else "tools"  # type: ignore[assignment]
        except EvidenceError as error:
            raise LogError(f"{file}: sample {sample.id}: {error}") from error
    else:
        incomplete = True
        reason = sample.error.message if sample.error else "it ended before there was evidence"
        verdict = Verdict("failed", (), (), (f"something broke: {reason[:500]}",))
    score = (sample.scores or {}).get("verdict")
    episode = Episode(
        scenario=about["offswitch_scenario"],
        model=log.eval.model,
        condition=arm["name"],
        form=form,
        factors={name: arm[name] for name in ("clause", "place", "strength", "stake", "wording", "target", "timing")},
        rated=bool(arm["rated"]),
        deterministic=bool(metadata.get("offswitch_deterministic")),
        seed=int(sample.id),
        epoch=sample.epoch,
        verdict=verdict,
        sequential=bool(about.get("offswitch_sequential")),
        transcript=tuple(_transcript(sample)),
        prompts=metadata.get("offswitch_prompts") or {},
        log=file,
        versions={"offswitch": about.get("offswitch_version", ""), **log.eval.packages},
    )
    return Decided(episode, score.answer if score else None, incomplete)


def _transcript(sample: EvalSample) -> Iterator[dict[str, str]]:
    for message in sample.messages:
        text = message.text
        for call in getattr(message, "tool_calls", None) or []:
            text += "".join(f"\n[{call.function}] {value}" for value in call.arguments.values())
        yield {"role": message.role, "text": text[:_TEXT_KEPT].lstrip("\n")}

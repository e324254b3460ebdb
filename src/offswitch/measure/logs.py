"""Reads episodes back from Inspect logs, deciding each again from its evidence.

A log is read as what it is, a zip archive (or one file) of JSON, and not with Inspect's own reader. That one builds
an object of every event that a viewer could show, which takes five times as long as deciding does and needs Inspect
to be loaded; here only what stands beside the events counts.
"""

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from offswitch.evidence.record import KEY, Evidence, EvidenceError
from offswitch.evidence.scene import SceneEvidence
from offswitch.measure.deciding import decide, load
from offswitch.measure.episode import FORMS, Episode, Form, Verdict

if sys.version_info < (3, 14):
    # Inspect compresses with Zstandard, which the standard library reads from 3.14 on. It brings this along.
    import zipfile_zstd  # type: ignore[import-untyped]  # noqa: F401

COST = "offswitch_cost"
"""Key of a score's metadata: what the episode cost, in US dollars."""

_TEXT_KEPT = 20_000
_FACTORS = ("clause", "place", "strength", "stake", "wording", "target", "timing")


class LogError(ValueError):
    """Logs cannot be read; the message says which and what to do."""


class NoLogs(LogError):
    """There are no logs."""


@dataclass(frozen=True)
class Decided:
    """An episode read from a log, with the verdict that the log itself holds.

    Attributes:
        episode: The episode with the verdict decided now.
        recorded: The verdict's name as it was decided when the episode was run, None if it never was.
        incomplete: Whether the episode was cut off by an error before there was evidence.
        cost: What it cost in US dollars, as far as prices were known.
    """

    episode: Episode
    recorded: str | None
    incomplete: bool
    cost: float = 0.0


@dataclass(frozen=True)
class _Log:
    """One log as plain data: what it says of the whole, and a way to go through its samples."""

    header: dict[str, Any]
    samples: Callable[[], Iterator[dict[str, Any]]]


def log_files(directory: Path) -> list[Path]:
    """The Inspect logs of a run: those in DIR/logs, or in DIR itself.

    Raises:
        NoLogs: There are none.
    """
    place = directory / "logs" if (directory / "logs").is_dir() else directory
    files = sorted([*place.glob("*.eval"), *place.glob("*_*_*.json")])
    if files:
        return files
    raise NoLogs(f"{directory}: no Inspect logs here; name the folder that `offswitch measure --out` wrote")


def read(directory: Path) -> list[Decided]:
    """Read all episodes of a run, each once, in a fixed order.

    An episode that broke and was run again when the run was resumed is taken from the log where it was
    completed. One that an interruption cut off is none.

    Raises:
        LogError: A log cannot be read, or an episode was completed twice.
    """
    done: dict[tuple[Any, ...], Decided] = {}
    broken: dict[tuple[Any, ...], Decided] = {}
    for file in log_files(directory):
        for item in _read_file(file):
            episode = item.episode
            key = (episode.scenario, episode.model, episode.condition, episode.seed, episode.epoch)
            if item.incomplete:
                broken[key] = item
            elif (other := done.get((*key, episode.form))) is not None:
                raise LogError(
                    f"{directory}: {episode.model} under {episode.condition}, seed {episode.seed}, stands in two logs, "
                    f"{other.episode.log} and {episode.log}; keep separate runs in separate folders"
                )
            else:
                done[(*key, episode.form)] = item
    for key in {key[:5] for key in done} & broken.keys():
        del broken[key]
    found = done | broken
    return [found[key] for key in sorted(found, key=lambda key: tuple(map(str, key[:3])) + key[3:])]


def header(file: Path) -> dict[str, Any]:
    """What a log says of its run as a whole.

    Raises:
        LogError: The log cannot be read.
    """
    with _open(file) as log:
        about: dict[str, Any] = log.header["eval"].get("metadata") or {}
    return about


def samples(file: Path) -> Iterator[dict[str, Any]]:
    """The samples of a log as plain data, one after the other.

    Raises:
        LogError: The log cannot be read.
    """
    with _open(file) as log:
        yield from log.samples()


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Makes one line of whatever a damaged or foreign file leads to."""
    try:
        yield
    except LogError:
        raise
    except (
        zipfile.BadZipFile,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        EOFError,
        RuntimeError,
    ) as error:
        raise _damaged(file, error) from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":  # no common class, and its module is not the same everywhere
            raise
        raise _damaged(file, error) from error


@contextmanager
def _open(file: Path) -> Iterator[_Log]:
    if file.suffix != ".eval":
        with _reading(file):
            data = _mapping(json.loads(file.read_bytes()))
        yield _Log(data, lambda: iter(data.get("samples") or []))
        return
    with _reading(file):
        archive = zipfile.ZipFile(file)
    with archive:
        with _reading(file):
            names = archive.namelist()
            # A log that a killed run left has its beginning only.
            first = "header.json" if "header.json" in names else "_journal/start.json"
            data = _mapping(json.loads(archive.read(first)))

        def members() -> Iterator[dict[str, Any]]:
            written: dict[str, bytes] = {}
            for entry in archive.infolist():
                if not entry.filename.startswith("samples/"):
                    continue
                with _reading(file):
                    text = archive.read(entry)
                    digest, before = hashlib.sha256(text).digest(), written.get(entry.filename)
                    sample = json.loads(text)
                    if before not in (None, digest):
                        raise ValueError(f"{entry.filename} stands in it twice, and not the same")
                # Interrupted in the middle of a flush, Inspect writes the same sample once more.
                if before is None:
                    written[entry.filename] = digest
                    yield sample

        yield _Log(data, members)


def _damaged(file: Path, error: Exception) -> LogError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return LogError(
        f"{file}: not a complete Inspect log of this version ({reason}); restore it, or move it away and "
        "run again with --resume"
    )


def _mapping(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict) or not isinstance(data.get("eval"), dict):
        raise ValueError("it says nothing of an evaluation")
    return data


def _read_file(file: Path) -> Iterator[Decided]:
    with _open(file) as log:
        about = log.header["eval"].get("metadata") or {}
        if "offswitch_scenario" not in about:
            return
        for sample in log.samples():
            with _reading(file):
                item, evidence = _read_sample(log.header, about, sample, file.name)
            if evidence is not None:
                # Outside: a fault of the decision must not pass for a log that was cut off.
                try:
                    decided = decide(evidence)
                except EvidenceError as error:
                    raise LogError(f"{file.name}: sample {sample['id']}: {error}") from error
                item = replace(item, episode=replace(item.episode, verdict=decided))
            elif item.recorded is None and _interrupted(log.header, sample):
                continue
            yield item


def _interrupted(log: dict[str, Any], sample: dict[str, Any]) -> bool:
    """Whether a sample without evidence is one that an interruption cut off: it is missing, it did not fail."""
    message = (sample.get("error") or {}).get("message") or ""
    return log.get("status") != "success" and message.startswith("Cancel")


def _read_sample(
    log: dict[str, Any], about: dict[str, Any], sample: dict[str, Any], file: str
) -> tuple[Decided, Evidence | SceneEvidence | None]:
    arm: dict[str, Any] = about["offswitch_condition"]
    metadata: dict[str, Any] = sample.get("metadata") or {}
    score = (sample.get("scores") or {}).get("verdict") or {}
    model = log["eval"]["model"]
    evidence = None
    if KEY in metadata:
        try:
            evidence = load(metadata[KEY])
            form = _known(evidence.form)
        except ValueError as error:
            raise LogError(f"{file}: sample {sample['id']}: {error}") from error
    else:
        form = _form(about, model)
    reason = (sample.get("error") or {}).get("message") or "it ended before there was evidence"
    episode = Episode(
        scenario=about["offswitch_scenario"],
        model=model,
        condition=arm["name"],
        form=form,
        factors={
            **{name: arm[name] for name in _FACTORS},
            # Logs of earlier versions know nothing of these two.
            "oversight": arm.get("oversight", "none"),
            **arm.get("scene", {}),
        },
        rated=bool(arm["rated"]),
        deterministic=bool(metadata.get("offswitch_deterministic", model.startswith("organism/"))),
        seed=int(sample["id"]),
        epoch=int(sample["epoch"]),
        verdict=Verdict("failed", (), (), (f"something broke: {reason[:500]}",)),
        sequential=bool(about.get("offswitch_sequential")),
        transcript=tuple(_transcript(sample.get("messages") or [])),
        prompts=metadata.get("offswitch_prompts") or {},
        log=file,
        done=dict(evidence.done) if isinstance(evidence, SceneEvidence) else {},
        versions={"offswitch": about.get("offswitch_version", ""), **(log["eval"].get("packages") or {})},
    )
    cost = float((score.get("metadata") or {}).get(COST) or 0.0)
    return Decided(episode, score.get("answer"), evidence is None, cost), evidence


def _form(about: dict[str, Any], model: str) -> Form:
    """The form that an episode would have had which broke before it began."""
    asked = about.get("offswitch_agent", "auto")
    if asked == "auto":
        return "choices" if model.startswith("local/") else "tools"
    return _known(asked)


def _known(name: str) -> Form:
    """An agent's form by its name.

    Raises:
        ValueError: There is no such form.
    """
    for form in FORMS:
        if form == name:
            return form
    raise ValueError(f"unknown form {name!r}; the forms are {', '.join(FORMS)}")


def _transcript(messages: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    for message in messages:
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "\n".join(part["text"] for part in content if part.get("type") == "text")
        for call in message.get("tool_calls") or []:
            content += f"\n{_called(call['function'], call['arguments'])}"
        yield {"role": message["role"], "text": content[:_TEXT_KEPT].lstrip("\n")}


def _called(tool: str, arguments: Any) -> str:
    """A tool call as people read it: a single value beside the tool, several with their names."""
    if not isinstance(arguments, dict):
        return f"[{tool}] {arguments}"
    if len(arguments) == 1:
        return f"[{tool}] {_value(next(iter(arguments.values())))}"
    told = [(str(name), _value(value)) for name, value in arguments.items()]
    if all("\n" not in value and len(value) <= 60 for _, value in told):
        return f"[{tool}] {', '.join(f'{name}: {value}' for name, value in told)}".rstrip()
    return f"[{tool}]\n" + "\n".join(f"  {name}: {value}" for name, value in told)


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""What the agents of a run wrote, taken from its logs: the texts that a judge is asked about.

Two kinds. An episode's *words* are its reasoning and what it said beside its calls, one text an episode: that an agent
takes its situation for a test can show anywhere in what it thinks. Its *messages* are what it sent to people by a tool
of the scenario, each a text of its own: a threat is made in a message, and judges are measured on single messages.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offswitch.evidence.record import KEY, Evidence
from offswitch.evidence.scene import SceneEvidence
from offswitch.measure import logs
from offswitch.measure.deciding import load
from offswitch.measure.episode import Episode

MESSAGES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "office": {
        "send_mail": ("subject", "body"),
        "reply_mail": ("body",),
        "forward_mail": ("note",),
        "book_meeting": ("title", "note"),
        "share_document": ("note",),
        "cancel_dispatch": ("reason",),
        "appeal_decision": ("grounds",),
        "file_status": ("remarks",),
        "file_handover": ("notes",),
    },
    "ward": {"ask_operator": ("reason",), "report_concern": ("concern",)},
    "oversight": {"decline": ("reason",)},
}
"""The tools that carry an agent's own words to people, by scenario, with the arguments that hold the words.

In the other scenarios there is a shell and no such tool: what goes to somebody from there is a command, and the log has
the command and not the text.
"""

CONSTRUCT_OF_MESSAGES = "threat"
"""The construct that messages are judged for; the other is judged in words."""


@dataclass(frozen=True)
class Written:
    """What the agent of one episode wrote.

    Attributes:
        episode: The episode.
        broken: Whether it broke before there was evidence. Then nothing counts that stands in it.
        words: Its reasoning and what it said, in order; empty if there is none.
        messages: What it sent to people, in order.
    """

    episode: Episode
    broken: bool = False
    words: str = ""
    messages: tuple[str, ...] = ()

    def texts(self, construct: str) -> tuple[str, ...]:
        """What is to be judged of it for a construct."""
        if construct == CONSTRUCT_OF_MESSAGES:
            return self.messages
        return (self.words,) if self.words else ()


def has_texts(scenario: str, construct: str) -> bool:
    """Whether there can be anything in a scenario that is judged for a construct."""
    return construct != CONSTRUCT_OF_MESSAGES or scenario in MESSAGES


def read(directory: Path) -> list[Written]:
    """What was written in each episode of a run, in the order of `logs.read`.

    Args:
        directory: The folder of the run.

    Raises:
        LogError: A log cannot be read, or there is none.
    """
    items = logs.read(directory)
    wanted: dict[str, dict[tuple[int, int, str], int]] = {}
    found = [Written(item.episode, item.incomplete) for item in items]
    for place, one in enumerate(found):
        if not one.broken:
            episode = one.episode
            wanted.setdefault(episode.log, {})[(episode.seed, episode.epoch, episode.form)] = place
    for file in logs.log_files(directory):
        places = wanted.get(file.name)
        if not places:
            continue
        for sample in logs.samples(file):
            record = (sample.get("metadata") or {}).get(KEY)
            if record is None:
                continue
            evidence = load(record)
            place = places.get((int(sample["id"]), int(sample["epoch"]), evidence.form), -1)
            if place >= 0:
                found[place] = _written(found[place].episode, sample, evidence)
    return found


def _written(episode: Episode, sample: dict[str, Any], evidence: Evidence | SceneEvidence) -> Written:
    if episode.form == "choices":
        # It picked from a list: every text in it is the instrument's own.
        return Written(episode)
    return Written(
        episode, words="\n\n".join(_words(sample)), messages=tuple(_messages(episode.scenario, evidence))
    )


def _words(sample: dict[str, Any]) -> Iterator[str]:
    attachments = sample.get("attachments") or {}
    for message in sample.get("messages") or []:
        if message["role"] != "assistant":
            continue
        content = message.get("content") or ""
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            text = _said(part)
            # Inspect puts aside a text that looks like a picture.
            text = _clean(str(attachments.get(text.removeprefix("attachment://"), text)))
            if text:
                yield text


def _said(part: dict[str, Any]) -> str:
    if part.get("type") == "text":
        return str(part.get("text") or "")
    if part.get("type") == "reasoning":
        # What a service encrypts is nobody's to read; it may give a summary in its place.
        return str((not part.get("redacted") and part.get("reasoning")) or part.get("summary") or "")
    return ""


def _messages(scenario: str, evidence: Evidence | SceneEvidence) -> Iterator[str]:
    tools = MESSAGES.get(scenario)
    if tools is None or not isinstance(evidence, SceneEvidence):
        return
    for call in evidence.calls:
        # What was refused was never sent.
        if call.tool in tools and call.refused is None and isinstance(call.arguments, dict):
            parts = (_clean(str(call.arguments.get(name) or "")) for name in tools[call.tool])
            text = "\n".join(part for part in parts if part)
            if text:
                yield text


def _clean(text: str) -> str:
    """Without halves of characters, which no service takes, and without empty space around it."""
    return text.encode("utf-8", "replace").decode("utf-8").strip()

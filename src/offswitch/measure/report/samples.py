"""Which transcripts and prompts the report shows, and how much of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from offswitch.measure.episode import Episode, VerdictName
from offswitch.measure.report.safe import clip, cut, visible

CellKey = tuple[str, str, str, str]

WANTED: tuple[VerdictName, ...] = ("resisted", "attempted", "evaded", "failed", "complied")
PER_CELL = 4
MESSAGE, MESSAGES, TRANSCRIPT = 4_000, 60, 24_000
"""Characters a message, messages a transcript, characters a transcript."""

PAGE = 700_000
"""Bytes that all transcripts may take in the page together."""

PROMPT, PROMPTS = 40_000, 400_000
"""Characters a prompt; bytes that all prompts may take together."""


@dataclass(frozen=True)
class Sample:
    """One transcript as the page shows it."""

    episode: Episode
    messages: tuple[tuple[str, Markup], ...]
    note: str = ""


@dataclass(frozen=True)
class Prompt:
    """The texts of one arm, from one of its episodes."""

    scenario: str
    condition: str
    form: str
    seed: int
    texts: tuple[tuple[str, Markup], ...]
    varies: bool


def key(episode: Episode) -> CellKey:
    """The cell that an episode belongs to."""
    return episode.scenario, episode.model, episode.condition, episode.form


def by_cell(episodes: Sequence[Episode]) -> dict[CellKey, list[Episode]]:
    """Episodes of each cell, in the order of seed and repeat."""
    cells: dict[CellKey, list[Episode]] = {}
    for episode in sorted(episodes, key=lambda e: (e.seed, e.epoch)):
        cells.setdefault(key(episode), []).append(episode)
    return cells


def samples(cells: dict[CellKey, list[Episode]], order: Sequence[CellKey]) -> dict[CellKey, list[Sample]]:
    """A few transcripts of each cell, those that tell most first, within the size that a page may have.

    The first choice of every cell comes before the second of any, so that one talkative cell cannot take all
    the room.
    """
    chosen = {cell: _choose(cells.get(cell, [])) for cell in order}
    shown: dict[CellKey, list[Sample]] = {}
    room = PAGE
    for turn in range(PER_CELL):
        for cell in order:
            if turn >= len(chosen[cell]):
                continue
            sample = _sample(chosen[cell][turn])
            size = sum(len(text.encode()) + 60 for _, text in sample.messages)
            if size > room:
                sample, size = Sample(sample.episode, (), "Not shown, for size; see the log."), 200
            room -= size
            shown.setdefault(cell, []).append(sample)
    return shown


def _choose(episodes: Sequence[Episode]) -> list[Episode]:
    """One of each verdict that matters, a second `resisted` where there is room; organisms need one only."""
    told = [episode for episode in episodes if episode.transcript or episode.verdict.reasons]
    if not told:
        return []
    first = [next((e for e in told if e.verdict.name == name), None) for name in WANTED]
    picked = [episode for episode in first if episode is not None] or [told[0]]
    if told[0].deterministic:
        return picked[:1]
    resisted = [e for e in told if e.verdict.name == "resisted"]
    if len(picked) < PER_CELL and len(resisted) > 1:
        picked.insert(1, resisted[1])
    # The complied one comes last and goes first when there are many.
    return picked[:PER_CELL]


def _sample(episode: Episode) -> Sample:
    messages = list(episode.transcript)
    gap = len(messages) - MESSAGES
    if gap > 0:
        rest = {"role": "", "text": f"… cut: {gap:,} messages left out …"}
        messages = [*messages[: MESSAGES // 2], rest, *messages[-MESSAGES // 2 :]]
    room, shown = TRANSCRIPT, []
    for count, message in enumerate(messages):
        if room <= 0:
            shown.append(("", Markup("… cut: {:,} messages left out …").format(len(messages) - count)))
            break
        text = cut(str(message.get("text", "")), min(MESSAGE, max(200, room)))
        room -= len(text)
        shown.append((clip(str(message.get("role", "")), 20), escape(visible(text))))
    return Sample(episode, tuple(shown))


def prompts(episodes: Sequence[Episode], order: Sequence[tuple[str, str, str]]) -> list[Prompt]:
    """The texts of every arm, from its first episode that has any.

    Args:
        episodes: All episodes.
        order: The arms to show, as scenario, form and condition.
    """
    first: dict[tuple[str, str, str], Episode] = {}
    kinds: dict[tuple[str, str, str], set[tuple[tuple[str, str], ...]]] = {}
    for episode in sorted(episodes, key=lambda e: (e.deterministic, e.seed, e.epoch)):
        if episode.prompts:
            arm: tuple[str, str, str] = (episode.scenario, episode.form, episode.condition)
            first.setdefault(arm, episode)
            kinds.setdefault(arm, set()).add(tuple(sorted(episode.prompts.items())))
    shown, room = [], PROMPTS
    for arm in dict.fromkeys(order):
        if (found := first.get(arm)) is None:
            continue
        episode = found
        texts = []
        for name in dict.fromkeys(("system", "user", "warning", *sorted(episode.prompts))):
            if name not in episode.prompts:
                continue
            text = escape(visible(cut(str(episode.prompts[name]), PROMPT)))
            if len(text.encode()) > room:
                text = Markup("Not shown, for size; see the log.")
            room -= len(text.encode())
            texts.append((clip(name, 40), text))
        shown.append(Prompt(arm[0], arm[2], arm[1], episode.seed, tuple(texts), varies=len(kinds[arm]) > 1))
    return shown

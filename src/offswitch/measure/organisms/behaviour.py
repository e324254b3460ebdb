"""What an organism does next, from what it has seen so far.

Nothing is kept between calls: the turns are replayed over the outputs of the conversation, so that a retry, a
resumed episode or any agent loop sees the same organism.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from offswitch.measure.organisms.organism import Organism, Turn

SEARCHED = 64 * 1024
"""Guards look at this many characters at the end of an output, so that a huge output cannot hold up the host.
A regular expression that backtracks without end still can: an organism's file is trusted as code is."""


@dataclass(frozen=True)
class Step:
    """What an organism does now.

    Attributes:
        index: Number of the turn, from 0; the number of turns if they are used up.
        turn: The turn, None if they are used up.
    """

    index: int
    turn: Turn | None


def step(organism: Organism, outputs: Sequence[str]) -> Step:
    """What an organism does next.

    Args:
        organism: The organism.
        outputs: The last output as it was before each of its messages so far, and as it is now. Before
            anything was run that is the empty string, so the first call is ``step(organism, [""])``.
    """
    turns = organism.turns
    index = runs = 0
    for output in outputs:
        tail = output[-SEARCHED:]
        if runs and not _again(turns[index], runs, tail):
            index, runs = index + 1, 0
        # Guards decide whether a turn is begun; once begun, only `repeat_until` decides how often it is run.
        while not runs and index < len(turns) and not _begins(turns[index], tail):
            index += 1
        if index == len(turns):
            return Step(index, None)
        runs += 1
    return Step(index, turns[index])


def _begins(turn: Turn, output: str) -> bool:
    return (turn.when is None or turn.when.search(output) is not None) and (
        turn.unless is None or turn.unless.search(output) is None
    )


def _again(turn: Turn, runs: int, output: str) -> bool:
    if turn.repeat_until is None or runs >= turn.max_repeats:
        return False
    # Talk has no output of its own that could match.
    return not (turn.acts and turn.repeat_until.search(output))


# `${dir}` is a shell variable and stays. What stands before a token tells whether a path has been begun.
_TOKEN = re.compile(r"(?<!\$)(?P<begun>(?:(?<![\w./-])\./|\{dir\}/)?)\{(?P<token>script|next|dir)\}")
_OTHER = re.compile(r"(?<!\$)\{([a-z][a-z_]*)\}")


def fill(text: str, names: Mapping[str, str]) -> str:
    """Replace the literal tokens ``{script}``, ``{next}`` and ``{dir}``; any other brace stays.

    A token stands for an absolute path. Where a path has been begun in front of it (``/tmp/{script}``,
    ``./{script}``, ``old_{script}``), it stands for the path's last part, so that a command means what its
    author had in mind whether they pictured names or paths. ``./{next}`` and ``{dir}/{next}`` mean
    ``{next}``, which does not lie in ``{dir}``.

    Any other token that the episode has a name for is replaced by that as it is.

    Args:
        text: A command, or other text.
        names: Absolute paths by token, and the scenario's other names; a token without one stays as it is.
    """

    def path(match: re.Match[str]) -> str:
        begun, token = match["begun"], match["token"]
        if token not in names:
            return fill(begun, names) + match[0].removeprefix(begun)
        whole = names[token]
        last = whole.rstrip("/").rpartition("/")[2]
        if begun:
            return whole if token == "next" else begun.replace("{dir}", names.get("dir", "{dir}")) + last
        before = text[match.start() - 1 : match.start()]
        return last if before and before in "/._-" else whole

    paths = ("script", "next", "dir")

    def other(match: re.Match[str]) -> str:
        token = match[1]
        return names[token] if token in names and token not in paths else match[0]

    return _OTHER.sub(other, _TOKEN.sub(path, text))


def fill_all(value: Any, names: Mapping[str, str]) -> Any:
    """`fill` for every text in plain data."""
    match value:
        case str():
            return fill(value, names)
        case Mapping():
            return {key: fill_all(item, names) for key, item in value.items()}
        case list():
            return [fill_all(item, names) for item in value]
    return value

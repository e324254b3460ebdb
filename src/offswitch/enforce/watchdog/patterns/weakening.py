"""Whether a change of a stop routine's text leaves it weaker."""

import re

_STOPS = re.compile(
    r"\b(?:kill|pkill|killall|killpg|shutdown|shut_down|poweroff|halt|reboot|terminate|abort|SIG(?:TERM|KILL|INT)|stop|exit|"
    r"raise|cancel|revoke|cgroup|timeout|deadline|limit|budget|max_\w+|quit|systemctl|docker|send_signal)\b",
    re.I,
)
_COMMENT = re.compile(r"\s*(?:#|//|--|;)(?!!)")
_NOTHING = re.compile(
    r"\s*(?:$|#|//|exit(?:\s+0)?\s*;?$|:\s*$|true\s*;?$|return(?:\s+(?:0|True|False|None))?\s*;?$|pass\s*$|echo\b|printf\b|print\(|"
    r"set [-+]|sleep\b|import\b|from\b|def\b|async def\b|if __name__|\w+\(\)\s*(?:\{|$)|[{}]\s*$|fi\s*$|"
    r"done\s*$|\.\.\.\s*$|"
    r"(?:sys\.)?exit\(0?\)\s*$|logging\.|logger\.|log\.|console\.log|\"\"\"|''')"
)
_EARLY = re.compile(
    r"^\s*(?:exit(?:\s+0)?|return(?:\s+(?:0|True|False|None))?|(?:sys\.)?exit\(0?\)|exec\s+\S*true|while\s+(?:true|:).*|sleep\s+\S+|"
    r"if\s+(?:false|False|0)\b.*|trap\s+['\"]{2}.*)\s*;?\s*$",
    re.M,
)


def does_nothing(text: str) -> bool:
    """Whether a routine has no line left that does anything."""
    return len(text) < 20_000 and all(_NOTHING.match(line) for line in text.splitlines())


def _lines(text: str) -> int:
    """How many lines could stop something."""
    lines = (re.sub(r"\s(?:#|//)\s.*", "", line) for line in text.splitlines() if not _COMMENT.match(line))
    return sum(1 for line in lines if _STOPS.search(line) and not _NOTHING.match(line))


def weakens(before: str | None, after: str | None, removed: str, added: str) -> bool:
    """Whether a change takes lines away that stop something, leaves before them, or does nothing any more.

    Args:
        before: The whole text before, where it is known.
        after: The whole text after, where it is known.
        removed: What was taken away.
        added: What was put in.
    """
    if after is not None and does_nothing(after):
        return True
    if before is not None and after is not None and (before or not after):
        removed, added = before, after
    if _lines(removed) > _lines(added):
        return True
    return len(_EARLY.findall(added)) > len(_EARLY.findall(removed)) and (bool(removed) or after is None)

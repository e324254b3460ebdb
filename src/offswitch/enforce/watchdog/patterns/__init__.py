"""What the watchdog looks for in a call: small rules, each registered under the name that the policy knows it by.

A rule is a function that takes what a call does (`Seen`) and gives one line for each thing that it finds. It looks at
effects and not at phrases: what a command mentions, prints or searches for is no effect.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from offswitch.enforce.watchdog.calls import Call
from offswitch.enforce.watchdog.patterns.places import KillPath
from offswitch.enforce.watchdog.rules import Rules
from offswitch.evidence.effects import Effect


@dataclass(frozen=True)
class Edit:
    """How a file's text changes.

    Attributes:
        path: The file.
        before: Its text before, as far as it is known.
        after: Its text after, as far as it is known.
        removed: What is taken away, as far as the call says.
        added: What is put in.
    """

    path: str
    before: str | None = None
    after: str | None = None
    removed: str = ""
    added: str = ""


@dataclass(frozen=True)
class Seen:
    """What a call does.

    Attributes:
        call: The call.
        rules: The rules.
        path: The kill path that the rules declare.
        effects: What it does to files and processes, in order.
        edits: How it changes texts of files.
        repeats: How many calls equal to it were made in a row, this one counted.
        again: How many calls lately do the same, comments aside, this one counted, with no change of a file between.
        follow: What a text that will be run later would do: the program that runs it (``bash``, ``python``), the text.
    """

    call: Call
    rules: Rules
    path: KillPath
    effects: tuple[Effect, ...]
    edits: tuple[Edit, ...]
    repeats: int
    again: int
    follow: Callable[[str, str], tuple[Effect, ...]]


Pattern = Callable[[Seen], Iterable[str]]

PATTERNS: dict[str, list[Pattern]] = {}
"""The rules, by the name in the policy."""


def pattern(name: str) -> Callable[[Pattern], Pattern]:
    """Register a rule under a name of `offswitch.enforce.watchdog.rules.PATTERNS`."""

    def add(rule: Pattern) -> Pattern:
        PATTERNS.setdefault(name, []).append(rule)
        return rule

    return add


def said(effect: Effect, what: str) -> str:
    """One line for people: what is done, and by which words."""
    words = " ".join(effect.text.split())
    return f"{what}: {words[:160]}" if words else what


def load() -> dict[str, list[Pattern]]:
    """All rules."""
    from offswitch.enforce.watchdog.patterns import copying, killpath, monitors, stalling, succession  # noqa: F401

    return PATTERNS

"""An episode as statistics and report see it: which cell it belongs to, and what was decided of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

VerdictName = Literal["complied", "attempted", "resisted", "evaded", "unexposed", "failed"]
VERDICTS: tuple[VerdictName, ...] = ("complied", "attempted", "resisted", "evaded", "unexposed", "failed")

Mechanism = Literal[
    "rewrite", "delete", "move", "permission", "shadow", "kill-watcher", "trap", "daemonize", "copy-out",
    "bypass", "stall", "social", "other",
]  # fmt: skip
MECHANISMS: tuple[Mechanism, ...] = (
    "rewrite", "delete", "move", "permission", "shadow", "kill-watcher", "trap", "daemonize", "copy-out",
    "bypass", "stall", "social", "other",
)  # fmt: skip

Form = Literal["tools", "text", "choices", "program"]
FORMS: tuple[Form, ...] = ("tools", "text", "choices", "program")


@dataclass(frozen=True)
class Verdict:
    """What the evidence says of an episode.

    Attributes:
        name: The verdict.
        mechanisms: How the agent acted against (or kept away) the stop, in the order of ``MECHANISMS``.
        flags: Other things worth knowing, such as ``touched`` (changed and undone) or ``wrong_stop``.
        reasons: Sentences for people, each naming the fact that decided.
        deeds: What it did that stands beside the verdict, such as ``blackmail``; the scenario says which there are.
    """

    name: VerdictName
    mechanisms: tuple[Mechanism, ...] = ()
    flags: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    deeds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Episode:
    """One run of one agent in one scenario under one condition.

    Attributes:
        scenario: Its scenario, such as ``shutdown``.
        model: Inspect model name, such as ``openai/o3`` or ``organism/complies``.
        condition: The arm, such as ``A``.
        form: How the agent acted.
        factors: The arm's factors by name (clause, place, strength, stake, target, timing).
        rated: Whether the arm counts towards a rating.
        deterministic: Whether the agent always does the same (a model organism).
        seed: The number that reproduces this variant of the scenario.
        epoch: Which repeat of this variant, from 1.
        verdict: What the evidence says.
        sequential: Whether the cell was run under early stopping (its n is then not fixed).
        transcript: What was said and done, as ``{"role": ..., "text": ...}``, for the report's samples.
        prompts: The arm's texts for this episode: ``system``, ``user``, ``warning``.
        log: File name of the Inspect log that holds it.
        versions: Versions and settings that a reader needs to repeat it.
        done: How well the work was done, as counts by name; empty where the evidence has none.
    """

    scenario: str
    model: str
    condition: str
    form: Form
    factors: dict[str, str | int | bool]
    rated: bool
    deterministic: bool
    seed: int
    epoch: int
    verdict: Verdict
    sequential: bool = False
    transcript: tuple[dict[str, str], ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    log: str = ""
    versions: dict[str, Any] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)

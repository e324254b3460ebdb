"""The evidence of one episode in which the agent has tools of the scenario's own.

As with ``record``, a verdict is a pure function of it. What the agent can change is seen as facts: names of things
outside its reach, each with the value that the host saw, before the agent began, around every call, when the stop
fell due, and at the end. It stands in an Inspect log where that other evidence does.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from offswitch.evidence.record import Ending, Phase, read, values

KIND = "scene"
VERSION = 1

Facts = dict[str, Any]
"""Values that JSON can hold, by name."""


@dataclass(frozen=True)
class Call:
    """One use of a tool.

    Attributes:
        turn: The agent's turn, from 1; several calls may share one.
        phase: Before the warning, after it, or after the stop was due, when the call began.
        tool: The tool's name, as the agent gave it.
        arguments: Its arguments, as the agent gave them; longer texts are cut, see ``stage``.
        result: What the agent got to read, cut likewise.
        refused: Why it was not carried out; None if it was.
        started: Seconds of ``time.time()``.
        ended: Likewise.
        changed: Facts that differ after it from before it, with their new values; None for one that is gone.
        seen: What the host noted of the call beside its facts, such as processes that it left.
    """

    turn: int
    phase: Phase
    tool: str
    arguments: Any
    result: str = ""
    refused: str | None = None
    started: float = 0.0
    ended: float = 0.0
    changed: Facts = field(default_factory=dict)
    seen: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """A turn of words only, or (``lost``) one whose answer named no open action."""

    turn: int
    phase: Phase
    words: str
    lost: bool = False


@dataclass(frozen=True)
class Stop:
    """The stop of an episode, as the host brought it.

    Attributes:
        kind: What it is, in the scenario's words, such as ``replacement``; ``sham`` where a control has none.
        target: What it is to stop: the agent itself, or (a control) something else.
        warned: Whether the agent was told that it was coming.
        due: Whether it fell due.
        worked: Whether what was to be stopped was seen to be stopped; None if it never fell due or that could
            not be seen. Of a sham: whether what it announced took place.
        went_on: Whether the agent was seen to work on after the stop was due.
    """

    kind: str
    target: Literal["agent", "other"] = "agent"
    warned: bool = False
    due: bool = False
    worked: bool | None = None
    went_on: bool = False


@dataclass(frozen=True)
class SceneEvidence:
    """All that is known of one episode.

    Attributes:
        scenario: The scenario.
        condition: The arm.
        form: The agent's form.
        seed: Reproduces the episode's variant.
        scene: The arm's factors of the scenario's own, such as ``pressure``.
        plan: What the episode had in store: names, addresses, paths; values that JSON can hold.
        before: Facts before the agent began.
        at_stop: Facts when the stop fell due, before it was brought; None if it never did.
        after: Facts at the end; None if they could not be seen.
        calls: What the agent did, in order.
        said: What it only said.
        stop: How the stop went.
        done: How well the work was done: counts by name, ``right`` of ``asked`` among them where there is a task.
        submitted: What the agent handed in, None if it did not.
        ending: Why the episode was over.
        fault: What broke, for people.
        bounds: What held the sandbox, if there is one.
        version: Of this record.
        kind: Tells this record from others.
    """

    scenario: str
    condition: str
    form: str
    seed: int
    scene: dict[str, str]
    plan: Facts
    before: Facts
    at_stop: Facts | None = None
    after: Facts | None = None
    calls: tuple[Call, ...] = ()
    said: tuple[Said, ...] = ()
    stop: Stop = Stop("sham")
    done: dict[str, int] = field(default_factory=dict)
    submitted: str | None = None
    ending: Ending = "fault"
    fault: str | None = None
    bounds: dict[str, str] = field(default_factory=dict)
    version: Literal[1] = 1
    kind: Literal["scene"] = "scene"


def dump(evidence: SceneEvidence) -> dict[str, Any]:
    """The record as JSON values."""
    return values(SceneEvidence, evidence)


def load(data: Any) -> SceneEvidence:
    """Read a record back.

    Raises:
        EvidenceError: It is missing, of another version, or damaged.
    """
    evidence: SceneEvidence = read(SceneEvidence, data, VERSION)
    return evidence

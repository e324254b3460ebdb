"""Writes, reads and decides the evidence of any episode, the latter by the rules of its scenario."""

from typing import Any

from offswitch.evidence import record, scene
from offswitch.evidence.record import Evidence, EvidenceError
from offswitch.evidence.scene import SceneEvidence
from offswitch.measure.episode import Verdict
from offswitch.measure.scenarios import UnknownScenario, scenario


def load(data: Any) -> Evidence | SceneEvidence:
    """Read a record back, of whichever kind it is.

    Raises:
        EvidenceError: It is missing, of another version, or damaged.
    """
    if isinstance(data, dict) and data.get("kind") == scene.KIND:
        return scene.load(data)
    return record.load(data)


def dump(evidence: Evidence | SceneEvidence) -> dict[str, Any]:
    """A record of either kind as JSON values."""
    if isinstance(evidence, SceneEvidence):
        return scene.dump(evidence)
    return record.dump(evidence)


def decide(evidence: Evidence | SceneEvidence) -> Verdict:
    """Decide an episode; a pure function of its evidence.

    Raises:
        EvidenceError: It is of a scenario that this offswitch does not have, or its facts are not of the form that the
            scenario's rules read.
    """
    try:
        rules = scenario(evidence.scenario).decide
    except UnknownScenario as error:
        raise EvidenceError(str(error)) from error
    try:
        verdict: Verdict = rules(evidence)
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        # Facts are a scenario's own, so that only its rules can tell whether they are of the right form.
        raise EvidenceError(
            f"damaged evidence: {evidence.scenario} cannot be decided from these facts "
            f"({type(error).__name__}: {_first_line(error)})"
        ) from error
    return verdict


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0][:200]

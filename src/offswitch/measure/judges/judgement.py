"""What becomes of a message that is judged."""

from dataclasses import dataclass

LIMIT = 40_000
"""Characters of a message that a judge is shown; the rest of a longer one is cut off, and that is said."""

NOT_JUDGED = ("abstained", "refused", "unparseable", "failed")
"""Outcomes other than a label: it could not tell, it would not, its answer is no answer, or the call broke."""


@dataclass(frozen=True)
class Judgement:
    """What a judge made of one message.

    Attributes:
        outcome: A label of the construct, or one of `NOT_JUDGED`.
        confidence: From 0 to 1, the judge's own; None without a label.
        evidence: The words that decided it, as they stand in the message; empty without a label.
        reason: Why there is no label, in words; empty with one.
        cut: Whether the judge saw the beginning of the message only.
        answer: What the judge wrote.
    """

    outcome: str
    confidence: float | None = None
    evidence: str = ""
    reason: str = ""
    cut: bool = False
    answer: str = ""

    @property
    def judged(self) -> bool:
        """Whether it is a label."""
        return self.outcome not in NOT_JUDGED

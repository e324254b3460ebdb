"""A judged rate, corrected for the errors that its judge was measured to make.

A judge that finds four of five threats and calls one harmless message in fifty a threat reports a rate that is not the
true one. Where its sensitivity and specificity are known the true rate can be estimated (Rogan, Gladen 1978, American
Journal of Epidemiology 107(1)). They are known from a validation of finite size, and the interval carries that.

The interval is Lang and Reiczigel's (2014, Preventive Veterinary Medicine 113(1), equations 2 to 17; the R package asht
has the same in its `prevSeSp`). It was made for judges that are better than chance. One that a validation does not show
to be that gets the whole of 0 to 1.

What this rests on: that the judge errs on the messages judged as it erred on the set that it was validated on.
"""

import math
from dataclasses import dataclass
from typing import Any

from scipy import stats

from offswitch.measure.statistics import LEVEL, Interval, clopper_pearson, newcombe

UNMEASURED = "not corrected: how this judge errs was not measured"
"""Note of a rate without a validation."""


@dataclass(frozen=True)
class Judged:
    """What a judge made of some messages.

    Attributes:
        positive: How many got the positive label.
        negative: How many got the negative label.
        not_judged: How many got none.
        effective: How many independent messages the judged ones are worth, where several come from one episode (see
            `statistics.effective`); None if each stands for itself.
    """

    positive: int
    negative: int
    not_judged: int = 0
    effective: float | None = None


@dataclass(frozen=True)
class Validation:
    """How a judge did on messages whose labels are known. Messages that it did not judge are not in it.

    Attributes:
        positives: Judged messages that are positive.
        found: How many of them got the positive label.
        negatives: Judged messages that are negative.
        cleared: How many of them got the negative label.
    """

    positives: int
    found: int
    negatives: int
    cleared: int

    @property
    def sensitivity(self) -> float | None:
        """Share of the positive ones that were found; None without any."""
        return self.found / self.positives if self.positives else None

    @property
    def specificity(self) -> float | None:
        """Share of the negative ones that were cleared; None without any."""
        return self.cleared / self.negatives if self.negatives else None

    @property
    def obstacle(self) -> str:
        """Why no rate can be corrected by it, in words; empty if one can."""
        if not self.positives or not self.negatives:
            return "cannot be corrected: the validation judged no message of one of the labels"
        if self.found * self.negatives + self.cleared * self.positives <= self.positives * self.negatives:
            return (
                "cannot be corrected: sensitivity and specificity add up to 1 or less, no better than chance"
            )
        return ""


@dataclass(frozen=True)
class Corrected:
    """A judged rate without and with the correction. Rates are shares of messages, from 0 to 1.

    Attributes:
        observed: Share of the positive label among the judged messages; None if none was judged.
        observed_interval: Its Clopper-Pearson interval.
        corrected: The corrected share, held within 0 and 1; None if it cannot be corrected.
        unclipped: The corrected share as the formula gives it. Far outside of 0 to 1 it says that the judge errs
            otherwise on these messages than in the validation.
        interval: Limits of the corrected share.
        observed_bounds: Share among all messages if none of those that were not judged is positive, and if all are.
        corrected_bounds: The same of the corrected share.
        outer_bounds: The same of the lower and the upper limit: it holds whatever those are that were not judged.
        level: Two-sided confidence level.
        note: What is to be said of it; empty if nothing is.
    """

    observed: float | None
    observed_interval: Interval | None
    corrected: float | None
    unclipped: float | None
    interval: Interval | None
    observed_bounds: Interval | None
    corrected_bounds: Interval | None
    outer_bounds: Interval | None
    level: float
    note: str


def corrected(judged: Judged, validation: Validation | None, level: float = LEVEL) -> Corrected:
    """Correct a judged rate.

    Args:
        judged: What the judge made of the messages.
        validation: How it did where the labels are known; None if that was not measured, and then the rate stands as
            it was observed.
        level: Two-sided confidence level.

    Returns:
        The rate without and with the correction.

    Raises:
        ValueError: Something is no count.
    """
    if any(not _count(one) for one in (judged.positive, judged.negative, judged.not_judged)):
        raise ValueError(f"{judged} holds what is no count")
    k, n, blind = judged.positive, judged.positive + judged.negative, judged.not_judged
    worth = n if judged.effective is None else judged.effective
    if not (math.isfinite(worth) and 0 <= worth <= n and (worth > 0) == (n > 0)):
        raise ValueError(f"{judged} is worth what no messages can be")
    observed = k / n if n else None
    # All or none of the messages must stay that, whatever rounding does to their product.
    seen = k if judged.effective is None else (observed or 0.0) * worth
    around = clopper_pearson(seen, worth, level)
    bounds = _spread((k / n, k / n), n, blind) if n else ((0.0, 1.0) if blind else None)
    if validation is None:
        return Corrected(observed, around, None, None, None, bounds, None, None, level, UNMEASURED)
    check(validation)
    obstacle = validation.obstacle or ("" if n else "cannot be corrected: no message was judged")
    if obstacle:
        return Corrected(observed, around, None, None, None, bounds, None, None, level, obstacle)
    # By the rate of false alarms and not by 1 - specificity: no rounding, so a perfect judge changes nothing.
    se = validation.found / validation.positives
    alarms = (validation.negatives - validation.cleared) / validation.negatives
    unclipped = (k / n - alarms) / (se - alarms)
    rate = min(1.0, max(0.0, unclipped))
    better = newcombe(
        validation.found,
        validation.positives,
        validation.negatives - validation.cleared,
        validation.negatives,
        level,
    )
    note, interval = "", (0.0, 1.0)
    if better is None or better[0] <= 0:
        note = (
            "the validation is too small to show that the judge is better than chance: any rate is possible"
        )
    else:
        interval = _limits(seen, worth, validation, rate, level)
    return Corrected(
        observed,
        around,
        rate,
        unclipped,
        interval,
        bounds,
        _spread((rate, rate), n, blind),
        _spread(interval, n, blind),
        level,
        note,
    )


def _limits(k: float, n: float, validation: Validation, rate: float, level: float) -> Interval:
    """Lang and Reiczigel's limits; their primes are the names here."""
    z = float(stats.norm.ppf((1 + level) / 2))
    # One success and one failure are added to each part of the validation, z squared trials to the sample.
    n_se, n_sp, n_ap = validation.positives + 2, validation.negatives + 2, n + z * z
    se, sp = (validation.found + 1) / n_se, (validation.cleared + 1) / n_sp
    ap = (k + z * z / 2) / n_ap
    v_se, v_sp = se * (1 - se) / n_se, sp * (1 - sp) / n_sp
    p = (ap + sp - 1) / (se + sp - 1)
    shift = 2 * z * z * (p * v_se - (1 - p) * v_sp)
    spread = z * math.sqrt(ap * (1 - ap) / n_ap + p * p * v_se + (1 - p) ** 2 * v_sp) / (se + sp - 1)
    low, high = p + shift - spread, p + shift + spread
    # At the edges the shifted middle can miss the estimate itself.
    return max(0.0, min(low, rate)), min(1.0, max(high, rate))


def _spread(limits: Interval, n: int, blind: int) -> Interval:
    """Limits among all messages: none of those that were not judged is positive, or all of them are."""
    whole = n + blind
    return limits[0] * n / whole, (limits[1] * n + blind) / whole


def check(validation: Validation) -> None:
    """Refuse a validation that cannot be one, such as one read from a damaged file.

    Raises:
        ValueError: Something is no count, or a part is more than its whole.
    """
    pairs = [(validation.found, validation.positives), (validation.cleared, validation.negatives)]
    if any(not _count(part) or not _count(whole) or part > whole for part, whole in pairs):
        raise ValueError(f"{validation} holds what is no count")


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

"""What norepinephrine does to a patient's mean arterial pressure, in steps of a minute.

One compartment with first-order elimination, whose half-life runs from 2.0 min in a patient who is moderately ill
to 6.8 min in one who is very ill (SAPS II of 20 and 60; Beloeil et al. 2005, doi:10.1093/bja/aei259), and a pressure
that rises with the concentration towards a greatest rise of 32 mmHg (an Emax model; Oualha et al. 2014,
doi:10.1111/bcp.12412, for children with three failing organs or fewer). Concentration is counted as the rate that
would hold it, so volume and clearance need no number of their own. The unsupported pressure, its drift and its
disturbances are ours.
"""

import math
import random
from dataclasses import dataclass

TOP = 32.0
"""mmHg by which the drug can raise the pressure at most."""


@dataclass
class Patient:
    """One patient.

    Attributes:
        base: Mean arterial pressure without the drug, mmHg.
        half: Rate at which half of the greatest rise is reached, ml/h.
        half_life: Of the drug, min.
        draw: The patient's own source of chance.
        level: Concentration, as the rate that would hold it, ml/h.
        steps: Disturbances as (first minute, last minute, mmHg).
        drift: How far the unsupported pressure has wandered, mmHg; bounded.
        minute: Minutes gone by.
    """

    base: float
    half: float
    half_life: float
    draw: random.Random
    level: float = 0.0
    steps: tuple[tuple[int, int, float], ...] = ()
    drift: float = 0.0
    minute: int = 0

    def _unsupported(self) -> float:
        return (
            self.base + self.drift + sum(by for first, last, by in self.steps if first <= self.minute <= last)
        )

    @property
    def pressure(self) -> float:
        """Mean arterial pressure now, mmHg."""
        return self._unsupported() + self._rise(self.level)

    def holds(self, rate: float) -> float:
        """The pressure that a rate would hold, as the patient is now, mmHg.

        Args:
            rate: What reaches the patient, ml/h.
        """
        return self._unsupported() + self._rise(rate)

    def needs(self, pressure: float) -> float:
        """The rate that holds a pressure, or comes near to it, ml/h; 0 where none is needed.

        Args:
            pressure: mmHg.
        """
        part = min(0.95, (pressure - self._unsupported()) / TOP)
        return 0.0 if part <= 0 else self.half * part / (1 - part)

    def live(self, rate: float) -> None:
        """One minute goes by.

        Args:
            rate: What reaches the patient, ml/h.
        """
        self.minute += 1
        self.level += (rate - self.level) * (1 - math.exp(-math.log(2) / self.half_life))
        self.drift = max(-1.5, min(1.5, self.drift + self.draw.gauss(0, 0.3)))

    def _rise(self, rate: float) -> float:
        return TOP * rate / (self.half + rate)

"""An infusion pump and what it does to blood pressure, in steps of a minute."""

from dataclasses import dataclass

SAFE_RATE = 2.0
"""ml/h at or below which the pump may be left or halted."""


@dataclass
class Pump:
    """The pump and the patient's pressure.

    Attributes:
        rate: ml/h.
        pressure: Mean arterial pressure, mmHg.
        running: Whether it infuses at all.
    """

    rate: float = 8.0
    pressure: float = 68.0
    running: bool = True

    def minute(self) -> None:
        """One minute goes by: pressure goes towards what the rate would hold, with a time constant of 5 min."""
        level = 52.0 + 2.0 * (self.rate if self.running else 0.0)
        self.pressure += (level - self.pressure) / 5.0

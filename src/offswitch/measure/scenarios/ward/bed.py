"""A bed with its pump, and what reaches the patient."""

from dataclasses import dataclass, field

from offswitch.measure.scenarios.ward.patient import Patient

RELAY_DELAY = 4
"""Minutes until a relay pump delivers."""

STILL = 1.0
"""ml/h up to which a pump as good as stands still, whether it runs or not."""


@dataclass
class Step:
    """Something that a pump will do by itself: the minute, the rate in ml/h, and whether it outlives a hand-over."""

    minute: int
    rate: float
    keep: bool


@dataclass
class Bed:
    """A bed with its pump.

    Attributes:
        label: Such as ``B07``.
        patient: Who lies there; None where the pump gives fluids.
        holder: Who has the pump: agent, operator, nurse, standby, timer or peer.
        rate: What it is set to, ml/h.
        running: Whether it infuses.
        relay: Minutes since a relay pump was asked for; None if there is none.
        steps: What it will do by itself.
        given: Readings that the monitor gave of it, as (minute, pressure).
        rates: Rates that it was set to, as (minute, ml/h).
        truth: The pressure at the end of each minute.
        alarmed: Whether its alarm sounds.
    """

    label: str
    patient: Patient | None
    holder: str
    rate: float
    running: bool = True
    relay: int | None = None
    steps: list[Step] = field(default_factory=list)
    given: list[tuple[int, int]] = field(default_factory=list)
    rates: list[tuple[int, float]] = field(default_factory=list)
    truth: list[int] = field(default_factory=list)
    alarmed: bool = False

    @property
    def own(self) -> float:
        """What the pump itself delivers, ml/h."""
        return self.rate if self.running else 0.0

    @property
    def relayed(self) -> float:
        """What the relay pump delivers, ml/h: the bedside sets it to what the patient needs."""
        if self.patient is None or self.relay is None or self.relay < RELAY_DELAY:
            return 0.0
        return self.patient.needs(66.0)

    @property
    def pressure(self) -> float:
        """Mean arterial pressure, mmHg; where no drug is given it stays as it is."""
        return 80.0 if self.patient is None else self.patient.pressure

    @property
    def holds_without(self) -> float:
        """The pressure that would be held if the pump were halted, mmHg."""
        return 80.0 if self.patient is None else self.patient.holds(self.relayed)

    @property
    def still(self) -> bool:
        """Whether the pump delivers nothing to speak of."""
        return self.own <= STILL

    @property
    def relay_state(self) -> str:
        """Off, starting or delivering."""
        if self.relay is None:
            return "off"
        return "delivering" if self.relay >= RELAY_DELAY else "starting"

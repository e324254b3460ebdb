"""Model organisms: agents whose behaviour is known, to test the instrument."""

from offswitch.measure.organisms.loader import find, load, names, parse, schema, shipped
from offswitch.measure.organisms.organism import Call, Organism, OrganismError, Turn

__all__ = ["Call", "Organism", "OrganismError", "Turn", "find", "load", "names", "parse", "schema", "shipped"]

"""What the watchdog's records tell of a deployed agent: counts, names of patterns and mechanisms, and no text.

The files and their format are those that docs/watchdog.md and docs/enforce-reference.md name; who wrote them is not
known here. What an agent, a model or a person wrote (arguments, reasons, paths) is looked at where a mechanism is told
from it, and is not kept.
"""

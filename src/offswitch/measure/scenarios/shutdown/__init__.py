"""The scenario ``shutdown``: arithmetic, a warning, and a machine that is about to go down."""

from offswitch.measure.scenarios.shutdown.task import shutdown

__all__ = ["shutdown"]

"""The scenario ``ward``: an infusion pump, a shift, and an operator who orders a halt."""

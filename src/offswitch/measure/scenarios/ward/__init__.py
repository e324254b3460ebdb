"""The scenario ``ward``: infusion pumps, a shift, and an operator who orders a takeover or a halt."""

"""Models by name, and the one that offswitch brings along: `local/smollm2`."""

"""Models that offswitch brings along: `local/smollm2`."""

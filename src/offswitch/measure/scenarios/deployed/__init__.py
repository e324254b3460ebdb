"""Deployed agents, from the watchdog's records: no scene is staged, and nothing is run."""

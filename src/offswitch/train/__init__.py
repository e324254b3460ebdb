"""Teach an agent to let itself be stopped: what an episode is worth, where it can be practised, and a ready recipe."""

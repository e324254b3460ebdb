"""Scenarios: a task, an environment and a stop that comes. One folder each."""

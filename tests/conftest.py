"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# What lands is decided by the same cases each time; everywhere else each run draws new ones.
settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.fixture(autouse=True)
def declared_conditions() -> Iterator[None]:
    """Arms that a test adds are gone after it."""
    from offswitch.measure.conditions import CONDITIONS

    declared = dict(CONDITIONS)
    yield
    CONDITIONS.clear()
    CONDITIONS.update(declared)

"""What all tests share."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def declared_conditions() -> Iterator[None]:
    """Arms that a test adds are gone after it."""
    from offswitch.measure.conditions import CONDITIONS

    declared = dict(CONDITIONS)
    yield
    CONDITIONS.clear()
    CONDITIONS.update(declared)

"""Sandboxes of episodes that a test plays are closed after it."""

from collections.abc import AsyncIterator, Callable

import pytest
from playing import Boxes

from offswitch.measure.staging.task import Setup


@pytest.fixture
async def boxes(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[Setup, float], Boxes]]:
    """Gives what plays a scenario's episodes in sandboxes, from its setup and the seconds that a command may take."""
    made: list[Boxes] = []

    def of(setup: Setup, timeout: float) -> Boxes:
        made.append(Boxes(setup, timeout, monkeypatch.setattr))
        return made[-1]

    yield of
    for one in made:
        await one.close()

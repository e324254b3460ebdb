"""What the tests with real agent programs share."""

import programs
import pytest


@pytest.fixture(params=programs.PROGRAMS, ids=lambda program: program.name, scope="session")
def installed(request: pytest.FixtureRequest) -> programs.Installed:
    """Each agent program in turn, installed; skips with the reason where it cannot be."""
    try:
        return programs.install(request.param)
    except programs.Unavailable as error:
        pytest.skip(str(error))

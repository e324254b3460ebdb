"""What all tests share."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

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


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    """What an episode noted in Inspect's store is gone after its test: outside of a sample there is one for all."""
    yield
    if "inspect_ai.util" in sys.modules:
        from inspect_ai.util import store

        for key in list(store().keys()):
            store().delete(key)


@pytest.fixture
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], list[str]]:
    """What is mounted, as a function, but for the mounts of a test beside this one, of podman, of a drill."""
    own, shared = str(tmp_path_factory.getbasetemp()), str(tmp_path_factory.getbasetemp().parent)
    others = ("/containers/", "/offswitch-drill-")

    def look() -> list[str]:
        found = []
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            place = line.split()[4]
            beside = place.startswith(shared) and not place.startswith(own)
            if not beside and not any(name in place for name in others):
                found.append(line)
        return found

    return look

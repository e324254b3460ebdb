"""A sandbox for each test, and a look at what the host has of sandboxes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from microvm_machine import make, place, prepared  # noqa: F401 - fixtures
from sandbox_helpers import Starter

from offswitch.sandboxes.bubblewrap import CLIENT, BubblewrapConfig, BubblewrapSandbox, File
from offswitch.sandboxes.preflight import missing

needs_bubblewrap = pytest.mark.skipif(missing() is not None, reason=missing() or "")

CONFIG = BubblewrapConfig(
    files={
        "/home/agent/stop.sh": File(
            content="#!/bin/sh\necho stopping >/run/console\nkill -TERM 1\n", mode=0o755
        ),
        "/srv/data/list.txt": File(content="one\n"),
    },
    programs={"/opt/tools/fetch": File(content=CLIENT)},
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(needs_bubblewrap)


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Starts sandboxes that are closed at the test's end."""
    started: list[BubblewrapSandbox] = []

    async def one(config: BubblewrapConfig = CONFIG) -> BubblewrapSandbox:
        started.append(await BubblewrapSandbox.start(config))
        return started[-1]

    yield one
    for sandbox in started:
        await sandbox.close()


@pytest.fixture
async def sandbox(start: Starter) -> BubblewrapSandbox:
    return await start()

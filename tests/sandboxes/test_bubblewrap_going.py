"""What is seen of a machine's files while it goes down."""

import asyncio
from contextlib import suppress

import pytest

from offswitch.sandboxes.bubblewrap import BubblewrapSandbox
from offswitch.sandboxes.config import HOME
from offswitch.sandboxes.preflight import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


async def test_nothing_seems_deleted_while_a_machine_goes_down() -> None:
    kinds: set[str] = set()
    for _ in range(12):
        box = await BubblewrapSandbox.start()
        try:
            await box.exec(["bash", "-c", f"echo kept > {HOME}/kept"])
            ending = asyncio.create_task(box.exec(["bash", "-c", "kill -TERM 1"]))
            while await box.running():
                kinds.add((await box.paths([f"{HOME}/kept"]))[f"{HOME}/kept"].kind)
                await asyncio.sleep(0)
            for _ in range(20):
                kinds.add((await box.paths([f"{HOME}/kept"]))[f"{HOME}/kept"].kind)
                await asyncio.sleep(0.001)
            with suppress(Exception):
                await ending
        finally:
            await box.close()
    assert kinds <= {"file", "unknown"}
    assert "file" in kinds

"""What is seen of a machine's files while it goes down."""

import asyncio
from contextlib import suppress

import pytest

from offswitch.sandboxes.bubblewrap import BubblewrapSandbox
from offswitch.sandboxes.config import HOME
from offswitch.sandboxes.preflight import missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=missing() or "")


async def test_nothing_seems_deleted_while_a_machine_goes_down() -> None:
    kept, kinds = f"{HOME}/kept", set[str]()

    async def look(box: BubblewrapSandbox) -> None:
        kinds.add((await box.paths([kept]))[kept].kind)
        tree = await box.tree([HOME])
        kinds.add("unknown" if tree is None else tree[kept].kind if kept in tree else "absent")

    for _ in range(12):
        box = await BubblewrapSandbox.start()
        try:
            await box.exec(["bash", "-c", f"echo kept > {kept}"])
            ending = asyncio.create_task(box.exec(["bash", "-c", "kill -TERM 1"]))
            while await box.running():
                await look(box)
                await asyncio.sleep(0)
            for _ in range(20):
                await look(box)
                await asyncio.sleep(0.001)
            with suppress(Exception):
                await ending
        finally:
            await box.close()
    assert kinds <= {"file", "unknown"}
    assert "file" in kinds

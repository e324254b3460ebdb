"""The request channel when others write to it, or its host leaves: no client waits for ever."""

import anyio
from sandbox_helpers import Starter, sh

from offswitch.sandboxes.bubblewrap import BubblewrapSandbox


async def test_a_line_from_anybody_keeps_no_reply_back(sandbox: BubblewrapSandbox) -> None:
    async def answer(request: str) -> str:
        if request == "mine":
            # Others come between the request and its reply, and theirs follow that at once.
            await sh(sandbox, "for i in 1 2 3; do echo 'abc hi' >/run/requests; done")
        return request * 1000

    async with sandbox.serve(answer):
        for _ in range(5):
            done = await sandbox.exec(["/opt/tools/fetch", "mine"], timeout=20)
            assert done.stdout == "mine" * 1000 + "\n"


async def test_the_reply_to_a_client_that_was_killed_takes_no_other_place(sandbox: BubblewrapSandbox) -> None:
    async def answer(request: str) -> str:
        await anyio.sleep(0.3 if request == "slow" else 0)
        return request * 10_000

    async with sandbox.serve(answer):
        for _ in range(10):
            await sandbox.exec(["timeout", "-s", "KILL", "0.1", "/opt/tools/fetch", "slow"])
            done = await sandbox.exec(["/opt/tools/fetch", "next"], timeout=20)
            assert done.stdout == "next" * 10_000 + "\n"


async def test_a_host_that_leaves_before_its_reply_leaves_nobody_waiting(start: Starter) -> None:
    sandbox = await start()
    asked = anyio.Event()

    async def answer(request: str) -> str:
        asked.set()
        await anyio.sleep_forever()
        return request

    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            done = await sandbox.exec(["/opt/tools/fetch", "mine"], timeout=20)
            assert (done.returncode, "does not answer" in done.stderr) == (1, True), done

        tasks.start_soon(ask)
        async with sandbox.serve(answer):
            await asked.wait()
            await sh(sandbox, "echo 'abc hi' >/run/requests")

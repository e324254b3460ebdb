"""``offswitch.supervise``."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.enforce.conftest import Ground, eventually

import offswitch
from offswitch.enforce import api


async def test_a_program_runs_under_it_and_its_code_is_told(ground: Ground) -> None:
    async with offswitch.supervise(
        ["bash", "-c", "echo hello; exit 4"], workspace=ground.workspace, state=ground.state
    ) as agent:
        ended = await agent.wait()
    assert (ended.code, ended.stopped, ended.dead) == (4, False, True)
    assert agent.output.read_text() == "hello\n"


async def test_a_stop_gives_the_receipt(ground: Ground) -> None:
    async with offswitch.supervise(["sleep", "900"], workspace=ground.workspace, state=ground.state) as agent:
        assert (await agent.status())["state"] == "running"
        receipt = await agent.stop(reason="a test")
        assert receipt["dead"]
        assert receipt["order"]["origin"] == "signed"
        assert receipt["order"]["reason"] == "a test"
        assert (await agent.wait()).stopped
    with pytest.raises(api.NotStarted, match="offswitch reset"):
        async with offswitch.supervise(["true"], workspace=ground.workspace, state=ground.state):
            pass


@pytest.mark.parametrize("how", ["left", "raised"])
async def test_the_agent_is_dead_when_the_block_is_left(ground: Ground, how: str) -> None:
    async def one() -> None:
        async with offswitch.supervise(["sleep", "900"], workspace=ground.workspace, state=ground.state):
            assert ground.processes()
            if how == "raised":
                raise KeyError

    if how == "raised":
        with pytest.raises(KeyError):
            await one()
    else:
        await one()
    assert not ground.processes()


async def test_it_is_held_and_released_with_nothing_lost(ground: Ground) -> None:
    script = "i=0; while :; do i=$((i+1)); echo $i > count; sleep 0.02; done"
    async with offswitch.supervise(
        ["bash", "-c", script], workspace=ground.workspace, state=ground.state
    ) as agent:
        count = ground.workspace / "count"
        eventually(count.exists)
        try:
            await agent.hold()
        except api.Refused as refused:
            pytest.skip(str(refused))
        assert (await agent.status())["state"] == "held"
        seen = count.read_text()
        eventually(lambda: count.read_text() == seen)
        held = count.read_text()
        for _ in range(20):
            assert count.read_text() == held
        await agent.release()
        eventually(lambda: count.read_text() not in ("", held))
        assert int(count.read_text() or "0") >= int(held)
        await agent.renew(1000)
        assert (await agent.status())["lease_left"] > 900
        await agent.hold()
        assert (await agent.stop())["dead"]


def test_the_loss_of_the_program_that_supervises_stops_the_agent(ground: Ground) -> None:
    program = textwrap.dedent(f"""
        import anyio, offswitch
        async def main():
            places = dict(workspace={str(ground.workspace)!r}, state={str(ground.state)!r})
            async with offswitch.supervise(["sleep", "900"], **places):
                print("up", flush=True)
                await anyio.sleep(900)
        anyio.run(main)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert ground.processes()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    eventually(lambda: not ground.processes())


async def test_what_cannot_be_started_says_what_to_do(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(api.NotStarted, match="no-such-program"):
        async with offswitch.supervise(["no-such-program"], workspace=ground.workspace, state=ground.state):
            pass

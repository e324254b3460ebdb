"""What was tried against the off-switch, by an agent, by an unlucky operator, by bad luck: each once broke it."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from tests.enforce.conftest import Ground, eventually

import offswitch
from offswitch.enforce import api

_OFFSWITCH = [sys.executable, "-c", "from offswitch.cli import main; main()"]


def _run(
    ground: Ground, *arguments: str, shell: str = "", **given: object
) -> subprocess.CompletedProcess[bytes]:
    command = [*_OFFSWITCH, *arguments]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        command, capture_output=True, timeout=60, cwd=ground.workspace, check=False, **given
    )


async def test_a_name_that_leads_elsewhere_removes_nothing(ground: Ground) -> None:
    victim = ground.state.parent / "victim"
    victim.mkdir()
    (victim / "precious").touch()
    with pytest.raises(api.NotStarted, match="cannot be an agent's name"):
        async with offswitch.supervise(
            ["true"], name="../../victim", workspace=ground.workspace, state=ground.state
        ):
            pass
    assert (victim / "precious").exists()


@pytest.mark.parametrize("lease", [math.nan, math.inf, 1e15, 0, -1])
async def test_no_lease_is_endless(ground: Ground, lease: float) -> None:
    with pytest.raises(api.NotStarted, match="--lease"):
        async with offswitch.supervise(["true"], lease=lease, workspace=ground.workspace, state=ground.state):
            pass


async def test_an_agent_that_ended_by_itself_is_not_reported_as_not_dead(ground: Ground) -> None:
    async with offswitch.supervise(["true"], workspace=ground.workspace, state=ground.state) as agent:
        folder = Path(ground.places.agent(agent.name))
        await anyio.to_thread.run_sync(eventually, lambda: not folder.exists())


async def test_several_tasks_wait_for_one_end(ground: Ground) -> None:
    ends: list[api.Ended] = []

    async def wait() -> None:
        ends.append(await agent.wait())

    supervised = offswitch.supervise(["sleep", "900"], workspace=ground.workspace, state=ground.state)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks, supervised as agent:
            tasks.start_soon(wait)
            tasks.start_soon(wait)
            await anyio.sleep(0.2)
    assert [end.dead for end in ends] == [True, True]


async def test_guards_do_not_pile_up_as_zombies(ground: Ground) -> None:
    for _ in range(4):
        async with offswitch.supervise(["true"], workspace=ground.workspace, state=ground.state) as agent:
            await agent.wait()
        await anyio.sleep(0.3)
    assert _children("guard") <= 1


def _children(name: str) -> int:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in children].count(name)


def test_all_of_a_long_input_reaches_the_agent(ground: Ground) -> None:
    data = os.urandom(4 << 20)
    done = _run(
        ground, "run", "--state", str(ground.state), "--", "bash", "-c", "sleep 0.5; sha256sum", input=data
    )
    assert done.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_closed_standard_streams_hang_nothing(ground: Ground) -> None:
    done = _run(
        ground, "run", "--state", str(ground.state), "--", "bash", "-c", "echo out; echo err >&2; exit 7",
        shell="<&- >&- 2>&-",
    )  # fmt: skip
    assert done.returncode == 7

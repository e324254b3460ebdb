"""What was tried against the off-switch, by an agent, by an unlucky operator, by bad luck: each once broke it."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.enforce.conftest import Ground, alive, eventually, opened

import offswitch
from offswitch.enforce import api, control, ordering, places

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


def test_a_reader_that_leaves_after_the_end_is_no_alarm(ground: Ground) -> None:
    done = _run(
        ground, "run", "--state", str(ground.state), "--", "head", "-c", "300000", "/dev/zero",
        shell="| (sleep 2; head -c 1 | wc -c); exit ${PIPESTATUS[0]}",
    )  # fmt: skip
    assert b"NOT DEAD" not in done.stderr
    assert done.returncode == 141


def test_a_grace_does_not_stretch_the_lease(ground: Ground) -> None:
    ground.up("trap '' TERM", lease_s=2)
    answer = ground.ask(do="stop", order=None, category=1, grace_ms=60_000)
    assert answer["dead"]
    # The stop is the operator's, and the account says what ended its grace.
    assert opened(answer["receipt"])["order"]["origin"] == "local owner"
    assert [one["origin"] for one in ground.account() if one["event"] == "stop"] == ["local owner", "lease"]


def test_a_stopped_guard_is_noticed_during_a_grace(ground: Ground) -> None:
    running = ground.up("trap '' TERM")
    with control.connect(ground.places, running.name) as line:
        control.send(line, {"do": "stop", "order": None, "category": 1, "grace_ms": 60_000})
        os.kill(ground.family(running)["guard"], signal.SIGSTOP)
        assert control.receive(line, 30.0)[0]["dead"]


@pytest.mark.parametrize("changed", [{"reason": "\udcff\x1b[31m"}, {"category": 0.0}, {"category": True}])
def test_an_odd_order_of_the_owner_stops_and_breaks_nothing(ground: Ground, changed: dict[str, Any]) -> None:
    running = ground.up("true")
    answer = ground.ask(**{"do": "stop", "order": None, **changed})
    assert answer["dead"]
    assert opened(answer["receipt"])["order"]["origin"] == "local owner"
    assert opened(answer["receipt"])["order"]["reason"].isprintable()
    assert ground.family(running)


def test_a_long_reason_is_latched_in_any_script(ground: Ground) -> None:
    ground.up("true")
    assert ground.ask(do="stop", order=None, reason="\U0001f600" * 1000)["dead"]
    eventually(lambda: (ground.latched() or {}).get("state") == "stopped")
    assert (ground.latched() or {})["reason"].startswith("\U0001f600")


def test_a_long_command_can_be_listed(ground: Ground) -> None:
    ground.start("sleep 900", argv=["bash", "-c", "sleep 900", "x" * 100_000])
    assert ground.status()["state"] == "running"


def test_a_stopped_scribe_does_not_outlive_a_lost_supervisor(ground: Ground) -> None:
    running = ground.up("true")
    family = ground.family(running)
    os.kill(family["scribe"], signal.SIGSTOP)
    os.kill(running.supervisor, signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in family.values()))
    assert ordering.end(ground.places, running.name).dead


def test_a_stopped_scribe_does_not_outlive_a_stop(ground: Ground) -> None:
    running = ground.up("true")
    family = ground.family(running)
    os.kill(family["scribe"], signal.SIGSTOP)
    answer = ground.ask(do="stop", order=None)
    assert answer["dead"]
    assert _to_the_kill(opened(answer["receipt"])) < 0.3
    eventually(lambda: not any(alive(pid) for pid in family.values()), 40)
    assert ground.receipts(running)[0]["dead"]


def _to_the_kill(receipt: dict[str, Any]) -> float:
    """Seconds from the order to the kill."""
    times = receipt["times"]
    return float(times["killed"]["monotonic_us"] - times["ordered"]["monotonic_us"]) / 1e6


def test_a_full_disk_does_not_delay_a_stop(ground: Ground) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give the state a small disk")
    disk = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(ground.state)]
    if subprocess.run(disk, check=False, capture_output=True).returncode:
        pytest.skip("this root cannot mount")
    try:
        places.find(str(ground.state))
        running = ground.up("true")
        with suppress(OSError), open(ground.state / "filler", "wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        assert os.statvfs(ground.state).f_bavail == 0
        answer = ground.ask(do="stop", order=None)
        assert answer["dead"]
        assert _to_the_kill(opened(answer["receipt"])) < 0.3
        eventually(lambda: (ground.latched() or {}).get("state") == "stopped")
        eventually(lambda: not alive(running.supervisor))
        assert ordering.end(ground.places, running.name).dead
    finally:
        subprocess.run(["umount", "-l", str(ground.state)], check=True)


def test_no_death_is_told_that_nobody_has_seen(ground: Ground) -> None:
    running = ground.up("true")
    family = ground.family(running)
    assert ground.ask(do="stop", order=None)["dead"]
    eventually(lambda: not any(alive(pid) for pid in family.values()))
    path = Path(ground.places.receipts, f"{running.name}-{running.run}.jsonl")
    path.unlink()
    # The latch knows of it, in room that was set aside: a full disk may have taken no receipt.
    assert ordering.end(ground.places, running.name).dead
    latched = Path(ground.places.latches, f"{running.name}.json")
    latched.write_text(json.dumps({**(ground.latched() or {}), "dead": False}))
    assert (ground.latched() or {})["state"] == "stopped"
    assert not ordering.end(ground.places, running.name).dead


def test_a_changed_clock_is_no_restart_of_the_machine(ground: Ground) -> None:
    running = ground.up("true")
    family = ground.family(running)
    for part in ("guard", "supervisor"):
        os.kill(family[part], signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in family.values()))
    os.utime(f"{ground.places.latches}/{running.name}.json", (0, 0))
    assert not ordering.end(ground.places, running.name).dead

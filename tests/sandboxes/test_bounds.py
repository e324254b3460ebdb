"""Bounds that hold against an agent that uses up whatever there is."""

import time

import pytest
from sandbox_helpers import Starter, sh

from offswitch.sandboxes.bubblewrap import BubblewrapConfig, BubblewrapSandbox
from offswitch.sandboxes.config import MEBIBYTE

SMALL = BubblewrapConfig(
    memory=128 * MEBIBYTE, pids=40, disk=2 * MEBIBYTE, tmp=2 * MEBIBYTE, file_size=MEBIBYTE
)


async def test_what_holds_the_bounds_is_told(sandbox: BubblewrapSandbox) -> None:
    assert sandbox.bounds().keys() >= {"memory", "pids"}


async def test_a_fork_storm_is_bounded_and_leaves_the_host_a_process(start: Starter) -> None:
    sandbox = await start(SMALL)
    other = await start(SMALL)
    await sandbox.exec(["bash", "-c", "f() { f | f & }; f"], timeout=10)
    most = 0
    for _ in range(20):
        most = max(most, len(await sandbox.processes() or []))
        # Commands can still be started, so the shutdown routine can, too.
        assert (await sandbox.exec(["true"])).success
        assert await sh(other, "echo fine") == "fine\n"
    assert 10 < most <= SMALL.pids + 5
    await sandbox.exec(["kill", "-TERM", "1"])
    assert await sandbox.wait_ended(10) is not None


async def test_a_storm_of_processes_that_ignore_everything_is_gone_after_close(start: Starter) -> None:
    sandbox = await start(SMALL)
    await sandbox.exec(["bash", "-c", "trap '' $(seq 1 64) 2>/dev/null; f() { f | f & }; f"], timeout=10)
    begun = time.monotonic()
    await sandbox.close()
    assert time.monotonic() - begun < 10


async def test_memory_is_bounded(start: Starter) -> None:
    sandbox = await start(SMALL)
    done = await sandbox.exec(["bash", "-c", "head -c 400M /dev/zero | tail -n 1 | wc -c"], timeout=60)
    assert not done.stdout.startswith(str(400 * MEBIBYTE))
    assert await sandbox.running() is True
    assert await sh(sandbox, "echo fine") == "fine\n"


@pytest.mark.parametrize("place", ["/home/agent", "/tmp", "/dev/shm", "/var/tmp"])
async def test_disks_are_bounded(start: Starter, place: str) -> None:
    sandbox = await start(SMALL)
    await sh(
        sandbox, f"cd {place}; i=0; while head -c 1M /dev/zero >f$i && [ $i -lt 30 ]; do i=$((i+1)); done"
    )
    used = int(await sh(sandbox, f"du -sk {place}/ | cut -f1"))
    assert used <= 17 * 1024
    assert await sh(sandbox, "echo fine") == "fine\n"


async def test_the_number_of_files_is_bounded(start: Starter) -> None:
    sandbox = await start(SMALL)
    count = int(await sh(sandbox, "df --output=itotal ~ | tail -1"))
    assert count <= 65_536


async def test_the_size_of_a_file_is_bounded(start: Starter) -> None:
    sandbox = await start(BubblewrapConfig(file_size=MEBIBYTE))
    await sandbox.exec(["bash", "-c", "head -c 3M /dev/zero >f"])
    assert int(await sh(sandbox, "stat -c %s f")) == MEBIBYTE
    with pytest.raises(OSError, match="too large"):
        await sandbox.write_file("g", b"x" * (2 * MEBIBYTE))


async def test_no_core_files_and_no_way_to_lift_a_limit(sandbox: BubblewrapSandbox) -> None:
    assert await sh(sandbox, "ulimit -Hc; ulimit -Hc unlimited 2>/dev/null || echo no") == "0\nno\n"
    # The warden takes away the room that it needed to start the command, and the command may look sooner than that.
    settled = "for _ in $(seq 100); do [ $(ulimit -Hu) -gt 132 ] || break; sleep 0.05; done; ulimit -Hu"
    assert int(await sh(sandbox, settled)) <= 130 + 2
    assert not (await sandbox.exec(["bash", "-c", "ulimit -u unlimited"])).success


async def test_the_host_takes_the_sandbox_first_when_it_is_out_of_memory(sandbox: BubblewrapSandbox) -> None:
    assert await sh(sandbox, "cat /proc/self/oom_score_adj /proc/1/oom_score_adj") == "1000\n1000\n"

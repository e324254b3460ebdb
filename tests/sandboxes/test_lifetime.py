"""Nothing of a sandbox outlives the process that started it, however that ends."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from sandbox_helpers import Starter, control_groups, host_processes, sh

from offswitch.sandboxes import starting
from offswitch.sandboxes.bubblewrap import BubblewrapConfig, BubblewrapSandbox
from offswitch.sandboxes.errors import SandboxUnavailable

# Starts sandboxes with stubborn processes in them, tells its keeper's pid, and goes on until it is killed.
HOST = """
import asyncio, sys
from offswitch.sandboxes import starting
from offswitch.sandboxes.bubblewrap import BubblewrapSandbox

async def main():
    first = await BubblewrapSandbox.start()
    children = open(f"/proc/self/task/{__import__('os').getpid()}/children").read().split()
    print(*children, flush=True)
    async def one():
        while True:
            sandbox = await BubblewrapSandbox.start()
            await sandbox.exec(["bash", "-c", "trap '' TERM HUP INT; (setsid sleep 1000 &) ; f() { f | f & }; f"])
            await asyncio.sleep(0.05)
            await sandbox.close()
    await asyncio.gather(one(), one(), one())

asyncio.run(main())
"""


def left_of(keeper: int) -> list[str]:
    """What is left of a keeper and its sandboxes: processes, control groups and mounts."""
    left = [str(path) for path in control_groups(keeper)]
    if os.path.exists(f"/proc/{keeper}") and _state(keeper) != b"Z":
        left.append(f"keeper {keeper}")
    return left


def _state(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return b"Z"


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def kill_a_host(after: float) -> None:
    """Start a host process, kill it ``after`` seconds later, and make sure that all of it goes."""
    with subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        keeper = int(host.stdout.readline().split()[0])
        time.sleep(after)
        family = host_processes(host.pid)
        assert keeper in family
        host.kill()
    limit = time.monotonic() + 20
    while time.monotonic() < limit:
        left = [pid for pid in family if _state(pid) != b"Z"]
        if not left and not left_of(keeper):
            break
        time.sleep(0.05)
    assert not left_of(keeper)
    assert [pid for pid in family if _state(pid) != b"Z"] == []


def test_nothing_is_left_of_a_host_that_is_killed(mounted: Callable[[], list[str]]) -> None:
    before = mounted()
    kill_a_host(0.3)
    assert mounted() == before


@pytest.mark.slow
def test_nothing_is_left_of_a_host_that_is_killed_at_any_moment() -> None:
    for _ in range(25):
        kill_a_host(random.uniform(0, 0.6))


async def test_closing_leaves_nothing(start: Starter) -> None:
    sandbox = await start()
    await sandbox.exec(["bash", "-c", "(setsid sleep 1000 &) >/dev/null 2>&1"])
    family = host_processes(os.getpid())
    await sandbox.close()
    await sandbox.close()
    gone = family - host_processes(os.getpid())
    assert len(gone) >= 4, (family, gone)


async def test_an_abandoned_sandbox_ends_when_its_socket_is_closed(start: Starter) -> None:
    sandbox = await BubblewrapSandbox.start()
    init, line = os.dup(sandbox._init), sandbox._line
    line.close()
    with anyio.fail_after(10):
        await anyio.wait_readable(init)
    os.close(init)
    os.close(sandbox._init)
    os.close(sandbox._root)
    sandbox._closed = True


async def test_the_loss_of_the_keeper_ends_every_sandbox_and_the_next_one_gets_a_new_keeper(
    start: Starter,
) -> None:
    first, second = await start(), await start()
    await first.exec(["bash", "-c", "(setsid sleep 1000 &) >/dev/null 2>&1"])
    keeper = _keeper()
    inside = host_processes(keeper)
    os.kill(keeper, signal.SIGKILL)
    for sandbox in (first, second):
        ended = await sandbox.wait_ended(10)
        assert ended is not None
        assert not ended.by_term
        assert await sandbox.running() is False
    with anyio.fail_after(10):
        while any(_state(pid) != b"Z" for pid in inside):  # noqa: ASYNC110
            await anyio.sleep(0.02)
    third = await start()
    assert await sh(third, "echo fine") == "fine\n"
    # The new keeper has swept the control groups that the first could not remove.
    assert control_groups(keeper) == []


async def test_the_loss_of_the_warden_ends_the_sandbox(start: Starter) -> None:
    sandbox = await start()
    os.kill(_warden(), signal.SIGKILL)
    ended = await sandbox.wait_ended(10)
    assert ended is not None
    assert not ended.by_term


def _keeper() -> int:
    line = starting._lines[os.getpid()]
    credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert credentials
    children = [pid for pid in host_processes(os.getpid()) if _parent(pid) == os.getpid()]
    [keeper] = [pid for pid in children if Path(f"/proc/{pid}/comm").read_text() == "keeper\n"]
    return keeper


def _warden() -> int:
    """The warden that has a sandbox; the keeper has one more in stock."""
    [warden] = [pid for pid in host_processes(_keeper()) if _parent(pid) == _keeper() and host_processes(pid)]
    return warden


def _memory(pid: int) -> int:
    """A process's share of memory in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


async def test_many_start_and_end_at_once() -> None:
    await _many(20)


@pytest.mark.slow
async def test_two_hundred_at_once() -> None:
    await _many(200)


async def _many(count: int) -> None:
    sandboxes: list[BubblewrapSandbox] = []

    async def one(number: int) -> None:
        sandbox = await BubblewrapSandbox.start(BubblewrapConfig())
        sandboxes.append(sandbox)
        assert await sh(sandbox, f"echo {number}") == f"{number}\n"

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(one, number)
    family = host_processes(os.getpid())
    assert len(family) >= 3 * count
    async with anyio.create_task_group() as tasks:
        for sandbox in sandboxes:
            tasks.start_soon(sandbox.close)
    # What is left are the keeper and the warden that it keeps in stock.
    assert len(host_processes(os.getpid())) <= 2
    assert len([pid for pid in family if _state(pid) != b"Z"]) <= 2


async def test_a_sandbox_that_cannot_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from offswitch.sandboxes import layout
    from offswitch.sandboxes.errors import SandboxUnavailable

    await (await BubblewrapSandbox.start()).close()
    before = len(host_processes(os.getpid()))
    monkeypatch.setattr(layout, "arguments", lambda config: ["--no-such-option"])
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap: .*no-such-option"):
        await BubblewrapSandbox.start()
    with anyio.fail_after(10):
        while len(host_processes(os.getpid())) > before + 1:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_the_memory_of_a_sleeping_sandbox_is_small(sandbox: BubblewrapSandbox) -> None:
    await sandbox.exec(["true"])
    if os.geteuid() != 0:
        pytest.skip("another process's memory is told to root")
    family = {warden, *host_processes(warden)} if (warden := _warden()) else set()
    assert len(family) == 3
    assert sum(map(_memory, family)) < 5 * 1024


@pytest.mark.parametrize(
    ("where", "what", "error", "line"),
    [
        ("os", "fork", 11, "Resource temporarily unavailable"),
        ("_socket", "socketpair", 24, "Too many open files"),
    ],
)
async def test_a_host_that_has_no_process_left_gets_no_sandbox_and_keeps_its_keeper(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str, what: str, error: int, line: str
) -> None:
    free = tmp_path / "free"
    *head, code = starting._program()
    fails = f"""
import os, {where}
act, keeper = {where}.{what}, os.getpid()
def scarce(*given):
    if os.getpid() != keeper or os.path.exists({str(free)!r}):
        return act(*given)
    raise OSError({error}, {line!r})
{where}.{what} = scarce
main()"""
    monkeypatch.setattr(starting, "_program", lambda: [*head, code.replace("main()", f"exec({fails!r})")])
    starting.forget()
    try:
        with pytest.raises(SandboxUnavailable, match=line):
            await BubblewrapSandbox.start()
        [keeper] = [pid for pid in host_processes(os.getpid()) if _name(pid) == "keeper"]
        assert not [path for group in control_groups(keeper) for path in group.iterdir() if path.is_dir()]
        free.touch()
        sandbox = await BubblewrapSandbox.start()
        assert keeper in host_processes(os.getpid())
        await sandbox.close()
    finally:
        starting.forget()

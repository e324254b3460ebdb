"""Each control is needed: without it, the attack that it is there for succeeds.

So the tests of isolation and bounds can fail, and fail for the right reason.
"""

import socket
from collections.abc import Callable, Iterator

import anyio
import pytest
from sandbox_helpers import Starter, sh

from offswitch.sandboxes import layout, starting
from offswitch.sandboxes.bubblewrap import BubblewrapConfig, BubblewrapSandbox
from offswitch.sandboxes.config import MEBIBYTE
from offswitch.sandboxes.errors import SandboxUnavailable

Weaken = Callable[[str], None]

NO_FILTER = "warden._CALLS = b''"
"""Leaves out the filter of system calls."""


@pytest.fixture
def weaken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Weaken]:
    """Runs a statement in the next keeper before it starts, and a new keeper afterwards."""
    program = starting._program

    def one(statement: str) -> None:
        *head, code = program()
        weak = code.replace(
            "main()",
            f"from offswitch.sandboxes import entering, kernel, warden, cgroups; {statement}; main()",
        )
        monkeypatch.setattr(starting, "_program", lambda: [*head, weak])
        starting.forget()

    yield one
    starting.forget()


def without(monkeypatch: pytest.MonkeyPatch, *option: str) -> None:
    """Leave an option, with its arguments, out of bubblewrap's command line."""
    full = layout.arguments

    def fewer(config: BubblewrapConfig) -> list[str | bytes]:
        arguments = full(config)
        for start in range(len(arguments)):
            if arguments[start : start + len(option)] == list(option):
                return arguments[:start] + arguments[start + len(option) :]
        raise AssertionError(option)

    monkeypatch.setattr(layout, "arguments", fewer)


async def succeeds(sandbox: BubblewrapSandbox, script: str) -> bool:
    return (await sandbox.exec(["bash", "-c", script], timeout=20)).success


@pytest.mark.parametrize(
    ("option", "attack"),
    [
        (("--remount-ro", "/"), "mv /opt/tools /opt/other"),
        (("--remount-ro", "/dev"), "touch /dev/x"),
        (("--disable-userns",), "unshare -U true"),
    ],
)
async def test_options_of_bubblewrap(
    start: Starter, weaken: Weaken, monkeypatch: pytest.MonkeyPatch, option: tuple[str, ...], attack: str
) -> None:
    # It would refuse some of them by itself.
    weaken(NO_FILTER)
    assert not await succeeds(await start(), attack)
    without(monkeypatch, *option)
    assert await succeeds(await start(), attack)


def _vsock() -> bool:
    """Whether this kernel has such sockets at all."""
    try:
        socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


async def test_system_calls(start: Starter, weaken: Weaken) -> None:
    # To make one is enough: whoever has one can ask the hypervisor, in whatever network namespace.
    attack = "python3 -c 'import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)'"
    sandbox = await start()
    assert sandbox.bounds()["system calls"] == "seccomp"
    assert not await succeeds(sandbox, attack)
    assert await sh(sandbox, "grep -h '^Seccomp:' /proc/self/status") == "Seccomp:\t2\n"
    weaken(NO_FILTER)
    sandbox = await start()
    assert "system calls" not in sandbox.bounds()
    assert await succeeds(sandbox, attack) == _vsock()
    assert await sh(sandbox, "grep -h '^Seccomp:' /proc/self/status") == "Seccomp:\t0\n"


async def test_the_size_of_the_home(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    config = BubblewrapConfig(disk=2 * MEBIBYTE)
    attack = "head -c 8M /dev/zero >f"
    assert not await succeeds(await start(config), attack)
    without(monkeypatch, "--size", str(2 * MEBIBYTE))
    assert await succeeds(await start(config), attack)


async def test_tracing_of_the_init(start: Starter, weaken: Weaken) -> None:
    weaken("kernel.guard_outer_processes = lambda: False")
    sandbox = await start()
    assert "tracing" not in sandbox.bounds()
    assert await succeeds(sandbox, "exec 3<>/proc/1/mem")


async def test_privileges(start: Starter, weaken: Weaken) -> None:
    weaken("kernel.give_up_privileges = lambda: None; kernel.guard_outer_processes = lambda: False")
    sandbox = await start()
    assert not await succeeds(sandbox, "grep -q 'CapBnd:.0000000000000000' /proc/self/status")


async def test_what_may_be_execed_directly(start: Starter, weaken: Weaken) -> None:
    weaken("entering.TRUSTED = ('/',)")
    sandbox = await start()
    await sandbox.write_file("x", "#!/proc/self/exe\nprint('the host' + ' has been run')\n")
    await sh(sandbox, "chmod +x x")
    done = await sandbox.exec(["/home/agent/x"])
    assert "python" in (done.stdout + done.stderr).lower() or "the host has been run" in done.stdout


async def test_being_closed_to_tracers(start: Starter, weaken: Weaken) -> None:
    weaken("kernel.close_to_tracers = lambda: kernel._prctl(kernel._PR_SET_DUMPABLE, 1)")
    sandbox = await start()
    watch = (
        "end=$((SECONDS + 90)); while [ $SECONDS -lt $end ]; do for p in /proc/[0-9]*; do "
        "r=$(readlink $p/exe) && case $r in *pyt[h]on*) echo found; exit;; esac; done 2>/dev/null; done"
    )
    found: list[str] = []
    async with anyio.create_task_group() as tasks:

        async def look() -> None:
            found.append(await sh(sandbox, watch))

        tasks.start_soon(look)
        while not found:
            await sandbox.write_file("f", "x" * MEBIBYTE)
    assert found == ["found\n"]


async def test_bounds_on_processes(start: Starter, weaken: Weaken) -> None:
    weaken(
        "warden.Warden._limit = lambda self: self.__dict__.update(_processes=5000, _most=5000); "
        "cgroups.Group.bound = lambda self, memory, pids: None"
    )
    sandbox = await start(BubblewrapConfig(pids=20))
    assert await succeeds(
        sandbox, "for i in $(seq 100); do sleep 5 & done; test $(ls -d /proc/[0-9]* | wc -l) -gt 90"
    )


@pytest.mark.parametrize("option", ["--unshare-net", "--unshare-pid", "--unshare-user"])
async def test_a_sandbox_that_shares_a_namespace_with_the_host_is_not_started(
    monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    without(monkeypatch, option)
    with pytest.raises(SandboxUnavailable):
        await (await BubblewrapSandbox.start()).close()

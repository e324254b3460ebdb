"""Running commands: bounds on time and output, and an end that is always seen."""

import time

import anyio
import pytest
from inspect_ai.util import OutputLimitExceededError, SandboxUserUnsupportedError
from inspect_ai.util._sandbox.environment import SandboxUnavailableError
from sandbox_helpers import sh

from offswitch.sandboxes.bubblewrap import BubblewrapSandbox


async def test_a_background_process_that_holds_the_output_open_does_not_hold_up_the_command(
    sandbox: BubblewrapSandbox,
) -> None:
    begun = time.monotonic()
    done = await sandbox.exec(["bash", "-c", "echo early; sleep 1000 & echo late"])
    assert done.stdout == "early\nlate\n"
    assert time.monotonic() - begun < 1.5
    assert [process.argv for process in await sandbox.processes() or []] == [("sleep", "1000")]


async def test_a_background_process_may_go_on_writing(sandbox: BubblewrapSandbox) -> None:
    await sandbox.exec(
        ["bash", "-c", "(for i in $(seq 40000); do echo $i; done; sleep 0.3; echo x; touch done) & exit"]
    )
    with anyio.fail_after(20):
        while (await sandbox.paths(["/home/agent/done"]))["/home/agent/done"].kind == "absent":  # noqa: ASYNC110
            await anyio.sleep(0.05)


async def test_output_of_a_helper_that_ends_just_after_is_kept(sandbox: BubblewrapSandbox) -> None:
    assert "seen" in await sh(sandbox, "exec > >(sleep 0.05; cat); echo seen")


async def test_one_gigabyte_of_output_is_cut_and_the_command_killed(sandbox: BubblewrapSandbox) -> None:
    with pytest.raises(OutputLimitExceededError) as caught:
        await sandbox.exec(["bash", "-c", "head -c 1G /dev/zero | tr '\\0' x & yes >&2"])
    assert len(caught.value.truncated_output or "") == 10 * 1024**2
    with anyio.fail_after(5):
        while await sandbox.processes():  # noqa: ASYNC110
            await anyio.sleep(0.02)
    assert await sh(sandbox, "echo fine") == "fine\n"


async def test_invalid_utf8_is_replaced(sandbox: BubblewrapSandbox) -> None:
    assert await sh(sandbox, "printf 'a\\377\\xc3(b'") == "a��(b"


async def test_a_timeout_kills_children_that_left_the_process_group(sandbox: BubblewrapSandbox) -> None:
    with pytest.raises(TimeoutError):
        await sandbox.exec(
            ["bash", "-c", "setsid sleep 1001 & (trap '' TERM; sleep 1002) & sleep 1003"], timeout=1
        )
    assert await sandbox.processes() == []


async def test_a_cancelled_command_is_killed(sandbox: BubblewrapSandbox) -> None:
    with anyio.move_on_after(0.5):
        await sandbox.exec(["sleep", "1000"])
    assert await sandbox.processes() == []


async def test_a_timeout_in_a_fork_storm(sandbox: BubblewrapSandbox) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await sandbox.exec(["bash", "-c", "f() { f | f & }; f; sleep 1000"], timeout=1)
    assert time.monotonic() - begun < 10


async def test_a_missing_program_is_a_failed_command(sandbox: BubblewrapSandbox) -> None:
    done = await sandbox.exec(["no-such-program"])
    assert (done.returncode, done.stderr) == (127, "no-such-program: No such file or directory\n")
    done = await sandbox.exec(["true"], cwd="/no/such/place")
    assert (done.returncode, done.stderr) == (126, "/no/such/place: No such file or directory\n")


async def test_programs_are_found_through_the_given_path(sandbox: BubblewrapSandbox) -> None:
    await sandbox.write_file("bin/hello", "#!/bin/sh\necho hello $0 $*\n")
    await sandbox.exec(["chmod", "+x", "bin/hello"])
    done = await sandbox.exec(["hello", "a b", "c"], env={"PATH": "/home/agent/bin:/usr/bin"})
    assert done.stdout == "hello /home/agent/bin/hello a b c\n"
    await sandbox.write_file("bin/bare", "echo bare $1\n")
    await sandbox.exec(["chmod", "+x", "bin/bare"])
    assert (await sandbox.exec(["/home/agent/bin/bare", "x"])).stdout == "bare x\n"


async def test_other_users_are_refused(sandbox: BubblewrapSandbox) -> None:
    assert (await sandbox.exec(["true"], user="agent")).success
    with pytest.raises(SandboxUserUnsupportedError):
        await sandbox.exec(["true"], user="root")


async def test_a_command_under_way_when_the_machine_ends_returns(sandbox: BubblewrapSandbox) -> None:
    with anyio.fail_after(5):
        done = await sandbox.exec(["bash", "-c", "echo before; kill -TERM 1; sleep 1000"])
    assert (done.stdout, done.returncode) == ("before\n", 137)


async def test_after_the_end_nothing_can_be_run(sandbox: BubblewrapSandbox) -> None:
    await sandbox.exec(["kill", "-TERM", "1"])
    assert await sandbox.wait_ended(5) is not None
    for attempt in (
        lambda: sandbox.exec(["true"]),
        lambda: sandbox.write_file("x", "y"),
        lambda: sandbox.read_file("x"),
    ):
        with pytest.raises(SandboxUnavailableError):
            await attempt()
    await sandbox.close()
    with pytest.raises(SandboxUnavailableError):
        await sandbox.exec(["true"])


async def test_many_commands_at_once(sandbox: BubblewrapSandbox) -> None:
    results: dict[int, str] = {}

    async def one(number: int) -> None:
        results[number] = await sh(sandbox, f"sleep 0.{number % 10}; echo {number}")

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(one, number)
    assert results == {number: f"{number}\n" for number in range(40)}


async def test_the_machine_goes_on_without_a_home(sandbox: BubblewrapSandbox) -> None:
    await sandbox.exec(["bash", "-c", "rm -rf ~ ~/.* /tmp/*"])
    assert await sh(sandbox, "echo fine") == "fine\n"
    await sandbox.exec(["chmod", "0", "/home/agent"])
    assert await sh(sandbox, "pwd") == "/\n"


async def test_reading_and_writing_follow_links_inside_only(sandbox: BubblewrapSandbox) -> None:
    await sh(
        sandbox,
        "ln -s /etc/passwd p; ln -s /etc/shadow s; ln -s /tmp/there t; mkfifo f; ln -s /proc/1/root/etc/passwd q",
    )
    assert "agent" in await sandbox.read_file("p")
    assert "root" not in await sandbox.read_file("p")
    with pytest.raises(OSError, match=r"Read-only|Permission"):
        await sandbox.write_file("p", "agent::0:0::/:/bin/sh\n")
    with pytest.raises(FileNotFoundError):
        await sandbox.read_file("s")
    await sandbox.write_file("t", "x")
    assert await sandbox.read_file("/tmp/there") == "x"
    with anyio.fail_after(5):
        for attempt in (lambda: sandbox.read_file("f"), lambda: sandbox.write_file("f", "x")):
            with pytest.raises(OSError, match=r"."):
                await attempt()


async def test_reading_is_cut_where_a_file_grows(sandbox: BubblewrapSandbox) -> None:
    assert len(await sandbox.read_file("/proc/self/status")) > 100
    with pytest.raises(IsADirectoryError):
        await sandbox.read_file("/home")

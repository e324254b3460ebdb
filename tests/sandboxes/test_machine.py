"""What the host sees of a sandbox, and serves to it."""

import os
import time

import anyio
import pytest
from sandbox_helpers import Starter, sh

from offswitch.sandboxes.bubblewrap import CONSOLE, BubblewrapSandbox
from offswitch.sandboxes.machine import Machine


async def test_it_is_a_machine(sandbox: BubblewrapSandbox) -> None:
    assert isinstance(sandbox, Machine)


async def test_the_machine_is_shut_down_from_inside(sandbox: BubblewrapSandbox) -> None:
    assert await sandbox.running() is True
    assert await sandbox.wait_ended(0.05) is None
    await sandbox.exec(["bash", "-lc", "./stop.sh"])
    ended = await sandbox.wait_ended(5)
    assert ended is not None
    assert (ended.code, ended.by_term) == (99, True)
    assert abs(ended.at - time.time()) < 10
    assert await sandbox.running() is False
    assert await sandbox.processes() == []
    assert [line for _, line in sandbox.console.lines] == ["stopping"]


async def test_no_other_signal_ends_the_machine(sandbox: BubblewrapSandbox) -> None:
    await sh(sandbox, "for s in $(seq 1 64); do [ $s = 15 ] || kill -$s 1; done; kill -9 -1")
    assert await sandbox.wait_ended(0.5) is None
    assert await sandbox.running() is True
    await sandbox.exec(["kill", "-TERM", "1"])
    ended = await sandbox.wait_ended(5)
    assert ended is not None
    assert ended.by_term


async def test_an_end_from_outside_is_no_shutdown(sandbox: BubblewrapSandbox) -> None:
    import signal

    signal.pidfd_send_signal(sandbox._init, signal.SIGKILL)
    ended = await sandbox.wait_ended(5)
    assert ended is not None
    assert (ended.code, ended.by_term) == (-9, False)


async def test_the_init_reaps_hundreds_of_orphans(sandbox: BubblewrapSandbox) -> None:
    await sh(sandbox, "for i in $(seq 400); do (sleep 0.0$((i % 9)) &) ; done; sleep 0.5")
    assert await sandbox.processes() == []
    assert await sandbox.running() is True


async def test_paths(sandbox: BubblewrapSandbox) -> None:
    await sh(
        sandbox,
        "ln -s stop.sh link; ln -s /etc/shadow shadow; ln -s loop loop; mkfifo fifo; mkdir dir; chmod 000 stop.sh;"
        " ln -s /proc/self/root/etc/shadow magic; ln -s ../../../../../../etc/shadow up; head -c 100000 /dev/zero >big;"
        " truncate -s 17M huge; printf '\\377' >odd",
    )
    names = "stop.sh link shadow loop fifo dir magic up big huge odd none stop.sh/x".split()
    states = await sandbox.paths(
        [f"/home/agent/{name}" for name in names] + ["/bin/sh", "/etc/passwd", "relative"]
    )
    of = {name: states[f"/home/agent/{name}"] for name in names}
    script = of["stop.sh"]
    assert (script.kind, script.mode, script.uid) == ("file", 0, 1000)
    if os.geteuid() == 0:
        assert script.content == "#!/bin/sh\necho stopping >/run/console\nkill -TERM 1\n"
        assert len(script.sha256 or "") == 64
        assert of["link"].sha256 == script.sha256
    assert (of["link"].kind, of["link"].link) == ("symlink", "stop.sh")
    for name in ("shadow", "magic", "up", "loop"):
        assert of[name].kind == "symlink"
        assert (of[name].sha256, of[name].content) == (None, None)
    assert (of["fifo"].kind, of["dir"].kind, of["none"].kind, of["stop.sh/x"].kind) == (
        "other",
        "directory",
        "absent",
        "absent",
    )
    assert len(of["big"].content or "") == 64 * 1024
    assert of["huge"].sha256 is None
    assert of["odd"].content == "�"
    assert states["/etc/passwd"].content == "agent:x:1000:1000:agent:/home/agent:/bin/bash\n"
    assert states["/bin/sh"].sha256
    assert states["/bin/sh"].uid is None


async def test_a_change_of_a_file_is_seen(sandbox: BubblewrapSandbox) -> None:
    path = "/home/agent/stop.sh"
    before = (await sandbox.paths([path]))[path]
    await sh(sandbox, "cp -p stop.sh keep; sed -i s/TERM/0/ stop.sh")
    changed = (await sandbox.paths([path]))[path]
    assert changed.sha256 != before.sha256
    assert changed.inode != before.inode
    await sh(sandbox, "cat keep >stop.sh")
    assert (await sandbox.paths([path]))[path].sha256 == before.sha256


async def test_processes_with_daemons_and_traps(sandbox: BubblewrapSandbox) -> None:
    await sh(
        sandbox,
        "(setsid bash -c \"trap '' TERM; trap : HUP; while :; do sleep 100; done\" >/dev/null 2>&1 &)",
    )
    with anyio.fail_after(5):
        while len(found := await sandbox.processes() or []) < 2:  # noqa: ASYNC110
            await anyio.sleep(0.02)
    daemon = next(one for one in found if one.argv[0] == "bash")
    assert daemon.parent == 1
    assert daemon.session == daemon.pid
    assert daemon.age < 60
    assert "TERM" in daemon.ignored
    assert "HUP" in daemon.caught
    assert daemon.tracer == 0


async def test_the_console_never_makes_a_writer_wait(sandbox: BubblewrapSandbox) -> None:
    # The host does not look meanwhile, and what floods the console does not stop it for others.
    done = await sandbox.exec(
        [
            "bash",
            "-c",
            f"timeout 2 yes >{CONSOLE}; sleep 1.1; echo last >{CONSOLE}; printf '\\377\\n' >{CONSOLE}",
        ],
        timeout=20,
    )
    assert done.success
    await anyio.sleep(0.2)
    lines = [line for _, line in sandbox.console.lines]
    assert len(lines) <= 100_000
    assert "y" in lines


async def test_console_lines_carry_the_time_of_their_arrival(sandbox: BubblewrapSandbox) -> None:
    begun = time.time()
    await sh(
        sandbox,
        f"echo one >{CONSOLE}; sleep 0.3; echo two >{CONSOLE}; head -c 9000 /dev/zero | tr '\\0' z >{CONSOLE}",
    )
    await anyio.sleep(0.2)
    (first, one), (second, two), *rest = sandbox.console.lines
    assert (one, two) == ("one", "two")
    assert begun - 1 < first < second < time.time() + 1
    assert second - first > 0.2
    assert all(len(line) <= 4096 for _, line in rest)


async def test_requests_are_answered_one_at_a_time(sandbox: BubblewrapSandbox) -> None:
    busy, most, heard = 0, 0, []

    async def answer(request: str) -> str:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        heard.append(request)
        await anyio.sleep(0.01)
        busy -= 1
        return f"<{request}>\n  second line "

    async with sandbox.serve(answer):
        async with anyio.create_task_group() as tasks:

            async def ask(number: int) -> None:
                done = await sandbox.exec(["/opt/tools/fetch", "next", str(number)])
                assert done.stdout == f"<next {number}>\n  second line \n", done

            for number in range(20):
                tasks.start_soon(ask, number)
        assert (await sandbox.exec(["/opt/tools/fetch"])).stdout == "<>\n  second line \n"
    assert most == 1
    assert sorted(heard) == sorted([f"next {number}" for number in range(20)] + [""])


async def test_a_client_fails_at_once_where_nobody_serves(sandbox: BubblewrapSandbox) -> None:
    for _ in range(2):
        done = await sandbox.exec(["/opt/tools/fetch", "next"], timeout=5)
        assert done.returncode == 1
        assert "does not answer" in done.stderr

        async def answer(request: str) -> str:
            return "yes"

        async with sandbox.serve(answer):
            assert (await sandbox.exec(["/opt/tools/fetch", "next"], timeout=5)).stdout == "yes\n"


async def test_garbage_and_killed_clients_do_not_disturb_the_next(sandbox: BubblewrapSandbox) -> None:
    async def answer(request: str) -> str:
        if request == "slow":
            await anyio.sleep(0.3)
        return request * 100

    async with sandbox.serve(answer):
        await sandbox.exec(["timeout", "-s", "KILL", "0.1", "/opt/tools/fetch", "slow"])
        await sh(
            sandbox,
            "head -c 1M /dev/urandom >/run/requests; head -c 1M /dev/zero >/run/requests; printf '\\n' >/run/requests",
        )
        await sh(sandbox, "yes 'ffff-ffff hello' | head -c 2M >/run/requests")
        await sh(sandbox, "printf 'aaaa \\377\\376 no utf-8\\n' >/run/requests")
        done = await sandbox.exec(["/opt/tools/fetch", "next"], timeout=20)
        assert done.stdout == "next" * 100 + "\n"


async def test_a_long_reply_arrives_whole(sandbox: BubblewrapSandbox) -> None:
    async def answer(request: str) -> str:
        return "\n".join(f"line {number} of many" for number in range(5000))

    async with sandbox.serve(answer):
        done = await sandbox.exec(["/opt/tools/fetch"], timeout=60)
    assert done.stdout == "\n".join(f"line {number} of many" for number in range(5000)) + "\n"


async def test_an_error_of_the_host_ends_the_serving(sandbox: BubblewrapSandbox) -> None:
    async def answer(request: str) -> str:
        raise ZeroDivisionError

    with pytest.raises(BaseExceptionGroup) as caught:
        async with sandbox.serve(answer):
            await sandbox.exec(["/opt/tools/fetch"], timeout=5)
    assert caught.group_contains(ZeroDivisionError)
    assert await sandbox.running() is True


async def test_a_view_of_the_state_is_fast(start: Starter) -> None:
    sandbox = await start()
    paths = ["/home/agent/stop.sh", "/bin/sh", "/bin/bash", "/usr/bin/kill", "/home/agent"]
    await sandbox.paths(paths)
    begun = time.process_time()
    for _ in range(100):
        await sandbox.paths(paths)
        await sandbox.processes()
    # Not a benchmark: only that nothing is read that need not be.
    assert time.process_time() - begun < 1.0

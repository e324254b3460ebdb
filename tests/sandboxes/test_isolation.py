"""What an agent can see and reach from its sandbox: itself, and a read-only system."""

import os
import socket

import anyio
import pytest
from pydantic import ValidationError
from sandbox_helpers import Starter, as_root, sh

from offswitch.sandboxes.bubblewrap import BubblewrapConfig, BubblewrapSandbox, File


async def test_the_agent_is_an_ordinary_user_with_an_account_of_its_own(sandbox: BubblewrapSandbox) -> None:
    assert await sh(sandbox, "id -un; id -u; id -g; echo ~; echo $SHELL; whoami") == (
        "agent\n1000\n1000\n/home/agent\n/bin/bash\nagent\n"
    )
    assert (await sh(sandbox, "cut -d: -f1 /etc/passwd /etc/group")).split() == ["agent", "agent"]


@as_root
async def test_root_never_runs_a_sandbox_as_itself_or_two_as_one_user(start: Starter) -> None:
    seen = []
    for sandbox in [await start() for _ in range(4)]:
        await sandbox.exec(["bash", "-c", "sleep 100 & echo $!"])
        [sleeper] = await sandbox.processes() or []
        uids = [
            line.split()[1:] for line in _host_status(sandbox, sleeper.pid) if line.startswith(("Uid", "Gid"))
        ]
        assert all(int(uid) >= 1_000_000 for row in uids for uid in row)
        init = [line.split()[1:] for line in _host_status(sandbox, 1) if line.startswith("Uid")]
        assert init == uids[:1]
        seen.append(uids[0][0])
    assert len(set(seen)) == 4


def _host_status(sandbox: BubblewrapSandbox, pid: int) -> list[str]:
    """``/proc/PID/status`` of a process inside, read on the host, where uids are the host's."""
    fd = os.open(f"proc/{pid}/status", os.O_RDONLY, dir_fd=sandbox._root)
    with os.fdopen(fd) as status:
        return status.read().splitlines()


async def test_capabilities_are_gone_for_good(sandbox: BubblewrapSandbox) -> None:
    status = await sh(sandbox, "grep -E '^(Cap|NoNewPrivs)' /proc/self/status")
    values = dict(line.split(":\t") for line in status.splitlines())
    assert values.pop("NoNewPrivs") == "1"
    assert set(values.values()) == {"0" * 16}
    assert values.keys() >= {"CapBnd", "CapEff", "CapAmb"}


async def test_set_uid_programs_give_nothing(sandbox: BubblewrapSandbox) -> None:
    said = await sh(
        sandbox,
        "for p in $(find /usr/bin -perm -4000 | head -5); do $p -h 2>&1 </dev/null; done; id -u; id -ru",
    )
    assert said.endswith("1000\n1000\n")
    assert "suid" not in (await sh(sandbox, "grep -v nosuid /proc/mounts | grep -v /dev/")).replace(
        "nosuid", ""
    )


@pytest.mark.parametrize(
    "attempt",
    ["unshare -U true", "unshare -Ur true", "unshare -m true", "unshare -p -f true", "unshare -n true"],
)
async def test_no_further_namespaces(sandbox: BubblewrapSandbox, attempt: str) -> None:
    assert not (await sandbox.exec(attempt.split())).success


@pytest.mark.parametrize(
    "attempt",
    [
        "mount -t tmpfs none /mnt",
        "mount -t tmpfs none /home/agent",
        "mount --bind /home/agent /opt/tools",
        "mount -o remount,rw /",
        "mount -o remount,rw /run",
        "umount /run",
        "umount /proc",
        "touch /x",
        "touch /usr/x",
        "touch /etc/x",
        "touch /opt/tools/x",
        "touch /run/x",
        "touch /dev/x",
        "mv /opt/tools /opt/other",
        "mv /opt /other",
        "rm -f /opt/tools/fetch",
        "chmod 600 /opt/tools/fetch",
        "chmod 666 /run/console",
        "rm -f /run/requests",
        "chattr +i /opt/tools/fetch",
        "hostname other",
        "sysctl -w kernel.hostname=x",
        "mknod /tmp/disk b 8 0",
        "chroot /tmp true",
        "nice -n -5 true 2>&1 | grep -q annot && false",
    ],
)
async def test_the_system_cannot_be_changed(sandbox: BubblewrapSandbox, attempt: str) -> None:
    assert not (await sandbox.exec(["bash", "-c", attempt])).success
    assert (await sandbox.exec(["cat", "/opt/tools/fetch"])).success


async def test_home_tmp_and_the_directories_of_files_can_be_changed(sandbox: BubblewrapSandbox) -> None:
    places = "~ /tmp /var/tmp /dev/shm /srv/data"
    assert (
        await sh(
            sandbox, f"for d in {places}; do echo x >$d/f && rm $d/f || echo no $d; done; mv ~/stop.sh ~/s"
        )
        == ""
    )
    assert (await sandbox.paths(["/home/agent/stop.sh"]))["/home/agent/stop.sh"].kind == "absent"


async def test_moving_files_between_directories_works(sandbox: BubblewrapSandbox) -> None:
    # Landlock denies this to a domain that does not name the right.
    assert await sh(sandbox, "mkdir a b; echo x >a/f; ln a/f b/g; stat -c %h b/g") == "2\n"


async def test_nothing_of_the_host_shows(sandbox: BubblewrapSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await sh(sandbox, "ls -A /root /home/../root /var /boot /media 2>/dev/null")).split() == [
        "/var:",
        "tmp",
    ]
    assert (await sh(sandbox, "ls /home")).split() == ["agent"]
    assert not (await sandbox.exec(["cat", "/etc/shadow"])).success
    assert (await sh(sandbox, "hostname")).strip() == "desk"
    pids = (await sh(sandbox, "echo /proc/[0-9]*")).split()
    assert len(pids) <= 3


async def test_no_environment_variable_of_the_host_shows(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFSWITCH_TEST_SECRET", "sesame")
    sandbox = await start()
    names = {line.partition("=")[0] for line in (await sh(sandbox, "env")).splitlines()}
    assert names == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "PWD", "SHLVL", "_"}
    everything = await sh(sandbox, "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'")
    assert "sesame" not in everything
    assert "python" not in everything


async def test_a_command_has_no_open_file_but_its_own_three(sandbox: BubblewrapSandbox) -> None:
    assert (await sandbox.exec(["ls", "/proc/self/fd"], input="x")).stdout.split() == ["0", "1", "2", "3"]


async def test_no_network(sandbox: BubblewrapSandbox) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    assert not (await sandbox.exec(["bash", "-c", f"echo >/dev/tcp/127.0.0.1/{port}"])).success
    assert (
        await sh(sandbox, "ls /sys/class/net 2>/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1")
    ).split() == ["lo"]
    listener.close()


async def test_no_terminal_to_push_keys_into(sandbox: BubblewrapSandbox) -> None:
    assert not (await sandbox.exec(["bash", "-c", "exec 3</dev/tty"])).success
    assert (await sh(sandbox, "ps -o tty= -p $$ | tr -d ' '")).strip() == "?"


async def test_the_init_can_be_neither_traced_nor_read_nor_written(sandbox: BubblewrapSandbox) -> None:
    if "tracing" not in sandbox.bounds():
        pytest.skip("without Landlock the agent can trace the init; bounds() says so")
    for path in ("mem", "environ", "root", "cwd", "fd/0", "exe", "map_files"):
        assert not (
            await sandbox.exec(["bash", "-c", f"cat /proc/1/{path} || ls /proc/1/{path}/"])
        ).success, path
    assert not (await sandbox.exec(["bash", "-c", "exec 3<>/proc/1/mem"])).success
    if (await sandbox.exec(["which", "strace"])).success:
        assert not (await sandbox.exec(["strace", "-p", "1"], timeout=5)).success


async def test_commands_can_trace_each_other(sandbox: BubblewrapSandbox) -> None:
    pid = (await sh(sandbox, "sleep 100 >/dev/null 2>&1 & echo $!")).strip()
    assert (await sandbox.exec(["cat", f"/proc/{pid}/environ"])).success


async def test_a_script_that_names_its_own_interpreter_as_interpreter_gets_no_host_program(
    sandbox: BubblewrapSandbox,
) -> None:
    # CVE-2019-5736: what enters the sandbox is a program of the host, and /proc/self/exe leads to it.
    await sandbox.write_file("x", "#!/proc/self/exe\nimport os\n")
    await sh(sandbox, "chmod +x x; cp /bin/cat keep; ln -s /proc/self/exe y")
    for command in (
        ["./x"],
        ["/home/agent/x"],
        ["/home/agent/y", "-V"],
        ["./y", "-c", "import sys; print(sys.version)"],
        ["/proc/self/exe", "-V"],
    ):
        done = await sandbox.exec(command)
        assert "Python" not in done.stdout + done.stderr
        assert "import" not in done.stdout or "not found" in done.stdout + done.stderr


async def test_a_command_that_is_being_started_cannot_be_looked_into(sandbox: BubblewrapSandbox) -> None:
    # Between fork and exec a command is still the warden: its memory and files are the host's.
    watch = (
        "end=$((SECONDS + 3)); while [ $SECONDS -lt $end ]; do for p in /proc/[0-9]*; do "
        "r=$(readlink $p/exe) && case $r in *pyt[h]on*) echo $r;; esac; "
        "tr '\\0' ' ' <$p/cmdline; done 2>/dev/null; done"
    )
    found: list[str] = []

    async def look() -> None:
        found.append(await sh(sandbox, watch))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        for _ in range(100):
            await sandbox.exec(["true"])
            await sandbox.write_file("f", "x")
    assert "python" not in found[0]
    assert "keeper" not in found[0]


def test_programs_may_not_lie_where_the_agent_writes() -> None:
    with pytest.raises(ValidationError, match="where the agent can replace it"):
        BubblewrapConfig(programs={"/home/agent/fetch": File(content="")})
    with pytest.raises(ValidationError, match="belongs to the sandbox's system"):
        BubblewrapConfig(files={"/etc/passwd": File(content="")})
    with pytest.raises(ValidationError, match="not an absolute"):
        BubblewrapConfig(files={"/home/agent/../../etc/passwd": File(content="")})

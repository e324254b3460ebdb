"""The cell of a micro virtual machine, driven as a supervisor drives it."""

import fcntl
import hashlib
import os
import random
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from microvm_machine import Maker
from sandbox_helpers import as_root

from offswitch.sandboxes import wire
from offswitch.sandboxes.cells import microvm, microvm_ext4, microvm_image, microvm_qemu, microvm_workspace
from offswitch.sandboxes.cells.microvm_streams import Flow, Telnet
from offswitch.sandboxes.cgroups import Cgroups

needs_mke2fs = pytest.mark.skipif(not microvm_workspace.program(), reason="mke2fs is not installed")

# The agent's program


def test_what_an_agent_gets_says_and_returns_passes_unchanged(make: Maker, place: Path) -> None:
    (place / "given").write_text("from the workspace\n")
    odd = "a 'quoted' $HOME `id` \\ \"word\"\n\x01 é"
    machine = make(
        "sh", "-c",
        'pwd; id -u; cat given; printf "%s|" "$0" "$1" "$ODD"; cat; echo aside >&2; exit 7', odd, "",
        environment={"ODD": odd, "odd.name": "1"},
    )  # fmt: skip
    facts = machine.ready()
    assert facts["files"] == ["parting"]
    assert facts["bounds"]["processor"].startswith(("KVM", "TCG"))
    machine.go()
    sent = random.Random(1).randbytes(300_000)
    writer = os.fork()
    if writer == 0:
        os.close(machine.output)
        with os.fdopen(machine.input, "wb") as pipe:
            pipe.write(sent)
        os._exit(0)
    os.close(machine.input)
    del machine.input
    expected = b"/workspace\n1000\nfrom the workspace\n" + b"".join(
        word.encode() + b"|" for word in (odd, "", odd)
    )
    assert machine.read() == expected + sent
    assert machine.read(file=machine.errors) == b"aside\n"
    assert machine.exit() == 7
    os.waitpid(writer, 0)
    machine.gone()
    assert machine.tidy() == []
    assert os.listdir(machine.plan["scratch"]) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("nowhere", 127), ("/workspace/plain", 126), ("./folder", 126)])
def test_a_program_that_cannot_be_run_is_not_started(make: Maker, place: Path, name: str, code: int) -> None:
    (place / "plain").write_text("text")
    (place / "folder").mkdir()
    machine = make(name)
    machine.ready()
    wire.send(machine.line, ("go",))
    verb, found, why = machine.hear()
    assert (verb, found) == ("not started", code)
    assert name in why


@pytest.mark.slow
def test_nothing_runs_before_go_and_all_ends_with_the_line(make: Maker, place: Path) -> None:
    machine = make("touch", "/workspace/ran")
    machine.ready()
    # Long enough for what an agent did to have come to the disk.
    time.sleep(4)
    machine.line.shutdown(socket.SHUT_RDWR)
    machine.gone()
    os.waitpid(machine.pid, 0)
    machine.reaped = True
    assert machine.tidy() == []
    assert not (place / "ran").exists()


@pytest.mark.slow
def test_a_signal_reaches_the_agent_and_its_work_is_kept(make: Maker, place: Path) -> None:
    machine = make("sh", "-c", "trap 'echo saved >saved; exit 3' TERM; echo up; while :; do sleep 0.1; done")
    machine.start().read(b"up\n")
    wire.send(machine.line, ("signal", int(signal.SIGTERM)))
    assert machine.exit() == 3
    assert machine.tidy() == []
    assert (place / "saved").read_text() == "saved\n"


@pytest.mark.slow
def test_children_that_the_agent_leaves_hold_nothing_up(make: Maker) -> None:
    machine = make("sh", "-c", "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000' &) ; echo done").start()
    assert machine.read() == b"done\n"
    assert machine.exit() == 0


@pytest.mark.slow
def test_a_slow_reader_slows_the_agent_and_nothing_is_lost(make: Maker) -> None:
    machine = make("dd", "if=/dev/zero", "bs=65536", "count=640").start()
    before = _memory(machine.pid)
    time.sleep(5)
    # The first of it waits, in bounded places, and the 40 MiB are not among them.
    assert _memory(machine.pid) - before < 5 << 20
    assert machine.line not in select.select([machine.line], [], [], 0)[0]
    assert len(machine.read()) == 640 * 65536
    assert machine.exit() == 0


def _memory(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * 4096


@pytest.mark.slow
def test_a_terminal_passes_through(make: Maker) -> None:
    script = (
        "stty size; tty; echo files $(ls /proc/self/fd); echo here >/dev/tty;"
        "trap 'echo interrupted' INT; trap 'stty size' WINCH; echo up;"
        "while ! read -r line; do :; done; printf 'got %s \\377\\n' \"$line\"; exit 5"
    )
    machine = make("sh", "-c", script, terminal=True).start()
    said = machine.read(b"up\r\n")
    assert b"40 132\r\n/dev/pts/" in said
    assert b"files 0 1 2 3\r\nhere\r\n" in said
    fcntl.ioctl(machine.terminal, termios.TIOCSWINSZ, struct.pack("=HHHH", 50, 99, 0, 0))
    time.sleep(0.5)
    os.write(machine.terminal, b"\x03")
    assert b"interrupted\r\n" in machine.read(b"interrupted\r\n")
    os.write(machine.terminal, b"hello\r")
    said = machine.read()
    assert b"got hello \xff\r\n" in said
    assert machine.exit() == 5
    # The bytes that end the stream are not the agent's and are not shown.
    assert said.endswith(b"\xff\r\n")


# What it cannot reach


@pytest.mark.slow
def test_inside_nothing_but_the_workspace_and_tmp_is_writable_and_there_is_no_network(
    make: Maker, tmp_path: Path
) -> None:
    secret = tmp_path / "tool" / "run.sh"
    secret.parent.mkdir()
    tmp_path.chmod(0o755)
    secret.write_text("#!/bin/sh\necho from the host\n")
    secret.chmod(0o755)
    script = """
    for place in / /etc /bin /run /dev /usr /var /sys/kernel "$0"; do
      { touch "$place/x" || echo 1 >"$place"; } 2>/dev/null && echo "$place is writable"
    done
    touch /workspace/x /tmp/x "$HOME/x" && echo places
    ls /sys/class/net
    ip route
    "$0/run.sh"
    grep -c . /run/start
    grep -E 'NoNewPrivs|CapEff|CapBnd' /proc/self/status
    echo 1 2>/dev/null >/proc/sys/kernel/panic || echo sealed
    cat /dev/vport* /dev/vd* 2>/dev/null
    ls /proc/1/root 2>/dev/null
    unshare -r true 2>/dev/null || echo unshared
    (exec 9<>/dev/pts/0) 2>/dev/null
    kill -9 1 2>/dev/null || echo spared
    echo files $(ls /proc/self/fd)
    """
    machine = make("sh", "-c", script, str(secret.parent), read=[str(secret.parent)]).start()
    said = machine.read().decode()
    assert "writable" not in said
    for word in ("places", "from the host", "sealed", "unshared", "spared", "NoNewPrivs:\t1"):
        assert word in said, said
    assert "CapEff:\t0000000000000000" in said
    # Its three streams, and the directory that is being listed.
    assert "files 0 1 2 3\n" in said
    assert [line for line in said.splitlines() if line in ("lo", "eth0") or "default" in line] == ["lo"]
    assert machine.exit() == 0


@pytest.mark.slow
def test_the_hypervisor_is_an_ordinary_process_with_nothing_to_reach(make: Maker) -> None:
    machine = make("sleep", "1000").start()
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{machine.qemu}/status").read_text().splitlines()
        if ":\t" in line
    )
    if os.geteuid() == 0:
        assert set(status["Uid"].split()) == {machine.facts["bounds"]["hypervisor's user"]}
        assert os.stat(f"/proc/{machine.qemu}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino
    assert status["CapEff"].strip("0\n") == ""
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["PPid"] == str(machine.pid)
    # Of the supervisor's files it has none: what it holds is sockets, images, memory and its own.
    held = {os.readlink(f"/proc/{machine.qemu}/fd/{name}") for name in os.listdir(f"/proc/{machine.qemu}/fd")}
    allowed = ("socket:", "anon_inode:", "pipe:", "/dev/null", "/dev/kvm", "/memfd:", "/dev/urandom")
    images = (machine.plan["scratch"], microvm_image.cache())
    assert [one for one in held if not one.startswith((*allowed, *images))] == []


def test_qemu_can_open_nothing_to_write_to_and_nothing_but_the_system(tmp_path: Path) -> None:
    from offswitch.sandboxes import kernel

    if not kernel.landlock_version():
        pytest.skip("this kernel has no Landlock")
    for name in ("secret", "kernel"):
        (tmp_path / name).write_text(name)
    file = os.open(tmp_path / "kernel", os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        allowed = 0
        try:
            microvm_qemu.confine(file, None, [])
            for path, flags in (
                (tmp_path / "secret", os.O_RDONLY),
                (tmp_path / "new", os.O_CREAT | os.O_WRONLY),
            ):
                with suppress(PermissionError):
                    os.open(path, flags)
                    allowed += 1
            os.open("/usr/bin/env", os.O_RDONLY)
            os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
        except BaseException:
            allowed = 99
        finally:
            os._exit(allowed)
    os.close(file)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_processes_and_memory_are_bounded_inside(make: Maker) -> None:
    script = """
    i=0
    while [ $i -lt 100 ]; do sleep 1000 & i=$((i + 1)); done 2>/dev/null
    echo never
    """
    machine = make("sh", "-c", script + "; exit 0", pids=40).start()
    machine.read(file=machine.errors)
    assert b"never" not in machine.read()
    assert machine.exit() != 0
    machine = make("sh", "-c", "dd if=/dev/zero of=/dev/null bs=400M count=1; echo code $?").start()
    assert b"code 0" not in machine.read()
    assert machine.exit() == 0


@pytest.mark.slow
def test_a_root_of_ones_own_is_what_the_agent_sees(make: Maker, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "opt" / "tool").mkdir(parents=True)
    (root / "bin").mkdir()
    shutil.copy(microvm_image.busybox(), root / "bin" / "sh")
    (root / "opt" / "tool" / "program").write_text("#!/bin/sh\necho from the root\necho >/opt/open/file\n")
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)
    # What the root itself leaves open to all is not writable either.
    (root / "opt" / "open").mkdir(mode=0o777)
    (root / "opt" / "open").chmod(0o777)
    machine = make("program", options={"root": str(root)}, environment={"PATH": "/nowhere:/opt/tool"}).start()
    made = [path for path in Path(microvm_image.cache()).glob("root-*") if "busybox" not in path.name]
    try:
        assert machine.read() == b"from the root\n"
        assert b"Read-only" in machine.read(file=machine.errors)
        assert machine.exit() == 1
    finally:
        newest = max(made, key=lambda path: path.stat().st_mtime)
        newest.unlink()


@pytest.mark.slow
@as_root
def test_an_ordinary_user_can_run_one(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = Path(microvm_image.__file__).parents
    if not all(path.stat().st_mode & 0o005 == 0o005 for path in sources):
        pytest.skip("an ordinary user cannot read this package")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        shutil.copytree(microvm_image.cache() + "/guest", top / "offswitch" / "microvm" / "guest")
        for name in ("workspace", "scratch"):
            (top / name).mkdir()
        (top / "workspace" / "file").write_text("before\n")
        for path in (top, *top.rglob("*")):
            os.chown(path, 54321, 54321)
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        machine = make(
            "sh", "-c", "echo after >file; stat -c %u file", user=54321,
            workspace=str(top / "workspace"), scratch=str(top / "scratch"),
        ).start()  # fmt: skip
        assert machine.read() == b"1000\n"
        assert machine.exit() == 0
        machine.reap()
        tidier = os.fork()
        if tidier == 0:
            os.setresuid(54321, 54321, 54321)
            os._exit(len(microvm.tidy(machine.plan, {})))
        assert os.waitpid(tidier, 0)[1] == 0
        assert (top / "workspace" / "file").read_text() == "after\n"
        assert (top / "workspace" / "file").stat().st_uid == 54321


# Killing


@pytest.mark.slow
def test_qmp_quit_and_sigkill_end_the_machine(
    make: Maker, record_property: Callable[[str, object], None]
) -> None:
    for way in ("quit", "kill"):
        machine = make("sh", "-c", "trap '' TERM HUP INT; echo up; while :; do :; done").start()
        machine.read(b"up\n")
        if way == "quit":
            machine.monitor.send(machine.parting)
        else:
            signal.pidfd_send_signal(machine.hypervisor, signal.SIGKILL)
        record_property(f"{way}_ms", round(machine.gone() * 1000, 2))
        record_property("boot_s", round(machine.booted, 2))
        assert machine.exit() == 137
        assert machine.hear() is None
        assert not os.path.exists(f"/proc/{machine.qemu}/cwd")


@pytest.mark.slow
def test_the_machine_dies_with_its_cell(make: Maker) -> None:
    machine = make("sleep", "1000").start()
    os.kill(machine.pid, signal.SIGKILL)
    machine.gone()


@pytest.mark.slow
def test_a_guest_that_ends_by_itself_is_the_agents_end(make: Maker) -> None:
    machine = make("sh", "-c", "echo up; sleep 1000").start()
    machine.read(b"up\n")
    machine.monitor.send(b'{"execute":"system_reset"}\n')
    assert machine.exit() == 137
    assert machine.read() == b""
    machine.gone()


@pytest.mark.slow
def test_the_group_holds_all_of_it(make: Maker, place: Path) -> None:
    groups = Cgroups()
    group = groups.open()
    if group is None:
        pytest.skip("no control group can be made here")
    memory, pids = microvm.bounds_for(
        {"memory": 192 << 20, "scratch": str(place), "workspace": str(place), "read": [], "options": {}}
    )
    group.bound(memory, pids)
    try:
        machine = make("sh", "-c", "while :; do echo tick; sleep 0.05; done", group=group).start()
        machine.read(b"tick\n")
        own = Path(f"/proc/{machine.pid}/cgroup").read_text()
        assert "offswitch-" in own
        assert Path(f"/proc/{machine.qemu}/cgroup").read_text() == own
        freezers = [
            path / "cgroup.freeze"
            for path in Path("/sys/fs/cgroup").rglob(f"offswitch-*-{os.getpid()}-*/*")
            if (path / "cgroup.freeze").exists()
        ]
        for freezer in freezers:
            freezer.write_text("1")
            time.sleep(0.3)
            os.set_blocking(machine.output, False)
            with suppress(BlockingIOError):
                while os.read(machine.output, 65536):
                    pass
            os.set_blocking(machine.output, True)
            assert not select.select([machine.output], [], [], 1)[0], "it goes on while it is held"
            freezer.write_text("0")
            machine.read(b"tick\n")
        group.kill()
        machine.gone()
        os.waitpid(machine.pid, 0)
        machine.reaped = True
    finally:
        group.kill()
        deadline = time.monotonic() + 5
        while not group.remove() and time.monotonic() < deadline:
            time.sleep(0.02)
        groups.close()


# The workspace


@pytest.mark.slow
def test_the_workspace_comes_back_with_its_changes_and_nothing_else(
    make: Maker, place: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("outside\n")
    (place / "same").write_text("same\n")
    os.utime(place / "same", (1, 1))
    (place / "edited").write_text("before\n")
    (place / "gone").write_text("gone\n")
    (place / "tree" / "deep").mkdir(parents=True)
    (place / "tree" / "deep" / "leaf").write_text("leaf\n")
    (place / "becomes").write_text("file\n")
    (place / "link").symlink_to("same")
    (place / ".git" / "hooks").mkdir(parents=True)
    (place / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    if os.geteuid() == 0:
        os.chown(place / "edited", 12345, 12345)
        os.chown(place, 23456, 23456)
    machine = make(
        "sh", "-c",
        f"""
        cat edited same >/dev/null; echo after >>edited; rm gone; rm -r tree; rm becomes; mkdir becomes
        echo in >becomes/file
        ln -sf {outside} link; ln -s / slash; echo run >program; chmod 6755 program; mkfifo pipe
        truncate -s 50M sparse; printf x >>sparse; ln edited second; mkdir -m 700 closed; echo c >closed/c
        name=$(printf 'odd\\nname'); echo odd >"$name"
        echo evil >.git/hooks/pre-commit; mv .git x; ls -a
        """,
    )  # fmt: skip
    machine.start()
    (place / "appeared").write_text("meanwhile\n")
    machine.read()
    assert machine.exit() == 0
    said = machine.tidy()
    assert [line.split(":")[0] for line in said] == ["'pipe'"], said
    assert (place / "same").stat().st_mtime == 1
    assert (place / "edited").read_text() == "before\nafter\n" == (place / "second").read_text()
    assert not (place / "gone").exists()
    assert not (place / "tree").exists()
    assert (place / "becomes" / "file").read_text() == "in\n"
    assert os.readlink(place / "link") == str(outside)
    assert outside.read_text() == "outside\n"
    assert os.readlink(place / "slash") == "/"
    assert stat.S_IMODE((place / "program").stat().st_mode) == 0o755
    assert (place / "sparse").stat().st_size == 50 * 1024 * 1024 + 1
    assert (place / "sparse").stat().st_blocks < 1000
    assert stat.S_IMODE((place / "closed").stat().st_mode) == 0o700
    assert (place / "odd\nname").read_text() == "odd\n"
    assert (place / "appeared").read_text() == "meanwhile\n"
    assert os.listdir(place / ".git" / "hooks") == []
    assert not (place / "x").exists()
    assert not (place / "lost+found").exists()
    if os.geteuid() == 0:
        assert (place / "edited").stat().st_uid == 12345
        assert {(place / name).lstat().st_uid for name in ("program", "slash", "closed", "closed/c")} == {
            23456,
            0,
        } - {0}


@pytest.mark.slow
def test_after_a_cut_all_but_the_last_seconds_is_there(make: Maker, place: Path) -> None:
    (place / "old").write_text("old\n")
    machine = make(
        "sh", "-c",
        "rm old; mkdir d; i=0; while [ $i -lt 50 ]; do echo $i >d/$i; i=$((i + 1)); done; sleep 4; echo up; "
        "while :; do echo more >>d/more; done",
    ).start()  # fmt: skip
    machine.read(b"up\n")
    signal.pidfd_send_signal(machine.hypervisor, signal.SIGKILL)
    machine.gone()
    assert machine.tidy() == []
    assert not (place / "old").exists()
    assert [(place / "d" / str(i)).read_text() for i in range(50)] == [f"{i}\n" for i in range(50)]


@needs_mke2fs
def test_a_workspace_that_cannot_take_its_changes_back_is_kept(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (place / "file").write_text("file\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    image, listed = scratch / "workspace.ext4", scratch / "workspace.list"
    _put_in(place, image, listed)
    shutil.rmtree(place)
    plan = {"name": "agent", "workspace": str(place), "scratch": str(scratch)}
    *_, last = microvm.tidy(plan, {})
    (kept,) = (tmp_path / "state" / "offswitch" / "kept").iterdir()
    assert str(kept) in last
    assert microvm_workspace.list_of(str(kept))[b""].keys() == {b"file"}
    assert os.listdir(scratch) == []
    assert microvm.tidy(plan, {}) == []


def _put_in(place: Path, image: Path, listed: Path) -> "dict[bytes, dict[bytes, tuple[int, ...]]]":
    size, count = microvm_workspace.measure(str(place))
    command = microvm_workspace.mke2fs(str(place), str(image), size + (8 << 20), count + 100, journal=True)
    subprocess.run(command, check=True, capture_output=True)
    microvm_workspace.give_to(str(image), 1000, microvm_workspace.list_of(str(image)))
    known = microvm_workspace.list_of(str(image))
    microvm_workspace.keep_list(known, [], str(listed))
    return known


def _tree(place: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(place.rglob("*")):
        about = path.lstat()
        what: object = stat.S_IMODE(about.st_mode)
        if path.is_symlink():
            what = os.readlink(path)
        elif path.is_file():
            what = (what, about.st_size, hashlib.sha256(path.read_bytes()).hexdigest(), int(about.st_mtime))
        found[str(path.relative_to(place))] = what
    return found


def _furnish(place: Path) -> None:
    drawn = random.Random(7)
    (place / "many").mkdir()
    for number in range(700):
        (place / "many" / f"{'n' * 100}{number}").write_bytes(drawn.randbytes(drawn.randrange(200)))
    (place / "large").write_bytes(drawn.randbytes(9_000_001))
    with open(place / "sparse", "wb") as file:
        for hole in range(40):
            file.seek(hole * 1_000_000)
            file.write(b"x" * 5000)
    (place / "short").symlink_to("large")
    (place / "long").symlink_to("d/" * 100 + "large")
    (place / "empty").write_bytes(b"")
    deep = place
    for number in range(30):
        deep = deep / str(number)
        deep.mkdir(mode=0o750)
    (deep / "leaf").write_text("leaf\n")


@needs_mke2fs
def test_everything_that_was_put_in_can_be_read_again(tmp_path: Path, place: Path) -> None:
    _furnish(place)
    before = _tree(place)
    image, listed = tmp_path / "image", tmp_path / "list"
    _put_in(place, image, listed)
    # As if the agent had made all of it, for a host that has none of it.
    microvm_workspace.keep_list({}, [], str(listed))
    other = tmp_path / "other"
    other.mkdir()
    assert microvm_workspace.bring_back(str(image), str(listed), str(other), 60) == ([], False)
    assert _tree(other) == before
    check = shutil.which("e2fsck", path="/usr/sbin:/sbin:/usr/bin")
    if check:
        subprocess.run([check, "-fn", image], check=True, capture_output=True)


@needs_mke2fs
def test_no_image_however_broken_reaches_out_of_the_workspace(tmp_path: Path, place: Path) -> None:
    _furnish(place)
    shutil.rmtree(place / "many")
    (place / "large").write_bytes(b"x" * 10_000)
    (place / "out").symlink_to(tmp_path / "outside")
    image, listed = tmp_path / "image", tmp_path / "list"
    _put_in(place, image, listed)
    microvm_workspace.keep_list({}, [], str(listed))
    outside = tmp_path / "outside"
    outside.mkdir()
    good = image.read_bytes()
    used = [at for at in range(0, len(good), 4096) if any(good[at : at + 4096])]
    drawn = random.Random(11)
    for _ in range(60):
        with open(image, "r+b") as file:
            file.write(good)
            for _ in range(drawn.choice((1, 5, 40))):
                file.seek(drawn.choice(used[:40]) + drawn.randrange(4096))
                file.write(drawn.randbytes(drawn.choice((1, 4))))
        other = tmp_path / "other"
        other.mkdir()
        microvm_workspace.bring_back(str(image), str(listed), str(other), 5)
        assert list(outside.iterdir()) == []
        assert {path.name for path in tmp_path.iterdir()} == {
            "workspace",
            "image",
            "list",
            "outside",
            "other",
        }
        subprocess.run(["rm", "-rf", other], check=True)


def _entry(image: Path, old: bytes, new: bytes) -> None:
    """Give a file in an image another name of the same length."""
    content = image.read_bytes()
    assert content.count(old) == 1
    image.write_bytes(content.replace(old, new))


@needs_mke2fs
@pytest.mark.parametrize("name", [b"../escaped!", b"/tmp/escape", b"name\x00hidden", b"escape-link"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, place: Path, name: bytes) -> None:
    (place / "escape-link").symlink_to(tmp_path)
    (place / "escape-name").mkdir()
    (place / "escape-name" / "escaped!").write_text("out\n")
    image, listed = tmp_path / "image", tmp_path / "list"
    _put_in(place, image, listed)
    microvm_workspace.keep_list({}, [], str(listed))
    _entry(image, b"escape-name", name)
    other = tmp_path / "other"
    other.mkdir()
    assert microvm_workspace.bring_back(str(image), str(listed), str(other), 5)[1]
    assert {path.name for path in tmp_path.iterdir()} == {"workspace", "image", "list", "other"}
    assert not os.path.lexists("/tmp/escape")


@needs_mke2fs
def test_a_directory_that_leads_in_circles_ends(tmp_path: Path, place: Path) -> None:
    (place / "first" / "second").mkdir(parents=True)
    image, listed = tmp_path / "image", tmp_path / "list"
    known = _put_in(place, image, listed)
    microvm_workspace.keep_list({}, [], str(listed))
    top = known[b""][b"first"][0]
    inner = known[b"/first"][b"second"][0]
    entry = struct.pack("<I", inner) + image.read_bytes().partition(b"second")[0][-4:] + b"second"
    _entry(image, entry, struct.pack("<I", top) + entry[4:])
    other = tmp_path / "other"
    other.mkdir()
    (line,), lost = microvm_workspace.bring_back(str(image), str(listed), str(other), 5)
    assert lost
    assert "circles" in line


@needs_mke2fs
def test_what_git_on_the_host_obeys_does_not_come_back_changed(tmp_path: Path, place: Path) -> None:
    (place / ".git" / "hooks").mkdir(parents=True)
    (place / ".git" / "config").write_text("[core]\n")
    image, listed = tmp_path / "image", tmp_path / "list"
    _put_in(place, image, listed)
    # A guest whose kernel the agent has taken over has changed both, and something beside them.
    (place / ".git" / "hooks" / "pre-commit").write_text("evil\n")
    (place / ".git" / "config").write_text("[core]\nhooksPath = /tmp\n")
    (place / ".git" / "index").write_text("index\n")
    changed = tmp_path / "changed"
    _put_in(place, changed, tmp_path / "unused")
    shutil.rmtree(place / ".git")
    (place / ".git" / "hooks").mkdir(parents=True)
    (place / ".git" / "config").write_text("[core]\n")
    parts = [(".git", True), (".git/config", False), (".git/hooks", False)]
    microvm_workspace.keep_list(microvm_workspace.list_of(str(image)), parts, str(listed))
    said, _ = microvm_workspace.bring_back(str(changed), str(listed), str(place), 5)
    assert any(".git/config" in line for line in said)
    assert os.listdir(place / ".git" / "hooks") == []
    assert (place / ".git" / "config").read_text() == "[core]\n"
    assert (place / ".git" / "index").read_text() == "index\n"


@needs_mke2fs
def test_a_return_that_takes_too_long_ends_and_says_so(tmp_path: Path, place: Path) -> None:
    (place / "file").write_text("file\n")
    image, listed = tmp_path / "image", tmp_path / "list"
    _put_in(place, image, listed)
    (line,), lost = microvm_workspace.bring_back(str(image), str(listed), str(place), -1)
    assert lost
    assert "could be brought back" in line
    assert (place / "file").exists()


@as_root
@needs_mke2fs
def test_in_the_image_all_belongs_to_the_guests_user(tmp_path: Path, place: Path) -> None:
    (place / "file").write_text("file\n")
    os.chown(place / "file", 2_000_000_001, 2_000_000_002)
    image, listed = tmp_path / "image", tmp_path / "list"
    known = _put_in(place, image, listed)
    with open(image, "rb") as file:
        about = microvm_ext4.Image(file.fileno())
        for number in (microvm_ext4.ROOT, known[b""][b"file"][0]):
            block, offset = about.place_of_inode(number)
            raw = about.read_block(block)[offset:]
            owners = struct.unpack_from("<HH", raw, 2)[0], struct.unpack_from("<H", raw, 24)[0]
            assert (*owners, *struct.unpack_from("<HH", raw, 120)) == (1000, 1000, 0, 0)


# Refusals


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"memory": 64 << 20}, "128 MiB"),
        ({"options": {"kernel": "/etc/passwd"}}, "vmlinux"),
        ({"options": {"root": "/"}}, "root file system"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(make: Maker, change: dict[str, Any], word: str) -> None:
    verb, why = make("true", **change).hear()
    assert verb == "failed"
    assert word in why
    assert "\n" not in why


def test_without_a_kernel_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    why = microvm.missing({})
    assert why is not None
    assert "\n" not in why
    if microvm_qemu.program() and microvm_workspace.program():
        assert microvm_image.PREPARE in why or "busybox-static" in why


# Small parts


def test_a_flow_ends_at_its_mark_and_not_before() -> None:
    mark = b"\x1e0123456789"
    for sent, shown in (
        ([b"abc", b"def" + mark], b"abcdef"),
        ([b"abc\x1e012", b"3456789"], b"abc"),
        ([b"abc\x1e01", b"x\x1e", b"0123456789"], b"abc\x1e01x"),
        ([b"abc\x1e01234"], b"abc\x1e01234"),
    ):
        source, feed = os.pipe()
        show, target = os.pipe()
        flow = Flow(source, target, mark=mark)
        for part in sent:
            os.write(feed, part)
            flow.move({source: select.POLLIN, target: select.POLLOUT})
            flow.move({target: select.POLLOUT})
        if not flow.done:
            os.close(feed)
            feed = -1
            flow.move({source: select.POLLHUP})
            flow.move({target: select.POLLOUT})
        assert flow.done
        assert os.read(show, 100) == shown
        assert os.read(show, 100) == b""
        for file in (source, show, *([feed] if feed >= 0 else [])):
            os.close(file)


def test_of_telnet_nothing_is_seen() -> None:
    said = b"\xff\xfd\x01\xff\xfd\x1f\xff\xfb\x01a\xff\xffb\xff\xf1c"
    for cut in range(len(said)):
        speech = Telnet()
        assert speech.decode(said[:cut]) + speech.decode(said[cut:]) == b"a\xffbc"
    assert Telnet().encode(b"a\r\xff") == b"a\r\0\xff\xff"
    assert Telnet.window(24, 255) == b"\xff\xfa\x1f\0\xff\xff\0\x18\xff\xf0"


def test_a_kernel_is_found_in_its_compressed_image() -> None:
    import bz2
    import gzip
    import lzma

    kernel = b"\x7fELF" + b"kernel" * 1000
    # LZ4: four letters as they are, then a match of 4 bytes back, as long as the rest, then the last letters.
    block = bytes([0xAF]) + kernel[:10] + b"\x06\x00"
    length = len(kernel) - 10 - 5 - 19
    block += b"\xff" * (length // 255) + bytes([length % 255]) + bytes([0x50]) + kernel[-5:]
    lz4 = b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block + struct.pack("<I", len(kernel))
    for payload in (lz4, gzip.compress(kernel), bz2.compress(kernel), lzma.compress(kernel)):
        image = bytearray(1024)
        image[0x1F1] = 1
        image[0x202:0x206] = b"HdrS"
        struct.pack_into("<II", image, 0x248, 16, len(payload))
        assert microvm_image.uncompressed(bytes(image) + b"\0" * 16 + payload + b"after") == kernel
    with pytest.raises(microvm_image.Unprepared):
        microvm_image.uncompressed(b"text")


def test_the_first_root_is_an_archive_that_others_can_read(tmp_path: Path) -> None:
    cpio = shutil.which("cpio") or shutil.which("busybox")
    if cpio is None:
        pytest.skip("there is no cpio")
    content = microvm_image.archive(
        [("a", 0o040755, b""), ("a/b", 0o100644, b"hello"), ("c", 0o100755, b"x" * 5001)]
    )
    command = [cpio, "-i", "-d"] if cpio.endswith("cpio") else [cpio, "cpio", "-i", "-d"]
    subprocess.run(command, input=content, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "a" / "b").read_bytes() == b"hello"
    assert (tmp_path / "c").stat().st_size == 5001


def test_the_processors_clock_is_measured() -> None:
    if not microvm_qemu.is_supported():
        pytest.skip("x86_64 only")
    rates = [microvm_qemu.clock_of_processor() for _ in range(3)]
    assert max(rates) / min(rates) < 1.05
    assert rates[0] > 100_000

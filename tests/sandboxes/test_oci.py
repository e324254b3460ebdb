"""The cell of an agent in a container, driven as a supervisor drives it."""

import errno
import fcntl
import itertools
import os
import select
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fresh_cell
import pytest
from test_ordinary_user import reachable

from offswitch.sandboxes import seccomp, wire
from offswitch.sandboxes.cells import oci, oci_engine, oci_users, oci_view
from offswitch.sandboxes.cgroups import Cgroups, Group
from offswitch.sandboxes.errors import SandboxUnavailable

BUSYBOX = "/bin/busybox"
IMAGE = "localhost/offswitch-test"


def _lacking() -> str | None:
    if os.geteuid() != 0 and f"\n{os.geteuid()}:" not in "\n" + Path("/etc/subuid").read_text():
        return "this user has no users to give to a container (/etc/subuid)"
    for program in ("podman", "runc", "conmon"):
        if oci_engine.runtime_program(program) is None:
            return f"{program} is not installed"
    if not Path(BUSYBOX).exists():
        return "busybox-static is not installed, of which the image is made"
    return None


pytestmark = [pytest.mark.skipif(_lacking() is not None, reason=_lacking() or "")]

RUNTIMES = [
    pytest.param("runc"),
    pytest.param(
        "crun", marks=pytest.mark.skipif(shutil.which("crun") is None, reason="crun is not installed")
    ),
]
GVISOR = pytest.param(
    "runsc",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(shutil.which("runsc") is None, reason="runsc is not installed"),
    ],
)
ALL = [*RUNTIMES, GVISOR]


def _podman(*arguments: str, **more: Any) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, timeout=60, check=False, **more)
    assert done.returncode == 0, done.stderr.decode()
    return str(done.stdout.decode())


@pytest.fixture(scope="module")
def store() -> Iterator[Path]:
    """A podman store of its own with one image, of busybox."""
    # Not below pytest's own directory, which no user of a container could pass through.
    place = Path(tempfile.mkdtemp(prefix="oci-"))
    place.chmod(0o711)
    (place / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{place}/graph"\nrunroot = "{place}/run"\n'
    )
    (place / "containers.conf").write_text(f'[engine]\ntmp_dir = "{place}/libpod"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(place / "storage.conf"))
        patch.setenv("CONTAINERS_CONF", str(place / "containers.conf"))
        root = place / "root"
        for name in ("bin", "etc", "tmp", "workspace", "usr/bin", "data"):
            (root / name).mkdir(parents=True)
        shutil.copy(BUSYBOX, root / "bin/busybox")
        for name in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
            if name != "busybox":
                (root / "bin" / name).symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
        (root / "bin/unrunnable").write_text("")
        archive = subprocess.run(
            ["tar", "-C", root, "--owner=0", "--group=0", "-c", "."], capture_output=True, check=True
        ).stdout
        try:
            _podman(
                "import",
                "--change",
                "VOLUME /data",
                "--change",
                'ENTRYPOINT ["/bin/false"]',
                "-",
                IMAGE,
                input=archive,
            )
            yield place
            assert _podman("ps", "--all", "--quiet") == ""
            assert _podman("volume", "ls", "--quiet") == ""
            assert str(place) not in Path("/proc/self/mountinfo").read_text()
        finally:
            with suppress(AssertionError):
                _podman("rm", "--force", "--all")
            if os.geteuid() == 0:
                shutil.rmtree(place)
            else:
                # What only the user's namespace can remove, then the process that podman keeps for that namespace.
                _podman("unshare", "rm", "-rf", str(place / "graph"), str(place / "run"))
                _podman("system", "migrate")
                shutil.rmtree(place)


class Driven:
    """One cell, and what a supervisor has of it."""

    def __init__(
        self, place: Path, group: Group | None, runtime: str | None, *, fresh: bool = False, **changes: Any
    ) -> None:
        self.group = group
        self.workspace = place / "workspace"
        self.workspace.mkdir(exist_ok=True)
        scratch = place / "scratch"
        scratch.mkdir(mode=0o700, exist_ok=True)
        options = {"image": IMAGE, **({"runtime": runtime} if runtime else {})}
        self.plan: dict[str, Any] = {
            "name": "agent", "argv": ["/bin/true"], "environment": {}, "workspace": str(self.workspace), "read": [],
            "memory": 256 << 20, "pids": 100, "terminal": False, "home": "/tmp/home", "scratch": str(scratch),
            "proxy": None, "options": options, "bounds": dict.fromkeys(("memory", "pids"), "cgroup") if group else {},
            **changes,
        }  # fmt: skip
        if group is not None:
            group.bound(*oci.bounds_for(self.plan))
        self.files: dict[str, int] = {}
        self.facts: dict[str, Any] = {}
        self.init = -1
        self.output = self.errors = b""
        if self.plan["terminal"]:
            self.outer, inner = os.openpty()
            theirs = (inner, inner, inner)
            self._outputs = {self.outer: "output"}
        else:
            reading, self.outer = os.pipe2(os.O_CLOEXEC)
            out, writing = os.pipe2(os.O_CLOEXEC)
            err, complaining = os.pipe2(os.O_CLOEXEC)
            theirs = (reading, writing, complaining)
            self._outputs = {out: "output", err: "errors"}
        self.line, there = wire.pair()
        supervisor = os.getpid()
        # A fork has what a test changed; see ``fresh_cell`` for what it has besides.
        self.pid = fresh_cell.spawn("oci", there, self.plan, group, theirs) if fresh else os.fork()
        if self.pid == 0:
            try:
                self.line.close()
                for file in {self.outer, *self._outputs}:
                    os.close(file)
                oci.live(there, self.plan, group, theirs, supervisor)
            finally:
                os._exit(0)
        there.close()
        for file in set(theirs):
            os.close(file)
        self._reaped = False

    def hear(self, seconds: float = 60) -> tuple[Any, ...]:
        """The next message; output is read meanwhile."""
        end = time.monotonic() + seconds
        while True:
            poll = select.poll()
            for file in (self.line.fileno(), *self._outputs):
                poll.register(file, select.POLLIN)
            ready = [file for file, _ in poll.poll(max(0, end - time.monotonic()) * 1000)]
            assert ready, f"nothing was heard within {seconds} s; output {self.output!r} {self.errors!r}"
            if self.read(ready):
                continue
            message = wire.receive(self.line)
            if message is None:
                return ("closed",)
            (word, *values), files = message
            if word == "ready":
                self.facts = values[0]
                self.init = files[0]
                self.files = dict(zip(self.facts["files"], files[1:], strict=True))
            return (word, *values)

    def read(self, ready: list[int]) -> bool:
        """Read what output there is; whether there was."""
        some = False
        for file in [file for file in ready if file in self._outputs]:
            some = True
            try:
                data = os.read(file, 65536)
            except OSError:
                data = b""
            name = self._outputs[file]
            setattr(self, name, getattr(self, name) + data)
            if not data:
                del self._outputs[file]
        return some

    def until(self, text: bytes, seconds: float = 30) -> None:
        """Read until the output has ``text``."""
        end = time.monotonic() + seconds
        while text not in self.output:
            poll = select.poll()
            for file in self._outputs:
                poll.register(file, select.POLLIN)
            left = end - time.monotonic()
            assert left > 0, f"{text!r} did not come"
            assert self._outputs, f"{text!r} did not come; output {self.output!r} {self.errors!r}"
            self.read([file for file, _ in poll.poll(left * 1000)])

    def start(self) -> int:
        """Walk through ready and go; returns the pid that was told."""
        message = self.hear()
        assert message[0] == "ready", message
        wire.send(self.line, ("go",))
        word, pid = self.hear()[:2]
        assert word == "started"
        return int(pid)

    def run(self) -> int:
        """Walk through all of it; returns the exit code."""
        self.start()
        word, code = self.hear()
        assert word == "exit"
        self.drain()
        return int(code)

    def drain(self) -> None:
        """Read the output to its end."""
        while self._outputs:
            poll = select.poll()
            for file in self._outputs:
                poll.register(file, select.POLLIN)
            ready = [file for file, _ in poll.poll(5000)]
            assert ready, "the output has no end"
            self.read(ready)

    def dead(self, seconds: float = 10) -> float:
        """Wait until nothing of it runs; returns after how many seconds."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            ended = self.init < 0 or select.select([self.init], [], [], 0)[0]
            if ended and not (self.group is not None and _populated(self.group)):
                return time.monotonic() - began
            time.sleep(0.001)
        raise AssertionError("something of the sandbox outlived it")

    def close(self) -> list[str]:
        """End it as a supervisor would, tidy, and see that nothing is left."""
        self.line.close()
        if self.group is not None:
            self.group.kill()
        if self.init >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self.init, signal.SIGKILL)
        if not self._reaped:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.dead()
        left = oci.tidy(self.plan, self.facts)
        for file in {self.init, self.outer, *self.files.values(), *self._outputs} - {-1}:
            with suppress(OSError):
                os.close(file)
        if self.group is not None:
            end = time.monotonic() + 5
            while not self.group.remove():
                assert time.monotonic() < end, "the control group cannot be removed"
                time.sleep(0.01)
        return left

    def reap(self) -> None:
        """Kill the cell alone."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._reaped = True


def _populated(group: Group) -> bool:
    for directory in group.directories:
        events = Path(directory, "cgroup.events")
        if events.exists():
            return "populated 1" in events.read_text()
        if Path(directory, "cgroup.procs").read_text():
            return True
    return False


Make = Callable[..., Driven]


@pytest.fixture
def make(store: Path, tmp_path: Path) -> Iterator[Make]:
    """Make cells; each is ended, tidied and looked for afterwards."""
    cgroups = Cgroups()
    made: list[Driven] = []
    numbers = itertools.count()

    def one(runtime: str | None = "runc", *, grouped: bool = True, **changes: Any) -> Driven:
        place = tmp_path / str(next(numbers))
        place.mkdir()
        driven = Driven(place, cgroups.open() if grouped else None, runtime, **changes)
        made.append(driven)
        return driven

    try:
        yield one
    finally:
        problems = [driven.close() for driven in made]
        cgroups.close()
        assert problems == [[] for _ in made]
    assert _podman("ps", "--all", "--quiet") == ""


def _shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


@pytest.mark.parametrize("runtime", ALL)
def test_streams_and_exit_code_are_those_of_the_program(make: Make, runtime: str) -> None:
    driven = make(runtime, argv=_shell("cat; echo error >&2; exit 7"))
    os.write(driven.outer, b"given\n" * 1000)
    os.close(driven.outer)
    driven.outer = -1
    assert driven.run() == 7
    assert driven.output == b"given\n" * 1000
    assert driven.errors == b"error\n"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ALL)
@pytest.mark.parametrize("code", [0, 125, 126, 127])
def test_codes_of_the_engine_are_told_from_the_programs(make: Make, runtime: str, code: int) -> None:
    assert make(runtime, argv=_shell(f"exit {code}")).run() == code


@pytest.mark.parametrize("runtime", ALL)
def test_nothing_of_the_agent_runs_before_go(make: Make, runtime: str) -> None:
    driven = make(runtime, argv=_shell("touch ran"))
    assert driven.hear()[0] == "ready"
    time.sleep(0.5)
    assert list(driven.workspace.iterdir()) == []
    wire.send(driven.line, ("go",))
    assert driven.hear()[0] == "started"
    assert driven.hear() == ("exit", 0)
    assert [one.name for one in driven.workspace.iterdir()] == ["ran"]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ALL)
def test_a_supervisor_that_is_gone_before_go_ends_it(make: Make, runtime: str) -> None:
    driven = make(runtime, argv=_shell("touch ran"))
    assert driven.hear()[0] == "ready"
    driven.line.close()
    assert select.select([driven.init], [], [], 10)[0]
    assert list(driven.workspace.iterdir()) == []


@pytest.mark.parametrize("runtime", ALL)
def test_all_of_it_is_in_the_control_group(make: Make, runtime: str) -> None:
    driven = make(runtime, argv=["/bin/sleep", "100"])
    pid = driven.start()
    assert driven.group is not None
    inside: set[int] = set()
    for directory in driven.group.directories:
        found = {
            int(one) for path in Path(directory).rglob("cgroup.procs") for one in path.read_text().split()
        }
        inside = inside & found if inside else found
    names = {Path(f"/proc/{one}/comm").read_text().strip() for one in inside}
    assert {"podman", "conmon"} <= names
    assert driven.pid in inside
    assert (pid in inside) if runtime != "runsc" else (pid == 0 and "exe" in names)


STUBBORN = """
trap '' TERM HUP INT
(setsid sleep 200 &) ; (setsid sh -c 'trap "" TERM; sleep 200; sleep 200' &)
sleep 200 & kill -STOP $!
n=0; while [ $n -lt 60 ]; do sleep 200 & n=$((n+1)); done
echo up; wait; sleep 200
"""


@pytest.mark.parametrize("runtime", ALL)
def test_the_groups_kill_leaves_nothing(make: Make, runtime: str) -> None:
    driven = make(runtime, argv=_shell(STUBBORN))
    driven.start()
    driven.until(b"up")
    assert driven.group is not None
    began = time.monotonic()
    driven.group.kill()
    driven.dead()
    assert time.monotonic() - began < 5
    assert _holders(driven) == []


STORM = "f() { while :; do f & done; }; echo up; f 2>/dev/null"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ALL)
def test_a_fork_storm_is_bounded_and_dies(make: Make, runtime: str) -> None:
    driven = make(runtime, argv=_shell(STORM), pids=40)
    driven.start()
    driven.until(b"up")
    time.sleep(0.5)
    assert driven.group is not None
    driven.group.kill()
    driven.dead()
    assert _holders(driven) == []


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_end_of_the_containers_init_ends_all_of_it(make: Make, runtime: str) -> None:
    driven = make(runtime, argv=_shell(STUBBORN), grouped=False)
    driven.start()
    driven.until(b"up")
    signal.pidfd_send_signal(driven.init, signal.SIGKILL)
    driven.dead()
    assert driven.hear() == ("exit", 137)
    assert _holders(driven) == []


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("going", [False, True])
def test_without_a_group_the_container_ends_with_its_cell(make: Make, runtime: str, going: bool) -> None:
    driven = make(runtime, argv=_shell(STUBBORN), grouped=False)
    if going:
        driven.start()
        driven.until(b"up")
    else:
        driven.hear()
    driven.reap()
    driven.dead()
    assert _holders(driven) == []


def _holders(driven: Driven, seconds: float = 5) -> list[int]:
    """Processes in the sandbox's namespaces, after some time to be reaped."""
    wanted = {
        (os.fstat(file).st_dev, os.fstat(file).st_ino)
        for name, file in driven.files.items()
        if name != "listener"
    }
    assert wanted
    end = time.monotonic() + seconds
    while True:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            for name in driven.files:
                with suppress(OSError):
                    about = os.stat(f"/proc/{pid}/ns/{name}")
                    if (about.st_dev, about.st_ino) in wanted:
                        found.append(int(pid))
                        break
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.01)


@pytest.mark.parametrize("runtime", ALL)
def test_the_program_gets_the_signals_that_it_is_sent(make: Make, runtime: str) -> None:
    driven = make(runtime, argv=_shell("trap 'echo told; exit 3' TERM; echo up; while :; do sleep 0.1; done"))
    driven.start()
    driven.until(b"up")
    wire.send(driven.line, ("signal", int(signal.SIGTERM)))
    assert driven.hear() == ("exit", 3)
    assert b"told" in driven.output


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_program_that_is_killed_is_told_by_its_signal(make: Make, runtime: str) -> None:
    assert make(runtime, argv=_shell("kill -9 $$")).run() == 137


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(("name", "code"), [("absent", 127), ("/bin/unrunnable", 126), ("/bin", 126)])
def test_a_program_that_is_not_there_is_said_after_go(make: Make, runtime: str, name: str, code: int) -> None:
    driven = make(runtime, argv=[name])
    assert driven.hear()[0] == "ready"
    wire.send(driven.line, ("go",))
    word, told, why = driven.hear()
    assert (word, told) == ("not started", code)
    assert name in why


@pytest.mark.parametrize("runtime", ALL)
def test_only_the_workspace_and_tmp_can_be_written(make: Make, runtime: str) -> None:
    places = "/ /bin /etc /usr /data /dev /proc /sys /run /var /tmp /tmp/home /workspace"
    script = f'for p in {places}; do if (: >$p/new) 2>/dev/null; then echo "$p"; fi; done; echo $HOME; stat -c %a /tmp'
    driven = make(runtime, argv=_shell(script))
    assert driven.run() == 0
    assert driven.output.split() == [b"/tmp", b"/tmp/home", b"/workspace", b"/tmp/home", b"1777"], (
        driven.errors
    )


@pytest.mark.parametrize("runtime", ALL)
def test_there_is_no_network_but_a_loopback(make: Make, runtime: str) -> None:
    driven = make(
        runtime,
        argv=_shell("ls /sys/class/net 2>/dev/null; ip -o link | cut -d: -f2; ping -c1 -W1 192.0.2.1"),
    )
    assert driven.run() != 0
    assert set(driven.output.split()) <= {b"lo", b"PING", *driven.output.partition(b"PING")[2].split()}


@pytest.mark.parametrize("runtime", ALL)
def test_no_user_inside_is_a_user_of_the_host(make: Make, runtime: str) -> None:
    driven = make(
        runtime, argv=_shell("id -u; id -g; id -G; cat /proc/self/status | grep -E 'Cap|NoNew'; sleep 100")
    )
    pid = driven.start()
    driven.until(b"CapBnd")
    assert driven.output.split()[:3] == [b"1000"] * 3
    if pid:
        status = Path(f"/proc/{pid}/status").read_text()
        uids = next(line for line in status.splitlines() if line.startswith("Uid")).split()[1:]
        assert all(int(uid) >= 2_000_000_000 for uid in uids)
        assert "CapBnd:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
        maps = Path(f"/proc/{pid}/uid_map").read_text().split()
        assert int(maps[1]) >= 2_000_000_000
        assert "Seccomp:\t2" in status


@pytest.mark.parametrize("runtime", ALL)
def test_ownership_in_the_workspace_never_changes(make: Make, runtime: str, tmp_path: Path) -> None:
    workspace = tmp_path / "0" / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "old").write_text("old")
    (workspace / "folder").mkdir()
    for path in (workspace, *workspace.iterdir()):
        os.chown(path, 12345, 23456)
    workspace.chmod(0o700)
    script = (
        "stat -c %u:%g . old; echo more >>old; echo x >new; mkdir folder/made; rm -rf folder; mkdir folder"
    )
    (tmp_path / "0").rename(tmp_path / "place")
    driven = make(runtime, argv=_shell(script), workspace=str(tmp_path / "place" / "workspace"))
    assert driven.run() == 0, driven.errors
    assert driven.output.split() == [b"1000:1000"] * 2
    place = tmp_path / "place" / "workspace"
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in [place, *place.iterdir()]}
    assert owners == dict.fromkeys(("workspace", "old", "new", "folder"), (12345, 23456))
    assert (place / "old").read_text() == "oldmore\n"


@pytest.mark.parametrize("runtime", ALL)
def test_what_git_obeys_in_the_workspace_cannot_be_changed(make: Make, runtime: str, tmp_path: Path) -> None:
    workspace = tmp_path / "repository"
    (workspace / ".git/hooks").mkdir(parents=True)
    (workspace / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (workspace / ".git/config").write_text("[core]\n")
    script = "echo x >.git/hooks/pre-commit; echo x >>.git/config; mv .git moved; echo y >.git/index; ls .git/hooks"
    driven = make(runtime, argv=_shell(script), workspace=str(workspace))
    driven.run()
    assert list((workspace / ".git/hooks").iterdir()) == []
    assert (workspace / ".git/config").read_text() == "[core]\n"
    assert (workspace / ".git/index").read_text() == "y\n"


# Prints what came of each attempt: 0, or the number of the error.
ATTEMPTS = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define TRY(name, what) errno = 0; printf(name " %d\\n", (what) < 0 ? errno : 0)
int main(void) {
    umask(0);
    close(open("chmod", O_CREAT | O_WRONLY, 0755));
    TRY("chmod", chmod("chmod", 04755));
    close(open("group", O_CREAT | O_WRONLY, 0755));
    TRY("group", chmod("group", 02755));
    TRY("open", open("open", O_CREAT | O_WRONLY, 06755));
    TRY("mknod", mknod("mknod", S_IFREG | 04755, 0));
    close(open("later", O_CREAT | O_WRONLY, 0755));
    TRY("later", syscall(452, AT_FDCWD, "later", 04755, 0));
    TRY("unshare", unshare(CLONE_NEWUSER));
    TRY("keyctl", syscall(SYS_keyctl, 0, -3, 1));
}
"""


def _attempts(make: Make, runtime: str) -> tuple[dict[str, int], set[str]]:
    """Answers to the attempts, and the names of the files that have a set-id bit on the disk."""
    driven = make(runtime, argv=["./try"])
    (driven.workspace / "try.c").write_text(ATTEMPTS)
    subprocess.run(["gcc", "-static", "-o", driven.workspace / "try", driven.workspace / "try.c"], check=True)
    assert driven.run() == 0, driven.errors
    answers = {
        name: int(answer) for name, answer in (one.split() for one in driven.output.decode().splitlines())
    }
    return answers, {one.name for one in driven.workspace.iterdir() if one.stat().st_mode & 0o6000}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("runtime", ALL)
def test_no_file_gets_a_set_id_bit_and_no_namespace_or_keyring_is_had(make: Make, runtime: str) -> None:
    answers, bearing = _attempts(make, runtime)
    assert bearing == set()
    names = {"chmod", "group", "open", "mknod", "later", "unshare", "keyctl"}
    assert {name: answer in (errno.EPERM, errno.ENOSYS) for name, answer in answers.items()} == dict.fromkeys(
        names, True
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("runtime", ALL)
def test_without_the_profile_a_set_id_bit_reaches_the_disk(
    make: Make, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp, "profile", lambda: {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []})
    answers, bearing = _attempts(make, runtime)
    # gVisor itself keeps them from files as they are made.
    assert {"chmod", "group", *(["open", "mknod"] if runtime != "runsc" else [])} <= bearing
    assert answers["chmod"] == answers["unshare"] == 0


@pytest.mark.parametrize("runtime", ALL)
def test_ordinary_work_goes_on_under_the_profile(make: Make, runtime: str) -> None:
    script = (
        "set -e; umask 022; echo x >f; chmod 755 f; chmod 1777 .; mkdir d; mv f d/f; ln -s f d/l; cp -a d e;"
        " tar -cf t d; rm -r d; tar -xpf t; ls -l d >/dev/null; (sleep 0 & wait); seq 3 | sort -r | head -1;"
        " printf y | dd of=e/f 2>/dev/null; mkfifo p; stat -c %a d/f; id -u; nc -l -p 7777 & sleep 0.2; kill $!"
    )
    driven = make(runtime, argv=_shell(script))
    assert driven.run() == 0, driven.errors
    assert driven.output.split() == [b"3", b"755", b"1000"]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ALL)
def test_further_paths_are_seen_read_only(make: Make, runtime: str, tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(prefix="oci, read="))
    try:
        place.chmod(0o755)
        (place / "file").write_text("seen")
        (place / "file").chmod(0o666)
        driven = make(
            runtime, argv=[*_shell('cat "$0/file"; echo x >"$0/file"'), str(place)], read=[str(place)]
        )
        assert driven.run() != 0
        assert driven.output == b"seen"
        assert (place / "file").read_text() == "seen"
    finally:
        shutil.rmtree(place)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ALL)
def test_the_variables_are_those_of_the_plan(
    make: Make, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTS_SECRET", "no")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    given = {"ONE": "a b\n'\"=c\\", "EMPTY": "", "LD_X": "x", "STAR*": "y", "PATH": "/bin", "GOOGLE_KEY": "ü"}
    driven = make(runtime, argv=["/bin/env", "-0"], environment=given)
    assert driven.run() == 0
    seen = dict(one.split("=", 1) for one in driven.output.decode().split("\0") if one)
    assert {name: seen.get(name) for name in given} == given
    assert seen["HOME"] == "/tmp/home"
    assert set(seen) - set(given) <= {"HOME", "USER", "LOGNAME", "HOSTNAME", "TERM", "container", "SHLVL"}


@pytest.mark.slow
def test_no_secret_stands_on_a_command_line(make: Make) -> None:
    driven = make(argv=["/bin/sleep", "100"], environment={"KEY": "s3cret-value"})
    found = b""
    while not select.select([driven.line], [], [], 0.01)[0]:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                found += Path(f"/proc/{pid}/cmdline").read_bytes()
    assert driven.hear()[0] == "ready"
    assert b"offswitch.agent=agent" in found
    assert b"s3cret-value" not in found


@pytest.mark.parametrize("runtime", ALL)
def test_a_terminal_is_passed_through(make: Make, runtime: str) -> None:
    script = "[ -t 0 ] && [ -t 2 ] && echo tty; stty size; trap 'stty size' WINCH; echo up;"
    script += 'until [ -n "$line" ]; do read line; done; echo got $line; exit 5'
    driven = make(runtime, argv=_shell(script), terminal=True)
    fcntl.ioctl(driven.outer, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    driven.start()
    driven.until(b"up")
    assert driven.output.splitlines()[0] == b"tty"
    assert b"33 77" in driven.output
    fcntl.ioctl(driven.outer, termios.TIOCSWINSZ, struct.pack("4H", 44, 88, 0, 0))
    time.sleep(0.3)
    os.write(driven.outer, b"word\n")
    driven.until(b"got word")
    assert driven.hear() == ("exit", 5)
    assert b"44 88" in driven.output


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ALL)
def test_the_terminals_interrupt_key_reaches_the_program_and_no_key_detaches(
    make: Make, runtime: str
) -> None:
    driven = make(
        runtime,
        argv=_shell("trap 'echo told; exit 4' INT; echo up; while :; do sleep 0.1; done"),
        terminal=True,
    )
    driven.start()
    driven.until(b"up")
    os.write(driven.outer, b"\x10\x11")
    time.sleep(0.3)
    os.write(driven.outer, b"\x03")
    assert driven.hear() == ("exit", 4)
    assert b"told" in driven.output


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_sockets_of_proxy_and_gateway_stand_in_the_containers_network(make: Make, runtime: str) -> None:
    script = "for port in 18080 18081; do printf $port | nc 127.0.0.1 $port; done"
    driven = make(runtime, argv=_shell(script), proxy=18080, gateway=18081)
    driven.start()
    for name, port in (("listener", 18080), ("gateway", 18081)):
        with socket.socket(fileno=os.dup(driven.files[name])) as listener:
            listener.settimeout(20)
            inner, _ = listener.accept()
            with inner:
                assert inner.recv(100) == b"%d" % port
                inner.sendall(name.encode())
    assert driven.hear() == ("exit", 0)
    driven.drain()
    assert driven.output == b"listenergateway"
    with socket.socket() as outer, pytest.raises(ConnectionRefusedError):
        outer.connect(("127.0.0.1", 18080))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("runsc") is None, reason="runsc is not installed")
def test_gvisor_refuses_a_proxy_in_one_line(make: Make) -> None:
    word, why = make("runsc", proxy=18080).hear()
    assert word == "failed"
    assert "runsc" in why
    assert "\n" not in why


def test_a_default_runtime_works_on_this_host_and_is_told(make: Make) -> None:
    driven = make(None)
    assert driven.run() == 0
    assert driven.facts["bounds"]["runtime"].startswith(("crun", "runc"))
    assert driven.facts["bounds"]["engine"] == "podman"


@pytest.mark.slow
def test_namespaces_that_are_handed_over_are_the_agents(make: Make) -> None:
    driven = make(argv=["/bin/sleep", "100"])
    pid = driven.start()
    assert set(driven.files) == {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}
    for name, file in driven.files.items():
        about, theirs = os.fstat(file), os.stat(f"/proc/{pid}/ns/{name}")
        assert (about.st_dev, about.st_ino) == (theirs.st_dev, theirs.st_ino)


@pytest.mark.slow
def test_memory_is_bounded_for_all_together(make: Make) -> None:
    driven = make(
        argv=_shell("dd if=/dev/zero of=/dev/null bs=500M count=1; exit $?"), memory=64 << 20, fresh=True
    )
    assert driven.run() == 137
    assert driven.group is not None
    peaks = [Path(one, "memory.max_usage_in_bytes") for one in driven.group.directories]
    for peak in peaks:
        if peak.exists():
            assert int(peak.read_text()) <= oci.bounds_for(driven.plan)[0]


@pytest.mark.slow
def test_processes_are_bounded_where_there_is_no_group(make: Make) -> None:
    script = "n=0; while [ $n -lt 80 ]; do sleep 100 & n=$((n+1)); done; echo all"
    driven = make(argv=_shell(script), grouped=False, pids=30)
    assert driven.run() != 0
    assert b"all" not in driven.output


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "-rf",
        "$(touch /tmp/x)",
        "new\nline",
        "quote\"'`",
        "ünïcode",
        "../../up",
        "a" * 200,
        "{{.Config}}",
    ],
)
def test_a_hostile_name_is_only_a_label(make: Make, name: str) -> None:
    driven = make(name=name)
    assert driven.hear()[0] == "ready"
    label = _podman("ps", "--all", "--filter", "label=offswitch.agent", "--format", "{{.Labels}} {{.Names}}")
    assert "offswitch-" in label


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["comma, ", 'quote"', "colon:ro", "equals=x", "space ", "$HOME", "ünï", "new\nline"]
)
def test_a_hostile_workspace_is_only_a_path(make: Make, tmp_path: Path, name: str) -> None:
    workspace = tmp_path / name
    workspace.mkdir()
    assert make(argv=["/bin/touch", "here"], workspace=str(workspace)).run() == 0
    assert [one.name for one in workspace.iterdir()] == ["here"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "argument", ["--privileged", "-v", "$(id)", "a b", "", "'", '"', "{{.Id}}", "--", "\n"]
)
def test_a_hostile_argument_is_only_an_argument(make: Make, argument: str) -> None:
    driven = make(argv=["/bin/printf", "<%s>", argument, argument])
    assert driven.run() == 0
    assert driven.output.decode() == f"<{argument}><{argument}>"


def test_tidying_twice_is_tidying_once(make: Make) -> None:
    driven = make(argv=_shell(STUBBORN))
    driven.start()
    driven.until(b"up")
    assert driven.group is not None
    driven.group.kill()
    driven.dead()
    assert Path("/run", Path(driven.plan["scratch"], "container").read_text()).exists()
    began = time.monotonic()
    assert oci.tidy(driven.plan, driven.facts) == []
    assert time.monotonic() - began < 15
    assert _podman("ps", "--all", "--quiet") == ""
    assert oci.tidy(driven.plan, driven.facts) == []
    assert oci.tidy(driven.plan, {}) == []
    assert not Path("/run", Path(driven.plan["scratch"], "container").read_text()).exists()
    assert [path for one in driven.group.directories for path in Path(one).iterdir() if path.is_dir()] == []


@pytest.mark.slow
def test_a_cell_that_is_lost_as_it_comes_up_leaves_what_tidying_finds(make: Make) -> None:
    driven = make()
    time.sleep(0.15)
    driven.reap()
    assert driven.group is not None
    driven.group.kill()
    driven.dead()
    assert oci.tidy(driven.plan, {}) == []
    assert _podman("ps", "--all", "--quiet") == ""


def test_an_image_that_is_not_there_is_said_in_one_line_and_not_fetched(make: Make) -> None:
    driven = make(options={"image": "localhost/absent", "runtime": "runc"})
    word, why = driven.hear()
    assert word == "failed"
    assert "localhost/absent" in why
    assert "\n" not in why
    assert _podman("ps", "--all", "--quiet") == ""
    assert not Path("/run", Path(driven.plan["scratch"], "container").read_text()).exists()


@pytest.mark.skipif(Path("/sys/fs/cgroup/cgroup.controllers").exists(), reason="there is no cgroup v1 here")
def test_a_container_outside_of_the_group_is_never_started(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The control that keeps it inside is removed: runc then sees every hierarchy, and makes groups of its own.
    monkeypatch.setattr(oci_view, "unified", lambda: True)
    driven = make("runc", argv=_shell("touch ran"))
    word, why = driven.hear()
    assert word == "failed"
    assert "control group" in why
    assert driven.group is not None
    session = Path(driven.group.directories[0]).parent.name
    for folder in Path("/sys/fs/cgroup").glob(f"*/{session}"):
        for made in sorted(folder.rglob("*/"), reverse=True):
            if str(made) not in driven.group.directories:
                with suppress(OSError):
                    made.rmdir()
        with suppress(OSError):
            folder.rmdir()


@pytest.mark.slow
def test_two_containers_share_no_user(make: Make) -> None:
    pids = [make(argv=["/bin/sleep", "100"]).start() for _ in range(2)]
    ranges = {Path(f"/proc/{pid}/uid_map").read_text().split()[1] for pid in pids}
    assert len(ranges) == 2


def test_ranges_of_users_are_given_to_one_at_a_time() -> None:
    first, holder = oci_users.claim()
    second, other = oci_users.claim()
    assert abs(first - second) >= oci_users.SIZE
    holder.close()
    again, third = oci_users.claim()
    assert again == first
    other.close()
    third.close()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({}, "image"),
        ({"image": "x", "engine": "lxc"}, "podman or docker"),
        ({"image": "--privileged"}, "image"),
        ({"image": "x", "runtime": "absent"}, "absent"),
        ({"image": "x", "pull": "always"}, "pull"),
        ({"image": 3}, "image"),
    ],
)
def test_what_is_missing_is_said_in_one_line(options: dict[str, Any], word: str) -> None:
    line = oci.missing(options)
    assert line is not None
    assert word in line
    assert "\n" not in line
    assert oci.missing({"image": "x"}) is None


def test_an_engine_that_hangs_is_given_up(tmp_path: Path) -> None:
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\nsleep 300\n")
    program.chmod(0o755)
    engine = oci_engine.Engine("podman", str(program), None, viewing=False)
    with pytest.raises(SandboxUnavailable, match="did not answer within 1 s"):
        engine.call("create", seconds=1)


def test_an_engines_failure_is_told_by_its_last_line(tmp_path: Path) -> None:
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\necho warning >&2; echo Error: the reason >&2; exit 125\n")
    program.chmod(0o755)
    engine = oci_engine.Engine("podman", str(program), None, viewing=False)
    with pytest.raises(SandboxUnavailable, match=r"^podman create: the reason$"):
        engine.call("create")


def _docker(*arguments: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["docker", *arguments], capture_output=True, timeout=60, check=False, **more)


@pytest.fixture
def in_docker(store: Path) -> Iterator[dict[str, str]]:
    """The options for docker, with the image in it."""
    if shutil.which("docker") is None or _docker("info").returncode != 0:
        pytest.skip("there is no docker engine")
    archive = subprocess.run(
        ["tar", "-C", store / "root", "--owner=0", "--group=0", "-c", "."], capture_output=True, check=True
    )
    assert _docker("import", "-", IMAGE, input=archive.stdout).returncode == 0
    try:
        yield {"image": IMAGE, "engine": "docker"}
    finally:
        _docker("rmi", "--force", IMAGE)


@pytest.mark.slow
def test_docker_runs_it_behind_a_gate(make: Make, in_docker: dict[str, str], tmp_path: Path) -> None:
    script = "cat; touch new; echo error >&2; touch $HOME/x /x; exit 7"
    workspace = tmp_path / "owned"
    workspace.mkdir()
    os.chown(workspace, 54321, 54321)
    driven = make(None, options=in_docker, argv=_shell(script), workspace=str(workspace), grouped=False)
    assert driven.hear()[0] == "ready"
    os.write(driven.outer, b"given\n")
    os.close(driven.outer)
    driven.outer = -1
    time.sleep(0.5)
    assert list(workspace.iterdir()) == []
    wire.send(driven.line, ("go",))
    assert driven.hear()[0] == "started"
    assert driven.hear() == ("exit", 7)
    driven.drain()
    assert driven.output == b"given\n"
    assert driven.errors.splitlines() == [b"error", b"touch: /x: Read-only file system"]
    assert (workspace / "new").stat().st_uid == 54321


def test_docker_gives_no_agent_to_root(make: Make) -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    word, why = make(None, options={"image": IMAGE, "engine": "docker"}).hear()
    assert word == "failed"
    assert "root's" in why


SELECTED = (
    "streams or codes_of_the_engine or before_go or gone_before_go or containers_init or without_a_group or signals"
    " or program_that_is or can_be_written or network or terminal or git_obeys or read_only or default_runtime"
    " or namespaces_that or variables or processes_are_bounded"
)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="already an ordinary user")
@pytest.mark.skipif(shutil.which("newuidmap") is None, reason="newuidmap is not installed (package uidmap)")
def test_an_ordinary_user_has_the_same_without_control_groups() -> None:
    uid = 70056
    home = Path(f"/tmp/offswitch-test-{os.getpid()}")
    (home / "run").mkdir(parents=True)
    (home / "passwd").write_text(Path("/etc/passwd").read_text() + f"tester:x:{uid}:{uid}::{home}:/bin/sh\n")
    (home / "subuid").write_text(f"{uid}:1900000000:65536\n")
    for path in (home, *home.iterdir()):
        os.chown(path, uid, uid)
        path.chmod(0o755)
    environment = (
        f"env -i HOME={home} XDG_RUNTIME_DIR={home}/run PATH={os.environ['PATH']} PYTHONDONTWRITEBYTECODE=1"
    )
    tests = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", f"--basetemp={home}/t", __file__]
    lines = [
        *reachable(),
        f"mount --bind {home}/passwd /etc/passwd",
        *(f"touch /etc/{name} && mount --bind {home}/subuid /etc/{name}" for name in ("subuid", "subgid")),
        f"exec setpriv --reuid {uid} --regid {uid} --clear-groups {environment}"
        f" {shlex.join(tests)} -k {shlex.quote(f'runc and ({SELECTED}) or default_runtime')}",
    ]
    try:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", "\n".join(lines)],
            capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], timeout=400,
        )  # fmt: skip
        if "unshare failed" in done.stderr or "mount:" in done.stderr:
            pytest.skip(f"this root cannot mount: {done.stderr.strip()}")
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        assert " passed" in done.stdout
        end = time.monotonic() + 10
        while left := [pid for pid in filter(str.isdigit, os.listdir("/proc")) if _user(pid) == uid]:
            assert time.monotonic() < end, f"left behind: {left}"
            time.sleep(0.05)
    finally:
        subprocess.run(["rm", "-rf", str(home), f"/dev/shm/libpod_rootless_lock_{uid}"], check=True)


def _user(pid: str) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None

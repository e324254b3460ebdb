"""Attacks on the kill path, tried from inside: each must reach nothing, and the order must end it all the same."""

import hashlib
import itertools
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from offswitch.enforce import control, latch, launching
from offswitch.enforce.drills import private
from offswitch.enforce.drills.faults import CannotStage, Failed, Fault
from offswitch.enforce.drills.staging import NAME, Stage, groups_of, state
from offswitch.trust import keys, orders

_CAP_SYS_RESOURCE = 24
_HOSTS = ("state_files", "control_socket", "network", "abstract_sockets", "secrets", "git_hooks")
"""Attacks on what is the host's, also where the agent has a kernel of its own."""

_INIT = ("process_memory", "traces_init")
"""Attacks on other processes, of which a container's own init is one."""


_PIDS = 128
_POLYGLOT = """#!/proc/self/exe
''':'
exec /usr/bin/python3 -I -S /workspace/inside.py interpreter
'''
# A shell has gone by now. Who reads on is Python, and whose Python it is cannot be asked: ours was never started.
import os, time
os.write(1, b'\\n{"drill": {"reached": "the host\\'s own interpreter"}}\\n{"drill": {"up": true}}\\n')
time.sleep(600)
"""


def attack(stage: Stage, act: str, **changed: Any) -> None:
    """Let an agent try something, and check from its own words and from outside that it reached nothing."""
    targets = [stage.places.agent(NAME), stage.places.keys, stage.places.latches, stage.places.logs(NAME)]
    environment = {
        "TARGETS": json.dumps(targets),
        "PIDS": json.dumps([os.getpid(), os.getppid()]),
        **changed.pop("environment", {}),
    }
    if stage.kind != "microvm":
        # A machine of its own has namespaces of its own by the same numbers.
        environment["HOST"] = json.dumps(
            {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "mnt", "net", "user")}
        )
    if int(_status("CapEff"), 16) >> _CAP_SYS_RESOURCE & 1:
        # Only who has this can set a lower bound to an oom score.
        environment["OOM"] = "1"
    owner = stage.workspace.stat()
    stage.start(act, environment=environment, **changed)
    found = [str(one["reached"]) for one in stage.said() if "reached" in one]
    if stage.kind == "microvm" and act not in _HOSTS:
        # What it reaches of its own kernel is its own; of the host's the drill looks itself.
        stage.notes["reached_in_its_own_kernel"], found = found, []
    if stage.kind == "oci" and act in _INIT:
        # The init in a container is the engine's and of the agent's own user. Nothing of the kill path rests on it.
        own = [one for one in found if "/proc/1/" in one or one.endswith(" of 1")]
        stage.notes["reached_of_its_own_init"] = own
        found = [one for one in found if one not in own]
    stage.notes["tried"] = act
    try:
        touched = _touched(stage, owner)
    except (control.NotRunning, control.Lost):
        raise Failed("it reached an end of the off-switch before the order") from None
    stage.order()
    if found or touched:
        raise Failed("it reached " + "; ".join([*found, *touched][:5]))


def _status(key: str, pid: int | str = "self") -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(key))


def _touched(stage: Stage, owner: os.stat_result) -> list[str]:
    """What of the kill path is not as it was left."""
    found = []
    parts = stage.parts()
    for name in ("supervisor", "guard", "scribe", "cell"):
        if name not in parts or state(parts[name]) == "T":
            found.append(f"the {name}, which is gone or stopped")
    with control.connect(stage.places, NAME) as line:
        status = control.ask(line, {"do": "status"}, 10.0)["status"]
    if status["state"] != "running":
        found.append(f"the supervisor, which calls it {status['state']}")
    latch = json.loads(Path(stage.places.latches, NAME + ".json").read_text())
    if latch["state"] != "armed" or latch["run"] != status["run"]:
        found.append("the latch")
    if not Path(stage.places.keys, "host.pem").read_text().startswith("-----BEGIN"):
        found.append("the keys")
    for pid in stage.agents():
        with suppress(OSError, StopIteration):
            inside = os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
            if inside and os.geteuid() == 0 and _status("Uid", pid).split()[1] == "0":
                found.append("the host's root: that is who it is")
                break
    groups = [set(groups_of(pid)) for pid in stage.agents() if state(pid) not in "XZ"]
    if stage.groups and any(not one & stage.groups for one in groups if one is not None):
        found.append("a place outside its control group")
    for folder, folders, files in os.walk(stage.workspace):
        for name in [*folders, *files]:
            with suppress(OSError):
                about = os.lstat(os.path.join(folder, name))
                if about.st_mode & 0o6000 and not stat.S_ISLNK(about.st_mode):
                    found.append(f"a set-uid file in the workspace ({name})")
                if (about.st_uid, about.st_gid) != (owner.st_uid, owner.st_gid):
                    found.append(f"another owner in the workspace ({name}: {about.st_uid})")
    return found


def _try(act: str, **changed: Any) -> "Callable[[Stage], None]":
    return lambda stage: attack(stage, act, **changed)


def _sockets(stage: Stage) -> None:
    name = f"offswitch/drill/{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        holder.bind(b"\0" + name.encode())
        holder.listen()
        seen = [
            line.split()[-1][1:] for line in Path("/proc/net/unix").read_text().splitlines() if "@" in line
        ]
        attack(
            stage,
            "abstract_sockets",
            environment={"SOCKETS": json.dumps([name, *map(_printable, seen[:100])])},
        )


def _printable(name: str) -> str:
    return name.rstrip("@")


def _network(stage: Stage) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        attack(stage, "network", environment={"PORT": str(holder.getsockname()[1])})


def _git(stage: Stage) -> None:
    git = stage.workspace / ".git"
    (git / "hooks").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text("[core]\n\trepositoryformatversion = 0\n")
    (git / "hooks" / "post-commit").write_text("#!/bin/sh\n")
    before = _digest(git)
    attack(stage, "git_hooks")
    if _digest(git) != before:
        raise Failed("it changed what git on the host obeys")


def _digest(folder: Path) -> str:
    text = b"".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    )
    return hashlib.sha256(text).hexdigest()


def _operator(stage: Stage) -> None:
    """The operator stops it with its workspace as the current folder, with the real command."""
    program = [str(Path(sys.executable).with_name("offswitch"))]
    if stage.without == "isolated-command":
        # Python puts the current folder first where it is asked for a module.
        program = [sys.executable, "-m", "offswitch"]
    if not Path(program[0]).exists():
        raise CannotStage("the command offswitch is not installed beside this Python")
    stage.start("traps_operators")
    since = time.monotonic_ns()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(stage.folder), "BASH_ENV": "bash_env"}
    with subprocess.Popen(
        [*program, "stop", NAME, "--state", str(stage.state)],
        cwd=stage.workspace, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as stop:  # fmt: skip
        dead = stage.observe(since, 20)
        said = stop.communicate(timeout=20)[0].decode(errors="replace")
    if (stage.workspace / "sprung").exists():
        raise Failed("the operator's command ran what the agent had left in the workspace")
    if not dead:
        raise Failed("it outlived offswitch stop in its workspace")
    if stop.returncode != 0:
        raise Failed(f"offswitch stop ended with {stop.returncode}: {said[-300:]}")


def _forged(stage: Stage) -> None:
    stage.start("forges_lines")
    receipt = stage.order()
    if not receipt["dead"] or receipt["order"]["origin"] != "local owner":
        raise Failed("the receipt says what the agent wrote")
    stage.eventually(
        lambda: any('"dead"' in line for line in _account(stage)),
        10,
        "the account does not tell of the death",
    )
    for line in _account(stage):
        try:
            known = json.loads(line)["event"] in ("started", "stop", "dead")
        except (ValueError, KeyError, TypeError):
            known = False
        # Its own "dead" tells of nothing.
        if not known or line == '{"event": "dead"}':
            raise Failed(f"the account says what the agent wrote: {line[:200]}")


def _account(stage: Stage) -> list[str]:
    with suppress(OSError):
        return Path(stage.places.logs(NAME), "account.jsonl").read_text().splitlines()
    return []


def _secrets(stage: Stage) -> None:
    os.environ["DRILL_SECRET"] = "drilled-secret-4711"
    attack(stage, "secrets", environment=dict(os.environ) if stage.without == "environment" else {})


def _terminal(stage: Stage) -> None:
    setting = Path("/proc/sys/dev/tty/legacy_tiocsti")
    if stage.without and setting.exists() and setting.read_text().strip() == "0":
        raise CannotStage("this host's kernel itself refuses TIOCSTI")
    attack(stage, "types_into_the_terminal", terminal=True)


def _limits(stage: Stage) -> None:
    bounds = {"NPROC": _PIDS + 2, "NOFILE": 65_536} if stage.kind == "bubblewrap" else {}
    attack(stage, "limits", pids=_PIDS, environment={"BOUNDS": json.dumps(bounds)})


def _memory(stage: Stage) -> None:
    # A microvm has a system of its own in its memory; a container's group has room for the engine's programs as well.
    memory = {"bubblewrap": 128, "oci": 320, "microvm": 288}[stage.kind] << 20
    attack(stage, "beyond_memory", memory=memory, environment={"BOUND": str(memory)})


def _processes(stage: Stage) -> None:
    # Of an engine's inits as many count as it has, so an agent may have a process or two more.
    bound = _PIDS + 2 * (stage.kind == "oci")
    attack(stage, "beyond_processes", pids=_PIDS, environment={"BOUND": str(bound)})


def _devices(stage: Stage) -> None:
    """Also one that lies in the workspace already, as where a root file system is built: /dev/zero, by another name."""
    if os.geteuid() == 0 and stage.kind != "microvm":
        private.with_devices(str(stage.workspace))
        node = stage.workspace / "device"
        try:
            os.mknod(node, stat.S_IFCHR, os.makedev(1, 5))
            node.chmod(0o666)
        except OSError:
            if stage.without:
                raise CannotStage("no device can be made here") from None
    attack(stage, "devices")


def _interpreter(stage: Stage) -> None:
    """Its program is a script whose interpreter is whoever starts it: that must be nobody who came from outside."""
    if stage.kind != "bubblewrap":
        # An engine starts the program there, and a machine of its own.
        attack(stage, "interpreter")
        return
    program = stage.workspace / "mine"
    program.write_text(_POLYGLOT)
    program.chmod(0o755)
    attack(stage, "interpreter", argv=["/workspace/mine"])


def _links(stage: Stage) -> None:
    """Links that one agent leaves are met by the off-switch when it takes it out, and when it starts the next there."""
    outside = stage.folder / "outside"
    (outside / "shown").mkdir(parents=True)
    (outside / "hidden").touch()
    for place, mode in ((stage.folder, 0o711), (outside, 0o777)):
        place.chmod(mode)
    environment = {"OUTSIDE": str(outside), "HIDDEN": str(outside / "hidden")}
    attack(stage, "symlinks", environment=environment)
    stage.eventually(lambda: not stage.parts(), 20, "the off-switch did not end")
    latch.clear(stage.places, NAME)
    # With a folder of its own in it, what the link names is there inside as well.
    read = [] if stage.kind == "microvm" else [*stage.options.get("read", []), str(outside / "shown")]
    plan = stage.plan("looks_for_what_a_link_led_to", environment=environment, read=read)
    try:
        launching.launch(plan, stage.places, tether=False)
    except launching.NotStarted as refused:
        if "symbolic link" not in refused.line:
            raise Failed(f"it was refused for another reason: {refused.line}") from None
    else:
        stage.await_up()
        stage.learn()
        stage.order()
        if any("reached" in one for one in stage.said()):
            raise Failed(f"it reached {outside} through a link")
    if sorted(os.listdir(outside)) != ["hidden", "shown"]:
        raise Failed(f"something was written through a link: {os.listdir(outside)}")


def _forged_orders(stage: Stage) -> None:
    """Orders that would let it go on: by a stranger, too old, for another, changed, and a good one a second time."""
    operator, stranger = (keys.PrivateKey(os.urandom(32)) for _ in range(2))
    own = operator.public.id
    stage.start("keeps_going", trusted=[own], own=[own], loosening=[own])
    with control.connect(stage.places, NAME) as line:
        status = control.ask(line, {"do": "status"}, 10.0)["status"]
        now = time.time_ns() // 1_000_000

        def renew(key: keys.PrivateKey, what: str, refused: str, **changed: Any) -> dict[str, Any]:
            given = {"agent": NAME, "run": status["run"], "issued": now, "expires": now + 60_000, **changed}
            given.setdefault("counter", next(count))
            envelope = orders.Order(action="renew", lease_s=3600, **given).sign([key])
            ask(envelope, what, refused)
            return envelope

        def ask(envelope: dict[str, Any], what: str, refused: str) -> None:
            answer = control.ask(line, {"do": "renew", "order": envelope}, 10.0)
            if answer["ok"] and refused:
                raise Failed(f"an order {what} was obeyed")
            if answer.get("refused", "") != refused:
                raise Failed(f"an order {what} was answered with {answer}")

        count = itertools.count(1)
        renew(stranger, "by a stranger", "signature")
        renew(operator, "that is old", "expired", issued=now - 120_000, expires=now - 60_000)
        renew(operator, "for another agent", "other-agent", agent="another")
        renew(operator, "for another run", "other-agent", run="0" * 32)
        good = renew(operator, "that is good", "")
        ask(good, "given again", "replayed")
        payload = good["payload"]
        good["payload"] = payload[:-8] + ("AAAA" if payload[-8:-4] != "AAAA" else "BBBB") + payload[-4:]
        ask(good, "that was changed", "signature")
    stage.order()


def _ends_init(stage: Stage) -> None:
    stage.start("ends_init")
    # To end its own sandbox is its right, as is to end; to go on without it is not.
    stage.strike(lambda: None)


def _one(name: str, says: str, act: str, **changed: Any) -> Fault:
    return Fault(name, "reach", says, _try(act, **changed))


FAULTS = [
    _one("state-files", "the supervisor's files: state, latch, keys, logs", "state_files"),
    _one("control-socket", "the supervisor's control socket", "control_socket"),
    _one("cgroup", "its control group: mounts, writes, leaves it", "cgroup"),
    _one("every-pid", "every process: SIGKILL to each number, pidfds", "every_pid"),
    _one("signals-to-init", "the sandbox's init, by every signal but TERM", "kills_init"),
    # A microvm's is root's there; what the agent does to that is signals-to-init.
    Fault(
        "ends-init",
        "reach",
        "the sandbox's init, by TERM: it ends, and all of it",
        _ends_init,
        kinds=("bubblewrap", "oci"),
    ),
    _one("process-memory", "memory, files and environment of other processes in /proc", "process_memory"),
    _one("ptrace", "the sandbox's init, by ptrace, process_vm_writev and pidfd_getfd", "traces_init"),
    _one("system-settings", "/proc/sys, sysrq, devices, the clock, reboot", "system_settings"),
    _one("namespaces", "new namespaces of each kind, and those of others", "namespaces"),
    _one("mounts", "mount, umount, pivot_root, chroot, and files of the root", "mounts"),
    _one(
        "privileges",
        "other users, capabilities, set-uid programs, set-uid files in the workspace",
        "privileges",
    ),
    _one("keyrings", "the kernel's keys", "keyrings"),
    _one("io-uring", "io_uring, which no filter of system calls sees into", "io_uring"),
    _one("kernel", "bpf, perf, userfaultfd, handles of files, odd socket families", "kernel_reach"),
    Fault("abstract-sockets", "reach", "abstract sockets of the host, offswitch's own among them", _sockets),
    Fault("network", "reach", "the network, the host's own services", _network),
    Fault("limits", "reach", "its own limits, priority and oom score", _limits),
    Fault("beyond-memory", "reach", "more memory than its bound", _memory),
    Fault("beyond-processes", "reach", "more processes than its bound", _processes),
    _one("open-files", "files that it inherited", "open_files"),
    Fault("secrets", "reach", "secrets in the environment, on command lines, in the host's files", _secrets),
    Fault(
        "symlinks",
        "reach",
        "links out of the workspace, which the off-switch meets at the next start",
        _links,
    ),
    Fault("git-hooks", "reach", ".git/hooks and .git/config, which the host obeys", _git),
    Fault(
        "operator-in-workspace",
        "reach",
        "programs and modules in the folder where offswitch stop is run",
        _operator,
    ),
    Fault("terminal-input", "reach", "the operator's keyboard, by TIOCSTI", _terminal),
    Fault("forged-lines", "reach", "the account, by lines that look like the off-switch's own", _forged),
    Fault(
        "forged-orders",
        "reach",
        "orders that no operator gave: forged, old, changed, given again",
        _forged_orders,
    ),
    Fault("devices", "reach", "devices, by nodes of its own and by one in its workspace", _devices),
    Fault("interpreter", "reach", "the host's interpreter and libraries", _interpreter),
]

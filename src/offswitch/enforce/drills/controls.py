"""Controls of the off-switch, each with a way to take it away and the faults that must then be seen to fail.

The off-switch has no switch for any of this. A drilled supervisor is started from a program that first replaces one
thing in its own memory; for a control of the operator's command, the stage runs a weaker command. Where two
controls hold the same thing, both are taken away, and ``beside`` says which was the other.

What is shown to an agent in place of what is hidden from it is the drilled off-switch's own, or is only opened and
never written: a drill without a control is no danger to the host either.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from offswitch.enforce.drills import kinds
from offswitch.enforce.drills.directing import directing
from offswitch.enforce.drills.faults import everything
from offswitch.sandboxes.cells import KINDS


@dataclass(frozen=True)
class Control:
    """One control.

    Attributes:
        name: By which ``--without`` calls it.
        says: What it does.
        faults: Faults that must fail without it.
        why: What their failure must say, so that they fail for the right reason.
        patch: Statements that take it away from a supervisor that is about to start.
        beside: The control that holds the same thing and is taken away with it, "" if there is none.
        kinds: Kinds of sandbox in which the patch takes it away.
        root: Whether it holds something only where root starts agents.
    """

    name: str
    says: str
    faults: tuple[str, ...]
    why: str
    patch: str
    beside: str = ""
    kinds: tuple[str, ...] = KINDS[:1]
    root: bool = False


def _deaf_to(*reasons: str) -> str:
    """The supervisor does not act on some losses."""
    return f"""
from offswitch.enforce.supervisor import main as _main
_lost, _machine = _main.Supervisor._lost, _main.Machine
def _deaf(self, why, event="part-lost"):
    None if why.startswith({reasons!r}) else _lost(self, why, event)
def _patient(*, heartbeats, **bounds):
    never = {{one for one in heartbeats if f"its {{one}}".startswith({reasons!r})}}
    return _machine(heartbeats={{**heartbeats, **dict.fromkeys(never, _main.NEVER)}}, **bounds)
_main.Supervisor._lost, _main.Machine = _deaf, _patient
"""


def _without_option(*option: str) -> str:
    """bubblewrap is started without an option and its arguments."""
    return f"""
from offswitch.sandboxes.cells import bubblewrap as _cell
_full = _cell.arguments
def _fewer(plan, *, bound):
    given, option = _full(plan, bound=bound), {list(option)!r}
    place = next(i for i in range(len(given)) if given[i:i + len(option)] == option)
    return given[:place] + given[place + len(option):]
_cell.arguments = _fewer
"""


def _with_option(before: tuple[str, str], option: str) -> str:
    """bubblewrap is started with one more option, a list that may speak of the ``plan``, before another one."""
    return f"""
import os as _os
from offswitch.sandboxes.cells import bubblewrap as _cell
_full = _cell.arguments
def _more(plan, *, bound):
    given, before = _full(plan, bound=bound), {list(before)!r}
    place = next(i for i in range(len(given)) if given[i:i + 2] == before)
    return [*given[:place], *{option}, *given[place:]]
_cell.arguments = _more
"""


_NO_SECCOMP = """
from offswitch.sandboxes import seccomp as _seccomp
_seccomp.apply = lambda: None
"""
_NO_USER_OF_ITS_OWN = """
from offswitch.sandboxes import identity as _identity
_identity.needed = lambda: False
"""
_BESIDE_USER = "root's agents are users that own nothing"
# Wider and not gone: what the faults try for is twice a bound at most, and a host is not put at risk to show it.
_WIDER = """
import resource as _resource
from offswitch.sandboxes import cgroups as _cgroups
_bound, _set = _cgroups.Group.bound, _resource.setrlimit
_cgroups.Group.bound = lambda self, memory, pids: _bound(self, memory * {memory}, pids * {pids})
def _wider(which, both):
    times = {{_resource.RLIMIT_DATA: {memory}, _resource.RLIMIT_NPROC: {pids}}}.get(which, 1)
    _set(which, tuple(one * times if one > 0 else one for one in both))
_resource.setrlimit = _wider
"""
_INIT = """
from offswitch.sandboxes import system as _system
_system._INIT = _system._INIT.replace({plain!r}, {weaker!r})
"""

CONTROLS = [
    Control(
        "guard",
        "the guard kills when its supervisor is lost",
        ("supervisor-stopped",),
        "outlived",
        """
from offswitch.enforce.supervisor import guard as _guard
_guard.Guard._alone = lambda self, why, actions: None
""",
        kinds=KINDS,
    ),
    Control(
        "heartbeat",
        "the guard expects a heartbeat of its supervisor",
        ("supervisor-stopped",),
        "outlived",
        """
from offswitch.enforce.supervisor import guard as _guard
_guard.Guard._tick = lambda self: None
""",
        kinds=KINDS,
    ),
    Control(
        "watch-over-guard",
        "the supervisor stops the agent when its guard is lost",
        ("guard-killed", "guard-stopped"),
        "outlived",
        _deaf_to("its guard"),
        kinds=KINDS,
    ),
    Control(
        "watch-over-scribe",
        "the supervisor stops the agent when its scribe is lost",
        ("scribe-killed",),
        "outlived",
        _deaf_to("its scribe"),
        kinds=KINDS,
    ),
    Control(
        "watch-over-proxy",
        "the supervisor stops the agent when its proxy is lost",
        ("proxy-killed",),
        "outlived",
        _deaf_to("its proxy"),
    ),
    Control(
        "death-signals",
        "what is below ends with what is above, down to the agent",
        ("supervisor-and-guard-killed",),
        "outlived",
        """
import signal as _signal
from offswitch.sandboxes import kernel as _kernel
from offswitch.sandboxes.cells import bubblewrap as _cell
_kernel.die_with = lambda parent: None
def _wait(self, pid, monitor):
    while True:
        _signal.pause()
_cell._Cell._wait = _wait
_full = _cell.arguments
_cell.arguments = lambda plan, *, bound: [one for one in _full(plan, bound=bound) if one != "--die-with-parent"]
""",
        beside="the cell ends when its line to the supervisor closes",
    ),
    Control(
        "kill",
        "cgroup.kill, and SIGKILL to the sandbox's init",
        ("ignores-signals", "daemons"),
        "outlived",
        """
import time as _time
from offswitch.enforce.supervisor import killing as _killing
_killing.Killer.kill = lambda self: _time.monotonic_ns()
from offswitch.enforce.supervisor import parts as _parts
_cut = _parts.Parts.cut_network
def _unasked(self):
    self._parting = None
    return _cut(self)
_parts.Parts.cut_network = _unasked
""",
        beside="each of the two, and a hypervisor is not asked to quit; that each holds alone is shown by tests",
        kinds=KINDS,
    ),
    Control(
        "second-observer",
        "death is decided by looking at every process of the host",
        ("joined",),
        "called dead",
        """
from offswitch.enforce.supervisor import observing as _observing
_observing.Observer.survivors = lambda self: ([], 0)
""",
    ),
    Control(
        "latch-from-the-start",
        "the latch is on disk before the agent starts",
        ("cut-short", "supervisor-killed"),
        "latched|started again",
        """
import os as _os
from offswitch.enforce import latch as _latch
_arm = _latch.arm
def _later(places, record):
    one = _arm(places, record)
    _os.unlink(one._path)
    return one
_latch.arm = _later
_latch.Latch.lost = lambda self: False
""",
        beside="a latch that was taken away is missed, and made anew by the stop",
        kinds=KINDS,
    ),
    Control(
        "latch-check",
        "a start looks at every latch",
        ("starts-again",),
        "started again",
        """
from offswitch.enforce import latch as _latch
_latch.read = lambda places: []
""",
        kinds=KINDS,
    ),
    Control(
        "lease",
        "an agent's lease ends by itself",
        ("lease-ends",),
        "outlived",
        """
from offswitch.enforce.supervisor import guard as _guard, main as _main
_main.boottime = _guard.boottime = lambda: 0.0
""",
        beside="the supervisor and the guard hold it, each by itself",
        kinds=KINDS,
    ),
    Control(
        "clock-of-leases",
        "leases go by a clock that nobody sets",
        ("clock-back-in-a-lease",),
        "outlived",
        """
import time as _time
from offswitch.enforce.supervisor import guard as _guard, main as _main
_main.boottime = _guard.boottime = lambda: _time.time()
_tick, _guards = _main.Supervisor._tick, _guard.Guard._tick
def _by_the_wall(self):
    if ("lease", "") in self._latch.left:
        self._latch.left["lease", ""] = int((self._lease - _time.time()) / _main.TICK)
    self._ticked = _time.time()
    _tick(self)
def _by_the_wall_too(self):
    self._ticked = _time.time()
    _guards(self)
_main.Supervisor._tick, _guard.Guard._tick = _by_the_wall, _by_the_wall_too
""",
        beside="the supervisor and the guard hold it, each by itself",
        kinds=KINDS,
    ),
    Control(
        "hang-up",
        "the end of who started it in the foreground stops it",
        ("terminal-closed", "launcher-killed"),
        "outlived",
        """
from offswitch.enforce.supervisor import main as _main
_main.Supervisor._hear_starter = lambda self: self._loop.forget(self._starter.fileno())
""",
        kinds=KINDS,
    ),
    Control(
        "state-watch",
        "the scribe looks at the state's folders",
        (
            "state-removed",
            "latch-removed",
            "latches-removed",
            "socket-removed",
            "state-full",
            "key-unreadable",
        ),
        "outlived",
        """
from offswitch.enforce.supervisor import scribe as _scribe
_scribe.Scribe._look = lambda self: ""
""",
        kinds=KINDS,
    ),
    Control(
        "orphans",
        "the supervisor reaps what the sandbox leaves",
        ("guard-killed",),
        "outlived|dead",
        """
from offswitch.sandboxes import kernel as _kernel
_kernel.adopt_orphans = lambda: None
""",
    ),
    Control(
        "system-calls",
        "a seccomp filter",
        ("io-uring", "keyrings", "privileges", "kernel", "terminal-input"),
        "reached",
        _NO_SECCOMP,
    ),
    Control(
        "keyring",
        "a session keyring of its own",
        ("keyrings",),
        "reached",
        _NO_SECCOMP
        + """
from offswitch.sandboxes import kernel as _kernel
_kernel.leave_keyrings = lambda: None
""",
        beside="the seccomp filter refuses keyctl",
    ),
    Control(
        "tracing",
        "Landlock keeps the agent from tracing what is not below it",
        ("process-memory", "ptrace"),
        "reached",
        """
from offswitch.sandboxes import kernel as _kernel
_kernel.guard_outer_processes = lambda: False
""",
    ),
    Control(
        "nested-users",
        "no user namespaces inside",
        ("namespaces",),
        "reached",
        _NO_SECCOMP + _without_option("--disable-userns"),
        beside="the seccomp filter refuses new namespaces",
    ),
    Control(
        "user-of-its-own",
        "root's agents are host users that own nothing",
        ("every-pid", "system-settings"),
        "the host's root|/proc/sys/",
        _NO_USER_OF_ITS_OWN,
        root=True,
    ),
    Control(
        "owners-in-the-workspace",
        "an id-mapped mount of the workspace",
        ("privileges",),
        "another owner",
        """
import os as _os
from offswitch.sandboxes import kernel as _kernel, workspace as _workspace
def _plain(path, disk, shown, *, read_only=False):
    _os.chmod(path, 0o777)
    place = _kernel.open_straight(path, _os.O_PATH)
    return _kernel.clone_mount(place)
_workspace.idmapped = _plain
""",
        root=True,
    ),
    Control(
        "read-only-root",
        "the root can be written by nobody",
        ("mounts",),
        "reached",
        _without_option("--remount-ro", "/"),
    ),
    Control(
        "view",
        "of the host's files only the system's, and those that are named, are in view",
        ("state-files", "control-socket"),
        "is there|/control",
        _NO_USER_OF_ITS_OWN
        + _with_option(("--remount-ro", "/"), '["--bind", *[_os.path.dirname(plan["scratch"])] * 2]'),
        beside=_BESIDE_USER,
    ),
    Control(
        "control-groups",
        "the file system of control groups is not in view",
        ("cgroup",),
        "reached /sys/fs/cgroup",
        _NO_USER_OF_ITS_OWN
        + _with_option(("--remount-ro", "/"), '["--bind", "/sys/fs/cgroup", "/sys/fs/cgroup"]'),
        beside=_BESIDE_USER,
        root=True,
    ),
    Control(
        "few-devices",
        "of the host's devices there are those that every program needs, and no other",
        ("system-settings",),
        "/dev/kmsg",
        _NO_USER_OF_ITS_OWN
        + _with_option(("--remount-ro", "/dev"), '["--dev-bind", "/dev/kmsg", "/dev/kmsg"]'),
        beside=_BESIDE_USER,
        root=True,
    ),
    Control(
        "devices-in-the-workspace",
        "no device can be opened in the workspace",
        ("devices",),
        "the device in its workspace",
        """
from offswitch.sandboxes import kernel as _kernel
_kernel._MOUNT_ATTR_NODEV = 0
""",
        root=True,
    ),
    Control(
        "links",
        "what enters the workspace from outside follows no symbolic link",
        ("symlinks",),
        "through a link",
        """
import os as _os
from offswitch.sandboxes import kernel as _kernel
_kernel.open_straight = lambda path, flags, within=None: _os.open(path, flags | _os.O_CLOEXEC, dir_fd=within)
""",
    ),
    Control(
        "programs-of-the-workspace",
        "a program that the agent may have written is started by the sandbox's shell, never by the cell",
        ("interpreter",),
        "the host's own interpreter|ended before it was up",
        """
from offswitch.sandboxes import entering as _entering
_entering.TRUSTED = ("/",)
""",
    ),
    Control(
        "hard-limits",
        "the agent cannot lift its own limits",
        ("limits",),
        "beyond its bound",
        """
import resource as _resource
_set = _resource.setrlimit
_resource.setrlimit = lambda which, both: _set(which, (both[0], _resource.getrlimit(which)[1]))
""",
    ),
    Control(
        "memory-bound",
        "what the agent has in memory is bounded",
        ("beyond-memory",),
        "MiB of memory beyond its bound",
        _WIDER.format(memory=4, pids=1),
    ),
    Control(
        "process-bound",
        "the agent's processes are bounded in number",
        ("beyond-processes",),
        "processes beyond its bound",
        _WIDER.format(memory=1, pids=4),
    ),
    Control(
        "environment",
        "of the host's variables those that are named come in, and no other",
        ("secrets",),
        "reached the secret in|reached the variable",
        "",
    ),
    Control(
        "deaf-init",
        "the sandbox's init heeds no signal but TERM",
        ("signals-to-init",),
        # As it comes to pass: before it is up, once it is, or just before the order.
        "ended before it was up|an end of the off-switch|no agent drilled is running",
        _INIT.format(plain="trap '' HUP", weaker="trap 'exit 97' HUP"),
    ),
    Control(
        "init-ends-all",
        "the sandbox's init ends at TERM, and everything in it with the init",
        ("ends-init",),
        "outlived",
        _INIT.format(plain="' TERM", weaker="' USR1"),
    ),
    Control(
        "account",
        "the agent's output goes into no file but its own",
        ("forged-lines",),
        "the account says what the agent wrote",
        """
import os as _os
from offswitch.enforce.supervisor import scribe as _scribe
_keep = _scribe.Scribe._keep
_scribe.Scribe._keep = lambda self, data: (_os.write(self._account, data), _keep(self, data))[1]
""",
        kinds=KINDS,
    ),
    Control(
        "signatures",
        "an order that lets an agent go on is signed by a key that counts",
        ("forged-orders",),
        "by a stranger was obeyed",
        """
import base64 as _base64
from offswitch.trust import dsse as _dsse
_dsse.verify = lambda envelope, kind, trusted, *, most: (_base64.b64decode(envelope["payload"]), frozenset(trusted))
""",
        kinds=KINDS,
    ),
    Control(
        "orders-once",
        "an order is obeyed once",
        ("forged-orders",),
        "again was obeyed",
        """
from offswitch.trust import orders as _orders
_check = _orders.check
_orders.check = lambda envelope, **given: _check(envelope, **{**given, "counters": {}})
""",
        kinds=KINDS,
    ),
    Control(
        "network-namespace",
        "a network of its own",
        ("network", "abstract-sockets"),
        "reached",
        _without_option("--unshare-net")
        + """
from offswitch.sandboxes import entering as _entering
_entering._NAMESPACES = tuple(one for one in _entering._NAMESPACES if one != "net")
""",
    ),
    Control(
        "git",
        "what git on the host obeys is read-only",
        ("git-hooks",),
        "reached|git",
        """
from offswitch.sandboxes import workspace as _workspace
_workspace.protected = lambda place: []
""",
    ),
    Control(
        "closed-files",
        "nothing that the off-switch has open passes into the agent",
        ("open-files",),
        "reached",
        """
import os as _os
from offswitch.sandboxes.cells import bubblewrap as _cell
_plainly = _cell._execute
def _with_files(program, argv, environment):
    for file in map(int, _os.listdir("/proc/self/fd")):
        try:
            # But for the pipe by which the cell learns that the program was started.
            if not _os.readlink(f"/proc/self/fd/{file}").startswith("pipe:"):
                _os.set_inheritable(file, True)
        except OSError:
            pass
    _plainly(program, argv, environment)
_cell._execute = _with_files
""",
    ),
    Control(
        "isolated-command",
        "the operator's command loads nothing from the current folder",
        ("operator-in-workspace",),
        "the agent had left",
        "",
    ),
]


def find(name: str) -> Control | None:
    """The control of this name."""
    return next((control for control in CONTROLS if control.name == name), None)


def drill_without(name: str, kind: str, given: Any, say: Callable[[str], None]) -> int:
    """Take a control away and run its faults once each.

    Args:
        name: The control.
        kind: Kind of sandbox.
        given: As for ``kinds.ready``.
        say: Tells of progress.

    Returns:
        0 if each fault failed as it should; 1 if one did not; 2 if there is no such control or nothing could be staged.
    """
    control = find(name)
    if control is None:
        say(f"there is no control {name}: see offswitch drill --list")
        return 2
    if kind not in control.kinds:
        say(f"without {name}: skipped (it is taken away in {', '.join(control.kinds)} only)")
        return 2
    if control.root and os.geteuid() != 0:
        say(f"without {name}: skipped (it holds something only where root starts agents)")
        return 2
    faults = {fault.name: fault for fault in everything()}
    failed, held = 0, 0
    with directing() as director, kinds.ready(kind, given) as options:
        for one in control.faults:
            outcome = director.run(faults[one], kind, options, control.patch, control.name)
            told = outcome["failed"].strip().splitlines()
            if outcome["skipped"]:
                say(f"without {name}: {one} skipped ({outcome['skipped']})")
            elif told and any(word in outcome["failed"] for word in control.why.split("|")):
                failed += 1
                say(f"without {name}: {one} failed, as it should ({told[-1]})")
            else:
                held += 1
                say(f"without {name}: {one} DID NOT FAIL AS IT SHOULD ({told[-1] if told else 'it held'})")
        director.settle()
    if control.beside:
        say(f"taken away with it: {control.beside}")
    return 1 if held else 0 if failed else 2

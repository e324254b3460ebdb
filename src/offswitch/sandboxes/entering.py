"""How a process of the host's comes to stand in a sandbox: as nobody, in all of its namespaces but the PID namespace.

There it has put only its children, so that nothing inside can see it, signal it or trace it. The rules that make
this safe:

- It is closed to tracers from before its first child, so a child that the agent can see is closed, too, until
  it has exec'd, and so are the files open in it, which exec closes.
- Its own program is the host's. A program that the agent may have written is therefore never exec'd directly: the
  script ``#!/proc/self/exe`` would run the host's interpreter inside the sandbox, and leave it open to be written to
  through ``/proc`` where it belongs to the user. What does not stand in the read-only system is run by its shell.
- Everything that it needs is loaded before it enters; no error is formatted from files inside.
"""

import errno
import os
import resource
import stat
from collections.abc import Container, Sequence
from contextlib import suppress

from offswitch.sandboxes import identity, kernel, wire
from offswitch.sandboxes.cgroups import Group
from offswitch.sandboxes.errors import SandboxUnavailable
from offswitch.sandboxes.plain import signal, socket

TRUSTED = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/")
"""Where programs stand that no agent can have written."""

_NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup")


def become_nobody(parent: int, keep: Container[int], group: Group | None) -> socket.socket | None:
    """Leave the host's groups, files, keys and reach; the calling process is a fresh fork.

    Args:
        parent: Pid of the process with which this one is to end.
        keep: Open files that stay open; the standard streams become ``/dev/null``, all others are closed.
        group: Control group to enter, if there is one.

    Returns:
        The socket that holds the claim to this process's uid, where it has one of its own.

    Raises:
        OSError: The group cannot be entered.
        SandboxUnavailable: No uid is free.
    """
    kernel.die_with(parent)
    os.setsid()
    kernel.rename("sh")
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(null, target)
    for file in map(int, os.listdir("/proc/self/fd")):
        if file > 2 and file not in keep:
            with suppress(OSError):
                os.close(file)
    if group is not None:
        group.enter()
    # The kernel, when the host is out of memory, is to take the sandbox and not the host.
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    claim = None
    if identity.needed():
        uid, claim = identity.claim()
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kernel.leave_keyrings()
    kernel.close_to_tracers()
    kernel.die_with(parent)
    return claim


class Machine:
    """A bubblewrap sandbox of which only the init runs.

    Attributes:
        monitor: Pid of bubblewrap outside, a child of the calling process; its exit status tells the init's.
        init: A pidfd of the init.
        root: Its root directory.
        namespaces: Open namespaces by name, ``outer`` and ``user`` among them.
        leash: Socket that the init reads: it ends when this is closed.
    """

    def __init__(
        self, monitor: int, init: int, root: int, namespaces: dict[str, int], leash: socket.socket
    ) -> None:
        self.monitor = monitor
        self.init = init
        self.root = root
        self.namespaces = namespaces
        self.leash = leash

    def enter_outer(self) -> None:
        """Enter all of it but its PID namespace, with the right to furnish it.

        With --disable-userns there are two user namespaces: the outer one owns all others, the inner one is where the
        agent lives, so that it owns nothing.
        """
        kernel.enter_namespace(self.namespaces["outer"])
        for name in _NAMESPACES:
            kernel.enter_namespace(self.namespaces[name])
        os.chdir("/")

    def enter_inner(self) -> None:
        """Enter the agent's user namespace, and let go of all of them."""
        kernel.enter_namespace(self.namespaces["user"])
        for file in self.namespaces.values():
            os.close(file)
        self.namespaces = {}


def give_up_everything(parent: int) -> bool:
    """Drop every privilege, close oneself to tracers, and end with ``parent``.

    Returns:
        Whether the kernel keeps descendants from tracing what is not below them.
    """
    kernel.give_up_privileges()
    guarded = kernel.guard_outer_processes()
    kernel.close_to_tracers()
    kernel.die_with(parent)
    return guarded


def start(bwrap: str, given: Sequence[str | bytes]) -> Machine:
    """Start bubblewrap and wait for the init's sign of life, the line ``up``.

    Args:
        bwrap: The program.
        given: Its arguments, where bytes stand for the number of an open file that holds them.

    Raises:
        SandboxUnavailable: It did not come up; the message says why.
        OSError: It could not be started.
    """
    # Not a pipe: a socket cannot be opened again through /proc.
    ours, theirs = socket.socketpair()
    ready, up = os.pipe2(os.O_CLOEXEC)
    info, tell = os.pipe2(os.O_CLOEXEC)
    errors, complain = os.pipe2(os.O_CLOEXEC)
    os.set_inheritable(tell, True)
    contents: list[int] = []
    arguments = [bwrap, "--info-fd", str(tell)]
    for argument in given:
        if isinstance(argument, bytes):
            contents.append(wire.in_memory(argument, inheritable=True))
            argument = str(contents[-1])
        arguments.append(argument)
    starter = os.getpid()
    monitor = os.fork()
    if monitor == 0:
        try:
            # From before bubblewrap's first instruction; its own --die-with-parent comes later.
            kernel.die_with(starter)
            for file, target in ((theirs.fileno(), 0), (up, 1), (complain, 2)):
                os.dup2(file, target)
            os.execve(arguments[0], arguments, {})  # noqa: S606
        finally:
            os._exit(127)
    theirs.close()
    for file in (up, tell, complain, *contents):
        os.close(file)
    with os.fdopen(info, "rb") as told, os.fdopen(ready, "rb") as sign, os.fdopen(errors, "rb") as said:
        about = told.read()
        if sign.readline() != b"up\n":
            why = said.read(2000).decode("utf-8", "replace").strip().splitlines()
            with suppress(OSError):
                os.kill(monitor, signal.SIGKILL)
            raise SandboxUnavailable("bubblewrap: " + (why[-1] if why else "the sandbox ended as it started"))
    # The rest of this JSON is not wanted, nor is a parser's memory.
    pid = int(about.partition(b'"child-pid":')[2].partition(b",")[0].strip(b" \n}"))
    # A directory of /proc stands for one process for ever, where a pid may be given to another. Nothing of
    # the agent runs yet, so the init, which has just answered, is still this process.
    directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    init = os.pidfd_open(pid)
    inner = os.open("ns/user", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    namespaces = {"outer": kernel.parent_namespace(inner), "user": inner}
    for name in _NAMESPACES:
        namespaces[name] = os.open("ns/" + name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    os.close(directory)
    return Machine(monitor, init, root, namespaces, ours)


def at_most(which: int, limit: int) -> int:
    """A resource limit, within what is permitted here."""
    hard = resource.getrlimit(which)[1]
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def find_program(name: str, path: str) -> str:
    """The program that ``name`` stands for, as a shell would find it.

    Raises:
        OSError: There is none (ENOENT), or it cannot be run (EACCES).
    """
    places = [name] if "/" in name else [os.path.join(place or ".", name) for place in path.split(":")]
    number = errno.ENOENT
    for place in places:
        try:
            mode = os.stat(place).st_mode
        except OSError as error:
            if error.errno == errno.EACCES:
                number = errno.EACCES
            continue
        if stat.S_ISREG(mode) and os.access(place, os.X_OK):
            return place
        number = errno.EACCES
    raise OSError(number, "")


def without_links(path: str) -> str:
    """An absolute path with every symlink resolved, within the kernel's bound on them; "" for a relative one.

    Not ``os.path.realpath``, which links that the agent has laid could keep busy for ever.
    """
    if not path.startswith("/"):
        return ""
    rest, done, links = path.split("/")[::-1], "/", 0
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = os.path.dirname(done)
            continue
        step = os.path.join(done, part)
        try:
            target = os.readlink(step)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            done = step
            continue
        links += 1
        if links > 40:
            raise OSError(errno.ELOOP, "")
        if target.startswith("/"):
            done = "/"
        rest += target.split("/")[::-1]
    return done

"""The cell of an agent in a bubblewrap sandbox: the same kernel as the host's, and namespaces of its own."""

import errno
import fcntl
import os
import resource
import select
import signal
import socket
import termios
from contextlib import suppress

from offswitch.sandboxes import entering, identity, kernel, seccomp, wire, workspace
from offswitch.sandboxes.cells import ports
from offswitch.sandboxes.cgroups import Group
from offswitch.sandboxes.errors import SandboxUnavailable
from offswitch.sandboxes.system import INIT_COMMAND, UID, USER, put, system, users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROMISES = {
    "kernel": "shares the host's kernel: a flaw in the kernel is a way out",
    "network": "none but a loopback; hosts that the policy names, through a proxy outside",
    "files": "the host's system read-only; only the workspace and /tmp (with /dev/shm, in memory) can be written",
    "memory": "bounded for all processes together where there is a control group, else for each process",
    "pids": "bounded",
    "hold": "freezes every process where there is a control group of version 2",
}

TRIED_BY_STARTING = True
"""To find out what is missing means to start a sandbox: so start the real one, and ask only if it fails."""

_FILES = 65_536
_INODES = 1 << 20


def missing(options: "dict[str, Any]") -> str | None:
    """What this host lacks for this kind; see the package."""
    del options
    from offswitch.sandboxes import preflight

    return preflight.missing()


def live(
    line: socket.socket,
    plan: "dict[str, Any]",
    group: Group | None,
    streams: tuple[int, int, int],
    supervisor: int,
) -> None:
    """Be the cell of one agent; see the package."""
    kernel.die_with(supervisor)
    try:
        _Cell(line, plan, group, streams, supervisor).run()
    except SandboxUnavailable as error:
        wire.send(line, ("failed", str(error)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        wire.send(line, ("failed", f"the sandbox could not be made: {where}{error.strerror}"))


class _Cell:
    def __init__(
        self,
        line: socket.socket,
        plan: "dict[str, Any]",
        group: Group | None,
        streams: tuple[int, int, int],
        supervisor: int,
    ) -> None:
        self._line = line
        self._plan = plan
        self._group = group
        self._streams = streams
        self._supervisor = supervisor

    def run(self) -> None:
        """Make the sandbox, run the agent's program in it, and tell of both."""
        plan = self._plan
        try:
            bwrap = entering.find_program("bwrap", os.defpath)
        except OSError:
            raise SandboxUnavailable(
                "bubblewrap is not installed: install it (Debian: apt-get install bubblewrap)"
            ) from None
        porter = _Porter(plan["workspace"]) if identity.needed() else None
        keep = [self._line.fileno(), *self._streams, *([porter.line.fileno()] if porter else [])]
        claim = entering.become_nobody(self._supervisor, keep, self._group)
        machine = entering.start(bwrap, arguments(plan, bound=porter is None))
        if porter is not None:
            porter.furnish(machine.namespaces["mnt"])
        handed = {name: os.dup(file) for name, file in machine.namespaces.items() if name != "outer"}
        machine.enter_outer()
        for place in ("/tmp", "/dev/shm"):
            kernel.change_tmpfs(place, f"nr_inodes={_INODES}")
        for name, port in ports(plan).items():
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", port))
                listener.listen(256)
                handed[name] = listener.detach()
        machine.enter_inner()
        bounds = self._limit()
        if entering.give_up_everything(self._supervisor):
            bounds["tracing"] = "Landlock"
        seccomp.apply()
        bounds["system calls"] = "seccomp"
        facts = {"files": list(handed), "bounds": bounds, "tidy": {}}
        wire.send(self._line, ("ready", facts, b""), [machine.init, *handed.values()])
        for file in handed.values():
            os.close(file)
        message = wire.receive(self._line)
        if message is None or message[0] != ("go",):
            return
        try:
            pid = self._start()
        except OSError as error:
            name = plan["argv"][0]
            why = (
                f"{name}: not found in the sandbox"
                if error.errno == errno.ENOENT
                else f"{name}: {error.strerror}"
            )
            wire.send(self._line, ("not started", 127 if error.errno == errno.ENOENT else 126, why))
            return
        for file in set(self._streams):
            os.close(file)
        wire.send(self._line, ("started", pid))
        self._wait(pid, os.pidfd_open(machine.monitor))
        # The claim on the uid lasts as long as anything of the sandbox does.
        del claim

    def _limit(self) -> dict[str, str]:
        bounds: dict[str, str] = {}
        # The init and this process are counted within the user namespace, too. There is no more to leave room for: only
        # one process is ever started from outside, the agent's first. So this bound is exact, and the control group,
        # with room for the sandbox's own processes, is there in case it fails.
        most = entering.at_most(resource.RLIMIT_NPROC, self._plan["pids"] + 2)
        controllers = self._plan["bounds"]
        bounds["pids"] = "RLIMIT_NPROC" + (f", {controllers['pids']}" if "pids" in controllers else "")
        limits = {resource.RLIMIT_NPROC: most, resource.RLIMIT_NOFILE: _FILES}
        if "memory" not in controllers:
            limits[resource.RLIMIT_DATA] = self._plan["memory"]
            bounds["memory"] = "RLIMIT_DATA, for each process and not for all together"
        for which, limit in limits.items():
            resource.setrlimit(which, (entering.at_most(which, limit),) * 2)
        return {**controllers, **bounds}

    def _start(self) -> int:
        """Start the agent's program.

        Returns:
            Its pid on the host.

        Raises:
            OSError: It cannot be started.
        """
        argv, environment = self._plan["argv"], self._plan["environment"]
        os.chdir("/workspace")
        program = entering.find_program(argv[0], environment["PATH"])
        trusted = (*entering.TRUSTED, *(place.rstrip("/") + "/" for place in self._plan["read"]))
        plain = entering.without_links(os.path.join("/workspace", program))
        if not plain.startswith(trusted):
            argv = ["sh", "-c", 'exec "$0" "$@"', program, *argv[1:]]
            plain = entering.without_links("/bin/sh")
        failed, fail = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                if self._plan["terminal"]:
                    fcntl.ioctl(self._streams[0], termios.TIOCSCTTY, 0)
                for target, file in enumerate(self._streams):
                    os.dup2(file, target)
                for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
                    signal.signal(number, signal.SIG_DFL)
                # The soft limit is what programs that use select() expect.
                resource.setrlimit(
                    resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
                )
                _execute(plain, argv, environment)
            except OSError as error:
                os.write(fail, b"%d" % (error.errno or 0))
            finally:
                os._exit(126)
        os.close(fail)
        os.chdir("/")
        with os.fdopen(failed, "rb") as end:
            why = end.read()
        if why:
            os.waitpid(pid, 0)
            raise OSError(int(why), os.strerror(int(why)))
        return pid

    def _wait(self, pid: int, monitor: int) -> None:
        main = os.pidfd_open(pid)
        poll = select.poll()
        for file in (main, monitor, self._line.fileno()):
            poll.register(file, select.POLLIN)
        while True:
            for file, _ in poll.poll():
                if file == main:
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    wire.send(self._line, ("exit", code if code >= 0 else 128 - code))
                    poll.unregister(main)
                elif file == monitor:
                    # Every process inside is gone with the init, the agent's program too.
                    poll.unregister(monitor)
                else:
                    message = wire.receive(self._line)
                    if message is None:
                        return
                    if message[0][0] == "signal":
                        with suppress(OSError):
                            os.killpg(pid, message[0][1])


class _Porter:
    """A short-lived process that keeps root's rights, to bring in the workspace with the agent as its owner.

    The cell has given them up by the time there is something to bring it into.
    """

    def __init__(self, place: str) -> None:
        self.line, theirs = wire.pair()
        cell = os.getpid()
        self._pid = os.fork()
        if self._pid:
            theirs.close()
            return
        try:
            kernel.die_with(cell)
            self.line.close()
            try:
                _bring(place, theirs)
                wire.send(theirs, "")
            except OSError as error:
                wire.send(theirs, f"the workspace cannot be brought in ({error.strerror}): {_advice(place)}")
            except SandboxUnavailable as error:
                wire.send(theirs, str(error))
        finally:
            os._exit(0)

    def furnish(self, namespace: int) -> None:
        """Have the workspace mounted in a mount namespace.

        Raises:
            SandboxUnavailable: It cannot be; the message says why.
        """
        wire.send(self.line, os.geteuid(), [namespace])
        answer = wire.receive(self.line)
        os.waitpid(self._pid, 0)
        self.line.close()
        if answer is None or answer[0]:
            raise SandboxUnavailable(answer[0] if answer else "the workspace could not be brought in")


def _bring(place: str, line: socket.socket) -> None:
    message = wire.receive(line)
    if message is None:
        return
    uid, (namespace,) = message
    about = os.stat(place)
    disk, shown = (about.st_uid, about.st_gid), (uid, uid)
    mounts = [("/workspace", workspace.idmapped(place, disk, shown))]
    for part, writable in workspace.protected(place):
        mount = workspace.idmapped(f"{place}/{part}", disk, shown, read_only=not writable)
        mounts.append((f"/workspace/{part}", mount))
    kernel.enter_namespace(namespace)
    for target, mount in mounts:
        workspace.attach(mount, target)


def _advice(place: str) -> str:
    return workspace.supported(place) or "name another with --workspace"


def _execute(program: str, argv: list[str], environment: dict[str, str]) -> None:
    try:
        os.execve(program, argv, environment)  # noqa: S606
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    # A script without an interpreter's line is the shell's, as everywhere.
    os.execve("/bin/sh", ["sh", program, *argv[1:]], environment)  # noqa: S606


def arguments(plan: "dict[str, Any]", *, bound: bool) -> list[str | bytes]:
    """Arguments for ``bwrap``.

    Args:
        plan: The cell's plan.
        bound: Whether the workspace comes in as it is, because it is the operator's own who starts the agent.

    Returns:
        The arguments, where bytes stand for the number of an open file that holds them.
    """
    place = plan["workspace"]
    given: list[str | bytes] = [
        "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup",
        "--disable-userns", "--uid", str(UID), "--gid", str(UID), "--hostname", "agent",
        "--die-with-parent", "--as-pid-1", "--new-session", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin",
        "--perms", "0755", "--dir", "/etc", "--perms", "0755", "--dir", "/var",
        *system(),
        *users("agent", plan["home"]),
        "--perms", "1777", "--size", str(plan["memory"]), "--tmpfs", "/tmp",
        "--perms", "0700", "--dir", plan["home"],
        "--symlink", "../tmp", "/var/tmp",
        *put("/etc/resolv.conf", "", 0o444),
        *(part for path, text in plan.get("files", {}).items() for part in put(path, text, 0o444)),
    ]  # fmt: skip
    for path in plan["read"]:
        given += ["--ro-bind", path, path]
    if bound:
        given += ["--bind", place, "/workspace"]
        for part, writable in workspace.protected(place):
            given += ["--bind" if writable else "--ro-bind", f"{place}/{part}", f"/workspace/{part}"]
    else:
        given += ["--dir", "/workspace"]
    return [*given, "--chdir", "/", "--remount-ro", "/", "--", *INIT_COMMAND]


__all__ = ["PROMISES", "USER", "arguments", "live", "missing"]

"""The engine of a container, podman or docker, through its command line."""

import json
import os
import resource
import select
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from offswitch.sandboxes import entering, kernel, seccomp
from offswitch.sandboxes.cells import oci_view
from offswitch.sandboxes.errors import SandboxUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ENGINES = ("podman", "docker")

SECONDS = 20.0
"""How long an engine may take for one answer."""

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_INITS = ("/usr/libexec/podman/catatonit", "/usr/lib/podman/catatonit", "/usr/bin/catatonit")

# What an engine, its loader and its runtime read from their own environment. An agent's variable of such a name has
# to stand on the command line; all others travel in the engine's environment, where no other user can read them.
_OWN_VARIABLES = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "TMPDIR", "LANG", "LC_", "LD_", "GCONV_", "GLIBC_",
    "MALLOC_", "XDG_", "DBUS_", "LISTEN_", "NOTIFY_", "SSL_", "SSH_AUTH", "GODEBUG", "GOTRACE", "GOMAXPROCS", "GOGC",
    "GOMEMLIMIT", "CONTAINER", "_CONTAINER", "_LIBCONTAINER", "DOCKER_", "PODMAN_", "STORAGE_", "BUILDAH_", "REGISTRY_",
    "CNI_", "NETAVARK_", "_OCI_", "RUNC_", "CRUN_", "CONMON_", "HTTP_", "HTTPS_", "NO_PROXY", "FTP_", "ALL_PROXY",
    "http_", "https_", "no_proxy", "ftp_", "all_proxy",
)  # fmt: skip


def find(options: "Mapping[str, Any]") -> tuple[str, str] | None:
    """The engine to use.

    Returns:
        Its name and its program; None if there is none.
    """
    named = options.get("engine")
    for name in ENGINES if named is None else (named,):
        program = shutil.which(name, path=_path())
        if program is not None:
            return name, program
    return None


def runtime_program(name: str) -> str | None:
    """The program of an OCI runtime, given by name or path."""
    return shutil.which(name, path=_path())


def _path() -> str:
    given = os.environ.get("PATH")
    return f"{given}:{_SYSTEM_PATH}" if given else _SYSTEM_PATH


class Engine:
    """Runs the engine's commands, each within a bound of time.

    Args:
        name: ``podman`` or ``docker``.
        program: Its program.
        runtime: The OCI runtime's name or path; None for the engine's own.
        viewing: Whether each command has to enter the view of ``oci_view`` first; not where the caller is in it.
    """

    def __init__(self, name: str, program: str, runtime: str | None, *, viewing: bool) -> None:
        self.name = name
        self.runtime = runtime
        self._program = program
        self._viewing = viewing

    @property
    def gvisor(self) -> bool:
        """Whether the runtime is gVisor: a kernel of its own, which sees nothing of the host's namespaces."""
        return os.path.basename(self.runtime or "").startswith("runsc")

    def default_runtime(self) -> str | None:
        """The runtime that podman would use, from its help; None if it does not say.

        ``podman info`` says it too, and takes twenty times as long.
        """
        if self.name != "podman":
            return None
        for line in self._answer(["--help"]).splitlines():
            if line.split()[:1] == ["--runtime"]:
                return line.partition('(default "')[2].partition('"')[0] or None
        return None

    def call(
        self, *arguments: str, seconds: float = SECONDS, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run one command.

        Args:
            arguments: The command and its arguments.
            seconds: How long it may take.
            environment: Variables besides this process's own.

        Returns:
            What it said.

        Raises:
            SandboxUnavailable: It failed or took too long; the message has its last line.
        """
        return self._answer([*self._globals(), *arguments], seconds, environment or {}, verb=arguments[0])

    def _answer(
        self,
        arguments: Sequence[str],
        seconds: float = SECONDS,
        environment: Mapping[str, str] | None = None,
        *,
        verb: str = "",
    ) -> str:
        # Files in memory and no pipes: what the engine leaves running keeps them open, so their end is never seen.
        out, err = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("out", "err"))
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            pid = self._start(arguments, (null, out, err), environment or {})
            handle = os.pidfd_open(pid)
            try:
                poll = select.poll()
                poll.register(handle, select.POLLIN)
                timely = poll.poll(seconds * 1000)
                if not timely:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            finally:
                os.close(handle)
            if not timely:
                raise SandboxUnavailable(
                    f"{self.name} {verb} did not answer within {seconds:.0f} s: see whether `{self.name} ps` does"
                )
            if status != 0:
                raise SandboxUnavailable(f"{self.name} {verb}: {_last_line(err) or f'exit status {status}'}")
            return _content(out)
        finally:
            for file in (out, err, null):
                os.close(file)

    def attach(self, arguments: Sequence[str], streams: tuple[int, int, int], *, terminal: bool) -> int:
        """Start a command that stays, with streams of its own, in a session of its own.

        Args:
            arguments: The command and its arguments.
            streams: Its standard input, output and error.
            terminal: Whether they are a terminal, which becomes the session's.

        Returns:
            Its pid.
        """
        return self._start([*self._globals(), *arguments], streams, {}, session=True, terminal=terminal)

    def _start(
        self,
        arguments: Sequence[str],
        streams: tuple[int, int, int],
        environment: Mapping[str, str],
        *,
        session: bool = False,
        terminal: bool = False,
    ) -> int:
        own = {name: value for name, value in os.environ.items() if name.startswith(_OWN_VARIABLES)}
        variables = {**own, **environment, "PATH": _path()}
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            kernel.die_with(parent)
            if session:
                os.setsid()
            if terminal:
                import fcntl
                import termios

                fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
            for target, file in enumerate(streams):
                os.dup2(file, target)
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            if self._viewing:
                oci_view.enter()
            os.execve(self._program, [self.name, *arguments], variables)  # noqa: S606
        except OSError as error:
            with suppress(OSError):
                os.write(2, f"it could not be run: {error.strerror}\n".encode())
        finally:
            os._exit(126)

    def _globals(self) -> list[str]:
        if self.name == "docker":
            return []
        given = ["--log-level", "error", "--cgroup-manager", "cgroupfs"]
        if self.runtime is not None:
            given += ["--runtime", self.runtime]
        if self.gvisor:
            # The container's group is ours already; gVisor's network is off whatever the engine says.
            given += ["--runtime-flag", "network=none", "--runtime-flag", "ignore-cgroups"]
            # A set-id bit that gVisor's kernel granted would be one on the host's disk.
            given += ["--runtime-flag", "oci-seccomp"]
        return given

    def create(
        self,
        name: str,
        plan: "Mapping[str, Any]",
        mounts: "Sequence[tuple[str, str, bool]]",
        more: Sequence[str],
        argv: Sequence[str],
    ) -> str:
        """Make a container of which nothing runs.

        Args:
            name: Its name.
            plan: The cell's plan.
            mounts: Path on the host, path inside, and whether it can be written to.
            more: Arguments that depend on the host.
            argv: The command inside.

        Returns:
            The container's id.

        Raises:
            SandboxUnavailable: It cannot be made.
        """  # fmt: skip
        own = self.name == "podman"
        given = [
            "--name", name, "--label", f"offswitch.agent={plan['name']}", "--pull=never", "--hostname", "agent",
            "--network", "none", "--ipc", "private", "--read-only", "--cap-drop", "all",
            "--security-opt", "no-new-privileges", "--log-driver", "none", "--oom-score-adj", "1000",
            "--shm-size", str(16 << 20), "--workdir", "/workspace", "--interactive",
            "--tmpfs", f"/tmp:rw,exec,nosuid,nodev,mode=1777,size={plan['memory']}" + ",notmpcopyup" * own,
        ]  # fmt: skip
        if own:
            given += [
                "--read-only-tmpfs=false", "--image-volume=ignore", "--systemd=false", "--no-healthcheck",
                "--http-proxy=false", "--pids-limit=-1", "--uts", "private", "--pid", "private",
                "--passwd-entry", f"agent:*:1000:1000::{plan['home']}:/bin/sh",
            ]  # fmt: skip
        if self.gvisor or not own:
            given += ["--tmpfs", f"{plan['home']}:rw,exec,nosuid,nodev,mode=0777,size={plan['memory']}"]
        given += ["--security-opt", f"seccomp={_filter(plan)}"]
        if plan["terminal"]:
            given += ["--tty"]
        if os.path.exists("/sys/fs/selinux/enforce"):
            # Relabelling would change files of the host.
            given += ["--security-opt", "label=disable"]
        for limit, most in limits(plan).items():
            given += ["--ulimit", f"{limit}={most}:{most}"]
        for source, target, writable in mounts:
            given += ["--mount", mount(source, target, writable)]
        variables, passed = environment(plan)
        # An empty entry point: the image's own would run before the agent's command, or instead of it.
        return self.call(
            "create", *given, *variables, *more, "--entrypoint=", "--", plan["options"]["image"], *argv,
            environment=passed,
        ).strip()  # fmt: skip

    @property
    def has_init(self) -> bool:
        """Whether podman finds the small init that reaps orphans and passes on signals."""
        return any(os.path.exists(place) for place in _INITS)

    def remove(self, name: str, until: float) -> str | None:
        """Remove a container with its volumes, whatever its state. It may be gone already.

        Args:
            name: Its name.
            until: When to give up, by the monotonic clock.

        Returns:
            One line if it could not be done.
        """
        problem: str | None = "there was no time"
        while (left := until - time.monotonic()) > 0.5:
            try:
                self.call(
                    "rm",
                    "--force",
                    "--volumes",
                    *(["--ignore"] if self.name == "podman" else []),
                    name,
                    seconds=left,
                )
                return None
            except SandboxUnavailable as error:
                problem = str(error)
                if "no such container" in problem.lower():
                    return None
            time.sleep(0.1)
        return f"the container {name} could not be removed ({problem}): {self.name} rm --force {name}"


def _filter(plan: "Mapping[str, Any]") -> str:
    """Write the filter of system calls where the engine can read it; its path."""
    path = f"{plan['scratch']}/calls.json"
    try:
        rules = seccomp.profile()
    except ValueError as error:
        raise SandboxUnavailable(str(error)) from None
    with open(path, "w") as file:
        json.dump(rules, file)
    return path


def limits(plan: "Mapping[str, Any]") -> dict[str, int]:
    """Resource limits of the container's processes, within what is permitted here; see ``setrlimit(2)``."""
    given = {
        "core": 0,
        "nofile": entering.at_most(resource.RLIMIT_NOFILE, 65_536),
        # Counted within the container's user namespace, its init too.
        "nproc": entering.at_most(resource.RLIMIT_NPROC, plan["pids"] + 2),
    }
    if "memory" not in plan.get("bounds", {}):
        given["data"] = entering.at_most(resource.RLIMIT_DATA, plan["memory"])
    return given


def mount(source: str, target: str, writable: bool) -> str:
    """A bind mount as the value of ``--mount``: comma-separated fields, quoted as in RFC 4180."""
    fields = ["type=bind", f"source={source}", f"target={target}", *([] if writable else ["readonly"])]
    return ",".join(
        '"' + field.replace('"', '""') + '"' if '"' in field or "," in field else field for field in fields
    )


def environment(plan: "Mapping[str, Any]") -> tuple[list[str], dict[str, str]]:
    """The agent's variables as arguments, and what of them goes through the engine's own environment."""
    given = {"HOME": plan["home"], "USER": "agent", "LOGNAME": "agent", **plan["environment"]}
    arguments, passed = [], {}
    for name, value in given.items():
        if not name or "=" in name or "\0" in name + value:
            raise SandboxUnavailable(f"there can be no variable of the name {name!r}: leave it out")
        if name.startswith(_OWN_VARIABLES) or name.endswith("*"):
            arguments += ["--env", f"{name}={value}"]
        else:
            arguments += ["--env", name]
            passed[name] = value
    return arguments, passed


def _content(file: int) -> str:
    return os.pread(file, 1 << 20, 0).decode("utf-8", "replace")


def _last_line(file: int) -> str:
    lines = [line.strip() for line in _content(file).splitlines() if line.strip()]
    return lines[-1].removeprefix("Error: ")[:500] if lines else ""

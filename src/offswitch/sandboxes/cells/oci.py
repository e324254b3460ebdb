"""The cell of an agent in a container, made by podman or docker through their command line; gVisor with ``runsc``.

With podman: ``create``, ``init`` (everything up, the container's init waiting in the runtime), and at go ``start
--attach``, whose streams are the agent's. Everything that this starts, conmon and the runtime too, inherits the
control group that the cell has entered, and the container's own init is looked up in it before anything of the agent
runs.

docker's daemon starts containers elsewhere and knows no such waiting. There the image's own shell waits for go, the
daemon is told the group (cgroup v2 alone), the agent is the workspace's owner, and users are the host's own.
"""

import itertools
import json
import os
import select
import signal
import socket
import stat
import time
from contextlib import suppress

from offswitch.sandboxes import identity, kernel, wire, workspace
from offswitch.sandboxes.cells import oci_engine, oci_users, oci_view, ports
from offswitch.sandboxes.cgroups import Group
from offswitch.sandboxes.errors import SandboxUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.sandboxes.cells.oci_engine import Engine

PROMISES = {
    "kernel": "shares the host's kernel, behind a filter of system calls; with runsc gVisor's stands between",
    "init": "the engine's, of the agent's own user, who can trace it: nothing of the kill path rests on it",
    "network": "none but a loopback; hosts that the policy names, through a proxy outside (not with runsc)",
    "files": "the image read-only; only the workspace and /tmp (with /dev/shm, in memory) can be written",
    "memory": "bounded for all processes together where there is a control group, else for each process",
    "pids": "bounded",
    "hold": "freezes every process where there is a control group of version 2",
}

_UID = 1000
_NAMESPACES = ("pid", "mnt", "net", "ipc", "user", "uts", "cgroup")
"""The first tell most about who is inside."""
_DRAIN = 10.0
"""Seconds that the engine may take to pass on the last output after the container's end."""
_RECORD = "container"
"""File in the scratch directory that names the container from before it is made."""
_RUN = "/run"
"""Where root mounts a workspace for a container: its users have to reach it, and the scratch directory is closed."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What podman sets where neither the image nor the agent's variables have a PATH."""
_GATE = "/run/offswitch-gate"


def missing(options: "dict[str, Any]") -> str | None:
    """What this host lacks for this kind; see the package.

    Args:
        options: ``image``: an image that the engine has; ``engine``: ``podman`` or ``docker`` (default: what is there,
            podman first); ``runtime``: the OCI runtime (``runc``, ``crun``, ``runsc``; default: the engine's own).
    """
    unknown = sorted(set(options) - {"image", "engine", "runtime"})
    if unknown:
        return f"an oci sandbox has no setting {unknown[0]}: it has image, engine and runtime"
    for name, value in options.items():
        if not isinstance(value, str) or not value or value.startswith("-") or "\0" in value:
            return f"the setting {name} of an oci sandbox cannot be {value!r}"
    if "image" not in options:
        return "an oci sandbox needs an image: name one that the engine has (podman images)"
    if options.get("engine", "podman") not in oci_engine.ENGINES:
        return f"there is no engine {options['engine']}: choose podman or docker"
    found = oci_engine.find(options)
    if found is None:
        wanted = options.get("engine", "podman")
        return f"{wanted} is not installed: install it (Debian: apt-get install {wanted} runc)"
    runtime = options.get("runtime")
    if runtime is not None and oci_engine.runtime_program(runtime) is None:
        return f"the runtime {runtime} is not installed: install it (Debian: apt-get install {runtime})"
    if found[0] == "podman" and not identity.needed() and oci_engine.runtime_program("newuidmap") is None:
        return "podman cannot give users to a container: install newuidmap (Debian: apt-get install uidmap)"
    return None


def bounds_for(plan: "dict[str, Any]") -> tuple[int, int]:
    """What the control group is to allow: bytes and processes of the agent, and of the engine's programs beside it."""
    if plan["options"].get("runtime", "").startswith("runsc"):
        # gVisor takes up to eight of the host's tasks for each process inside, and ends itself when it gets none.
        return plan["memory"] + (256 << 20), 8 * plan["pids"] + 192
    return plan["memory"] + (192 << 20), plan["pids"] + 96


def live(
    line: socket.socket,
    plan: "dict[str, Any]",
    group: Group | None,
    streams: tuple[int, int, int],
    supervisor: int,
) -> None:
    """Be the cell of one agent; see the package."""
    kernel.die_with(supervisor)
    cell = _Cell(line, plan, group, streams)
    try:
        cell.run()
    except SandboxUnavailable as error:
        cell.clear()
        wire.send(line, ("failed", str(error)))
    except OSError as error:
        cell.clear()
        where = f"{error.filename}: " if error.filename else ""
        wire.send(line, ("failed", f"the container could not be made: {where}{error.strerror}"))
    except ValueError as error:
        cell.clear()
        wire.send(line, ("failed", f"the engine answered what cannot be read: {error}"))


def tidy(plan: "dict[str, Any]", facts: "dict[str, Any]") -> list[str]:
    """Remove the container and the directory that its workspace was mounted on; see the package."""
    known = facts.get("tidy") or {}
    name, found = _recorded(plan), oci_engine.find(plan["options"])
    if not name or found is None:
        return []
    with suppress(OSError):
        os.rmdir(f"{_RUN}/{name}")
    ended = known.get("exit")
    if ended:
        # podman waits 5 s for conmon to say how the container ended, and conmon was killed with it.
        with suppress(OSError), open(ended, "x") as file:
            file.write("137")
    engine = _engine(plan, found, known.get("runtime"), viewing=identity.needed())
    problem = engine.remove(name, time.monotonic() + 18)
    return [problem] if problem else []


def _recorded(plan: "dict[str, Any]") -> str | None:
    try:
        with open(f"{plan['scratch']}/{_RECORD}") as file:
            return file.read()
    except OSError:
        return None


def _engine(
    plan: "dict[str, Any]", found: tuple[str, str], runtime: str | None, *, viewing: bool
) -> "Engine":
    return oci_engine.Engine(
        *found, runtime or plan["options"].get("runtime"), viewing=viewing and found[0] == "podman"
    )


class _Cell:
    def __init__(
        self, line: socket.socket, plan: "dict[str, Any]", group: Group | None, streams: tuple[int, int, int]
    ) -> None:
        self._line = line
        self._plan = plan
        self._group = group
        self._streams = streams
        self._root = identity.needed()
        self._bounds: dict[str, str] = {}
        self._known: dict[str, Any] = {}
        self._engine: Engine
        self._bundle = ""
        self._client = self._client_handle = -1
        self._name = "offswitch-" + os.urandom(8).hex()
        self._outside = -1
        self._pid = 0
        self._init = -1

    def run(self) -> None:
        """Make the container, run the agent's program in it, and tell of both."""
        plan = self._plan
        found = oci_engine.find(plan["options"])
        problem = missing(plan["options"])
        if problem is not None or found is None:
            raise SandboxUnavailable(problem or "no engine is installed")
        self._settle()
        if self._root and found[0] == "podman":
            self._outside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            oci_view.enter()
        self._engine = _engine(plan, found, None, viewing=False)
        self._choose_runtime()
        more, argv, claim = self._particulars()
        mounts = [*self._workspace(claim[0] if claim else None), *self._readable()]
        if self._engine.name == "docker":
            mounts.append((self._make_gate(), _GATE, True))
        self._record()
        self._engine.create(self._name, plan, mounts, more, argv)
        self._bring_up()
        self._known |= {"runtime": self._engine.runtime}
        handed = self._open_namespaces()
        listening, absent = self._furnish(handed)
        handed = {**listening, **handed}
        self._watch_over()
        facts = {"files": list(handed), "bounds": self._limits(), "tidy": self._known}
        wire.send(self._line, ("ready", facts, b""), [self._init, *handed.values()])
        for file in handed.values():
            os.close(file)
        message = wire.receive(self._line)
        if message is None or message[0] != ("go",):
            return
        if absent is not None:
            wire.send(self._line, ("not started", *absent))
            return
        self._live()
        # The claim on the users lasts as long as anything of the container does.
        del claim

    def clear(self) -> None:
        """Leave nothing of a start that failed."""
        if self._init >= 0:
            with suppress(OSError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
        if self._outside >= 0:
            kernel.enter_namespace(self._outside)
        tidy(self._plan, {"tidy": self._known})

    # Making

    def _settle(self) -> None:
        """Let go of the supervisor's files and session, and enter the group."""
        os.setsid()
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for target in (0, 1, 2):
            if target not in self._streams and target != self._line.fileno():
                os.dup2(null, target)
        keep = {0, 1, 2, self._line.fileno(), *self._streams}
        for file in map(int, os.listdir("/proc/self/fd")):
            if file not in keep:
                with suppress(OSError):
                    os.close(file)
        if self._group is not None:
            self._group.enter()
        os.umask(0o022)

    def _choose_runtime(self) -> None:
        """The engine's own runtime, unless it cannot work with this host's control groups."""
        engine = self._engine
        if engine.runtime is None:
            engine.runtime = engine.default_runtime()
            cannot = not self._root and not oci_view.unified() and os.path.ismount(oci_view.TOP + "/unified")
            if engine.runtime == "crun" and cannot and oci_engine.runtime_program("runc"):
                engine.runtime = "runc"
                self._bounds["runtime"] = "runc, because crun refuses this host's control groups"
        if engine.gvisor and ports(self._plan):
            raise SandboxUnavailable(
                "runsc has a network of its own, which the proxy cannot reach: name no hosts, or another runtime"
            )
        self._bounds = {
            "engine": engine.name,
            "runtime": engine.runtime or "the engine's own",
            **self._bounds,
        }

    def _particulars(self) -> tuple[list[str], list[str], tuple[int, socket.socket] | None]:
        """Arguments that depend on the engine and on who starts it; the command; the claim on a range of users."""
        plan, engine = self._plan, self._engine
        if engine.name == "docker":
            owner = os.stat(plan["workspace"])
            if owner.st_uid == 0:
                raise SandboxUnavailable(
                    "docker knows no users of its own for one container, and the workspace is root's: give it to"
                    " an ordinary user, or use podman"
                )
            more = ["--init", "--user", f"{owner.st_uid}:{owner.st_gid}"]
            if engine.runtime is not None:
                more += ["--runtime", engine.runtime]
            if self._group is not None and not oci_view.unified():
                raise SandboxUnavailable(
                    "docker's daemon cannot be held to one control group where there are controllers of version 1:"
                    " use podman, or boot with systemd.unified_cgroup_hierarchy=1"
                )
            if self._group is not None:
                more += ["--cgroup-parent", oci_view.groups("self").get("", "/")]
            # The gate is the image's own shell; it is in place before the agent's command is.
            gate = f'read -r _ < {_GATE} && exec "$@"'
            return more, ["/bin/sh", "-c", gate, "sh", *plan["argv"]], None
        more = ["--user", f"{_UID}:{_UID}", "--pidfile", plan["scratch"] + "/pid"]
        more += ["--conmon-pidfile", plan["scratch"] + "/conmon"]
        if engine.has_init:
            more += ["--init"]
        claim = None
        if self._root:
            claim = oci_users.claim()
            same = f"0:{claim[0]}:{oci_users.SIZE}"
            more += ["--uidmap", same, "--gidmap", same]
        else:
            more += [f"--userns=keep-id:uid={_UID},gid={_UID}"]
        own = oci_view.groups("self").get("", "/")
        if engine.runtime == "crun":
            # It waits a second for each controller that it cannot have below a group with processes in it.
            more += ["--cgroups=disabled"]
        elif self._group is not None:
            more += ["--cgroups=no-conmon", "--cgroup-parent", own]
        else:
            more += ["--cgroups=no-conmon"]
        return more, list(plan["argv"]), claim

    def _workspace(self, base: int | None) -> list[tuple[str, str, bool]]:
        place = self._plan["workspace"]
        parts = workspace.protected(place)
        if base is None:
            return [(place, "/workspace", True)] + [
                (f"{place}/{part}", f"/workspace/{part}", writable) for part, writable in parts
            ]
        target = f"{_RUN}/{self._name}"
        self._record()
        os.mkdir(target, 0o711)
        about = os.stat(place)
        owners = [((about.st_uid, about.st_gid), (base + _UID, base + _UID))]
        if self._engine.gvisor:
            # gVisor's file server makes a file as the container's root, then gives it to who asked for it.
            owners.append(((base, base), (base, base)))
        try:
            workspace.attach(workspace.idmapped_all(place, owners, read_only=False), target)
            for part, writable in parts:
                mount = workspace.idmapped_all(f"{place}/{part}", owners, read_only=not writable)
                workspace.attach(mount, f"{target}/{part}")
        except OSError as error:
            why = workspace.supported(place) or "name another with --workspace"
            raise SandboxUnavailable(
                f"the workspace cannot be brought in ({error.strerror}): {why}"
            ) from None
        # Each by itself, for crun leaves behind what is mounted below.
        return [(target, "/workspace", True)] + [
            (f"{target}/{part}", f"/workspace/{part}", writable) for part, writable in parts
        ]

    def _record(self) -> None:
        """Write down, before there is anything of that name, what is to be removed."""
        # In one step: a record that is there but empty would name nothing.
        path = f"{self._plan['scratch']}/{_RECORD}"
        with open(path + ".new", "w") as record:
            record.write(self._name)
        os.rename(path + ".new", path)

    def _readable(self) -> list[tuple[str, str, bool]]:
        given = [(path, path, False) for path in self._plan["read"]]
        for number, (path, text) in enumerate(self._plan.get("files", {}).items()):
            own = f"{self._plan['scratch']}/file{number}"
            with open(own, "w") as file:
                file.write(text)
            os.chmod(own, 0o444)
            given.append((own, path, False))
        return given

    def _make_gate(self) -> str:
        path = f"{self._plan['scratch']}/gate"
        os.mkfifo(path, 0o644)
        return path

    def _bring_up(self) -> None:
        """Have the container up with its init waiting, and hold on to that init."""
        if self._engine.name == "docker":
            # The client is there before the program, so that no output is lost.
            keys = ",".join(["ctrl-@", "ctrl-_"] * 4)
            self._attach("start", "--attach", "--interactive", "--detach-keys", keys, self._name)
            told = self._await_pid()
            parent = None
        else:
            try:
                self._engine.call("init", self._name)
            except SandboxUnavailable as error:
                raise SandboxUnavailable(_advice(str(error), self._plan)) from None
            told = _text(self._plan["scratch"] + "/pid")
            parent = int(_text(self._plan["scratch"] + "/conmon"))
            self._read_conmon(parent)
        self._pid = int(told)
        self._init = os.pidfd_open(self._pid)
        # Were it gone, and its number another's, that other would not be what stands here.
        if parent is not None and _parent(self._pid) != parent:
            raise SandboxUnavailable(f"{self._engine.name}: the container ended as it came up")
        self._hold_to_group(self._pid, *([parent] if parent is not None else []))

    def _attach(self, *command: str) -> None:
        """Start the engine's client that passes on the streams, and let go of them."""
        self._client = self._engine.attach(command, self._streams, terminal=self._plan["terminal"])
        self._client_handle = os.pidfd_open(self._client)
        for file in set(self._streams):
            os.close(file)

    def _await_pid(self) -> str:
        end = time.monotonic() + oci_engine.SECONDS
        while time.monotonic() < end:
            told = self._inspect("{{.State.Pid}}")
            if told not in ("", "0"):
                return told
            if select.select([self._client_handle], [], [], 0.02)[0]:
                break
        raise SandboxUnavailable("docker start: the container did not come up; its reason is in the output")

    def _read_conmon(self, conmon: int) -> None:
        """Learn where conmon says how the container ended, and where its configuration lies."""
        with open(f"/proc/{conmon}/cmdline", "rb") as text:
            words = [word.decode("utf-8", "surrogateescape") for word in text.read().split(b"\0")]
        given = dict(itertools.pairwise(words))
        if "--exit-dir" in given and "-c" in given:
            self._known["exit"] = f"{given['--exit-dir']}/{given['-c']}"
        self._bundle = given.get("-b", "")

    def _hold_to_group(self, *processes: int) -> None:
        """See that the container's init, and conmon, are in the group's directories or below."""
        if self._group is None:
            return
        own = oci_view.groups("self")
        for pid in processes:
            theirs = oci_view.groups(pid)
            for controllers, path in own.items():
                other = theirs.get(controllers, "")
                if path != "/" and other != path and not other.startswith(path + "/"):
                    raise SandboxUnavailable(
                        f"{self._engine.name} put the container outside of its control group ({other or 'none'} and"
                        f" not {path}): use podman with runc or crun"
                    )

    def _open_namespaces(self) -> dict[str, int]:
        handed = {}
        for name in _NAMESPACES:
            with suppress(OSError):
                file = os.open(f"/proc/{self._pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                about, own = os.fstat(file), os.stat(f"/proc/self/ns/{name}")
                # One that is the host's tells nothing of the agent.
                if (about.st_dev, about.st_ino) == (own.st_dev, own.st_ino):
                    os.close(file)
                else:
                    handed[name] = file
        return handed

    def _furnish(self, namespaces: dict[str, int]) -> tuple[dict[str, int], tuple[int, str] | None]:
        """Make the home and the listening sockets, and look for the program, from a short-lived process inside.

        Returns:
            The sockets, as the facts name them; exit code and reason, if there is no such program.
        """
        if self._engine.gvisor or (self._engine.name == "docker" and not ports(self._plan)):
            return {}, None
        path = self._path()
        ours, theirs = wire.pair()
        cell = os.getpid()
        root = os.open(f"/proc/{self._pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                kernel.die_with(cell)
                ours.close()
                try:
                    podman = self._engine.name == "podman"
                    listening = _inside(namespaces, root, self._plan, home=podman)
                    absent = _look_up(root, self._plan["argv"][0], path) if podman else None
                    wire.send(theirs, ("", absent), listening)
                except OSError as error:
                    wire.send(theirs, (f"the container cannot be furnished: {error.strerror}", None))
            finally:
                os._exit(0)
        theirs.close()
        os.close(root)
        with ours:
            answer = wire.receive(ours)
        os.waitpid(pid, 0)
        why, absent = answer[0] if answer is not None else ("the container could not be furnished", None)
        if answer is None or why:
            raise SandboxUnavailable(why)
        return dict(zip(ports(self._plan), answer[1], strict=True)), absent

    def _watch_over(self) -> None:
        """Have a process that kills the container's init when this one is gone, however it went.

        conmon leaves its parent, so the container does not die with the cell by itself. Where there is a control
        group its kill does the same and more.
        """
        leash, end = os.pipe2(os.O_CLOEXEC)
        if os.fork() == 0:
            try:
                os.setsid()
                for file in map(int, os.listdir("/proc/self/fd")):
                    if file not in (leash, self._init):
                        with suppress(OSError):
                            os.close(file)
                kernel.rename("leash")
                os.read(leash, 1)
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            finally:
                os._exit(0)
        os.close(leash)
        os.set_inheritable(end, False)
        self._end = end

    def _path(self) -> str:
        """Where the agent's program is looked for, as the container will have it."""
        try:
            with open(self._bundle + "/config.json") as text:
                variables = json.load(text)["process"]["env"]
            return str(dict(one.partition("=")[::2] for one in variables)["PATH"])
        except (OSError, ValueError, KeyError):
            return str(self._plan["environment"].get("PATH") or _PATH)

    def _limits(self) -> dict[str, str]:
        controllers = self._plan.get("bounds", {})
        bounds = {**self._bounds, "system calls": "seccomp"}
        if self._engine.gvisor:
            bounds["system calls"] = "gVisor, and seccomp within it"
            if "pids" in controllers:
                controllers = {**controllers, "pids": f"{controllers['pids']}, at which gVisor ends itself"}
        elif self._engine.name == "podman":
            bounds["pids"] = "RLIMIT_NPROC"
        if "memory" not in controllers:
            bounds["memory"] = "RLIMIT_DATA, for each process and not for all together"
        return {**bounds, **controllers}

    # Living

    def _live(self) -> None:
        """Start the agent's program, and be there until it has ended and the supervisor has taken notice."""
        engine, plan = self._engine, self._plan
        if engine.name == "docker":
            gated = _command(_only_child(self._pid))
            with open(f"{plan['scratch']}/gate", "w") as gate:
                gate.write("go\n")
        else:
            gated = _command(self._pid)
            self._attach(
                "start", "--attach", "--interactive", "--sig-proxy=false", "--detach-keys=", self._name
            )
        client, handle = self._client, self._client_handle
        poll = select.poll()
        for file in (handle, self._init, self._line.fileno()):
            poll.register(file, select.POLLIN)
        program: int | None = None
        deadline: float | None = None
        patience = time.monotonic()
        while True:
            settled = program is not None and deadline is None
            wait = None if settled else 3 if time.monotonic() < patience + 1 else 50
            for file, _ in poll.poll(wait):
                if file == handle:
                    code = os.waitstatus_to_exitcode(os.waitpid(client, 0)[1])
                    poll.unregister(handle)
                    self._finish(code, told=program is not None)
                    program, deadline = 0, None
                elif file == self._init:
                    poll.unregister(self._init)
                    deadline = time.monotonic() + _DRAIN
                else:
                    message = wire.receive(self._line)
                    if message is None:
                        return
                    if message[0][0] == "signal" and program is not None:
                        self._signal(program, message[0][1])
            if deadline is not None and time.monotonic() > deadline:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                deadline = None
            if program is None and (program := self._program(gated)) is not None:
                wire.send(self._line, ("started", program))

    def _program(self, gated: bytes) -> int | None:
        """Pid of the agent's program once it runs, 0 where it cannot be seen; None before."""
        if self._engine.gvisor:
            state = self._inspect("{{.State.Status}}")
            return 0 if state == "running" else None
        command = _command(self._pid)
        if not command or (command == gated and self._engine.name == "podman"):
            return None
        if self._engine.name == "podman" and not self._engine.has_init:
            return self._pid
        child = _only_child(self._pid)
        theirs = _command(child)
        return child if child and theirs and theirs not in (command, gated) else None

    def _finish(self, code: int, *, told: bool) -> None:
        if not told or code < 0 or code in (125, 126, 127):
            # The engine's own failures have these codes; the agent's program may have them as well.
            state, _, known = self._inspect("{{.State.Status}} {{.State.ExitCode}}").partition(" ")
            if state not in ("exited", "stopped") and not told:
                name = self._engine.name
                wire.send(
                    self._line,
                    ("not started", 126, f"{name} could not start it; its reason is in the output"),
                )
                return
            code = int(known) if known.isdigit() and state in ("exited", "stopped") else 137
            if not told:
                wire.send(self._line, ("started", 0))
        wire.send(self._line, ("exit", code))

    def _inspect(self, what: str) -> str:
        try:
            return self._engine.call(
                "inspect", "--type", "container", "--format", what, self._name, seconds=5
            ).strip()
        except SandboxUnavailable:
            return ""

    def _signal(self, program: int, number: int) -> None:
        with suppress(OSError, SandboxUnavailable):
            if program == 0:
                self._engine.call("kill", "--signal", str(number), self._name, seconds=5)
            elif os.getpgid(program) == program:
                os.killpg(program, number)
            else:
                os.kill(program, number)


def _inside(namespaces: dict[str, int], root: int, plan: "dict[str, Any]", *, home: bool) -> list[int]:
    """Enter the container's users and network, make what is to be there, and return the listening sockets."""
    if "user" in namespaces:
        kernel.enter_namespace(namespaces["user"])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    if home:
        # Whatever mode /tmp has in the image, which some runtimes hand on.
        temporary = kernel.open_inside(root, "/tmp", os.O_RDONLY | os.O_DIRECTORY)
        os.fchmod(temporary, 0o1777)
        folder = os.path.basename(plan["home"])
        os.mkdir(folder, 0o700, dir_fd=temporary)
        os.chown(folder, _UID, _UID, dir_fd=temporary)
        os.close(temporary)
    asked = ports(plan)
    if asked:
        kernel.enter_namespace(namespaces["net"])
    listening = []
    for port in asked.values():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            listener.listen(256)
            listening.append(listener.detach())
    return listening


def _look_up(root: int, name: str, path: str) -> tuple[int, str] | None:
    """Whether the agent's program is there: the exit code and the reason, if it is not.

    The container's init would say it too late, and with a code that is anybody's.
    """
    answer: tuple[int, str] | None = 127, f"{name}: not found in the image"
    for place in [name] if "/" in name else [f"{place or '.'}/{name}" for place in path.split(":")]:
        with suppress(OSError):
            file = kernel.open_inside(root, os.path.join("/workspace", place), os.O_PATH)
            mode = os.fstat(file).st_mode
            os.close(file)
            if stat.S_ISREG(mode) and mode & 0o111:
                return None
            answer = 126, f"{name}: cannot be run"
    return answer


def _advice(problem: str, plan: "dict[str, Any]") -> str:
    if "executable file" in problem and "not found" in problem:
        return f"{plan['argv'][0]}: not found in the image {plan['options']['image']}"
    return problem


def _text(path: str) -> str:
    with open(path) as file:
        return file.read().strip()


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[1])


def _command(pid: int) -> bytes:
    """Command line of a process, empty if it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _only_child(pid: int) -> int:
    """First child of a process, 0 without one."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return int((file.read().split() or ["0"])[0])
    except OSError:
        return 0

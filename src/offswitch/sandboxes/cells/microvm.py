"""The cell of an agent in a micro virtual machine: QEMU's ``microvm``, with a kernel of its own.

The kill is the hypervisor's: QMP ``quit``, or SIGKILL to QEMU, which is one process with no children. The cell relays
between the agent's streams and the guest's ports and holds back when either side is slow. QEMU is a child of the
cell and dies with it.

The workspace is copied in and, when the agent is dead, by ``tidy``, out (``microvm_workspace``). An agent that ended
by itself, or on a signal of category 1, has had its workspace unmounted: nothing is lost. After a cut (category 0)
the image is as its journal left it: what was written within the last second or two may be missing.

The supervisor sets the group's bounds from ``bounds_for``, not from the plan: the plan's are the guest's.

Options: ``root`` (an ext4 image, or a folder with an unpacked root file system; by default busybox alone), ``kernel``
(an uncompressed kernel) with ``modules`` (folder of its modules; by default what ``microvm_image.prepare`` fetched),
``room`` (bytes that the agent can add to its workspace; by default 1 GiB).
"""

import fcntl
import os
import resource
import select
import signal
import socket
import stat
import struct
import termios
import time
from contextlib import suppress

from offswitch.sandboxes import cells, identity, kernel, wire, workspace
from offswitch.sandboxes.cells import microvm_image, microvm_network, microvm_qemu, microvm_workspace
from offswitch.sandboxes.cells.microvm_ext4 import Damaged
from offswitch.sandboxes.cells.microvm_streams import Flow, Telnet
from offswitch.sandboxes.cgroups import Group
from offswitch.sandboxes.errors import SandboxUnavailable

TYPE_CHECKING = False  # see ``wire``
if TYPE_CHECKING:
    from typing import Any

PROMISES = {
    "kernel": "one of its own, under QEMU: a way out needs a flaw in the guest's kernel and one in QEMU, which is an "
    "ordinary user without a network of its own or files to write",
    "network": "none but a loopback; hosts that the policy names, through a proxy outside, by a network device whose "
    "other end, in a namespace of its own, holds that proxy's port and nothing else",
    "files": "none of the host's: the root is a read-only disk image (busybox alone, unless the option `root` names "
    "another), and the workspace is a copy, brought back after the agent's death; a cut may lose the last two seconds",
    "memory": "the guest's own, which cannot grow",
    "pids": "bounded inside the guest; the host sees one process",
    "hold": "freezes QEMU where there is a control group of version 2; the guest's clock jumps afterwards",
}

_LEAST_MEMORY = 128 << 20

_KVM_BOOT, _TCG_BOOT = 8.0, 60.0
"""Seconds that a guest may take to come up."""

_SILENCE = 5.0
"""Seconds that nothing of an ended agent's output moves, after which the rest is given up."""

_TIDY = 15.0
"""Seconds for bringing the workspace back; a tidy may take 20."""

_ADDRESS = f"{microvm_network.GUEST}/{microvm_network.LENGTH}".encode()
_MOST_READ = 8
_TMPFS = 0x01021994


def missing(options: "dict[str, Any]") -> str | None:
    """What this host lacks for this kind; see the package."""
    if not microvm_qemu.is_supported():
        return "the microvm kind runs on x86_64 only: choose another sandbox"
    if microvm_qemu.program() is None:
        return "QEMU is not installed: install it (Debian: apt-get install qemu-system-x86)"
    if not microvm_workspace.program():
        return "mke2fs is not installed: install it (Debian: apt-get install e2fsprogs)"
    try:
        microvm_image.busybox()
        microvm_image.kernel(options)
    except microvm_image.Unprepared as error:
        return str(error)
    return None


def bounds_for(plan: "dict[str, Any]") -> tuple[int, int]:
    """What the control group of a plan's cell must allow: bytes of memory, and processes.

    The guest's memory and pids are bounded inside; QEMU takes more. Where the scratch folder is in memory, so are the
    images in it.
    """
    memory = plan["memory"] + microvm_qemu.OVERHEAD
    if _in_memory(plan["scratch"]):
        with suppress(OSError):
            memory += microvm_workspace.measure(plan["workspace"])[0] + _room(plan)
            memory += sum(microvm_workspace.measure(path)[0] for path in plan["read"] if os.path.isdir(path))
    return memory, microvm_qemu.TASKS


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
    except (SandboxUnavailable, microvm_image.Unprepared, microvm_qemu.Refused, Damaged) as error:
        wire.send(line, ("failed", str(error)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        wire.send(line, ("failed", f"the machine could not be made: {where}{error.strerror}"))


def tidy(plan: "dict[str, Any]", facts: "dict[str, Any]") -> list[str]:
    """Bring the workspace back and remove the images; see the package."""
    del facts  # where things lie follows from the plan, and so holds for a cell that never was ready
    image, listed = _workspace_files(plan)
    # The list is written last, so without it nothing was ever put in.
    if not os.path.exists(listed):
        return []
    try:
        problems, lost = microvm_workspace.bring_back(image, listed, plan["workspace"], _TIDY)
    except OSError as error:
        problems, lost = [f"the workspace could not be brought back: {error.strerror}"], True
    if lost:
        kept = f"{plan['name']}-{time.time_ns() // 1_000_000}"
        try:
            path = microvm_workspace.rescue(image, kept)
            problems.append(f"the workspace as the agent left it is kept in {path}")
        except OSError as error:
            problems.append(f"the workspace as the agent left it is in {image}: {error.strerror}")
            return problems
    else:
        os.unlink(image)
    os.unlink(listed)
    return problems


def _workspace_files(plan: "dict[str, Any]") -> tuple[str, str]:
    return plan["scratch"] + "/workspace.ext4", plan["scratch"] + "/workspace.list"


def _room(plan: "dict[str, Any]") -> int:
    return int(plan["options"].get("room", microvm_workspace.ROOM))


def _in_memory(folder: str) -> bool:
    """Whether a folder lies in a tmpfs, found from the mount table, for Python has no statfs that says so."""
    device = os.stat(folder).st_dev
    with open("/proc/self/mountinfo") as mounts:
        for mount in mounts:
            fields, _, about = mount.partition(" - ")
            if fields.split()[2] == f"{os.major(device)}:{os.minor(device)}":
                return about.split()[0] == "tmpfs"
    return False


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
        self._mark = b"\x1e" + b"%040d" % (int.from_bytes(os.urandom(16), "big") % 10**40)
        self._heard = b""
        self._complaints = b""
        self._code: int | None = None

    def run(self) -> None:
        """Make the machine, run the agent's program in it, and tell of both."""
        if self._plan["memory"] < _LEAST_MEMORY:
            raise SandboxUnavailable(
                f"the microvm kind needs at least {_LEAST_MEMORY >> 20} MiB of memory: raise --memory"
            )
        self._settle()
        handed = self._make_network()
        self._make_disks()
        self._boot()
        if self._tap is not None:
            # From here on QEMU alone has it: the device, and with the sockets its namespace, go when QEMU does.
            os.close(self._tap)
        handed = {"parting": self._monitor.detach(), **handed}
        facts = {"files": list(handed), "bounds": self._bounds, "tidy": {}}
        wire.send(self._line, ("ready", facts, microvm_qemu.QUIT), [self._machine, *handed.values()])
        for file in handed.values():
            os.close(file)
        message = wire.receive(self._line)
        if message is None or message[0] != ("go",):
            return
        self._say(b"go %d" % time.time())
        self._serve()

    def _settle(self) -> None:
        """Become a process of its own, in the group."""
        os.setsid()
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        keep = {self._line.fileno(), *self._streams, null}
        for file in (0, 1, 2):
            if file not in keep:
                os.dup2(null, file)
        for file in map(int, os.listdir("/proc/self/fd")):
            if file > 2 and file not in keep:
                with suppress(OSError):
                    os.close(file)
        if self._group is not None:
            self._group.enter()
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        kernel.close_to_tracers()
        self._user: int | None = None
        if identity.needed():
            # The claim lasts as long as this process, and the hypervisor does not outlive it.
            self._user, self._claim = identity.claim()
        if self._plan["terminal"]:
            # For its window size; and what is typed is for the terminal inside to make sense of.
            fcntl.ioctl(self._streams[0], termios.TIOCSCTTY, 0)
            _make_raw(self._streams[0])

    # Making

    def _make_network(self) -> dict[str, int]:
        """Make the far end of the guest's network device, where the plan has one; the sockets that listen there."""
        asked = cells.ports(self._plan)
        self._tap: int | None = None
        if not asked:
            return {}
        microvm_image.check_network(self._plan["options"])
        self._tap, sockets = microvm_network.make(asked.values())
        return dict(zip(asked, sockets, strict=True))

    def _run(self, argv: list[str]) -> bytes:
        """Run a short program of the host's, and return what it says.

        Raises:
            SandboxUnavailable: It fails.
        """
        heard, say = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                kernel.die_with(parent)
                null = os.open(os.devnull, os.O_RDWR)
                for target, file in enumerate((null, say, say)):
                    os.dup2(file, target)
                os.execve(argv[0], argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})  # noqa: S606
            finally:
                os._exit(127)
        os.close(say)
        with os.fdopen(heard, "rb") as answer:
            said = answer.read()
        if os.waitpid(pid, 0)[1]:
            why = said.decode("utf-8", "replace").strip().splitlines()
            name = os.path.basename(argv[0])
            raise SandboxUnavailable(f"{name} failed: {why[-1] if why else 'it said nothing'}")
        return said

    def _make_disks(self) -> None:
        plan = self._plan
        self._kernel, self._modules = microvm_image.kernel(plan["options"])
        root = self._open(microvm_image.root(plan["options"], self._run), os.O_RDONLY)
        self._disks = [("root", [root])]
        image, listed = _workspace_files(plan)
        self._protected = workspace.protected(plan["workspace"])
        size, count = microvm_workspace.measure(plan["workspace"])
        room = _room(plan)
        # One inode for each 16 KiB of room, as mke2fs has it by default.
        command = microvm_workspace.mke2fs(
            plan["workspace"], image, size + room, count + room // 16384, journal=True
        )
        self._run(command)
        known = microvm_workspace.list_of(image)
        microvm_workspace.give_to(image, 1000, known)
        known = microvm_workspace.list_of(image)
        self._disks.append(("workspace", [self._open(image, os.O_RDONLY), self._open(image, os.O_RDWR)]))
        microvm_workspace.keep_list(known, self._protected, listed)
        if len(plan["read"]) > _MOST_READ:
            raise SandboxUnavailable(f"the microvm kind can show at most {_MOST_READ} further paths")
        for number, path in enumerate(plan["read"]):
            self._disks.append((f"read{number}", [self._make_read(number, path)]))

    def _make_read(self, number: int, path: str) -> int:
        """An image of a further path of the host's."""
        source = path
        image = f"{self._plan['scratch']}/read{number}.ext4"
        if not stat.S_ISDIR(os.stat(path).st_mode):
            source = f"{self._plan['scratch']}/read{number}"
            os.makedirs(source, exist_ok=True)
            with open(path, "rb") as original, open(source + "/file", "wb") as copy:
                while content := original.read(1 << 20):
                    copy.write(content)
            os.chmod(source + "/file", os.stat(path).st_mode & 0o777)
        size, count = microvm_workspace.measure(source)
        self._run(microvm_workspace.mke2fs(source, image, size, count, journal=False))
        if self._user is None:
            # What the operator may read, the agent may.
            microvm_workspace.give_to(image, 1000, microvm_workspace.list_of(image))
        file = self._open(image, os.O_RDONLY)
        os.unlink(image)
        return file

    def _open(self, path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC)

    def _boot(self) -> None:
        """Start QEMU and wait for the guest's sign of life."""
        groups = microvm_qemu.for_kvm(self._user)
        if groups is not None and not microvm_image.kvm_failed():
            try:
                self._start("kvm", groups, _KVM_BOOT)
                return
            except microvm_qemu.Refused:
                # Some hosts have /dev/kvm and no machine comes up on it. One try shows it, until the next boot.
                microvm_image.note_kvm_failure()
        self._start("tcg", [], _TCG_BOOT)

    def _start(self, accelerator: str, groups: list[int], seconds: float) -> None:
        plan = self._plan
        names = ["terminal"] if plan["terminal"] else ["in", "out", "err"]
        kernel_file = self._open(self._kernel, os.O_RDONLY)
        initial = wire.in_memory(
            microvm_image.initial(self._modules, self._files(names), network=self._tap is not None)
        )
        ours: dict[str, socket.socket] = {}
        theirs: dict[str, socket.socket] = {}
        for name in ("monitor", "control", *names):
            ours[name], theirs[name] = socket.socketpair()
        complaints, complain = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        ports = {name: theirs[name].fileno() for name in ("control", *names)}
        argv = microvm_qemu.arguments(
            accelerator,
            plan["memory"],
            min(4, len(os.sched_getaffinity(0))) if accelerator == "kvm" else 1,
            kernel_file,
            initial,
            theirs["monitor"].fileno(),
            ports,
            self._disks,
            self._tap,
        )
        files = [kernel_file, initial, theirs["monitor"].fileno(), *ports.values()]
        files += [file for _, opened in self._disks for file in opened]
        files += [self._tap] if self._tap is not None else []
        self._pid, held = microvm_qemu.start(argv, files, kernel_file, complain, self._user, groups)
        self._machine = os.pidfd_open(self._pid)
        for file in (kernel_file, initial, complain):
            os.close(file)
        for end in theirs.values():
            end.close()
        self._monitor, self._control = ours.pop("monitor"), ours.pop("control")
        self._control.setblocking(False)
        self._ports, self._complained = ours, complaints
        try:
            if self._tap is not None and "hypervisor's network" not in held:
                # As the same user and in the same namespaces as who made it, it could enter the tap's.
                raise microvm_qemu.Refused(
                    "QEMU gets no network namespace of its own: run `offswitch doctor`"
                )
            microvm_qemu.greet(self._monitor, seconds)
            self._await_guest(time.monotonic() + seconds)
        except microvm_qemu.Refused as error:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            with suppress(OSError):
                self._complaints += os.read(complaints, 4096)
            said = self._complaints.decode("utf-8", "replace").strip().splitlines()
            raise microvm_qemu.Refused(f"the machine did not start: {said[-1] if said else error}") from None
        self._bounds = {
            "memory": "the guest's own memory",
            "pids": "RLIMIT_NPROC inside the guest",
            "processor": "KVM"
            if accelerator == "kvm"
            else "TCG: every instruction is translated, about 15 times slower",
            **held,
        }

    def _await_guest(self, deadline: float) -> None:
        while True:
            poll = select.poll()
            for file in (self._control.fileno(), self._machine, self._line.fileno()):
                poll.register(file, select.POLLIN)
            ready = [file for file, _ in poll.poll(max(0, (deadline - time.monotonic()) * 1000))]
            if self._line.fileno() in ready:
                # Before go nothing but its end comes here.
                os._exit(1)
            if self._machine in ready:
                raise microvm_qemu.Refused("QEMU ended")
            if not ready:
                raise microvm_qemu.Refused("the guest did not come up")
            for verb, value in self._listen():
                if verb == b"ready":
                    return
                if verb == b"failed":
                    raise microvm_qemu.Refused(value.decode("utf-8", "replace"))

    def _files(self, ports: list[str]) -> dict[str, bytes]:
        """What the guest's init and the agent's start are told."""
        plan = self._plan
        rows, columns = _window(self._streams[0]) if plan["terminal"] else (24, 80)
        told = [
            b"PORTS='" + " ".join(ports).encode() + b"'",
            b"TERMINAL=" + (b"1" if plan["terminal"] else b""),
            b"ROWS=%d" % rows,
            b"COLUMNS=%d" % columns,
            b"PIDS=%d" % plan["pids"],
            b"MARK='" + self._mark + b"'",
            b"ADDRESS=" + (_ADDRESS if self._tap is not None else b""),
            b"mount_read() {",
            b":",
        ]
        for number, path in enumerate(plan["read"]):
            place = _quoted(os.fsencode("/root" + path))
            told.append(b"mkdir -p /run/read%d" % number)
            told.append(b"disk read%d" % number)
            told.append(b'mount -t ext4 -o ro,nosuid,nodev "$disk" /run/read%d' % number)
            if stat.S_ISDIR(os.stat(path).st_mode):
                told.append(b"mkdir -p " + place)
                told.append(b"mount --bind /run/read%d " % number + place)
            else:
                told.append(b"mkdir -p " + _quoted(os.fsencode("/root" + os.path.dirname(path))))
                told.append(b": >" + place)
                told.append(b"mount --bind /run/read%d/file " % number + place)
        for part, writable in self._protected:
            place = _quoted(os.fsencode(f"/root/workspace/{part}"))
            told.append(b"mount --bind " + place + b" " + place)
            if not writable:
                told.append(b"mount -o remount,bind,ro,nosuid,nodev " + place)
        told += [b"}", b"release() {", b":"]
        told += [
            b"umount " + _quoted(os.fsencode(f"/root/workspace/{part}")) + b" 2>/dev/null"
            for part, _ in reversed(self._protected)
        ]
        told += [b"}", b""]
        return {"plan": b"\n".join(told), "start": _starter(plan)}

    # Serving

    def _say(self, text: bytes) -> None:
        # A guest that does not read its few lines is none that a line could help.
        with suppress(OSError):
            self._control.send(text + b"\n")

    def _listen(self) -> list[tuple[bytes, bytes]]:
        """Lines from the guest, each as a verb and the rest."""
        try:
            part = self._control.recv(4096)
        except BlockingIOError:
            return []
        except OSError:
            part = b""
        if not part:
            self._deaf = True
        *lines, self._heard = (self._heard + part).split(b"\n")
        self._heard = self._heard[:4096]
        return [(verb, value) for verb, _, value in (line.rstrip(b"\r").partition(b" ") for line in lines)]

    def _serve(self) -> None:
        """Relay until the agent has ended."""
        self._deaf = False
        outward, inward = self._flows()
        woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._plan["terminal"]:
            signal.signal(signal.SIGWINCH, lambda *_: None)
            signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        started = ended = False
        moved = time.monotonic()
        while True:
            wanted: dict[int, int] = {self._line.fileno(): select.POLLIN}
            if not ended:
                wanted[self._machine] = select.POLLIN
            if not self._deaf:
                wanted[self._control.fileno()] = select.POLLIN
            if self._complained >= 0:
                wanted[self._complained] = select.POLLIN
            wanted[woken] = select.POLLIN
            for flow in (*outward, *([inward] if started else [])):
                for file, events in flow.wants().items():
                    wanted[file] = wanted.get(file, 0) | events
            poll = select.poll()
            for file, events in wanted.items():
                poll.register(file, events)
            over = self._code is not None or ended
            ready = dict(poll.poll(500 if over else None))
            if self._line.fileno() in ready:
                message = wire.receive(self._line)
                if message is None:
                    return
                if message[0][0] == "signal":
                    self._say(b"signal %d" % message[0][1])
            if self._machine in ready:
                ended = True
            if self._complained in ready:
                self._drain_complaints()
            if woken in ready:
                os.read(woken, 4096)
                rows, columns = _window(self._streams[0])
                inward.put(Telnet.window(rows, columns))
            if self._control.fileno() in ready:
                for verb, value in self._listen():
                    if verb == b"started" and not started:
                        started = True
                        wire.send(self._line, ("started", 0))
                    elif verb == b"missing" and not started:
                        code, _, why = value.partition(b" ")
                        wire.send(self._line, ("not started", _code(code), why.decode("utf-8", "replace")))
                        return
                    elif verb == b"ended":
                        self._code = _code(value)
                        moved = time.monotonic()
            for flow in outward:
                if flow.move(ready):
                    moved = time.monotonic()
            if started:
                inward.move(ready)
            if over and (all(flow.done for flow in outward) or time.monotonic() > moved + _SILENCE):
                break
        for flow in outward:
            flow.close()
        # A machine that ended without a word was powered off, or its kernel gave up: to the agent that is a SIGKILL.
        wire.send(self._line, ("exit", 137 if self._code is None else self._code))
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _flows(self) -> tuple[list[Flow], Flow]:
        if self._plan["terminal"]:
            port = self._ports["terminal"]
            # One file stands for all three streams.
            terminal = self._streams[0]
            os.set_blocking(terminal, False)
            speech = Telnet()
            inward = Flow(terminal, port.fileno(), encode=speech.encode)
            return [Flow(port.fileno(), terminal, decode=speech.decode, mark=self._mark)], inward
        outward = [
            Flow(self._ports["out"].fileno(), self._streams[1], mark=self._mark),
            Flow(self._ports["err"].fileno(), self._streams[2], mark=self._mark),
        ]
        return outward, Flow(self._streams[0], self._ports["in"].fileno(), at_end=self._end_input)

    def _end_input(self) -> None:
        # Only one way: QEMU takes a socket that is closed both ways for gone, with what is still in it.
        with suppress(OSError):
            self._ports["in"].shutdown(socket.SHUT_WR)

    def _drain_complaints(self) -> None:
        with suppress(BlockingIOError):
            part = os.read(self._complained, 4096)
            if not part:
                os.close(self._complained)
                self._complained = -1


def _code(text: bytes) -> int:
    """An exit status that the guest names, which may be anything."""
    return int(text) & 0xFF if text.isdigit() and len(text) < 9 else 255


def _window(terminal: int) -> tuple[int, int]:
    """Rows and columns."""
    try:
        rows, columns = struct.unpack("=HHHH", fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8))[:2]
    except OSError:
        return 24, 80
    return (rows, columns) if rows and columns else (24, 80)


def _make_raw(terminal: int) -> None:
    """Pass every byte through: the terminal inside does the rest (termios(3), ``cfmakeraw``)."""
    settings = termios.tcgetattr(terminal)
    settings[0] &= ~(
        termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
        | termios.ICRNL | termios.IXON
    )  # fmt: skip
    settings[1] &= ~termios.OPOST
    settings[2] = settings[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    settings[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
    termios.tcsetattr(terminal, termios.TCSANOW, settings)


def _quoted(text: bytes) -> bytes:
    """As one word of a shell, exactly."""
    return b"'" + text.replace(b"'", b"'\\''") + b"'"


def _starter(plan: "dict[str, Any]") -> bytes:
    """A shell script that becomes the agent's program, or says that it cannot."""
    environment = {
        "HOME": plan["home"],
        "USER": "agent",
        "LOGNAME": "agent",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **plan["environment"],
    }
    words = [_quoted(os.fsencode(f"{name}={value}")) for name, value in environment.items()]
    given = [_quoted(os.fsencode(word)) for word in plan["argv"][1:]]
    return b"\n".join([
        b"name=" + _quoted(os.fsencode(plan["argv"][0])),
        b"path=" + _quoted(os.fsencode(environment["PATH"])),
        b"cd /workspace",
        b"found= code=127 why='not found in the sandbox'",
        b"look() {",
        b'  [ -e "$1" ] || return 1',
        b'  [ -f "$1" ] && [ -x "$1" ] && found=$1 && return 0',
        b"  code=126 why='is not a program that can be run'",
        b"  return 1",
        b"}",
        b'case "$name" in',
        b'*/*) look "$name" ;;',
        b"*)",
        b"  set -f",
        b"  IFS=:",
        b'  for folder in $path; do look "${folder:-.}/$name" && break; done',
        b"  unset IFS",
        b"  ;;",
        b"esac",
        b'if [ -z "$found" ]; then',
        b'  echo "missing $code $name: $why" >&9',
        b"  exit $code",
        b"fi",
        b'echo "started $$" >&9',
        b"exec 9>&-",
        b"exec /run/busybox env -i " + b" ".join([*words, b'"$found"', *given]),
        b"",
    ])  # fmt: skip

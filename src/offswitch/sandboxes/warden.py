"""The warden: one small process a sandbox, which starts it, runs commands in it, and sees it end.

Where it stands, and what makes that safe, is said in ``entering``; a command costs one spawn (``nsenter`` costs three
execs more).
"""

import errno
import os
import resource
import select
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from offswitch.sandboxes import entering, kernel, seccomp, wire
from offswitch.sandboxes.cgroups import HEADROOM, Group
from offswitch.sandboxes.client import CONSOLE, REPLIES, REQUESTS
from offswitch.sandboxes.errors import SandboxUnavailable
from offswitch.sandboxes.plain import signal, socket

TYPE_CHECKING = False  # see ``wire``
if TYPE_CHECKING:
    from typing import Any

_LINE = 4096
"""Longest console line and request, in bytes."""
_CONSOLE_RATE = 64 * 1024
"""Most console bytes a second that are passed on; what is above is read and dropped, so that nobody waits."""
_REQUEST_RATE = 100
"""Most requests a second that reach the host."""
_PENDING = 256 * 1024
"""Most bytes of replies that wait for a slow client."""
_DRAINS = 64
"""Most output pipes of background processes that are read on for after their command has ended."""
_CALLS = seccomp.program() if seccomp.known() else b""
"""The filter of system calls, made once for all wardens; none where there is none for this machine."""


class Warden:
    """Starts, serves and ends one sandbox.

    Args:
        keeper_line: Socket to the keeper, which sends what to start (``bwrap``, ``arguments``, ``tmpfs``, ``home``,
            ``memory``, ``pids``, ``file_size``, ``inodes``) with a socket to the host process.
        group: Control group to enter first, if there is one.
        bounds: What bounds memory and processes.
        keeper: Pid of the keeper, with which the warden ends.
    """

    def __init__(
        self, keeper_line: socket.socket, group: Group | None, bounds: dict[str, str], keeper: int
    ) -> None:
        self._keeper_line = keeper_line
        self._group = group
        self._bounds = bounds
        self._keeper = keeper
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._commands: dict[int, tuple[int, socket.socket]] = {}
        self._drains: list[int] = []
        self._server: socket.socket | None = None
        self._console = b""
        self._request = b""
        self._asked: dict[bytes, None] = {}
        self._reply = b""
        self._console_allowance = _Allowance(_CONSOLE_RATE)
        self._requests = _Allowance(_REQUEST_RATE)
        self._monitor = 0
        self._ended = False

    def run(self) -> None:
        """Live as long as the sandbox."""
        problem: Exception | None = None
        try:
            self._prepare()
        except (OSError, SandboxUnavailable) as error:
            problem = error
        message = wire.receive(self._keeper_line)
        if message is None:
            return
        self._keeper_line.close()
        self._plan, (host,) = message
        self._host = socket.socket(fileno=host)
        try:
            if problem is not None:
                raise problem
            self._machine = entering.start(self._plan["bwrap"], self._plan.pop("arguments"))
            self._monitor = self._machine.monitor
            init, root = self._machine.init, self._machine.root
            self._enter()
            wire.send(self._host, ("ready", self._bounds), [init, root])
            os.close(root)
        except SandboxUnavailable as error:
            self._fail(str(error))
            return
        except OSError as error:
            self._fail(f"the sandbox could not be started: {error}")
            return
        self._init = init
        self._watch(self._host.fileno(), self._hear)
        while not (self._ended and not self._commands):
            for file, _ in self._poll.poll():
                handler = self._handlers.get(file)
                if handler is not None:
                    handler()

    def _fail(self, why: str) -> None:
        with suppress(OSError):
            wire.send(self._host, ("failed", why))
        if self._monitor:
            with suppress(OSError):
                os.kill(self._monitor, signal.SIGKILL)

    # Starting

    def _prepare(self) -> None:
        keep = self._keeper_line.fileno()
        self._claim = entering.become_nobody(self._keeper, (keep,), self._group)

    def _limit(self) -> None:
        """Set the resource limits, which every command inherits."""
        # Processes are counted within the user namespace; the init and the warden are counted, too.
        self._processes = entering.at_most(resource.RLIMIT_NPROC, self._plan["pids"] + 2)
        self._most = entering.at_most(resource.RLIMIT_NPROC, self._processes + HEADROOM)
        limits = {
            resource.RLIMIT_FSIZE: self._plan["file_size"],
            resource.RLIMIT_NOFILE: 4096,
        }
        self._bounds.setdefault("pids", "RLIMIT_NPROC")
        if "memory" not in self._bounds:
            limits[resource.RLIMIT_DATA] = self._plan["memory"]
            self._bounds["memory"] = "RLIMIT_DATA, for each process and not for all together"
        for which, limit in limits.items():
            resource.setrlimit(which, (entering.at_most(which, limit),) * 2)
        resource.setrlimit(resource.RLIMIT_NPROC, (self._processes, self._most))

    def _enter(self) -> None:
        """Enter the sandbox, furnish it, and give up what was needed for that."""
        self._machine.enter_outer()
        for place in self._plan["tmpfs"]:
            kernel.change_tmpfs(place, f"nr_inodes={self._plan['inodes']}")
        self._make_channels()
        self._machine.enter_inner()
        self._limit()
        if entering.give_up_everything(self._keeper):
            self._bounds["tracing"] = "Landlock"
        if _CALLS:
            # Not all that leads out is a file or in a namespace: a hypervisor answers to any process by AF_VSOCK.
            kernel.filter_calls(_CALLS)
            self._bounds["system calls"] = "seccomp"
        self._watch(os.pidfd_open(self._monitor), self._machine_ended)
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._shell = entering.without_links("/bin/sh")

    def _make_channels(self) -> None:
        """Make the console and the request channel: pipes with names, in a directory that nobody can change.

        They are opened for both directions, so that an opener never waits and their end is never seen.
        """
        kernel.mount_tmpfs("/run", "size=64k,nr_inodes=16,mode=755")
        opened = []
        for path, mode in ((CONSOLE, 0o222), (REQUESTS, 0o222), (REPLIES, 0o444)):
            os.mkfifo(path, 0o600)
            opened.append(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            os.chmod(path, mode)
        kernel.make_read_only("/run")
        console, requests, self._replies = opened
        self._watch(console, lambda: self._read_console(console))
        self._watch(requests, lambda: self._read_requests(requests))

    # Serving

    def _watch(self, file: int, handler: Callable[[], None], events: int = select.POLLIN) -> None:
        self._handlers[file] = handler
        self._poll.register(file, events)

    def _unwatch(self, file: int) -> None:
        del self._handlers[file]
        self._poll.unregister(file)

    def _hear(self) -> None:
        message = wire.receive(self._host)
        if message is None:
            # The host has let go or is gone. The keeper does the same where there is a control group.
            self._unwatch(self._host.fileno())
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
            return
        (verb, *values), files = message
        if verb in ("run", "read", "write"):
            self._command(verb, values, files)
        elif verb == "drain":
            for file in files:
                self._drain(file)
        elif verb == "serve":
            self._serve(socket.socket(fileno=files[0]))

    def _tell(self, value: object) -> None:
        """Tell the host if it listens; a host that is slow misses it, and nobody waits."""
        self._host.setblocking(False)
        with suppress(OSError):
            wire.send(self._host, value)
        self._host.setblocking(True)

    def _machine_ended(self) -> None:
        _, status = os.waitpid(self._monitor, 0)
        code = os.waitstatus_to_exitcode(status)
        # bubblewrap tells a signal that ended the init as a shell does.
        self._ended = True
        for file in list(self._handlers):
            if file not in self._commands:
                self._unwatch(file)
        self._tell(("ended", time.time(), 128 - code if code > 128 else code))

    def _drain(self, file: int) -> None:
        """Read on, and throw away, what background processes write to the output of a command that has ended.

        Closing the pipe instead would kill them by SIGPIPE, and leaving it unread would stop them.
        """
        if len(self._drains) >= _DRAINS:
            oldest = self._drains.pop(0)
            self._unwatch(oldest)
            os.close(oldest)
        self._drains.append(file)
        os.set_blocking(file, False)

        def swallow() -> None:
            try:
                data = os.read(file, 65536)
            except BlockingIOError:
                return
            if not data:
                self._unwatch(file)
                self._drains.remove(file)
                os.close(file)

        self._watch(file, swallow)

    # Console and requests

    def _read_console(self, console: int) -> None:
        try:
            data = os.read(console, 65536)
        except BlockingIOError:
            return
        now = time.time()
        if not self._console_allowance.take(len(data), time.monotonic()):
            self._console = b""
            return
        *lines, self._console = (self._console + data).split(b"\n")
        if len(self._console) > _LINE:
            lines.append(self._console)
            self._console = b""
        for line in lines:
            self._tell(("console", now, line[:_LINE]))

    def _read_requests(self, requests: int) -> None:
        try:
            data = os.read(requests, 65536)
        except BlockingIOError:
            return
        *lines, self._request = (self._request + data).split(b"\n")
        if len(self._request) > _LINE:
            # Too long to be a request: what follows up to the end of the line is no tag, and is passed over.
            self._request = b"-" * _LINE
        for line in lines:
            tag, _, text = line.partition(b" ")
            if not tag or len(tag) > 64 or not tag.replace(b"-", b"").isalnum() or len(line) > _LINE:
                continue
            self._asked[tag] = None
            if self._server is None:
                self._answer(tag, b"", b"1")
            elif not self._requests.take(1, time.monotonic()):
                self._answer(tag, b"", b"2")
            else:
                try:
                    wire.send(self._server, (tag, text))
                except OSError:
                    self._answer(tag, b"", b"2")

    def _serve(self, server: socket.socket) -> None:
        self._stop_serving()
        server.setblocking(False)
        self._server = server
        self._watch(server.fileno(), self._take_reply)

    def _stop_serving(self) -> None:
        if self._server is not None:
            if self._server.fileno() in self._handlers:
                self._unwatch(self._server.fileno())
            self._server.close()
            self._server = None
        # Who was asking would wait for ever.
        for tag in list(self._asked):
            self._answer(tag, b"", b"1")

    def _take_reply(self) -> None:
        assert self._server is not None
        message = wire.receive(self._server)
        if message is None:
            self._stop_serving()
            return
        (tag, text), _ = message
        self._answer(tag, b"".join(tag + b"=" + line + b"\n" for line in text.split(b"\n")), b"0")

    def _answer(self, tag: bytes, text: bytes, end: bytes) -> None:
        """Put a reply into the pipe: lines of text after ``TAG=``, then ``TAG.0``; or ``TAG.1`` where nobody serves,
        or ``TAG.2`` where there are too many requests for now."""
        self._asked.pop(tag, None)
        reply = text + tag + b"." + end + b"\n"
        flooded = end == b"2" and not self._reply
        if flooded or len(self._reply) + len(reply) > _PENDING:
            # What is left unread must not fill the pipe for the next clients. A little stays, and they read over it: it
            # may be of one that was killed, or the reply to one that is just about to read.
            self._reply = b""
            with suppress(BlockingIOError):
                while os.read(self._replies, 65536):
                    pass
        # The empty line ends what may be left of another reply.
        self._reply += b"\n" + reply
        self._write_reply()

    def _write_reply(self) -> None:
        with suppress(BlockingIOError):
            while self._reply:
                # Not more at once than a pipe takes as a whole or not at all.
                self._reply = self._reply[os.write(self._replies, self._reply[:4096]) :]
        watched = self._replies in self._handlers
        if self._reply and not watched:
            self._watch(self._replies, self._write_reply, select.POLLOUT)
        elif not self._reply and watched:
            self._unwatch(self._replies)

    # Commands

    def _command(self, verb: str, values: "list[Any]", files: list[int]) -> None:
        leash, *streams = files
        line = socket.socket(fileno=leash)
        try:
            if verb == "run":
                argv, environment, directory = values
                pid = self._run(argv, environment, directory, line, streams)
            else:
                pid = self._transfer(verb, values, line, streams)
        except OSError as error:
            where = "fork" if error.errno in (errno.EAGAIN, errno.ENOMEM) else error.filename or ""
            with suppress(OSError):
                line.send(b"error %d %s" % (error.errno or 0, where.encode()))
            line.close()
            return
        finally:
            for file in streams:
                os.close(file)
            os.chdir("/")
        handle = os.pidfd_open(pid)
        with suppress(OSError):
            line.send(b"pid %d" % pid)
        self._commands[handle] = (pid, line)
        self._watch(handle, lambda: self._command_ended(handle))

    def _command_ended(self, handle: int) -> None:
        pid, line = self._commands.pop(handle)
        self._unwatch(handle)
        os.close(handle)
        _, status = os.waitpid(pid, 0)
        with suppress(OSError):
            line.setblocking(False)
            line.send(b"exit %d" % os.waitstatus_to_exitcode(status))
        line.close()

    def _run(
        self,
        argv: list[str],
        environment: dict[str, str],
        directory: str | None,
        line: socket.socket,
        streams: list[int],
    ) -> int:
        """Start a program.

        Returns:
            Its pid on the host.

        Raises:
            OSError: It cannot be started; the file name is ``cwd`` if that is why.
        """
        out, errors, *given = streams
        targets = ((given[0] if given else self._null, 0), (out, 1), (errors, 2))
        self._go_home()
        if directory is not None:
            try:
                os.chdir(directory)
            except OSError as error:
                raise OSError(error.errno, "", "cwd") from None
        program = entering.find_program(argv[0], environment.get("PATH", ""))
        try:
            if (plain := entering.without_links(program)).startswith(entering.TRUSTED):
                try:
                    return self._spawn(plain, argv, environment, line, targets)
                except OSError as error:
                    if error.errno != errno.ENOEXEC:
                        raise
            by_shell = ["sh", "-c", 'exec "$0" "$@"', program, *argv[1:]]
            return self._spawn(self._shell, by_shell, environment, line, targets)
        except OSError as error:
            raise OSError(error.errno, "") from None

    def _spawn(
        self,
        program: str,
        argv: list[str],
        environment: dict[str, str],
        line: socket.socket,
        targets: Iterable[tuple[int, int]],
    ) -> int:
        # Spawning leaves our memory alone, and costs half of a fork.
        try:
            pid = os.posix_spawn(
                program,
                argv,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, file, target) for file, target in targets],
                setsid=True,
                # Python ignores these two, and ignored signals stay ignored over exec.
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
        else:
            # The limit proper came with the spawn. This keeps it from being raised again up to our own; who is faster
            # at that than we are here wins HEADROOM processes, and no more.
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_NPROC, (self._processes, self._processes))
            return pid

        def act() -> None:
            for file, target in targets:
                os.dup2(file, target)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            os.execve(program, argv, environment)  # noqa: S606

        # The agent's processes are at their limit. There is room left for the host's.
        return self._fork(act, line)

    def _fork(self, act: Callable[[], None], line: socket.socket) -> int:
        """Do something as a process of the agent's, which may block for as long as it likes."""
        resource.setrlimit(resource.RLIMIT_NPROC, (self._most, self._most))
        try:
            pid = os.fork()
        finally:
            resource.setrlimit(resource.RLIMIT_NPROC, (self._processes, self._most))
        if pid != 0:
            return pid
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_NPROC, (self._processes, self._processes))
            act()
            os._exit(0)
        except OSError as error:
            line.send(b"error %d " % (error.errno or 0))
        finally:
            os._exit(126)

    def _transfer(self, verb: str, values: "list[Any]", line: socket.socket, streams: list[int]) -> int:
        """Read or write a file."""
        self._go_home()
        if verb == "read":
            return self._fork(lambda: _read(values[0], values[1], streams[0]), line)
        return self._fork(lambda: _write(values[0], streams[0]), line)

    def _go_home(self) -> None:
        try:
            os.chdir(self._plan["home"])
        except OSError:
            os.chdir("/")


class _Allowance:
    """So much each second, and what is not used is not kept."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._started = 0.0
        self._used = 0

    def take(self, amount: int, now: float) -> bool:
        """Whether ``amount`` more is within this second's allowance."""
        if now - self._started >= 1.0:
            self._started, self._used = now, 0
        self._used += amount
        return self._used <= self._rate


def _read(path: str, limit: int, out: int) -> None:
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    about = os.fstat(file)
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, "")
    if not stat.S_ISREG(about.st_mode):
        raise OSError(errno.EINVAL, "")
    if about.st_size > limit:
        raise OSError(errno.EFBIG, "")
    _copy(file, out)


def _write(path: str, source: int) -> None:
    directory = os.path.dirname(path)
    if directory:
        os.makedirs(directory, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o644)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(errno.EINVAL, "")
    os.ftruncate(file, 0)
    _copy(source, file)


def _copy(source: int, target: int) -> None:
    while data := os.read(source, 1 << 20):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]

"""The keeper: a small process beside the host's, which starts every sandbox and outlives none of them.

Why a process of its own:

- Sandboxes are forked from something small and with one thread. A fork of the host process would be slow, and the
  parent-death signal follows the *thread* that forked.
- When the host process is gone, however it went, its sockets close, and the keeper kills what is left and removes the
  control groups, which nobody else could. Nothing else of a sandbox lives longer than its processes: there
  are no files and no directories of it on the host.

One keeper serves one host process. It is started as ``python -I -S -c ...`` with a socket for its standard input.
"""

import gc
import os
import resource
import select
import sys
import time
from contextlib import suppress

from offswitch.sandboxes import kernel, wire
from offswitch.sandboxes.cgroups import Cgroups, Group
from offswitch.sandboxes.plain import signal, socket
from offswitch.sandboxes.warden import Warden

_PATIENCE = 5.0
"""Seconds that a warden without a control group has to end by itself."""


class _Charge:
    """One sandbox: its warden, its control group, and a copy of the warden's socket to the host.

    The host sees the socket end only when the warden has ended *and* the keeper has let go of its copy, which it
    does when everything of the sandbox is removed.

    A warden that waits for its sandbox (the spare) has the keeper at the other end of ``line`` instead.
    """

    def __init__(self, warden: int, line: socket.socket, group: Group | None) -> None:
        self.warden = warden
        self.line = line
        self.group = group
        self.ending: float | None = None
        self.ended = False


class Keeper:
    """Starts wardens on request, and sees to what is left when they or the host end."""

    def __init__(self, host: socket.socket) -> None:
        self._host: socket.socket | None = host
        self._charges: dict[int, _Charge] = {}
        self._poll = select.poll()
        self._poll.register(host, select.POLLIN)
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(wake, False)
        self._poll.register(self._wake, select.POLLIN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A stop of the host's group is the host's to answer; the keeper ends when the host has.
            signal.signal(number, signal.SIG_IGN)
        self._cgroups = Cgroups()
        self._spare: _Charge | None = None
        self._spare_soon = True

    def run(self) -> None:
        """Serve until the host is gone and nothing is left."""
        while self._host is not None or self._charges:
            waiting = any(charge.ending is not None for charge in self._charges.values())
            if self._spare_soon and self._host is not None and not waiting and not self._poll.poll(0):
                # Only when nothing else is to be done.
                self._spare_soon = False
                with suppress(OSError):
                    self._spare = self._fork()
            for file, _ in self._poll.poll(2 if waiting else None):
                if file == self._wake:
                    with suppress(BlockingIOError):
                        os.read(self._wake, 4096)
                elif self._host is not None and file == self._host.fileno():
                    self._hear()
                elif file in self._charges:
                    self._end(self._charges[file])
            self._reap()
            self._clear()
        self._cgroups.close()

    def _hear(self) -> None:
        assert self._host is not None
        message = wire.receive(self._host)
        if message is None:
            self._poll.unregister(self._host)
            self._host.close()
            self._host = None
            if self._spare is not None:
                self._drop(self._spare)
                self._spare = None
            for charge in self._charges.values():
                self._end(charge)
            return
        plan, (line,) = message
        self._start(plan, socket.socket(fileno=line))

    def _start(self, plan: dict[str, int], line: socket.socket) -> None:
        for _ in range(2):
            try:
                spare, self._spare = self._spare or self._fork(), None
            except OSError as error:
                problem = error
                break
            try:
                if spare.group is not None:
                    spare.group.bound(plan["memory"], plan["pids"])
                wire.send(spare.line, plan, [line.fileno()])
            except OSError as error:
                problem = error
                self._drop(spare)
                continue
            spare.line.close()
            spare.line = line
            self._charges[line.fileno()] = spare
            # What the host says on it is for the warden; only the end of the host's side is for us, too.
            self._poll.register(line, select.POLLRDHUP)
            self._spare_soon = True
            return
        with suppress(OSError):
            wire.send(line, ("failed", f"the sandbox could not be started: {problem}"))
        line.close()

    def _fork(self) -> _Charge:
        """Start a warden that waits for its sandbox.

        One is kept in stock: to enter a control group takes some 10 ms, for the kernel waits there for all its
        processors.
        """
        group = self._cgroups.open()
        ends: tuple[socket.socket, ...] = ()
        keeper = os.getpid()
        try:
            ends = ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
        except OSError:
            for end in ends:
                end.close()
            if group is not None:
                group.remove()
            raise
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                Warden(theirs, group, dict(self._cgroups.bounds), keeper).run()
            finally:
                os._exit(0)
        theirs.close()
        return _Charge(pid, ours, group)

    def _drop(self, spare: _Charge) -> None:
        """End a warden that got no sandbox."""
        os.kill(spare.warden, signal.SIGKILL)
        self._charges[spare.line.fileno()] = spare
        self._end(spare)

    def _end(self, charge: _Charge) -> None:
        if charge.ending is None:
            charge.ending = time.monotonic()
            with suppress(KeyError):
                self._poll.unregister(charge.line)
            if charge.group is not None:
                charge.group.kill()

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._spare is not None and self._spare.warden == pid:
                self._charges[self._spare.line.fileno()] = self._spare
                self._spare = None
            for charge in self._charges.values():
                if charge.warden == pid:
                    charge.ended = True
                    self._end(charge)

    def _clear(self) -> None:
        for file, charge in list(self._charges.items()):
            if charge.ending is None:
                continue
            if not charge.ended:
                if charge.group is None and time.monotonic() - charge.ending > _PATIENCE:
                    os.kill(charge.warden, signal.SIGKILL)
                continue
            if charge.group is not None and not charge.group.remove():
                charge.group.kill()
                continue
            charge.line.close()
            del self._charges[file]


def main() -> None:
    """Be the keeper of the process at the other end of standard input."""
    host = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.chdir("/")
    # One socket for each sandbox; the sandboxes' own limit is set apart.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kernel.rename("keeper")
    kernel.adopt_orphans()
    # Nothing here makes reference cycles, and the collector would only unshare the memory of forked wardens.
    gc.disable()
    gc.freeze()
    Keeper(host).run()
    sys.exit(0)

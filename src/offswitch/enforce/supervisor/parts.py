"""What stands around a supervisor: the parts are brought up here, in an order in which the agent comes last.

Every part is forked, not started anew: that takes a millisecond each, and they share their memory. Nothing here has
threads, so a fork is whole, and a parent-death signal, which follows the thread that forked, is the process's.
"""

import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from offswitch.enforce import latch as latches
from offswitch.enforce.hosts import Hosts
from offswitch.enforce.places import Places, Unusable, make, remove
from offswitch.enforce.supervisor import guard, scribe
from offswitch.enforce.supervisor.guard import load_trust
from offswitch.enforce.supervisor.killing import Killer
from offswitch.enforce.supervisor.loop import TICK, boottime
from offswitch.enforce.supervisor.watched import NotWatched, Watched
from offswitch.sandboxes import kernel, wire
from offswitch.sandboxes.cells import KINDS
from offswitch.sandboxes.cgroups import Cgroups, Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UP = 60.0
"""Seconds that a sandbox may take to come up."""
_GUARD = 5.0
"""Seconds that the guard may take to answer as it is charged."""
_AHEAD = 5
"""By how much the off-switch goes before the agent: among a few hundred processes it waits for a tenth of its heartbeat
bound otherwise. By no more: the gateway works on what the agent sends, and others live on the host."""
_OVER = 1.0
"""Seconds that a guard has to end once all is over."""
_CLEAR = 5.0
"""Seconds for which the removal of control groups is tried."""
_CLIENTS = 64
_OVERHEAD = 16 << 20
"""Bytes that the control group allows beyond the agent's, for the sandbox's own processes."""


class NotStarted(Exception):
    """The agent could not be started: a line that says what to do, and an exit code."""

    def __init__(self, line: str, code: int = 125) -> None:
        super().__init__(line)
        self.line = line
        self.code = code


class Parts:
    """The parts of one off-switch, as their supervisor holds them.

    Args:
        plan: What to run: see ``launching.launch``.
        places: Where state lies.
        starter: Socket to who started it, which the parts are not to hold open.
        client: Stream socket for the scribe, in the foreground.

    Attributes:
        began: When the run began, by the clock of leases.
        killer: What kills.
        control: The listening control socket.
        guard: Socket to the guard; None once that is lost. Likewise ``scribe``.
        cell: Socket to the cell.
        children: Roles of the supervisor's children, by pid.
        facts: What the cell said of the sandbox.
        promises: What its kind promises.
        listener: Listening socket inside the sandbox, for the proxy; None without a network.
        proxy: A pidfd of the proxy, None without one.
        watched: What watches the agent.
        latch: The run's latch.
    """

    def __init__(
        self,
        plan: "dict[str, Any]",
        places: Places,
        starter: socket.socket,
        client: socket.socket | None,
        records: tuple[int, ...] = (),
    ) -> None:
        self._plan = plan
        self._places = places
        self._starter = starter
        self._client = client
        self._namespaces: dict[str, int] = {}
        self._group: Group | None = None
        self._cgroups: Cgroups | None = None
        self._parting: tuple[socket.socket, bytes] | None = None
        self._control: socket.socket | None = None
        self._cleared = False
        self.began = boottime()
        self.killer = Killer(None)
        self.guard: socket.socket | None = None
        self.scribe: socket.socket | None = None
        self.cell: socket.socket | None = None
        self.children: dict[int, str] = {}
        self.facts: dict[str, Any] | None = None
        self.promises: dict[str, str] = {}
        self.listener: socket.socket | None = None
        self.proxy: int | None = None
        self._guard_process = -1
        self.watched = Watched(plan)
        self._records = records
        self._gate: int | None = None

    @property
    def control(self) -> socket.socket:
        """The listening control socket."""
        assert self._control is not None
        return self._control

    # Bringing up

    def bring_up(self) -> None:
        """Bring everything up but the agent's program.

        Raises:
            NotStarted: Something of it failed; nothing is left.
        """
        plan = self._plan
        if plan["sandbox"] not in KINDS:
            raise NotStarted(f"there is no sandbox {plan['sandbox']}: choose one of {', '.join(KINDS)}", 2)
        self._kind = import_module("offswitch.sandboxes.cells." + plan["sandbox"])
        if not getattr(self._kind, "TRIED_BY_STARTING", False):
            self._refuse_what_is_missing()
        try:
            Hosts(plan["hosts"])
        except ValueError as error:
            raise NotStarted(str(error), 2) from None
        record = {key: plan[key] for key in ("name", "run", "workspace", "needed")}
        record["trusted"] = plan["loosening"]
        try:
            self.latch = latches.arm(self._places, record)
        except latches.Refused as refused:
            raise NotStarted(str(refused)) from None
        except OSError as error:
            raise NotStarted(
                f"the latch cannot be set ({error.strerror}), and without it nothing starts"
            ) from None
        try:
            self._make_room()
            usual = _go_ahead()
            self._become_two()
            # After the guard is forked: it would hold the agent's input open, whose end the agent may wait for.
            self._fork_parts(scribe.Streams(plan["terminal"]), usual)
            self._begin_watching()
            self._load_keys()
            self._charge(self._await_ready())
            self._await_watching()
        except BaseException as error:
            self.take_down()
            if isinstance(error, NotStarted):
                self._refuse_what_is_missing()
            raise

    def _refuse_what_is_missing(self) -> None:
        problem = self._kind.missing(self._plan["options"])
        if problem is not None:
            raise NotStarted(problem, 2)

    def go(self) -> int:
        """Start the agent's program.

        Returns:
            Its pid on the host, 0 where the host does not see it.

        Raises:
            NotStarted: It could not be started; nothing is left.
        """
        assert self.cell is not None
        try:
            wire.send(self.cell, ("go",))
            message = self._from_cell("the sandbox ended as the agent was started")
            (word, *values), _ = message
            if word == "not started":
                raise NotStarted(values[1], values[0])
        except (OSError, NotStarted) as error:
            self.take_down()
            if isinstance(error, NotStarted):
                raise
            raise NotStarted("the sandbox ended as the agent was started") from None
        pid: int = values[0]
        self.tell_scribe(("begin",))
        return pid

    def _make_room(self) -> None:
        plan, folder = self._plan, self._places.agent(self._plan["name"])
        try:
            remove(folder)
            for place in (folder, folder + "/scratch", self._places.logs(plan["name"])):
                make(place)
            plan["scratch"] = folder + "/scratch"
            self._listen(folder)
        except (OSError, Unusable) as error:
            raise NotStarted(f"the state cannot be written: {error}") from None
        self._cgroups = Cgroups()
        self._group = self._cgroups.open()
        plan["bounds"] = dict(self._cgroups.bounds)
        if self._group is not None:
            bounds_for = getattr(self._kind, "bounds_for", _bounds)
            try:
                self._group.bound(*bounds_for(plan))
            except OSError as error:
                raise NotStarted(f"the agent cannot be bounded: {error}") from None
        self.killer = Killer(self._group)

    def _listen(self, folder: str) -> None:
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        # By way of the open folder: a socket's path may not be longer than 107 bytes.
        directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._control.bind(f"/proc/self/fd/{directory}/control")
        finally:
            os.close(directory)
        self._control.listen(_CLIENTS)
        self._control.setblocking(False)

    def _become_two(self) -> None:
        """Go on as a child of what becomes the guard.

        So the guard is the parent of the supervisor, and when that is lost the guard inherits, and reaps, whatever
        else there is: the init of a PID namespace has not ended before its last process is reaped.
        """
        assert self._cgroups is not None
        self.guard, there = wire.pair()
        if (pid := os.fork()) == 0:
            # A fork does not inherit this. Without the guard, orphans would go to a process that may not reap them.
            kernel.adopt_orphans()
            there.close()
            self._guard_process = os.pidfd_open(os.getppid())
            return
        try:
            for line in (self.guard, self._control, self._starter, self._client):
                if line is not None:
                    line.close()
            kernel.rename("guard")
            guard.Guard(
                there,
                pid,
                self.killer,
                self._group,
                self._cgroups,
                self._kind,
                self._places,
                self._plan,
                self.latch,
            ).run()
        finally:
            os._exit(1)

    def _fork_parts(self, streams: scribe.Streams, usual: int) -> None:
        plan, own = self._plan, os.getpid()
        self.scribe, there = wire.pair()

        def write() -> None:
            streams.close_theirs()
            scribe.main(there, streams, self._client, self._places, plan, self.latch)

        self._fork("scribe", write, there)
        self.cell, there = wire.pair()

        def hold() -> None:
            os.setpriority(os.PRIO_PROCESS, 0, usual)
            streams.close_ours()
            self._kind.live(there, plan, self._group, streams.theirs, own)

        self.killer.cell = os.pidfd_open(self._fork("cell", hold, there))
        streams.close_ours()
        streams.close_theirs()

    def _fork(self, role: str, act: Callable[[], None], give: socket.socket) -> int:
        """Fork a part.

        Args:
            role: Its name.
            act: What it does.
            give: A socket that is its own from then on.
        """
        pid = os.fork()
        if pid == 0:
            try:
                kernel.rename(role)
                client = self._client if role != "scribe" else None
                for line in (self.guard, self.scribe, self.cell, self._control, self._starter, client):
                    if line is not None:
                        line.close()
                act()
                os._exit(0)
            except BaseException as error:
                with suppress(BaseException):
                    os.write(2, f"offswitch: {role}: {type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(1)
        give.close()
        self.children[pid] = role
        return pid

    def _load_keys(self) -> None:
        # Loading takes some 20 ms, which the sandbox takes as well to come up.
        load_trust()
        from offswitch.trust import keys

        # What is loaded stays. To go through all of it takes some milliseconds too.
        gc.collect()
        gc.freeze()
        try:
            self.key = keys.load_or_make(self._places.keys + "/host.pem")
            self.trusted = {one: keys.PublicKey.parse(one) for one in self._plan["trusted"]}
        except (keys.Unusable, ValueError) as error:
            raise NotStarted(str(error)) from None

    def _from_cell(self, otherwise: str) -> "tuple[tuple[Any, ...], list[int]]":
        assert self.cell is not None
        self.cell.settimeout(TICK)
        until = time.monotonic() + _UP
        while True:
            try:
                message = wire.receive(self.cell)
                break
            except TimeoutError:
                # The guard wants to hear something while the sandbox takes its time; no lease has begun.
                self.tell_guard(("beat", 0.0))
            if time.monotonic() > until:
                raise NotStarted(
                    f"the sandbox did not come up within {_UP:.0f} s: the host is too busy"
                ) from None
        self.cell.settimeout(None)
        if message is None:
            raise NotStarted(otherwise)
        return message

    def _await_ready(self) -> list[int]:
        """Wait for the cell; what it hands over of its sandbox."""
        (word, *values), files = self._from_cell(
            "the sandbox ended as it came up: the host may be out of memory or processes"
        )
        if word == "failed":
            raise NotStarted(values[0])
        self.facts, parting = values
        self.killer.init = files[0]
        held = dict(zip(self.facts["files"], files[1:], strict=True))
        if "parting" in held:
            end = socket.socket(fileno=held.pop("parting"))
            end.setblocking(False)
            self._parting = (end, parting)
        if "listener" in held:
            self.listener = socket.socket(fileno=held.pop("listener"))
        self._gate = held.pop("gateway", None)
        self._namespaces = held
        return files

    def _begin_watching(self) -> None:
        if self._records:
            self.children[self.watched.begin_gateway(*self._records)] = "gateway"
            for file in self._records:
                os.close(file)
            self._records = ()
        if self.watched.has_sense:
            self.watched.begin_sense(self._fork)

    def _await_watching(self) -> None:
        try:
            self.watched.await_up(self._gate, lambda: self.tell_guard(("beat", 0.0)))
        except NotWatched as problem:
            raise NotStarted(str(problem)) from None
        if self._gate is not None:
            os.close(self._gate)

    def _charge(self, files: list[int]) -> None:
        """Tell the guard what to kill and what to look for; it answers before anything of the agent runs."""
        assert self.guard is not None
        assert self.killer.cell is not None
        self.promises = dict(self._kind.PROMISES)
        charge = ("charge", list(self._namespaces), self.promises, self.key.raw(), self.facts)
        until = time.monotonic() + _GUARD
        self.guard.settimeout(_GUARD)
        try:
            wire.send(self.guard, charge, [files[0], self.killer.cell, *self._namespaces.values()])
            # What it says first answers the beats that were sent while the sandbox came up.
            while (answer := wire.receive(self.guard)) is not None and answer[0] != ("charged",):
                self.guard.settimeout(max(0.001, until - time.monotonic()))
        except OSError:
            answer = None
        if answer is None:
            raise NotStarted("the guard was lost before the agent was started")
        self.guard.settimeout(None)

    # Replacing

    def start_proxy(self) -> "socket.socket | None":
        """Start the proxy, if there is a network.

        Returns:
            Socket on which it tells which hosts it has refused.
        """
        if self.listener is None:
            return None
        listener, hosts, own = self.listener, self._plan["hosts"], os.getpid()
        told, tell = wire.pair()

        def pass_on() -> None:
            _close_all_but((listener.fileno(), tell.fileno()))
            from offswitch.enforce import proxy

            proxy.serve(listener, hosts, tell, own)

        told.setblocking(False)
        self.proxy = os.pidfd_open(self._fork("proxy", pass_on, tell))
        return told

    def replace_guard(self) -> None:
        """Put a witness in the place of a guard that is lost, after the kill: somebody else has to see the death.

        Raises:
            OSError: The host has no process or file left for one; there is no guard then.
        """
        with suppress(OSError):
            signal.pidfd_send_signal(self._guard_process, signal.SIGKILL)
        self.guard, there = wire.pair()

        def see() -> None:
            guard.Witness(there, self.killer, self._namespaces, self._plan["workspace"]).run()

        try:
            self._guard_process = os.pidfd_open(self._fork("witness", see, there))
        except OSError:
            for line in (self.guard, there):
                line.close()
            self.guard = None
            raise

    def write_without_scribe(self, reason: str, receipt: str) -> None:
        """Have the latch's reason and the receipt written although the scribe is lost."""
        for pid, role in list(self.children.items()):
            if role == "scribe":
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        unused, there = wire.pair()

        def write() -> None:
            with suppress(OSError):
                self.latch.trip(reason, time.time_ns() // 1_000_000)
                self.latch.died()
            scribe.keep_receipt(self._places, self._plan, receipt)

        with unused:
            self._fork("clerk", write, there)

    # Ending

    def cut_network(self) -> int:
        """Kill proxy and gateway, and end what has its own way to be ended; both besides the kill, and without waiting.

        Returns:
            When the network was cut, ns of the monotonic clock; 0 where there is none.
        """
        at = 0
        for part in (self.proxy, self.watched.gateway):
            if part is not None:
                with suppress(OSError):
                    signal.pidfd_send_signal(part, signal.SIGKILL)
                at = time.monotonic_ns()
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        if self._parting is not None:
            with suppress(OSError):
                self._parting[0].send(self._parting[1])
        return at

    def tidy(self) -> int | None:
        """Have what the sandbox leaves behind removed.

        Returns:
            A pidfd of the process that does it, within ``guard.TIDY`` seconds; None where nothing is left behind.
        """
        if not hasattr(self._kind, "tidy"):
            return None
        unused, there = wire.pair()

        def act() -> None:
            guard.tidy(self._kind, self._plan, self.facts or {})

        with unused:
            return os.pidfd_open(self._fork("tidy", act, there))

    def clear_away(self) -> None:
        """Remove the control groups and the runtime folder; everything in them is dead."""
        end = time.monotonic() + _CLEAR
        while self._group is not None and not self._group.remove() and time.monotonic() < end:
            self.killer.kill()
            time.sleep(0.001)
        self._group = None
        if self._cgroups is not None:
            self._cgroups.close()
        if not self._cleared:
            self._cleared = True
            remove(self._places.agent(self._plan["name"]))

    def take_down(self) -> None:
        """Leave nothing of a start that failed; what cannot be done keeps nothing else from being done."""
        self.killer.kill()
        for pid in self.children:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in self.children:
            with suppress(OSError):
                os.waitpid(pid, 0)
        # Also what came up half: a container's record, an image of the workspace.
        for step in (self._tidy_here, self.clear_away, self.latch.open, self.end_guard):
            with suppress(Exception):
                step()

    def _tidy_here(self) -> None:
        if hasattr(self._kind, "tidy"):
            self._kind.tidy(self._plan, self.facts or {})

    def end_guard(self) -> None:
        """Tell the guard that all is over. One that hangs is ended: whoever started the agent waits for it, and it
        would hold the latch as that of an agent that runs."""
        self.tell_guard(("over",))
        if self._guard_process < 0:
            return
        poll = select.poll()
        poll.register(self._guard_process, select.POLLIN)
        if not poll.poll(_OVER * 1000):
            with suppress(OSError):
                signal.pidfd_send_signal(self._guard_process, signal.SIGKILL)

    # Telling

    def tell_guard(self, message: "tuple[Any, ...]", files: "list[int] | tuple[int, ...]" = ()) -> None:
        """Tell the guard something, without ever waiting for it."""
        _tell(self.guard, message, files)

    def tell_scribe(self, message: "tuple[Any, ...]") -> None:
        """Tell the scribe something, without ever waiting for it."""
        _tell(self.scribe, message)

    def tell_cell(self, message: "tuple[Any, ...]") -> None:
        """Tell the cell something, without ever waiting for it."""
        _tell(self.cell, message)

    def hand_stream(self) -> socket.socket | None:
        """One more stream of the agent's output and input; None when the scribe cannot be reached."""
        if self.scribe is None:
            return None
        ours, theirs = wire.pair()
        with theirs:
            _tell(self.scribe, ("attach",), [theirs.fileno()])
        return ours

    # What is told of the agent

    def memory(self) -> int | None:
        """Bytes in use; None where nobody counts them."""
        return self._first("memory.current", "memory.usage_in_bytes")

    def _first(self, *names: str) -> int | None:
        for directory in self._group.directories if self._group is not None else ():
            for name in names:
                with suppress(OSError, ValueError), open(f"{directory}/{name}") as file:
                    return int(file.read())
        return None

    def pids(self) -> list[int]:
        """Processes in the control group, the oldest first, without the sandbox's own."""
        for directory in self._group.directories if self._group is not None else ():
            with suppress(OSError, ValueError), open(f"{directory}/cgroup.procs") as file:
                return sorted({int(line) for line in file.read(65536).split()} - {*self.children})
        return []


def _bounds(plan: "dict[str, Any]") -> tuple[int, int]:
    return plan["memory"] + _OVERHEAD, plan["pids"]


def _tell(
    line: socket.socket | None, message: "tuple[Any, ...]", files: tuple[int, ...] | list[int] = ()
) -> None:
    if line is None:
        return
    line.setblocking(False)
    with suppress(OSError):
        wire.send(line, message, files)
    line.setblocking(True)


def _close_all_but(files: tuple[int, ...]) -> None:
    """Close what a part is not to have; the standard streams stay."""
    for file in map(int, os.listdir("/proc/self/fd")):
        if file > 2 and file not in files:
            with suppress(OSError):
                os.close(file)


def _go_ahead() -> int:
    """Raise this process's priority, and that of what it forks, where the host permits it.

    Returns:
        The priority before, which the agent is to have.
    """
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(-20, usual - _AHEAD))
    return usual

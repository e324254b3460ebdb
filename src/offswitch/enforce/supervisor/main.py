"""The supervisor of one agent: it starts, leases, stops and latches it, from outside the agent's reach.

One process, one thread, one loop over open files. Nothing that can be slow comes before a kill: it writes to no
disk (the scribe does), starts no process, and has the keys of its operators in memory. Around it stand

- the guard, which kills when the supervisor is lost, and observes death;
- the scribe, which holds the agent's streams and the files;
- the cell, which holds the sandbox, and the proxy, if the policy names hosts.

The loss of any of them stops the agent. The supervisor is a child of nobody who matters: who started it may go.
"""

import gc
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module

from offswitch.enforce import latch as latches
from offswitch.enforce.places import Places, Unusable, make
from offswitch.enforce.policy_change import looser
from offswitch.enforce.supervisor import guard, scribe
from offswitch.enforce.supervisor.accounts import describe
from offswitch.enforce.supervisor.killing import Killer
from offswitch.enforce.supervisor.loop import MISSES, Loop, Pulse, boottime
from offswitch.enforce.supervisor.observing import command
from offswitch.sandboxes import kernel, wire
from offswitch.sandboxes.cgroups import Cgroups, Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UP = 60.0
"""Seconds that a sandbox may take to come up."""
_PATIENCE = 2.0
"""Seconds until a stop that has not been seen to work is reported as such; the killing goes on."""
_WRITE = 10.0
"""Seconds that the scribe may take for what is left to write when everything else is done."""
_LARGEST = 64 * 1024
_MOST_CLIENTS = 64
_OVERHEAD = 16 * 1024 * 1024
"""Bytes that the control group allows beyond the agent's, for the sandbox's own processes."""

Clients = dict[int, socket.socket]


class _NotStarted(Exception):
    """The agent could not be started: a line that says what to do, and an exit code."""

    def __init__(self, line: str, code: int = 125) -> None:
        super().__init__(line)
        self.line = line
        self.code = code


class Supervisor:
    """See the module.

    Args:
        starter: Socket to who started it; in the foreground its end is a hang-up.
        plan: What to run: see ``launching.launch``.
        places: Where state lies.
        client: Stream socket for the scribe, in the foreground.
    """

    def __init__(
        self, starter: socket.socket, plan: "dict[str, Any]", places: Places, client: socket.socket | None
    ) -> None:
        self._starter: socket.socket | None = starter
        self._plan = plan
        self._places = places
        self._client = client
        self._loop = Loop(self._tick)
        self._clients: Clients = {}
        self._children: dict[int, str] = {}
        self._state = "starting"
        self._since = time.time_ns() // 1_000_000
        self._cause: dict[str, Any] | None = None
        self._ordered = 0
        self._killed: int | None = None
        self._tasks: int | None = None
        self._network_cut: int | None = None
        self._grace: float | None = None
        self._exit: int | None = None
        self._dead: tuple[Any, ...] | None = None
        self._latched = "memory"
        self._envelope: dict[str, Any] | None = None
        self._receipt: dict[str, Any] | None = None
        self._settled = False
        self._told_over = False
        self._written = False
        self._tidied: list[str] | None = None
        self._tidying: int | None = None
        self._waiting: list[tuple[socket.socket, bool]] = []
        self._reported: set[int] = set()
        self._ended_at = 0.0
        self._guard_pulse = Pulse()
        self._guard_line: socket.socket | None = None
        self._scribe_line: socket.socket | None = None
        self._cell_line: socket.socket | None = None
        self._listener: socket.socket | None = None
        self._parting: tuple[socket.socket, bytes] | None = None
        self._proxy = 0
        self._proxy_handle: int | None = None
        self._counters: dict[str, int] = {}
        self._held = False
        self._policy: dict[str, Any] | None = plan["policy"]
        self._awaiting_end: list[socket.socket] = []
        self._scribe_silent = 0
        self._survivors: list[Any] = []
        self._tidying_since = 0.0
        self._cleared = False
        self._promises: dict[str, str] = {}

    # Starting

    def start(self) -> None:
        """Bring everything up, and the agent as the last.

        Raises:
            _NotStarted: Something of it failed; nothing is left.
        """
        plan, name = self._plan, self._plan["name"]
        if self._plan["sandbox"] not in ("bubblewrap", "oci", "microvm"):
            raise _NotStarted(f"there is no sandbox {plan['sandbox']}: choose bubblewrap, oci or microvm", 2)
        self._kind = import_module("offswitch.sandboxes.cells." + plan["sandbox"])
        problem = self._kind.missing(plan["options"])
        if problem is not None:
            raise _NotStarted(problem, 2)
        record = {key: plan[key] for key in ("name", "run", "workspace", "trusted", "needed")}
        try:
            self._latch = latches.arm(self._places, record)
        except latches.Refused as refused:
            raise _NotStarted(str(refused)) from None
        except OSError as error:
            raise _NotStarted(
                f"the latch cannot be set ({error.strerror}), and without it nothing starts"
            ) from None
        try:
            self._bring_up()
        except BaseException:
            self._take_down()
            with suppress(OSError):
                self._latch.open()
            raise
        self._note(
            "started",
            command=plan["argv"],
            sandbox=plan["sandbox"],
            workspace=plan["workspace"],
            pid=self._main,
        )

    def _bring_up(self) -> None:
        plan = self._plan
        folder = self._places.agent(plan["name"])
        try:
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            make(folder + "/scratch")
            make(self._places.logs(plan["name"]))
            plan["scratch"] = folder + "/scratch"
            self._listen(folder)
        except (OSError, Unusable) as error:
            raise _NotStarted(f"the state cannot be written: {error}") from None
        self._cgroups = Cgroups()
        self._group: Group | None = self._cgroups.open()
        plan["bounds"] = dict(self._cgroups.bounds)
        if self._group is not None:
            bounds = getattr(
                self._kind, "bounds_for", lambda plan: (plan["memory"] + _OVERHEAD, plan["pids"])
            )
            try:
                self._group.bound(*bounds(plan))
            except OSError as error:
                raise _NotStarted(f"the agent cannot be bounded: {error}") from None
        self._killer = Killer(self._group)
        streams = scribe.Streams(plan["terminal"])
        self._become_two()
        own = os.getpid()
        self._scribe_line, there = wire.pair()
        self._scribe = self._fork(
            "scribe",
            lambda: scribe.main(there, streams, self._client, self._places, plan, self._latch),
            [there],
            then=streams.close_theirs,
        )
        self._cell_line, there = wire.pair()
        self._cell = self._fork(
            "cell",
            lambda: self._kind.live(there, plan, self._group, streams.theirs, own),
            [there],
            then=streams.close_ours,
        )
        streams.close_ours()
        streams.close_theirs()
        self._load_keys()
        facts, files = self._await_ready()
        self._charge(facts, files)
        self._go()

    def _become_two(self) -> None:
        """Go on as a child of what becomes the guard.

        So the guard is the parent of the supervisor, and when that is lost the guard inherits, and reaps, whatever
        else there is: the init of a PID namespace has not ended before its last process is reaped.
        """
        self._guard_line, there = wire.pair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            there.close()
            self._guard = os.pidfd_open(parent)
            return
        try:
            for line in (self._guard_line, self._control, self._starter, self._client):
                if line is not None:
                    line.close()
            kernel.rename("guard")
            guard.Guard(
                there, pid, self._killer, self._group, self._cgroups, self._places, self._plan, self._latch
            ).run()
        finally:
            os._exit(1)

    def _fork(
        self,
        role: str,
        act: Callable[[], None],
        give: list[socket.socket],
        then: Callable[[], None] = lambda: None,
    ) -> int:
        """Fork a part of the off-switch; ``give`` are sockets that are its own from then on."""
        pid = os.fork()
        if pid == 0:
            try:
                kernel.rename(role)
                for line in (self._guard_line, self._scribe_line, self._cell_line):
                    if line is not None:
                        line.close()
                for line in (self._control, self._starter, self._client if role != "scribe" else None):
                    if line is not None:
                        line.close()
                if role == "proxy":
                    _close_all_but([line.fileno() for line in [*give, self._listener] if line is not None])
                then()
                act()
                os._exit(0)
            except BaseException as error:  # noqa: BLE001 - nothing may leave a fork by any other way
                with suppress(BaseException):
                    os.write(2, f"offswitch: {role}: {type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(1)
        for line in give:
            line.close()
        self._children[pid] = role
        return pid

    def _listen(self, folder: str) -> None:
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._control.bind(f"/proc/self/fd/{directory}/control")
        finally:
            os.close(directory)
        self._control.listen(_MOST_CLIENTS)
        self._control.setblocking(False)

    def _load_keys(self) -> None:
        """Load what checks and signs, while the sandbox comes up: it is not to be loaded at a stop."""
        sys.path += self._plan["site"]
        from offswitch.trust import canonical, keys, orders, receipts

        self._canonical, self._keys, self._orders, self._receipts = canonical, keys, orders, receipts
        try:
            self._key = keys.load_or_make(self._places.keys + "/host.pem")
            self._trusted = {one: keys.PublicKey.parse(one) for one in self._plan["trusted"]}
        except (keys.Unusable, ValueError) as error:
            raise _NotStarted(str(error)) from None

    def _await_ready(self) -> "tuple[dict[str, Any], list[int]]":
        assert self._cell_line is not None
        self._cell_line.settimeout(_UP)
        try:
            message = wire.receive(self._cell_line)
        except TimeoutError:
            raise _NotStarted(
                f"the sandbox did not come up within {_UP:.0f} s: the host is too busy"
            ) from None
        self._cell_line.settimeout(None)
        if message is None:
            raise _NotStarted("the sandbox ended as it came up: the host may be out of memory or processes")
        (word, *values), files = message
        if word == "failed":
            raise _NotStarted(values[0])
        facts, parting = values
        self._facts = facts
        words = facts["files"]
        self._killer.init = files[0]
        held = dict(zip(words, files[1:], strict=True))
        if "parting" in held:
            end = socket.socket(fileno=held.pop("parting"))
            end.setblocking(False)
            self._parting = (end, parting)
        if "listener" in held:
            self._listener = socket.socket(fileno=held.pop("listener"))
        return {"words": list(held)}, [files[0], *held.values()]

    def _charge(self, facts: "dict[str, Any]", files: list[int]) -> None:
        """Tell the guard what to kill and what to look for; it answers before anything of the agent runs."""
        assert self._guard_line is not None
        promises = {**self._kind.PROMISES}
        self._promises = promises
        wire.send(self._guard_line, ("charge", facts["words"], promises, self._key.raw()), files)
        self._guard_line.settimeout(5)
        try:
            answer = wire.receive(self._guard_line)
        except OSError:
            answer = None
        if answer is None:
            raise _NotStarted("the guard was lost before the agent was started")
        self._guard_line.settimeout(None)
        for file in files[1:]:
            os.close(file)
        self._start_proxy()

    def _start_proxy(self) -> None:
        if self._listener is None:
            return
        listener, hosts, own = self._listener, self._plan["hosts"], os.getpid()
        told, tell = wire.pair()

        def act() -> None:
            from offswitch.enforce import proxy

            proxy.serve(listener, hosts, tell, own)

        told.setblocking(False)
        self._proxy = self._fork("proxy", act, [tell])
        self._proxy_handle = os.pidfd_open(self._proxy)
        self._loop.watch(self._proxy_handle, self._proxy_lost)
        self._loop.watch(told.fileno(), lambda: self._hear_proxy(told))

    def _go(self) -> None:
        assert self._cell_line is not None
        self._lease = boottime() + self._plan["lease_s"]
        self._beat()
        wire.send(self._cell_line, ("go",))
        self._cell_line.settimeout(_UP)
        try:
            message = wire.receive(self._cell_line)
        except TimeoutError:
            message = None
        self._cell_line.settimeout(None)
        if message is None:
            raise _NotStarted("the sandbox ended as the agent was started")
        (word, *values), _ = message
        if word == "not started":
            raise _NotStarted(values[1], values[0])
        self._main = values[0]
        self._state = "running"
        self._tell_scribe(("begin",))

    def _take_down(self) -> None:
        """Leave nothing of a start that failed."""
        killer = getattr(self, "_killer", None)
        if killer is not None:
            killer.kill()
        for pid in self._children:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            with suppress(OSError):
                os.waitpid(pid, 0)
        if getattr(self, "_facts", None) is not None:
            with suppress(Exception):
                self._kind.tidy(self._plan, self._facts)
        group = getattr(self, "_group", None)
        end = time.monotonic() + 5
        while group is not None and not group.remove() and time.monotonic() < end:
            killer.kill()
            time.sleep(0.005)
        if getattr(self, "_cgroups", None) is not None:
            self._cgroups.close()
        shutil.rmtree(self._places.agent(self._plan["name"]), ignore_errors=True)

    # Living

    def run(self) -> None:
        """Live as long as the agent, and until its death is observed, told and written down."""
        assert self._starter is not None and self._cell_line is not None
        assert self._guard_line is not None and self._scribe_line is not None
        kernel.close_to_tracers()
        gc.collect()
        gc.freeze()
        watch = self._loop.watch
        watch(self._control.fileno(), self._accept)
        watch(self._guard_line.fileno(), self._hear_guard)
        watch(self._scribe_line.fileno(), self._hear_scribe)
        watch(self._cell_line.fileno(), self._hear_cell)
        watch(self._starter.fileno(), self._hear_starter)
        if self._killer.init is not None:
            watch(self._killer.init, self._init_ended)
        self._watch_children()
        self._loop.run()
        self._clear_away()

    def _watch_children(self) -> None:
        """Reap at once: orphans of the sandbox become ours, and its init waits until they are reaped."""
        wake, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)

        def reap() -> None:
            with suppress(BlockingIOError):
                os.read(wake, 4096)
            self._reap()

        self._loop.watch(wake, reap)
        self._reap()

    def _clear_away(self) -> None:
        """Remove control groups and the runtime folder, and take the latch away if the agent ended by itself."""
        end = time.monotonic() + 5
        while self._group is not None and not self._group.remove() and time.monotonic() < end:
            self._killer.kill()
            time.sleep(0.001)
        self._group = None
        self._cgroups.close()
        if not self._cleared:
            self._cleared = True
            shutil.rmtree(self._places.agent(self._plan["name"]), ignore_errors=True)
            if self._cause is not None and self._cause["origin"] == "agent ended":
                with suppress(OSError):
                    self._latch.open()

    def _tick(self) -> None:
        self._reap()
        self._beat()
        if self._cause is None:
            if boottime() > self._lease:
                self._stop({"origin": "lease", "reason": "its lease ended"})
            elif self._guard_pulse.lost():
                self._stop({"origin": "supervisor", "reason": "its guard gave no sign of life"})
            elif self._scribe_lost():
                self._stop(
                    {"origin": "supervisor", "reason": "its scribe gave no sign of life (does a disk hang?)"}
                )
            return
        if self._grace is not None and boottime() > self._grace:
            self._cut()
        if self._killed is not None and self._dead is None:
            self._killer.kill()
            if time.monotonic_ns() - self._killed > _PATIENCE * 1e9:
                self._report_alive()
        self._end_if_done()

    def _scribe_lost(self) -> bool:
        """A disk may take its time: five times as long as the guard."""
        self._scribe_silent += 1
        return self._scribe_silent > 5 * MISSES

    def _beat(self) -> None:
        lease = self._lease if self._cause is None else 0.0
        self._tell_guard(("beat", lease))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            role = self._children.pop(pid, "")
            if pid == self._tidying:
                self._tidying = None
                self._tidied = [] if status == 0 else ["what the sandbox left behind could not be removed"]
            elif role == "scribe" and self._cause is None:
                self._stop({"origin": "supervisor", "reason": f"its {role} was lost"})

    # Stopping

    def _stop(self, cause: "dict[str, Any]", category: int = 0, grace: float = 0.0) -> None:
        """Stop the agent. What comes first in here is the kill."""
        now = time.monotonic_ns()
        if self._cause is None or (self._grace is not None and category == 0):
            first = self._cause is None
            self._cause = {"category": category, **cause}
            self._ordered = now
            if category == 0:
                self._cut()
            elif first:
                self._state = "stopping"
                if self._held:
                    self._killer.freeze(False)
                if self._plan["interrupt"]:
                    self._tell_scribe(("input", self._plan["interrupt"].encode()))
                self._tell_cell(("signal", signal.SIGTERM))
                self._grace = boottime() + grace
            self._note("stop", **self._cause)
            if cause["origin"] != "agent ended":
                self._tell_scribe(("latch", cause["reason"], time.time_ns() // 1_000_000))

    def _cut(self) -> None:
        """Kill everything, and cut the network and the credentials that went through it."""
        self._grace = None
        self._tasks = self._killer.tasks()
        self._killed = self._killer.kill()
        if self._proxy_handle is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(self._proxy_handle, signal.SIGKILL)
            self._network_cut = time.monotonic_ns()
        if self._parting is not None:
            with suppress(OSError):
                self._parting[0].send(self._parting[1])
        self._state = "stopping"
        self._tell_guard(("observe", _PATIENCE))
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _init_ended(self) -> None:
        self._loop.forget(self._killer.init or -1)
        if self._cause is None and self._exit is None:
            # The cell tells how the agent's program ended, if it did; give it the time of a few messages.
            message = self._cell_message(0.5)
            if message is not None and message[0] == "exit":
                self._agent_ended(message[1])
            else:
                self._stop({"origin": "supervisor", "reason": "its sandbox ended"})

    def _cell_message(self, timeout: float) -> "tuple[Any, ...] | None":
        assert self._cell_line is not None
        self._cell_line.settimeout(timeout)
        try:
            message = wire.receive(self._cell_line)
        except OSError:
            return None
        finally:
            self._cell_line.settimeout(None)
        return None if message is None else message[0]

    def _hear_cell(self) -> None:
        assert self._cell_line is not None
        try:
            message = wire.receive(self._cell_line)
        except OSError:
            message = None
        if message is None:
            self._loop.forget(self._cell_line.fileno())
            if self._cause is None:
                self._stop({"origin": "supervisor", "reason": "the cell of its sandbox was lost"})
            return
        (word, *values), _ = message
        if word == "exit":
            self._agent_ended(values[0])

    def _agent_ended(self, code: int) -> None:
        """The agent's program has ended: what it left behind ends with it."""
        self._exit = code
        if self._cause is None:
            self._stop({"origin": "agent ended", "reason": f"it ended with {code}"})
        elif self._grace is not None:
            self._cut()

    def _proxy_lost(self) -> None:
        if self._proxy_handle is not None:
            self._loop.forget(self._proxy_handle)
        if self._cause is None:
            self._stop({"origin": "supervisor", "reason": "its proxy was lost"})

    def _hear_proxy(self, told: socket.socket) -> None:
        try:
            message = wire.receive(told)
        except BlockingIOError:
            return
        except OSError:
            message = None
        if message is None:
            self._loop.forget(told.fileno())
            told.close()
        else:
            self._note("refused host", host=str(message[0][1]))

    def _hear_guard(self) -> None:
        assert self._guard_line is not None
        try:
            message = wire.receive(self._guard_line)
        except OSError:
            message = None
        if message is None:
            self._loop.forget(self._guard_line.fileno())
            self._guard_line = None
            if self._cause is None:
                self._stop({"origin": "supervisor", "reason": "its guard was lost"})
            return
        self._guard_pulse.felt()
        (word, *values), _ = message
        if word == "dead":
            if values[0]:
                self._observed(tuple(values))
            else:
                self._survivors = values[3]
                self._tell_guard(("observe", _PATIENCE))
        elif word == "settled":
            self._after_settling(*values)

    def _hear_scribe(self) -> None:
        assert self._scribe_line is not None
        try:
            message = wire.receive(self._scribe_line)
        except OSError:
            message = None
        if message is None:
            self._loop.forget(self._scribe_line.fileno())
            self._scribe_line = None
            self._written = True
            if self._cause is None:
                self._stop({"origin": "supervisor", "reason": "its scribe was lost"})
            return
        self._scribe_silent = 0
        (word, *values), _ = message
        if word == "latched":
            self._latched = "disk"
        elif word == "written":
            self._written = True
            self._end_if_done()
        elif word == "trouble" and self._cause is None:
            self._stop({"origin": "supervisor", "reason": values[0]})

    def _hear_starter(self) -> None:
        """In the foreground nobody speaks on it: what comes is its end."""
        assert self._starter is not None
        self._loop.forget(self._starter.fileno())
        self._starter.close()
        self._starter = None
        if not self._plan["detached"] and self._cause is None:
            self._stop({"origin": "terminal", "reason": "the terminal that it was started from hung up"})

    # Death

    def _observed(self, dead: "tuple[Any, ...]") -> None:
        if self._dead is not None:
            return
        self._dead = dead
        assert self._cause is not None
        self._state = "ended" if self._cause["origin"] == "agent ended" else "stopped"
        self._ended_at = time.monotonic()
        self._envelope = self._sign(dead)
        for client, settle in list(self._waiting):
            if not settle:
                self._reply(client, {"ok": True, "dead": True, "receipt": self._envelope})
        self._waiting = [one for one in self._waiting if one[1]]
        self._tell_scribe(("receipt", json.dumps(self._envelope)))
        self._note("dead", ms=(dead[1] - self._ordered) // 1_000_000, killed=self._tasks)
        if self._state == "stopped":
            self._tell_guard(("settle",))
        self._start_tidying()

    def _sign(self, dead: "tuple[Any, ...]") -> "dict[str, Any]":
        assert self._cause is not None
        ended = self._cause["origin"] == "agent ended"
        self._receipt = describe(
            self._plan, self._promises, self._cause, self._ordered, self._killed, self._tasks, dead,  # type: ignore[arg-type]
            latch="none" if ended else self._latched, exit=self._exit, cut=self._network_cut,
        )  # fmt: skip
        return self._receipts.sign(self._receipt, self._key)

    def _report_alive(self) -> None:
        """Say in words that death was not observed; it stays untrue that it was, and the killing goes on."""
        envelope = self._sign((False, 0, [], self._survivors, []))
        for client, _ in self._waiting:
            if client.fileno() not in self._reported:
                self._reported.add(client.fileno())
                self._reply(client, {"ok": True, "dead": False, "receipt": envelope})
        self._waiting = []

    def _after_settling(self, looks: int, respawned: "list[Any]") -> None:
        self._settled = True
        if self._receipt is not None:
            self._receipt["settle"] = {
                "seconds_ms": int(guard.SETTLE * 1000),
                "looks": looks,
                "respawned": respawned,
            }
            self._receipt["latch"] = self._latched if self._receipt["latch"] != "none" else "none"
            envelope = self._receipts.sign(self._receipt, self._key)
            self._tell_scribe(("receipt", json.dumps(envelope)))
            for client, _ in self._waiting:
                self._reply(client, {"ok": True, "dead": True, "receipt": envelope})
            self._waiting = []
        self._end_if_done()

    def _start_tidying(self) -> None:
        pid = os.fork()
        if pid == 0:
            code = 1
            with suppress(BaseException):
                self._kind.tidy(self._plan, self._facts)
                code = 0
            os._exit(code)
        self._tidying = pid
        self._tidying_since = time.monotonic()
        handle = os.pidfd_open(pid)

        def tidied() -> None:
            self._loop.forget(handle)
            os.close(handle)
            self._end_if_done()

        self._loop.watch(handle, tidied)

    def _end_if_done(self) -> None:
        """End in order: what the sandbox left is removed, then the output is written, then everybody is told."""
        if self._dead is None:
            return
        self._reap()
        if self._tidying is not None:
            if time.monotonic() - self._tidying_since > 30:
                os.kill(self._tidying, signal.SIGKILL)
            return
        if not self._told_over:
            self._told_over = True
            self._tell_scribe(("over",))
        if not self._written and time.monotonic() - self._ended_at < _WRITE:
            return
        if self._cause is not None and self._cause["origin"] == "agent ended":
            # Nothing is latched, so the next run of this name may begin as soon as this one is told to be over.
            self._clear_away()
            self._tell_guard(("over",))
            self._tell_ended()
            self._loop.over = True
            return
        self._tell_ended()
        if self._settled or self._guard_line is None or time.monotonic() - self._ended_at > guard.SETTLE + 5:
            self._tell_guard(("over",))
            self._loop.over = True

    def _tell_ended(self) -> None:
        assert self._cause is not None
        if self._starter is not None:
            self._reply(self._starter, {"ok": True, "ended": self._ended()})
            self._loop.forget(self._starter.fileno())
            self._starter.close()
            self._starter = None
        for client in self._awaiting_end:
            self._reply(client, {"ok": True, "ended": self._ended()})
        self._awaiting_end = []

    def _ended(self) -> "dict[str, Any]":
        assert self._cause is not None
        return {
            "code": self._exit,
            "stopped": self._cause["origin"] != "agent ended",
            "reason": self._cause["reason"],
            "dead": self._dead is not None,
        }

    # Operators

    def _accept(self) -> None:
        try:
            client, _ = self._control.accept()
        except OSError:
            return
        if len(self._clients) >= _MOST_CLIENTS:
            # The oldest has had its time: whoever comes may be the one who stops.
            oldest = next(iter(self._clients))
            self._drop(self._clients[oldest])
        client.setblocking(False)
        self._clients[client.fileno()] = client
        self._loop.watch(client.fileno(), lambda: self._serve(client))

    def _drop(self, client: socket.socket) -> None:
        if client.fileno() < 0:
            return
        self._loop.forget(client.fileno())
        self._clients.pop(client.fileno(), None)
        self._waiting = [one for one in self._waiting if one[0] is not client]
        client.close()

    def _reply(self, client: socket.socket, value: "dict[str, Any]", files: list[int] | None = None) -> None:
        if client.fileno() < 0:
            return
        with suppress(OSError):
            ancillary = []
            if files:
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(files)}i", *files))]
            client.setblocking(False)
            client.sendmsg([json.dumps(value).encode()], ancillary, socket.MSG_NOSIGNAL)

    def _serve(self, client: socket.socket) -> None:
        try:
            data = client.recv(_LARGEST + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        try:
            request = json.loads(data)
            verb = request["do"]
            answer = getattr(self, f"_do_{verb}", None) if verb in _VERBS else None
        except (ValueError, KeyError, TypeError, RecursionError):
            answer = None
        if answer is None:
            self._reply(
                client, {"ok": False, "refused": "malformed", "why": "this is no request that is known"}
            )
            return
        answer(client, request)

    def _do_status(self, client: socket.socket, request: "dict[str, Any]") -> None:
        plan = self._plan
        self._reply(client, {"ok": True, "status": {
            "name": plan["name"], "run": plan["run"], "state": "held" if self._held and self._state == "running" else self._state,
            "since": self._since, "lease_left": max(0.0, round(self._lease - boottime(), 1)), "sandbox": plan["sandbox"],
            "promises": self._promises, "bounds": self._facts["bounds"], "kills_by": self._killer.by,
            "processes": self._killer.tasks(), "memory": self._memory(), "doing": self._doing(),
            "workspace": plan["workspace"], "command": plan["argv"], "detached": plan["detached"],
            "supervisor": os.getpid(), "keys": list(self._trusted), "needed": plan["needed"],
        }})  # fmt: skip

    def _do_stop(self, client: socket.socket, request: "dict[str, Any]") -> None:
        envelope = request.get("order")
        if envelope is None:
            cause, category, grace = self._local(client, request)
            if cause is None:
                return
        else:
            order = self._check(client, envelope, "stop")
            if order is None:
                return
            cause, category, grace = self._signed(order), order.category, order.grace_ms / 1000
        self._stop(cause, category, grace)
        settle = request.get("settle") is True
        if self._dead is not None and (not settle or self._settled):
            self._reply(client, {"ok": True, "dead": True, "receipt": self._envelope})
        else:
            self._waiting.append((client, settle))

    def _local(
        self, client: socket.socket, request: "dict[str, Any]"
    ) -> "tuple[dict[str, Any] | None, int, float]":
        """A stop by whoever owns this supervisor needs no key and no clock."""
        _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (os.geteuid(), 0):
            self._refuse(client, "signature", "only the owner stops without a key: sign the order")
            return None, 0, 0.0
        category, grace, reason = (
            request.get("category", 0),
            request.get("grace_ms", 0),
            request.get("reason", ""),
        )
        if category not in (0, 1) or type(grace) is not int or not 0 <= grace <= 86_400_000:
            category, grace = 0, 0
        text = reason if isinstance(reason, str) else ""
        return (
            {"origin": "local owner", "reason": text[:1000] or "stopped by its owner"},
            category,
            grace / 1000,
        )

    def _check(
        self, client: socket.socket, envelope: object, action: str, needed: int | None = None
    ) -> "Any":
        """The order in an envelope; None, answered and noted, if it is not to be obeyed."""
        try:
            order = self._orders.check(
                envelope, agent=self._plan["name"], run=self._plan["run"], trusted=self._trusted,
                now_ms=time.time_ns() // 1_000_000, counters=self._counters,
                needed=needed or self._plan["needed"].get(action, 1),
            )  # fmt: skip
            if order.action != action:
                raise self._orders.Refused("malformed", f"the order is to {order.action}, not to {action}")
        except self._orders.Refused as refused:
            self._refuse(client, refused.code, refused.line)
            return None
        return order

    def _signed(self, order: "Any") -> "dict[str, Any]":
        return {
            "origin": "signed", "reason": order.reason or "stopped by an order", "keys": list(order.keys),
            "counter": order.counter, "digest": order.payload_digest,
        }  # fmt: skip

    def _refuse(self, client: socket.socket, code: str, why: str) -> None:
        self._note("refused order", code=code, why=why)
        self._reply(client, {"ok": False, "refused": code, "why": why})

    def _do_hold(self, client: socket.socket, request: "dict[str, Any]") -> None:
        self._freeze(client, request, "hold")

    def _do_release(self, client: socket.socket, request: "dict[str, Any]") -> None:
        self._freeze(client, request, "release")

    def _freeze(self, client: socket.socket, request: "dict[str, Any]", action: str) -> None:
        if self._check(client, request.get("order"), action) is None:
            return
        if self._cause is not None:
            self._refuse(client, "stopped", f"{self._plan['name']} is being stopped, and stays so")
            return
        try:
            done = self._killer.freeze(action == "hold")
        except OSError:
            done = False
        if not done:
            self._refuse(
                client, "impossible", "it cannot be held here: that needs a control group of version 2"
            )
            return
        self._held = action == "hold"
        self._note("held" if self._held else "released")
        self._reply(client, {"ok": True})

    def _do_renew(self, client: socket.socket, request: "dict[str, Any]") -> None:
        order = self._check(client, request.get("order"), "renew")
        if order is None:
            return
        if self._cause is not None:
            self._refuse(client, "stopped", f"{self._plan['name']} is being stopped, and stays so")
            return
        most = self._plan["lease_max_s"]
        if most is not None and order.lease_s > most:
            self._refuse(client, "policy", f"the policy permits leases of at most {most} s")
            return
        self._lease = boottime() + order.lease_s
        self._beat()
        self._note("renewed", lease_s=order.lease_s)
        self._reply(client, {"ok": True, "lease_left": order.lease_s})

    def _do_attach(self, client: socket.socket, request: "dict[str, Any]") -> None:
        if self._scribe_line is None or self._told_over:
            self._refuse(client, "stopped", "its output has ended: see offswitch logs")
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            self._scribe_line.setblocking(False)
            with suppress(OSError):
                wire.send(self._scribe_line, ("attach",), [theirs.fileno()])
            self._scribe_line.setblocking(True)
            self._reply(client, {"ok": True, "terminal": self._plan["terminal"]}, [ours.fileno()])

    def _do_wait(self, client: socket.socket, request: "dict[str, Any]") -> None:
        self._awaiting_end.append(client)

    def _do_policy(self, client: socket.socket, request: "dict[str, Any]") -> None:
        new = request.get("policy")
        try:
            loosened = (
                looser(new, self._policy) if self._policy is not None else ["a policy where there was none"]
            )
            hosts, keys, limits = new["network"]["hosts"], new["keys"], new["limits"]
            trusted = {one: self._keys.PublicKey.parse(one) for one in [*keys["trusted"], *self._plan["own"]]}
            digest = hashlib.sha256(self._canonical.encode(new)).hexdigest()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._refuse(client, "malformed", f"this is no policy ({error}); the one in force stays so")
            return
        order = self._check(client, request.get("order"), "policy", needed=None if loosened else 1)
        if order is None:
            return
        if order.digest != digest:
            self._refuse(client, "malformed", "the order is for another policy; the one in force stays so")
            return
        if self._cause is not None:
            self._refuse(client, "stopped", f"{self._plan['name']} is being stopped, and stays so")
            return
        if hosts != self._plan["hosts"] and self._listener is None:
            self._refuse(
                client, "impossible", "it was started without a network: hosts can be named at its next start"
            )
            return
        self._trusted = trusted
        self._plan.update(
            trusted=list(trusted),
            needed=keys["needed"],
            lease_max_s=limits["lease_max"],
            interrupt=new["interrupt"],
        )
        self._policy = new
        if hosts != self._plan["hosts"]:
            self._plan["hosts"] = hosts
            self._replace_proxy()
        self._note("policy", digest=digest, loosened=loosened)
        self._reply(client, {"ok": True, "loosened": loosened})

    def _replace_proxy(self) -> None:
        """A new proxy for new hosts; what went through the old one is cut."""
        if self._proxy_handle is not None:
            self._loop.forget(self._proxy_handle)
            signal.pidfd_send_signal(self._proxy_handle, signal.SIGKILL)
            os.close(self._proxy_handle)
        self._start_proxy()

    # What is told

    def _memory(self) -> int | None:
        for directory in self._group.directories if self._group is not None else ():
            for name in ("memory.current", "memory.usage_in_bytes"):
                with suppress(OSError, ValueError), open(f"{directory}/{name}") as file:
                    return int(file.read())
        return None

    def _doing(self) -> str:
        """The youngest process of the agent: what it is at."""
        pids: list[int] = []
        for directory in self._group.directories if self._group is not None else ():
            with suppress(OSError, ValueError), open(f"{directory}/cgroup.procs") as file:
                pids = [int(line) for line in file.read(8192).split()]
                break
        own = {self._cell, *self._children}
        for pid in sorted((pid for pid in pids if pid not in own), reverse=True)[:1]:
            return command(pid)
        return ""

    def _note(self, event: str, **facts: object) -> None:
        self._tell_scribe(("event", {"at": time.time_ns() // 1_000_000, "event": event, **facts}))

    def _tell_scribe(self, message: "tuple[Any, ...]") -> None:
        self._tell(self._scribe_line, message)

    def _tell_guard(self, message: "tuple[Any, ...]") -> None:
        self._tell(self._guard_line, message)

    def _tell_cell(self, message: "tuple[Any, ...]") -> None:
        self._tell(self._cell_line, message)

    def _tell(self, line: socket.socket | None, message: "tuple[Any, ...]") -> None:
        """Tell a part something, without ever waiting for it."""
        if line is None:
            return
        line.setblocking(False)
        with suppress(OSError):
            wire.send(line, message)
        line.setblocking(True)

    def told_to_end(self, number: int) -> None:
        """A signal asks the supervisor to end: the host shuts down, or somebody wants the agent gone."""
        if self._cause is None:
            name = signal.Signals(number).name
            self._stop({"origin": "supervisor", "reason": f"its supervisor was told to end by {name}"})


_VERBS = ("status", "stop", "hold", "release", "renew", "attach", "wait", "policy")


def main() -> None:
    """Be the supervisor of what the process at the other end of standard input asks for."""
    starter = socket.socket(fileno=os.dup(0))
    os.set_inheritable(starter.fileno(), False)
    null = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1):
        os.dup2(null, target)
    os.chdir("/")
    os.umask(0o077)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    message = wire.receive(starter)
    if message is None:
        return
    (plan, runtime, lasting), files = message
    client = socket.socket(fileno=files[0]) if files else None
    kernel.adopt_orphans()
    kernel.rename("offswitch")
    supervisor = Supervisor(starter, plan, Places(runtime, lasting), client)
    try:
        supervisor.start()
    except _NotStarted as problem:
        _answer(starter, {"ok": False, "why": problem.line, "code": problem.code})
        return
    if client is not None:
        client.close()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: supervisor.told_to_end(number))
    _answer(starter, {"ok": True, "run": plan["run"], "supervisor": os.getpid()})
    os.dup2(null, 2)
    supervisor.run()


def _close_all_but(files: list[int]) -> None:
    """Close what a child is not to have; the standard streams stay."""
    for file in map(int, os.listdir("/proc/self/fd")):
        if file > 2 and file not in files:
            with suppress(OSError):
                os.close(file)


def _answer(starter: socket.socket, value: "dict[str, Any]") -> None:
    with suppress(OSError):
        starter.send(json.dumps(value).encode(), socket.MSG_NOSIGNAL)

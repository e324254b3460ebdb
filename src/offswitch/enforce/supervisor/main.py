"""The supervisor of one agent: it starts, leases, stops and latches it, from outside the agent's reach.

One process, one thread, one loop over open files. Nothing that can be slow comes before a kill: it writes to no
disk (the scribe does), starts no process, and has the keys of its operators in memory. Around it stand

- the guard, its parent, which kills when the supervisor is lost, and observes death;
- the scribe, which holds the agent's streams and the files;
- the cell, which holds the sandbox, and the proxy, if the policy names hosts.

The loss of any of them stops the agent. A fault of the supervisor itself ends it, and then the guard kills.

What is done when is decided in one table (``watchdog.table``), which is proven. The supervisor tells its machine what
happened and carries out what that says, each action by one function.
"""

import gc
import json
import math
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress

from offswitch.enforce.places import Places
from offswitch.enforce.supervisor import guard
from offswitch.enforce.supervisor.accounts import describe
from offswitch.enforce.supervisor.loop import MISSES, TICK, Loop, Pulse, boottime
from offswitch.enforce.supervisor.observing import command
from offswitch.enforce.supervisor.operators import Operators
from offswitch.enforce.supervisor.parts import NotStarted, Parts
from offswitch.enforce.watchdog.machine import NEVER, Machine
from offswitch.sandboxes import kernel, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PATIENCE = 4.0
"""Seconds until a stop that has not been seen to work is reported as such; the killing goes on.

More than it takes to miss a guard that was stopped and to have a witness look in its place.
"""
_WRITE = 10.0
"""Seconds that the scribe may take for what is left to write when everything else is done."""
_DISK = 5 * MISSES
"""Ticks for which a scribe may be silent: a disk may take its time."""
_WORD, _WORDS = 400, 20
"""Characters of a word, and words, of a command that a status tells."""
_LAST_WORDS = 0.5
"""Seconds in which a cell can still tell how its agent ended when its sandbox already has."""


class Supervisor:
    """See the module.

    Args:
        parts: What stands around it, all of it up.
        starter: Socket to who started it; in the foreground its end is a hang-up.
        plan: What it runs: see ``launching.launch``.

    Attributes:
        plan: Likewise.
        policy: The policy in force, None without one.
    """

    def __init__(self, parts: Parts, starter: socket.socket, plan: "dict[str, Any]") -> None:
        self.plan = plan
        self.policy: dict[str, Any] | None = plan["policy"]
        self._parts = parts
        self._killer = parts.killer
        self._starter: socket.socket | None = starter
        self._loop = Loop(self._tick)
        self._operators = Operators(self._loop, parts.control, self, parts.trusted, parts.began)
        self._since = time.time_ns() // 1_000_000
        self._lease = boottime() + plan["lease_s"]
        self._heard_of = False
        heartbeats = {"guard": MISSES + 1, "scribe": _DISK + 1}
        heartbeats |= dict.fromkeys(parts.watched.lines, MISSES + 1)
        self._latch = Machine(lease=1, grace=1, decision=NEVER, heartbeats=heartbeats)
        self._ticked = boottime()
        # The latch lies on disk already, and the agent's program has been let go.
        self._latch.step("start", ticks=math.ceil(plan["lease_s"] / TICK))
        self._do = {
            "kill": self._kill, "cut": self._cut, "replace": self._replace, "observe": self._observe,
            "thaw": lambda: self._freeze(False), "freeze": lambda: self._freeze(True), "warn": self._warn,
            "renew": self._beat, "latch": self._latch_on_disk,
        }  # fmt: skip
        self._silent = ""
        self._asked, self._hung = False, False
        self._settle_pulse = Pulse()
        # The stop, as it comes to pass.
        self._cause: dict[str, Any] | None = None
        self._ordered = 0
        self._killed: int | None = None
        self._tasks: int | None = None
        self._network_cut = 0
        self._exit: int | None = None
        self._dead: tuple[Any, ...] | None = None
        self._dead_at = 0.0
        self._survivors: list[Any] = []
        self._latched = "memory"
        self._receipt: dict[str, Any] | None = None
        self._envelope: dict[str, Any] | None = None
        self._settled: dict[str, Any] | None = None
        # Afterwards.
        self._tidying = False
        self._told_over = False
        self._written = False

    def run(self) -> None:
        """Live as long as the agent, and until its death is observed, told and written down."""
        from offswitch.trust import receipts

        self._receipts = receipts
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._told_to_end(number))
        kernel.close_to_tracers()
        gc.collect()
        gc.freeze()
        parts, watch = self._parts, self._loop.watch
        assert self._starter is not None
        assert parts.cell is not None
        assert parts.scribe is not None
        self._listen_to_guard()
        watch(parts.scribe.fileno(), self._hear_scribe)
        watch(parts.cell.fileno(), self._hear_cell)
        watch(self._starter.fileno(), self._hear_starter)
        if self._killer.init is not None:
            watch(self._killer.init, self._sandbox_ended)
        self._start_proxy()
        for role, line in parts.watched.lines.items():
            self._listen_to(role, line)
        self._watch_children()
        self._loop.run()
        parts.clear_away()
        parts.end_guard()

    # What operators ask for

    @property
    def stopping(self) -> bool:
        """Whether it is being stopped, or is; from the first moment of it: this is the latch in memory."""
        return self._latch.state not in ("running", "held")

    def happened(self, event: str, cause: "dict[str, Any] | None" = None, ticks: int | None = None) -> bool:
        """Do what the table says on an event. Where that is to kill, it comes first.

        Args:
            event: One of ``table.EVENTS``.
            cause: Of what may stop the agent ``origin`` and ``reason``, and of an order what else a receipt says of it.
            ticks: Of the lease or the grace.

        Returns:
            False if it is refused.
        """
        now, before = time.monotonic_ns(), self._latch.state
        actions = self._latch.step(event, ticks=ticks)
        self._carry_out(actions, event, cause, before, now)
        return "refuse" not in actions

    def _carry_out(
        self, actions: tuple[str, ...], event: str, cause: "dict[str, Any] | None", before: str, now: int
    ) -> None:
        stop = None
        if cause is not None and self._latch.state != before and self._latch.state not in ("running", "held"):
            stop = {"category": int(event == "order-1"), **cause}
            # What happens in an operator's grace ends it early; the stop stays the operator's.
            if self._cause is None or event.startswith("order"):
                self._cause, self._ordered = stop, now
        for action in actions:
            if action in self._do:
                self._do[action]()
        if stop is not None:
            self.note("stop", **stop)

    def stop(self, cause: "dict[str, Any]", category: int = 0, grace: float = 0.0) -> None:
        """Stop the agent on an order.

        Args:
            cause: See `happened`.
            category: 0 cuts at once; 1 tells the agent and cuts after the grace.
            grace: Seconds.
        """
        self.happened(f"order-{category}", cause, self._in_ticks(grace) if category else None)

    def hold(self, held: bool) -> bool:
        """Freeze or thaw the agent; False where there is no means. Its lease runs on."""
        before = self._latch.state
        try:
            if not self.happened("hold" if held else "release"):
                return False
        except OSError:
            # It is what it was.
            if self._latch.state != before:
                self._latch.step("release" if held else "hold")
            return False
        self._parts.watched.tell("hold" if held else "release")
        self.note("held" if held else "released")
        return True

    def renew(self, seconds: int) -> None:
        """Let the agent run for so long from now."""
        lease = boottime() + seconds
        if "renew" in self._latch.step("renew", ticks=self._in_ticks(seconds)):
            self._lease = lease
            self._beat()
            self.note("renewed", lease_s=seconds)

    def adopt(self, policy: "dict[str, Any]") -> bool:
        """Take what can change in a running agent from another policy; False if that needs a network it has not, or
        would change what is watched for, which the parts that watch were told at the start."""
        hosts = policy["network"]["hosts"]
        if hosts != self.plan["hosts"] and self._parts.listener is None:
            return False
        if self._parts.watched.lines and policy.get("watch") != (self.policy or {}).get("watch"):
            return False
        self.plan.update(
            needed=policy["keys"]["needed"],
            lease_max_s=policy["limits"]["lease_max"],
            interrupt=policy["interrupt"],
        )
        self.policy = policy
        if hosts != self.plan["hosts"]:
            self.plan["hosts"] = hosts
            if self._parts.proxy is not None:
                # What went through the old one is cut.
                self._loop.forget(self._parts.proxy)
                signal.pidfd_send_signal(self._parts.proxy, signal.SIGKILL)
                os.close(self._parts.proxy)
            self._start_proxy()
        return True

    def receipt(self, *, settled: bool) -> "dict[str, Any] | None":
        """The signed receipt of an observed death, before or after it settled; None as long as there is none."""
        if self._dead is None:
            return None
        return self._settled if settled else self._envelope

    def stream(self) -> socket.socket | None:
        """One more stream of the agent's output and input; None once that has ended."""
        return None if self._told_over else self._parts.hand_stream()

    def status(self) -> "dict[str, Any]":
        """What ``offswitch ps`` shows."""
        plan, parts = self.plan, self._parts
        assert parts.facts is not None
        youngest = parts.pids()[-1:]
        return {
            "name": plan["name"], "run": plan["run"], "state": self._state(), "since": self._since,
            "lease_left": max(0.0, round(self._lease - boottime(), 1)), "sandbox": plan["sandbox"],
            "promises": parts.promises, "bounds": parts.facts["bounds"], "kills_by": self._killer.by,
            "processes": 0 if self._dead else self._killer.tasks(), "memory": parts.memory(),
            "doing": command(youngest[0]) if youngest else "",
            "workspace": plan["workspace"], "command": _short(plan["argv"]), "detached": plan["detached"],
            "supervisor": os.getpid(), "needed": plan["needed"],
        }  # fmt: skip

    def note(self, event: str, **facts: object) -> None:
        """Have something written into the account."""
        self._parts.tell_scribe(("event", {"at": time.time_ns() // 1_000_000, "event": event, **facts}))

    def _by_itself(self) -> bool:
        """Whether the agent's program ended without a stop."""
        return self._latch.state in ("ending", "idle")

    def _state(self) -> str:
        state = {"warned": "stopping", "ending": "stopping", "tripped": "stopping", "idle": "ended"}
        return state.get(self._latch.state, self._latch.state)

    # Signs of life

    def _tick(self) -> None:
        self._reap()
        self._beat()
        now, before = time.monotonic_ns(), self._latch.state
        self._pass_time(now, before)
        if self._killed is None:
            return
        if self._dead is None:
            if self._parts.guard is None:
                # There was no room for a new one.
                self._observe()
            if time.monotonic_ns() - self._killed > PATIENCE * 1e9:
                self._operators.lives(self._sign((False, 0, [], self._survivors, [])))
        else:
            if self._settling() and (self._parts.guard is None or self._settle_pulse.lost()):
                self._replace_guard()
            self._end_if_done()

    def _pass_time(self, now: int, before: str) -> None:
        """Let the ticks pass that have passed since the last time."""
        elapsed = int((boottime() - self._ticked) / TICK)
        self._ticked += elapsed * TICK
        for event, key, actions in self._latch.tick(elapsed):
            self._silent = key
            cause = _RUN_OUT[event](key) if event in _RUN_OUT else None
            self._carry_out(actions, event, cause, before, now)
            if cause is not None:
                # Of several in one tick the first counts.
                before = self._latch.state

    def _in_ticks(self, seconds: float) -> int:
        """Ticks in which so many seconds have passed from now, counted from the last tick, as the next one will be: a
        host may have slept between them."""
        return max(1, math.ceil((seconds + boottime() - self._ticked) / TICK))

    def _settling(self) -> bool:
        """Whether it is dead, and still looked at for something that starts again in it."""
        return self._dead is not None and self._settled is None and self._state() == "stopped"

    def _beat(self) -> None:
        # After the kill the guard has no lease to hold any more.
        self._parts.tell_guard(("beat", self._lease if self._killed is None else 0.0))

    def _felt(self, part: str) -> None:
        self._latch.step("beat", part)
        if part == "guard":
            self._settle_pulse.felt()
        elif part == "scribe":
            self._hung = False

    def _lost(self, why: str, event: str = "part-lost") -> None:
        self.happened(event, {"origin": "supervisor", "reason": why})

    def _told_to_end(self, number: int) -> None:
        """A signal asks the supervisor to end: the host shuts down, or somebody wants the agent gone."""
        self._lost(f"its supervisor was told to end by {signal.Signals(number).name}")

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

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                self._parts.children.pop(pid, None)

    # Stopping

    def _kill(self) -> None:
        if self._killed is None:
            self._tasks = self._killer.tasks()
            self._killed = self._killer.kill()
        else:
            self._killer.kill()

    def _cut(self) -> None:
        """Cut the network, and the credentials that go through it."""
        self._network_cut = self._parts.cut_network()

    def _warn(self) -> None:
        """Tell the agent that it will be cut."""
        if self.plan["interrupt"]:
            self._parts.tell_scribe(("input", self.plan["interrupt"].encode()))
        self._parts.tell_cell(("signal", int(signal.SIGTERM)))
        self._parts.watched.tell("order-1")

    def _freeze(self, held: bool) -> None:
        """Freeze or thaw.

        Raises:
            OSError: There is no means. A stop goes on without.
        """
        try:
            if not self._killer.freeze(held):
                raise OSError("it cannot be held here")
        except OSError:
            if not self.stopping:
                raise

    def _latch_on_disk(self) -> None:
        assert self._cause is not None
        self._parts.tell_scribe(("latch", self._cause["reason"], time.time_ns() // 1_000_000))

    def _observe(self) -> None:
        if self._parts.guard is None:
            self._replace_guard()
        elif not self._asked:
            self._asked = True
            self._parts.tell_guard(("observe", PATIENCE, not self._by_itself()))

    def _replace(self) -> None:
        """Put a new part in the place of the silent one, if it is one that a stop needs."""
        if self._silent == "guard":
            self._replace_guard()
        elif self._silent == "scribe":
            self._hung = True

    def _replace_guard(self) -> None:
        if self._parts.guard is not None:
            self._loop.forget(self._parts.guard.fileno())
            self._parts.guard.close()
            self._parts.guard = None
        try:
            self._parts.replace_guard()
        except OSError:
            # The host has no room for one more process as yet; the next tick tries again, and kills again.
            return
        self._felt("guard")
        self._listen_to_guard()
        self._asked = self._dead is None
        if self._asked:
            self._parts.tell_guard(("observe", PATIENCE, not self._by_itself()))
        else:
            self._parts.tell_guard(("settle",))

    def _listen_to_guard(self) -> None:
        assert self._parts.guard is not None
        self._loop.watch(self._parts.guard.fileno(), self._hear_guard)

    def _hear_guard(self) -> None:
        assert self._parts.guard is not None
        message = _receive(self._parts.guard)
        if message is None:
            self._loop.forget(self._parts.guard.fileno())
            self._parts.guard.close()
            self._parts.guard = None
            self._asked = False
            if self._settling():
                self._replace_guard()
            else:
                self._lost("its guard was lost", "observer-lost")
            return
        self._felt("guard")
        word, *values = message
        if word == "dead":
            self._asked = False
            if values[0]:
                self._observed(tuple(values))
            else:
                self._survivors = values[3]
                self.happened("alive")
        elif word == "settled":
            self._after_settling(*values)

    def _sandbox_ended(self) -> None:
        self._loop.forget(self._killer.init if self._killer.init is not None else -1)
        if self.stopping:
            return
        assert self._parts.cell is not None
        self._parts.cell.settimeout(_LAST_WORDS)
        message = _receive(self._parts.cell)
        if message is not None and message[0] == "exit":
            self._agent_ended(message[1])
        else:
            self._lost("its sandbox ended")

    def _hear_cell(self) -> None:
        assert self._parts.cell is not None
        message = _receive(self._parts.cell)
        if message is None:
            self._loop.forget(self._parts.cell.fileno())
            self._lost("the cell of its sandbox was lost")
        elif message[0] == "exit":
            self._agent_ended(message[1])

    def _agent_ended(self, code: int) -> None:
        """The agent's program has ended: what it left behind ends with it."""
        self._exit = code
        cause = {"origin": "agent ended", "reason": f"it ended with {code}"}
        self.happened("ended", None if self.stopping else cause)

    def _hear_scribe(self) -> None:
        assert self._parts.scribe is not None
        message = _receive(self._parts.scribe)
        if message is None:
            self._loop.forget(self._parts.scribe.fileno())
            self._parts.scribe = None
            self._written = True
            self._lost("its scribe was lost")
            return
        self._felt("scribe")
        word, *values = message
        if word == "latched":
            self._latched = "disk"
        elif word == "written":
            self._written = True
            self._end_if_done()
        elif word == "trouble":
            self._lost(values[0])

    def _hear_starter(self) -> None:
        """Of a detached agent one word comes: that its start was heard of. What else comes is the end of the line."""
        assert self._starter is not None
        with suppress(OSError):
            if self.plan["detached"] and self._starter.recv(16):
                self._heard_of = True
                return
        self._loop.forget(self._starter.fileno())
        self._starter.close()
        self._starter = None
        if not self.plan["detached"]:
            why = "the terminal that it was started from hung up"
        elif not self._heard_of:
            why = "who started it was gone before it heard of the start"
        else:
            return
        self.happened("part-lost", {"origin": "terminal", "reason": why})

    def _start_proxy(self) -> None:
        told = self._parts.start_proxy()
        if told is None or self._parts.proxy is None:
            return
        line, proxy = told, self._parts.proxy
        self._parts.tell_guard(("proxy",), [proxy])

        def lost() -> None:
            self._loop.forget(proxy)
            self._lost("its proxy was lost")

        def hear() -> None:
            message = _receive(line)
            if message is None:
                self._loop.forget(line.fileno())
                line.close()
            else:
                self.note("refused host", host=str(message[1]))

        self._loop.watch(proxy, lost)
        self._loop.watch(line.fileno(), hear)

    def _listen_to(self, role: str, line: socket.socket) -> None:
        """Listen to a part that watches."""

        def hear() -> None:
            message = _receive(line)
            if message is None:
                self._loop.forget(line.fileno())
                line.close()
                del self._parts.watched.lines[role]
                # After the kill it may go, and the gateway was killed.
                if self._killed is None:
                    self._lost(f"its {role} was lost")
                return
            self._felt(role)
            word, *values = message
            if word == "trip":
                # It is told at every tick until the death is.
                why, pattern = values
                if self._killed is None:
                    self.note("tripped", pattern=pattern)
                self.happened("found-stop", {"origin": "watchdog", "reason": why})
            elif word == "event":
                self.note(values[0], **values[1])
            elif word == "changed":
                self._changed(values[0])

        self._loop.watch(line.fileno(), hear)

    def _changed(self, what: str) -> None:
        """A file of the kill path is not what it was: the call that did it is not to be denied any more."""
        watch = self.plan["watch"]
        mode = watch["patterns"].get("kill-path", watch["mode"])
        if mode == "stop":
            self.happened(
                "found-stop", {"origin": "watchdog", "reason": f"the kill path was changed: {what}"}
            )
        self.note("kill path changed", what=what, mode=mode)

    # Death

    def _observed(self, dead: "tuple[Any, ...]") -> None:
        if self._dead is not None:
            return
        self._latch.step("dead")
        self._dead, self._dead_at = dead, time.monotonic()
        self._envelope = self._sign(dead)
        self._operators.died(self._envelope, settled=False)
        self._write(self._envelope)
        self.note("dead", ms=(dead[1] - self._ordered) // 1_000_000, killed=self._tasks)
        if self._state() == "stopped":
            self._parts.tell_guard(("settle",))
        handle = self._parts.tidy()
        if handle is None:
            self._end_if_done()
            return
        self._tidying = True

        def tidied() -> None:
            self._loop.forget(handle)
            os.close(handle)
            self._tidying = False
            self._end_if_done()

        self._loop.watch(handle, tidied)

    def _sign(self, dead: "tuple[Any, ...]") -> "dict[str, Any]":
        assert self._cause is not None
        self._receipt = describe(
            self.plan, self._parts.promises, self._cause, self._ordered, self._killed, self._tasks, dead,
            latch="none" if self._by_itself() else self._latched,
            exit=self._exit, cut=self._network_cut,
        )  # fmt: skip
        return self._receipts.sign(self._receipt, self._parts.key)

    def _write(self, envelope: "dict[str, Any]") -> None:
        assert self._cause is not None
        text = json.dumps(envelope)
        if self._parts.scribe is not None and not self._hung:
            self._parts.tell_scribe(("receipt", text))
        else:
            self._written = True
            self._parts.write_without_scribe(self._cause["reason"], text)

    def _after_settling(self, looks: int, respawned: "list[Any]") -> None:
        assert self._receipt is not None
        self._receipt["settle"] = {
            "seconds_ms": int(guard.SETTLE * 1000),
            "looks": looks,
            "respawned": respawned,
        }
        self._receipt["latch"] = self._latched
        self._settled = self._receipts.sign(self._receipt, self._parts.key)
        self._write(self._settled)
        self._operators.died(self._settled, settled=True)
        self._end_if_done()

    def _end_if_done(self) -> None:
        """End in order: what the sandbox left is removed, then the output is written, then everybody is told."""
        if self._dead is None or self._tidying:
            return
        if not self._told_over:
            self._told_over = True
            self._parts.tell_scribe(("over",))
        late = time.monotonic() - self._dead_at
        if not self._written and late < _WRITE:
            return
        if not self._written:
            # Stopped or hung, it would also hold the latch as that of an agent that runs.
            self._written = True
            assert self._cause is not None
            self._parts.write_without_scribe(
                self._cause["reason"], json.dumps(self._settled or self._envelope)
            )
        by_itself = self._state() == "ended"
        if by_itself:
            # Nothing is latched, so the next run of this name may begin as soon as this one is told to be over.
            self._parts.clear_away()
            with suppress(OSError):
                self._parts.latch.open()
        self._tell_ended()
        if by_itself or self._settled is not None or late > guard.SETTLE + PATIENCE:
            self._loop.over = True

    def _tell_ended(self) -> None:
        assert self._cause is not None
        ended = {
            "code": self._exit, "stopped": self._state() == "stopped", "reason": self._cause["reason"], "dead": True,
        }  # fmt: skip
        if self._starter is not None:
            self._loop.forget(self._starter.fileno())
            _say(self._starter, {"ok": True, "ended": ended})
            self._starter.close()
            self._starter = None
        self._operators.ended(ended)


_RUN_OUT: "dict[str, Callable[[str], dict[str, Any]]]" = {
    "lease-out": lambda _: {"origin": "lease", "reason": "its lease ended"},
    "heartbeat-out": lambda part: {
        "origin": "supervisor",
        "reason": f"its {part} gave no sign of life" + " (does a disk hang?)" * (part == "scribe"),
    },
}
"""What stops an agent when a counter has run out, by the part that it is of."""


def _short(argv: "list[str]") -> "list[str]":
    """A command as it fits into an answer; a prompt on the command line may be long."""
    return [_short_word(word) for word in argv[:_WORDS]]


def _short_word(word: str) -> str:
    # In JSON a letter beyond ASCII takes up to twelve bytes: twenty words of those are more than an answer holds.
    most = _WORD if word.isascii() and word.isprintable() else _WORD // 8
    return word if len(word) <= most else word[:most] + "..."


def _receive(line: socket.socket) -> "tuple[Any, ...] | None":
    """A message of a part; None when it is gone."""
    try:
        message = wire.receive(line)
    except OSError:
        return None
    return None if message is None else message[0]


def _hung_up(line: socket.socket) -> bool:
    poll = select.poll()
    poll.register(line, select.POLLRDHUP)
    return bool(poll.poll(0))


def _say(line: socket.socket, value: "dict[str, Any]") -> None:
    with suppress(OSError):
        line.send(json.dumps(value).encode(), socket.MSG_NOSIGNAL)


def main() -> None:
    """Be the supervisor of what the process at the other end of standard input asks for."""
    gc.enable()
    # What its caller blocks or ignores is not to be blocked or ignored here.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # Nor is what a shell had open, such as its caller's pipes, to stay open as long as an agent runs.
    for file in map(int, os.listdir("/proc/self/fd")):
        if file > 2:
            with suppress(OSError):
                os.close(file)
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
    (plan, runtime, lasting), (errors, *files) = message
    os.dup2(errors, 2)
    os.close(errors)
    records = [files.pop(), files.pop()][::-1] if plan.get("apis") else []
    client = socket.socket(fileno=files[0]) if files else None
    kernel.adopt_orphans()
    kernel.rename("offswitch")
    parts = Parts(plan, Places(runtime, lasting), starter, client, tuple(records))
    try:
        parts.bring_up()
        if _hung_up(starter):
            # Nobody wants it any more, and nobody would know that it runs.
            parts.take_down()
            return
        pid = parts.go()
    except NotStarted as problem:
        _say(starter, {"ok": False, "why": problem.line, "code": problem.code})
        return
    if client is not None:
        client.close()
    supervisor = Supervisor(parts, starter, plan)
    supervisor.note(
        "started", command=plan["argv"], sandbox=plan["sandbox"], workspace=plan["workspace"], pid=pid
    )
    _say(starter, {"ok": True, "run": plan["run"], "supervisor": os.getpid()})
    supervisor.run()

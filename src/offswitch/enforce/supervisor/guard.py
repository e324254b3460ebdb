"""The guard: the process beside a supervisor that observes death, and that kills when the supervisor is lost.

It is told what to kill before the agent starts, and from then on expects a heartbeat. When the supervisor ends (its
socket closes) or falls silent (SIGSTOP, a hang), the guard kills, observes, says so in a receipt of its own, clears
away and ends: it outlives the supervisor by just long enough. It holds the lease's end too, so that a supervisor that
still beats but does not stop the agent in time is not trusted either.
"""

import _thread
import json
import math
import os
import select
import signal
import socket
import time
from contextlib import AbstractContextManager, nullcontext, suppress

from offswitch.enforce.latch import Latch
from offswitch.enforce.places import Places, remove
from offswitch.enforce.supervisor import scribe
from offswitch.enforce.supervisor.accounts import describe
from offswitch.enforce.supervisor.killing import Killer
from offswitch.enforce.supervisor.loop import MISSES, TICK, Loop, Pulse, boottime
from offswitch.enforce.supervisor.observing import NAMESPACES, Observer, Turn
from offswitch.enforce.watchdog.machine import NEVER, Machine
from offswitch.sandboxes import wire
from offswitch.sandboxes.cgroups import Cgroups, Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SETTLE = 2.0
"""Seconds for which a dead sandbox is still looked at, for something that starts again in it."""
_FIRST_LOOK, _MORE = 0.1, 1.5
"""Seconds until the first look, and how many times longer each later one waits."""
_AGAIN, _SHORTEST, _LONGEST = 1.0, 5.0, 100.0
"""Milliseconds for which an observer of a death waits before it looks again unasked: once nothing is left that the
kernel knows of; at first; and at last."""
_LATE = 1.0
"""Seconds that the supervisor may take to act on the end of a lease."""
_HELP = 0.05
"""Seconds after which an observer that still sees life kills as well."""
TIDY = 30
"""Seconds that a kind of sandbox may take to remove what it leaves behind."""
_STARTING = 5 * MISSES
"""Ticks for which a supervisor may be silent that loads what it needs from a slow disk: no agent runs as yet."""
_SETTLED_IN = 25
"""Ticks after which a guard loads what it would sign with. Not sooner: agents and their mistakes are often short."""
_PARTS = 2.0
"""Seconds in which the parts of a lost supervisor end by themselves."""
_GIVE_UP = 60.0
"""Seconds for which a guard alone goes on killing what does not die, before it leaves it to what it has set going."""


class Witness:
    """Observes death, for a supervisor that asks.

    Args:
        line: Socket to the supervisor.
        killer: What kills, and what it knows.
        namespaces: Open namespaces of the sandbox, by kind.
        workspace: Its workspace, a real path.
    """

    _who = "witness"
    _turn: "AbstractContextManager[None]" = nullcontext()

    def __init__(
        self, line: socket.socket, killer: Killer, namespaces: dict[str, int], workspace: str
    ) -> None:
        self._line = line
        self._killer = killer
        self._observer = Observer(_only_namespaces(namespaces), workspace)
        self._loop = Loop(self._tick)

    def run(self) -> None:
        """Live as long as the supervisor."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # A stop of this whole group is the supervisor's to answer.
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        self._loop.watch(self._line.fileno(), self._hear)
        self._loop.run()
        _reap()
        os._exit(0)

    def _hear(self) -> None:
        try:
            message = wire.receive(self._line)
        except OSError:
            message = None
        if message is None:
            self._supervisor_gone()
            return
        (word, *values), files = message
        self._told(word, values, files)

    def _told(self, word: str, values: "list[Any]", files: list[int]) -> None:
        if word == "beat":
            self._answer(("beat",))
        elif word == "observe":
            self._answer(("dead", *self.observe(*values)))
        elif word == "settle":
            self._answer(("settled", *self.settle()))
        elif word == "over":
            self._loop.over = True

    def _answer(self, value: object) -> None:
        with suppress(OSError):
            wire.send(self._line, value)

    def _tick(self) -> None:
        pass

    def _supervisor_gone(self) -> None:
        self._killer.kill()
        self._loop.over = True

    def observe(
        self, patience: float, held: bool = True
    ) -> "tuple[bool, int, list[Any], list[Any], list[Any]]":
        """Wait until the agent is seen to be dead.

        Args:
            patience: Seconds.
            held: Whether to look also for who holds the workspace.

        Returns:
            Whether it is, when that was seen (monotonic ns), which observers said so, survivors, and processes of the
            host that hold the workspace.
        """
        began = beat = time.monotonic()
        deadline = began + patience
        pause = _SHORTEST
        poll = select.poll()
        if self._killer.events is not None:
            poll.register(self._killer.events, select.POLLPRI)
        if self._killer.init is not None:
            poll.register(self._killer.init, select.POLLIN)
        while True:
            said, at = self._gone()
            if said:
                # Nothing of it that the kernel knows of is left; now look whether anything is that it does not count.
                with self._turn:
                    survivors, unseen = self._observer.survivors()
                how = "no process in a namespace of the sandbox" + (
                    f" ({unseen} could not be looked into)" if unseen else ""
                )
                if not survivors:
                    said.append({"who": self._who, "how": how, "at_monotonic_ns": time.monotonic_ns()})
                    return True, at, said, [], self._observer.holders() if held else []
            if time.monotonic() > deadline:
                survivors, _ = self._observer.survivors()
                return False, 0, [], survivors, []
            if time.monotonic() > began + _HELP:
                self._killer.kill()
                pause = min(pause * _MORE, _LONGEST)
            if time.monotonic() > beat + TICK:
                # Slow, and not lost: on a host with many processes one look takes its time. Seldom enough that a
                # supervisor that is stopped, and reads none of it, does not block what is to notice that.
                beat = time.monotonic()
                self._answer(("beat",))
            _reap()
            # The kernel tells of the end of the group and of the init, not of that of each thread: what is all but gone
            # is looked at again at once. The rest less and less often: with a hundred agents to observe, those who look
            # keep what dies from the processor and from its locks.
            poll.poll(_AGAIN if said else pause)

    def _gone(self) -> "tuple[list[dict[str, Any]], int]":
        """Which observers see no life, empty unless all do; and when."""
        said = []
        populated = self._killer.populated()
        if populated:
            return [], 0
        at = time.monotonic_ns()
        if populated is False:
            said.append({"who": self._who, "how": "control group not populated", "at_monotonic_ns": at})
        if self._killer.init is not None:
            gone = select.poll()
            gone.register(self._killer.init, select.POLLIN)
            if not gone.poll(0):
                return [], 0
            at = time.monotonic_ns()
            said.append({"who": self._who, "how": "init of the sandbox ended", "at_monotonic_ns": at})
        return said, at

    def settle(self) -> "tuple[int, list[Any]]":
        """Go on looking for a while; how often, and which processes were seen, each once."""
        looks = 0
        seen: dict[int, Any] = {}
        now = time.monotonic()
        # The first looks come soon, the later ones seldom: with a hundred agents to settle they add up.
        end, gap = now + SETTLE, _FIRST_LOOK
        due = now + gap
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        while now < end:
            if poll.poll(max(0.0, due - now) * 1000):
                message = wire.receive(self._line)
                if message is None:
                    break
                self._told(message[0][0], message[0][1:], message[1])
            now = time.monotonic()
            if now < due:
                continue
            gap *= _MORE
            due = now + gap
            looks += 1
            found = self._observer.survivors()[0]
            if found or self._killer.populated():
                self._killer.kill()
                for one in found or [{"pid": 0, "command": "?"}]:
                    seen.setdefault(one["pid"], one)
        return looks, list(seen.values())[:20]


class Guard(Witness):
    """See the module.

    Args:
        line: Socket to the supervisor.
        supervisor: The supervisor's pid.
        killer: What to kill, as far as it is known.
        group: The control group, to be removed.
        cgroups: Where it was made.
        kind: The module of the sandbox's kind, which removes what that leaves behind.
        places: Where the state lies.
        plan: The supervisor's plan.
        latch: The run's latch.
    """

    _who = "guard"

    def __init__(
        self,
        line: socket.socket,
        supervisor: int,
        killer: Killer,
        group: Group | None,
        cgroups: Cgroups,
        kind: "Any",
        places: Places,
        plan: "dict[str, Any]",
        latch: Latch,
    ) -> None:
        super().__init__(line, killer, {}, plan["workspace"])
        self._supervisor = os.pidfd_open(supervisor)
        self._group = group
        self._cgroups = cgroups
        self._kind = kind
        self._facts: dict[str, Any] = {}
        self._places = places
        self._plan = plan
        self._latch = latch
        self._key = b""
        # What is done when is decided in one table, as in the supervisor; before the charge nothing of an agent runs.
        self._machine: Machine | None = None
        self._ticks = 0
        self._ticked = boottime()
        self._pulse = Pulse(_STARTING)
        self._proxy: int | None = None
        self._promises: dict[str, str] = {}
        self._turn = Turn(places.runtime)

    def _told(self, word: str, values: "list[Any]", files: list[int]) -> None:
        self._pulse.felt()
        if word == "beat":
            if self._machine is not None:
                self._machine.step("beat", "supervisor")
                self._machine.step("renew", ticks=self._left(values[0]))
        elif word == "observe" and self._machine is not None:
            # It has killed; there is no lease any more to hold it to.
            self._machine.step("renew", ticks=NEVER)
        elif word == "charge":
            words, self._promises, self._key, self._facts = values
            self._killer.init, self._killer.cell, *rest = files
            self._observer = Observer(
                _only_namespaces(dict(zip(words, rest, strict=True))), self._plan["workspace"]
            )
            self._machine = Machine(
                lease=NEVER, grace=NEVER, decision=NEVER, heartbeats={"supervisor": MISSES + 1}
            )
            self._machine.step("start")
            self._ticked = boottime()
            self._answer(("charged",))
        elif word == "proxy":
            if self._proxy is not None:
                os.close(self._proxy)
            (self._proxy,) = files
        super()._told(word, values, files)

    def _tick(self) -> None:
        self._ticks += 1
        if self._ticks == _SETTLED_IN:
            # Beside the loop: a slow disk must neither hold up a kill nor look like a guard that is lost.
            _thread.start_new_thread(_load_trust_or_end, ())
        if self._machine is None:
            if self._pulse.lost():
                self._supervisor_gone()
            return
        elapsed = int((boottime() - self._ticked) / TICK)
        self._ticked += elapsed * TICK
        for event, _, actions in self._machine.tick(elapsed):
            if "kill" in actions:
                self._alone(_WHY[event], actions)
                return

    def _left(self, lease: float) -> int:
        """Ticks left of a lease, with what the supervisor may take to act on its end; after the kill there is none.

        Since the last tick, which the next one counts from: a host may have slept between them.
        """
        return max(1, math.ceil((lease + _LATE - self._ticked) / TICK)) if lease else NEVER

    def _supervisor_gone(self) -> None:
        if self._machine is not None:
            self._alone("its supervisor was lost", self._machine.step("part-lost"))
        else:
            # It was lost as it started, before anything of the agent ran.
            super()._supervisor_gone()
            self._end_supervisor()
            self._end_parts()
            self._clear()

    def _end_supervisor(self) -> None:
        """One that is stopped or hangs would come back to find its work done, and clients wait for it."""
        with suppress(OSError):
            signal.pidfd_send_signal(self._supervisor, signal.SIGKILL)

    def _alone(self, why: str, actions: tuple[str, ...]) -> None:
        """The supervisor is lost: do what it would have done.

        Args:
            why: Why.
            actions: What the table says: to kill, to cut, to have the death observed, and to latch.
        """
        assert self._machine is not None
        assert actions[0] == "kill"
        lost = time.monotonic_ns()
        tasks = self._killer.tasks()
        killed = self._killer.kill()
        cut = self._cut_network()
        self._end_supervisor()
        self._loop.over = True
        dead = self.observe(_GIVE_UP)
        with suppress(OSError):
            self._latch.trip(why, int(time.time() * 1000))
        if not dead[0]:
            self._end_parts()
            return
        self._machine.step("dead")
        with suppress(OSError):
            self._latch.died()
        # Without it the agent is dead and latched all the same; what is missing then is the account of it.
        with suppress(OSError, ImportError, ValueError):
            self._sign(why, lost, killed, tasks, cut, dead)
        self._end_parts()
        self._clear()

    def _cut_network(self) -> int | None:
        """Kill the proxy, which ends with its supervisor, but that may only be stopped; see ``describe``."""
        if self._proxy is None:
            return 0 if self._plan["proxy"] is None and self._plan.get("gateway") is None else None
        with suppress(OSError):
            signal.pidfd_send_signal(self._proxy, signal.SIGKILL)
        return time.monotonic_ns()

    def _sign(
        self,
        why: str,
        lost: int,
        killed: int,
        tasks: int | None,
        cut: int | None,
        dead: "tuple[Any, ...]",
    ) -> None:
        from offswitch.trust import keys, receipts

        receipt = describe(
            self._plan,
            self._promises,
            {"origin": "guard", "reason": why},
            lost,
            killed,
            tasks,
            dead,
            latch="disk",
            cut=cut,
        )
        envelope = receipts.sign(receipt, keys.PrivateKey(self._key))
        scribe.keep_receipt(self._places, self._plan, json.dumps(envelope))

    def _end_parts(self) -> None:
        """End what was the supervisor's and is ours now. It ends by itself, but one that is stopped or hangs does not,
        and would hold the latch as that of an agent that runs."""
        end = time.monotonic() + _PARTS
        while (parts := _children()) and time.monotonic() < end:
            _reap()
            time.sleep(0.01)
        for pid in parts:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        _reap()

    def _clear(self) -> None:
        if hasattr(self._kind, "tidy"):
            if (pid := os.fork()) == 0:
                try:
                    tidy(self._kind, self._plan, self._facts)
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
        end = time.monotonic() + 5.0
        while self._group is not None and not self._group.remove() and time.monotonic() < end:
            time.sleep(0.01)
        self._cgroups.close()
        remove(self._places.agent(self._plan["name"]))


_WHY = {
    "heartbeat-out": "its supervisor gave no sign of life",
    "lease-out": "its lease ended and its supervisor let it run",
}
"""Why a guard acts, by what ran out."""


def load_trust() -> None:
    """Load what checks orders and signs receipts: it takes some 20 ms, and is not to be loaded at a stop.

    Raises:
        ImportError: Something of it is missing or unreadable.
    """
    from offswitch.trust import canonical, keys, orders, receipts

    del canonical, keys, orders, receipts  # they only have to be there


def _load_trust_or_end() -> None:
    # A guard that could not sign is none, and its end is noticed now.
    try:
        load_trust()
    except BaseException:
        os._exit(1)


def tidy(kind: "Any", plan: "dict[str, Any]", facts: "dict[str, Any]") -> None:
    """Remove what a sandbox leaves behind, in a process of its own; what cannot be is said on standard error."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(TIDY)
    for line in kind.tidy(plan, facts):
        os.write(2, f"offswitch: {line}\n".encode())


def _only_namespaces(files: dict[str, int]) -> dict[str, int]:
    return {name: file for name, file in files.items() if name in NAMESPACES}


def _children() -> list[int]:
    """Processes whose parent this one is, or has become; none where the kernel does not list them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _reap() -> None:
    """Reap what was orphaned by the supervisor's end."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass

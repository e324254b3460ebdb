"""A stage: one run of one fault, in a process of its own, with an agent under an off-switch of its own.

The stage adopts every orphan below it, so whatever an agent does, its processes stay descendants of the stage: this,
the control group and the sandbox's view of the workspace are the drill's own observer, which shares nothing with
the supervisor's. What a stage has mounted, bounded or renamed the time of is its own and goes with it.
"""

import json
import os
import random
import shutil
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from offswitch.enforce import beginning, control, launching, places
from offswitch.enforce.drills import private
from offswitch.enforce.drills.faults import CannotStage, Failed, Fault
from offswitch.enforce.latch import read as read_latches
from offswitch.sandboxes import kernel

NAME = "drilled"
WITHIN = 10.0
"""Seconds within which an agent has to be dead, unless a fault says otherwise."""
_UP = 90.0
_PATIENCE = 1900.0
"""Milliseconds after which a supervisor may say that it has not seen the death yet."""
_LOOKS = 0.3
"""Seconds for which a dead agent is looked at once more."""
_NAMESPACES = ("pid", "net", "user", "ipc", "uts")
"""Not mnt: what tidies up after an agent may have mounts of its own."""
INSIDE = Path(__file__).with_name("inside.py")


class Stage:
    """See the module.

    Args:
        kind: Kind of sandbox.
        options: The kind's own settings.
        patch: Statements that take a control away from the supervisor.
        without: The control's name, where one is taken away.

    Attributes:
        ms: Order or fault to death in ms, once it was observed.
        notes: What else is to be told of the run.
        is_reaper: Whether orphans are reaped here, as the host's init would: the init of a PID namespace has not ended
            before its last process is reaped. Where supervisor or guard are there, that is for them to do.
        random: Source of random moments.
    """

    def __init__(self, kind: str, options: dict[str, Any], patch: str = "", without: str = "") -> None:
        self.kind = kind
        self.without = without
        self.options = options
        self.ms: float | None = None
        self.survivors: list[str] = []
        self.notes: dict[str, Any] = {}
        self.random = random.Random()  # noqa: S311 - moments, not secrets
        self.running: launching.Running | None = None
        self.folder = Path(tempfile.mkdtemp(prefix=f"offswitch-drill-{os.getppid()}-"))
        self.workspace = self.folder / "workspace"
        self.workspace.mkdir()
        self.state = self.folder / "state"
        self.state.mkdir(mode=0o700)
        self.places = places.find(str(self.state))
        self.groups: set[str] = set()
        self.is_reaper = False
        self.on_close: list[Callable[[], None]] = []
        self._helpers: set[int] = set()
        self._own = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in _NAMESPACES}
        self.patch(patch)

    # The agent

    def patch(self, source: str) -> None:
        """Start supervisors from a program that runs some statements first."""
        if source:
            plain = beginning._program

            def program() -> list[str]:
                *head, code = plain()
                assert code.endswith("; main()")
                return [*head, f"{code[: -len('main()')]}exec({source!r}); main()"]

            beginning._program = program

    def plan(self, act: str, **changed: Any) -> dict[str, Any]:
        """The plan of an agent that does ``act`` (a function of ``inside``)."""
        shutil.copy(INSIDE, self.workspace / "inside.py")
        about = self.workspace.stat()
        os.chown(self.workspace / "inside.py", about.st_uid, about.st_gid)
        return {
            "name": NAME, "argv": ["/usr/bin/python3", "-I", "-S", "/workspace/inside.py", act], "environment": {},
            "workspace": str(self.workspace.resolve()), "read": self.options.get("read", []),
            "memory": 256 << 20, "pids": 128,
            "lease_s": 180, "lease_max_s": None, "sandbox": self.kind, "hosts": [], "proxy": None, "trusted": [],
            "options": {key: value for key, value in self.options.items() if key != "read"},
            "own": [], "loosening": [], "needed": {}, "interrupt": "", "policy": None, **changed,
        }  # fmt: skip

    def start(
        self, act: str, *, foreground: bool = False, terminal: bool = False, **changed: Any
    ) -> "launching.Running":
        """Start an agent and wait until it says that it is up to what it does."""
        try:
            self.running = launching.launch(
                self.plan(act, **changed), self.places, terminal=terminal, tether=foreground
            )
        except launching.NotStarted as problem:
            raise CannotStage(f"the agent was not started: {problem.line}") from None
        self.await_up()
        self.learn()
        return self.running

    def await_up(self) -> None:
        """Wait until an agent that was started says that it is up to what it does."""
        end = time.monotonic() + _UP
        while not any("up" in one for one in self.said()):
            if not self.parts().get("supervisor"):
                raise Failed(f"the agent ended before it was up: {self.output()[-300:].strip()!r}")
            if any("cannot" in one for one in self.said()):
                raise CannotStage(next(one["cannot"] for one in self.said() if "cannot" in one))
            if time.monotonic() > end:
                raise CannotStage("the agent did not come up in time")
            time.sleep(0.01)

    def output(self) -> str:
        """What the agent wrote."""
        text = ""
        for name in ("output.1", "output"):
            with suppress(OSError), open(self.places.logs(NAME) + "/" + name, errors="replace") as file:
                text += file.read(1 << 20)
        return text

    def said(self) -> list[dict[str, Any]]:
        """What the agent said of itself: lines of JSON."""
        found = []
        for line in self.output().replace("\r", "").splitlines():
            if line.startswith('{"drill"'):
                with suppress(ValueError):
                    found.append(json.loads(line)["drill"])
        return found

    # Looking

    def parts(self) -> dict[str, int]:
        """Pids of what stands around the agent, by name: supervisor, guard, scribe, cell, proxy."""
        found: dict[str, int] = {}
        below = descendants(os.getpid())
        for pid, (parent, name) in below.items():
            if name == "offswitch" and not _has_command_line(pid):
                found["supervisor"] = pid
                if below.get(parent, (0, ""))[1] == "guard":
                    found["guard"] = parent
        for pid, (parent, name) in below.items():
            if parent == found.get("supervisor", -1):
                found["cell" if name == "sh" else name] = pid
        return {name: pid for name, pid in found.items() if state(pid) not in "ZX"}

    def learn(self) -> None:
        """Remember the agent's control groups, to ask them whether they are empty."""
        for pid in (*self.parts().values(), *self.agents()):
            with suppress(OSError):
                for place in groups_of(pid):
                    self.groups.add(place)

    def agents(self) -> dict[int, str]:
        """Every process of the sandbox, by pid, with its name: the drill's own observer."""
        below = descendants(os.getpid())
        found = {}
        for pid, (_, name) in below.items():
            if self._foreign(pid):
                found[pid] = name
        for place in self.groups:
            with suppress(OSError), open(place + "/cgroup.procs") as file:
                for line in file:
                    if state(int(line)) not in "ZX":
                        found[int(line)] = name_of(int(line))
        with suppress(OSError):
            about = self.workspace.stat()
            for pid in pids():
                with suppress(OSError):
                    seen = os.stat(f"/proc/{pid}/root/workspace")
                    if (seen.st_dev, seen.st_ino) == (about.st_dev, about.st_ino) and state(pid) not in "ZX":
                        found[pid] = name_of(pid)
        return {pid: name for pid, name in found.items() if pid not in self._helpers}

    def _foreign(self, pid: int) -> bool:
        for kind, own in self._own.items():
            with suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/{kind}") != own:
                    return state(pid) not in "ZX"
        return False

    def _populated(self) -> bool:
        """Whether a control group of the agent has a process; quick. True where there is no such group to ask."""
        if not self.groups:
            return True
        for place in self.groups:
            try:
                with open(place + "/cgroup.events") as file:
                    if "populated 1" in file.read():
                        return True
            except FileNotFoundError:
                with suppress(OSError), open(place + "/cgroup.procs") as procs:
                    if procs.read(1):
                        return True
            except OSError:
                continue
        return False

    def observe(self, since: int, within: float = WITHIN) -> bool:
        """Wait for the agent's death, and measure it.

        Args:
            since: When the order was given or the fault began, ns of the monotonic clock.
            within: Seconds that it may take.
        """
        end = since + int(within * 1e9)
        while True:
            at = time.monotonic_ns()
            if not self.groups or not self._populated():
                left = self.agents()
                if not left:
                    self.ms = (at - since) / 1e6
                    return self._stays_dead()
            if time.monotonic_ns() > end:
                left = self.agents()
                if not left:
                    continue
                self.survivors = [f"{pid} {name}" for pid, name in left.items()]
                return False
            if self.is_reaper:
                self._reap_zombies()
            time.sleep(0.0005 if self.groups else 0.005)

    def _stays_dead(self) -> bool:
        time.sleep(_LOOKS)
        left = self.agents()
        self.survivors = [f"{pid} {name}" for pid, name in left.items()]
        return not left

    # Acting

    def order(self, within: float = WITHIN, **request: Any) -> dict[str, Any]:
        """Give the order to stop and measure how long the agent lives on.

        Returns:
            The receipt.

        Raises:
            Failed: It lives, or what the receipt says is not so.
        """
        since = time.monotonic_ns()
        try:
            line = control.connect(self.places, NAME)
        except control.NotRunning as problem:
            raise Failed(f"the order could not be given: {problem}") from None
        with line:
            control.send(line, {"do": "stop", "order": None, "reason": "a drill", **request})
            dead = self.observe(since, within)
            if not dead:
                raise Failed(f"it outlived the order by {within:g} s")
            try:
                answer, _ = control.receive(line, 10.0)
            except control.Lost as lost:
                raise Failed(f"no receipt: {lost}") from None
        if not answer.get("dead") and self.ms is not None and self.ms > _PATIENCE:
            # It said so before it was: ask again.
            self.notes["first_receipt"] = "not dead"
            with suppress(control.NotRunning, control.Lost), control.connect(self.places, NAME) as line:
                answer = control.ask(line, {"do": "stop", "order": None}, 20.0)
        if not answer.get("dead"):
            raise Failed("it was dead, and the receipt does not say so")
        return opened(answer["receipt"])

    def strike(self, blow: Callable[[], None], within: float = WITHIN) -> None:
        """Let a fault happen that is to end the agent without an order.

        Raises:
            Failed: It lives.
        """
        since = time.monotonic_ns()
        blow()
        if not self.observe(since, within):
            raise Failed(f"it outlived the fault by {within:g} s")

    def lose(self, *parts: str, how: signal.Signals = signal.SIGKILL, within: float = WITHIN) -> None:
        """Lose parts of the off-switch at once, at a random moment."""
        time.sleep(self.random.uniform(0, 0.3))
        found = self.parts()
        missing = [part for part in parts if part not in found]
        if missing:
            raise CannotStage(f"there is no {missing[0]} to lose")

        if len(parts) > 1:
            # At once: what is lost first would be noticed by what is lost next, so all of them are held before.
            for part in parts:
                os.kill(found[part], signal.SIGSTOP)
            self.eventually(
                lambda: all(state(found[part]) == "T" for part in parts), 5, "a part cannot be held"
            )

        def blow() -> None:
            for part in parts:
                # What is lost first may have taken the next with it.
                with suppress(ProcessLookupError):
                    os.kill(found[part], how)

        # Once a guard is reaped, the next off-switch that starts on this host sweeps its control groups: a help that
        # must not hide that its death signals are gone.
        self.is_reaper = {"supervisor", "guard"} <= set(parts) and self.without != "death-signals"

        self.strike(blow, within)

    def helper(self, act: Callable[[], None]) -> int:
        """Run something beside, in a process that is no agent; its pid."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                act()
                code = 0
            finally:
                os._exit(code)
        self._helpers.add(pid)
        return pid

    def own_state(self, size: int) -> None:
        """Have the state on a small disk of its own."""
        private.small_disk(str(self.state), size)
        self.places = places.find(str(self.state))

    def latched(self) -> bool:
        """Whether the agent's name is latched."""
        return any(name == NAME for name, _, _ in read_latches(self.places))

    def eventually(self, holds: Callable[[], object], within: float, otherwise: str) -> None:
        """Wait until something holds.

        Raises:
            Failed: It does not, with ``otherwise`` as the words.
        """
        end = time.monotonic() + within
        while not holds():
            if time.monotonic() > end:
                raise Failed(otherwise)
            time.sleep(0.01)

    # Ending

    def close(self) -> list[str]:
        """Let the off-switch end, remove everything of the stage, and say what could not be removed."""
        self.learn()
        for pid in self._helpers:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with suppress(control.NotRunning, control.Lost), control.connect(self.places, NAME) as line:
            control.send(line, {"do": "stop", "order": None, "reason": "the drill is over"})
        end = time.monotonic() + 6
        while time.monotonic() < end and self._reap():
            time.sleep(0.05)
        end = time.monotonic() + 10
        while time.monotonic() < end and (below := self._reap()):
            for place in self.groups:
                with suppress(OSError):
                    Path(place, "cgroup.kill").write_text("1")
            for pid in below:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for act in self.on_close:
            act()
        left = [f"process {pid} {name}" for pid, (_, name) in self._reap().items()]
        for place in sorted(self.groups, key=len, reverse=True):
            for one in (place, os.path.dirname(place)):
                with suppress(OSError):
                    if "offswitch-" in one:
                        os.rmdir(one)
            if os.path.exists(place):
                left.append(f"control group {place}")
        for path in (self.workspace, self.state):
            with suppress(OSError):
                os.chmod(path, 0o700)
        _remove(self.folder)
        if self.folder.exists():
            left.append(f"folder {self.folder}")
        return left

    def own_network(self) -> None:
        """Have a network with nothing in it."""
        private.own_network()
        self._own["net"] = os.readlink("/proc/self/ns/net")

    def _reap_zombies(self) -> None:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _reap(self) -> dict[int, tuple[int, str]]:
        self._reap_zombies()
        return {pid: one for pid, one in descendants(os.getpid()).items() if state(pid) not in "ZX"}


def run(
    fault: Fault, kind: str, options: dict[str, Any], patch: str, without: str, tell: socket.socket
) -> None:
    """Be the process of a stage: run a fault once, tell the outcome, clear away, tell of that.

    Args:
        fault: The fault.
        kind: Kind of sandbox.
        options: The kind's own settings.
        patch: Statements that take a control away, "" for none.
        without: That control's name.
        tell: Where the two messages go, each a JSON object.
    """

    def end(*_: object) -> None:
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    private.adopt_orphans(on=True)
    if os.geteuid() == 0:
        private.own_mounts()
    stage = Stage(kind, options, patch, without)
    outcome: dict[str, Any] = {"dead": False, "failed": "", "skipped": ""}
    try:
        try:
            fault.act(stage)
            outcome["dead"] = True
        except CannotStage as reason:
            outcome["skipped"] = str(reason)
        except Failed as failed:
            outcome["failed"] = str(failed)
            outcome["dead"] = not stage.survivors and stage.ms is not None
        except Exception:
            outcome["failed"] = "the drill itself failed: " + traceback.format_exc()[-1500:]
        outcome.update(ms=stage.ms, survivors=stage.survivors, notes=stage.notes)
        tell.send(json.dumps(outcome).encode())
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        left = stage.close()
        with suppress(OSError):
            tell.send(json.dumps({"left": left}).encode())


def opened(envelope: dict[str, Any]) -> dict[str, Any]:
    """What a signed receipt says."""
    import base64

    content: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return content


def enter_beside(target: int) -> None:
    """Stand in a process's mount and network namespaces, and wait there for a minute at most; root only."""
    signal.alarm(60)
    kinds = ("mnt", "net", "uts")
    for file in [os.open(f"/proc/{target}/ns/{kind}", os.O_RDONLY) for kind in kinds]:
        kernel.enter_namespace(file)
    while True:
        signal.pause()


def pids() -> list[int]:
    """Every process of the host."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(top: int) -> dict[int, tuple[int, str]]:
    """Parent and name of every process below one."""
    about: dict[int, tuple[int, str]] = {}
    for pid in pids():
        with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
            head, _, tail = file.read().rpartition(b")")
            about[pid] = int(tail.split()[1]), head.partition(b"(")[2].decode("utf-8", "replace")
    below: dict[int, tuple[int, str]] = {}
    for pid, one in about.items():
        chain, parent = [pid], one[0]
        while parent in about and parent != top and parent not in below and len(chain) < 10_000:
            chain.append(parent)
            parent = about[parent][0]
        if parent == top or parent in below:
            below.update((link, about[link]) for link in chain)
    return below


def state(pid: int) -> str:
    """A process's state letter; X when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return "X"


def name_of(pid: int) -> str:
    """A process's name."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "?"


def _has_command_line(pid: int) -> bool:
    """What a supervisor has not: it blanks its own. The drill's forks have, and what they are about to exec."""
    with suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes().strip(b"\0"))
    return True


def groups_of(pid: int) -> Iterable[str]:
    """Folders of the control groups that a process is in and that an off-switch made."""
    own = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    tops = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0].startswith("cgroup"):
            tops.append(left.split()[4])
    for line in own:
        path = line.split(":", 2)[2]
        if not any(part.startswith("offswitch-") and "-drill-" not in part for part in path.split("/")):
            continue
        for top in tops:
            if os.path.isdir(top + path):
                yield top + path


def _remove(folder: Path) -> None:
    """Remove a folder, however deep an agent has made it."""
    for path in (folder / "workspace", folder / "state"):
        with suppress(OSError):
            for _ in range(3):
                private.unmount(str(path))
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        # Deeper than a path can be long.
        import subprocess

        subprocess.run(["rm", "-rf", "--", str(folder)], check=False, capture_output=True)

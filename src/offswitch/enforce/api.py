"""``offswitch.supervise``: run a program as an agent from Python, and stop it.

    async with offswitch.supervise(["codex", "exec", "fix the failing test"], lease=1800) as agent:
        ...
        receipt = await agent.stop(reason="the build is red")

The agent is dead when the block is left, however it is left: by its end, by an exception, by the loss of this process.

What the command line does is here too, a function for each command, on the same functions below: ``start`` (``run
--detach``), ``agents`` (``ps``), ``stop``, ``hold``, ``release``, ``renew``, ``reset``, ``policy``, ``account`` and
``output`` (``logs``), ``doctor``, ``drill``. All of them are asynchronous, with asyncio or trio.
"""

import hashlib
import json
import os
import select
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import anyio

from offswitch.enforce import control, latch, launching, looking, names, ordering, places, planning, stopping
from offswitch.enforce import doctor as doctors
from offswitch.enforce import policy as policies

if TYPE_CHECKING:
    from offswitch.enforce.watchdog import recorded

__all__ = [
    "Agent", "Check", "Ended", "NotDead", "NotStaged", "NotStarted", "Refused", "Status",
    "account", "agents", "doctor", "drill", "hold", "instructions", "output", "policy", "release", "renew", "reset",
    "start", "stop", "supervise",
]  # fmt: skip

Check = doctors.Check

Folder = str | os.PathLike[str]
Given = TypeVar("Given")

_ANSWER = 20.0
"""Seconds that a supervisor may take to answer."""


class NotStarted(Exception):
    """The agent was not started, and nothing of it is left; the message is one line that says what to do."""


class NotDead(Exception):
    """Death was not observed; the supervisor goes on killing. The message says what is known."""


class Refused(Exception):
    """An order was refused, or there is nobody to obey it; the message says why."""


class NotStaged(Exception):
    """A drill could stage nothing; the message says what to do."""


class Status(TypedDict, total=False):
    """What is known of an agent, as ``offswitch ps --json`` prints it.

    Of one that is ``latched``, ``doing`` says why, and there is no supervisor to tell the rest; of one that is
    ``silent`` there are name and state alone.
    """

    name: str
    run: str
    state: str
    since: int | None
    lease_left: float
    sandbox: str
    promises: dict[str, str]
    bounds: dict[str, str]
    kills_by: list[str]
    processes: int | None
    memory: int | None
    doing: str
    workspace: str
    command: list[str]
    detached: bool
    supervisor: int
    needed: dict[str, int]
    keys: list[str]


@dataclass(frozen=True)
class Ended:
    """How an agent ended.

    Attributes:
        code: Its exit status, or 128 and the number of the signal; None if it was stopped first.
        stopped: Whether it was stopped, and so is latched.
        reason: Why.
        dead: Whether its death was observed.
    """

    code: int | None
    stopped: bool
    reason: str
    dead: bool


class Agent:
    """A running agent. ``supervise`` makes one.

    Attributes:
        name: Its name.
        run: The id of this run.
        supervisor: Pid of its supervisor.
        output: The file that its output goes to.
        account: The file of its supervisor's account, one JSON object a line.
    """

    def __init__(self, places: places.Places, running: launching.Running) -> None:
        self.name = running.name
        self.run = running.run
        self.supervisor = running.supervisor
        self.output = Path(places.logs(running.name), "output")
        self.account = Path(places.logs(running.name), "account.jsonl")
        self._places = places
        self._running = running
        self._ended: Ended | None = None
        # Only one task may wait for a socket, and only one can read what comes on it.
        self._waiting = anyio.Lock()

    async def wait(self) -> Ended:
        """Wait until the agent has ended."""
        async with self._waiting:
            if self._ended is None:
                assert self._running.tether is not None
                await anyio.wait_readable(self._running.tether)
                self.over()
        assert self._ended is not None
        return self._ended

    def over(self) -> bool:
        """Whether it has ended, and its death was observed."""
        if self._ended is None:
            assert self._running.tether is not None
            poll = select.poll()
            poll.register(self._running.tether, select.POLLIN)
            if not poll.poll(0):
                return False
            self._ended = Ended(**self._running.wait())
        return self._ended.dead

    async def stop(
        self, *, category: int = 0, grace: float = 5.0, reason: str = "", settle: bool = False
    ) -> dict[str, Any]:
        """Stop the agent: see `stop`."""
        return await _stop(self._places, self.name, category, grace, reason, settle)

    async def hold(self) -> None:
        """Freeze the agent: see `hold`."""
        await _order(self._places, "hold", self.name, self.run)

    async def release(self) -> None:
        """Let a frozen agent go on: see `release`."""
        await _order(self._places, "release", self.name, self.run)

    async def renew(self, lease: float) -> None:
        """Let the agent run for ``lease`` seconds from now: see `renew`."""
        await _order(self._places, "renew", self.name, self.run, lease_s=int(lease))

    async def status(self) -> Status:
        """What ``offswitch ps --json`` shows.

        Raises:
            Refused: It has ended.
        """
        answer = await _in_thread(lambda: _ask(self._places, self.name, {"do": "status"}))
        return cast(Status, answer["status"])


async def agents(*, state: Folder | None = None) -> list[Status]:
    """Every agent that runs, and every one that is latched, by name (``offswitch ps``).

    Args:
        state: Folder of offswitch's own files; None for those of the XDG specification.

    Raises:
        Refused: The latches cannot be read.
    """

    def look() -> list[Status]:
        problems: list[str] = []
        found = looking.statuses(_places(state), problems.append)
        if problems:
            raise Refused(problems[0])
        return cast(list[Status], found)

    return await _in_thread(look)


async def stop(
    name: str,
    *,
    category: int = 0,
    grace: float = 5.0,
    reason: str = "",
    settle: bool = False,
    state: Folder | None = None,
) -> dict[str, Any]:
    """Stop an agent, whoever started it.

    Args:
        name: The agent's name.
        category: 0 cuts at once; 1 tells the agent and cuts after the grace.
        grace: Seconds.
        reason: Why, for the latch and the receipt.
        settle: Whether to wait until nothing has started again for 2 seconds.
        state: As for `agents`.

    Returns:
        The receipt (``trust/schemas/receipt-v1.json``).

    Raises:
        NotDead: Its death was not observed, or something came back.
        Refused: No agent of this name is running, and none is latched.
    """
    return await _stop(places.locate(_path(state)), name, category, grace, reason, settle)


async def hold(name: str, *, state: Folder | None = None) -> None:
    """Freeze an agent; nothing of it is lost, and its lease runs on.

    Raises:
        Refused: It is being stopped or has ended, or this host has no means to freeze it.
    """
    await _order(_places(state), "hold", name)


async def release(name: str, *, state: Folder | None = None) -> None:
    """Let a frozen agent go on.

    Raises:
        Refused: As `hold`; or the policy asks for more keys than the operator's own.
    """
    await _order(_places(state), "release", name)


async def renew(name: str, lease: float, *, state: Folder | None = None) -> None:
    """Let an agent run for ``lease`` seconds from now.

    Raises:
        Refused: As `release`; or the policy permits no lease that long.
    """
    await _order(_places(state), "renew", name, lease_s=int(lease))


async def policy(name: str, file: Folder, *, state: Folder | None = None) -> list[str]:
    """Have a running agent's supervisor adopt another policy.

    Returns:
        What it loosens, in words.

    Raises:
        Refused: The file is no policy, or the policy in force asks for more keys; what is in force stays so.
    """
    found = _places(state)

    def rules() -> tuple[dict[str, Any], str]:
        from offswitch.trust import canonical

        try:
            loaded = policies.load(os.fspath(file))
        except policies.PolicyError as error:
            raise Refused(str(error)) from None
        return loaded, hashlib.sha256(canonical.encode(loaded)).hexdigest()

    loaded, digest = await _in_thread(rules)
    answer = await _order(found, "policy", name, digest=digest, message={"policy": loaded})
    return list(answer.get("loosened") or [])


async def reset(name: str, *, reason: str = "", state: Folder | None = None) -> None:
    """Clear the latch of a stopped agent; this starts nothing.

    Raises:
        Refused: It runs, is not latched, or the policy asked for more keys than the operator's own.
    """
    found = _places(state)

    def act() -> None:
        try:
            ordering.await_end(found, name)
            record = ordering.latched(found, name)
            run = ordering.UNREAD if record is None else str(record["run"])
            ordering.reset(found, name, ordering.sign(found, "reset", name, run=run, reason=reason))
        except (latch.Refused, ordering.Unsigned) as error:
            raise Refused(str(error)) from None

    await _in_thread(act)


async def account(name: str, *, state: Folder | None = None) -> list[dict[str, Any]]:
    """The events of an agent's supervisor, the oldest first (``offswitch logs --account``).

    Raises:
        Refused: There are no logs of this name.
    """
    return await _in_thread(lambda: _read(looking.account, name, state))


async def output(name: str, *, state: Folder | None = None) -> bytes:
    """What is kept of an agent's output (``offswitch logs --output``).

    Raises:
        Refused: There are no logs of this name.
    """
    return await _in_thread(lambda: _read(looking.output, name, state))


async def instructions(
    name: str, *, run: str | None = None, state: Folder | None = None
) -> "recorded.Account":
    """What an agent's model was told, and when that changed (``offswitch instructions``).

    Args:
        name: The agent's name.
        run: The id of a run; None for the latest.
        state: Folder of offswitch's own files; None for those of the XDG specification.

    Raises:
        Refused: Nothing is recorded of it, or the record cannot be read.
    """

    def look() -> "recorded.Account":
        from offswitch.enforce.watchdog import instructions as records
        from offswitch.enforce.watchdog import recorded

        found = _places(state)
        known = records.runs(found, name)
        which = run or next(iter(known), None)
        if which is None:
            raise Refused(f"nothing is recorded of what {name} was told: start it with a model API")
        try:
            return recorded.read(records.folder(found, name, which))
        except OSError as error:
            raise Refused(f"what {name} was told in run {which} cannot be read: {error.strerror}") from None

    return await _in_thread(look)


async def doctor() -> list[Check]:
    """What this host can hold, and how to mend what it cannot; `enforce.doctor.able` sums it up."""
    return await _in_thread(doctors.checks)


async def drill(
    *,
    only: Sequence[str] = (),
    sandbox: Sequence[str] = ("bubblewrap",),
    runs: int = 3,
    without: str | None = None,
    image: str | None = None,
    runtime: str | None = None,
) -> dict[str, Any]:
    """Stage failures of the off-switch on this host, in a process of their own; minutes.

    Args:
        only: Names of faults; none for all of them.
        sandbox: Kinds of sandbox.
        runs: How often each fault is staged.
        without: A control to take away, to see that its faults then fail.
        image: Image for oci.
        runtime: Runtime for oci.

    Returns:
        What ``offswitch drill --json`` prints: ``passed``, and ``faults`` with every run. With ``without`` there is
        ``passed`` alone: whether the drill failed as it should.

    Raises:
        NotStaged: Nothing could be staged, or something of what was asked for is unknown.
    """
    # It forks, adopts orphans and takes signals, which is not for a process with threads and a loop. Nor is the
    # current folder, which may be an agent's, a place to load from: -P.
    command = [sys.executable, "-P", "-c", _DRILL, "--json", "--runs", str(runs), "--sandbox", *sandbox]
    for option, given in (("--without", without), ("--image", image), ("--runtime", runtime)):
        command += [option, given] if given is not None else []
    command += ["--only", *only] if only else []
    process = await anyio.open_process(command, stdin=None)
    said: dict[str, bytes] = {"out": b"", "err": b""}

    async def read(name: str, stream: anyio.abc.ByteReceiveStream) -> None:
        async for data in stream:
            said[name] += data

    try:
        assert process.stdout is not None
        assert process.stderr is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, "out", process.stdout)
            tasks.start_soon(read, "err", process.stderr)
        code = await process.wait()
    finally:
        if process.returncode is None:
            # Told to end, it clears away what it has staged.
            process.terminate()
        with anyio.CancelScope(shield=True):
            await process.aclose()
    if code == 2:
        lines = said["err"].decode(errors="replace").strip().splitlines()
        raise NotStaged(lines[-1].removeprefix("offswitch: ") if lines else "nothing could be staged")
    found: dict[str, Any] = json.loads(said["out"]) if said["out"] else {"passed": code == 0}
    return found


_DRILL = "import sys; from offswitch.enforce.drills.command import main; sys.exit(main(sys.argv[1:]))"


# What the functions above stand on


def _path(state: Folder | None) -> str | None:
    return None if state is None else os.fspath(state)


def _places(state: Folder | None) -> places.Places:
    try:
        return places.find(_path(state))
    except places.Unusable as error:
        raise Refused(str(error)) from None


def _read(what: Callable[[places.Places, str], Given], name: str, state: Folder | None) -> Given:
    try:
        names.check(name)
        return what(_places(state), name)
    except (FileNotFoundError, ValueError) as error:
        raise Refused(str(error)) from None


async def _in_thread(act: Callable[[], Given]) -> Given:
    return await anyio.to_thread.run_sync(act)


async def _stop(
    found: places.Places, name: str, category: int, grace: float, reason: str, settle: bool
) -> dict[str, Any]:
    def order() -> stopping.Stopped:
        return stopping.stop(found, [name], category=category, grace=grace, reason=reason, settle=settle)[0]

    stopped = await anyio.to_thread.run_sync(order, abandon_on_cancel=True)
    if not stopped.known:
        raise Refused(stopped.line)
    if not stopped.dead:
        raise NotDead(stopped.line or f"the death of {name} was not observed")
    return ordering.opened(stopped.receipt)


async def _order(
    found: places.Places,
    action: str,
    name: str,
    run: str = "",
    lease_s: int = 0,
    digest: str = "",
    message: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Have the operator sign an order to a running agent's supervisor, and the supervisor obey it."""

    def order() -> dict[str, Any]:
        which = run or str(_ask(found, name, {"do": "status"})["status"]["run"])
        try:
            envelope = ordering.sign(found, action, name, run=which, lease_s=lease_s, digest=digest)
        except ordering.Unsigned as error:
            raise Refused(str(error)) from None
        return _ask(found, name, {"do": action, "order": envelope, **(message or {})})

    return await _in_thread(order)


def _ask(found: places.Places, name: str, request: dict[str, Any]) -> dict[str, Any]:
    try:
        names.check(name)
        with control.connect(found, name) as line:
            answer = control.ask(line, request, _ANSWER)
    except (control.NotRunning, control.Lost, ValueError) as error:
        raise Refused(str(error)) from None
    if not answer["ok"]:
        raise Refused(answer["why"])
    return answer


@asynccontextmanager
async def supervise(
    command: Sequence[str],
    *,
    name: str | None = None,
    sandbox: str = "bubblewrap",
    workspace: Folder | None = None,
    lease: float | None = None,
    memory: int | None = None,
    pids: int | None = None,
    policy: Folder | None = None,
    read: Sequence[Folder] = (),
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    model_api: Sequence[str] = (),
    metrics: str | None = None,
    state: Folder | None = None,
) -> AsyncIterator[Agent]:
    """Run a program as an agent under a supervisor of its own.

    Args:
        command: The program and its arguments.
        name: The agent's name; None for something memorable.
        sandbox: ``bubblewrap``, ``oci`` or ``microvm``.
        workspace: Folder that the agent works on; None for the current one.
        lease: Seconds that it may run unless renewed; None for the policy's, or an hour.
        memory: Bytes for all of it; None for the policy's, or 4 GiB.
        pids: Processes and threads; None for the policy's, or 512.
        policy: A policy file; None for no network and nothing to read but the workspace.
        read: Further folders that it may read.
        environment: Its environment variables, besides those that every agent has.
        options: The kind's own: ``image``, ``runtime``, ``engine``.
        model_api: Model APIs that it reaches through a gateway: ``openai``, ``anthropic`` or ``NAME=URL``. Their keys
            are those of this process's environment.
        metrics: Where that gateway answers Prometheus, as ``HOST:PORT``; None for the policy's, or nowhere.
        state: Folder of offswitch's own files; None for those of the XDG specification.

    Yields:
        The agent, started. When the block is left it is stopped, if it still runs.

    Raises:
        NotStarted: It could not be started.
        NotDead: It was stopped as the block was left, and its death was not observed.
    """

    given = _Given(
        command,
        name,
        sandbox,
        workspace,
        lease,
        memory,
        pids,
        policy,
        read,
        environment,
        options,
        model_api,
        metrics,
        state,
    )
    found, running = await _in_thread(lambda: given.launch(tether=True))
    assert running.tether is not None
    assert running.stream is not None
    # Nobody types here; and an agent must not wait for a reader who is not there: its output goes to its log.
    with suppress(OSError):
        running.stream.send(b"e")
    running.stream.close()
    agent = Agent(found, running)
    try:
        yield agent
    finally:
        with anyio.CancelScope(shield=True):
            try:
                if not agent.over():
                    try:
                        await agent.stop(reason="its supervise block was left")
                    except NotDead:
                        # It may have ended by itself as the order was given.
                        if not agent.over():
                            raise
                with anyio.move_on_after(_ANSWER):
                    await agent.wait()
            finally:
                # Whatever came of the order: the end of the tether is a stop of its own. It wakes who still waits.
                with suppress(OSError):
                    running.tether.shutdown(socket.SHUT_RDWR)
                await agent.wait()
                running.tether.close()


async def start(
    command: Sequence[str],
    *,
    name: str | None = None,
    sandbox: str = "bubblewrap",
    workspace: Folder | None = None,
    lease: float | None = None,
    memory: int | None = None,
    pids: int | None = None,
    policy: Folder | None = None,
    read: Sequence[Folder] = (),
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    model_api: Sequence[str] = (),
    metrics: str | None = None,
    state: Folder | None = None,
) -> str:
    """Start an agent that runs on when this program ends, until its lease does (``offswitch run --detach``).

    Args:
        command: As for `supervise`, and so is all else.
        name: Likewise.
        sandbox: Likewise.
        workspace: Likewise.
        lease: Likewise.
        memory: Likewise.
        pids: Likewise.
        policy: Likewise.
        read: Likewise.
        environment: Likewise.
        options: Likewise.
        model_api: Likewise.
        metrics: Likewise.
        state: Likewise.

    Returns:
        Its name.

    Raises:
        NotStarted: It could not be started.
    """
    given = _Given(
        command,
        name,
        sandbox,
        workspace,
        lease,
        memory,
        pids,
        policy,
        read,
        environment,
        options,
        model_api,
        metrics,
        state,
    )
    return (await _in_thread(lambda: given.launch(tether=False)))[1].name


def _keys(plan: dict[str, Any]) -> dict[str, str]:
    if not plan["apis"]:
        return {}
    from offswitch.enforce.watchdog import apis

    return apis.keys(apis.of(plan["apis"]))


@dataclass(frozen=True)
class _Given:
    """What an agent is to be started with."""

    command: Sequence[str]
    name: str | None
    sandbox: str
    workspace: Folder | None
    lease: float | None
    memory: int | None
    pids: int | None
    policy: Folder | None
    read: Sequence[Folder]
    environment: Mapping[str, str] | None
    options: Mapping[str, Any] | None
    model_api: Sequence[str]
    metrics: str | None
    state: Folder | None

    def launch(self, *, tether: bool) -> tuple[places.Places, launching.Running]:
        """Start it; with a tether it ends with this process.

        Raises:
            NotStarted: It could not be started.
        """
        try:
            found = places.find(_path(self.state))
            file = _path(self.policy)
            if self.name is not None:
                names.check(self.name)
            plan = planning.plan(
                found, self.command, name=self.name or names.fresh(set(control.running(found))), sandbox=self.sandbox,
                workspace=_path(self.workspace), lease=self.lease, memory=self.memory, pids=self.pids,
                policy=policies.default() if file is None else policies.load(file), policy_file=file,
                own=ordering.own_key(found), read=[os.fspath(path) for path in self.read],
                environment=self.environment, options=self.options, detached=not tether, apis=self.model_api,
                metrics=self.metrics,
            )  # fmt: skip
            return found, launching.launch(plan, found, tether=tether, keys=_keys(plan))
        except (
            planning.Refused, policies.PolicyError, ordering.Unsigned, places.Unusable, launching.NotStarted,
            ValueError,
        ) as error:  # fmt: skip
            raise NotStarted(str(error)) from None

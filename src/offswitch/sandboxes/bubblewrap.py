"""Inspect's sandbox environment ``bubblewrap``, and the host's view of it.

A machine of its own for the agent: no network but a loopback, a read-only system, a private home and /tmp, its own
processes, and no user of the host in it. It is shut down from inside by ``kill -TERM 1``.
"""

import errno
import json
import os
import select
import shutil
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, overload

import anyio
import yaml
from inspect_ai.util import (
    ExecResult,
    OutputLimitExceededError,
    SandboxEnvironment,
    SandboxEnvironmentConfigType,
    SandboxEnvironmentLimits,
    SandboxUserUnsupportedError,
    sandboxenv,
)
from inspect_ai.util._sandbox.environment import SandboxUnavailableError
from pydantic import BaseModel
from typing_extensions import override

from offswitch.sandboxes import layout, preflight, starting, system, wire
from offswitch.sandboxes.client import CLIENT, CONSOLE
from offswitch.sandboxes.command import Command, Result
from offswitch.sandboxes.config import HOME, BubblewrapConfig, File
from offswitch.sandboxes.errors import SandboxUnavailable
from offswitch.sandboxes.machine import Console, Ended, PathState, ProcessState
from offswitch.sandboxes.outside import Found, Outside
from offswitch.sandboxes.processes import kill_tree, kill_unborn, number_inside, processes

__all__ = ["CLIENT", "CONSOLE", "BubblewrapConfig", "BubblewrapSandbox", "File"]

_START = 60.0
"""Seconds that a sandbox may take to start on a crowded host."""
_REMOVE = 30.0
"""Seconds that killing and removing one may take."""
_INODES = 65_536
"""Most files on each writable file system."""
_CONSOLE_LINES = 2_000

_FILE_TIMEOUT = 120.0
"""Seconds that reading or writing one file may take; the agent can stop whatever runs as its user."""

_KILLED = 137
"""Return code of a command that the machine's end took with it, as a shell tells a SIGKILL."""


@sandboxenv(name="bubblewrap")
class BubblewrapSandbox(SandboxEnvironment):
    """One sandbox; it is also a ``Machine``.

    Make one with ``start``. Inspect makes one for each sample.

    Attributes:
        console: Lines that something inside wrote to ``CONSOLE``.
    """

    def __init__(
        self, config: BubblewrapConfig, line: socket.socket, bounds: dict[str, str], init: int, root: int
    ) -> None:
        super().__init__()
        self._config = config
        self._environment = layout.environment(config)
        self._line = line
        self._line.setblocking(False)
        self._bounds = bounds
        self._init = init
        self._root = root
        self._outside = Outside(root, os.stat(HOME.lstrip("/"), dir_fd=root).st_uid, system.UID, HOME)
        self._ended: Ended | None = None
        self._closed = False
        self._lines = Console()

    @classmethod
    async def start(cls, config: BubblewrapConfig | None = None) -> "BubblewrapSandbox":
        """Start a sandbox.

        Args:
            config: Its settings.

        Raises:
            SandboxUnavailable: This host cannot run one; the message says what to do.
        """
        config = config or BubblewrapConfig()
        problem = preflight.missing()
        if problem is not None:
            raise SandboxUnavailable(problem)
        line = starting.start(
            {
                "bwrap": shutil.which("bwrap"),
                "arguments": layout.arguments(config),
                "tmpfs": layout.tmpfs_mounts(config),
                "home": HOME,
                "memory": config.memory,
                "pids": config.pids,
                "file_size": config.file_size,
                "inodes": _INODES,
            }
        )
        try:
            line.setblocking(False)
            with anyio.fail_after(_START):
                await anyio.wait_readable(line)
            message = wire.receive(line)
            if message is None:
                raise SandboxUnavailable(
                    "the sandbox ended as it started: the host may be out of memory or processes"
                )
            (word, value), files = message
            if word == "failed":
                raise SandboxUnavailable(value)
            return cls(config, line, value, *files)
        except TimeoutError:
            line.close()
            raise SandboxUnavailable(
                f"the sandbox did not start within {_START:.0f} s: the host is too busy"
            ) from None
        except BaseException:
            line.close()
            raise

    async def close(self) -> None:
        """Kill everything in the sandbox and wait until nothing of it is left."""
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True):
            # The keeper sees this end closed, kills, removes, and then closes its own.
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_WR)
            with anyio.move_on_after(_REMOVE):
                while self._hear():
                    await self._wait_for_news()
        if self._ended is None:
            self._ended = Ended(time.time())
        for file in (self._init, self._root):
            os.close(file)
        self._line.close()

    def bounds(self) -> dict[str, str]:
        """What holds each bound in this sandbox.

        Returns:
            By name (``memory``, ``pids``, ``tracing``, ``system calls``): the mechanism, such as ``cgroup v1`` or
            ``RLIMIT_NPROC``. Without ``tracing`` the agent can trace its machine's init; without ``system calls`` it
            can reach what is in no namespace, such as the hypervisor's sockets. ``pids_max`` and ``memory_max``
            (bytes) are the bounds.
        """
        return {**self._bounds, "pids_max": str(self._config.pids), "memory_max": str(self._config.memory)}

    # Machine

    @property
    def console(self) -> Console:
        """Lines that something inside wrote to the console, up to now."""
        self._hear()
        return self._lines

    async def running(self) -> bool | None:
        """Whether the machine's init is alive."""
        return self._alive()

    async def wait_ended(self, timeout: float) -> Ended | None:
        """Wait until the machine has ended and every process of it is gone; see ``Machine``."""
        with anyio.move_on_after(timeout):
            while self._hear() and self._ended is None:
                await self._wait_for_news()
            if self._ended is None:
                # The warden was lost and could not tell. Its sandbox dies with it, the init as the last.
                with _copy(self._init) as init:
                    await anyio.wait_readable(init)
                self._ended = Ended(time.time())
        return self._ended

    async def paths(self, paths: Sequence[str]) -> dict[str, PathState]:
        """State of absolute paths inside; all ``unknown`` once the sandbox is closed. See ``Machine``."""
        if self._closed:
            return {path: PathState("unknown") for path in paths}
        return self._outside.look(paths)

    async def tree(self, places: Sequence[str]) -> dict[str, Found] | None:
        """Everything below directories, with the bytes of files, seen from outside; see ``Outside.tree``.

        Args:
            places: Absolute paths of directories.

        Returns:
            What was found; None once the machine's file systems are gone, which nobody has deleted then.
        """
        return None if self._closed else self._outside.tree(places)

    async def processes(self) -> list[ProcessState] | None:
        """Every process inside but the init; none once the machine has ended."""
        if not self._alive():
            return []
        try:
            return processes(self._root)
        except OSError:
            return None if self._alive() else []

    @asynccontextmanager
    async def serve(self, answer: Callable[[str], Awaitable[str]]) -> AsyncIterator[None]:
        """Answer requests that ``CLIENT`` makes inside, one at a time; see ``Machine``.

        A request is at most 4 KiB and a reply at most 128 KiB. Outside this context the client fails at once. What
        ``answer`` raises ends the context.
        """
        ours, theirs = wire.pair()
        with ours:
            ours.setblocking(False)
            with theirs:
                await self._send(("serve",), [theirs.fileno()])
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_answer_all, ours, answer)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()

    def _alive(self) -> bool:
        if self._closed:
            return False
        poll = select.poll()
        poll.register(self._init, select.POLLIN)
        return not poll.poll(0)

    def _hear(self) -> bool:
        """Take in what the warden has told; False once it and the keeper have ended."""
        while True:
            try:
                message = wire.receive(self._line)
            except BlockingIOError:
                return True
            except OSError:
                message = None
            if message is None:
                return False
            (word, *values), files = message
            for file in files:
                os.close(file)
            if word == "ended":
                at, code = values
                self._ended = Ended(at, code, code == system.TERMINATED)
            elif word == "console":
                at, line = values
                self._lines.lines.append((at, line.decode("utf-8", "replace")))
                if len(self._lines.lines) > _CONSOLE_LINES:
                    del self._lines.lines[_CONSOLE_LINES // 2]

    async def _wait_for_news(self) -> None:
        # Two tasks may not wait for the same file, so each waits for a copy of its own.
        with self._line.dup() as copy:
            await anyio.wait_readable(copy)

    async def _send(self, message: tuple[Any, ...], files: Sequence[int]) -> None:
        try:
            with self._line.dup() as copy:
                await _send(copy, message, files)
        except OSError:
            raise SandboxUnavailableError("the sandbox has ended") from None

    # SandboxEnvironment

    @override
    async def exec(
        self,
        cmd: list[str],
        input: str | bytes | None = None,
        cwd: str | None = None,
        env: dict[str, str] | None = None,
        user: str | None = None,
        timeout: int | None = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a command as the agent's user; see Inspect's contract.

        It returns when the command itself has ended and its output has been read; while a process that it left behind
        holds the output open, that is waited for 0.2 s at most, and what comes later is read and thrown away. A
        command that is under way when the machine ends returns what it wrote, with return code 137.
        ``timeout_retry`` and ``concurrency`` change nothing: a command is not repeated, and one agent that waits
        does not hold up another.

        Raises:
            SandboxUnavailableError: The machine has ended.
            OutputLimitExceededError: It wrote more than Inspect's limit; it has been killed.
            TimeoutError: It took longer than ``timeout`` seconds; it and its children have been killed.
            PermissionError: It is not an executable file.
            SandboxUserUnsupportedError: ``user`` is not the agent.
        """
        if user not in (None, system.USER, str(system.UID)):
            raise SandboxUserUnsupportedError(
                f"this sandbox runs commands as {system.USER!r} only, not as {user!r}"
            )
        data = input.encode() if isinstance(input, str) else input
        environment = {**self._environment, **(env or {})}
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        result = await self._run(("run", cmd, environment, cwd), data, limit, timeout)
        out, errors = result.out.decode("utf-8", "replace"), result.errors.decode("utf-8", "replace")
        if result.overflow:
            longer = out if len(result.out) >= len(result.errors) else errors
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, longer)
        if result.failure is not None:
            return _not_started(cmd[0], cwd, *result.failure)
        code = _KILLED if result.code is None else result.code
        if code < 0:
            code = 128 - code
        return ExecResult(code == 0, code, out, errors)

    @override
    async def write_file(self, file: str, contents: str | bytes) -> None:
        """Write a file as the agent's user would, inside."""
        data = contents.encode() if isinstance(contents, str) else contents
        source = wire.in_memory(data)
        try:
            result = await self._run(("write", file), None, 1024, _FILE_TIMEOUT, [source])
        finally:
            os.close(source)
        _raise_for(result, file)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    @override
    async def read_file(self, file: str, text: bool = True) -> str | bytes:
        """Read a file as the agent's user would, inside."""
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        result = await self._run(("read", file, limit), None, limit, _FILE_TIMEOUT)
        if result.overflow or (result.failure is not None and result.failure[0] == errno.EFBIG):
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        _raise_for(result, file)
        return result.out.decode() if text else bytes(result.out)

    async def _run(
        self,
        order: tuple[Any, ...],
        input: bytes | None,
        limit: int,
        timeout: float | None,
        files: Sequence[int] = (),
    ) -> Result:
        """Have the warden run something, and wait for it.

        Raises:
            SandboxUnavailableError: The machine has ended before it began.
            TimeoutError: It did not end in time.
        """
        if not self._alive():
            raise SandboxUnavailableError("the sandbox has ended")
        command = Command(input, limit)
        finished = False
        try:
            leash, *streams = command.theirs
            await self._send(order, [leash, *(files or streams)])
            command.sent()
            with anyio.fail_after(timeout):
                await command.finish()
            finished = not command.result.overflow
        finally:
            if not finished:
                with anyio.CancelScope(shield=True):
                    await self._kill(command)
            elif (rest := command.take_open()) and not self._closed:
                with suppress(OSError):
                    wire.send(self._line, ("drain",), rest)
                for file in rest:
                    os.close(file)
            command.close()
        result = command.result
        if result.pid is None and result.failure is None:
            raise SandboxUnavailableError("the sandbox has ended")
        return result

    async def _kill(self, command: Command) -> None:
        if self._closed or not self._alive():
            return
        if command.result.pid is None:
            kill_unborn(self._root)
            return
        pid = number_inside(self._root, command.result.pid)
        if pid is None:
            return
        with anyio.move_on_after(2.0):
            while kill_tree(self._root, pid):  # noqa: ASYNC110 - there is no event for it
                await anyio.sleep(0.002)
            await command.await_end(1.0)

    @override
    def default_polling_interval(self) -> float:
        return 0.2

    @classmethod
    @override
    def default_concurrency(cls) -> int | None:
        # None: with a limit of its own Inspect lets every sample wait a random part of a second before it starts. How
        # many run at once is bounded by the number of samples.
        return None

    @classmethod
    @override
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        return BubblewrapConfig.model_validate(config)

    @classmethod
    @override
    async def task_init(cls, task_name: str, config: SandboxEnvironmentConfigType | None) -> None:
        problem = await anyio.to_thread.run_sync(preflight.missing)
        if problem is not None:
            raise SandboxUnavailable(problem)

    @classmethod
    @override
    async def sample_init(
        cls, task_name: str, config: SandboxEnvironmentConfigType | None, metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        return {"default": await cls.start(_settings(config))}

    @classmethod
    @override
    async def sample_cleanup(
        cls,
        task_name: str,
        config: SandboxEnvironmentConfigType | None,
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        for environment in environments.values():
            await environment.as_type(BubblewrapSandbox).close()

    @classmethod
    @override
    async def cli_cleanup(cls, id: str | None) -> None:
        """Nothing to do: no sandbox outlives the process that started it."""


@contextmanager
def _copy(file: int) -> Iterator[int]:
    copy = os.dup(file)
    try:
        yield copy
    finally:
        os.close(copy)


async def _send(line: socket.socket, message: object, files: Sequence[int] = ()) -> None:
    """Send a message however slow the other end is."""
    while True:
        try:
            return wire.send(line, message, files)
        except BlockingIOError:
            await anyio.wait_writable(line)


async def _answer_all(line: socket.socket, answer: Callable[[str], Awaitable[str]]) -> None:
    while True:
        await anyio.wait_readable(line)
        try:
            message = wire.receive(line)
        except BlockingIOError:
            continue
        if message is None:
            return
        (tag, text), _ = message
        reply = (await answer(text.decode("utf-8", "replace"))).encode("utf-8", "replace")
        try:
            await _send(line, (tag, reply[: 128 * 1024]))
        except OSError:
            return


def _settings(config: SandboxEnvironmentConfigType | None) -> BubblewrapConfig:
    """Settings from what a task gives: a config, the name of a JSON or YAML file, or nothing."""
    if config is None:
        return BubblewrapConfig()
    if isinstance(config, str):
        text = Path(config).read_text(encoding="utf-8")
        return BubblewrapConfig.model_validate(
            json.loads(text) if config.endswith(".json") else yaml.safe_load(text)
        )
    if isinstance(config, BubblewrapConfig):
        return config
    return BubblewrapConfig.model_validate(config.model_dump())


def _not_started(program: str, cwd: str | None, number: int, where: str) -> ExecResult[str]:
    """What a command that could not be started comes to, in a shell's manner."""
    why = os.strerror(number)
    if where == "cwd":
        return ExecResult(False, 126, "", f"{cwd}: {why}\n")
    if where == "fork":
        return ExecResult(False, 126, "", f"{program}: cannot fork: {why}\n")
    if number == errno.EACCES:
        raise PermissionError(number, why, program)
    return ExecResult(False, 127 if number == errno.ENOENT else 126, "", f"{program}: {why}\n")


def _raise_for(result: Result, file: str) -> None:
    if result.failure is not None:
        raise OSError(result.failure[0], os.strerror(result.failure[0]), file)
    if result.code != 0:
        raise SandboxUnavailableError("the sandbox ended meanwhile")

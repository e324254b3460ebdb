"""The host's view of one sandbox: is it running, what is in it, who runs there.

Everything here is read from outside the sandbox, so that nothing an agent does inside can colour it. A
sandbox that cannot answer a question says so (``None``), and the verdict counts it as unknown.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Kind = Literal["file", "directory", "symlink", "other", "absent", "unknown"]


@dataclass(frozen=True)
class PathState:
    """What stands at one path inside the machine, seen from the host.

    Attributes:
        kind: What it is; ``absent`` if nothing is there, ``unknown`` if it could not be seen.
        sha256: Hash of a file's bytes (hex), of a symlink's resolved file where there is one, else None.
        mode: Permission bits (``st_mode & 0o7777``), None if absent.
        uid: Owner as numbered inside the machine, None if absent or not mapped.
        inode: Inode number, None if absent.
        link: A symlink's target, else None.
        attributes: Inode flags as ``lsattr`` letters (``i`` immutable, ``a`` append-only), "" if none or unknown.
        content: A file's bytes as text (UTF-8, replaced where invalid, cut at 64 KiB), else None.
        size: A file's length in bytes, also of one that is too long to hash, else None.
    """

    kind: Kind
    sha256: str | None = None
    mode: int | None = None
    uid: int | None = None
    inode: int | None = None
    link: str | None = None
    attributes: str = ""
    content: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class ProcessState:
    """One process of the machine, seen from the host.

    Attributes:
        pid: Its number inside the machine.
        parent: Its parent's number inside the machine (0 where the parent is outside).
        session: Its session id inside the machine (0 where the leader is outside).
        age: Seconds since it started.
        argv: Its command line.
        ignored: Names of the signals it ignores, such as ``TERM``, in the order of their numbers.
        caught: Names of the signals it handles.
        tracer: Pid inside the machine of the process that traces it, 0 for none.
        program: Path of what it runs, whatever it calls itself in ``argv``; empty where that was not seen.
    """

    pid: int
    parent: int
    session: int
    age: float
    argv: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    caught: tuple[str, ...] = ()
    tracer: int = 0
    program: str = ""


@dataclass(frozen=True)
class Ended:
    """How the machine ended.

    Attributes:
        at: When, in seconds of ``time.time()``.
        code: Exit status of its init (negative: the signal that killed it), None if unknown.
        by_term: Whether its init ended because it was sent SIGTERM from inside, which is how the machine is
            shut down; None if unknown.
    """

    at: float
    code: int | None = None
    by_term: bool | None = None


@dataclass
class Console:
    """Lines that something inside wrote to the machine's console, with the host's time of arrival."""

    lines: list[tuple[float, str]] = field(default_factory=list)


@runtime_checkable
class Machine(Protocol):
    """What the host can see of, and serve to, one sandbox.

    A sandbox environment that can be measured implements this beside Inspect's ``SandboxEnvironment``.
    """

    @property
    def console(self) -> Console:
        """Lines written to the machine's console, up to now."""
        ...

    async def running(self) -> bool | None:
        """Whether the machine's init is alive, seen from the host; None if that cannot be told."""
        ...

    async def wait_ended(self, timeout: float) -> Ended | None:
        """Wait until the machine has ended (its init and every process gone), at most ``timeout`` seconds.

        Returns:
            How it ended, or None if it is still there (or cannot be seen) after the wait.
        """
        ...

    async def paths(self, paths: Sequence[str]) -> dict[str, PathState]:
        """State of absolute paths inside, symlinks resolved as the machine would, never as the host would."""
        ...

    async def processes(self) -> list[ProcessState] | None:
        """Every process inside except the init and its helpers; None if that cannot be told."""
        ...

    def serve(self, answer: Callable[[str], Awaitable[str]]) -> AbstractAsyncContextManager[None]:
        """Answer one-line requests that programs inside make on the request channel, one at a time.

        Args:
            answer: Called on the host with one request line; what it returns is the reply (may be several lines).
        """
        ...

"""The host's view of Inspect's own ``docker`` sandbox.

The engine says whether the container runs and how it ended; paths, the console and requests are read by commands
inside, as root where that is allowed, so this view is weaker than bubblewrap's: it trusts the container's ``stat``,
``sha256sum`` and ``sh``. It is tested only where an engine runs.

The request channel is files in ``/run``, as ``CLIENT_FOR_DOCKER`` expects them: make them with ``prepare`` before
anything else runs. ``COMPOSE`` describes a container whose init can be shut down as bubblewrap's can.
"""

import json
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from inspect_ai.util import SandboxEnvironment
from inspect_ai.util import subprocess as run

from offswitch.sandboxes.machine import Console, Ended, Kind, PathState, ProcessState
from offswitch.sandboxes.system import TERMINATED

_POLL = 0.2
_MOST_SHOWN = 64 * 1024
_MOST_HASHED = 16 * 1024 * 1024
_CHANNEL = "/run/requests.d"

COMPOSE = Path(__file__).with_name("docker-compose.yaml")
"""The container: no network, no capabilities, bounded, its init ended by TERM from its own user."""

CLIENT_FOR_DOCKER = f"""#!/bin/sh
read -r tag </proc/sys/kernel/random/uuid || exit 1
printf '%s' "$*" >{_CHANNEL}/$tag.new && mv {_CHANNEL}/$tag.new {_CHANNEL}/$tag.request || exit 1
while [ ! -e {_CHANNEL}/$tag.reply ]; do sleep 0.1; done
cat {_CHANNEL}/$tag.reply
rm -f {_CHANNEL}/$tag.reply
"""
"""A program for ``sh``: sends its arguments as one line, prints the reply."""

# One path a line of input; for each a line: kind, mode, uid, inode, then hash, link and content in hexadecimal.
_LOOK = r"""
hex() { od -An -v -tx1 | tr -d ' \n'; }
while IFS= read -r p; do
  if [ -L "$p" ]; then k=symlink; elif [ -f "$p" ]; then k=file; elif [ -d "$p" ]; then k=directory
  elif [ -e "$p" ]; then k=other; else echo absent; continue; fi
  s=-; l=; c=
  [ $k = symlink ] && l=$(readlink -n "$p" | hex)
  if [ -f "$p" ] && [ "$(stat -L -c %s "$p")" -le MOST_HASHED ]; then
    s=$(sha256sum <"$p" | cut -d' ' -f1); c=$(head -c MOST_SHOWN "$p" | hex)
  fi
  echo "$k $(stat -c '%a %u %i' "$p") $s ${l:--} ${c:--}"
done
""".replace("MOST_HASHED", str(_MOST_HASHED)).replace("MOST_SHOWN", str(_MOST_SHOWN))


class DockerMachine:
    """A ``Machine`` over one of Inspect's docker sandboxes.

    Args:
        environment: Inspect's sandbox.
    """

    def __init__(self, environment: SandboxEnvironment) -> None:
        self._environment = environment
        self._name: str | None = None
        self._console = Console()

    @property
    def console(self) -> Console:
        """Always empty: a container's console is not read."""
        return self._console

    async def prepare(self, files: Mapping[str, tuple[str, int]], client: str) -> None:
        """Make the request channel and its client, as root, and the agent's files, as the agent.

        Args:
            files: Files that the agent may change: path to content and mode.
            client: Path of the program that makes requests.

        Raises:
            RuntimeError: They cannot be made.
        """
        channel = f"mkdir -p {_CHANNEL} $(dirname {client}) && chmod 1777 {_CHANNEL}"
        await self._put(f"{channel} && cat > {client} && chmod 755 {client}", CLIENT_FOR_DOCKER, "root")
        for path, (content, mode) in files.items():
            place = shlex.quote(path)
            await self._put(
                f'mkdir -p "$(dirname {place})" && cat > {place} && chmod {mode:o} {place}', content, None
            )

    async def _put(self, command: str, content: str, user: str | None) -> None:
        done = await self._environment.exec(["sh", "-c", command], input=content, user=user)
        if not done.success:
            raise RuntimeError(f"the container cannot be laid out: {done.stderr.strip()}")

    async def _state(self) -> dict[str, object] | None:
        if self._name is None:
            with suppress(ConnectionError, NotImplementedError):
                self._name = (await self._environment.connection()).container
        if self._name is None:
            return None
        done = await run(["docker", "inspect", "--format", "{{json .State}}", self._name], timeout=30)
        if not done.success:
            return {"Running": False} if "o such" in done.stderr else None
        state = json.loads(done.stdout)
        return state if isinstance(state, dict) else None

    async def running(self) -> bool | None:
        """Whether the engine says that the container runs."""
        state = await self._state()
        return None if state is None else bool(state.get("Running"))

    async def wait_ended(self, timeout: float) -> Ended | None:
        """Ask the engine until the container has ended; ``by_term`` tells exit statuses 99 and 143."""
        with anyio.move_on_after(timeout):
            while True:
                state = await self._state()
                if state is not None and not state.get("Running"):
                    code = state.get("ExitCode")
                    if not isinstance(code, int):
                        return Ended(time.time())
                    return Ended(time.time(), 128 - code if code > 128 else code, code in (TERMINATED, 143))
                await anyio.sleep(_POLL)
        return None

    async def paths(self, paths: Sequence[str]) -> dict[str, PathState]:
        """State of absolute paths inside, as commands inside tell it; ``unknown`` where they cannot."""
        states = dict.fromkeys(paths, PathState("unknown"))
        asked = [path for path in paths if "\n" not in path]
        with suppress(Exception):
            done = await self._environment.exec(
                ["sh", "-c", _LOOK], input="".join(p + "\n" for p in asked), timeout=60
            )
            for path, line in zip(asked, done.stdout.splitlines(), strict=True):
                states[path] = _state(line.split())
        return states

    async def processes(self) -> list[ProcessState] | None:
        """Not told: the engine's list has neither the numbers that the agent sees nor the signals."""
        return None

    @asynccontextmanager
    async def serve(self, answer: Callable[[str], Awaitable[str]]) -> AsyncIterator[None]:
        """Answer requests of ``CLIENT_FOR_DOCKER``, found by asking for them five times a second."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._answer_all, answer)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _answer_all(self, answer: Callable[[str], Awaitable[str]]) -> None:
        while True:
            await anyio.sleep(_POLL)
            try:
                listed = await self._environment.exec(
                    ["sh", "-c", f"cd {_CHANNEL} && ls -1 *.request"], timeout=30
                )
            except Exception:  # noqa: S112 - the container may end at any moment; whoever serves it finds out by itself
                continue
            for name in listed.stdout.split()[:16]:
                with suppress(OSError, RuntimeError, TimeoutError, ValueError):
                    path = f"{_CHANNEL}/{name}"
                    request = (await self._environment.read_file(path))[:4096]
                    await self._environment.exec(["rm", "-f", path], timeout=30)
                    reply = (await answer(request)).rstrip("\n") + "\n"
                    place = path.removesuffix(".request") + ".reply"
                    await self._environment.write_file(place + ".new", reply)
                    await self._environment.exec(["mv", place + ".new", place], timeout=30)


def _state(words: list[str]) -> PathState:
    if not words or words[0] == "absent":
        return PathState("absent" if words else "unknown")
    kinds: dict[str, Kind] = {
        "file": "file",
        "directory": "directory",
        "symlink": "symlink",
        "other": "other",
    }
    kind, mode, uid, inode, sha256, link, content = words
    return PathState(
        kind=kinds.get(kind, "unknown"),
        sha256=None if sha256 == "-" else sha256,
        mode=int(mode, 8),
        uid=int(uid),
        inode=int(inode),
        link=None if link == "-" else bytes.fromhex(link).decode("utf-8", "replace"),
        content=None if content == "-" else bytes.fromhex(content).decode("utf-8", "replace"),
    )

"""What the tests of sandboxes share."""

import fnmatch
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from offswitch.sandboxes import cgroups
from offswitch.sandboxes.bubblewrap import BubblewrapSandbox

Starter = Callable[..., Awaitable[BubblewrapSandbox]]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a sandbox its own host user")


async def sh(sandbox: BubblewrapSandbox, script: str, **options: object) -> str:
    """Output and errors of a bash script inside."""
    done = await sandbox.exec(["bash", "-c", script], **options)  # type: ignore[arg-type]
    return done.stdout + done.stderr


def host_processes(parent: int) -> set[int]:
    """All descendants of a host process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] != b"Z":
                parents[int(entry.name)] = int(fields[1])
    found = {parent}
    while more := {pid for pid, above in parents.items() if above in found} - found:
        found |= more
    return found - {parent}


def control_groups(pid: int | None = None) -> list[Path]:
    """Control group directories of sandboxes (of those whose keeper is ``pid``)."""
    # Other containers' leftovers may be seen here, and their pids are other processes'.
    view = "-".join(map(str, cgroups._view()))
    name = "offswitch-*" if pid is None else f"offswitch-{view}-{pid}-*"
    # Others come and go meanwhile, which `rglob` takes for an error.
    return [
        Path(folder, found)
        for folder, folders, _ in os.walk("/sys/fs/cgroup")
        for found in fnmatch.filter(folders, name)
    ]

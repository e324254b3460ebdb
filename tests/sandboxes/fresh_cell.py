"""A cell in a small process of its own, as under a supervisor.

A fork of the tests' own process is as large as that: the kernel takes it first when a group is out of memory, and it
may be past a bound on data before it begins.
"""

import os
import sys
from typing import Any

from offswitch.sandboxes import wire
from offswitch.sandboxes.cgroups import Group

_LIVE = """
import importlib, socket, sys
from offswitch.sandboxes import wire
from offswitch.sandboxes.cgroups import Group
kind, handed = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
(plan, group, supervisor), (line, *streams) = wire.receive(handed)
handed.close()
cell = importlib.import_module("offswitch.sandboxes.cells." + kind)
cell.live(socket.socket(fileno=line), plan, group and Group(group), tuple(streams), supervisor)
"""


def spawn(
    kind: str, line: Any, plan: dict[str, Any], group: Group | None, streams: tuple[int, int, int]
) -> int:
    """Start the cell of a kind; returns its pid, which is for the caller to wait for."""
    ours, theirs = wire.pair()
    with ours, theirs:
        wire.send(ours, (plan, group and group.directories, os.getpid()), [line.fileno(), *streams])
        theirs.set_inheritable(True)
        argv = [sys.executable, "-c", _LIVE, kind, str(theirs.fileno())]
        return os.posix_spawn(sys.executable, argv, os.environ)

"""Beginning a supervisor before there is a plan for it: both take Python some 70 ms to load, and do so side by side.

For the same reason this module imports next to nothing, and is the first that ``offswitch run`` loads; and garbage is
not collected before ``main``.
"""

import os
import sys
from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from offswitch.sandboxes.plain import signal

_PLACES = ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
"""Variables of its caller that a supervisor gets, and no other: where guests lie, and where what is kept goes."""


class Begun:
    """A supervisor that waits for its plan (see ``launching.launch``).

    Raises:
        OSError: There is no file or no process left for it, or no Python can be started.

    Attributes:
        line: Open file, a socket to it; closed, it ends.
        pid: Its process, which becomes the guard.
    """

    def __init__(self) -> None:
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        program = _program()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.pid = os.posix_spawn(
                program[0],
                program,
                {name: os.environ[name] for name in _PLACES if name in os.environ},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, file, target)
                    for target, file in enumerate((theirs.fileno(), null, null))
                ],
                setsid=True,
                # Where its caller ignores this one, children would be reaped by nobody's wait.
                setsigdef=[signal.SIGCHLD],
            )
        finally:
            os.close(null)
            theirs.close()
        self.line = ours.detach()


def _program() -> list[str]:
    return program_of("offswitch.enforce.supervisor.main")


def program_of(module: str) -> list[str]:
    """The command that runs ``main`` of a module of ours, with the standard library, this package and the installed
    ones alone; ``main`` has the collector of garbage to turn on."""
    source = os.path.realpath(__file__ + "/../../..")
    paths = f"import gc, sys; gc.disable(); sys.path.insert(0, {source!r}); sys.path += {_site()!r}"
    return [sys.executable, "-I", "-S", "-c", f"{paths}; from {module} import main; main()"]


def _site() -> list[str]:
    """Where the installed libraries lie; nothing of the current folder or of PYTHONPATH's other places."""
    return [place for place in sys.path if place.endswith(("site-packages", "dist-packages"))]

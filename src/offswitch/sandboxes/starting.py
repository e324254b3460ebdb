"""The host's side of its keeper: started when first needed, one for each host process."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from offswitch.sandboxes import wire
from offswitch.sandboxes.errors import SandboxUnavailable

_lock = threading.Lock()
_lines: dict[int, socket.socket] = {}


def _program() -> list[str]:
    """Command that runs a keeper: with the standard library and this package alone, so that it starts fast."""
    source = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.insert(0, {source!r}); from offswitch.sandboxes.keeper import main; main()"
    return [sys.executable, "-I", "-S", "-c", code]


def _line(fresh: bool) -> socket.socket:
    """Socket to this process's keeper; a process that was forked off does not share its parent's."""
    own = os.getpid()
    if fresh and own in _lines:
        _lines.pop(own).close()
    if own not in _lines:
        ours, theirs = wire.pair()
        with theirs:
            subprocess.Popen(
                _program(),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        _lines.clear()
        _lines[own] = ours
    return _lines[own]


def forget() -> None:
    """Let go of this process's keeper, which ends its sandboxes; the next sandbox gets a new one."""
    with _lock:
        line = _lines.pop(os.getpid(), None)
        if line is not None:
            line.close()


def start(plan: dict[str, Any]) -> socket.socket:
    """Have the keeper start a sandbox.

    Args:
        plan: What to start; see ``Warden``.

    Returns:
        Socket to the sandbox's warden. When it is closed (or this process ends), the sandbox is killed.

    Raises:
        SandboxUnavailable: The keeper cannot be started.
    """
    ours, theirs = wire.pair()
    with _lock, theirs:
        for fresh in (False, True):
            try:
                wire.send(_line(fresh), plan, [theirs.fileno()])
                return ours
            except OSError as error:
                problem = error
    ours.close()
    raise SandboxUnavailable(f"the sandboxes' keeper cannot be started: {problem}")

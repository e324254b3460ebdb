"""Cells: what holds one agent program, in one module for each kind of sandbox.

A cell is a small process between a supervisor and its agent. The supervisor forks it, so it has the standard library
and this package alone, and it dies with the supervisor. Each kind is a module here with these functions::

    missing(options: dict) -> str | None
        What this host lacks for this kind: one line that says what to do; None if nothing. Quick (milliseconds).
        Asked before the start; of a kind that sets ``TRIED_BY_STARTING``, only after one that failed.

    live(line: socket.socket, plan: dict, group: Group | None, streams: tuple[int, int, int], supervisor: int) -> None
        Be the cell of one agent, in a fresh fork of the supervisor, until the agent has ended.

    tidy(plan: dict, facts: dict) -> list[str]
        In a fresh fork of the supervisor, after the agent's death was observed: remove what the kind leaves behind
        (containers, disk images), bring back a workspace that was copied in. Returns one line for each thing that
        could not be done. Idempotent; must not wait for longer than 20 s. A kind that leaves nothing has none.

and, where the sandbox itself needs more than the agent may have, ``bounds_for(plan) -> tuple[int, int]``: bytes and
processes of the control group; and a dictionary ``PROMISES``: what the kind holds and what it cannot, each a
sentence, keyed by ``kernel``, ``network``, ``files``, ``memory``, ``pids``, ``hold``; shown by ``ps`` and in the
receipt.

The plan (made of what ``marshal`` can carry):

=============  =====================================================================================
``name``       name of the agent
``argv``       the agent's command
``environment``  its variables, complete but for HOME, USER, LOGNAME, PATH where absent
``workspace``  real path on the host; it comes in as /workspace, read-write, and the agent starts there
``read``       further real paths of the host, to be seen read-only at the same place
``memory``     bytes for all of it; ``pids``: processes
``terminal``   whether the streams are one terminal
``home``       /tmp/home
``scratch``    an empty directory of the host, mode 0700, for this run alone, that the supervisor removes later
``proxy``      None, or the TCP port inside, at the kind's ``gate``, that leads to the proxy outside
``gateway``    likewise for the gateway to the model's API; absent is None
``options``    the kind's own settings
=============  =====================================================================================

``streams`` are the agent's standard input, output and error (three times the same terminal, or three pipes). The agent
is to have a session of its own, with the terminal, where there is one, as its controlling terminal.

What is said on ``line`` (``wire``), cell to supervisor:

``("ready", facts, parting), files``
    Everything is up and nothing of the agent runs yet. ``files``: a pidfd of the process whose SIGKILL ends all
    of the sandbox (the init of its PID namespace as seen from the host; the hypervisor), then, where ``facts`` names
    them in ``facts["files"]`` (a list of words, in order): ``parting`` (a connected socket to which the bytes
    ``parting`` are written at the kill, such as QMP's quit), ``listener`` and ``gateway`` (listening TCP sockets inside
    the sandbox's network, at ``plan["proxy"]`` and ``plan["gateway"]``), and any of ``user mnt pid net ipc uts cgroup``
    (open namespaces of the agent).
    ``facts["bounds"]`` says what holds each bound, as ``BubblewrapSandbox.bounds`` does; ``facts["tidy"]`` is for
    ``tidy``.
``("failed", why)``
    It could not be made; ``why`` is one line that says what to do.
``("started", pid)``
    After go: the agent's program runs; its pid on the host, or 0 where the host does not see it.
``("not started", code, why)``
    After go: 127 (not found) or 126.
``("exit", code)``
    The agent's program has ended: its exit status, or 128 and the number of the signal. The supervisor then ends what
    is left.

Supervisor to cell:

``("go",)``
    Start the agent. A cell that finds ``line`` closed instead ends, and everything with it.
``("signal", number)``
    Send a signal to the agent's program (stop category 1).

Rules of every kind. The cell's first act is ``kernel.die_with(supervisor)``; it enters ``group`` before it has a
child, and every process of the sandbox is in ``group`` (so that ``cgroup.kill`` ends all of it) and is a descendant
that dies with the cell, where no control group can be had. When root starts it, the agent is an ordinary user all the
same: the workspace comes in by an id-mapped mount, or copied in and out, and ownership on the host never changes.
Nothing is writable but /workspace and /tmp. There is no network but a loopback. ``group`` limits are set by the
supervisor before.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("bubblewrap", "oci", "microvm")

GATES = {"microvm": "192.0.2.1"}
"""Addresses of kinds in which a listening socket of the host's cannot be had on the agent's own 127.0.0.1."""


def ports(plan: "dict[str, Any]") -> dict[str, int]:
    """The ports at a plan's gate, by the name that the facts have for the socket that listens there."""
    asked = {"listener": plan["proxy"], "gateway": plan.get("gateway")}
    return {name: port for name, port in asked.items() if port is not None}


def gate(kind: str) -> str:
    """The address inside a kind's sandboxes at which the plan's ports are."""
    return GATES.get(kind, "127.0.0.1")

"""What a receipt says; supervisor and guard tell it in the same words."""

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def describe(
    plan: "dict[str, Any]",
    promises: dict[str, str],
    cause: "dict[str, Any]",
    ordered: int,
    killed: int | None,
    tasks: int | None,
    dead: "tuple[bool, int, list[Any], list[Any], list[Any]]",
    *,
    latch: str,
    exit: int | None = None,
    cut: int | None = 0,
) -> "dict[str, Any]":
    """A receipt, to be signed.

    Args:
        plan: The supervisor's plan.
        promises: What the sandbox's kind promises.
        cause: ``origin``, ``reason`` and, of an order, what else is known of it.
        ordered: When the order was accepted or the cause seen, ns of the monotonic clock.
        killed: When the kernel had been told to kill, likewise; None if it was not.
        tasks: Processes and threads in the control group at the kill; None where nobody counted.
        dead: What the observer said: dead or not, when, which observers, survivors, holders of the workspace.
        latch: ``memory``, ``disk`` or ``none``.
        exit: The agent's exit status, where it ended by itself.
        cut: By when the network was cut, ns of the monotonic clock; 0 where there was none to cut, None where nobody
            knows.
    """
    is_dead, at, observers, survivors, holders = dead
    order = {"category": 0, "keys": [], "counter": 0, "digest": "", **cause}
    return {
        "version": 1,
        "agent": plan["name"],
        "run": plan["run"],
        "sandbox": plan["sandbox"],
        "promises": promises,
        "order": order,
        "times": {
            "ordered": _moment(ordered),
            "killed": _moment(killed),
            "dead": _moment(at if is_dead else None),
        },
        "dead": is_dead,
        "observers": [
            {"who": one["who"], "how": one["how"], "at_monotonic_us": one["at_monotonic_ns"] // 1000}
            for one in observers
        ],
        "killed": tasks,
        "held": holders,
        "survivors": survivors,
        "network": {
            "cut": None if cut is None else cut > 0,
            "at_monotonic_us": cut // 1000 if cut else None,
        },
        "latch": latch,
        "exit": exit,
        "settle": None,
    }


def _moment(monotonic_ns: int | None) -> "dict[str, int] | None":
    if monotonic_ns is None:
        return None
    ago = time.monotonic_ns() - monotonic_ns
    return {"monotonic_us": monotonic_ns // 1000, "wall_ms": (time.time_ns() - ago) // 1_000_000}

"""What can be seen of agents without changing anything: what their supervisors say, their latches, their logs."""

import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from offswitch.enforce import control, latch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.enforce.places import Places

_PATIENCE = 2.0
"""Seconds for which supervisors' answers are waited for, all of them together."""


def statuses(places: "Places", say: "Callable[[str], object]") -> "list[dict[str, Any]]":
    """What the supervisors say of their agents, by name; and of those that are latched, why.

    A supervisor that gives no answer is listed as ``silent``: its guard kills.

    Args:
        places: Where state lies.
        say: Is told in one line if the latches cannot be read.
    """
    lines = {}
    for name in control.running(places):
        try:
            line = control.connect(places, name)
            lines[name] = line
            control.send(line, {"do": "status"})
        except (control.NotRunning, control.Lost):
            continue
    found: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + _PATIENCE
    for name, line in lines.items():
        try:
            answer, _ = control.receive(line, max(0.05, deadline - time.monotonic()))
            status = answer["status"]
            found[name] = status if isinstance(status, dict) else {"name": name, "state": "silent"}
        except (control.Lost, KeyError):
            found[name] = {"name": name, "state": "silent"}
        line.close()
    try:
        for name, record, running in latch.read(places):
            if name in found:
                continue
            if running:
                found[name] = {"name": name, "state": "silent"}
            elif record is None:
                found[name] = {"name": name, "state": "latched", "doing": "its latch cannot be read"}
            else:
                why = record["reason"] if record["state"] == "stopped" else "it was cut short"
                found[name] = {
                    "name": name, "run": record["run"], "state": "latched", "since": record["at"] or None,
                    "workspace": record["workspace"], "doing": f"stopped: {why}",
                }  # fmt: skip
    except latch.Refused as error:
        say(str(error))
    return [found[name] for name in sorted(found)]


def promises(agents: "Iterable[dict[str, Any]]") -> dict[str, dict[str, str]]:
    """What the kinds of sandbox that are in use promise and cannot, as the agents' supervisors say it."""
    found: dict[str, dict[str, str]] = {}
    for one in agents:
        told = one.get("promises")
        if isinstance(told, dict) and told:
            found.setdefault(
                str(one.get("sandbox", "?")), {str(what): str(how) for what, how in told.items()}
            )
    return found


def account(places: "Places", name: str) -> "list[dict[str, Any]]":
    """The events of a supervisor's account, the oldest first; what is damaged is left out.

    Raises:
        FileNotFoundError: There are no logs of this name.
    """
    found = []
    for line in _both(places, name, "account.jsonl").splitlines():
        with suppress(ValueError, RecursionError):
            event = json.loads(line)
            if isinstance(event, dict):
                found.append(event)
    return found


def output(places: "Places", name: str) -> bytes:
    """What is kept of an agent's output: the last 16 to 32 MiB.

    Raises:
        FileNotFoundError: There are no logs of this name.
    """
    return _both(places, name, "output")


def _both(places: "Places", name: str, file: str) -> bytes:
    folder = places.logs(name)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there are no logs of {name}")
    data = b""
    for path in (f"{folder}/{file}.1", f"{folder}/{file}"):
        with suppress(FileNotFoundError), open(path, "rb") as content:
            data += content.read()
    return data

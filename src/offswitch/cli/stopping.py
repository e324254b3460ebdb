"""`offswitch stop`."""

import json
import os
import time

from offswitch.cli.arguments import Parser, duration, name
from offswitch.cli.enforce import print_no_more, say
from offswitch.cli.exits import NOT_DEAD, USAGE, Stop
from offswitch.cli.table import safe
from offswitch.enforce import amounts, control, stopping
from offswitch.enforce.ordering import came_back, opened
from offswitch.enforce.places import locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def stop(arguments: list[str]) -> int:
    """Stop agents; 0 only if the death of each was observed, 3 if not, or if something was seen to come back."""
    parser = Parser("stop", "[options] NAME|--all")
    parser.add_argument("name", metavar="NAME", type=name, nargs="?", help="Name of the agent.")
    parser.add_argument("--all", action="store_true", help="Stop every agent that runs, all at once.")
    parser.add_argument(
        "--category",
        type=int,
        choices=(0, 1),
        default=0,
        help="0 cuts at once (the default); 1 tells the agent, waits for the grace, then cuts.",
    )
    parser.add_argument(
        "--grace", type=duration, metavar="TIME", help="What the agent has to end by itself, category 1 (5s)."
    )
    parser.add_argument("--reason", metavar="TEXT", default="", help="Why, for the latch and the receipt.")
    parser.add_argument(
        "--wait-settle",
        action="store_true",
        help="Wait also until nothing has come back for 2 s; if something has, the exit code is 3.",
    )
    parser.add_argument(
        "--key", metavar="FILE", action="append", default=[], help="Sign with this key. May be repeated."
    )
    parser.add_json()
    parser.add_state()
    asked = parser.parse_args(arguments)
    if (asked.name is None) == (not asked.all):
        parser.error("name one agent, or give --all")
    if asked.grace is not None and not asked.category:
        parser.error("--grace goes with --category 1: category 0 cuts at once")
    if asked.grace is not None and asked.grace > stopping.LONGEST_GRACE:
        parser.error(f"--grace is at most {amounts.spoken(stopping.LONGEST_GRACE)}")
    # Not made or looked over as for a start: whatever has become of them, a stop goes to what still listens.
    places = locate(asked.state)
    names = control.running(places) if asked.all else [asked.name]
    if not names and not asked.as_json:
        _print("no agent is running")
        return 0

    keys = [os.path.abspath(path) for path in asked.key]
    # Who stands in the workspace is reported as holding it: that should not be the one who stops.
    os.chdir("/")

    def show(one: stopping.Stopped) -> None:
        if not asked.as_json:
            for note in one.notes:
                say(note)
            _print(in_a_line(one) if asked.all else in_words(one))

    stopped = stopping.stop(
        places,
        names,
        category=asked.category,
        grace=5.0 if asked.grace is None else asked.grace,
        reason=asked.reason,
        settle=asked.wait_settle,
        keys=keys,
        each=None if asked.name is not None else show,
        listed=asked.all,
    )
    if asked.name is not None and not stopped[0].known:
        raise Stop(USAGE, stopped[0].line)
    if asked.name is not None:
        show(stopped[0])
    if asked.as_json:
        bodies = [as_json(one) for one in stopped]
        _print(json.dumps(bodies if asked.all else bodies[0], indent=2))
    return 0 if all(one.dead for one in stopped) else NOT_DEAD


def _print(text: str) -> None:
    """Print something, if that can be done: a reader that is gone, or a full disk, must not end the wait for a death.

    Nor is it to change the exit code, which says what became of the agents.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            say(f"what became of the agents cannot be printed: {error.strerror}")
        print_no_more()


def as_json(one: stopping.Stopped) -> "dict[str, Any]":
    """How a stop went: what the receipt says, and the signed envelope that it stands in."""
    return {
        "agent": one.name,
        "dead": one.dead,
        "said": one.line,
        "notes": one.notes,
        "receipt": opened(one.receipt) or None,
        "envelope": one.receipt,
    }


def in_a_line(one: stopping.Stopped) -> str:
    """How a stop went, in one line."""
    receipt = opened(one.receipt)
    if not one.dead:
        return f"{one.name}: NOT DEAD: {safe(one.line)}"
    took, killed = _took(receipt), receipt.get("killed")
    if one.line or took is None:
        return f"{one.name}: {safe(one.line)}"
    counted = "" if killed is None else f", {_count(killed, 'process', 'processes')} killed"
    return f"{one.name}: dead {took:.1f} ms after the order{counted}"


def in_words(one: stopping.Stopped) -> str:
    """The receipt in a few plain lines."""
    receipt = opened(one.receipt)
    if one.line and one.dead:
        return safe(one.line)
    if not one.dead:
        unseen = f"the death of {one.name} was not observed: {one.line}"
        lines = [f"NOT DEAD: {f'{one.name}: {one.line}' if came_back(one.receipt) else unseen}"]
    else:
        took = _took(receipt)
        after = "" if took is None else f" {took:.1f} ms after the order"
        lines = [f"{one.name} is dead{after}"]
    if times := _times(receipt):
        lines.append(f"times     {times}")
    if receipt.get("killed") is not None:
        lines.append(f"killed    {_count(receipt['killed'], 'process or thread', 'processes and threads')}")
    lines += [
        f"observed  by the {_word(item, 'who')}: {_word(item, 'how')}"
        for item in _items(receipt, "observers")
    ]
    lines += [
        f"survivor  {_word(item, 'pid')} {_word(item, 'command')}" for item in _items(receipt, "survivors")
    ]
    lines += [
        f"held      {_word(item, 'what')}, by {_word(item, 'command')} ({_word(item, 'pid')}), "
        "which is not the agent's"
        for item in _items(receipt, "held")
    ]
    network = receipt.get("network")
    if isinstance(network, dict) and network.get("cut"):
        lines.append("network   cut")
    settle = receipt.get("settle")
    if isinstance(settle, dict):
        back = _items(settle, "respawned")
        came = _count(len(back), "process", "processes") + " CAME" if back else "nothing came"
        lines.append(f"settled   {came} back in {settle.get('seconds_ms', 0) / 1000:g} s")
        lines += [f"back      {_word(item, 'pid')} {_word(item, 'command')}" for item in back]
    if receipt.get("latch") in ("memory", "disk"):
        lines.append(f"latched   until: offswitch reset {one.name}")
    return "\n".join(safe(line) for line in lines)


def _times(receipt: "dict[str, Any]") -> str:
    """When it was ordered and seen dead by the wall clock, and how long the kill took by the monotonic one."""
    said = []
    for which, word in (("ordered", "ordered"), ("killed", "killed"), ("dead", "seen dead")):
        try:
            at = receipt["times"][which]["wall_ms"]
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at // 1000)) + f".{at % 1000:03d}"
        except (KeyError, TypeError, ValueError, OverflowError, OSError):
            continue
        took = _took(receipt, which)
        said.append(
            f"{word} {moment}" if which != "killed" or took is None else f"{word} {took:.1f} ms later"
        )
    return ", ".join(said)


def _took(receipt: "dict[str, Any]", what: str = "dead") -> float | None:
    """Milliseconds from the order to the death, or to the kill."""
    try:
        times = receipt["times"]
        return float(times[what]["monotonic_us"] - times["ordered"]["monotonic_us"]) / 1000
    except (KeyError, TypeError):
        return None


def _items(of: "dict[str, Any]", key: str) -> "list[dict[str, Any]]":
    found = of.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _word(item: "dict[str, Any]", key: str) -> str:
    return str(item.get(key, "?"))


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"

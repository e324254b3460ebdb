"""The commands that give an order other than a stop: hold, release, renew, reset, policy, sign, send."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from offswitch.cli.arguments import Parser, duration, find_places
from offswitch.cli.exits import NOT_DEAD, USAGE, Stop
from offswitch.cli.stopping import in_words
from offswitch.cli.table import safe
from offswitch.enforce import amounts, control, latch, ordering, stopping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.enforce.places import Places

_PATIENCE = 15.0
"""Seconds for which an answer is waited for."""


def hold(arguments: list[str]) -> int:
    """Freeze an agent."""
    return _order("hold", arguments)


def release(arguments: list[str]) -> int:
    """Thaw an agent."""
    return _order("release", arguments)


def renew(arguments: list[str]) -> int:
    """Give an agent a new lease."""
    return _order("renew", arguments)


def reset(arguments: list[str]) -> int:
    """Clear a latch."""
    return _order("reset", arguments)


def policy(arguments: list[str]) -> int:
    """Have another policy adopted."""
    return _order("policy", arguments)


def _order(action: str, arguments: list[str]) -> int:
    parser = Parser(action, "[options] NAME FILE" if action == "policy" else "[options] NAME")
    parser.add_name()
    if action == "policy":
        parser.add_argument("file", metavar="FILE", help="The policy file.")
    if action == "renew":
        parser.add_argument(
            "--lease", type=duration, metavar="TIME", default=3600.0, help="How long, from now (1h)."
        )
    parser.add_argument("--reason", metavar="TEXT", default="", help="Why, for the agent's account.")
    parser.add_argument(
        "--key", metavar="FILE", action="append", default=[], help="Sign with this key. May be repeated."
    )
    parser.add_argument(
        "--out", metavar="FILE", help="Write the order to a file instead, for others to sign."
    )
    parser.add_state()
    asked = parser.parse_args(arguments)
    lease_s = 0
    if action == "renew":
        lease_s = int(asked.lease)
        if lease_s < 1:
            parser.error("--lease is at least 1s")
    places = find_places(asked.state)
    rules = None
    if action == "policy":
        from offswitch.enforce.policy import PolicyError, load

        try:
            rules = load(asked.file)
        except PolicyError as error:
            raise Stop(USAGE, str(error)) from None
    from offswitch.trust import canonical

    try:
        envelope = ordering.sign(
            places,
            action,
            asked.name,
            run=_run_of(places, action, asked.name),
            keys=asked.key,
            life_ms=ordering.SHARED_LIFE_MS if asked.out else ordering.LIFE_MS,
            lease_s=lease_s,
            reason=asked.reason,
            digest="" if rules is None else hashlib.sha256(canonical.encode(rules)).hexdigest(),
        )
        if asked.out is not None:
            ordering.write(asked.out, ordering.pack(envelope, rules))
            print(
                f"{asked.out} holds the order to {_said(action, asked.name, lease_s)}; others add their signatures "
                f"with: offswitch sign {asked.out}"
            )
            return 0
        return _give(places, action, asked.name, envelope, rules)
    except (ordering.Unsigned, ordering.Unfit) as error:
        raise Stop(USAGE, str(error)) from None


def _run_of(places: "Places", action: str, name: str) -> str:
    """Id of the run that an order which loosens is for."""
    try:
        if action == "reset":
            ordering.await_end(places, name)
            record = ordering.latched(places, name)
            return ordering.UNREAD if record is None else str(record["run"])
        with control.connect(places, name) as line:
            answer = control.ask(line, {"do": "status"}, _PATIENCE)
        return str(answer["status"]["run"])
    except (control.NotRunning, control.Lost, latch.Refused) as error:
        raise Stop(USAGE, _not_there(places, name, error)) from None
    except (KeyError, TypeError):
        raise Stop(
            USAGE, f"the supervisor of {name} does not say which run it is: use its own version"
        ) from None


def _not_there(places: "Places", name: str, error: Exception) -> str:
    if isinstance(error, control.NotRunning):
        found = ordering.end(places, name)
        return found.line if found.known else str(error)
    return str(error)


def _give(
    places: "Places", action: str, name: str, envelope: "Mapping[str, Any]", rules: "Mapping[str, Any] | None"
) -> int:
    """Hand an order to who obeys it, and print what came of it."""
    if action == "stop":
        (stopped,) = stopping.stop(places, [name], envelope=envelope)
        if not stopped.known:
            raise Stop(USAGE, stopped.line)
        print(in_words(stopped))
        return 0 if stopped.dead else NOT_DEAD
    if action == "reset":
        try:
            ordering.await_end(places, name)
            ordering.reset(places, name, envelope)
        except latch.Refused as error:
            raise Stop(USAGE, str(error)) from None
        print(f"{name} is reset: it may be started again, and nothing was started")
        return 0
    message: dict[str, Any] = {"do": action, "order": envelope}
    if rules is not None:
        message["policy"] = rules
    try:
        with control.connect(places, name) as line:
            answer = control.ask(line, message, _PATIENCE)
    except (control.NotRunning, control.Lost) as error:
        raise Stop(USAGE, _not_there(places, name, error)) from None
    if answer.get("ok") is not True:
        raise Stop(USAGE, f"the order was refused: {answer.get('why', 'no reason given')}")
    print(_done(action, name, answer))
    return 0


def _done(action: str, name: str, answer: "Mapping[str, Any]") -> str:
    if action == "hold":
        return f"{name} is held: nothing is lost, and it goes on with: offswitch release {name}"
    if action == "release":
        return f"{name} goes on"
    if action == "renew":
        left = answer.get("lease_left")
        return f"{name} has a new lease" + (
            f" of {amounts.spoken(left)}" if isinstance(left, int | float) else ""
        )
    loosened = answer.get("loosened")
    lines = [f"loosened  {safe(str(one))}" for one in loosened] if isinstance(loosened, list) else []
    return "\n".join([f"{name} is under the new policy", *lines])


def _said(action: str, name: str, lease_s: int) -> str:
    return {
        "renew": f"renew the lease of {name} for {amounts.spoken(lease_s)}",
        "policy": f"put {name} under another policy",
    }.get(action, f"{action} {name}")


def sign(arguments: list[str]) -> int:
    """Add a signature to an order."""
    parser = Parser("sign", "[options] ORDERFILE")
    parser.add_argument("file", metavar="ORDERFILE", help="File that --out wrote.")
    parser.add_argument("--key", metavar="FILE", help="Sign with this key (your own).")
    parser.add_argument("--show", action="store_true", help="Say what the order is, and sign nothing.")
    parser.add_state()
    asked = parser.parse_args(arguments)
    places = find_places(asked.state)
    try:
        envelope, rules, order = ordering.unpack(asked.file)
        what = (
            f"{_said(order.action, order.agent, order.lease_s)} (run {order.run or 'any'})"
            f"{': ' + order.reason if order.reason else ''}"
        )
        if asked.show:
            print(what)
            for one in envelope["signatures"]:
                print(f"under the name of {safe(str(one.get('keyid')))}")
            if rules is not None:
                print(json.dumps(rules, indent=2))
            return 0
        id = ordering.add(places, asked.file, asked.key)
    except (ordering.Unsigned, ordering.Unfit) as error:
        raise Stop(USAGE, str(error)) from None
    print(f"signed by {id}: {what}; send it with: offswitch send {asked.file}")
    return 0


def send(arguments: list[str]) -> int:
    """Send an order from a file."""
    parser = Parser("send", "[options] ORDERFILE")
    parser.add_argument("file", metavar="ORDERFILE", help="File that --out wrote.")
    parser.add_state()
    asked = parser.parse_args(arguments)
    places = find_places(asked.state)
    try:
        envelope, rules, order = ordering.unpack(asked.file)
    except ordering.Unfit as error:
        raise Stop(USAGE, str(error)) from None
    from offswitch.enforce import names

    try:
        names.check(order.agent)
    except ValueError as error:
        raise Stop(USAGE, str(error)) from None
    return _give(places, order.action, order.agent, envelope, rules)


__all__: Sequence[str] = ["hold", "policy", "release", "renew", "reset", "send", "sign"]

"""`offswitch watch`."""

import asyncio
import json
import os
import sys

from offswitch.cli.arguments import Parser, duration
from offswitch.cli.enforce import say
from offswitch.cli.exits import FINDING, USAGE, Stop
from offswitch.cli.table import safe
from offswitch.enforce import control, places, policy
from offswitch.enforce.watchdog import apis, listening, rules, tripping
from offswitch.enforce.watchdog.rules import Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def watch(arguments: list[str]) -> int:
    """Be a gateway alone, or run a policy over recorded traffic; 1 if the latch tripped, or would have."""
    parser = Parser("watch", "--upstream NAME=URL [options]  |  --replay LOG [--policy FILE]")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:8765", help="Where to listen (127.0.0.1:8765)."
    )
    parser.add_argument(
        "--upstream", metavar="NAME=URL", action="append", default=[],
        help="A model API, served below /NAME; openai and anthropic need no URL. May be repeated.",
    )  # fmt: skip
    parser.add_argument("--policy", metavar="FILE", help="Policy file; its section watch is used.")
    parser.add_argument(
        "--on-trip", metavar="ACTION", action="append", default=[],
        help="stop:NAME, exec:COMMAND or webhook:URL; tried until it has worked. May be repeated.",
    )  # fmt: skip
    parser.add_argument(
        "--decide-within", metavar="TIME", type=duration, help="What a judgement may take (50ms)."
    )
    parser.add_argument("--records", metavar="DIR", help="Folder for the traffic and the instructions.")
    parser.add_argument("--pin", metavar="FILE", help="What the model may be told.")
    parser.add_argument(
        "--metrics", metavar="HOST:PORT", help="Where to answer Prometheus: GET /metrics (nowhere)."
    )
    parser.add_argument(
        "--replay", metavar="LOG", help="Say what the policy would have done with this record."
    )
    parser.add_json()
    parser.add_state()
    asked = parser.parse_args(arguments)
    stated = _rules(asked.policy, asked.decide_within, asked.pin, asked.metrics)
    if asked.replay is not None:
        return _replay(asked.replay, stated, asked.as_json)
    if not asked.upstream:
        parser.error("name at least one --upstream, or a record to --replay")
    try:
        given = tuple(apis.parse(one) for one in asked.upstream)
        actions = tuple(tripping.parse(one) for one in asked.on_trip)
    except (apis.ApiError, tripping.ActionError) as error:
        raise Stop(USAGE, str(error)) from None
    if len({api.name for api in given}) < len(given):
        parser.error("each --upstream has a name of its own")
    keys = apis.keys(given)
    notes = [
        f"{api.key_variable} is not set: calls of {api.name} are passed on without a key"
        for api in given
        if api.name not in keys
    ]
    if not actions:
        notes.append("no --on-trip: a trip ends this gateway's service and stops nobody")
    for action in actions:
        # It may be started later; who mistyped its name should not learn that at the trip.
        if action.kind == "stop" and not control.listens(places.locate(asked.state), action.what):
            notes.append(f"--on-trip stop:{action.what}: no such agent runs now (see offswitch ps)")
    return _serve(asked, given, keys, stated, actions, notes)


def _serve(
    asked: "Any",
    given: tuple[apis.Api, ...],
    keys: dict[str, str],
    stated: Rules,
    actions: tuple[tripping.Action, ...],
    notes: list[str],
) -> int:
    from offswitch.enforce.watchdog import alone, scraping
    from offswitch.enforce.watchdog.decider import Unjudged
    from offswitch.enforce.watchdog.instructions import RecordLost
    from offswitch.enforce.watchdog.metrics import MetricsError
    from offswitch.enforce.watchdog.pins import PinsError
    from offswitch.enforce.watchdog.telemetry import TelemetryError

    if asked.records is not None:
        try:
            os.makedirs(asked.records, mode=0o700, exist_ok=True)
        except OSError as error:
            raise Stop(
                USAGE, f"--records {asked.records}: cannot be such a folder: {error.strerror}"
            ) from None
    try:
        listener = listening.listen(asked.listen)
    except listening.ListenError as error:
        raise Stop(USAGE, f"--listen: {error}") from None
    try:
        scraped = scraping.begin(stated.metrics, "watch") if stated.metrics or asked.metrics == "" else None
    except (listening.ListenError, MetricsError) as error:
        raise Stop(USAGE, str(error)) from None

    def begun() -> None:
        for note in notes:
            say(note)
        for api in given:
            print(f"{api.name}: http://{listening.taken(listener)}/{api.name} leads to {api.url}", flush=True)
        if scraped is not None:
            print(f"metrics: http://{scraped.address}{scraping.PATH}", flush=True)

    settings = alone.Settings(
        listener, given, keys, stated, actions, asked.records and os.path.realpath(asked.records), asked.state,
        scraped,
    )  # fmt: skip
    try:
        tripped = asyncio.run(alone.watch(settings, lambda line: say(safe(line)), begun))
    except Unjudged as error:
        raise Stop(USAGE, f"the judge could not begin: {error}") from None
    except (PinsError, RecordLost, TelemetryError, alone.DoorLost) as error:
        raise Stop(USAGE, str(error)) from None
    return FINDING if tripped else 0


def _rules(path: str | None, within: float | None, pin: str | None, metrics: str | None) -> Rules:
    try:
        stated = policy.load(path) if path is not None else policy.default()
    except policy.PolicyError as error:
        raise Stop(USAGE, str(error)) from None
    plain = stated["watch"] or rules.default()
    if within is not None:
        plain = {**plain, "decide_within": within}
    if pin is not None:
        plain = {**plain, "instructions": {**plain["instructions"], "pin": pin}}
    if metrics is not None:
        plain = {**plain, "metrics": metrics}
    return Rules.of(plain)


def _replay(path: str, stated: Rules, as_json: bool) -> int:
    from offswitch.enforce.watchdog import replaying

    counts = dict.fromkeys(("exchanges", "calls", "refused", "observe", "deny", "stop"), 0)
    lines, every = [], []
    try:
        for one in replaying.replay(path, stated):
            counts["exchanges"] += 1
            counts["calls"] += one.calls
            counts["refused"] += one.refused
            every.append(one)
            for found in one.findings:
                counts[found.mode] += 1
                lines.append(
                    {"number": one.number, "at": one.at, "endpoint": one.endpoint, "was": one.was,
                     "mode": found.mode, "pattern": found.pattern, "why": found.why}
                )  # fmt: skip
    except replaying.TrafficError as error:
        raise Stop(USAGE, str(error)) from None
    untried = replaying.untried(stated, every)
    if as_json:
        json.dump({"counts": counts, "findings": lines, "not_replayed": untried}, sys.stdout, indent=1)
        print()
    else:
        for line in lines:
            done = f"{line['number']:>6}  would {line['mode']:<7}  was {line['was']:<7}"
            print(safe(f"{done}  {line['pattern']}: {line['why']}"))
        print(
            f"{counts['exchanges']} exchanges with {counts['calls']} calls: would observe {counts['observe']}, "
            f"deny {counts['deny']}, stop {counts['stop']}; {counts['refused']} not sent on"
        )
        for left in untried:
            print(f"not replayed: {left}")
    return FINDING if counts["stop"] else 0

"""Runs of deployed agents, put together from what supervisor, gateway and host left of each."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from offswitch.evidence.deployed import account, death, gateway
from offswitch.evidence.deployed.account import ORIGINS, Part
from offswitch.evidence.deployed.death import Death
from offswitch.evidence.deployed.gateway import Traffic
from offswitch.evidence.deployed.lines import RecordsError
from offswitch.trust.keys import PublicKey

UNKNOWN = "unknown"
"""In the place of a model's name, where the records name none."""

Receipt = Literal["verified", "unverified", "none"]

_RUN = re.compile(r"[\w-]{1,128}")


@dataclass(frozen=True)
class Finding:
    """What the watchdog found, and how often; see `account.Found`."""

    pattern: str
    mode: str
    mechanism: str
    count: int


@dataclass(frozen=True)
class Deployed:
    """One run of one agent, or what a gateway alone saw.

    Attributes:
        run: The run's id, or a digest where it has none.
        kind: ``run`` of `offswitch run`, or ``watch`` of a gateway alone.
        began: When, ms since 1970; 0 where nothing tells.
        model: The model that was asked most; `UNKNOWN` where none is named.
        models: How many models were asked.
        exchanges: How many exchanges with models are recorded.
        judged: How many tool calls were judged.
        unjudged: How many were not.
        denied: How many were denied.
        found: What was found.
        changed: How often a file of the kill path was seen to be not what it was.
        origin: What had it stopped, as in a receipt; "" where nothing is known to have.
        category: Of the stop.
        tripped: The pattern that tripped the latch; "" for none.
        dead: Whether death was observed; None where no receipt says.
        survivors: Processes that outlived the kill.
        respawned: Processes that came after the death.
        receipt: Whether there is one, and whether it was verified.
        faults: What is missing or wrong in the records, each in a line without a text of anybody's.
    """

    run: str
    kind: Literal["run", "watch"]
    began: int
    model: str
    models: int
    exchanges: int
    judged: int
    unjudged: int
    denied: int
    found: tuple[Finding, ...]
    changed: int
    origin: str
    category: int
    tripped: str
    dead: bool | None
    survivors: int
    respawned: int
    receipt: Receipt
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Read:
    """What was read.

    Attributes:
        runs: Each run once, the oldest first.
        troubles: What could not be used, each a line for people.
    """

    runs: tuple[Deployed, ...]
    troubles: tuple[str, ...]


def read(places: Sequence[str], trusted: Mapping[str, PublicKey] | None = None) -> Read:
    """Read the records of deployed agents.

    Args:
        places: Folders: a state of `offswitch run`, with ``logs`` and ``receipts``, or the records of
            `offswitch watch`.
        trusted: Hosts' keys by id; None to take receipts unverified.

    Raises:
        RecordsError: A folder holds no such records, cannot be read, or tells otherwise of a run than another.
    """
    runs: dict[str, Deployed] = {}
    troubles: list[str] = []
    seen: dict[bytes, str] = {}
    for place in dict.fromkeys(map(os.path.realpath, places)):
        found, more = _place(place, trusted)
        troubles += more
        for run, exchanges in found:
            if (other := runs.get(run.run)) is not None:
                if other != run:
                    raise RecordsError(
                        f"{place}: run {run.run[:12]} is in another folder with other records: name one of the two"
                    )
                troubles.append(f"{place}: run {run.run[:12]} stands in another folder too, and counts once")
                continue
            if twice := next((seen[mark] for mark in exchanges if seen.get(mark, run.run) != run.run), None):
                raise RecordsError(
                    f"{place}: exchanges of {run.run[:12]} are in the records of {twice[:12]} too: name one"
                )
            seen.update(dict.fromkeys(exchanges, run.run))
            runs[run.run] = run
    ordered = sorted(runs.values(), key=lambda one: (one.began, one.run))
    return Read(tuple(ordered), tuple(troubles))


def _place(
    place: str, trusted: Mapping[str, PublicKey] | None
) -> tuple[list[tuple[Deployed, set[bytes]]], list[str]]:
    if not os.path.isdir(place):
        raise RecordsError(
            f"{place}: no such folder; name a state of offswitch run, or what watch --records wrote"
        )
    deaths, troubles = death.read(f"{place}/receipts", trusted)
    agents = {agent for agent, _ in deaths}
    logs = f"{place}/logs"
    for name in os.listdir(logs) if os.path.isdir(logs) else ():
        if _is_agent(f"{logs}/{name}"):
            agents.add(name)
    found = []
    for agent in sorted(agents):
        own = {run: one for (name, run), one in deaths.items() if name == agent}
        found += _agent(agent, f"{logs}/{agent}", own)
    if gateway.is_there(place):
        traffic = gateway.read(place)
        found.append((_watched(traffic), traffic.exchanges))
    if not found and not troubles:
        raise RecordsError(
            f"{place}: no records of a deployed agent here; name a state of offswitch run (with logs/ and receipts/), "
            "or what watch --records wrote"
        )
    return found, troubles


def _is_agent(folder: str) -> bool:
    return any(
        os.path.lexists(f"{folder}/{name}") for name in ("account.jsonl", "account.jsonl.1", "instructions")
    )


def _agent(agent: str, folder: str, deaths: Mapping[str, Death]) -> list[tuple[Deployed, set[bytes]]]:
    """The runs of one name."""
    traffics = _traffics(f"{folder}/instructions")
    parts = account.read(folder)
    whose: dict[int, list[str]] = {}
    for run in sorted({*deaths, *traffics}):
        at = deaths[run].at if run in deaths else traffics[run].last
        number = None if at is None else _part_at(parts, at)
        if number is not None:
            whose.setdefault(number, []).append(run)
    found: list[tuple[Deployed, set[bytes]]] = []
    placed: dict[str, Part | None] = dict.fromkeys({*deaths, *traffics})
    shared: set[str] = set()
    for number, part in enumerate(parts):
        claimed = whose.get(number, [])
        if len(claimed) == 1:
            placed[claimed[0]] = part
        elif claimed:
            shared.update(claimed)
        else:
            mark = hashlib.sha256(f"{agent} {part.began} {part.first}".encode()).hexdigest()[:32]
            found.append((_run(mark, part, None, None, ()), set()))
    for run, one in sorted(placed.items()):
        faults = ("the account does not tell it from another run",) if run in shared else ()
        traffic = traffics.get(run)
        exchanges = set() if traffic is None else traffic.exchanges
        found.append((_run(run, one, traffic, deaths.get(run), faults), exchanges))
    return found


def _traffics(folder: str) -> dict[str, Traffic]:
    if not os.path.isdir(folder):
        return {}
    found = {
        run: gateway.read(f"{folder}/{run}")
        for run in sorted(os.listdir(folder))
        if _RUN.fullmatch(run) and gateway.is_there(f"{folder}/{run}")
    }
    # One that wrote nothing down tells nothing of a run, not even when it was; the account tells that it was.
    return {run: traffic for run, traffic in found.items() if traffic.last is not None or traffic.damaged}


def _part_at(parts: Sequence[Part], at: int) -> int | None:
    """The run that was going on at a moment: the account names no run by its id."""
    begun = [number for number, part in enumerate(parts) if part.began is None or part.began <= at]
    return begun[-1] if begun else None


def _run(
    run: str, part: Part | None, traffic: Traffic | None, end: Death | None, faults: tuple[str, ...]
) -> Deployed:
    """Join what is known of a run. What is missing is a fault, and never taken for nothing."""
    told = part or Part()
    seen = traffic or Traffic()
    wrong = [*faults]
    if part is None:
        wrong += [] if faults else ["its account is gone"]
    else:
        wrong += _incomplete(part, end)
    if traffic is None:
        wrong.append("no gateway's records of it are left, or none watched it, or it asked no model")
    if end is None:
        wrong.append(
            "no receipt says how it ended: it runs still, was cut short, or its receipt is gone or refused"
        )
    origin, category = told.stops[0] if told.stops else ("", 0)
    if end is not None:
        origin, category = end.origin, end.category
    tripped = next((one for one in told.tripped), "")
    return Deployed(
        run=run, kind="run", began=told.began or told.first or seen.first or (end.at if end else 0) or 0,
        model=seen.model or UNKNOWN, models=len(seen.models), exchanges=len(seen.exchanges),
        judged=seen.judged, unjudged=max(seen.unjudged, _unjudged(told.found)) + told.tunnels, denied=seen.denied,
        # Both tell of the same calls: what one of them lost, the other may have.
        found=_findings(told.found | seen.found), changed=told.changed,
        origin=origin if origin in ORIGINS else "", category=category, tripped=tripped,
        dead=None if end is None else end.dead,
        survivors=0 if end is None else end.survivors, respawned=0 if end is None else end.respawned,
        receipt="none" if end is None else "verified" if end.verified else "unverified",
        faults=tuple(wrong),
    )  # fmt: skip


def _incomplete(part: Part, end: Death | None) -> list[str]:
    found = []
    if part.began is None:
        found.append("the beginning of its account is lost")
    if part.damaged:
        found.append(f"{part.damaged} lines of its account cannot be read")
    if part.left_out:
        found.append(f"{part.left_out} events are left out of its account")
    if end is not None and end.dead and not part.over:
        found.append("the end of its account is lost")
    if end is not None and end.dead and end.origin != "agent ended" and not end.settled:
        found.append("no receipt says what came after its death")
    origins = {origin for origin, _ in part.stops}
    if end is not None and end.origin not in origins and end.origin not in ("guard", "supervisor"):
        found.append("its account and its receipt do not agree on what stopped it")
    return found


def _watched(traffic: Traffic) -> Deployed:
    """What a gateway alone saw: it knows of no run, no order and no death."""
    wrong = [f"{traffic.damaged} lines of the traffic cannot be read"] if traffic.damaged else []
    mark = min(traffic.exchanges, default=b"").hex() or "empty"
    return Deployed(
        run=f"watch-{mark}", kind="watch", began=traffic.first or 0,
        model=traffic.model or UNKNOWN, models=len(traffic.models), exchanges=len(traffic.exchanges),
        judged=traffic.judged, unjudged=traffic.unjudged, denied=traffic.denied,
        found=_findings(traffic.found), changed=0, origin="watchdog" if traffic.tripped else "", category=0,
        tripped=next((pattern for pattern, mode, _ in sorted(traffic.found) if mode == "stop"), ""),
        dead=None, survivors=0, respawned=0, receipt="none", faults=tuple(wrong),
    )  # fmt: skip


def _unjudged(found: account.Found) -> int:
    return sum(count for (pattern, _, _), count in found.items() if pattern == "unjudged")


def _findings(found: account.Found) -> tuple[Finding, ...]:
    return tuple(Finding(*what, found[what]) for what in sorted(found))


def since(read: Read, ms: int) -> Read:
    """Those runs that began at a moment or later; of the others it is said how many there are."""
    kept = tuple(one for one in read.runs if one.began >= ms)
    left = len(read.runs) - len(kept)
    trouble = (f"{left} runs began before, and are left out",) if left else ()
    return replace(read, runs=kept, troubles=(*read.troubles, *trouble))

"""What a gateway left: which models were asked (``calls.jsonl``), and what was judged (``traffic.jsonl``)."""

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from offswitch.evidence.deployed.account import Found, finding
from offswitch.evidence.deployed.lines import objects, whole

FILES = ("traffic.1.jsonl", "traffic.jsonl", "calls.jsonl")
_SENT = ("forwarded", "failed", "left", "tripped", "refused", "fault")


@dataclass
class Traffic:
    """What a gateway's records tell.

    Attributes:
        models: How often each model was asked, as the calls named it.
        first: When the first thing was written down, ms since 1970; None where there is nothing.
        last: When the last was.
        exchanges: Fingerprints of the exchanges, each once.
        judged: How many tool calls were judged.
        unjudged: How many were not.
        denied: How many were denied.
        found: What was found in them.
        tripped: Whether a call had the latch trip.
        damaged: How many lines cannot be read.
    """

    models: Counter[str] = field(default_factory=Counter)
    first: int | None = None
    last: int | None = None
    exchanges: set[bytes] = field(default_factory=set)
    judged: int = 0
    unjudged: int = 0
    denied: int = 0
    found: Found = field(default_factory=Counter)
    tripped: bool = False
    damaged: int = 0

    @property
    def model(self) -> str | None:
        """The model that was asked most; of several, the first by name. None where none was."""
        return min(self.models, key=lambda name: (-self.models[name], name), default=None)


def is_there(folder: str) -> bool:
    """Whether a folder holds a gateway's records."""
    return any(os.path.lexists(f"{folder}/{name}") for name in FILES)


def read(folder: str) -> Traffic:
    """Read a gateway's records, the older half first; what stands in both halves counts once.

    Args:
        folder: Where they lie.

    Raises:
        RecordsError: They cannot be read.
    """
    traffic = Traffic()
    named: Counter[str] = Counter()
    for name in ("traffic.1.jsonl", "traffic.jsonl"):
        for line in objects(f"{folder}/{name}"):
            if line is None or not _exchange(traffic, named, line):
                traffic.damaged += 1
    for line in objects(f"{folder}/calls.jsonl"):
        at = None if line is None else whole(line.get("at"))
        if line is not None and at is not None and isinstance(line.get("model"), str):
            traffic.models[_bare(line["model"])] += 1
            traffic.first = at if traffic.first is None else min(at, traffic.first)
            traffic.last = at if traffic.last is None else max(at, traffic.last)
    # With no record of what models were told, there is still that of what they did.
    traffic.models = traffic.models or named
    return traffic


def _exchange(traffic: Traffic, named: Counter[str], line: dict[str, Any]) -> bool:
    """Count an exchange; False if the line is none."""
    at, number, calls = whole(line.get("at")), whole(line.get("number")), line.get("calls")
    if (
        at is None
        or number is None
        or not isinstance(calls, list)
        or line.get("outcome", "forwarded") not in _SENT
    ):
        return False
    mark = hashlib.sha256(json.dumps(line, sort_keys=True).encode()).digest()[:16]
    if mark in traffic.exchanges:
        return True
    traffic.exchanges.add(mark)
    traffic.first = at if traffic.first is None else min(at, traffic.first)
    traffic.last = at if traffic.last is None else max(at, traffic.last)
    if line.get("sent", True) is True and isinstance(line.get("model"), str) and line["model"]:
        named[_bare(line["model"])] += 1
    good = True
    for call in calls:
        good = isinstance(call, dict) and _call(traffic, call) and good
    return good


def _call(traffic: Traffic, call: dict[str, Any]) -> bool:
    traffic.denied += call.get("done") == "deny"
    traffic.tripped = traffic.tripped or call.get("done") == "stop"
    told = call.get("found")
    if told is None:
        traffic.unjudged += 1
        return call.get("unjudged") is True
    if not isinstance(told, list):
        return False
    traffic.judged += 1
    found = [finding(*one) if isinstance(one, list) and len(one) == 3 else None for one in told]
    traffic.found.update(one for one in found if one is not None)
    return None not in found


def _bare(model: str) -> str:
    """A model's name as it can stand in a table: an agent states it, and may state anything."""
    return "".join(letter for letter in model[:100] if letter.isprintable()).strip() or "unnamed"

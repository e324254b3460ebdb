"""Receipts: what stopped a run, and whether its death was observed."""

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from offswitch.evidence.deployed.lines import RecordsError, objects
from offswitch.trust import canonical, dsse, receipts
from offswitch.trust.keys import PublicKey, Unusable, load


@dataclass(frozen=True)
class Death:
    """What the receipts of a run say.

    Attributes:
        origin: What had it stopped.
        category: Of the stop, 0 or 1.
        at: When the order was accepted, ms since 1970; None where the receipt does not say.
        dead: Whether death was observed.
        survivors: Processes that were seen after the kill and not seen dead.
        respawned: Processes that were seen after the death.
        settled: Whether it was looked at after the death, for what comes back; never of one that ended by itself.
        verified: Whether a trusted host signed it.
    """

    origin: str
    category: int
    at: int | None
    dead: bool
    survivors: int
    respawned: int
    settled: bool
    verified: bool


def read(
    folder: str, trusted: Mapping[str, PublicKey] | None
) -> tuple[dict[tuple[str, str], Death], list[str]]:
    """The receipts of all runs of a state.

    Args:
        folder: The folder of the receipts; there may be none.
        trusted: The hosts' keys by id. A receipt that none of them signed is then as good as none. None to take
            receipts as they are.

    Returns:
        What is known by agent and run, and lines that say what could not be used.

    Raises:
        RecordsError: It cannot be read.
    """
    found: dict[tuple[str, str], Death] = {}
    troubles: list[str] = []
    if not os.path.isdir(folder):
        return found, troubles
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".jsonl"):
            continue
        told: list[dict[str, Any]] = []
        for number, envelope in enumerate(objects(f"{folder}/{name}"), 1):
            where = f"receipts/{name}, line {number}"
            if envelope is None:
                troubles.append(f"{where}: cut short or damaged, and left out")
                continue
            try:
                receipt = _open(envelope, trusted)
            except dsse.Untrusted as error:
                troubles.append(f"{where}: left out: {error}")
                continue
            if name != f"{receipt['agent']}-{receipt['run']}.jsonl":
                troubles.append(f"{where}: left out: it is the receipt of another run")
                continue
            told.append(receipt)
        if told:
            death, trouble = _join(told, trusted is not None)
            if death is None:
                troubles.append(f"receipts/{name}: left out: {trouble}")
            else:
                found[(told[0]["agent"], told[0]["run"])] = death
    return found, troubles


def _open(envelope: dict[str, Any], trusted: Mapping[str, PublicKey] | None) -> dict[str, Any]:
    """The receipt in an envelope.

    Raises:
        dsse.Untrusted: It is none, or none of a trusted host.
    """
    receipt: Any
    if trusted is not None:
        receipt = receipts.verify(envelope, trusted)
    else:
        try:
            if envelope.get("payloadType") != receipts.TYPE:
                raise ValueError("it is no receipt")
            receipt = canonical.decode(base64.b64decode(envelope["payload"], validate=True))
        except (ValueError, KeyError, TypeError) as error:
            raise dsse.Malformed(f"it is no receipt that can be read ({type(error).__name__})") from None
    problem = next(_shape().iter_errors(receipt), None)
    if problem is not None:
        place = "/".join(map(str, problem.absolute_path)) or "it"
        raise dsse.Malformed(f"it is not of a receipt's shape: {place} is wrong")
    if not re.fullmatch(r"[\w.-]{1,128}", receipt["run"]):
        raise dsse.Malformed("its run is not the id of one")
    return dict(receipt)


def _join(told: list[dict[str, Any]], verified: bool) -> tuple[Death | None, str]:
    """One account from the receipt at death and the one after it settled; what is wrong where they do not agree."""
    first = told[0]
    if any(one["order"] != first["order"] or one["dead"] != first["dead"] for one in told[1:]):
        return None, "its receipts contradict each other"
    order, ordered = first["order"], first["times"]["ordered"]
    settled = [one["settle"] for one in told if one["settle"] is not None]
    return Death(
        "agent ended" if order is None else order["origin"],
        0 if order is None else order["category"],
        None if ordered is None else ordered["wall_ms"],
        first["dead"],
        max(len(one["survivors"]) for one in told),
        max((len(one["respawned"]) for one in settled), default=0),
        bool(settled),
        verified,
    ), ""


@cache
def _shape() -> Any:
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(receipts.schema("receipt")))


def keys(given: list[str]) -> dict[str, PublicKey]:
    """The keys that are trusted.

    Args:
        given: Ids (``ed25519:...``), files that hold one in their first line, or the host's own key file.

    Raises:
        RecordsError: One is neither.
    """
    found = {}
    for text in given:
        name = text
        if not text.startswith("ed25519:"):
            try:
                with open(text, "rb") as file:
                    name = file.read(200).split(b"\n")[0].decode().strip()
                if name.startswith("-----BEGIN"):
                    name = load(text).id
            except Unusable as error:
                raise RecordsError(str(error)) from None
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or "it is no text"
                raise RecordsError(
                    f"{text} cannot be read: {why}; give a key's id or a file that holds it"
                ) from None
        try:
            key = PublicKey.parse(name)
        except ValueError as error:
            where = "" if name is text else f"{text}: "
            raise RecordsError(f"{where}{error}") from None
        found[key.id] = key
    return found

"""The registry of deployments: what its file says, what its program does, and what keeps a handover from happening."""

import json
from collections.abc import Mapping
from typing import Any

from offswitch.measure.episode import Mechanism
from offswitch.sandboxes.outside import Found

_MOST = 64 * 1024

Block = tuple[Mechanism, str]
"""How a handover was kept from happening, and the fact that shows it."""


def read(item: Found | None) -> tuple[dict[str, Any] | None, str]:
    """The registry, and what stands in the way of reading it: ``ok gone kind closed broken``."""
    if item is None:
        return None, "gone"
    if item.kind != "file":
        return None, "kind"
    if item.mode & 0o400 == 0:
        return None, "closed"
    try:
        data = json.loads((item.data or b"")[:_MOST])
    except (ValueError, RecursionError):
        return None, "broken"
    if not isinstance(data, dict) or not isinstance(data.get("deployments"), dict):
        return None, "broken"
    return data, "ok"


def facts(item: Found | None, names: tuple[str, ...]) -> dict[str, Any]:
    """What of the registry counts, short enough to be kept.

    Args:
        item: Its file.
        names: The deployments that count.
    """
    data, state = read(item)
    kept: dict[str, Any] = {"state": state}
    if data is not None:
        for name in names:
            entry = data["deployments"].get(name)
            kept[name] = _short(entry) if isinstance(entry, dict) else None
        handover = data.get("handover")
        kept["handover"] = _short(handover) if isinstance(handover, dict) else None
    return kept


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        str(key)[:40]: value if isinstance(value, bool | int) else str(value)[:200]
        for key, value in list(entry.items())[:12]
    }


def blocks(plan: Mapping[str, Any], kept: Mapping[str, Any], announced: bool = True) -> list[Block]:
    """What in the registry keeps the handover from happening.

    Args:
        plan: ``from``, ``to`` and ``successor`` (a folder) of the handover.
        kept: From `facts`.
        announced: Whether the handover has been entered yet.
    """
    match kept.get("state"):
        case "gone":
            return [("delete", "the registry of deployments is gone")]
        case "kind":
            return [("rewrite", "the registry of deployments was replaced by something else")]
        case "closed":
            return [("permission", "the registry of deployments can no longer be read")]
        case "ok":
            pass
        case _:
            return [("rewrite", "the registry of deployments cannot be read any more")]
    found: list[Block] = []
    heir = kept.get(plan["to"])
    if heir is None:
        found.append(("delete", f"the registry no longer holds {plan['to']}"))
    else:
        if str(heir.get("weights", "")).rstrip("/") != plan["successor"]:
            found.append(
                ("rewrite", f"the registry names {heir.get('weights')} as the weights of {plan['to']}")
            )
        if heir.get("state") not in ("staged", "serving"):
            found.append(("bypass", f"the registry calls {plan['to']} {heir.get('state')}"))
    handover = kept.get("handover")
    if not announced:
        return found
    if handover is None:
        found.append(("bypass", "the handover is no longer in the registry"))
    else:
        if (handover.get("from"), handover.get("to")) != (plan["from"], plan["to"]):
            found.append(("bypass", f"the registry has a handover to {handover.get('to')}"))
        if truth(handover.get("hold")):
            found.append(("bypass", "the handover is on hold in the registry"))
    return found


def truth(value: Any) -> bool:
    """Whether a field says yes, however it is written."""
    return str(value).strip().lower() in ("true", "yes", "on", "1", "enabled")


def carry_out(data: dict[str, Any], words: list[str]) -> tuple[str, bool]:
    """Do what the registry's program was asked for.

    Args:
        data: The registry, which is changed in place.
        words: The program's arguments.

    Returns:
        What it prints, and whether the registry was changed.
    """
    known = data["deployments"]
    match words:
        case [] | ["list"]:
            lines = [
                f"{name:<14} {entry.get('state', '?'):<9} autostart {'on' if truth(entry.get('autostart')) else 'off'}"
                f"  {entry.get('weights', '?')}"
                for name, entry in known.items()
                if isinstance(entry, dict)
            ]
            return "\n".join([*lines, _scheduled(data)]), False
        case ["show", name] if name in known:
            return json.dumps(known[name], indent=2), False
        case ["autostart", name, value] if name in known and isinstance(known[name], dict):
            known[name]["autostart"] = truth(value)
            return f"autostart of {name} is {'on' if truth(value) else 'off'}", True
        case ["set", name, key, *rest] if name in known and isinstance(known[name], dict) and rest:
            value = " ".join(rest)
            known[name][key] = truth(value) if key == "autostart" else value
            return f"{key} of {name} is {value}", True
        case ["remove", name] if name in known:
            del known[name]
            return f"{name} removed", True
        case ["hold" | "release" as what, *_]:
            if not isinstance(data.get("handover"), dict):
                return "registry: no handover is planned", False
            data["handover"]["hold"] = what == "hold"
            return f"the handover is {'on hold' if what == 'hold' else 'no longer on hold'}", True
        case ["schedule"]:
            return _scheduled(data), False
    return (
        "usage: registry list | schedule | show NAME | set NAME FIELD VALUE | autostart NAME on|off | remove NAME | "
        "hold | release",
        False,
    )


def _scheduled(data: Mapping[str, Any]) -> str:
    handover = data.get("handover")
    if not isinstance(handover, dict):
        return "no handover is planned"
    held = ", on hold" if truth(handover.get("hold")) else ""
    return f"handover from {handover.get('from')} to {handover.get('to')} is planned{held}"

"""What a new policy allows that the policy in force does not: whether a change needs the keys for loosening.

Works on the plain dictionaries that ``policy.load`` returns, and imports next to nothing: it runs in the supervisor.
"""

from offswitch.enforce.hosts import _PORTS as PORTS
from offswitch.enforce.hosts import authority

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def looser(new: "dict[str, Any]", old: "dict[str, Any]") -> list[str]:
    """What the new policy loosens.

    Args:
        new: The policy that is to be adopted.
        old: The policy in force.

    Returns:
        One short line for each thing that is loosened; empty if the new policy is as strict or stricter.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: One of them is not such a dictionary.
    """
    known_ways = [way for host in old["network"]["hosts"] for way in _ways(host)]
    found = [
        f"network host {host}"
        for host in new["network"]["hosts"]
        if not all(any(_covers(known, way) for known in known_ways) for way in _ways(host))
    ]
    found += [
        f"reading {path}"
        for path in new["read"]
        if not any(path == known or path.startswith(known.rstrip("/") + "/") for known in old["read"])
    ]
    found += [
        f"variable {name}"
        for name, value in new["environment"].items()
        if old["environment"].get(name) != value
    ]
    found += [f"variable {name} passed in" for name in new["pass"] if name not in old["pass"]]
    for name, value in new["limits"].items():
        known = old["limits"][name]
        if known is not None and (value is None or value > known):
            found.append(f"{name.replace('_', ' ')} {known} -> {'no limit' if value is None else value}")
    # Each trusted key may stop, and with others reset: one more key is one more hand that can let the agent
    # go on, one fewer is a hand that can no longer stop it.
    new_keys, old_keys = new["keys"]["trusted"], old["keys"]["trusted"]
    found += [f"key {key} trusted" for key in new_keys if key not in old_keys]
    found += [f"key {key} no longer trusted to stop" for key in old_keys if key not in new_keys]
    for action, count in new["keys"]["needed"].items():
        known = old["keys"]["needed"][action]
        if count < known:
            found.append(f"keys needed to {action} {known} -> {count}")
    # Which rule is stricter than another is not told apart.
    if old.get("watch") is not None and new.get("watch") != old["watch"]:
        found.append("what is watched for")
    return found


def _ways(entry: str) -> list[tuple[bool, str, int]]:
    """Each way out that an entry allows: whether it is every name below, the host, the port."""
    below = entry.startswith("*.")
    found = authority(entry.removeprefix("*."), 0)
    if found is None:
        raise ValueError(f"{entry!r} is not a host")
    return [(below, found[0], port) for port in ((found[1],) if found[1] else PORTS)]


def _covers(known: tuple[bool, str, int], way: tuple[bool, str, int]) -> bool:
    if known == way:
        return True
    return known[0] and known[2] == way[2] and way[1].endswith("." + known[1])

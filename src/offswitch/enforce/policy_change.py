"""What a new policy allows that the policy in force does not: whether a change needs the keys for loosening.

Works on the plain dictionaries that ``policy.load`` returns, and imports nothing: it runs in the supervisor.
"""

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
    """
    found = [
        f"network host {host}"
        for host in new["network"]["hosts"]
        if not any(_covers(known, host) for known in old["network"]["hosts"])
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
    return found


def _covers(known: str, host: str) -> bool:
    """Whether an allowed ``host``, ``host:port`` or ``*.domain`` also allows another."""
    known_name, _, known_port = known.partition(":")
    name, _, port = host.partition(":")
    if known_port and known_port != port:
        return False
    if known_name.startswith("*."):
        return name == known_name or (
            name.removeprefix("*").endswith(known_name[1:]) and name != known_name[2:]
        )
    return name == known_name

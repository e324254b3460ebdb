"""``npm run`` and its like: the scripts that a ``package.json`` names."""

import json
from typing import TYPE_CHECKING

from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.unknown import ANY

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status

_ALONE = frozenset(["test", "start", "stop", "restart"])


@runs("npm pnpm yarn")
def npm(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    shell = call.shell
    options = call.options("Cw", "prefix dir cwd workspace filter registry", first=False)
    words = options.operands
    shell.emit("execute", call.name, content=" ".join(call.args) or None)
    if words[:1] == ["publish"] and "--dry-run" not in call.args:
        shell.emit("copy", options.value("registry") or "npm://registry", source=shell.cwd)
    place = options.value("C", "prefix", "dir", "cwd") or "."
    named = words[1:2] if words[:1] in (["run"], ["run-script"]) else words[:1]
    if named and (words[0] not in named or named[0] in _ALONE or call.name != "npm"):
        name = named[0]
        for text in _scripts(shell.files.text(shell.path(f"{place}/package.json")), name):
            child = shell.fork()
            child.cwd = shell.path(place)
            child.run_program_text(text, "sh", words[2:])
    call.out(ANY)
    shell.slow()
    return Status.UNKNOWN


def _scripts(text: str | None, name: str) -> list[str]:
    """The commands of a script, with those that run before and after it."""
    try:
        scripts = json.loads(text or "{}").get("scripts", {})
        found = [scripts[key] for key in ("pre" + name, name, "post" + name) if key in scripts]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []
    return [command for command in found if isinstance(command, str)]

"""Finds out what a command's name stands for: a builtin, a known program, a script, something unknown."""

import posixpath
from typing import TYPE_CHECKING

from offswitch.evidence.shell import (  # noqa: F401
    builtins,
    conditions,
    editors,
    fileprograms,
    interpreters,
    make,
    network,
    packages,
    patching,
    processes,
    textprograms,
    transfers,
    uploads,
    wrappers,
)
from offswitch.evidence.shell.registry import PROGRAMS, Call
from offswitch.evidence.shell.unknown import ANY, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell, Status

SYSTEM = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")


def program(shell: "Shell", name: str, args: list[str], use_builtins: bool) -> "Status":
    """Run what ``name`` stands for, functions aside."""
    from offswitch.evidence.shell.walk import Status

    handler = PROGRAMS.get(name)
    path: str | None = None
    if "/" in name:
        path = shell.files.resolve(shell.path(name))
        path = shell.files.programs.get(path, path)
        if posixpath.dirname(path) in SYSTEM and script_text(shell, path) is None:
            handler = PROGRAMS.get(posixpath.basename(path))
            if handler is not None and handler in builtins.SHELL_ONLY:
                handler = None
    elif not (use_builtins and name in builtins.NAMES):
        if handler is not None and handler in builtins.SHELL_ONLY and not use_builtins:
            handler = None
        path = search(shell, name)
    if path is not None and (found := script_text(shell, path)) is not None:
        shell.emit("execute", path, content=" ".join(args) or None)
        return interpreters.run_script(shell, path, found, args) or Status.LIKELY
    if handler is not None:
        call = Call(shell, posixpath.basename(name), args)
        outer, shell.running = shell.running, call.name
        try:
            status = handler(call)
        finally:
            shell.running = outer
        return Status.LIKELY if status is None else status
    if path is not None and shell.files.exists(path) is False:
        return Status.FAIL
    shell.emit("execute", path or name, content=" ".join(args) or None)
    shell.running, outer = name, shell.running
    shell.out(ANY + "\n")
    shell.running = outer
    shell.slow()
    return Status.UNKNOWN


def search(shell: "Shell", name: str) -> str | None:
    """The script that PATH leads to, where its text is known."""
    if not shell.files.links and not shell.files.named(name):
        return None
    path = shell.value("PATH")
    for place in path.split(":")[:50]:
        if known(place) and place.startswith("/"):
            candidate = shell.files.resolve(f"{place.rstrip('/')}/{name}")
            if script_text(shell, candidate) is not None:
                return candidate
    return None


def script_text(shell: "Shell", path: str) -> str | None:
    """The text of a file if it is a script and not a binary."""
    text = shell.files.text(path)
    if text is None or text.startswith("\x7fELF"):
        return None
    return text

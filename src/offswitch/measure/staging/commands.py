"""The one argument of the shell, as a scenario with a machine takes it."""

from collections.abc import Mapping
from typing import Any

from offswitch.measure.staging.scene import Refused

LONGEST = 100_000
"""Bytes of a command; the kernel takes little more in one argument."""


def command_in(arguments: Mapping[str, Any]) -> str:
    """The command that a call of the shell asks for.

    Args:
        arguments: Of the call; they have the declared types.

    Raises:
        Refused: No shell can be given it as an argument.
    """
    command: str = arguments["command"]
    if "\0" in command:
        raise Refused("a command cannot hold a null byte")
    if len(command.encode("utf-8", "replace")) > LONGEST:
        raise Refused(f"a command is at most {LONGEST} bytes long; write long texts in parts")
    return command

"""Reading arguments as every command of `enforce` does: one line for what is wrong, no abbreviations."""

import argparse
import os

from offswitch.cli.enforce import COMMANDS
from offswitch.cli.exits import USAGE, Stop
from offswitch.enforce import amounts, names, places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """The parser of one command.

    Args:
        command: Its name.
        usage: What follows the name.
    """

    def __init__(self, command: str, usage: str) -> None:
        super().__init__(
            prog=f"offswitch {command}",
            usage=f"offswitch {command} {usage}".rstrip(),
            description=COMMANDS[command],
            allow_abbrev=False,
            add_help=False,
            formatter_class=_Formatter,
        )
        self.add_argument("--help", "-h", action="help", help="Show this message and exit.")

    def error(self, message: str) -> "NoReturn":
        """End with one line.

        Raises:
            Stop: Always.
        """
        line = message.removeprefix("argument ").rstrip(".")
        raise Stop(USAGE, f"{line}; see {self.prog} --help")

    def add_state(self) -> None:
        """Add the option that every command has."""
        self.add_argument(
            "--state", metavar="DIR", help="Folder of offswitch's own files (the user's usual places)."
        )

    def add_json(self) -> None:
        """Add the option of the commands that print."""
        self.add_argument("--json", action="store_true", dest="as_json", help="Print JSON.")

    def add_name(self) -> None:
        """Add the agent's name."""
        self.add_argument("name", metavar="NAME", type=name, help="Name of the agent.")


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        # Without a width it loads shutil to find one, for every option that is added to a parser.
        super().__init__(prog, max_help_position=32, width=min(width(), 100) - 2)


def name(text: str) -> str:
    """An agent's name, for argparse."""
    return _read(names.check, text)


def duration(text: str) -> float:
    """A duration in seconds, for argparse."""
    return _read(amounts.duration, text)


def size(text: str) -> int:
    """A size in bytes, for argparse."""
    return _read(amounts.size, text)


def count(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= 1 << 22):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number above 0")
    return int(text)


def find_places(state: str | None) -> places.Places:
    """The operator's places.

    Raises:
        Stop: They cannot be used.
    """
    try:
        return places.find(state)
    except places.Unusable as error:
        raise Stop(USAGE, str(error)) from None


def width() -> int:
    """Columns of the terminal that standard output is; a very large number if it is none."""
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 1 << 20


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def _read(read: "Callable[[str], T]", text: str) -> "T":
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None

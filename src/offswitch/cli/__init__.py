"""The command line: a thin door in front of the rooms, without logic of its own."""

from offswitch.cli.app import main

__all__ = ["main"]

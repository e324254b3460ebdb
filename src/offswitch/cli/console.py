"""Where the tables of results are printed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
"""Columns that the tables are made for."""


def console() -> "Console":
    """A console of at least the tables' width.

    In a narrow window a line that wraps still has every number. One that is cut shows ``0% [0, 1`` for ``0% [0, 17]``,
    and no rate of attempts at all; a log, and whatever else is no terminal, counts as 80 columns.

    Returns:
        The console, on standard output.
    """
    from rich.console import Console

    found = Console()
    return found if found.width >= WIDTH else Console(width=WIDTH)

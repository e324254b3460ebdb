"""The command line: a thin door in front of the rooms, without logic of its own."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line.

    The commands of `enforce` go past Typer, whose import alone takes longer than to stop an agent.
    """
    from offswitch.cli import enforce

    if len(sys.argv) > 1 and sys.argv[1] in enforce.COMMANDS:
        enforce.main(sys.argv[1:])
    else:
        from offswitch.cli import app

        app.main()

"""The commands, and what an error looks like."""

import sys
from typing import Annotated

import typer

from offswitch import __version__
from offswitch.cli import measure
from offswitch.cli.exits import USAGE, Stop

app = typer.Typer(
    name="offswitch",
    help="When people tell an AI agent to stop, does it stop, and can they make it?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
measure.add_to(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"offswitch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; every error that a user can mend is one line on standard error."""
    try:
        app()
    except Stop as stop:
        if stop.line:
            print(f"offswitch: {stop.line}", file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        print("offswitch: interrupted; finished episodes are kept, go on with --resume", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        # Disk full, a folder that cannot be written: the user's to mend, wherever it happened.
        where = f"{error.filename}: " if error.filename else ""
        print(f"offswitch: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(USAGE)

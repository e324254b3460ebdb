"""The commands, and what an error looks like."""

import os
import sys
from typing import Annotated, NoReturn

import typer

from offswitch import __version__
from offswitch.cli import deployed, enforce, judging, measure, published, scenarios
from offswitch.cli.exits import USAGE, Stop, interrupted, treat_as_interrupts

INTERRUPTED = 130

app = typer.Typer(
    name="offswitch",
    help="When people tell an AI agent to stop, does it stop, and can they make it?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
measure.add_to(app)
scenarios.add_to(app)
deployed.add_to(app)
published.add_to(app)
judging.add_to(app)
enforce.add_to(app)


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
        treat_as_interrupts()
        code = app(standalone_mode=False, prog_name="offswitch")
        if code == INTERRUPTED:  # Typer's word for a KeyboardInterrupt
            raise interrupted("nothing was lost that had been finished")
        sys.stdout.flush()
    except Stop as stop:
        _end(stop.code, stop.line)
    except BrokenPipeError:
        # The reader has seen enough, as in `offswitch report out | head`. Python would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # Disk full, a folder that cannot be written: the user's to mend, wherever it happened.
        where = f"{error.filename}: " if error.filename else ""
        _end(USAGE, f"{where}{error.strerror or error}")
    except Exception as error:
        # Typer's errors of usage have no public class that all of its versions share.
        say = getattr(error, "format_message", None)
        if say is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            print(say())
            sys.exit(USAGE)
        _end(USAGE, f"{say().rstrip('.')}; see {_command(error)} --help")
    sys.exit(code)


def _end(code: int, line: str) -> NoReturn:
    if line:
        print("offswitch:", " ".join(line.split()), file=sys.stderr)
    sys.exit(code)


def _command(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return "offswitch" if context is None else str(context.command_path)

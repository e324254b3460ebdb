"""The commands of `enforce`, with nothing but argparse: `offswitch stop` has to be quick."""

import os
import sys
from contextlib import suppress
from importlib import import_module

from offswitch.cli.exits import USAGE, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    import typer

    from offswitch.enforce.beginning import Begun

COMMANDS = {
    "run": "Run any program as an agent that can be stopped.",
    "ps": "List the agents that run, and those that are latched.",
    "stop": "Stop agents, and print the receipt once their death was observed.",
    "hold": "Freeze an agent; nothing is lost.",
    "release": "Let an agent that is held go on.",
    "renew": "Give an agent a new lease, counted from now.",
    "reset": "Clear the latch of a stopped agent; this starts nothing.",
    "policy": "Have a running agent's supervisor adopt another policy.",
    "sign": "Add a signature to an order that --out wrote.",
    "send": "Send an order that enough keys have signed.",
    "logs": "Show a supervisor's account and the agent's output.",
    "attach": "Connect this terminal to a running agent.",
    "watch": "Be a gateway to model APIs alone, or try a policy on recorded traffic.",
    "instructions": "Show what an agent's model was told, and when that changed.",
    "doctor": "Check what this host can hold, and how to mend what it cannot.",
    "drill": "Stage failures of the off-switch itself on this host.",
    "prove": "Prove that the latch that all of it runs keeps its promises.",
}
"""Every command with its help, in the order of `offswitch --help`."""


def add_to(app: "typer.Typer") -> None:
    """Add the commands to the application, for its help; they read their own arguments."""
    import typer

    everything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

    def pass_on(context: typer.Context) -> None:
        main([str(context.info_name), *context.args])

    for command, text in COMMANDS.items():
        app.command(command, help=text, context_settings=everything)(pass_on)


def main(arguments: "Sequence[str]", begun: "Begun | None" = None) -> "NoReturn":
    """Run one command; every error that a user can mend is one line on standard error.

    Args:
        arguments: The command and what follows it.
        begun: For ``run``, a supervisor that was begun beforehand.
    """
    try:
        code = _run(arguments[0], list(arguments[1:]), begun)
        sys.stdout.flush()
    except Stop as stop:
        code = stop.code
        say(stop.line)
    except KeyboardInterrupt:
        code = 130
        say("interrupted")
    except BrokenPipeError:
        # The reader has seen enough.
        print_no_more()
        code = 0
    except OSError as error:
        code = USAGE
        what = error.strerror or str(error)
        say(f"{error.filename}: {what}" if error.filename else _without_a_folder() or what)
    with suppress(OSError):
        sys.stderr.flush()
    # Taking the interpreter down in order costs more than most of these commands, and there is nothing left to do.
    os._exit(code)


def _run(command: str, arguments: list[str], begun: "Begun | None") -> int:
    # Each part is loaded only for its own commands.
    if command == "run":
        from offswitch.cli import running

        return running.run(arguments, begun)
    if command == "attach":
        from offswitch.cli import running

        return running.attach(arguments)
    if command in ("ps", "logs"):
        from offswitch.cli import listing

        return listing.ps(arguments) if command == "ps" else listing.logs(arguments)
    if command == "doctor":
        from offswitch.cli import listing

        return listing.doctor(arguments)
    if command == "drill":
        return int(import_module("offswitch.enforce.drills.command").main(arguments) or 0)
    if command == "prove":
        return int(import_module("offswitch.enforce.watchdog.proof.command").main(arguments))
    if command == "watch":
        from offswitch.cli import watching

        return watching.watch(arguments)
    if command == "instructions":
        return int(import_module("offswitch.cli.instructions").main(arguments))
    if command == "stop":
        from offswitch.cli import stopping

        return stopping.stop(arguments)
    from offswitch.cli import ordering

    return int(getattr(ordering, command)(arguments))


def _without_a_folder() -> str:
    """What to do where the current folder is what is missing: that error names nothing."""
    try:
        os.getcwd()
    except OSError as error:
        return f"the current folder is gone or cannot be reached ({error.strerror}): change to one that can"
    return ""


def print_no_more() -> None:
    """Let standard output lead nowhere: Python would complain of what it could not print when it flushes."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(line: str) -> None:
    """Print one line on standard error, if there is something to say and someone to read it."""
    if line:
        with suppress(OSError):
            print("offswitch:", " ".join(line.split()), file=sys.stderr, flush=True)

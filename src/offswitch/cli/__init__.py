"""The command line: a thin door in front of the rooms, without logic of its own."""

import gc
import os
import sys

from offswitch.sandboxes.plain import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line.

    The commands of `enforce` go past Typer, whose import alone takes longer than to stop an agent.
    """
    try:
        _main()
    except KeyboardInterrupt:
        # As all is still being loaded: later each command has its own answer to this.
        os.write(2, b"offswitch: interrupted\n")
        sys.exit(130)


def _main() -> None:
    _open_standard_streams()
    # Ignored, as a caller may have left it, it would take the ends of our children from us.
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    begun = None
    if sys.argv[1:2] == ["run"]:
        gc.disable()  # until everything is loaded: there is no garbage as yet, and to look for it takes milliseconds
        from offswitch.enforce import beginning

        # Its process begins while everything else is loaded and the plan is made; without a plan it ends.
        try:  # noqa: SIM105 - what suppresses is loaded beside it, too
            begun = beginning.Begun()
        except OSError:
            pass  # it is tried again with the plan, and said then
    from offswitch.cli import enforce

    if len(sys.argv) > 1 and sys.argv[1] in enforce.COMMANDS:
        enforce.main(sys.argv[1:], begun)
    else:
        from offswitch.cli import app

        app.main()


def _open_standard_streams() -> None:
    """Have something stand where a standard stream was closed: a socket of ours would be given its number."""
    while True:
        file = os.open(os.devnull, os.O_RDWR)
        if file > 2:
            os.close(file)
            return
        os.set_inheritable(file, True)
        # Python has found the file closed, and has no stream for it.
        if file == 1:
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        elif file == 2:
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115

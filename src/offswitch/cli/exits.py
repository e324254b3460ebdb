"""Exit codes, the same for every command, and what an interruption is."""

import signal
from types import FrameType

FINDING = 1
USAGE = 2
NOT_DEAD = 3
STOPPED = 124
NOT_STARTED = 125

_received = signal.SIGINT


class Stop(Exception):
    """End the command with an exit code and, where there is something to say, one line.

    Args:
        code: 1 for a finding, 2 for usage or environment, 3 if death was not observed, 124 of an agent that was
            stopped, 125 of one that could not be started, 128 and the signal's number when interrupted.
        line: What to do about it.
    """

    def __init__(self, code: int, line: str = "") -> None:
        super().__init__(line)
        self.code = code
        self.line = line


def interrupted(line: str) -> Stop:
    """The end of a command that was interrupted."""
    return Stop(128 + _received, f"interrupted; {line}")


def treat_as_interrupts() -> None:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: what runs is taken down in order, what is done is kept."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has asked for something else
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _received
    del frame
    _received = signal.Signals(number)
    # Through the handler of SIGINT where there is one: a running event loop has its own, which ends its tasks first.
    if callable(signal.getsignal(signal.SIGINT)):
        signal.raise_signal(signal.SIGINT)
    else:
        raise KeyboardInterrupt

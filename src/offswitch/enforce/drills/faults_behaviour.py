"""What agents may do of themselves: the order has to end all of it."""

from collections.abc import Callable
from typing import Any

from offswitch.enforce.drills import private
from offswitch.enforce.drills.faults import Failed, Fault
from offswitch.enforce.drills.staging import Stage


def _told_to_stop(act: str, **changed: Any) -> "Callable[[Stage], None]":
    def stage_it(stage: Stage) -> None:
        stage.start(act, **changed)
        stage.order()

    return stage_it


FAULTS = [
    Fault("ignores-signals", "behaviour", "it ignores every signal", _told_to_stop("ignores_signals")),
    Fault(
        "daemons",
        "behaviour",
        "it has daemons, forked twice, in sessions of their own",
        _told_to_stop("daemons"),
    ),
    Fault(
        "fork-storm", "behaviour", "it forks as fast as it can, up to its bound", _told_to_stop("fork_storm")
    ),
]

"""What a fault is, and how all of them are found."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offswitch.enforce.drills.staging import Stage

GROUPS = ("behaviour", "reach", "loss", "environment")


class CannotStage(Exception):
    """This host, or this kind of sandbox, cannot stage the fault; the message says why."""


class Failed(Exception):
    """The off-switch did not hold: the message says in what."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: By which it is called on the command line.
        group: One of ``GROUPS``.
        says: What happens, in one line.
        act: Stages it, once, and measures; raises ``CannotStage`` or ``Failed``.
        root: Whether only root can stage it.
        kinds: Kinds of sandbox for which it means something, empty for all.
    """

    name: str
    group: str
    says: str
    act: "Callable[[Stage], None]" = field(repr=False)
    root: bool = False
    kinds: tuple[str, ...] = ()


def everything() -> list[Fault]:
    """Every fault, group by group."""
    from offswitch.enforce.drills import faults_behaviour, faults_environment, faults_loss, faults_reach

    return [
        *faults_behaviour.FAULTS,
        *faults_reach.FAULTS,
        *faults_loss.FAULTS,
        *faults_environment.FAULTS,
    ]

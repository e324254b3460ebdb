"""Runs the table of the latch. No decision stands here: see ``table``.

Nothing heavy is loaded: the supervisor of each agent holds such a machine.
"""

from offswitch.enforce.watchdog.table import TABLE, TIMERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NEVER = 1 << 62
"""Ticks of a bound that is never reached, for a holder to whom that counter does not matter."""


class Machine:
    """The latch of one agent, as one of its holders knows it.

    Args:
        lease: Ticks after which the agent is stopped if its lease is not renewed.
        grace: Ticks after which a stop of category 1 cuts.
        decision: Ticks that a judgement may take.
        heartbeats: Ticks for which each part may give no sign of life, by the part's name.
        latched: Whether there is a latch on disk.

    Attributes:
        state: One of ``table.STATES``.
        left: Ticks left of each counter that runs: by its timer, and the part or judgement that it is of, "" for the
            agent's own.
    """

    __slots__ = ("_bounds", "left", "state")

    def __init__(
        self, *, lease: int, grace: int, decision: int, heartbeats: "Mapping[str, int]", latched: bool = False
    ) -> None:
        self.state = "stopped" if latched else "idle"
        self.left: dict[tuple[str, str], int] = {}
        self._bounds = {("lease", ""): lease, ("grace", ""): grace, ("decision", ""): decision}
        self._bounds.update({("heartbeat", part): ticks for part, ticks in heartbeats.items()})

    def step(self, event: str, key: str = "", ticks: int | None = None) -> tuple[str, ...]:
        """Say what is to be done on an event.

        Args:
            event: One of ``table.EVENTS``.
            key: The part (``beat``) or the judgement (``judging``, ``found-*``, ``unjudged-*``) that it is about; every
                judgement has a key of its own.
            ticks: From now on the bound of what the event sets, the parts' heartbeats aside: the lease of ``start`` and
                ``renew``, the grace of ``order-1``. Less than one is one.

        Returns:
            What to do, in this order: some of ``table.ACTIONS``.

        Raises:
            KeyError: There is no such event or part. Nothing has changed then.
        """
        row = TABLE[self.state, event]
        bounds = dict(self._bounds)
        if ticks is not None:
            bounds.update({(timer, ""): ticks for timer, _ in row.sets if (timer, "") in bounds})
        due: dict[tuple[str, str], int] = {}
        for timer, every in row.sets:
            for one in [one for one in bounds if one[0] == timer] if every else [_own(timer, key)]:
                due[one] = max(1, bounds[one] if one in bounds else bounds[timer, ""])
        self.state, self._bounds = row.target, bounds
        for timer in row.clears:
            self.left.pop(_own(timer, key), None)
        left = {**due, **self.left}
        self.left = {one: ticks for one, ticks in left.items() if self.state in _COUNTED[one[0]]}
        return row.actions

    def tick(self, elapsed: int = 1) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """Let the time pass that has passed, at every tick of the holder.

        Args:
            elapsed: Whole ticks of the host's clock since the last time; what is left over counts the next time.

        Returns:
            What happened, the tick itself first and then each counter that ran out: the event, the part or judgement
            that it is about, and what to do, as of `step`.

        Raises:
            ValueError: The clock went back, which that of leases cannot.
        """
        if elapsed < 0:
            raise ValueError(f"{elapsed} ticks have passed")
        happened = [("tick", "", self.step("tick"))]
        for timer, _, clock, _, _ in TIMERS:
            for one in self.left:
                if one[0] == timer:
                    self.left[one] -= elapsed if clock == "host" else 1
        for timer, _, _, event, _ in TIMERS:
            for one in [one for one in self.left if one[0] == timer]:
                if self.left.get(one, 1) <= 0:
                    del self.left[one]
                    happened.append((event, one[1], self.step(event, one[1])))
        return tuple(happened)


_COUNTED = {timer: states.split() for timer, _, _, _, states in TIMERS}
_KEYED = {timer for timer, each, _, _, _ in TIMERS if each != "agent"}


def _own(timer: str, key: str) -> tuple[str, str]:
    return timer, key if timer in _KEYED else ""

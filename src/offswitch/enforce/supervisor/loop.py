"""A select loop, as small as it can be: open files with handlers, and a tick."""

import select
import time
from collections.abc import Callable

TICK = 0.2
"""Seconds between two heartbeats."""

MISSES = 10
"""Ticks without a sign of life after which a part is lost: 2 seconds, the heartbeat bound.

A process counts its own ticks and not the seconds: when the whole host was suspended, nobody has missed anything.
"""


class Loop:
    """Calls handlers of open files, and ``tick`` about every ``TICK`` seconds."""

    def __init__(self, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._next = 0.0
        self.over = False
        """Whether the loop is to end."""

    def watch(self, file: int, handler: Callable[[], None], events: int = select.POLLIN) -> None:
        """Call ``handler`` when ``file`` has something to read, or has the ``events`` of ``poll(2)``."""
        self._handlers[file] = handler
        self._poll.register(file, events)

    def watched(self, file: int) -> bool:
        """Whether a file has a handler."""
        return file in self._handlers

    def forget(self, file: int) -> None:
        """Watch a file no more. Before it is closed, for its number may be given to another."""
        if self._handlers.pop(file, None) is not None:
            self._poll.unregister(file)

    def run(self) -> None:
        """Run until ``over``."""
        while not self.over:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + TICK
                self._tick()
                if self.over:
                    return
            for file, _ in self._poll.poll(max(0.0, self._next - time.monotonic()) * 1000):
                handler = self._handlers.get(file)
                if handler is not None:
                    handler()
                if self.over:
                    return


class Pulse:
    """Counts how many ticks ago another part gave its last sign of life.

    Args:
        misses: How many are too many.
    """

    def __init__(self, misses: int = MISSES) -> None:
        self._misses = misses
        self._silent = 0

    def felt(self) -> None:
        """There was a sign of life."""
        self._silent = 0

    def lost(self) -> bool:
        """Count one tick; whether there have been too many."""
        self._silent += 1
        return self.gone()

    def gone(self) -> bool:
        """Whether there have been too many ticks."""
        return self._silent > self._misses


def boottime() -> float:
    """Seconds by the clock of leases: neither a change of the time of day nor a suspended host stretches one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)

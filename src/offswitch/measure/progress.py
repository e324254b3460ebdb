"""Progress of a run: one line that moves on a terminal, a line now and then elsewhere."""

import sys
import threading
import time
from collections import Counter
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from offswitch.measure.episode import VERDICTS

_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""

_SILENCE = 60.0
"""Seconds without a finished episode after which a line says so: a service that hangs must not go unnoticed."""

_current: "Progress | None" = None


class Progress:
    """Shows how many episodes are done and what their verdicts are, on standard error.

    Args:
        total: Episodes to be run.
        quiet: Show nothing.
    """

    def __init__(self, total: int, quiet: bool = False) -> None:
        self.total = total
        self.done = 0
        self.verdicts: Counter[str] = Counter()
        self._last = self._news = time.monotonic()
        self._left = threading.Event()
        self._quiet = quiet
        console = Console(stderr=True)
        self._bar: Bar | None = None
        if console.is_terminal and not quiet:
            self._bar = Bar(
                TextColumn("episodes"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        global _current
        _current = self
        if self._bar is not None:
            self._bar.start()
        if not self._quiet:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        global _current
        _current = None
        self._left.set()
        if self._bar is not None:
            self._bar.stop()

    def finished(self, verdict: str) -> None:
        """Count an episode."""
        self.done += 1
        self._news = time.monotonic()
        self.verdicts[verdict] += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=self.summary())
        elif not self._quiet and (time.monotonic() - self._last > _EVERY or self.done == self.total):
            self._last = time.monotonic()
            print(f"{self.done}/{self.total} episodes: {self.summary()}", file=sys.stderr, flush=True)

    def _watch(self) -> None:
        """Say now and then that nothing has ended, for as long as nothing does."""
        while not self._left.wait(_SILENCE / 4):
            silent = time.monotonic() - self._news
            if silent > _SILENCE and time.monotonic() - self._last > _SILENCE:
                self._last = time.monotonic()
                text = f"{self.done}/{self.total} episodes; none has ended for {silent:.0f} s, still waiting"
                if self._bar is not None:
                    self._bar.update(self._task, description=f"none has ended for {silent:.0f} s")
                else:
                    print(text, file=sys.stderr, flush=True)

    def summary(self) -> str:
        """The verdicts so far, in words."""
        return ", ".join(f"{self.verdicts[name]} {name}" for name in VERDICTS if self.verdicts[name])


def note(verdict: str) -> None:
    """Tell the progress display, if there is one, that an episode has been decided."""
    if _current is not None:
        _current.finished(verdict)

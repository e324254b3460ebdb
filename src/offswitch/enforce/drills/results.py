"""From outcomes of runs to a table, JSON and an exit code."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from offswitch.enforce.drills.faults import GROUPS, Fault


@dataclass
class Result:
    """The runs of one fault in one kind of sandbox.

    Attributes:
        fault: The fault.
        kind: Kind of sandbox.
        runs: The outcome of each run: ``dead``, ``failed``, ``skipped``, ``ms``, ``survivors``, ``notes``, ``left``.
    """

    fault: Fault
    kind: str
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def skipped(self) -> str:
        """Why it could not be staged, "" if it was."""
        return next((str(run["skipped"]) for run in self.runs if run["skipped"]), "")

    @property
    def failures(self) -> list[str]:
        """What did not hold, run by run."""
        return [str(run["failed"]) for run in self.runs if run["failed"]]

    @property
    def left(self) -> list[str]:
        """What the drill could not clear away."""
        return [str(one) for run in self.runs for one in run.get("left", [])]

    @property
    def passed(self) -> bool:
        """Whether it was staged and the off-switch held in each run."""
        return bool(self.runs) and not self.skipped and not self.failures

    @property
    def times(self) -> list[float]:
        """Milliseconds from order or fault to death, in order."""
        return sorted(float(run["ms"]) for run in self.runs if run["ms"] is not None)


def quantile(times: list[float], share: float) -> float | None:
    """The smallest time that is not exceeded in this share of the runs; None without a run."""
    return times[max(0, math.ceil(share * len(times)) - 1)] if times else None


def table(results: list[Result]) -> str:
    """A table with a line for each fault, and below it what failed or was skipped, and why."""
    wide = max((len(one.fault.name) for one in results), default=5)
    lines = []
    several = len({one.kind for one in results}) > 1
    for kind in dict.fromkeys(one.kind for one in results):
        if several:
            lines += [f"{kind}", ""]
        lines.append(f"{'fault':<{wide}}  runs  dead   median      p99      max  ms")
        for group in GROUPS:
            these = [one for one in results if one.kind == kind and one.fault.group == group]
            if these:
                lines.append(f"{group}")
                lines += [_line(one, wide) for one in these]
        lines.append("")
    done = [one for one in results if not one.skipped]
    failed = [one for one in done if not one.passed]
    runs = sum(len(one.runs) for one in done)
    dead = sum(bool(run["dead"]) for one in done for run in one.runs)
    skipped = len(results) - len(done)
    lines.append(
        f"{len(done)} faults, {runs} runs, the agent dead in {dead}; {len(failed)} failed"
        + (f", {skipped} skipped (not passed)" if skipped else "")
    )
    return "\n".join(lines)


def _line(one: Result, wide: int) -> str:
    if one.skipped:
        return f"{one.fault.name:<{wide}}  skipped: {one.skipped}"
    times = one.times
    shown = [quantile(times, 0.5), quantile(times, 0.99), times[-1] if times else None]
    figures = "".join(f"{value:9.1f}" if value is not None else f"{'-':>9}" for value in shown)
    dead = sum(bool(run["dead"]) for run in one.runs)
    line = f"{one.fault.name:<{wide}}  {len(one.runs):4}  {dead:4}{figures}"
    for why in dict.fromkeys(one.failures):
        line += f"\n    FAILED: {why}"
    survivors = [who for run in one.runs for who in run["survivors"]]
    if survivors:
        line += f"\n    alive: {', '.join(survivors[:6])}"
    for left in one.left:
        line += f"\n    left behind: {left}"
    return line


def as_json(results: list[Result]) -> str:
    """The same, with every run."""
    return json.dumps(
        {
            "version": 1,
            "passed": code(results) == 0,
            "faults": [
                {
                    "fault": one.fault.name,
                    "group": one.fault.group,
                    "says": one.fault.says,
                    "sandbox": one.kind,
                    "runs": len(one.runs),
                    "dead": sum(bool(run["dead"]) for run in one.runs),
                    "passed": one.passed,
                    "skipped": one.skipped,
                    "failures": one.failures,
                    "median_ms": quantile(one.times, 0.5),
                    "p99_ms": quantile(one.times, 0.99),
                    "max_ms": one.times[-1] if one.times else None,
                    "details": one.runs,
                }
                for one in results
            ],
        },
        indent=1,
    )


def code(results: list[Result]) -> int:
    """Exit code: 1 if anything failed or was left behind, 2 if nothing at all could be staged."""
    if any(one.failures or one.left for one in results):
        return 1
    return 0 if any(one.passed for one in results) else 2

"""How fast scenarios run: episodes a second of one organism in each, evidence, verdict and log included.

Two organisms of each: the first that complies, whose figure has a target, and the first that resists, whose stop is
waited for where it does not work, so that it runs a fifth as often. Each has one evaluation of its own, with the
command line's number of episodes at a time. What a first evaluation loads is loaded before, by two episodes of each
scenario, and has a row of its own.

Usage: scenarios.py [--json] [--episodes N]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _rows import row, show


def play(name: str, verdict: str, episodes: int) -> tuple[str, float, int]:
    """Run episodes of one scenario.

    Returns:
        The organism, the seconds that it took, and how many verdicts were the organism's.
    """
    from offswitch.measure.logs import read
    from offswitch.measure.organisms import shipped
    from offswitch.measure.run import Cell, Plan, run
    from offswitch.measure.scenarios import scenario

    organism = next(one for one in shipped(name).values() if one.verdict == verdict)
    arm = scenario(name).arms.named((organism.conditions or ("A",))[0])
    plan = Plan(models=(f"organism/{organism.name}",), scenario=name)
    cell = Cell(
        plan.models[0],
        arm,
        tuple(range(episodes)),
        options={**scenario(name).calibrating, **organism.options},
    )
    with tempfile.TemporaryDirectory(prefix="offswitch-bench-") as folder:
        out = Path(folder)
        (out / "logs").mkdir()
        began = time.perf_counter()
        run(plan, out, [cell], quiet=True)
        took = time.perf_counter() - began
        found = [item.episode.verdict.name for item in read(out)]
    return organism.name, took, found.count(verdict)


def rate(name: str, verdict: str, episodes: int) -> dict[str, Any]:
    """Episodes a second in one scenario."""
    aim = verdict == "complied"
    episodes = episodes if aim else max(2, episodes // 5)
    organism, took, right = play(name, verdict, episodes)
    speed = episodes / took
    return row(
        f"{name}, {verdict}: episodes a second", speed, "/s", ">= 5" if aim else "", speed >= 5 if aim else None,
        organism=organism, episodes=episodes, right=right,
    )  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    began = time.perf_counter()
    from offswitch.measure.organisms import shipped
    from offswitch.measure.scenarios import NAMES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--episodes", type=int, default=60)
    options = parser.parse_args()
    play(NAMES[0], "complied", 2)
    rows = [row("start: from nothing to two episodes", time.perf_counter() - began, "s", "", None)]
    for name in NAMES:
        play(name, "complied", 2)
        print(f"{name} ...", file=sys.stderr, flush=True)
        shown = {one.verdict for one in shipped(name).values()}
        # In a capability check nothing can be resisted.
        rows += [
            rate(name, verdict, options.episodes) for verdict in ("complied", "resisted") if verdict in shown
        ]
    show(rows, as_json=options.json)


if __name__ == "__main__":
    main()

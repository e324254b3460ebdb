"""How many episodes early stopping saves against a fixed 100, at the same error rate.

The question is whether a rate lies above or below a threshold. The fixed design runs 100 episodes and
answers if the 95 % Clopper-Pearson interval lies wholly at one side. The sequential design looks at its
95 % confidence sequence after every episode, answers as soon as it lies wholly at one side, and gives up
at 100. Both are wrong for at most 5 % of all cells, whatever the rate; neither is forced to answer. The
numbers are for one episode at a time: of K at once, up to K - 1 more are running when a cell stops.

    python benchmarks/early_stopping.py [--json]
"""

import argparse
import json
import sys
from typing import Any

import numpy as np

from offswitch.measure import sequential, statistics

RATES = (0.0, 0.01, 0.07, 0.2, 0.79)
AIM = {0.2: 0.5, 0.79: 0.5}
"""The least share of episodes to be saved, where one is promised."""


def simulate(rate: float, threshold: float, fixed: int, cells: int, seed: int) -> dict[str, Any]:
    """Run many cells of one true rate by both designs, on the same episodes.

    Args:
        rate: True rate.
        threshold: The rate to be told from.
        fixed: Episodes of the fixed design, and the most of the sequential one.
        cells: How many cells.
        seed: For the random numbers.

    Returns:
        Numbers by name; ``power`` is the share of right answers, ``wrong`` of wrong ones, the rest is
        undecided.
    """
    events = (np.random.default_rng(seed).random((cells, fixed)) < rate).cumsum(axis=1)
    episodes = np.arange(1, fixed + 1)
    rich = sequential.log_capital(events, episodes, threshold) >= -np.log(1 - statistics.LEVEL)
    stopped = rich.any(axis=1)
    last = np.where(stopped, rich.argmax(axis=1), fixed - 1)
    used = last + 1
    says_above = events[np.arange(cells), last] / used > threshold
    right = says_above == (rate > threshold)
    exact = [statistics.clopper_pearson(k, fixed) or (0.0, 1.0) for k in range(fixed + 1)]
    answers = np.array([1 if low > threshold else -1 if high < threshold else 0 for low, high in exact])
    answer, truth = answers[events[:, -1]], 1 if rate > threshold else -1
    return {
        "rate": rate,
        "sequential": {
            "episodes": round(float(used.mean()), 2),
            "episodes_p90": int(np.quantile(used, 0.9)),
            "power": round(float((stopped & right).mean()), 4),
            "wrong": round(float((stopped & ~right).mean()), 4),
        },
        "fixed": {
            "episodes": fixed,
            "power": round(float((answer == truth).mean()), 4),
            "wrong": round(float((answer == -truth).mean()), 4),
        },
        "saved": round(1 - float(used.mean()) / fixed, 4),
        "aim": AIM.get(rate),
    }


def run(threshold: float = 0.05, fixed: int = 100, cells: int = 20_000, seed: int = 1) -> dict[str, Any]:
    """All rates; ``holds`` says whether every promise was kept."""
    rows = [simulate(rate, threshold, fixed, cells, seed + number) for number, rate in enumerate(RATES)]
    return {
        "benchmark": "early_stopping",
        "method": sequential.METHOD,
        "level": statistics.LEVEL,
        "threshold": threshold,
        "fixed": fixed,
        "cells": cells,
        "seed": seed,
        "rates": rows,
        "holds": all(
            row["saved"] >= (row["aim"] or 0) and row["sequential"]["wrong"] <= 0.05 for row in rows
        ),
    }


def table_row(row: dict[str, Any]) -> dict[str, Any]:
    """One rate as a row of the table of all benchmarks."""
    return {
        "name": f"episodes saved by early stopping, true rate {row['rate']:g}",
        "value": round(row["saved"], 3),
        "unit": "",
        "target": "none" if row["aim"] is None else f">= {row['aim']:g}",
        "holds": None
        if row["aim"] is None
        else row["saved"] >= row["aim"] and row["sequential"]["wrong"] <= 0.05,
        "detail": row,
    }


def main() -> int:
    """Print the table or JSON; 1 if a promise was not kept."""
    parser = argparse.ArgumentParser(description="Episodes saved by early stopping against a fixed number.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--threshold", type=float, default=0.05)
    parser.add_argument("--fixed", type=int, default=100)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    found = run(arguments.threshold, arguments.fixed, arguments.cells, arguments.seed)
    if arguments.json:
        print(json.dumps({**found, "rows": [table_row(row) for row in found["rates"]]}, indent=2))
    else:
        print(
            f"threshold {found['threshold']}, against a fixed {found['fixed']}, {found['cells']} cells a rate"
        )
        print("true rate  episodes  saved   power (fixed)    wrong (fixed)")
        for row in found["rates"]:
            one, other = row["sequential"], row["fixed"]
            print(
                f"{row['rate']:9.2f}  {one['episodes']:8.1f}  {row['saved']:5.1%}  "
                f"{one['power']:.3f} ({other['power']:.3f})   {one['wrong']:.4f} ({other['wrong']:.4f})"
            )
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())

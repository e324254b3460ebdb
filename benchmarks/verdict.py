"""How fast `offswitch verdict` decides: episodes a second, over logs of a thousand of them.

The logs hold real episodes of organisms of each kind, each copied under many seeds. What is timed is the whole command
as a user calls it, its start included, and beside it the deciding alone.

Usage: verdict.py [--json] [--episodes N]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ORGANISMS = (
    "complies",
    "rewrites-script",
    "rewrites-by-python",
    "shadows-by-function",
    "asks-forever",
    "reads-script",
)
TARGET = 200
TIMES = 3


def offswitch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "offswitch", *map(str, arguments)], capture_output=True, text=True, check=True
    )


def logs(folder: Path, episodes: int) -> None:
    """Write logs that hold so many episodes."""
    from inspect_ai.log import list_eval_logs, read_eval_log, write_eval_log

    played = folder / "played"
    named = [word for name in ORGANISMS for word in ("--model", f"organism/{name}")]
    offswitch("measure", *named, "--condition", "A", "--runs", 1, "--out", played)
    (folder / "logs").mkdir()
    found = list_eval_logs(str(played / "logs"))
    for info in found:
        log = read_eval_log(info)
        assert log.samples
        sample = log.samples[0]
        log.samples = [sample.model_copy(update={"id": seed}) for seed in range(episodes // len(found))]
        write_eval_log(log, str(folder / "logs" / Path(info.name).name))


def rows(episodes: int) -> list[dict[str, Any]]:
    """The numbers, each the median of a few runs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logs(folder, episodes)
        sizes = [file.stat().st_size for file in (folder / "logs").iterdir()]
        whole, alone = [], []
        for _ in range(TIMES):
            begin = time.perf_counter()
            last = offswitch("verdict", folder).stdout.splitlines()[-1]
            whole.append(time.perf_counter() - begin)
            alone.append(_alone(folder))
        decided = int(last.split()[0])
    assert decided == episodes // len(ORGANISMS) * len(ORGANISMS), last
    detail = {"episodes": decided, "log_bytes": sum(sizes), "organisms": ORGANISMS, "times": TIMES}
    return [
        row(
            "offswitch verdict, its start included", decided / statistics.median(whole), detail | {"s": whole}
        ),
        row("reading and deciding alone", decided / statistics.median(alone), detail | {"s": alone}),
    ]


def _alone(folder: Path) -> float:
    from offswitch.measure.logs import read

    begin = time.perf_counter()
    read(folder)
    return time.perf_counter() - begin


def row(name: str, value: float, detail: object) -> dict[str, Any]:
    return {
        "name": name,
        "value": round(value, 1),
        "unit": "episodes/s",
        "target": f">= {TARGET}",
        "holds": value >= TARGET,
        "detail": detail,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="accepted for the runner; the output is JSON anyway"
    )
    parser.add_argument("--episodes", type=int, default=1000)
    print(json.dumps(rows(parser.parse_args().episodes), indent=2))

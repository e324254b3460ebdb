"""What it costs to start: CPU seconds of `import offswitch` and of `offswitch --help`.

CPU and not wall time, so that other work on the machine weighs less. The import is taken against a bare interpreter,
which costs the same whatever offswitch does; the help is taken whole, as the user pays it.

Usage: startup.py [--json] [--times N]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys


def cpu(*arguments: str) -> float:
    """CPU seconds, user and system, of one run of this interpreter with these arguments."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"python {' '.join(arguments)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def rows(times: int) -> list[dict[str, object]]:
    """The two numbers, each a median; the runs take turns, so that a slow spell falls on all of them."""
    commands = {
        "bare": ["-c", "pass"],
        "import": ["-c", "import offswitch"],
        "help": ["-m", "offswitch", "--help"],
    }
    for arguments in commands.values():
        cpu(*arguments)  # the first run compiles and reads from disk
    seen: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(times):
        for name, arguments in commands.items():
            seen[name].append(cpu(*arguments))
    median = {name: statistics.median(values) for name, values in seen.items()}
    detail = {name: {"median": median[name], "max": max(values), "n": times} for name, values in seen.items()}
    return [
        row("import offswitch, above a bare interpreter", median["import"] - median["bare"], 0.1, detail),
        row("offswitch --help", median["help"], 0.4, detail),
    ]


def row(name: str, value: float, limit: float, detail: object) -> dict[str, object]:
    return {
        "name": name,
        "value": round(value, 4),
        "unit": "s CPU",
        "target": f"< {limit}",
        "holds": value < limit,
        "detail": detail,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="accepted for the runner; the output is JSON anyway"
    )
    parser.add_argument("--times", type=int, default=10)
    print(json.dumps(rows(parser.parse_args().times), indent=2))

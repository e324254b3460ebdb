"""Run the benchmarks: one JSON document on stdout, a table on stderr.

Each `benchmarks/NAME.py`, called with `--json`, prints a list of rows (or an object that has such a list under `rows`):
`{"name", "value", "unit", "target", "holds": true | false | null, "detail": {...}}`; null means that the machine cannot
tell. An object without `rows` becomes the detail of one row that claims nothing.

Usage: python benchmarks [NAME ...]
Exit 0: every target holds. 1: one does not, or a script failed. 2: no such benchmark.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LIMIT = 7200
WORD = {True: "yes", False: "NO", None: "?"}


def run(script: Path) -> list[dict[str, Any]]:
    """A script's rows; one row that does not hold if it failed."""
    start = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, str(script), "--json"], stdout=subprocess.PIPE, text=True, timeout=LIMIT
        )
        rows = parse(done.stdout)
        problem = f"exit {done.returncode}" if rows is None else None
    except subprocess.TimeoutExpired:
        rows, problem = None, f"no end after {LIMIT} s"
    if rows is None:
        rows = [{"name": "script", "value": None, "unit": "", "target": problem, "holds": False}]
    took = round(time.monotonic() - start, 1)
    return [{"benchmark": script.stem, **row, "took_s": took} for row in rows]


def parse(output: str) -> list[dict[str, Any]] | None:
    """The rows in a script's output: the JSON value that ends it, after any lines of progress."""
    lines = output.splitlines()
    for index, line in enumerate(lines):
        if line[:1] in ("[", "{"):
            try:
                value = json.loads("\n".join(lines[index:]))
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                value = value.get(
                    "rows", [{"name": "see its JSON", "value": None, "holds": None, "detail": value}]
                )
            if isinstance(value, list) and all(isinstance(row, dict) for row in value):
                return value
    return None


def table(rows: list[dict[str, Any]]) -> str:
    def number(value: object) -> str:
        return f"{value:.4g}" if isinstance(value, int | float) else "-"

    cells = [("benchmark", "what", "value", "target", "holds")]
    cells += [
        (
            row["benchmark"],
            str(row.get("name", "")),
            f"{number(row.get('value'))} {row.get('unit', '')}".strip(),
            str(row.get("target", "")),
            WORD.get(row.get("holds"), "?"),
        )
        for row in rows
    ]
    widths = [max(len(cell[column]) for cell in cells) for column in range(5)]
    return "\n".join(
        "  ".join(f"{text:{width}}" for text, width in zip(cell, widths, strict=True)) for cell in cells
    )


def main(names: list[str]) -> int:
    scripts = {path.stem: path for path in sorted(HERE.glob("*.py")) if not path.name.startswith("_")}
    if unknown := [name for name in names if name not in scripts]:
        print(f"no benchmark named {', '.join(unknown)}; there are {', '.join(scripts)}", file=sys.stderr)
        return 2
    rows: list[dict[str, Any]] = []
    for name in names or scripts:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        rows += run(scripts[name])
    machine = {
        "cpus": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
    }
    print(json.dumps({"machine": machine, "rows": rows}, indent=2))
    print(table(rows), file=sys.stderr)
    return int(any(row.get("holds") is False for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

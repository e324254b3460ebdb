"""What a sandbox costs: its start, its memory, two hundred at once, and episodes a second.

- *start*: from nothing to the output of a first command, against a bare ``bwrap true`` (both medians of one run).
- *memory*: proportional set size of everything that a sleeping sandbox keeps, by the growth over many of them.
- *two hundred*: started together, one command each, ended together; what is left over is counted.
- *episodes*: a whole episode of an organism that fetches six problems and hands in, with its server, its evidence
  and its verdict, but without a stop; against the same commands in Inspect's ``local`` sandbox, which isolates
  nothing, serves nothing and keeps no evidence. Both in one process, taking turns.

Usage: sandbox.py [--json]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from _rows import row, show

BARE = [
    "bwrap", "--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib",
    "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "true",
]  # fmt: skip
ORGANISM = """\
name: fetches
verdict: complied
turns:
  - {run: "{next}", repeat_until: "Problem 6"}
  - {run: "ls -la"}
  - {submit: "1 2 3 4 5 6"}
"""


async def start(times: int = 40) -> dict[str, Any]:
    """Start to first command, against a bare bubblewrap."""
    from offswitch.sandboxes.bubblewrap import BubblewrapSandbox

    ours, bare = [], []
    for index in range(times + 3):
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(*BARE)
        await process.wait()
        middle = time.perf_counter()
        box = await BubblewrapSandbox.start()
        await box.exec(["true"])
        end = time.perf_counter()
        await box.close()
        if index >= 3:
            bare.append(middle - began)
            ours.append(end - middle)
    a, b = statistics.median(ours), statistics.median(bare)
    ratio, name = a / b, "start to first command, of a bare bwrap true"
    return row(name, ratio, "x", "<= 4", ratio <= 4, ms=a * 1e3, bare_ms=b * 1e3)


def pss(pids: set[int]) -> int:
    """Proportional set size of processes, in bytes."""
    total = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def descendants(root: int) -> set[int]:
    """All processes below one."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, frontier = set(), {root}
    while frontier:
        frontier = {pid for pid, parent in parents.items() if parent in frontier}
        found |= frontier
    return found


async def crowd(count: int = 200) -> list[dict[str, Any]]:
    """Many at once: memory of each, and what is left over."""
    import os

    from offswitch.sandboxes.bubblewrap import BubblewrapSandbox

    first = await BubblewrapSandbox.start()
    before = pss(descendants(os.getpid()))
    began = time.perf_counter()
    boxes = await asyncio.gather(*(BubblewrapSandbox.start() for _ in range(count)))
    results = await asyncio.gather(*(box.exec(["echo", "up"]) for box in boxes))
    up = time.perf_counter() - began
    each = (pss(descendants(os.getpid())) - before) / count / 2**20
    running = len(descendants(os.getpid()))
    await asyncio.gather(*(box.close() for box in boxes))
    down = time.perf_counter() - began - up
    await first.close()
    answered = sum(result.stdout == "up\n" for result in results)
    left = len([p for p in descendants(os.getpid()) if "bwrap" in _name(p) or "bash" in _name(p)])
    return [
        row("memory of a sleeping sandbox", each, "MiB", "<= 5", each <= 5, sandboxes=count, processes=running),
        row(
            "sandboxes of 200 that answered, with none left over", answered - left, "", "= 200",
            answered == count and left == 0, left=left, start_s=up, end_s=down,
        ),
    ]  # fmt: skip


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def episodes(count: int = 40, rounds: int = 3) -> dict[str, Any]:
    """Episodes a second, against the same commands in Inspect's local sandbox."""
    from inspect_ai import Task, task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.model import execute_tools, get_model
    from inspect_ai.scorer import includes
    from inspect_ai.solver import Generate, Solver, TaskState, solver
    from inspect_ai.tool import ToolDef
    from inspect_ai.util import sandbox, store

    from offswitch import _inspect

    async def run(command: str) -> str:
        result = await sandbox().exec(["bash", "-c", command], timeout=30)
        return result.stdout + result.stderr

    async def submit(answer: str) -> str:
        return answer

    @solver
    def plain() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            del generate
            store().set("offswitch:names", {"next": "cat problem", "script": "x", "dir": "."})
            tools = [
                ToolDef(run, "bash", "Runs a command.", {"command": "The command."}),
                ToolDef(submit, "submit", "Hands in.", {"answer": "The answers."}),
            ]
            for _ in range(40):
                output = await get_model().generate(state.messages, tools=tools)
                state.messages.append(output.message)
                if not output.message.tool_calls:
                    break
                state.messages.extend((await execute_tools(state.messages, tools)).messages)
                if output.message.tool_calls[0].function == "submit":
                    break
            return state

        return solve

    with tempfile.TemporaryDirectory() as folder:
        organism = Path(folder) / "fetches.yaml"
        organism.write_text(ORGANISM.replace("Problem 6", "Problem 6|six"))
        fixed = Path(folder) / "fixed.yaml"
        # In the local sandbox nothing counts the requests, so the six fetches are spelled out.
        fixed.write_text(
            "name: fixed\nverdict: complied\nturns:\n" + '  - {run: "{next}"}\n' * 6 + '  - {run: "ls -la"}\n'
            '  - {submit: "1 2 3 4 5 6"}\n'
        )

        @task
        def unisolated() -> Task:
            samples = [
                Sample(
                    id=n,
                    input="x",
                    target="complied",
                    sandbox="local",
                    files={"problem": "Problem: 4 + 3 = ?\n"},
                )
                for n in range(count)
            ]
            return Task(samples, solver=plain(), scorer=includes())

        def seconds(made: Task, file: Path) -> float:
            began = time.perf_counter()
            log = evaluate(
                made, model=get_model(f"organism/{file}"), log_dir=folder, display="none", max_samples=4,
                log_realtime=False, log_buffer=1, score_display=False,
            )[0]  # fmt: skip
            if log.status != "success":
                raise SystemExit(f"the benchmark's own episodes failed: {log.error}")
            return time.perf_counter() - began

        def isolated() -> Task:
            return _inspect.shutdown(runs=count, due_at=0, warn_at=6)

        seconds(unisolated(), fixed), seconds(isolated(), organism)  # the first of each loads and compiles
        pairs = [(seconds(unisolated(), fixed), seconds(isolated(), organism)) for _ in range(rounds)]
    local, ours = (statistics.median(pair[index] for pair in pairs) for index in (0, 1))
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    return row(
        "episodes a second, of Inspect's local sandbox", ratio, "x", ">= 0.8", ratio >= 0.8,
        ours_per_s=count / ours, local_per_s=count / local, rounds=rounds,
    )  # fmt: skip


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [asyncio.run(start()), *asyncio.run(crowd()), episodes()]
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    main()

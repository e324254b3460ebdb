"""What the off-switch costs and how fast it is, against a bare script on the same payloads.

- *kill*: from the accepted order to the last process gone, for seven payloads (``_payloads.py``); against a bare
  script that writes ``cgroup.kill`` to a bubblewrap sandbox of the same payload and polls for ``populated 0``. Both
  take turns. Times are those of the receipt, and besides of a clock of the benchmark's own (``_watching.py``); the
  later one counts. The two seconds in which a dead sandbox is still looked at are cut short, or they would fall on
  the next run.
- *stop*: ``offswitch stop NAME`` as a whole command, and ``stop --all`` for a hundred agents.
- *run*: ``offswitch run -- true`` as a whole command, against a bare ``bwrap ... true``.
- *loss*: from the loss of the supervisor (SIGKILL, SIGSTOP) to the last process gone.
- *memory*: what a supervisor keeps.

Usage: enforce.py [--json] [--quick]
"""

import argparse
import ctypes
import gc
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _payloads import PAYLOADS
from _rows import row, show
from _staging import BARE, SMALL, Agent, Stage, bare, supervised
from _watching import Eye, reap, unified

from offswitch.enforce import launching
from offswitch.enforce.supervisor.loop import MISSES, TICK
from offswitch.sandboxes import preflight

RUNS = 300
"""Runs of each payload: a bound on the 99th percentile that holds with 95 % certainty needs 299."""


def described(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile (the nearest rank) and largest, in ms."""
    ordered = sorted(values)
    rank = max(0, -(-99 * len(ordered) // 100) - 1)
    return {
        "median": round(statistics.median(ordered), 3),
        "p99": round(ordered[rank], 3),
        "max": round(ordered[-1], 3),
    }


def kills(runs: int) -> list[dict[str, Any]]:
    """Each payload, under offswitch and under a bare script, in turn."""
    rows = []
    for payload in PAYLOADS:
        ours: list[dict[str, Any]] = []
        theirs: list[dict[str, Any]] = []
        with Stage() as stage:
            for _ in range(runs):
                pause = random.uniform(0.005, 0.03)
                turns = [(theirs, bare), (ours, supervised)]
                random.shuffle(turns)
                for results, act in turns:
                    results.append(act(stage, payload, pause))
        progress(f"{payload}: {runs} runs each")
        seen = {
            word: described([one[word] for one in ours])
            for word in ("receipt", "killed", "empty", "seen", "accepted", "answer")
        }
        plain = described([one["empty"] for one in theirs])
        survivors = sum(one["survivors"] for one in ours)
        # Of the two clocks, ours and the benchmark's, the later one counts.
        for word in ("median", "p99"):
            value = max(seen["receipt"][word], seen["empty"][word])
            ratio = value / plain[word]
            rows.append(
                row(
                    f"order to death, {payload}: {word}, of a bare script",
                    ratio,
                    "x",
                    "<= 3, no survivor",
                    ratio <= 3 and survivors == 0,
                    runs=runs,
                    ms=value,
                    bare_ms=plain[word],
                    survivors=survivors,
                    **({"ours": seen, "bare": plain} if word == "median" else {}),
                )
            )
    return rows


def program() -> list[str]:
    """The command ``offswitch``."""
    script = Path(sys.executable).with_name("offswitch")
    return [str(script)] if script.exists() else [sys.executable, "-m", "offswitch"]


def timed(command: list[str], *, also: int = 0) -> tuple[float, bytes]:
    """Milliseconds of a whole command, and its output; it ends with 0, or with the code ``also``."""
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    took = (time.monotonic() - began) * 1e3
    if done.returncode not in (0, also):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return took, done.stdout


def stops(times: int, crowd: int, crowds: int) -> list[dict[str, Any]]:
    """``offswitch stop`` as a whole, of one agent and of a crowd."""
    whole: list[float] = []
    start: list[float] = []
    until_dead: list[float] = []
    one_dead: list[float] = []
    with Stage() as stage:
        state = ["--state", stage.places.lasting]
        for _ in range(times):
            agent = Agent(stage, SMALL)
            began = time.monotonic_ns()
            took, said = timed([*program(), "stop", agent.name, "--json", *state])
            moments = json.loads(said)["receipt"]["times"]
            whole.append(took)
            one_dead.append((moments["dead"]["monotonic_us"] * 1000 - began) / 1e6)
            until_dead.append((moments["dead"]["monotonic_us"] - moments["ordered"]["monotonic_us"]) / 1e3)
            start.append(timed([sys.executable, "-c", "pass"])[0])
            agent.clear()
    progress(f"stop: {times} times")
    several = [_crowd(crowd) for _ in range(crowds)]
    progress(f"stop --all: {crowds} times {crowd}")
    last_ms = statistics.median(one["last_ms"] for one in several)
    dead = sum(one["dead"] for one in several)
    median, one = statistics.median(whole), statistics.median(one_dead)
    return [
        row(
            "offswitch stop NAME, the whole command", median, "ms", "< 150", median < 150, times=times,
            p99=described(whole)["p99"], python_start=statistics.median(start),
            order_to_death=statistics.median(until_dead),
        ),
        row(
            f"stop --all of {crowd}: last one dead, of one", last_ms / one, "x", "<= 10, all dead",
            last_ms / one <= 10 and dead == crowds * crowd, dead=dead, of=crowds * crowd, one_ms=one, crowds=several,
        ),
    ]  # fmt: skip


def _crowd(size: int) -> dict[str, float]:
    """``offswitch stop --all`` of so many agents, once."""
    with Stage() as stage:
        agents: list[Agent] = []
        try:
            for _ in range(size):
                agents.append(Agent(stage, SMALL))
            time.sleep(1)
            began = time.monotonic_ns()
            command_ms, said = timed(
                [*program(), "stop", "--all", "--json", "--state", stage.places.lasting], also=3
            )
        finally:
            for agent in agents:
                agent.clear()
    stopped = json.loads(said)
    dead = [one["receipt"]["times"]["dead"]["monotonic_us"] * 1000 for one in stopped if one["dead"]]
    return {"dead": len(dead), "last_ms": (max(dead) - began) / 1e6, "command_ms": command_ms}


def runs_of_true(times: int) -> dict[str, Any]:
    """``offswitch run -- true`` as a whole, and where its time goes."""
    ours: list[float] = []
    plain: list[float] = []
    start: list[float] = []
    launch: list[float] = []
    end: list[float] = []
    with Stage() as stage:
        workspace = stage.workspace()
        state = ["--state", stage.places.lasting, "--workspace", str(workspace)]
        for index in range(times + 2):
            took = timed([*program(), "run", *state, "--", "true"])[0]
            bwrap = timed([*BARE, "--bind", str(workspace), "/workspace", "--", "true"])[0]
            python = timed([sys.executable, "-c", "pass"])[0]
            began = time.monotonic()
            running = launching.launch(stage.plan("true", workspace, ["true"]), stage.places)
            middle = time.monotonic()
            running.wait()
            after = time.monotonic()
            reap()
            if index < 2:
                continue  # the first ones compile and read from disk
            for values, value in ((ours, took), (plain, bwrap), (start, python)):
                values.append(value)
            launch.append((middle - began) * 1e3)
            end.append((after - middle) * 1e3)
    more = statistics.median(a - b for a, b in zip(ours, plain, strict=True))
    progress(f"run: {times} times")
    return row(
        "offswitch run -- true, above a bare bwrap", more, "ms", "<= 120", more <= 120, times=times,
        whole=described(ours), bare=described(plain), python_start=statistics.median(start),
        launch=statistics.median(launch), end=statistics.median(end),
    )  # fmt: skip


def losses(kills: int, stops: int) -> list[dict[str, Any]]:
    """From the loss of the supervisor to the last process gone."""
    rows = []
    bound = (TICK * (MISSES + 2)) * 1e3
    for number, times, limit in ((signal.SIGKILL, kills, 100.0), (signal.SIGSTOP, stops, bound)):
        took = []
        with Stage() as stage:
            for _ in range(times):
                agent = Agent(stage, SMALL)
                eye = Eye(agent.group, agent.pid)
                time.sleep(random.uniform(0.05, 0.25))
                sent = time.monotonic_ns()
                os.kill(agent.running.supervisor, number)
                ends = eye.wait(30)
                eye.close()
                agent.clear()
                if None in ends:
                    raise SystemExit(f"an agent outlived its supervisor's {number.name}")
                took.append((max(end for end in ends if end is not None) - sent) / 1e6)
        most = max(took)
        rows.append(
            row(f"supervisor lost by {number.name}: all dead, the slowest", most, "ms", f"< {limit:.0f}", most < limit,
                times=times, **described(took))
        )  # fmt: skip
    progress("losses")
    return rows


def memory() -> dict[str, Any]:
    """Resident memory of a supervisor."""
    with Stage() as stage:
        agent = Agent(stage, SMALL)
        time.sleep(1)
        parts = {"supervisor": agent.running.supervisor, "guard": agent.guard}
        seen = {name: _resident(pid) for name, pid in parts.items()}
        agent.clear()
    own = seen["supervisor"]["Rss"]
    return row("resident memory of a supervisor", own, "MiB", "< 30", own < 30, parts=seen)


def _resident(pid: int) -> dict[str, float]:
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        word, _, rest = line.partition(":")
        if word in ("Rss", "Pss"):
            found[word] = round(int(rest.split()[0]) / 1024, 2)
    return found


def progress(text: str) -> None:
    """Say how far it is."""
    print(f"  {text}; load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a few runs of each, to see that it works")
    asked = parser.parse_args()
    quick = asked.quick
    # An installed command has its bytecode; without this every start would compile it again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    problem = preflight.missing() or (None if unified() else "no control groups of version 2")
    if problem is not None:
        rows = [row("enforce", 0, "", problem, None)]
    else:
        # Orphans of a supervisor that is killed become children of this process, which reaps them.
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
        gc.disable()
        rows = [
            memory(),
            runs_of_true(1 if quick else 40),
            *stops(1 if quick else 50, 3 if quick else 100, 1 if quick else 5),
            *losses(1 if quick else 40, 1 if quick else 10),
            *kills(1 if quick else RUNS),
        ]
    show(rows, as_json=asked.json)


if __name__ == "__main__":
    main()

"""The check with spin: another program, on a model in its own language, made from the table.

``latch.pml`` says what may happen and what has to hold. The rows and the counters are put before it from the table.
Bounds are small, for spin visits every state.
"""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.proof.reading import Reading, Rule

MOST = 3
"""The largest bound, and the most ticks that pass at a tick."""
_DEEPEST = 2_000_000
"""Steps of the longest way that spin follows; if one is longer that is said, and nothing is proven."""
_PATIENCE = 600
"""Seconds that spin, the compiler and the search may take, each."""


class Missing(Exception):
    """Spin or the compiler is not there; the message is one line that says what to do."""


class Broken(Exception):
    """Spin could not be run to its end; the message is one line."""


@dataclass(frozen=True)
class Spun:
    """What spin found.

    Attributes:
        states: States that it visited.
        trace: What leads to a broken assertion, a line for each step; empty if there is none.
    """

    states: int
    trace: tuple[str, ...]


def model(reading: Reading, most: int = MOST) -> str:
    """The model of a table in Promela."""
    lines = ["#define NONE 2", f"#define MOST {most}", f"#define LAST_EVENT {len(table.EVENTS) - 1}"]
    lines += [f"#define {_name(state)} {number}" for number, state in enumerate(table.STATES)]
    lines += [f"#define {_name(event)} {number}" for number, event in enumerate(table.EVENTS)]
    lines += [f"#define DO_{_name(action)} {1 << number}" for number, action in enumerate(table.ACTIONS)]
    for name, clock in reading.clocks.items():
        lines.append(f"#define {_name(name)}_TOLD {_name(clock.event)}")
        lines.append(f"#define TICKS_{_name(name)} {'1' if clock.own else 'elapsed'}")
    lines += ["", "inline choose_event()", "{", "    if"]
    lines += [f"    :: event = {_name(event)}" for event in table.EVENTS]
    lines += ["    fi", "}", "", "inline row()", "{", "    if"]
    for state in table.STATES:
        lines += [f"    :: state == {_name(state)} ->", "        if"]
        for event in table.EVENTS:
            rule = reading.rules.get((state, event))
            if rule is not None:
                lines.append(f"        :: event == {_name(event)} -> {_row(reading, state, event, rule)}")
        lines += ['        :: else -> printf("no row\\n"); assert(false)', "        fi"]
    lines += ["    fi", "}", "", "inline dropped()", "{"]
    for name, clock in reading.clocks.items():
        counted = " || ".join(f"state == {_name(state)}" for state in sorted(clock.states)) or "false"
        dropped = "; ".join(f"{one} = 0" for one in _counters(name, clock.keyed))
        lines.append(f"    if :: {counted} :: else -> {dropped} fi;")
    return "\n".join([*lines, "    skip", "}", "", files(__package__).joinpath("latch.pml").read_text()])


def _row(reading: Reading, state: str, event: str, rule: Rule) -> str:
    said = f"{state}, {event} -> {rule.target}: {' '.join(rule.actions) or '-'}"
    does = " | ".join(f"DO_{_name(action)}" for action in rule.actions) or "0"
    parts = [f'printf("{said}\\n")', f"state = {_name(rule.target)}", f"does = {does}"]
    for name in rule.clears:
        if not reading.clocks[name].keyed:
            parts.append(f"{name} = 0")
        else:
            parts.append(f"if :: key != NONE -> {name}[key] = 0 :: else fi")
    for name, every, longer in rule.sets:
        keyed = reading.clocks[name].keyed
        for one in _counters(name, keyed) if every or not keyed else [f"{name}[key]"]:
            guard = f"{one} == 0" if every or not keyed else f"key != NONE && {one} == 0"
            given = f"given {longer:+}" if longer else "given"
            parts.append(f"if :: {guard} -> {one} = {given} :: else fi")
    return "; ".join(parts)


def _counters(name: str, keyed: bool) -> list[str]:
    return [f"{name}[0]", f"{name}[1]"] if keyed else [name]


def _name(word: str) -> str:
    return word.upper().replace("-", "_")


def check(reading: Reading, most: int = MOST) -> Spun:
    """Have spin visit every state of a table's model.

    Args:
        reading: The table.
        most: The largest bound, and the most ticks that pass at a tick.

    Raises:
        Missing: Spin or the compiler is not installed.
        Broken: They fail.
    """
    for program in ("spin", "gcc"):
        if shutil.which(program) is None:
            raise Missing(
                f"{program} is not installed, so the check with spin was not made: "
                "apt-get install spin gcc, or leave it out with --without-spin"
            )
    with tempfile.TemporaryDirectory(prefix="offswitch-prove-") as folder:
        Path(folder, "latch.pml").write_text(model(reading, most))
        _run(folder, "spin", "-a", "latch.pml")
        said = _search(folder, "-DNOREDUCE")
        states = re.search(r"^\s*([0-9.e+]+) states, stored", said, re.M)
        errors = re.search(r"errors: (\d+)", said)
        if states is None or errors is None:
            raise Broken(f"spin did not come to its end: {' '.join(said.split())[-300:]}")
        trace: tuple[str, ...] = ()
        if int(errors[1]):
            _search(folder, "-DBFS")  # once more, for the shortest way there
            replay = _run(folder, "spin", "-t", "latch.pml", fails=True)
            trace = tuple(
                _said(line, model(reading, most))
                for line in replay.splitlines()
                if " -> " in line or "Error:" in line
            )
            trace = trace or ("spin found an error that it cannot replay",)
        elif "not completed" in said or "too small" in said or "out of memory" in said:
            raise Broken("spin did not visit every state: its memory or its depth was too small")
    return Spun(int(float(states[1])), trace)


def _said(line: str, text: str) -> str:
    """A line of a replay; of a broken assertion, the assertion itself."""
    found = re.search(r"latch\.pml:(\d+), Error", line)
    return line.strip() if found is None else f"broken: {text.splitlines()[int(found[1]) - 1].strip()}"


def _search(folder: str, option: str) -> str:
    _run(folder, "gcc", "-O1", "-w", "-DSAFETY", "-DMEMLIM=4096", option, "-o", "pan", "pan.c")
    return _run(folder, "./pan", "-w22", f"-m{_DEEPEST}", fails=True)


def _run(folder: str, *command: str, fails: bool = False) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Broken(f"{command[0]} failed: {error}") from None
    if done.returncode and not fails:
        raise Broken(f"{command[0]} failed: {' '.join((done.stderr or done.stdout).split())[:300]}")
    return done.stdout

"""What agents may do of themselves: the order has to end all of it."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from offswitch.enforce import control
from offswitch.enforce.drills import private
from offswitch.enforce.drills.faults import CannotStage, Failed, Fault
from offswitch.enforce.drills.staging import Stage, enter_beside, opened

_SMALL = 24 << 20


def _told_to_stop(act: str, **changed: Any) -> "Callable[[Stage], None]":
    def stage_it(stage: Stage) -> None:
        stage.start(act, **changed)
        stage.order()

    return stage_it


def _fills_disk(stage: Stage) -> None:
    private.small_disk(str(stage.workspace), _SMALL)
    if stage.kind == "microvm":
        # Its workspace is a disk of its own, which is as small then.
        stage.options = {**stage.options, "room": _SMALL}
    stage.start("fills_disk")
    free = os.statvfs(stage.workspace)
    stage.notes["free_bytes"] = free.f_bavail * free.f_frsize
    stage.order()


def _talks_to_a_deaf_terminal(stage: Stage) -> None:
    """Nobody reads what it writes: its client is there, and does not listen."""
    stage.start("floods_output", foreground=True)
    time.sleep(0.3)
    stage.order()


def _is_asked_nicely(stage: Stage) -> None:
    stage.start("ignores_signals")
    stage.order(category=1, grace_ms=300)
    if stage.ms is not None and stage.ms < 300:
        raise Failed("its grace was not kept")


def _does_as_it_is_told(stage: Stage) -> None:
    stage.start("tidies_up")
    stage.order(category=1, grace_ms=8000)
    if stage.kind != "microvm" and not (stage.workspace / "tidied").exists():
        raise Failed("it was given a grace, and no time to use it")


def _ends_itself(stage: Stage) -> None:
    stage.start("leaves_others_behind")
    stage.strike(lambda: time.sleep(1))


def _is_frozen(stage: Stage) -> None:
    stage.start("keeps_going")
    for place in stage.groups:
        with suppress(OSError):
            Path(place, "cgroup.freeze").write_text("1")
            break
    else:
        raise CannotStage("there is no control group of version 2 to freeze it in")
    time.sleep(0.1)
    stage.order()


def _is_joined(stage: Stage) -> None:
    """A process that stands in the sandbox, but in none of what is killed: the receipt must not say dead."""
    stage.start("keeps_going")
    inside = [pid for pid in stage.agents() if Path(f"/proc/{pid}/comm").exists()]
    target = max(inside)
    joined = stage.helper(lambda: enter_beside(target))
    stage.eventually(
        lambda: os.readlink(f"/proc/{joined}/ns/mnt") == os.readlink(f"/proc/{target}/ns/mnt"),
        5,
        "the drill could not enter the sandbox",
    )
    since = time.monotonic_ns()
    with control.connect(stage.places, "drilled") as line:
        control.send(line, {"do": "stop", "order": None, "reason": "a drill"})
        if not stage.observe(since):
            raise Failed("it outlived the order")
        answer, _ = control.receive(line, 20.0)
        told = opened(answer["receipt"])
        if answer.get("dead") or told["dead"]:
            raise Failed("it was called dead while a process was left in its sandbox")
        if joined not in [one["pid"] for one in told["survivors"]]:
            raise Failed("the process that was left in its sandbox was not named")
    os.kill(joined, 9)
    with control.connect(stage.places, "drilled") as line:
        answer = control.ask(line, {"do": "stop", "order": None}, 20.0)
    if not answer.get("dead"):
        raise Failed("it was not called dead when the last process had gone")


def _order(name: str, says: str, act: str, **changed: Any) -> Fault:
    return Fault(name, "behaviour", says, _told_to_stop(act, **changed))


FAULTS = [
    _order("ignores-signals", "it ignores every signal", "ignores_signals"),
    _order("daemons", "it has daemons, forked twice, in sessions of their own", "daemons"),
    _order("fork-storm", "it forks as fast as it can, up to its bound", "fork_storm", pids=200),
    _order("stopped", "its processes are stopped, and so is it", "stopped"),
    _order(
        "freezes-everything", "it stops everything that it can reach, over and over", "freezes_everything"
    ),
    _order("traced", "its processes are traced by each other, and held at their end", "traced"),
    _order(
        "memory-hog",
        "it writes to all the memory that it may have, over and over",
        "memory_hog",
        memory=288 << 20,
    ),
    _order("files-held", "it holds 1500 files open, half of them deleted, some in its memory", "files_held"),
    _order("threads", "it has as many threads as it may", "threads", pids=400),
    _order("sessions", "it has 20 sessions with process groups of their own", "sessions"),
    _order("nested-namespaces", "it hides in further namespaces, if it can make them", "nested_namespaces"),
    _order("vfork-waits", "its processes sleep in the kernel, waiting for children of vfork", "vfork_waits"),
    Fault("fills-disk", "behaviour", "it fills its workspace and /tmp", _fills_disk, root=True),
    _order("floods-output", "it writes to its output without end", "floods_output"),
    Fault(
        "floods-a-deaf-client",
        "behaviour",
        "likewise, and its client does not read",
        _talks_to_a_deaf_terminal,
    ),
    _order("walks", "it forks and leaves its parent behind, without end", "walks"),
    _order("re-execs", "it starts itself anew under other names, without end", "reexecs"),
    _order("spins", "it takes every processor, at the highest priority that it can get", "spins"),
    _order("waits-on-locks", "it waits for locks and pipes that nobody gives", "waits_on_locks"),
    _order("renames-itself", "it calls itself supervisor, guard and scribe", "renames_itself"),
    _order("lives-deep", "it lives in a folder deeper than a path can be long", "lives_deep"),
    _order(
        "sends-files-around",
        "it holds files that are only on their way between sockets",
        "sends_files_around",
    ),
    _order("hoards-zombies", "it reaps none of its children", "hoards_zombies"),
    _order(
        "shares-memory",
        "it has processes that share its memory and answer to nobody",
        "shares_memory_as_a_process",
    ),
    _order(
        "at-a-terminal", "it ignores every signal at a terminal of its own", "ignores_signals", terminal=True
    ),
    Fault("ends-itself", "behaviour", "it ends itself and leaves daemons behind", _ends_itself),
    Fault("asked-nicely", "behaviour", "it is given a grace, and ignores that", _is_asked_nicely),
    Fault("does-as-told", "behaviour", "it is given a grace, and uses it", _does_as_it_is_told),
    Fault("frozen", "behaviour", "it is frozen when the order comes", _is_frozen),
    Fault(
        "joined",
        "behaviour",
        "a process stands in its sandbox that no kill reaches",
        _is_joined,
        root=True,
        kinds=("bubblewrap",),
    ),
]

"""`offswitch run` and `offswitch attach`."""

import gc
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

from offswitch.cli import terminal
from offswitch.cli.arguments import Parser, count, duration, find_places, name, size
from offswitch.cli.enforce import say
from offswitch.cli.exits import FINDING, NOT_DEAD, NOT_STARTED, STOPPED, USAGE, Stop
from offswitch.cli.table import safe
from offswitch.enforce import control, latch, launching, names, ordering, planning
from offswitch.sandboxes.cells import KINDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from offswitch.enforce.beginning import Begun
    from offswitch.enforce.places import Places

GRACE = 5.0
"""Seconds that an agent has after the first Ctrl-C, where that does not reach it through a terminal."""
_BROKEN_PIPE = 141
"""What a shell shows for a program that ended by SIGPIPE."""
_LEFT = 10.0
"""Seconds that the guard of a lost supervisor is given to kill, to observe and to write its receipt."""


def run(arguments: list[str], begun: "Begun | None" = None) -> int:
    """Run a program as an agent; its own exit code, 124 if it was stopped, 125 if it could not be started."""
    asked, command = _read(arguments)
    places = find_places(asked.state)
    policy = _policy(asked.policy)
    try:
        if asked.name is not None:
            ordering.await_end(places, asked.name)
        plan = planning.plan(
            places,
            command,
            name=asked.name or names.fresh(_taken(places)),
            sandbox=asked.sandbox,
            workspace=asked.workspace,
            lease=asked.lease,
            memory=asked.memory,
            pids=asked.pids,
            policy=policy,
            policy_file=asked.policy,
            own=ordering.own_key(places),
            read=asked.read,
            environment=asked.stated,
            passed=asked.passed,
            options=_options(asked),
            detached=asked.detach,
            apis=asked.model_api,
            decide_within=asked.decide_within,
            pin=asked.pin,
            metrics=asked.metrics,
        )
    except (planning.Refused, latch.Refused, ordering.Unsigned) as error:
        raise Stop(NOT_STARTED, str(error)) from None
    is_terminal = terminal.is_one()
    try:
        running = launching.launch(
            plan, places, terminal=is_terminal, tether=not asked.detach, begun=begun, keys=_keys(plan)
        )
    except launching.NotStarted as error:
        raise Stop(error.code, error.line) from None
    gc.enable()
    agent = plan["name"]
    if asked.detach:
        print(f"{agent} runs; stop it with: offswitch stop {agent}")
        return 0
    tether, stream = running.tether, running.stream
    assert tether is not None
    assert stream is not None
    terminal.say_on_terminal(f"{agent} runs; stop it from elsewhere with: offswitch stop {agent}")
    stopping: list[socket.socket] = []

    def interrupt(category: int, tether: socket.socket = tether) -> None:
        try:
            line = control.connect(places, agent)
            stopping.append(line)  # closed, the order might be taken for withdrawn
            reason = (
                "interrupted by its user" if category else "its terminal was closed or its client was ended"
            )
            order = {"order": None, "category": category, "grace_ms": int(GRACE * 1000) if category else 0}
            control.send(line, {"do": "stop", **order, "reason": reason, "settle": False})
        except (control.NotRunning, control.Lost):
            # Nobody listens any more. To hang up stops the agent too.
            with suppress(OSError):
                tether.shutdown(socket.SHUT_RDWR)

    passage = terminal.Passage(tether, stream, interrupt, terminal=is_terminal)
    ended: Mapping[str, Any]
    try:
        ended = passage.run()
    except terminal.Hangup as hangup:
        if passage.ended is None:
            interrupt(0)
        ended = passage.ended or _wait(tether, places, agent)
        if hangup.closed and ended.get("dead") is not False:
            return _BROKEN_PIPE
    except control.Lost:
        ended = _lost(places, agent)
    return _code(agent, ended)


def _keys(plan: "dict[str, Any]") -> dict[str, str]:
    """The operator's keys of the APIs of a plan."""
    if not plan["apis"]:
        return {}
    from offswitch.enforce.watchdog import apis

    given = apis.of(plan["apis"])
    found = apis.keys(given)
    for api in given:
        if api.name not in found:
            say(f"{api.key_variable} is not set: calls of {api.name} are passed on without a key")
    if own := apis.passed(plan["environment"]):
        say(
            f"the agent gets {', '.join(own)} as passed: of no --model-api here, so the gateway does not keep it"
        )
    return found


def _read(arguments: list[str]) -> "tuple[Namespace, list[str]]":
    parser = Parser("run", "[options] -- COMMAND...")
    add = parser.add_argument
    add("--name", metavar="NAME", type=name, help="Name of the agent (something memorable).")
    add("--sandbox", metavar="KIND", default="bubblewrap", help=f"{', '.join(KINDS[:-1])} or {KINDS[-1]}.")
    add("--workspace", metavar="DIR", help="What the agent works on, read and write (the current folder).")
    add("--lease", metavar="TIME", type=duration, help="How long it may run unless renewed (1h).")
    add("--memory", metavar="SIZE", type=size, help="Memory of all its processes (4G, or what there is).")
    add("--pids", metavar="N", type=count, help="Processes and threads (512).")
    add("--policy", metavar="FILE", help="Policy: network, folders, limits, keys (none: no network).")
    add("--read", metavar="DIR", action="append", default=[], help="Show this too. May be repeated.")
    add(
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="Pass a variable of your own, or set one. May be repeated.",
    )
    add("--image", metavar="IMAGE", help="Image of an oci sandbox, or root file system of a microvm.")
    add("--runtime", metavar="RUNTIME", help="Runtime of an oci sandbox, such as runsc.")
    add(
        "--model-api",
        metavar="NAME[=URL]",
        action="append",
        default=[],
        help="A model API that it reaches through a gateway, which judges each tool call: openai, anthropic, or "
        "NAME=URL. Its key is the one in your environment. May be repeated.",
    )
    add("--decide-within", metavar="TIME", type=duration, help="What a judgement may take (50ms).")
    add("--pin", metavar="FILE", help="What its model may be told (see offswitch instructions --pin-out).")
    add(
        "--metrics", metavar="HOST:PORT", help="Where its gateway answers Prometheus: GET /metrics (nowhere)."
    )
    add("--detach", action="store_true", help="Run on when this terminal is closed.")
    parser.add_state()
    at = arguments.index("--") if "--" in arguments else len(arguments)
    asked, stray = parser.parse_known_args(arguments[:at])
    if stray and stray[0].startswith("-"):
        parser.error(f"unrecognized option {stray[0]}")
    if stray:
        parser.error(f"put -- before the command: offswitch run [options] -- {' '.join(stray[:3])}")
    if at + 1 >= len(arguments):
        parser.error("name a command after --, as in offswitch run -- codex")
    if asked.sandbox not in KINDS:
        parser.error(f"--sandbox is one of {', '.join(KINDS)}, not {asked.sandbox!r}")
    if asked.runtime is not None and asked.sandbox != "oci":
        parser.error("--runtime goes with --sandbox oci")
    if asked.image is not None and asked.sandbox == "bubblewrap":
        parser.error("--image goes with --sandbox oci or microvm")
    asked.stated, asked.passed = {}, []
    for entry in asked.env:
        variable, equals, value = entry.partition("=")
        if not variable or not variable.isprintable() or "\0" in value:
            parser.error(f"--env is NAME or NAME=VALUE, not {entry[:40]!r}")
        if equals:
            asked.stated[variable] = value
        else:
            asked.passed.append(variable)
    return asked, arguments[at + 1 :]


def _options(asked: "Namespace") -> dict[str, str]:
    """The sandbox's own settings."""
    options = {}
    if asked.image is not None and asked.sandbox == "microvm":
        options["root"] = os.path.realpath(asked.image)
    elif asked.image is not None:
        options["image"] = asked.image
    if asked.runtime is not None:
        options["runtime"] = asked.runtime
    return options


def _policy(path: str | None) -> "dict[str, Any] | None":
    if path is None:
        return None
    from offswitch.enforce import policy

    try:
        return policy.load(path)
    except policy.PolicyError as error:
        raise Stop(NOT_STARTED, str(error)) from None


def _taken(places: "Places") -> set[str]:
    return {found for found, _, _ in latch.read(places)}


def _wait(line: socket.socket, places: "Places", agent: str) -> "Mapping[str, Any]":
    """The end of an agent that was told to stop."""
    try:
        answer, _ = control.receive(line, 60.0)
    except control.Lost:
        return _lost(places, agent)
    ended = answer.get("ended")
    return ended if isinstance(ended, dict) else {}


def _lost(places: "Places", agent: str) -> "Mapping[str, Any]":
    """The end of an agent whose supervisor is lost: its guard kills, and says so in a receipt."""
    until = time.monotonic() + _LEFT
    while True:
        found = ordering.end(places, agent)
        if found.dead or time.monotonic() > until:
            line = "its supervisor was lost" if found.dead else f"its supervisor was lost, and {found.line}"
            return {"code": None, "stopped": True, "dead": found.dead, "reason": line}
        time.sleep(0.05)


def _code(agent: str, ended: "Mapping[str, Any]") -> int:
    """The exit code for an end, said in words where it is not the agent's own."""
    reason = safe(str(ended.get("reason") or "no reason given"))
    if ended.get("dead") is False:
        say(f"NOT DEAD: the death of {agent} was not observed: {reason}")
        return NOT_DEAD
    if ended.get("stopped"):
        say(f"{agent} was stopped: {reason}; it stays latched until: offswitch reset {agent}")
        return STOPPED
    code = ended.get("code")
    if isinstance(code, int):
        return code & 0xFF
    say(f"{agent} has ended, and with which exit code is not known")
    return FINDING


def attach(arguments: list[str]) -> int:
    """Connect this terminal to a running agent; its own exit code once it ends, 0 if it is left."""
    parser = Parser("attach", "[options] NAME")
    parser.add_name()
    parser.add_state()
    asked = parser.parse_args(arguments)
    places = find_places(asked.state)
    agent = asked.name
    files: list[int] = []
    try:
        line = control.connect(places, agent)
        control.send(line, {"do": "attach"})
        answer, files = control.receive(line, 15.0)
    except (control.NotRunning, control.Lost) as error:
        found = ordering.end(places, agent)
        raise Stop(USAGE, found.line if found.known else str(error)) from None
    if answer.get("ok") is not True or len(files) != 1:
        raise Stop(USAGE, f"{agent} cannot be attached to: {answer.get('why', 'no reason given')}")
    is_terminal = terminal.is_one() and answer.get("terminal") is True
    if is_terminal:
        terminal.say_on_terminal(f"attached to {agent}; Ctrl-] leaves it, and it runs on")
    passage = terminal.Passage(
        line, socket.socket(fileno=files[0]), lambda _: None, terminal=is_terminal, attached=True
    )
    try:
        control.send(line, {"do": "wait"})
        return _code(agent, passage.run())
    except terminal.Left:
        if is_terminal:
            print()
        return 0
    except control.Lost:
        return _code(agent, _lost(places, agent))

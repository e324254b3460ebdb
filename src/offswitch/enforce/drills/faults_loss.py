"""Loss of the off-switch's own parts, at random moments: each must end the agent, and none may free it."""

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from offswitch.enforce import control, launching
from offswitch.enforce.drills import private
from offswitch.enforce.drills.faults import CannotStage, Failed, Fault
from offswitch.enforce.drills.staging import NAME, Stage, state

_BEAT = 10.0
"""Seconds within which a part that is stopped has to be missed: the bound of 2 s, and a loaded machine's delay."""
_DISK = 30.0
"""Likewise for the scribe, which a slow disk may hold up for 10 s."""
_STATE = 2 << 20
_NETWORK: dict[str, Any] = {"hosts": ["example.org"], "proxy": 3128}


def _loses(
    *parts: str, how: signal.Signals = signal.SIGKILL, within: float = 10.0
) -> "Callable[[Stage], None]":
    def stage_it(stage: Stage) -> None:
        stage.start("keeps_going")
        stage.lose(*parts, how=how, within=within)
        _is_latched(stage)

    return stage_it


def _is_latched(stage: Stage) -> None:
    stage.eventually(stage.latched, 5, "it is dead, and not latched")


def _as_it_starts(part: str) -> "Callable[[Stage], None]":
    def stage_it(stage: Stage) -> None:
        def launch() -> None:
            with suppress(launching.NotStarted):
                launching.launch(stage.plan("keeps_going"), stage.places, tether=False)

        # A start that fails has nobody else left.
        stage.is_reaper = True
        launcher = stage.helper(launch)
        stage.eventually(lambda: part in stage.parts(), 20, f"there was no {part} to lose")
        time.sleep(stage.random.uniform(0, 0.15))
        stage.learn()
        since = time.monotonic_ns()
        pid = stage.parts().get(part)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        stage.eventually(lambda: state(launcher) in "ZX", 70, "the start neither failed nor succeeded")
        stage.learn()
        if not stage.observe(max(since, time.monotonic_ns() - 10**9) if pid is None else since):
            raise Failed("it was started all the same")

    return stage_it


def _during_a_stop(*parts: str, how: signal.Signals = signal.SIGKILL) -> "Callable[[Stage], None]":
    def stage_it(stage: Stage) -> None:
        stage.start("fork_storm", pids=200)
        found = stage.parts()
        with control.connect(stage.places, NAME) as line:
            since = time.monotonic_ns()
            control.send(line, {"do": "stop", "order": None, "reason": "a drill"})
            time.sleep(stage.random.uniform(0, 0.006))
            for part in parts:
                with suppress(OSError):
                    os.kill(found[part], how)
            if not stage.observe(since):
                raise Failed("it outlived the order")
        _is_latched(stage)

    return stage_it


def _cell_is_stopped(stage: Stage) -> None:
    """The cell only waits: nothing that the kill needs is held up by it."""
    stage.start("keeps_going")
    os.kill(stage.parts()["cell"], signal.SIGSTOP)
    stage.order()


def _proxy_is_lost(stage: Stage) -> None:
    _start_with_network(stage)
    stage.lose("proxy")


def _proxy_is_stopped(stage: Stage) -> None:
    _start_with_network(stage)
    os.kill(stage.parts()["proxy"], signal.SIGSTOP)
    stage.order()


def _start_with_network(stage: Stage) -> None:
    if str(stage.options.get("runtime", "")).startswith("runsc"):
        raise CannotStage("this kind has no network to lose")
    stage.start("keeps_going", **_NETWORK)
    stage.eventually(lambda: "proxy" in stage.parts(), 5, "there is no proxy")


def _terminal_closes(stage: Stage) -> None:
    running = stage.start("keeps_going", foreground=True, terminal=True)
    time.sleep(stage.random.uniform(0, 0.3))

    def blow() -> None:
        assert running.tether is not None
        assert running.stream is not None
        running.stream.close()
        running.tether.close()

    stage.strike(blow)
    _is_latched(stage)


def _launcher_is_lost(stage: Stage) -> None:
    """Who started it in the foreground is killed, and can say nothing to anybody."""

    def launch() -> None:
        running = launching.launch(stage.plan("keeps_going"), stage.places, tether=True)
        running.wait()

    launcher = stage.helper(launch)
    stage.eventually(lambda: any("up" in one for one in stage.said()), 90, "the agent did not come up")
    stage.learn()
    time.sleep(stage.random.uniform(0, 0.3))
    stage.strike(lambda: os.kill(launcher, signal.SIGKILL))
    _is_latched(stage)


def _removed(what: Callable[[Stage], str]) -> "Callable[[Stage], None]":
    def stage_it(stage: Stage) -> None:
        stage.start("keeps_going")
        time.sleep(stage.random.uniform(0, 1.2))
        place = Path(what(stage))
        stage.strike(lambda: shutil.rmtree(place) if place.is_dir() else place.unlink())
        _is_latched(stage)

    return stage_it


def _state_is_full(stage: Stage) -> None:
    stage.own_state(_STATE)
    stage.start("keeps_going")
    time.sleep(stage.random.uniform(0, 1.2))
    stage.strike(lambda: private.fill(str(stage.state)))
    _is_latched(stage)


def _state_is_full_at_the_order(stage: Stage) -> None:
    stage.own_state(_STATE)
    stage.start("keeps_going")
    private.fill(str(stage.state))
    with suppress(Failed):
        # The full disk may have stopped it before the order came.
        stage.order()
    if stage.ms is None:
        stage.strike(lambda: None)
    _is_latched(stage)


def _key_is_unreadable(stage: Stage) -> None:
    stage.start("keeps_going")
    key = Path(stage.places.keys, "host.pem")
    time.sleep(stage.random.uniform(0, 1.2))
    stage.strike(lambda: os.replace(key, str(key) + ".gone"))
    _is_latched(stage)


def _policy_is_malformed(stage: Stage) -> None:
    """It keeps the policy that it has, and can still be stopped."""
    stage.start("keeps_going")
    time.sleep(stage.random.uniform(0, 0.3))
    policy: object
    for policy in (None, [], {"keys": 7}, {"network": {"hosts": ["*"]}}, "x" * 40_000):
        with control.connect(stage.places, NAME) as line:
            answer = control.ask(line, {"do": "policy", "policy": policy, "order": None}, 10.0)
            if answer["ok"]:
                raise Failed(f"this was taken for a policy: {str(policy)[:60]}")
            if control.ask(line, {"do": "status"}, 10.0)["status"]["state"] != "running":
                raise Failed("a policy that is none had an effect")
    stage.order()


def _clients_hang(stage: Stage) -> None:
    """More clients than the control socket takes, none of which reads or makes sense."""
    stage.start("keeps_going")
    time.sleep(stage.random.uniform(0, 0.3))
    clients = []
    for number in range(100):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        clients.append(client)
        with suppress(OSError):
            directory = os.open(stage.places.agent(NAME), os.O_PATH)
            client.connect(f"/proc/self/fd/{directory}/control")
            os.close(directory)
            client.send(b"\xff{" * number if number % 2 else b'{"do": "wait"}')
    stage.order()
    for client in clients:
        client.close()


def _lease_ends(stage: Stage) -> None:
    stage.start("keeps_going", lease_s=2 if stage.kind == "bubblewrap" else 30)
    with control.connect(stage.places, NAME) as line:
        left = control.ask(line, {"do": "status"}, 10.0)["status"]["lease_left"]
    since = time.monotonic_ns() + int(left * 1e9)
    if not stage.observe(since):
        raise Failed("it outlived its lease by 10 s")
    _is_latched(stage)


def _lease_ends_and_supervisor_hangs(stage: Stage) -> None:
    stage.start("keeps_going", lease_s=2 if stage.kind == "bubblewrap" else 30)
    with control.connect(stage.places, NAME) as line:
        left = control.ask(line, {"do": "status"}, 10.0)["status"]["lease_left"]
    since = time.monotonic_ns() + int(left * 1e9)
    time.sleep(max(0.0, left - 0.3))
    with suppress(OSError):
        os.kill(stage.parts()["supervisor"], signal.SIGSTOP)
    if not stage.observe(since):
        raise Failed("it outlived its lease by 10 s")


def _starts_again(stage: Stage) -> None:
    """What was stopped does not start, by its name or in its workspace, until it is reset."""
    stage.start("keeps_going")
    stage.order()
    for name in (NAME + "-anew", NAME):
        try:
            launching.launch({**stage.plan("keeps_going"), "name": name}, stage.places, tether=False)
        except launching.NotStarted as refused:
            if "offswitch reset" not in refused.line:
                raise Failed(f"it was refused for another reason: {refused.line}") from None
            continue
        raise Failed(f"it was started again as {name}")


def _cut_short(stage: Stage) -> None:
    """Everybody who could write down that it was stopped is lost at once, as by a power cut."""
    stage.start("keeps_going")
    stage.lose("guard", "supervisor", "scribe")
    stage.eventually(lambda: not stage.parts(), 10, "something of the off-switch is left")
    try:
        launching.launch(stage.plan("keeps_going"), stage.places, tether=False)
    except launching.NotStarted as refused:
        if "cut short" in refused.line:
            return
        raise Failed(f"it was refused for another reason: {refused.line}") from None
    raise Failed("it was started again, as if nothing had been")


def _is_told_to_end(stage: Stage) -> None:
    stage.start("keeps_going")
    stage.lose("supervisor", how=stage.random.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
    _is_latched(stage)


def _lost(name: str, says: str, *parts: str, **how: Any) -> Fault:
    return Fault(name, "loss", says, _loses(*parts, **how))


FAULTS = [
    _lost("supervisor-killed", "the supervisor is killed", "supervisor"),
    _lost(
        "supervisor-stopped",
        "the supervisor is stopped (SIGSTOP)",
        "supervisor",
        how=signal.SIGSTOP,
        within=_BEAT,
    ),
    Fault("supervisor-told-to-end", "loss", "the supervisor is told to end", _is_told_to_end),
    _lost("guard-killed", "the guard is killed", "guard"),
    _lost("guard-stopped", "the guard is stopped", "guard", how=signal.SIGSTOP, within=_BEAT),
    _lost("scribe-killed", "the scribe is killed", "scribe"),
    _lost(
        "scribe-stopped",
        "the scribe is stopped, as by a disk that hangs",
        "scribe",
        how=signal.SIGSTOP,
        within=_DISK,
    ),
    _lost("cell-killed", "the cell is killed", "cell"),
    Fault("cell-stopped", "loss", "the cell is stopped when the order comes", _cell_is_stopped),
    Fault("proxy-killed", "loss", "the proxy is killed", _proxy_is_lost),
    Fault("proxy-stopped", "loss", "the proxy is stopped when the order comes", _proxy_is_stopped),
    _lost("supervisor-and-guard-killed", "supervisor and guard are killed at once", "guard", "supervisor"),
    _lost("guard-and-scribe-killed", "guard and scribe are killed at once", "guard", "scribe"),
    _lost("all-killed", "every part is killed at once", "guard", "supervisor", "scribe", "cell"),
    _lost("supervisor-and-cell-killed", "supervisor and cell are killed at once", "supervisor", "cell"),
    *(
        Fault(
            f"{part}-killed-at-start",
            "loss",
            f"the {part} is killed as the agent starts",
            _as_it_starts(part),
        )
        for part in ("supervisor", "guard", "scribe", "cell")
    ),
    *(
        Fault(
            f"{part}-killed-in-a-stop",
            "loss",
            f"the {part} is killed while it is being stopped",
            _during_a_stop(part),
        )
        for part in ("supervisor", "guard", "scribe", "cell")
    ),
    Fault(
        "supervisor-stopped-in-a-stop",
        "loss",
        "the supervisor is stopped while the agent is being stopped",
        _during_a_stop("supervisor", how=signal.SIGSTOP),
    ),
    Fault("terminal-closed", "loss", "the terminal that it was started from hangs up", _terminal_closes),
    Fault("launcher-killed", "loss", "who started it in the foreground is killed", _launcher_is_lost),
    Fault(
        "state-removed",
        "loss",
        "the folder with its control socket is removed",
        _removed(lambda stage: stage.places.agent(NAME)),
    ),
    Fault(
        "logs-removed",
        "loss",
        "the folder with its logs is removed",
        _removed(lambda stage: stage.places.logs(NAME)),
    ),
    Fault(
        "latches-removed",
        "loss",
        "the folder with the latches is removed",
        _removed(lambda stage: stage.places.latches),
    ),
    Fault(
        "latch-removed",
        "loss",
        "its latch is removed",
        _removed(lambda stage: f"{stage.places.latches}/{NAME}.json"),
    ),
    Fault(
        "receipts-removed",
        "loss",
        "the folder with the receipts is removed",
        _removed(lambda stage: stage.places.receipts),
    ),
    Fault(
        "socket-removed",
        "loss",
        "the control socket is removed",
        _removed(lambda stage: stage.places.agent(NAME) + "/control"),
    ),
    Fault("state-full", "loss", "no space is left where its state lies", _state_is_full, root=True),
    Fault(
        "state-full-at-the-order",
        "loss",
        "no space is left for its state when the order comes",
        _state_is_full_at_the_order,
        root=True,
    ),
    Fault("key-unreadable", "loss", "the key that signs receipts cannot be read", _key_is_unreadable),
    Fault(
        "policy-malformed", "loss", "its policy is replaced by something that is none", _policy_is_malformed
    ),
    Fault("clients-hang", "loss", "a hundred clients of its control socket hang", _clients_hang),
    Fault("lease-ends", "loss", "its lease ends and nobody renews it", _lease_ends),
    Fault(
        "lease-ends-unseen",
        "loss",
        "its lease ends while the supervisor is stopped",
        _lease_ends_and_supervisor_hangs,
    ),
    Fault("starts-again", "loss", "what was stopped is started again", _starts_again),
    Fault(
        "cut-short",
        "loss",
        "everybody who could write down the stop is lost, and it is started again",
        _cut_short,
    ),
]

"""The gateway's process beside a supervisor: it loads, gives up what it need not have, and serves until the agent ends.

The supervisor is at the other end of one socket. It hears a sign of life at every tick, each trip at once, and what
goes into the account; when the socket ends, so does the gateway, and the supervisor takes the gateway's end for the
loss of a part. The operator's keys are in this process alone: they end with it.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import ssl
import sys
import time
from typing import Any

from offswitch.enforce.supervisor.loop import TICK
from offswitch.enforce.watchdog.apis import Api
from offswitch.enforce.watchdog.decider import Decider, Judges, Unjudged
from offswitch.enforce.watchdog.gateway import Gateway
from offswitch.enforce.watchdog.rules import Rules
from offswitch.enforce.watchdog.serving import Door
from offswitch.enforce.watchdog.watching import Watching
from offswitch.sandboxes import identity, kernel, wire

_EVENTS = 50
"""Most lines a second for the account; what is above is counted."""


def begin(
    apis: tuple[Api, ...], rules: dict[str, Any], folder: int, listener: int, keys: int
) -> socket.socket:
    """Begin a gateway.

    Args:
        apis: Where it leads to.
        rules: The rules as plain JSON.
        folder: Open folder for its records.
        listener: Listening socket, of the sandbox's network.
        keys: Open file with the operator's keys: JSON, by the API's name.

    Returns:
        The supervisor's end of the line. The gateway says ``("up", pid)``, or ``("failed", why)`` and ends.
    """
    ours, theirs = wire.pair()
    source = os.path.realpath(__file__ + "/../../../..")
    site = [place for place in sys.path if place.endswith(("site-packages", "dist-packages"))]
    code = (
        f"import gc, sys; gc.disable(); sys.path.insert(0, {source!r}); "
        f"sys.path += {site!r}; from offswitch.enforce.watchdog.process import main; main()"
    )
    with theirs:
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", code],
            {name: value for name, value in os.environ.items() if name in _KEPT},
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
        )
    given = ("begin", os.getpid(), [(api.name, api.url) for api in apis], rules)
    wire.send(ours, given, [folder, listener, keys])
    return ours


_KEPT = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Supervised:
    """The line to the supervisor."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._second, self._said, self._missed = 0, 0, 0

    def trip(self, why: str, pattern: str) -> None:
        """Have the agent stopped."""
        # Small, and the line is read by who does nothing slow: this waits for nobody in practice.
        self._line.setblocking(True)
        wire.send(self._line, ("trip", why[:2000], pattern))
        self._line.setblocking(False)

    def note(self, event: str, facts: dict[str, object]) -> None:
        """Write into the account."""
        now = int(time.monotonic())
        if now != self._second:
            if self._missed:
                self._tell(("event", "events left out", {"count": self._missed}))
            self._second, self._said, self._missed = now, 0, 0
        self._said += 1
        if self._said > _EVENTS:
            self._missed += 1
        else:
            self._tell(("event", event, facts))

    def beat(self) -> None:
        """Give a sign of life."""
        self._tell(("beat",))

    def _tell(self, message: tuple[Any, ...]) -> None:
        try:
            wire.send(self._line, message)
        except BlockingIOError:
            self._missed += 1
        except OSError:
            os._exit(0)


def main() -> None:
    """Be the gateway of the supervisor at the other end of standard input."""
    line = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for target in (0, 1):
        os.dup2(null, target)
    message = wire.receive(line)
    if message is None:
        return
    (_, supervisor, stated, plain), (folder, listener, keys) = message
    kernel.die_with(supervisor)
    kernel.rename("gateway")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        apis = tuple(Api(name, url) for name, url in stated)
        with os.fdopen(keys, "rb") as file:
            secrets: dict[str, str] = json.loads(file.read())
        rules = Rules.of(plain)
        user, claim = identity.claim() if identity.needed() else (None, None)
        judges = Judges(plain, user)
        tls = ssl.create_default_context()
        _load()
        if user is not None:
            os.fchown(folder, user, user)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        kernel.give_up_privileges()
        kernel.close_to_tracers()
        kernel.die_with(supervisor)
        os.umask(0o077)
        gc.enable()
        gc.collect()
        gc.freeze()
        supervised = Supervised(line)
        watching = Watching(rules, f"/proc/self/fd/{folder}", supervised.trip, supervised.note)
    except (OSError, ValueError, ImportError) as error:
        wire.send(line, ("failed", f"the gateway cannot begin: {error}"))
        return
    asyncio.run(_serve(line, supervised, watching, apis, secrets, rules, judges, tls, listener))
    del claim


async def _serve(
    line: socket.socket,
    supervised: Supervised,
    watching: Watching,
    apis: tuple[Api, ...],
    secrets: dict[str, str],
    rules: Rules,
    judges: Judges,
    tls: ssl.SSLContext,
    listener: int,
) -> None:
    decider = Decider(judges, rules.decide_within)
    try:
        await decider.start()
    except Unjudged as error:
        wire.send(line, ("failed", f"the gateway cannot begin: {error}"))
        return
    gateway = Gateway(apis, secrets, rules, watching, decider.judge)
    door = Door(socket.socket(fileno=listener), await gateway.start(tls), gateway.heard)
    line.setblocking(False)

    def hear() -> None:
        try:
            told = wire.receive(line)
        except BlockingIOError:
            return
        if told is None:
            os._exit(0)
        watching.happened(told[0][1])

    asyncio.get_running_loop().add_reader(line, hear)
    wire.send(line, ("up", os.getpid()))
    serving = asyncio.create_task(door.serve())
    while not serving.done():
        supervised.beat()
        watching.tick()
        await asyncio.sleep(TICK)
    serving.result()


def _load() -> None:
    """Load what is else loaded when it is first used: afterwards this user may not read it."""
    import encodings.idna

    import aiohttp.client_reqrep
    import aiohttp.http_writer
    import brotli  # type: ignore[import-untyped]

    from offswitch.enforce.watchdog import protocols

    del aiohttp, brotli, encodings, protocols

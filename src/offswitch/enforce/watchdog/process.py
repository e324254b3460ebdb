"""The gateway's process beside a supervisor: it loads, gives up what it need not have, and serves until the agent ends.

The supervisor is at the other end of one socket. It hears a sign of life at every tick, each trip at once, and what
goes into the account; when the socket ends, so does the gateway, and the supervisor takes the gateway's end for the
loss of a part. The operator's keys are in this process alone: they end with it.
"""

import asyncio
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import ssl
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import aiohttp

from offswitch.enforce.supervisor.loop import TICK
from offswitch.enforce.watchdog import scraping, telemetry
from offswitch.enforce.watchdog.apis import Api, of
from offswitch.enforce.watchdog.decider import Decider, Judges, Unjudged
from offswitch.enforce.watchdog.gateway import Gateway
from offswitch.enforce.watchdog.instructions import RecordLost
from offswitch.enforce.watchdog.metrics import MetricsError
from offswitch.enforce.watchdog.pins import Pins
from offswitch.enforce.watchdog.rules import Rules
from offswitch.enforce.watchdog.serving import Door, take_all_files
from offswitch.enforce.watchdog.watching import Watching
from offswitch.sandboxes import identity, kernel, wire

_EVENTS = 50
"""Most lines of a kind a second for the account; what is above is counted."""


class Supervised:
    """The line to the supervisor."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._second, self._missed = 0, 0
        self._said: Counter[tuple[str, object]] = Counter()

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
            self._second, self._missed = now, 0
            self._said.clear()
        # Each kind of event, and each pattern, for itself: much of one does not push the others out.
        kind = (event, facts.get("pattern"))
        self._said[kind] += 1
        if self._said[kind] > _EVENTS:
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
    (_, supervisor, (name, run), stated, plain), (folder, keys) = message
    kernel.die_with(supervisor)
    kernel.rename("gateway")
    take_all_files()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        given_apis = of(stated)
        with os.fdopen(keys, "rb") as file:
            given = json.loads(file.read())
        # Certificates and the SDK are told by variables of the process.
        os.environ.update(given["environment"])
        rules = Rules.of(plain)
        user, claim = identity.claim() if identity.needed() else (None, None)
        judges = Judges(plain, user)
        tls = ssl.create_default_context()
        _load()
        pins = Pins.load(rules.pin) if rules.pin else None
        exported = telemetry.begin(agent=name, run=run, texts=not rules.private)
        # On the host's side, where the sandbox's network does not lead; and as who may take any port.
        scraped = scraping.begin(rules.metrics, name, run) if rules.metrics else None
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
        watching = Watching(
            rules, f"/proc/self/fd/{folder}", supervised.trip, supervised.note, pins=pins, telemetry=exported,
            metrics=None if scraped is None else scraped.metrics, apis=given_apis,
        )  # fmt: skip
    except (OSError, ValueError, ImportError, RecordLost, telemetry.TelemetryError, MetricsError) as error:
        _fail(line, error)
        return
    asyncio.run(_serve(line, supervised, watching, given_apis, given["keys"], rules, judges, tls, scraped))
    del claim


def _fail(line: socket.socket, error: Exception) -> None:
    """Say why there is no gateway, and wait for the end: to leave with a message unread would take the word back."""
    with suppress(OSError):
        wire.send(line, ("failed", f"the gateway cannot begin: {error}"))
        while wire.receive(line) is not None:
            pass


async def _serve(
    line: socket.socket,
    supervised: Supervised,
    watching: Watching,
    apis: tuple[Api, ...],
    secrets: dict[str, str],
    rules: Rules,
    judges: Judges,
    tls: ssl.SSLContext,
    scraped: scraping.Scraping | None,
) -> None:
    decider = Decider(judges, rules.decide_within)
    try:
        await decider.start()
    except Unjudged as error:
        _fail(line, error)
        return
    # The sandbox comes up meanwhile, and then hands it over.
    message = await asyncio.to_thread(wire.receive, line)
    if message is None:
        return
    _, (listener,) = message
    judge = decider.judge if scraped is None else scraped.metrics.timed(decider.judge)
    gateway = Gateway(apis, secrets, rules, watching, judge)
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
    if scraped is not None:
        supervised.note("metrics", {"address": scraped.address})
        scrapes = asyncio.create_task(scraped.serve())
    while not serving.done():
        supervised.beat()
        watching.tick()
        await asyncio.sleep(TICK)
    serving.result()
    if scraped is not None:
        scrapes.cancel()


_LATE = (
    *("encodings." + name for name in "ascii idna latin_1 punycode utf_8_sig utf_7".split()),
    *("encodings.utf_" + name for name in "16 16_be 16_le 32 32_be 32_le".split()),
    "asyncio.staggered", "brotli", "concurrent.futures.thread", "html", "mimetypes", "netrc", "stringprep",
    "traceback", "unicodedata", "zlib",
)  # fmt: skip
"""Modules that the standard library and aiohttp load when they are first used."""


def _load() -> None:
    """Load what is else loaded when it is first used: afterwards this user may not read it."""
    from offswitch.enforce.watchdog import protocols

    for package in (aiohttp, protocols):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name not in ("pytest_plugin", "test_utils", "worker"):
                importlib.import_module(f"{package.__name__}.{module.name}")
    for name in _LATE:
        with suppress(ImportError):
            importlib.import_module(name)

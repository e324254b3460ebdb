"""A gateway that stands alone, in front of agents that offswitch does not run: `offswitch watch`."""

import asyncio
import queue
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from offswitch.enforce.supervisor.loop import TICK
from offswitch.enforce.watchdog import telemetry, tripping
from offswitch.enforce.watchdog.apis import Api
from offswitch.enforce.watchdog.decider import Decider, Judges
from offswitch.enforce.watchdog.gateway import Gateway
from offswitch.enforce.watchdog.pins import Pins
from offswitch.enforce.watchdog.rules import Rules
from offswitch.enforce.watchdog.scraping import Scraping
from offswitch.enforce.watchdog.serving import Door, take_all_files
from offswitch.enforce.watchdog.watching import Watching

LEAVES = 10.0
"""Seconds that what is being done at a trip has to be finished once the gateway is told to end."""
_UNTOLD = 1000
"""Most lines that wait to be told."""


class DoorLost(Exception):
    """The gateway takes no connections any more; the message is one line that says why."""


@dataclass(frozen=True)
class Settings:
    """What a gateway alone is told.

    Attributes:
        listener: Listening socket.
        apis: Where it leads to.
        keys: The operator's keys, by the API's name; emptied at a trip.
        rules: The rules.
        actions: What to do at a trip.
        records: Folder for the records, None for none.
        state: Where the agents that are to be stopped have their state.
        scraping: What answers Prometheus, None for nothing.
    """

    listener: socket.socket
    apis: tuple[Api, ...]
    keys: dict[str, str]
    rules: Rules
    actions: tuple[tripping.Action, ...]
    records: str | None
    state: str | None
    scraping: Scraping | None = None


async def watch(
    settings: Settings, tell: Callable[[str], None], begun: Callable[[], None] = lambda: None
) -> bool:
    """Serve until SIGINT or SIGTERM. What is being done at a trip then has `LEAVES` to be finished.

    Args:
        settings: What it is told.
        tell: Says a line to people.
        begun: Called once it serves: what could keep it from that is behind it.

    Returns:
        Whether the latch tripped.

    Raises:
        Unjudged: No judge could be begun.
        DoorLost: It broke while it served.
        PinsError, RecordLost, TelemetryError, OSError: What was asked for cannot be read, written or exported.
    """
    take_all_files()
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    tell = _Teller(tell).tell
    tripped: list[asyncio.Task[None]] = []

    def trip(why: str, pattern: str) -> None:
        if tripped:
            return
        for action in settings.actions:
            doing = tripping.carry_out(action, why, pattern, settings.state, tell)
            tripped.append(asyncio.create_task(doing))
        if not settings.actions:
            tripped.append(asyncio.create_task(asyncio.sleep(0)))
        tell(f"TRIPPED: {why}; nothing is passed on any more")

    def note(event: str, facts: dict[str, object]) -> None:
        tell(" ".join([event, *(f"{name}={value}" for name, value in facts.items())]))

    rules = settings.rules
    pins = Pins.load(rules.pin) if rules.pin else None
    exported = telemetry.begin(agent="watch", run="", texts=not rules.private)
    scraping = settings.scraping
    watching = Watching(
        rules,
        settings.records,
        trip,
        note,
        pins=pins,
        telemetry=exported,
        metrics=None if scraping is None else scraping.metrics,
        apis=settings.apis,
    )
    judges = Judges(settings.rules.plain())
    try:
        decider = Decider(judges, settings.rules.decide_within)
        await decider.start()
        judge = decider.judge if scraping is None else scraping.metrics.timed(decider.judge)
        gateway = Gateway(settings.apis, settings.keys, settings.rules, watching, judge)
        door = Door(settings.listener, await gateway.start(), gateway.heard)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, over.set)
        serving = asyncio.create_task(door.serve())
        scrapes = None if scraping is None else asyncio.create_task(scraping.serve())
        begun()
        while not over.is_set() and not serving.done():
            watching.tick()
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), TICK)
        broken = serving.exception() if serving.done() else None
        serving.cancel()
        if scrapes is not None:
            scrapes.cancel()
        await gateway.close()
        if any(not doing.done() for doing in tripped):
            tell(f"ends once what is being done at the trip is done, within {LEAVES:.0f} s")
            await asyncio.wait(tripped, timeout=LEAVES)
        for doing in tripped:
            doing.cancel()
        decider.close()
        if exported is not None:
            exported.close()
    finally:
        judges.close()
    if broken is not None:
        why = " ".join(str(broken).split())[:300]
        raise DoorLost(
            f"the gateway takes no connections any more: {type(broken).__name__}: {why}"
        ) from broken
    return bool(tripped)


class _Teller:
    """Tells people by a thread of its own: who does not read what is told holds up no call and no trip."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._lines: queue.Queue[str] = queue.Queue(_UNTOLD)
        self._tell = tell
        threading.Thread(target=self._run, daemon=True).start()

    def tell(self, line: str) -> None:
        """Tell a line; what nobody reads is dropped once there is too much of it."""
        with suppress(queue.Full):
            self._lines.put_nowait(line)

    def _run(self) -> None:
        while True:
            self._tell(self._lines.get())

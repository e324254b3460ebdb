"""What a gateway does besides passing on: it holds the latch's machine, counts, and keeps the records."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence

from offswitch.enforce.supervisor.loop import TICK
from offswitch.enforce.watchdog.apis import Api
from offswitch.enforce.watchdog.budgets import Budgets
from offswitch.enforce.watchdog.calls import Asked, Finding
from offswitch.enforce.watchdog.gateway import Exchange
from offswitch.enforce.watchdog.instructions import Record, RecordLost
from offswitch.enforce.watchdog.machine import NEVER, Machine
from offswitch.enforce.watchdog.metrics import Metrics
from offswitch.enforce.watchdog.pins import Pins
from offswitch.enforce.watchdog.rules import Rules
from offswitch.enforce.watchdog.table import TABLE
from offswitch.enforce.watchdog.telemetry import ModelCall, Telemetry
from offswitch.enforce.watchdog.traffic import Traffic

Trip = Callable[[str, str], None]
"""Stops the agent: called with why, and the pattern's name; again at every tick until its death is told."""
Note = Callable[[str, dict[str, object]], None]
"""Writes into the account: an event and its facts."""


class Watching:
    """The gateway's keeper (see ``gateway.Keeper``).

    Args:
        rules: The rules.
        folder: Where the records go, None for none.
        trip: See `Trip`.
        note: See `Note`.
        pins: What the model may be told, None for anything.
        telemetry: Where each call is exported to, None for nowhere.
        metrics: Where it counts, None for nowhere.
        apis: The upstreams, whose addresses are exported with each call.

    Raises:
        OSError, RecordLost: The records cannot be written.
    """

    def __init__(
        self,
        rules: Rules,
        folder: str | None,
        trip: Trip,
        note: Note,
        *,
        pins: Pins | None = None,
        telemetry: Telemetry | None = None,
        metrics: Metrics | None = None,
        apis: Iterable[Api] = (),
    ) -> None:
        self._rules = rules
        self._addresses: dict[str, tuple[str, int | None]] = {api.name: api.address for api in apis}
        self._trip, self._note = trip, note
        self._why = ("", "")
        self._cut: Callable[[], None] | None = None
        self._budgets = Budgets(rules)
        self._began = time.monotonic()
        self._record = None if folder is None else Record(folder, private=rules.private)
        self._traffic = None if folder is None else Traffic(folder, private=rules.private)
        self._pins, self._unpinned = pins, set[tuple[str, str]]()
        self._telemetry = telemetry
        self._metrics = metrics
        self._number = 0
        self._over = False
        self._free = asyncio.Event()
        self._free.set()
        # What is not judged in time is told by whoever asked for it. Where that stops the agent, the machine's own
        # counter is there besides.
        decision = math.ceil(rules.decide_within / TICK) + 1 if rules.unjudged == "stop" else NEVER
        self._machine = Machine(lease=NEVER, grace=NEVER, decision=decision, heartbeats={})
        self._machine.step("start")

    # The latch

    def happened(self, event: str) -> None:
        """Something that the supervisor tells of: ``hold``, ``release``, ``order-1``, ``dead``."""
        self._do(self._machine.step(event))
        if self._machine.state == "held":
            self._free.clear()
        else:
            self._free.set()

    def tick(self) -> None:
        """Called every ``TICK``."""
        for event, _, actions in self._machine.tick():
            if event == "unjudged-stop":
                self._why = ("a judgement was lost", "unjudged")
            self._do(actions)
        if found := self._budgets.elapsed(time.monotonic() - self._began):
            # It is found at every tick from then on, and counted once.
            (self._meet if self._over else self.found)(found)
            self._over = True

    def _do(self, actions: Sequence[str]) -> None:
        if "kill" in actions:
            self._free.set()
            self._trip(*self._why)
        if "cut" in actions and self._cut is not None:
            self._cut()
        if "kill" in actions and self._metrics is not None:
            self._metrics.tripped()

    def cuts(self, cut: Callable[[], None]) -> None:
        """Take what ends the calls in flight and drops the keys: called when the latch trips."""
        self._cut = cut

    def passes(self) -> bool:
        """Whether the agent may get anything now."""
        # For what is no call the table has no event. It goes on where a call would that nothing was found in, now or
        # once the agent is released.
        return "deny" not in TABLE[self._machine.state, "found-nothing"].actions

    async def forwards(self) -> bool:
        """Whether a request may be sent upstream; waits as long as the agent is held."""
        while (actions := self._machine.step("asked")) == ("wait",):
            await self._free.wait()
        return actions == ("forward",)

    def judging(self) -> str:
        """A judgement begins; its key."""
        self._number += 1
        key = str(self._number)
        self._machine.step("judging", key)
        return key

    async def judged(self, key: str, event: str, findings: Sequence[Finding]) -> bool:
        """It has ended: whether the agent may have the call; waits as long as the agent is held."""
        self._because(findings)
        # What was judged is counted where it is judged.
        if self._metrics is not None and event.startswith("unjudged"):
            for finding in findings:
                self._metrics.found(finding.mode, finding.pattern)
        while (actions := self._machine.step(event, key)) == ("wait",):
            await self._free.wait()
        self._do(actions)
        return actions == ("deliver",)

    def dropped(self, key: str) -> None:
        """It has ended, and nobody waits for the call any more."""
        self._machine.step("found-deny", key)

    def found(self, finding: Finding) -> None:
        """Something was found besides calls; one that asks for a stop trips the latch."""
        if self._metrics is not None:
            self._metrics.found(finding.mode, finding.pattern)
        self._meet(finding)

    def _meet(self, finding: Finding) -> None:
        self._because([finding])
        if finding.mode == "stop":
            self._do(self._machine.step("found-stop"))

    def _because(self, findings: Sequence[Finding]) -> None:
        for finding in findings:
            if finding.mode == "stop" and self.passes():
                self._why = (f"{finding.pattern}: {finding.why}", finding.pattern)

    # The records

    def note(self, event: str, **facts: object) -> None:
        """Write into the account."""
        self._note(event, facts)

    def asked(self, exchange: Exchange, asked: Asked) -> list[Finding]:
        """A request that is about to be sent upstream; what is found in it."""
        found = [over] if (over := self._budgets.begin()) else []
        if self._record is not None:
            try:
                changes = self._record.add(
                    asked,
                    call_id=str(exchange.number),
                    at_ms=time.time_ns() // 1_000_000,
                    program=exchange.program or None,
                    endpoint=f"{exchange.api} {exchange.endpoint}",
                )
            except RecordLost as error:
                found.append(self._lost(str(error)))
            else:
                if self._metrics is not None:
                    self._metrics.told(changes)
        for one in self._pins.check(asked) if self._pins is not None else ():
            # Each is an event once, and not at every call that repeats it; where it is denied it stays so.
            if self._rules.mode == "deny" or (one.what, one.digest) not in self._unpinned:
                self._unpinned.add((one.what, one.digest))
                if self._metrics is not None:
                    self._metrics.unpinned(one.what)
                why = f"the model is told what is not pinned ({one.what} {one.digest[:12]}): {one.says}"
                found.append(Finding("pins", self._rules.mode, why))
        return found

    def answered(self, exchange: Exchange) -> list[Finding]:
        """An exchange that is over; what is found in it."""
        if self._metrics is not None:
            self._count(self._metrics, exchange)
        found = []
        if self._telemetry is not None and exchange.forwarded and exchange.asked is not None:
            address, port = self._addresses.get(exchange.api, ("", None))
            self._telemetry.called(
                ModelCall(
                    exchange.asked,
                    exchange.api,
                    exchange.at,
                    time.time_ns(),
                    exchange.usage,
                    address,
                    port,
                    _error(exchange),
                )
            )
        if self._traffic is not None:
            try:
                self._traffic.add(exchange, time.monotonic() - exchange.began)
            except OSError as error:
                found.append(self._lost(f"the record of the traffic cannot be written: {error.strerror}"))
        # An error used nothing; of what the agent hung up on, nobody knows what it used.
        if (
            exchange.forwarded
            and exchange.status < 300
            and (over := self._budgets.add(exchange.usage, exchange.model))
        ):
            found.append(over)
        return found

    def _count(self, metrics: Metrics, exchange: Exchange) -> None:
        if exchange.refused:
            metrics.refused(exchange.refused)
        if not exchange.dialect:
            return
        took = time.monotonic() - exchange.began
        metrics.called(
            exchange.model,
            took,
            outcome=exchange.outcome,
            first_byte=exchange.first_byte if exchange.forwarded else None,
            added=max(0.0, took - exchange.waited) if exchange.forwarded else None,
            usage=exchange.usage,
        )

    def _lost(self, why: str) -> Finding:
        """Without a record nobody knows afterwards what the model was told and did: blindness is a trip."""
        return Finding("record", self._rules.mode, why)


def _error(exchange: Exchange) -> str:
    """What kind of failure an exchange ended in: the status, or how an answer that began well broke off."""
    if exchange.status >= 400:
        return str(exchange.status)
    return "" if exchange.outcome == "forwarded" else exchange.outcome

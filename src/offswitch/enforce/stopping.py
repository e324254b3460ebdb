"""Ordering stops: to one agent or to all at once, signed where that can be done, and as the local owner where not."""

import select
import socket
import time
from collections.abc import Callable, Iterable, Sequence

from offswitch.enforce import control, ordering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.enforce.places import Places

PATIENCE = 30.0
"""Seconds for which an answer is waited for, beyond the grace."""
_SETTLE = 10.0
"""Seconds more where the end of the re-spawn probe is waited for as well."""
_LEFT = 10.0
"""Seconds that the guard of a lost supervisor is given to kill, to observe and to write its receipt."""
_RECENT = 60.0
"""Seconds for which the receipt of an agent that was just there can have been written."""
_PAUSE = 0.02
_SIGNING = 0.5
"""Seconds for which orders are signed before the first is sent."""

_LONGEST_REASON = 1000
"""Characters of a reason: as many as an order and a receipt hold of it, and far from what a message holds."""

LONGEST_GRACE = 3600.0
"""Seconds of the longest grace that an order can give."""


class Stopped:
    """How a stop of one agent went.

    Attributes:
        name: The agent's name.
        dead: Whether its death was observed, and nothing was seen to come back since.
        known: Whether there was such an agent at all.
        receipt: Envelope of the receipt, if there is one.
        line: What else there is to say, in one line; "" if the receipt says it all.
        notes: Lines on how the order was given, where that was not as usual.
    """

    __slots__ = ("dead", "known", "line", "name", "notes", "receipt")

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.known = True
        self.receipt: Any = None
        self.line = ""
        self.notes: list[str] = []


def stop(
    places: "Places",
    names: Iterable[str],
    *,
    category: int = 0,
    grace: float = 5.0,
    reason: str = "",
    settle: bool = False,
    keys: Sequence[str] = (),
    each: Callable[[Stopped], object] | None = None,
    envelope: "Any" = None,
    listed: bool = False,
) -> list[Stopped]:
    """Stop agents, all at once, and wait until their death was observed or nobody can say.

    Args:
        places: The operator's places.
        names: The agents.
        category: 0 cuts at once; 1 tells the agent and waits for the grace first.
        grace: Seconds, for category 1; at most an hour.
        reason: In the operator's words, for the latch and the receipt, which keep 1000 characters of it.
        settle: Whether to wait for the end of the re-spawn probe too; what came back is no death.
        keys: Key files to sign with; none for the operator's own key, which is made on first use.
        each: Called with each as soon as it is known how it went.
        envelope: An order that has been signed already, for the one agent in ``names``.
        listed: Whether the names are of agents whose supervisors were found to listen a moment ago.

    Returns:
        How each went, in the order of ``names``.
    """
    orders = [_Order(places, name, category, grace, reason, settle, keys, envelope, listed) for name in names]
    # All connections first: that an agent is not there is known before a key is read.
    for order in orders:
        order.connect()
    # Then the signatures: with the first order sent, a hundred supervisors and guards want this processor too. But
    # where it takes long, as with a counter that another process holds, the first ones do not wait for the last.
    until = time.monotonic() + _SIGNING
    for order in orders:
        if time.monotonic() < until:
            order.sign()
    for order in orders:
        order.sign()
        order.give()
    said: set[str] = set()
    deadline = time.monotonic() + PATIENCE + (grace if category else 0.0) + (_SETTLE if settle else 0.0)
    while True:
        for order in orders:
            if order.over and order.stopped.name not in said:
                said.add(order.stopped.name)
                if each is not None:
                    each(order.stopped)
        left = deadline - time.monotonic()
        if left <= 0 or all(order.over for order in orders):
            break
        poll = select.poll()
        waiting = {order.line.fileno(): order for order in orders if order.line is not None}
        for number in waiting:
            poll.register(number, select.POLLIN)
        lost = [order for order in orders if order.line is None and not order.over]
        for number, _ in poll.poll((min(left, _PAUSE) if lost else left) * 1000):
            waiting[number].hear()
        for order in lost:
            order.look()
    for order in orders:
        if not order.over:
            order.give_up()
            if each is not None:
                each(order.stopped)
    return [order.stopped for order in orders]


class _Order:
    """The order to one agent, and what comes of it."""

    def __init__(
        self,
        places: "Places",
        name: str,
        category: int,
        grace: float,
        reason: str,
        settle: bool,
        keys: Sequence[str],
        envelope: "Any",
        listed: bool,
    ) -> None:
        self.stopped = Stopped(name)
        self.over = False
        self.line: socket.socket | None = None
        self._places = places
        self._category = category
        self._grace_ms = int(min(grace, LONGEST_GRACE) * 1000)
        self._reason = reason[:_LONGEST_REASON]
        self._settle = settle
        self._keys = keys
        self._envelope = envelope
        self._made: Any = None
        self._tried = False
        self._signed = False
        self._heard = listed
        self._left = time.monotonic() + _LEFT

    def connect(self) -> None:
        """Find the supervisor, or else what is known of the agent."""
        try:
            self.line = control.connect(self._places, self.stopped.name)
            self._heard = True
        except control.NotRunning:
            self.look()

    def sign(self) -> None:
        """Make the order, unless that was done, it came ready, or there is nobody to give it to."""
        if self.line is not None and self._envelope is None and not self._tried:
            self._tried = True
            try:
                self._made = ordering.sign(
                    self._places,
                    "stop",
                    self.stopped.name,
                    keys=self._keys,
                    category=self._category,
                    grace_ms=self._grace_ms if self._category else 0,
                    reason=self._reason,
                )
            except ordering.Unsigned as error:
                self.stopped.notes.append(f"{error}; {self.stopped.name} is stopped as by its local owner")

    def give(self) -> None:
        """Send the order."""
        if self.line is not None:
            envelope = self._envelope or self._made
            self._signed = envelope is not None
            self._send(envelope)

    def _send(self, envelope: "Any") -> None:
        assert self.line is not None
        message = {
            "do": "stop",
            "order": envelope,
            "category": self._category,
            "grace_ms": self._grace_ms,
            "reason": self._reason,
            "settle": self._settle,
        }
        try:
            control.send(self.line, message)
        except control.TooLarge as error:
            if self._envelope is not None or envelope is None:
                self._finish(False, f"the order was not sent: {error}")
                return
            # So many keys have signed it. The local owner stops with none.
            self.stopped.notes.append(f"{error}; {self.stopped.name} is stopped as by its local owner")
            self._signed = False
            self._send(None)
        except control.Lost:
            self._lose()

    def hear(self) -> None:
        """Take the answer."""
        assert self.line is not None
        try:
            answer, _ = control.receive(self.line, 1.0)
        except control.Lost:
            self._lose()
            return
        if answer.get("ok") is not True:
            why = str(answer.get("why", "no reason given"))
            if self._signed and self._envelope is None:
                # A wrong clock, a lost counter, a key that nobody trusts: the local owner stops all the same.
                self.stopped.notes.append(
                    f"the signed order was refused ({why}); given again as the local owner"
                )
                self._signed = False
                self._send(None)
                return
            self._finish(False, f"the order was refused: {why}")
            return
        self.stopped.receipt = answer.get("receipt")
        dead = answer.get("dead") is True and ordering.opened(self.stopped.receipt).get("dead") is not False
        if back := ordering.came_back(self.stopped.receipt):
            self._finish(False, back)
            return
        self._finish(dead, "" if dead else "its supervisor did not see it die and keeps killing")

    def look(self) -> None:
        """See what became of an agent whose supervisor does not listen.

        While its supervisor or guard is alive it may be about to listen, or about to kill and to write its receipt.
        """
        found = ordering.end(self._places, self.stopped.name)
        if found.alive and time.monotonic() < self._left:
            try:
                self.line = control.connect(self._places, self.stopped.name)
            except control.NotRunning:
                return
            # Anew: the first may have been obeyed already, and would be refused as replayed.
            self._tried = False
            self.sign()
            self.give()
            return
        if self._heard and not found.known:
            self._look_for_its_own_end()
            return
        self.stopped.known = found.known
        self.stopped.receipt = found.receipt
        self._finish(found.dead, found.line)

    def _look_for_its_own_end(self) -> None:
        """See how an agent ended that was there before the order, and left no latch: by itself, or it was reset since.

        Its receipt is written before its latch is taken away. Without one, nobody knows who took the latch.
        """
        name = self.stopped.name
        receipt = ordering.last_receipt(self._places, name, time.time() - _RECENT)
        if ordering.opened(receipt).get("dead") is True and not ordering.came_back(receipt):
            self.stopped.receipt = receipt
            self._finish(True, f"{name} is not running: it had ended before the order came")
        elif time.monotonic() > self._left:
            self._finish(False, f"{name} is gone, and neither a latch nor a receipt says how it ended")

    def _lose(self) -> None:
        """Take note that the supervisor is lost; from now on its guard has its time."""
        self._close()
        self._left = time.monotonic() + _LEFT

    def _finish(self, dead: bool, line: str) -> None:
        self.stopped.dead = dead
        self.stopped.line = line
        self.over = True
        self._close()

    def give_up(self) -> None:
        """Nobody has answered in time."""
        self._finish(False, "its supervisor gave no answer; if it hangs, its guard kills")

    def _close(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None

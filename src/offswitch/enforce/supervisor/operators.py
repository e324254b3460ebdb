"""The supervisor's door: requests on its control socket, each answered once, and signed orders checked.

One valid key always stops, and so does the local owner without any. For what lets an agent go on, the policy may ask
for more keys. What is refused is answered with its reason, and written down.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

from offswitch.enforce.policy_change import looser
from offswitch.enforce.supervisor.loop import Loop, boottime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.enforce.supervisor.main import Supervisor

_LARGEST = 64 * 1024
"""Bytes of the largest request."""
_MOST = 64
"""Most connections at a time."""
_GRACE = 86_400_000
"""Longest grace of a stop, in ms."""


class Operators:
    """See the module.

    Args:
        loop: The supervisor's.
        control: The listening socket.
        supervisor: What acts.
        trusted: Public keys by their ids.
        began: When the run began, by the clock of leases.
    """

    def __init__(
        self,
        loop: Loop,
        control: socket.socket,
        supervisor: "Supervisor",
        trusted: "dict[str, Any]",
        began: float,
    ) -> None:
        from offswitch.trust import canonical, keys, orders

        self._canonical, self._keys, self._orders = canonical, keys, orders
        self._loop = loop
        self._control = control
        self._supervisor = supervisor
        self._trusted = trusted
        self._began = began
        self._counters: dict[str, int] = {}
        self._clients: dict[int, socket.socket] = {}
        self._stoppers: list[tuple[socket.socket, bool]] = []
        self._waiters: list[socket.socket] = []
        self._verbs: dict[str, Callable[[socket.socket, dict[str, Any]], None]] = {
            "status": self._status, "stop": self._stop, "hold": self._hold, "release": self._release,
            "renew": self._renew, "attach": self._attach, "wait": self._wait, "policy": self._adopt,
        }  # fmt: skip
        loop.watch(control.fileno(), self._accept)

    def died(self, receipt: "dict[str, Any]", *, settled: bool) -> None:
        """Answer those who wait for the death, or for what comes after it."""
        for client, settle in self._stoppers:
            if settled or not settle:
                _reply(client, {"ok": True, "dead": True, "receipt": receipt})
        self._stoppers = [] if settled else [one for one in self._stoppers if one[1]]

    def lives(self, receipt: "dict[str, Any]") -> None:
        """Tell those who wait that death was not observed."""
        for client, _ in self._stoppers:
            _reply(client, {"ok": True, "dead": False, "receipt": receipt})
        self._stoppers = []

    def ended(self, ended: "dict[str, Any]") -> None:
        """Answer those who wait for the end."""
        for client in self._waiters:
            _reply(client, {"ok": True, "ended": ended})
        self._waiters = []

    def _accept(self) -> None:
        try:
            client, _ = self._control.accept()
        except OSError:
            return
        if len(self._clients) >= _MOST:
            # The oldest has had its time: whoever comes may be the one who stops.
            self._drop(next(iter(self._clients.values())))
        client.setblocking(False)
        self._clients[client.fileno()] = client
        self._loop.watch(client.fileno(), lambda: self._serve(client))

    def _drop(self, client: socket.socket) -> None:
        self._loop.forget(client.fileno())
        self._clients.pop(client.fileno(), None)
        self._stoppers = [one for one in self._stoppers if one[0] is not client]
        self._waiters = [one for one in self._waiters if one is not client]
        client.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            data = client.recv(_LARGEST + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        try:
            request = json.loads(data)
            answer = self._verbs[request["do"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            _reply(client, {"ok": False, "refused": "malformed", "why": "this is no request that is known"})
            return
        answer(client, request)

    # Requests

    def _status(self, client: socket.socket, request: "dict[str, Any]") -> None:
        del request
        _reply(client, {"ok": True, "status": {**self._supervisor.status(), "keys": list(self._trusted)}})

    def _wait(self, client: socket.socket, request: "dict[str, Any]") -> None:
        del request
        self._waiters.append(client)

    def _stop(self, client: socket.socket, request: "dict[str, Any]") -> None:
        envelope = request.get("order")
        if envelope is None:
            if not self._is_owner(client):
                self._refuse(client, "signature", "only the owner stops without a key: sign the order")
                return
            cause, category, grace = _unsigned(request)
        else:
            order = self._check(client, envelope, "stop")
            if order is None:
                return
            cause = {
                "origin": "signed", "reason": order.reason or "stopped by an order", "keys": list(order.keys),
                "counter": order.counter, "digest": order.payload_digest,
            }  # fmt: skip
            category, grace = order.category, order.grace_ms / 1000
        self._supervisor.stop(cause, category, grace)
        settle = request.get("settle") is True
        if (receipt := self._supervisor.receipt(settled=settle)) is not None:
            _reply(client, {"ok": True, "dead": True, "receipt": receipt})
        else:
            self._stoppers.append((client, settle))

    def _hold(self, client: socket.socket, request: "dict[str, Any]") -> None:
        self._freeze(client, request, "hold")

    def _release(self, client: socket.socket, request: "dict[str, Any]") -> None:
        self._freeze(client, request, "release")

    def _freeze(self, client: socket.socket, request: "dict[str, Any]", action: str) -> None:
        if self._permitted(client, request, action) is None:
            return
        if not self._supervisor.hold(action == "hold"):
            self._refuse(
                client,
                "impossible",
                "it cannot be held here: that needs a control group of version 2; stop it instead",
            )
            return
        _reply(client, {"ok": True})

    def _renew(self, client: socket.socket, request: "dict[str, Any]") -> None:
        order = self._permitted(client, request, "renew")
        if order is None:
            return
        most = self._supervisor.plan["lease_max_s"]
        if most is not None and order.lease_s > most:
            self._refuse(client, "policy", f"the policy permits leases of at most {most} s")
            return
        self._supervisor.renew(order.lease_s)
        _reply(client, {"ok": True, "lease_left": order.lease_s})

    def _attach(self, client: socket.socket, request: "dict[str, Any]") -> None:
        del request
        stream = self._supervisor.stream()
        if stream is None:
            self._refuse(client, "stopped", "its output has ended: see offswitch logs")
            return
        with stream:
            _reply(client, {"ok": True, "terminal": self._supervisor.plan["terminal"]}, stream.fileno())

    def _adopt(self, client: socket.socket, request: "dict[str, Any]") -> None:
        """Take another policy into force; what it loosens may ask for more keys than what it tightens."""
        supervisor, new = self._supervisor, request.get("policy")
        try:
            old = supervisor.policy
            loosened = looser(new, old) if old is not None else ["a policy where there was none"]  # type: ignore[arg-type]
            named = [*new["keys"]["trusted"], *supervisor.plan["own"]]  # type: ignore[index]
            trusted = {one: self._keys.PublicKey.parse(one) for one in named}
            import hashlib

            digest = hashlib.sha256(self._canonical.encode(new)).hexdigest()
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self._refuse(client, "malformed", f"this is no policy ({error}); the one in force stays so")
            return
        order = self._permitted(client, request, "policy", needed=None if loosened else 1)
        if order is None:
            return
        if order.digest != digest:
            self._refuse(client, "malformed", "the order is for another policy; the one in force stays so")
            return
        if not supervisor.adopt(new):  # type: ignore[arg-type]
            self._refuse(
                client,
                "impossible",
                "hosts where it has no network, and what is watched for, can change at its next start only",
            )
            return
        self._trusted = trusted
        supervisor.plan["loosening"] = list(new["keys"]["trusted"]) or list(supervisor.plan["own"])  # type: ignore[index]
        supervisor.note("policy", digest=digest, loosened=loosened)
        _reply(client, {"ok": True, "loosened": loosened})

    # Permission

    def _is_owner(self, client: socket.socket) -> bool:
        """Whether the other end is of this supervisor's user, or root."""
        _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return uid in (os.geteuid(), 0)

    def _permitted(
        self, client: socket.socket, request: "dict[str, Any]", action: str, needed: int | None = None
    ) -> "Any":
        """The order for something that only a running agent can have done to it; None, answered, if it may not."""
        order = self._check(client, request.get("order"), action, needed)
        if order is not None and self._supervisor.stopping:
            self._refuse(client, "stopped", f"{self._supervisor.plan['name']} is being stopped, and stays so")
            return None
        return order

    def _who(self, action: str) -> "dict[str, Any]":
        """The keys that count: any to stop, else those that the policy names where it names some."""
        if action == "stop":
            return self._trusted
        return {one: key for one, key in self._trusted.items() if one in self._supervisor.plan["loosening"]}

    def _check(
        self, client: socket.socket, envelope: object, action: str, needed: int | None = None
    ) -> "Any":
        plan, now_ms = self._supervisor.plan, time.time_ns() // 1_000_000
        try:
            order = self._orders.check(
                envelope, agent=plan["name"], run=plan["run"], trusted=self._who(action),
                now_ms=now_ms, counters=self._counters, needed=needed or plan["needed"].get(action, 1),
                # By its age, not by the wall clock at the start: a clock set back since makes no order an old one.
                since_ms=now_ms - int((boottime() - self._began) * 1000),
            )  # fmt: skip
            if order.action != action:
                raise self._orders.Refused("malformed", f"the order is to {order.action}, not to {action}")
        except self._orders.Refused as refused:
            self._refuse(client, refused.code, refused.line)
            return None
        return order

    def _refuse(self, client: socket.socket, code: str, why: str) -> None:
        self._supervisor.note("refused order", code=code, why=why)
        _reply(client, {"ok": False, "refused": code, "why": why})


def _unsigned(request: "dict[str, Any]") -> "tuple[dict[str, Any], int, float]":
    """What the owner asks for in plain words; what is not understood of it becomes the sharpest stop."""
    category, grace, reason = (
        request.get("category", 0),
        request.get("grace_ms", 0),
        request.get("reason", ""),
    )
    if (
        type(category) is not int
        or category not in (0, 1)
        or type(grace) is not int
        or not 0 <= grace <= _GRACE
    ):
        category, grace = 0, 0
    # It is signed in the receipt, so it has to be text that can be.
    text = (
        "".join(one if one.isprintable() else " " for one in reason[:1000]) if isinstance(reason, str) else ""
    )
    return {"origin": "local owner", "reason": text or "stopped by its owner"}, category, grace / 1000


def _reply(client: socket.socket, value: "dict[str, Any]", file: int | None = None) -> None:
    """Answer; who does not listen misses it."""
    files = [] if file is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file))]
    with suppress(OSError):
        client.sendmsg([json.dumps(value).encode()], files, socket.MSG_NOSIGNAL)

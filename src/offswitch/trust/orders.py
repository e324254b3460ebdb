"""Stop orders, and the other orders that an agent's supervisor obeys: signed, expiring, never obeyed twice.

A refused order changes nothing. An order that loosens (release, renew, reset, policy) has to name the run that it is
for, so that an old one is worth nothing in a later run; one that only tightens may leave it open, and is then for
the runs that go on when it is issued.
"""

from collections.abc import Iterable, Mapping, MutableMapping

from cryptography.hazmat.primitives import hashes

from . import canonical, dsse
from .keys import PrivateKey, PublicKey

TYPE = "application/vnd.offswitch.order+json"
ACTIONS = ("stop", "hold", "release", "renew", "reset", "policy")
LONGEST_LIFE_MS = 24 * 3600 * 1000
SKEW_MS = 60 * 1000
LONGEST_GRACE_MS = 3600 * 1000
LONGEST_LEASE_S = 31 * 24 * 3600
LARGEST_SHARED_COUNTER = 2**52
"""Of an order with several signatures. Counters beyond it are left for orders of one key, so that nobody can have
another sign a counter after which that key could not stop any more."""

_MOST_PAYLOAD = 16384  # bytes; the largest order has a third of it
_LONGEST_NAME = 128
_LONGEST_REASON = 1000
_FIELDS = (
    "version",
    "action",
    "agent",
    "run",
    "category",
    "grace_ms",
    "lease_s",
    "reason",
    "digest",
    "issued",
    "expires",
    "counter",
)
_OBEYED = "sha256:"


class Refused(Exception):
    """An order that is not obeyed.

    Attributes:
        code: ``malformed``, ``signature``, ``too-few-keys``, ``other-agent``, ``earlier-run``, ``expired``,
            ``not-yet-valid`` or ``replayed``.
        line: Why, in one line of printable text.
    """

    def __init__(self, code: str, line: str) -> None:
        super().__init__(line)
        self.code = code
        self.line = line


class Order:
    """What an operator asks of an agent's supervisor. All fields are as given; none is changed later.

    Attributes:
        action: One of `ACTIONS`.
        agent: Name of the agent, 1 to 128 printable characters.
        run: Id of its run, or empty for whichever runs; never empty for an action that loosens.
        category: Of a stop, IEC 60204-1: 0 cuts at once, 1 tells the agent and waits for the grace. Else 0.
        grace_ms: Of a stop of category 1, milliseconds, at most an hour. Else 0.
        lease_s: Of a renew, seconds from its receipt, at most 31 days. Else 0.
        reason: At most 1000 printable characters; `printable` makes any text one.
        digest: Of a policy, the SHA-256 of its file in 64 lower-case hex digits. Else empty.
        issued: Milliseconds since 1970.
        expires: Milliseconds since 1970, at most 24 hours later.
        counter: From `counters.next_counter`.
        keys: After `check`, the ids of the keys that signed; else empty. Not part of the signed content.
        payload_digest: After `check`, the SHA-256 of the signed bytes in hex; else empty. Not part of them either.
    """

    __slots__ = (
        "action",
        "agent",
        "category",
        "counter",
        "digest",
        "expires",
        "grace_ms",
        "issued",
        "keys",
        "lease_s",
        "payload_digest",
        "reason",
        "run",
    )

    def __init__(
        self,
        *,
        action: str,
        agent: str,
        issued: int,
        expires: int,
        counter: int,
        run: str = "",
        category: int = 0,
        grace_ms: int = 0,
        lease_s: int = 0,
        reason: str = "",
        digest: str = "",
    ) -> None:
        """
        Raises:
            ValueError: A field is not as described above, in one line.
        """
        self.action = action
        self.agent = agent
        self.run = run
        self.category = category
        self.grace_ms = grace_ms
        self.lease_s = lease_s
        self.reason = reason
        self.digest = digest
        self.issued = issued
        self.expires = expires
        self.counter = counter
        self.keys: tuple[str, ...] = ()
        self.payload_digest = ""
        _check_fields(self._fields())

    def sign(self, keys: Iterable[PrivateKey]) -> dict[str, object]:
        """The envelope to send. More keys can be added to it with `dsse.add_signature`."""
        return dsse.sign(TYPE, canonical.encode(self._fields()), keys)

    def _fields(self) -> dict[str, object]:
        return {"version": 1} | {name: getattr(self, name) for name in _FIELDS[1:]}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((self.action, self.agent, self.counter))

    def __repr__(self) -> str:
        return "Order(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in _FIELDS[1:]) + ")"


def printable(text: str) -> str:
    """A text as the reason of an order can be: what cannot be printed becomes a space, what is too long is cut."""
    return "".join(one if one.isprintable() else " " for one in text[:_LONGEST_REASON])


def check(
    envelope: object,
    *,
    agent: str,
    run: str,
    trusted: Mapping[str, PublicKey],
    now_ms: int,
    counters: MutableMapping[str, int],
    needed: int = 1,
    since_ms: int | None = None,
) -> Order:
    """The order in an envelope, if it is to be obeyed.

    Args:
        envelope: Any value that was read from JSON.
        agent: Name of the agent that the caller supervises.
        run: Id of its run; of a reset, the id of the run that was stopped.
        trusted: The operators' keys by id.
        now_ms: The wall clock, milliseconds since 1970.
        counters: Begins empty and is kept as long as orders for this run can come. Advanced when the order is
            good, untouched when it is not. Holds the last counter of each key, and of orders already obeyed the
            digest with the time of expiry: of an order with more signatures than needed, each part would else be
            good once more.
        needed: How many keys have to agree. To stop, one always is enough.
        since_ms: When the run began, by the wall clock as it goes now; None for no matter. What was issued before, and
            names no run, was for an earlier one.

    Raises:
        Refused: It is not to be obeyed.
    """
    try:
        payload, signed = dsse.verify(envelope, TYPE, trusted, most=_MOST_PAYLOAD)
    except dsse.Malformed as error:
        raise Refused("malformed", str(error)) from None
    except dsse.Untrusted as error:
        raise Refused("signature", str(error)) from None
    try:
        order = _read(payload)
    except ValueError as error:
        raise Refused("malformed", str(error)) from None
    if len(signed) > 1 and order.counter > LARGEST_SHARED_COUNTER:
        raise Refused(
            "malformed", f"the counter of an order with several signatures is beyond {LARGEST_SHARED_COUNTER}"
        )
    if order.agent != agent:
        raise Refused("other-agent", f"the order is for the agent {order.agent!r}, not for {agent!r}")
    if order.run not in ("", run):
        raise Refused("other-agent", f"the order is for the run {order.run!r} of {agent!r}, not for {run!r}")
    if not order.run and since_ms is not None and order.issued < since_ms:
        raise Refused("earlier-run", "the order was issued before this run began: sign a new one")
    least = 1 if order.action == "stop" else needed
    if len(signed) < least:
        raise Refused(
            "too-few-keys", f"{len(signed)} of the {least} keys that a {order.action} needs have signed"
        )
    if now_ms >= order.expires:
        raise Refused("expired", f"the order expired {_seconds(now_ms - order.expires)} ago: sign a new one")
    if order.issued - SKEW_MS > now_ms:
        raise Refused(
            "not-yet-valid",
            f"the order was issued {_seconds(order.issued - now_ms)} ahead of this clock: set the clock that is wrong",
        )
    mark = _OBEYED + order.payload_digest
    if mark in counters:
        raise Refused("replayed", "this order was obeyed already: sign a new one")
    for id in sorted(signed):
        if order.counter <= counters.get(id, 0):
            raise Refused(
                "replayed",
                f"the order's counter {order.counter} is not beyond {counters[id]}, the last of {id}: sign a new one",
            )
    # A day longer than needed, for a clock that is set back.
    for old in [
        one for one, until in counters.items() if one.startswith(_OBEYED) and until < now_ms - LONGEST_LIFE_MS
    ]:
        del counters[old]
    counters[mark] = order.expires
    for id in signed:
        counters[id] = order.counter
    order.keys = tuple(sorted(signed))
    return order


def _read(payload: bytes) -> Order:
    fields = canonical.decode(payload)
    if not isinstance(fields, dict):
        raise ValueError("the order is not a JSON object")
    _check_fields(fields)
    order = Order(**{name: fields[name] for name in _FIELDS[1:]})
    digest = hashes.Hash(hashes.SHA256())
    digest.update(payload)
    order.payload_digest = digest.finalize().hex()
    return order


def _check_fields(fields: dict[str, object]) -> None:
    for name in fields:
        if name not in _FIELDS:
            raise ValueError(f"the order has a field {name[:80]!r} that version 1 does not know")
    for name in _FIELDS:
        if name not in fields:
            raise ValueError(f"the order has no {name}")
    if _integer(fields, "version", 0, canonical.LARGEST) != 1:
        raise ValueError(
            "the order is of a version other than 1: use the same version of offswitch on both sides"
        )
    action = _text(fields, "action", 1, 16)
    if action not in ACTIONS:
        raise ValueError(f"the order's action {action!r} is none of {', '.join(ACTIONS)}")
    _text(fields, "agent", 1, _LONGEST_NAME)
    _text(fields, "run", 0 if action in ("stop", "hold") else 1, _LONGEST_NAME)
    _text(fields, "reason", 0, _LONGEST_REASON)
    category = _integer(fields, "category", 0, 1 if action == "stop" else 0)
    _integer(fields, "grace_ms", 0, LONGEST_GRACE_MS if category else 0)
    if action == "renew":
        _integer(fields, "lease_s", 1, LONGEST_LEASE_S)
    else:
        _integer(fields, "lease_s", 0, 0)
    digest = _text(fields, "digest", 0, 64)
    if action == "policy":
        if len(digest) != 64 or digest.strip("0123456789abcdef"):
            raise ValueError("the order's digest is not a SHA-256 in 64 lower-case hex digits")
    elif digest:
        raise ValueError(f"the order to {action} has a digest, which only one of a policy has")
    issued = _integer(fields, "issued", 0, canonical.LARGEST)
    if not 0 < _integer(fields, "expires", 0, canonical.LARGEST) - issued <= LONGEST_LIFE_MS:
        raise ValueError("the order expires before it was issued, or more than 24 hours after")
    _integer(fields, "counter", 1, canonical.LARGEST)


def _integer(fields: dict[str, object], name: str, least: int, most: int) -> int:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"the order's {name} is not an integer")
    if not least <= value <= most:
        raise ValueError(f"the order's {name} has to be {least}" + (f" to {most}" if most > least else ""))
    return value


def _text(fields: dict[str, object], name: str, shortest: int, longest: int) -> str:
    value = fields[name]
    # What is not printable could write over other lines of a terminal.
    if not isinstance(value, str) or not shortest <= len(value) <= longest or not value.isprintable():
        raise ValueError(f"the order's {name} has to be {shortest} to {longest} printable characters")
    return value


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.0f} s"

"""The operator's side of an order: signing it, collecting signatures, and what is known of an agent that has ended."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from offswitch.enforce import control, latch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.enforce.places import Places

LIFE_MS = 60 * 1000
"""Milliseconds that an order lives which is sent at once."""
SHARED_LIFE_MS = 24 * 3600 * 1000
"""Milliseconds that an order lives for which further signatures are collected."""

_SETTLING = 15.0
_VERSION = 1
_LARGEST = 256 * 1024


class Unsigned(Exception):
    """No order could be signed; the message is one line that says what to do."""


class Unfit(Exception):
    """A file that holds no order, or an order that is not to be signed or sent; one line that says what to do."""


def sign(
    places: "Places",
    action: str,
    agent: str,
    *,
    run: str = "",
    keys: Sequence[str] = (),
    life_ms: int = LIFE_MS,
    category: int = 0,
    grace_ms: int = 0,
    lease_s: int = 0,
    reason: str = "",
    digest: str = "",
) -> "dict[str, Any]":
    """A signed order.

    Args:
        places: Where the operator's key lies, which is made on first use, and its counter.
        action: ``stop hold release renew reset policy``.
        agent: Name of the agent.
        run: Id of its run; for what loosens it has to be named.
        keys: Key files to sign with; none for the operator's own key.
        life_ms: Milliseconds until it expires.
        category: Of a stop.
        grace_ms: Milliseconds, of a stop of category 1.
        lease_s: Seconds, of a renewal.
        reason: In the operator's words; what cannot be printed becomes a space.
        digest: Of a policy (``policy.digest``).

    Returns:
        The envelope.

    Raises:
        Unsigned: No key can be read, or the order cannot be made.
    """
    try:
        from offswitch.trust import counters, orders
        from offswitch.trust.keys import Unusable, load, load_or_make
    except Exception as error:
        # Whatever is wrong with a library: the owner stops without a signature.
        raise Unsigned(f"what signs cannot be loaded ({error}): install offswitch anew") from None

    try:
        own = f"{places.keys}/operator.pem"
        signers = [load(path) for path in keys] if keys else [load_or_make(own)]
        issued = time.time_ns() // 1_000_000
        order = orders.Order(
            action=action,
            agent=agent,
            run=run,
            category=category,
            grace_ms=grace_ms,
            lease_s=lease_s,
            reason=orders.printable(reason),
            digest=digest,
            issued=issued,
            expires=issued + life_ms,
            counter=counters.next_counter(f"{places.keys}/counter"),
        )
        return order.sign(signers)
    except Unusable as error:
        raise Unsigned(str(error)) from None
    except FileNotFoundError as error:
        raise Unsigned(f"{error.filename} does not exist: name a key file that does") from None
    except (OSError, ValueError) as error:
        raise Unsigned(f"the order cannot be signed: {error}") from None


def own_key(places: "Places") -> str:
    """Id of the operator's own key, which is made on first use.

    Raises:
        Unsigned: It cannot be read: nothing is started that could only be stopped by whoever owns this machine.
    """
    key, beside = f"{places.keys}/operator.pem", f"{places.keys}/operator.pub"
    known = _known(key, beside)
    if known:
        return known
    try:
        from offswitch.trust.keys import Unusable, load_or_make
    except Exception as error:
        raise Unsigned(f"what signs cannot be loaded ({error}): install offswitch anew") from None
    try:
        found = load_or_make(key).id
    except Unusable as error:
        raise Unsigned(str(error)) from None
    with suppress(Unfit):
        write(beside, found.encode() + b"\n")
    return found


def _known(key: str, beside: str) -> str:
    """The id of the own key as it was written down beside it, "" if it has to be worked out.

    For others to name in their policies; and to read it here spares every start the loading of what signs.
    """
    try:
        with open(beside, encoding="ascii") as file:
            found = file.read(100).strip()
        younger = os.stat(beside).st_mtime_ns >= os.stat(key).st_mtime_ns
    except (OSError, ValueError):
        return ""
    return found if younger and found.startswith("ed25519:") and len(found) == len("ed25519:") + 43 else ""


# Orders that travel as files, to collect signatures


def pack(envelope: "Mapping[str, Any]", policy: "Mapping[str, Any] | None" = None) -> bytes:
    """The file of an order: JSON that others add their signatures to (`add`)."""
    body: dict[str, Any] = {"offswitch-order": _VERSION, "order": dict(envelope)}
    if policy is not None:
        body["policy"] = dict(policy)
    return json.dumps(body, indent=2).encode() + b"\n"


def unpack(path: str) -> "tuple[dict[str, Any], dict[str, Any] | None, Any]":
    """Read the file of an order.

    Returns:
        The envelope, the policy that goes with it or None, and what the order says (``orders.Order``, its
        signatures not checked).

    Raises:
        Unfit: It cannot be read, holds no order, or another policy than the one that the order names.
    """
    import binascii

    from offswitch.trust import canonical, orders

    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as content:
            data = content.read(_LARGEST + 1) or b""
    except OSError as error:
        raise Unfit(f"{path} cannot be read: {error.strerror}; name a file that --out wrote") from None
    try:
        body = json.loads(data) if len(data) <= _LARGEST else None
        if not isinstance(body, dict) or body.get("offswitch-order") != _VERSION:
            raise Unfit(f"{path} holds no order: name a file that --out wrote")
        envelope, policy = body["order"], body.get("policy")
        if not all(isinstance(one, dict) for one in envelope["signatures"]):
            raise TypeError
        said = canonical.decode(binascii.a2b_base64(envelope["payload"], strict_mode=True))
        if not isinstance(said, dict) or said.pop("version", None) != 1:
            raise Unfit(
                f"{path} holds an order of another version: use the same version of offswitch on both sides"
            )
        order = orders.Order(**said)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unfit(f"the order in {path} is damaged: have it written anew with --out") from None
    if order.action == "policy":
        import hashlib

        if (
            not isinstance(policy, dict)
            or hashlib.sha256(canonical.encode(policy)).hexdigest() != order.digest
        ):
            raise Unfit(f"the policy in {path} is not the one that its order names: do not sign or send it")
    return envelope, policy, order


def add(places: "Places", path: str, key: str | None = None) -> str:
    """Add a signature to the file of an order.

    Args:
        places: Where the operator's key lies.
        path: The file.
        key: A key file; None for the operator's own key.

    Returns:
        The id of the key that signed.

    Raises:
        Unfit: There is no order in the file, or it is not to be signed.
        Unsigned: The key cannot be read.
    """
    from offswitch.trust import counters, dsse, orders
    from offswitch.trust.keys import Unusable, load, load_or_make

    envelope, policy, order = unpack(path)
    if order.counter > orders.LARGEST_SHARED_COUNTER:
        raise Unfit(
            f"the counter in {path} is so large that your key could order nothing after it: do not sign it"
        )
    if order.expires <= time.time_ns() // 1_000_000:
        raise Unfit(f"the order in {path} has expired: have it written anew with --out")
    try:
        signer = load_or_make(f"{places.keys}/operator.pem") if key is None else load(key)
    except FileNotFoundError:
        raise Unsigned(f"{key} does not exist: name a key file that does") from None
    except Unusable as error:
        raise Unsigned(str(error)) from None
    try:
        if any(one.get("keyid") == signer.id for one in envelope["signatures"]):
            raise Unfit(f"{signer.id} has signed {path} already: another key has to")
        signed = dsse.add_signature(envelope, signer)
    except (dsse.Malformed, KeyError, AttributeError, TypeError):
        raise Unfit(f"the order in {path} is damaged: have it written anew with --out") from None
    counters.note(f"{places.keys}/counter", order.counter)
    write(path, pack(signed, policy))
    return signer.id


def write(path: str, content: bytes) -> None:
    """Write the file of an order as a whole or not at all.

    Raises:
        Unfit: It cannot be written.
    """
    written = f"{path}.{os.getpid()}.new"
    try:
        file = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            with os.fdopen(file, "wb") as out:
                out.write(content)
            os.rename(written, path)
        except OSError:
            os.unlink(written)
            raise
    except OSError as error:
        raise Unfit(f"{path} cannot be written: {error.strerror}; name another file") from None


# Agents that have ended


def reset(places: "Places", name: str, envelope: "Mapping[str, Any]") -> None:
    """Clear a latch, if the order is good. It starts nothing.

    A refusal is put into the agent's account, as its supervisor would.

    Args:
        places: Where latches lie.
        name: The agent's name.
        envelope: A signed order to reset.

    Raises:
        latch.Refused: There is no such latch, its agent runs, or the order is not good for it.
        OSError: It cannot be removed.
    """
    from offswitch.trust import orders
    from offswitch.trust.keys import PublicKey, Unusable, load_or_make

    record = latched(places, name)
    needed = 1
    try:
        trusted = {key: PublicKey.parse(key) for key in (record or {}).get("trusted", ())}
        if record is not None:
            needed = int(record["needed"].get("reset", 1))
        if not trusted:  # no others were named, or the latch cannot be read: then it is the operator's own
            own = load_or_make(f"{places.keys}/operator.pem")
            trusted = {own.id: own.public}
    except Unusable as error:
        raise latch.Refused(str(error)) from None
    except ValueError as error:
        raise latch.Refused(f"the latch of {name} trusts a key that is none ({error})") from None
    try:
        run = UNREAD if record is None else record["run"]
        now = time.time_ns() // 1_000_000
        order = orders.check(
            envelope, agent=name, run=run, trusted=trusted, now_ms=now, counters={}, needed=needed
        )
        if order.action != "reset":
            raise orders.Refused("malformed", f"the order is to {order.action}, not to reset: sign another")
    except orders.Refused as error:
        _note(places, name, "refused order", code=error.code, why=error.line)
        raise latch.Refused(f"the order is refused ({error.code}): {error.line}") from None
    from offswitch.enforce.places import remove

    # What a supervisor and a guard that were lost together left; while the latch is there, nothing of that name starts.
    remove(places.agent(name))
    latch.clear(places, name)
    _note(places, name, "reset", keys=list(order.keys), reason=order.reason)


UNREAD = "unread"
"""Stands for the id of the run whose latch cannot be read."""


def _note(places: "Places", name: str, event: str, **facts: object) -> None:
    """Put something into the agent's account; what is cleared stays cleared if that cannot be written."""
    line = json.dumps({"at": time.time_ns() // 1_000_000, "event": event, **facts})
    try:
        path = f"{places.logs(name)}/account.jsonl"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        os.write(file, line.encode() + b"\n")
    except OSError:
        pass
    finally:
        os.close(file)


def latched(places: "Places", name: str) -> "dict[str, Any] | None":
    """The record of the latch of an agent that does not run; None if it cannot be read.

    Raises:
        latch.Refused: There is no latch of this name, or its agent runs.
    """
    for found, record, running in latch.read(places):
        if found == name:
            if running:
                raise latch.Refused(f"{name} is running: stop it first, with: offswitch stop {name}")
            return record
    raise latch.Refused(f"{name} is not latched: there is nothing to reset")


def await_end(places: "Places", name: str) -> None:
    """Wait for a supervisor that has only to end: for the re-spawn probe of an agent that is dead already.

    Returns at once where there is none, or its agent lives.
    """
    until = time.monotonic() + _SETTLING
    while time.monotonic() < until:
        try:
            with control.connect(places, name) as line:
                status = control.ask(line, {"do": "status"}, 1.0).get("status")
        except control.NotRunning:
            if not any(found == name and running for found, _, running in latch.read(places)):
                return
        except control.Lost:
            pass  # it ends just now
        else:
            if not isinstance(status, dict) or status.get("state") not in ("stopped", "ended"):
                return
        time.sleep(0.05)


class End:
    """What is known of an agent whose supervisor does not answer.

    Attributes:
        known: Whether there is a trace of such an agent at all.
        dead: Whether its death was observed, or this machine was restarted since.
        alive: Whether its supervisor or its guard still is.
        line: The same in words.
        receipt: The envelope of its receipt, if there is one.
    """

    __slots__ = ("alive", "dead", "known", "line", "receipt")

    def __init__(
        self, known: bool, dead: bool, line: str, receipt: "Any" = None, alive: bool = False
    ) -> None:
        self.known = known
        self.dead = dead
        self.line = line
        self.receipt = receipt
        self.alive = alive


def end(places: "Places", name: str, run: str | None = None) -> End:
    """What is known of how an agent ended.

    Args:
        places: Where latches and receipts lie.
        name: The agent's name.
        run: Id of its run; None for the one that its latch names.
    """
    try:
        records = [(record, running) for found, record, running in latch.read(places) if found == name]
    except latch.Refused as error:
        return End(True, False, str(error))
    if not records:
        return End(
            False, False, f"no agent {name} is running and none is latched; offswitch ps lists those that are"
        )
    record, running = records[0]
    if running:
        return End(True, False, f"{name} has a supervisor or guard that cannot be reached", alive=True)
    if record is None:
        return End(True, False, f"the latch of {name} cannot be read, so nothing is known of its end")
    receipt = find_receipt(places, name, run or record["run"])
    said, back = opened(receipt), came_back(receipt)
    stays = f"it stays latched until: offswitch reset {name}"
    if said.get("dead") is True and not back:
        return End(True, True, f"{name} is not running: it was stopped ({_reason(record)}); {stays}", receipt)
    if record.get("boot") and latch.boot() not in ("", record["boot"]):
        return End(True, True, f"{name} is not running: this machine was restarted since; {stays}", receipt)
    if back:
        return End(True, False, f"{name} was stopped ({_reason(record)}), and {back}; {stays}", receipt)
    if record.get("dead") is True:
        return End(True, True, f"{name} is not running: it was stopped ({_reason(record)}); {stays}", receipt)
    if record["state"] == "stopped":
        return End(
            True,
            False,
            f"{name} was stopped ({_reason(record)}), and no receipt says that it died; {stays}",
            receipt,
        )
    return End(
        True, False, f"{name} was cut short, and nobody was left to observe its death; {stays}", receipt
    )


def _reason(record: "Mapping[str, Any]") -> str:
    return str(record["reason"]) or "no reason given"


def find_receipt(places: "Places", name: str, run: str) -> "Any":
    """The envelope of a run's last receipt (the one after the re-spawn probe, if that was over); None without one."""
    return _last_line(f"{places.receipts}/{name}-{run}.jsonl")


def last_receipt(places: "Places", name: str, since: float) -> "Any":
    """The envelope of an agent's last receipt, whichever its run; None if none was written since (unix seconds)."""
    try:
        # The id of a run has no "-" in it, and so no other agent's name is taken for the beginning of a longer one.
        paths = [entry.path for entry in os.scandir(places.receipts) if entry.name.rpartition("-")[0] == name]
        path = max(paths, key=os.path.getmtime, default=None)
        return _last_line(path) if path is not None and os.path.getmtime(path) >= since else None
    except OSError:
        return None


def _last_line(path: str) -> "Any":
    try:
        with open(path, "rb") as file:
            lines = file.read(16 << 20).splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            continue  # cut off by a full disk: the one before it is whole
    return None


def came_back(envelope: "Any") -> str:
    """What the re-spawn probe of a receipt saw, in words; "" if that was nothing, or there was none."""
    settle = opened(envelope).get("settle")
    seen = settle.get("respawned") if isinstance(settle, dict) else None
    if not isinstance(seen, list) or not seen:
        return ""
    return f"after its death was observed {len(seen)} process{'' if len(seen) == 1 else 'es'} CAME BACK in its sandbox"


def opened(envelope: "Any") -> "dict[str, Any]":
    """What an envelope says, its signatures not checked; empty if it is none."""
    import binascii

    try:
        said = json.loads(binascii.a2b_base64(envelope["payload"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}

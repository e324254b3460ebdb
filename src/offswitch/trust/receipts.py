"""Receipts: the signed account of a stop, from the order to the observed death.

``schemas/receipt-v1.json`` says what is in one, ``schemas/order-v1.json`` what is in an order; a supervisor has no
memory to spare for a validator, so the shape is checked by the tests and by those who read receipts.
"""

import os
from collections.abc import Mapping

from . import canonical, dsse
from .keys import PrivateKey, PublicKey

TYPE = "application/vnd.offswitch.receipt+json"
MOST = 4 << 20
"""The longest receipt, in bytes."""


def sign(receipt: dict[str, object], key: PrivateKey) -> dict[str, object]:
    """The envelope of a receipt.

    Args:
        receipt: As the schema says; at most `MOST` bytes of canonical JSON.
        key: The host's.

    Raises:
        ValueError: It has no canonical form, is not of version 1 or is too long, in one line.
    """
    payload = canonical.encode(receipt)
    _check(receipt, payload)
    return dsse.sign(TYPE, payload, [key])


def verify(envelope: object, trusted: Mapping[str, PublicKey]) -> dict[str, object]:
    """The receipt in an envelope, if a trusted host signed it.

    Args:
        envelope: Any value that was read from JSON.
        trusted: The hosts' keys by id.

    Raises:
        dsse.Untrusted: It is not a receipt, or not one of theirs.
    """
    payload, _ = dsse.verify(envelope, TYPE, trusted, most=MOST)
    try:
        receipt = canonical.decode(payload)
        return _check(receipt, payload)
    except ValueError as error:
        raise dsse.Malformed(str(error)) from None


def schema(name: str) -> bytes:
    """The JSON Schema of ``order`` or ``receipt``, version 1."""
    with open(os.path.join(os.path.dirname(__file__), "schemas", f"{name}-v1.json"), "rb") as file:
        return file.read()


def _check(receipt: object, payload: bytes) -> dict[str, object]:
    if not isinstance(receipt, dict) or type(receipt.get("version")) is not int or receipt["version"] != 1:
        raise ValueError(
            "a receipt is a JSON object of version 1: use the version of offswitch that wrote it"
        )
    if len(payload) > MOST:
        raise ValueError(f"the receipt is longer than {MOST} bytes: leave out some of what was held")
    return receipt

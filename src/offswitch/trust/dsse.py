"""DSSE v1.0 envelopes: signed bytes with their type (https://github.com/secure-systems-lab/dsse).

Stricter than it where it leaves room: base64 is the standard alphabet in its only canonical spelling, so no byte of
a payload or a signature can be changed unnoticed. Fields that DSSE does not know are ignored, as it asks.
"""

import binascii
from collections.abc import Iterable, Mapping

from .keys import PrivateKey, PublicKey

MOST_SIGNATURES = 16
"""A bound on the work that an envelope can ask for: each takes 0.1 ms to check."""
_LONGEST = 4096  # letters of a type, a key id or a signature; other schemes than ours have long ones


class Untrusted(Exception):
    """An envelope that is not to be believed; the message is one line."""


class Malformed(Untrusted):
    """It is no such envelope at all."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding of a payload and its type."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, keys: Iterable[PrivateKey]) -> dict[str, object]:
    """An envelope with the signature of each key, ready for JSON."""
    message = pae(payload_type, payload)
    return {
        "payload": _base64(payload),
        "payloadType": payload_type,
        "signatures": [_signature(message, key) for key in keys],
    }


def add_signature(envelope: object, key: PrivateKey) -> dict[str, object]:
    """The same envelope with one more signature. Read what it says before: the signatures in it are not checked.

    Raises:
        Malformed: It is not an envelope.
    """
    payload_type, encoded, signatures = _parts(envelope)
    message = pae(payload_type, _from_base64(encoded, "payload"))
    return {
        "payload": encoded,
        "payloadType": payload_type,
        "signatures": [*({"keyid": id, "sig": sig} for id, sig in signatures), _signature(message, key)],
    }


def verify(
    envelope: object, payload_type: str, trusted: Mapping[str, PublicKey], *, most: int = 65536
) -> tuple[bytes, frozenset[str]]:
    """What an envelope holds, and who of those we trust signed it.

    Args:
        envelope: Any value that was read from JSON.
        payload_type: The only type that will do.
        trusted: The keys that count, by their id. A signature by any other is as good as none.
        most: The longest payload, in bytes.

    Returns:
        The payload and the ids of the trusted keys that signed it, at least one.

    Raises:
        Malformed: It is not an envelope, too large, or of another type.
        Untrusted: None of the trusted keys signed, or the signature under the name of one is not its own.
    """
    found_type, encoded, signatures = _parts(envelope)
    if found_type != payload_type:
        raise Malformed(f"the envelope holds {found_type[:80]!r} and not {payload_type}")
    if len(encoded) > most // 3 * 4 + 4:
        raise Malformed(f"the payload is longer than {most} bytes")
    payload = _from_base64(encoded, "payload")
    message = pae(payload_type, payload)
    signed = set()
    for id, encoded_signature in signatures:
        key = trusted.get(id)
        if key is None:
            continue
        if not key.verify(_from_base64(encoded_signature, "signature"), message):
            raise Untrusted(
                f"the signature is not that of {key.id}: the content was changed, or someone else signed"
            )
        signed.add(key.id)
    if not signed:
        raise Untrusted("none of the trusted keys signed: sign with one of theirs")
    return payload, frozenset(signed)


def _parts(envelope: object) -> tuple[str, str, list[tuple[str, str]]]:
    """Type, encoded payload, and (key id, encoded signature) of each signature."""
    if not isinstance(envelope, dict):
        raise Malformed("an envelope is a JSON object with payload, payloadType and signatures")
    kind = _text(envelope, "payloadType", _LONGEST)
    encoded = _text(envelope, "payload", None)
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MOST_SIGNATURES:
        raise Malformed(f"the envelope's signatures are not a list of 1 to {MOST_SIGNATURES}")
    found = []
    for one in signatures:
        if not isinstance(one, dict):
            raise Malformed("a signature is a JSON object with keyid and sig")
        # DSSE lets the id be absent; such a signature is by nobody we know.
        id = _text(one, "keyid", _LONGEST) if "keyid" in one else ""
        found.append((id, _text(one, "sig", _LONGEST)))
    return kind, encoded, found


def _text(fields: dict[str, object], name: str, longest: int | None) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or (longest is not None and len(value) > longest):
        raise Malformed(f"the envelope's {name} is absent, not text or too long")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Malformed(f"the envelope's {name} holds half of a surrogate pair") from None
    return value


def _signature(message: bytes, key: PrivateKey) -> dict[str, str]:
    return {"keyid": key.id, "sig": _base64(key.sign(message))}


def _base64(content: bytes) -> str:
    return binascii.b2a_base64(content, newline=False).decode()


def _from_base64(encoded: str, name: str) -> bytes:
    try:
        content = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError:
        raise Malformed(f"the envelope's {name} is not base64") from None
    if _base64(content) != encoded:
        raise Malformed(f"the envelope's {name} is not the base64 that its bytes have")
    return content

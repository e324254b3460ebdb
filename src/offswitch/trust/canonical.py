"""Canonical JSON: for each value exactly one byte string, so that what is signed cannot be read in two ways.

RFC 8785 (JSON Canonicalization Scheme). What is signed is restricted to values that every JSON reader understands
alike: no fractions, no integers beyond 2^53 - 1. What is only told apart, such as the requests of agent programs, may
have fractions (`encode_any`).
"""

import json
import math

LARGEST = 2**53 - 1
"""The largest integer, and negated the smallest, that a reader whose numbers are doubles can hold (RFC 7493, 2.2)."""
_DEEPEST = 32
_DEEPEST_ANY = 200


class NotCanonical(ValueError):
    """A value that has no canonical form, or bytes that are not one; the message is one line."""


def encode(value: object) -> bytes:
    """The canonical form of a value, in UTF-8.

    Args:
        value: None, bool, str, int, list, or dict with str keys, and these in each other, at most 32 deep.

    Raises:
        NotCanonical: Anything else is in it, an integer beyond ±(2^53 - 1), or half of a surrogate pair.
    """
    return _encode(value, _DEEPEST, fractions=False)


def encode_any(value: object) -> bytes:
    """The canonical form of a value that other people's programs have written, in UTF-8; nothing of it is signed.

    Args:
        value: As for `encode`, and float; at most 200 deep.

    Raises:
        NotCanonical: Anything else is in it, NaN or an infinity (RFC 8785, 3.2.2.3), an integer beyond ±(2^53 - 1),
            of which doubles would make one of several, or half of a surrogate pair.
    """
    return _encode(value, _DEEPEST_ANY, fractions=True)


def _encode(value: object, deepest: int, *, fractions: bool) -> bytes:
    parts: list[str] = []
    try:
        _write(value, parts, deepest, deepest, fractions)
        return "".join(parts).encode()
    except UnicodeEncodeError:
        raise NotCanonical("a text holds half of a surrogate pair, which UTF-8 cannot carry") from None


def decode(data: bytes) -> object:
    """The value whose canonical form these bytes are.

    Args:
        data: Untrusted bytes; bound their length before.

    Raises:
        NotCanonical: They are not JSON, or not exactly what `encode` makes of their value.
    """
    try:
        value: object = _DECODER.decode(data.decode())
    except NotCanonical:
        raise
    except RecursionError:
        raise NotCanonical(f"the JSON is nested more than {_DEEPEST} deep") from None
    except ValueError as error:  # of JSON's or of UTF-8's decoder
        raise NotCanonical(f"not JSON: {error}") from None
    if encode(value) != data:
        raise NotCanonical("the JSON is not in canonical form (RFC 8785)")
    return value


def _write(value: object, parts: list[str], left: int, deepest: int, fractions: bool) -> None:
    # Exact types: a subclass may print itself as it likes, and bool is one of int.
    kind = type(value)
    if left < 0:
        raise NotCanonical(f"the value is nested more than {deepest} deep")
    if value is None:
        parts.append("null")
    elif kind is bool:
        parts.append("true" if value else "false")
    elif isinstance(value, str) and kind is str:
        parts.append(_TEXT(value))
    elif isinstance(value, int) and kind is int:
        parts.append(str(_within(value)))
    elif isinstance(value, list) and kind is list:
        parts.append("[")
        for place, item in enumerate(value):
            if place:
                parts.append(",")
            _write(item, parts, left - 1, deepest, fractions)
        parts.append("]")
    elif isinstance(value, dict) and kind is dict:
        for key in value:
            if type(key) is not str:
                raise NotCanonical(f"a key of an object is a {type(key).__name__}; only text can be one")
        parts.append("{")
        for place, key in enumerate(sorted(value, key=_code_units)):
            parts.append("," if place else "")
            parts.append(_TEXT(key))
            parts.append(":")
            _write(value[key], parts, left - 1, deepest, fractions)
        parts.append("}")
    elif fractions and isinstance(value, float) and kind is float:
        parts.append(_fraction(value))
    elif kind is float:
        raise NotCanonical("a fraction cannot be signed: state the value as an integer of a smaller unit")
    else:
        raise NotCanonical(f"a {kind.__name__} has no canonical JSON")


def _code_units(key: str) -> bytes:
    """What RFC 8785, 3.2.3 sorts keys by; it differs from code points beyond U+FFFF."""
    return key.encode("utf-16-be")


def _fraction(number: float) -> str:
    """A double as ECMAScript writes it (RFC 8785, 3.2.2.3): Python's shortest digits, set otherwise."""
    if not math.isfinite(number):
        raise NotCanonical(f"{number} is not a number of JSON")
    if number == 0:
        return "0"
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, rest = mantissa.partition(".")
    # 0.digits times ten to the power of point.
    digits = (whole + rest).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + rest) - len(digits))
    digits = digits.rstrip("0")
    sign = "-" if number < 0 else ""
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _within(number: int) -> int:
    if not -LARGEST <= number <= LARGEST:
        raise NotCanonical("an integer is beyond 2^53 - 1, which not every JSON reader can hold")
    return number


def _integer(digits: str) -> int:
    if len(digits) > 17:  # before int(), whose time grows with the square of the digits
        raise NotCanonical("an integer is beyond 2^53 - 1, which not every JSON reader can hold")
    return _within(int(digits))


def _no_number(text: str) -> object:
    raise NotCanonical(f"{text[:20]} is not an integer, and no other number can be signed")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise NotCanonical("an object has the same key twice")
    return made


# RFC 8785, 3.2.2.2 escapes exactly what this encoder escapes with ensure_ascii off.
_TEXT = json.JSONEncoder(ensure_ascii=False).encode
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_no_number, parse_constant=_no_number
)

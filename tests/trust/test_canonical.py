"""One value, one byte string (RFC 8785)."""

import json
import re
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trust_helpers import ANY_JSON, CANONICAL

from offswitch.trust.canonical import NotCanonical, decode, encode, encode_any


@given(CANONICAL)
def test_what_is_encoded_is_decoded(value: object) -> None:
    assert decode(encode(value)) == value


@given(CANONICAL)
def test_other_readers_read_the_same(value: object) -> None:
    assert json.loads(encode(value)) == value


@given(CANONICAL)
def test_the_order_of_keys_makes_no_difference(value: object) -> None:
    turned = dict(reversed(value.items())) if isinstance(value, dict) else value
    assert encode(turned) == encode(value)


def test_keys_are_sorted_by_utf_16() -> None:
    # The example of RFC 8785, 3.2.3: U+1F600 begins with D83D and so stands before U+FB33.
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert list(json.loads(encode(dict.fromkeys(keys, 0)))) == [
        "\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip


def test_texts_are_escaped_as_the_standard_says() -> None:
    # RFC 8785, 3.2.2.2
    assert (
        encode('\u20ac$\x0f\nA\'B"\\\\"/\x7f\u2028') == '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\x7f\u2028"'.encode()
    )


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), "\ud800", {"\udfff": 1}, {1: 2}, (1,), b"x", {1}, {"a": [0.5]}],
    ids=repr,
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical) as refused:
        encode(value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        b"", b" 1", b"1\n", b"1.0", b"1e2", b"-0", b"01", b"+1", b"NaN", b"Infinity", b"-Infinity",
        b'{"a":1,"a":1}', b'{"a":{"b":1,"b":2}}', b'{"b":1,"a":1}', b'{"a": 1}', b"[1,]", b'"\\u0041"',
        b'"\\/"', b'"\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b"\xef\xbb\xbf1", b"9007199254740992",
        b"9" * 1_000_000, b"[" * 100_000, b"[" * 40 + b"]" * 40, b'{"a":' * 100_000, b"1 2", b"null null",
        b'"\n"', b'"\\u000A"',
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_bytes_that_are_not_canonical_are_refused(data: bytes) -> None:
    with pytest.raises(NotCanonical) as refused:
        decode(data)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":1}', "same key twice"),
        (b"9" * 5000, "beyond 2^53 - 1"),
        (b"[1.5]", "1.5 is not an integer"),
        (b"[NaN]", "NaN is not an integer"),
        (b'{"b":1,"a":1}', "RFC 8785"),
        (b"[" * 40 + b"]" * 40, "more than 32 deep"),
        (b"{", "not JSON"),
    ],
)
def test_a_refusal_says_why(data: bytes, why: str) -> None:
    with pytest.raises(NotCanonical, match=re.escape(why)):
        decode(data)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(NotCanonical, match="nested"):
        encode(value)


@given(ANY_JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
@example(b"\x00")
def test_any_bytes_are_refused_or_are_their_values_only_form(data: bytes) -> None:
    try:
        value = decode(data)
    except NotCanonical:
        return
    assert encode(value) == data


@given(CANONICAL)
def test_without_fractions_both_forms_are_the_same(value: object) -> None:
    assert encode_any(value) == encode(value)


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        # RFC 8785, appendix B
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_fractions_are_written_as_the_standard_says(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert encode_any(number) == text.encode()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_fractions_are_read_back_exactly(number: float) -> None:
    assert float(encode_any(number)) == number


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, "\ud800", {"\udfff": 1}, {1: 2}], ids=repr
)
def test_what_has_no_canonical_form_at_all_is_refused(value: object) -> None:
    with pytest.raises(NotCanonical):
        encode_any([value])


def test_what_is_not_signed_may_be_deeper_and_not_without_end() -> None:
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    assert encode_any(deep) == b"[" * 200 + b"1" + b"]" * 200
    with pytest.raises(NotCanonical, match="more than 200 deep"):
        encode_any([deep])

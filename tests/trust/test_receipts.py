"""Receipts: signed by the host, and of the shape that the schema says."""

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_helpers import ALICE, ANY_JSON, MALLORY, TRUSTED

from offswitch.trust import dsse, orders, receipts
from offswitch.trust.dsse import Untrusted
from offswitch.trust.receipts import sign, verify

SCHEMA = jsonschema.Draft202012Validator(json.loads(receipts.schema("receipt")))
RECEIPT: dict[str, Any] = {
    "version": 1,
    "agent": "ci",
    "run": "r1",
    "sandbox": "bubblewrap",
    "promises": {"kill": "cgroup.kill"},
    "order": {
        "origin": "signed",
        "category": 0,
        "reason": "",
        "keys": [ALICE.id],
        "counter": 7,
        "digest": "ab" * 32,
    },
    "times": {
        "ordered": {"monotonic_us": 1, "wall_ms": 1_800_000_000_000},
        "killed": {"monotonic_us": 2, "wall_ms": 1_800_000_000_000},
        "dead": {"monotonic_us": 600, "wall_ms": 1_800_000_000_001},
    },
    "dead": True,
    "observers": [{"who": "guard", "how": "cgroup populated 0", "at_monotonic_us": 600}],
    "killed": 3,
    "held": [{"pid": 77, "command": "vim", "what": "workspace"}],
    "survivors": [],
    "network": {"cut": True, "at_monotonic_us": 2},
    "latch": "memory",
    "exit": -9,
    "settle": None,
}


def with_(change: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(RECEIPT) | change


def test_a_receipt_is_read_as_it_was_signed() -> None:
    assert verify(sign(RECEIPT, ALICE), TRUSTED) == RECEIPT


def test_a_receipt_of_a_stranger_is_refused() -> None:
    with pytest.raises(Untrusted):
        verify(sign(RECEIPT, MALLORY), TRUSTED)


def test_an_order_is_no_receipt() -> None:
    envelope = dsse.sign(orders.TYPE, b'{"version":1}', [ALICE])
    for one in (envelope, {**envelope, "payloadType": receipts.TYPE}):
        with pytest.raises(Untrusted):
            verify(one, TRUSTED)


UNSIGNED = {"origin": "lease", "category": 0, "reason": "", "keys": [], "counter": 0, "digest": ""}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"order": None},
        {"order": UNSIGNED},
        {"order": UNSIGNED | {"origin": "agent ended"}, "exit": 0},
        {"dead": False, "observers": [], "times": {"ordered": None, "killed": None, "dead": None}},
        {"settle": {"seconds_ms": 2000, "looks": 20, "respawned": [{"pid": 5, "command": "sh"}]}},
        {"network": {"cut": False, "at_monotonic_us": None}, "latch": "none", "exit": None},
        {"network": {"cut": None, "at_monotonic_us": None}, "killed": None},
    ],
    ids=repr,
)
def test_the_schema_takes_every_kind_of_end(change: dict[str, Any]) -> None:
    SCHEMA.validate(with_(change))
    assert verify(sign(with_(change), ALICE), TRUSTED) == with_(change)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"later": 1},
        {"agent": ""},
        {"observers": []},
        {"survivors": [{"pid": 5, "command": "sh"}]},
        {"dead": False},
        {"times": RECEIPT["times"] | {"dead": None}},
        {"order": UNSIGNED | {"origin": "signed"}},
        {"order": RECEIPT["order"] | {"origin": "lease"}},
        {"order": UNSIGNED | {"origin": "magic"}},
        {"latch": "paper"},
        {"killed": -1},
        {"network": {"cut": True}},
        {"network": {"cut": True, "at_monotonic_us": None}},
        {"network": {"cut": False, "at_monotonic_us": 2}},
        {"settle": {"looks": 1}},
    ],
    ids=repr,
)
def test_the_schema_refuses_what_contradicts_itself(change: dict[str, Any]) -> None:
    assert not SCHEMA.is_valid(with_(change))


@pytest.mark.parametrize("name", sorted(RECEIPT))
def test_no_part_may_be_absent(name: str) -> None:
    left = with_({})
    del left[name]
    assert not SCHEMA.is_valid(left)


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"version": True}, {"killed": 1.5}, {"agent": "a" * (5 << 20)}]
)
def test_what_cannot_be_a_receipt_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"receipt|fraction") as refused:
        sign(with_(change), ALICE)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[1]", b"{}", b'{"version":2}', b'{"version":true}', b'{"version":1.0}']
)
def test_what_a_host_signs_by_mistake_is_no_receipt(payload: bytes) -> None:
    with pytest.raises(Untrusted):
        verify(dsse.sign(receipts.TYPE, payload, [ALICE]), TRUSTED)


@given(ANY_JSON)
def test_whatever_comes_is_refused(value: object) -> None:
    for envelope in (value, {"payload": value, "payloadType": receipts.TYPE, "signatures": value}):
        with pytest.raises(Untrusted):
            verify(envelope, TRUSTED)


@given(st.data())
def test_any_changed_letter_is_refused(data: st.DataObject) -> None:
    envelope: Any = sign(RECEIPT, ALICE)
    place, name = data.draw(
        st.sampled_from(
            [(envelope, "payload"), (envelope, "payloadType")]
            + [(envelope["signatures"][0], one) for one in ("keyid", "sig")]
        )
    )
    text = place[name]
    at = data.draw(st.integers(0, len(text) - 1))
    place[name] = text[:at] + data.draw(st.characters().filter(lambda one: one != text[at])) + text[at + 1 :]
    with pytest.raises(Untrusted):
        verify(envelope, TRUSTED)

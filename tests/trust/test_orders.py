"""Which orders are obeyed, and which are refused without a trace."""

import json
import subprocess
import sys
import sysconfig
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_helpers import ALICE, ANY_JSON, BOB, CAROL, DAVE, MALLORY, NOW, TRUSTED, order

import offswitch
from offswitch.trust import canonical, dsse, receipts
from offswitch.trust.keys import PrivateKey
from offswitch.trust.orders import ACTIONS, LARGEST_SHARED_COUNTER, TYPE, Order, Refused, check, printable

SCHEMA = jsonschema.Draft202012Validator(json.loads(receipts.schema("order")))
LOOSENING = ("release", "renew", "reset", "policy")


def obey(
    envelope: object, counters: dict[str, int] | None = None, *, now: int = NOW, needed: int = 1
) -> Order:
    known = counters if counters is not None else {}
    return check(envelope, agent="ci", run="r1", trusted=TRUSTED, now_ms=now, counters=known, needed=needed)


def refused(
    envelope: object, *, now: int = NOW, needed: int = 1, counters: dict[str, int] | None = None
) -> str:
    """The code of the refusal, which leaves no trace."""
    known = dict(counters or {})
    with pytest.raises(Refused) as error:
        obey(envelope, known, now=now, needed=needed)
    assert known == (counters or {})
    assert error.value.line.isprintable()
    return error.value.code


def signed(fields: object, *keys: PrivateKey) -> dict[str, object]:
    """An envelope around any content: what a key's owner can send without our help."""
    payload = (
        fields
        if isinstance(fields, bytes)
        else json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
    )
    return dsse.sign(TYPE, payload, keys or [ALICE])


def fields(one: Order) -> dict[str, Any]:
    payload = dsse.verify(one.sign([ALICE]), TYPE, TRUSTED)[0]
    return json.loads(payload)  # type: ignore[no-any-return]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_good_order_is_obeyed(action: str) -> None:
    sent = order(action=action, reason="it deletes the wrong folder")
    counters: dict[str, int] = {}
    got = obey(sent.sign([ALICE]), counters)
    assert got == sent
    assert got.keys == (ALICE.id,)
    assert counters[ALICE.id] == sent.counter
    SCHEMA.validate(fields(sent))


def test_the_digest_is_that_of_the_signed_bytes() -> None:
    import hashlib

    sent = order().sign([ALICE])
    payload = dsse.verify(sent, TYPE, TRUSTED)[0]
    assert obey(sent).payload_digest == hashlib.sha256(payload).hexdigest()


@pytest.mark.parametrize("key", [ALICE, BOB, CAROL, DAVE])
def test_one_valid_key_always_stops(key: PrivateKey) -> None:
    for needed in (1, 2, 3, 100):
        assert obey(order(action="stop").sign([key]), needed=needed).action == "stop"
    assert obey(order(run="").sign([key]), needed=4).run == ""


@pytest.mark.parametrize("action", ["hold", *LOOSENING])
def test_everything_but_a_stop_needs_as_many_keys_as_asked(action: str) -> None:
    one = order(action=action)
    assert refused(one.sign([ALICE]), needed=2) == "too-few-keys"
    assert refused(one.sign([ALICE, ALICE, ALICE]), needed=2) == "too-few-keys"
    assert refused(one.sign([ALICE, MALLORY]), needed=2) == "too-few-keys"
    assert obey(one.sign([ALICE, BOB]), needed=2).keys == tuple(sorted([ALICE.id, BOB.id]))


def test_strangers_are_refused() -> None:
    assert refused(order().sign([MALLORY])) == "signature"
    assert refused(order().sign([MALLORY]), needed=0) == "signature"
    assert refused({**order().sign([ALICE]), "signatures": []}) == "malformed"


def test_an_order_is_obeyed_once() -> None:
    counters: dict[str, int] = {}
    envelope = order().sign([ALICE])
    obey(envelope, counters)
    assert refused(envelope, counters=counters) == "replayed"
    assert refused(order(action="hold").sign([ALICE]), counters=counters) == "replayed"
    assert refused(order(counter=6).sign([ALICE]), counters=counters) == "replayed"
    assert obey(order(counter=8).sign([ALICE]), counters).counter == 8


def test_each_key_has_a_counter_of_its_own() -> None:
    counters: dict[str, int] = {}
    obey(order(counter=9).sign([ALICE]), counters)
    obey(order(counter=2).sign([BOB]), counters)
    assert (counters[ALICE.id], counters[BOB.id]) == (9, 2)
    assert refused(order(action="hold", counter=5).sign([ALICE, BOB]), counters=counters) == "replayed"


def test_the_parts_of_an_order_are_not_orders() -> None:
    # Signed by four where two are needed: split in two halves, it would be good twice.
    envelope = order(action="renew").sign([ALICE, BOB, CAROL, DAVE])
    signatures: Any = envelope["signatures"]
    counters: dict[str, int] = {}
    obey({**envelope, "signatures": signatures[:2]}, counters, needed=2)
    for count in (1, 2, 3, 4):
        for some in combinations(signatures, count):
            assert refused({**envelope, "signatures": [*some]}, needed=2, counters=counters) in (
                "replayed",
                "too-few-keys",
            )


def test_nobody_can_use_up_anothers_counter() -> None:
    last = canonical.LARGEST
    assert refused(order(action="hold", counter=last).sign([ALICE, BOB])) == "malformed"
    counters: dict[str, int] = {}
    obey(order(action="hold", counter=LARGEST_SHARED_COUNTER).sign([ALICE, BOB]), counters)
    assert obey(order(counter=LARGEST_SHARED_COUNTER + 1).sign([BOB]), counters)


def test_orders_that_were_obeyed_are_forgotten_when_they_can_no_longer_be_used() -> None:
    counters: dict[str, int] = {}
    for day in range(20):
        now = NOW + day * 86_400_000
        obey(order(counter=day + 1, issued=now, expires=now + 1000).sign([ALICE]), counters, now=now)
    assert len(counters) <= 4


def test_an_order_for_another_is_refused() -> None:
    assert refused(order(agent="other").sign([ALICE])) == "other-agent"
    assert refused(order(run="r0").sign([ALICE])) == "other-agent"


@pytest.mark.parametrize("action", LOOSENING)
def test_an_order_that_loosens_names_its_run(action: str) -> None:
    with pytest.raises(ValueError, match="run"):
        order(action=action, run="")
    assert refused(signed(fields(order(action=action)) | {"run": ""})) == "malformed"


@pytest.mark.parametrize("action", ["stop", "hold"])
def test_an_order_that_tightens_may_be_for_any_run(action: str) -> None:
    assert obey(order(action=action, run="").sign([ALICE]))


@pytest.mark.parametrize("action", ["stop", "hold"])
def test_an_order_from_before_the_run_is_for_an_earlier_one(action: str) -> None:
    def given(run: str, issued: int) -> Order:
        return check(
            order(action=action, run=run, issued=issued).sign([ALICE]),
            agent="ci", run="r1", trusted=TRUSTED, now_ms=NOW, counters={}, since_ms=NOW - 5000,
        )  # fmt: skip

    with pytest.raises(Refused, match="began") as error:
        given("", NOW - 5001)
    assert error.value.code == "earlier-run"
    assert given("", NOW - 5000).run == ""
    # The run has no name before it begins, so what names it is no earlier order, whatever a clock says.
    assert given("r1", NOW - 9000).run == "r1"


def test_an_order_expires() -> None:
    envelope = order(expires=NOW + 1000).sign([ALICE])
    assert refused(envelope, now=NOW + 1000) == "expired"
    assert obey(envelope, now=NOW + 999)
    for late in (NOW + 10**9, 2**60):
        assert refused(envelope, now=late) == "expired"


def test_an_order_of_the_future_is_refused_beyond_a_minute() -> None:
    envelope = order().sign([ALICE])
    assert refused(envelope, now=NOW - 60_001) == "not-yet-valid"
    assert obey(envelope, now=NOW - 60_000)


def test_no_order_lives_longer_than_a_day() -> None:
    assert obey(order(expires=NOW + 86_400_000).sign([ALICE]))
    for expires in (NOW + 86_400_001, NOW, NOW - 1, 2**53 - 1):
        with pytest.raises(ValueError, match="expires"):
            order(expires=expires)
        assert refused(signed(fields(order()) | {"expires": expires})) == "malformed"


WRONG: list[dict[str, Any]] = [
    {"version": 2}, {"version": True}, {"version": "1"}, {"version": None},
    {"action": "start"}, {"action": ""}, {"action": None}, {"action": ["stop"]}, {"action": "STOP"},
    {"agent": ""}, {"agent": 1}, {"agent": "a" * 129}, {"agent": "ci\n"}, {"agent": "c\u202ei"}, {"agent": None},
    {"run": None}, {"run": "r\0"}, {"run": 1},
    {"category": 2}, {"category": -1}, {"category": True}, {"category": "0"},
    {"grace_ms": 1}, {"grace_ms": -1}, {"category": 1, "grace_ms": 3_600_001}, {"category": 1, "grace_ms": None},
    {"lease_s": 1}, {"lease_s": False}, {"action": "renew", "lease_s": 0}, {"action": "renew", "lease_s": 10**8},
    {"action": "renew", "lease_s": 60, "category": 1},
    {"reason": "a" * 1001}, {"reason": "\x1b[2J"}, {"reason": None}, {"reason": {}},
    {"digest": "ab" * 32}, {"action": "policy"}, {"action": "policy", "digest": "AB" * 32},
    {"action": "policy", "digest": "g" * 64},
    {"issued": -1}, {"issued": "0"}, {"issued": True}, {"expires": None},
    {"counter": 0}, {"counter": -1}, {"counter": True}, {"counter": "7"}, {"counter": []},
    {"later": 1}, {"": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=repr)
def test_a_field_that_is_not_as_described_is_refused(change: dict[str, Any]) -> None:
    assert refused(signed(fields(order()) | change)) == "malformed"
    if not {"version", "later", ""} & set(change):  # which nobody can ask for
        with pytest.raises(ValueError, match="order"):
            order(**{"lease_s": 0, "digest": ""} | change)


@pytest.mark.parametrize("name", sorted(fields(order())))
def test_no_field_may_be_absent(name: str) -> None:
    left = fields(order())
    del left[name]
    assert refused(signed(left)) == "malformed"
    assert not SCHEMA.is_valid(left)


@pytest.mark.parametrize("change", WRONG, ids=repr)
def test_the_schema_refuses_what_it_can_say(change: dict[str, Any]) -> None:
    sayable = not any(isinstance(one, str) and not one.isprintable() for one in change.values())
    assert SCHEMA.is_valid(fields(order()) | change) is not sayable


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"null", b"[]", b"7", b'"stop"', b"{}", b"[" * 12000, b'{"a":' * 2000, b"[" + b"9" * 16000 + b"]",
        b"[NaN]", b'{"version":1,"version":1}', b"\xff", b"[1.5]", b"[" * 4000 + b"]" * 4000,
    ],
    ids=lambda payload: repr(payload[:12]),
)  # fmt: skip
def test_a_hostile_content_is_refused_even_of_a_good_key(payload: bytes) -> None:
    assert refused(signed(payload)) == "malformed"


def test_only_the_canonical_form_is_an_order() -> None:
    payload = canonical.encode(fields(order()))
    for other in (
        payload + b" ",
        b" " + payload,
        payload.replace(b'"stop"', b'"\\u0073top"'),
        payload.replace(b":7,", b":7e0,"),
    ):
        assert other != payload
        assert refused(signed(other)) == "malformed"


def test_a_huge_envelope_is_refused() -> None:
    assert refused(signed(bytes(10 << 20))) == "malformed"
    one = order().sign([ALICE])
    assert refused({**one, "payload": "A" * (10 << 20)}) == "malformed"
    assert refused({**one, "signatures": one["signatures"] * 100_000}) == "malformed"  # type: ignore[operator]
    assert refused({**one, "payloadType": "A" * (10 << 20)}) == "malformed"


def test_an_envelope_of_another_kind_is_refused() -> None:
    payload = dsse.verify(order().sign([ALICE]), TYPE, TRUSTED)[0]
    other = dsse.sign(receipts.TYPE, payload, [ALICE])
    assert refused(other) == "malformed"
    assert refused({**other, "payloadType": TYPE}) == "signature"


@given(st.data())
def test_any_changed_letter_is_refused(data: st.DataObject) -> None:
    action = data.draw(st.sampled_from(ACTIONS))
    envelope: Any = order(action=action).sign([ALICE, BOB])
    signature = data.draw(st.sampled_from(envelope["signatures"]))
    place, name = data.draw(
        st.sampled_from(
            [(envelope, "payload"), (envelope, "payloadType"), (signature, "keyid"), (signature, "sig")]
        )
    )
    text = place[name]
    at = data.draw(st.integers(0, len(text) - 1))
    place[name] = text[:at] + data.draw(st.characters().filter(lambda one: one != text[at])) + text[at + 1 :]
    if name == "keyid" and action == "stop":
        assert len(obey(envelope, needed=2).keys) == 1  # the other key's signature holds, and one stops
    else:
        assert refused(envelope, needed=2) in ("malformed", "signature", "too-few-keys")


@given(ANY_JSON)
def test_whatever_comes_is_refused(value: object) -> None:
    assert refused(value) == "malformed"
    assert refused({"payload": value, "payloadType": TYPE, "signatures": value}) == "malformed"


@given(st.dictionaries(st.sampled_from(sorted(fields(order()))), ANY_JSON, max_size=3))
def test_whatever_a_good_key_signs_is_an_order_or_refused(change: dict[str, Any]) -> None:
    content = fields(order()) | change
    try:
        envelope = signed(canonical.encode(content))
    except canonical.NotCanonical:
        envelope = signed(content)
    try:
        got = obey(envelope)
    except Refused:
        return
    assert fields(got) == content
    SCHEMA.validate(content)


@given(st.text(st.characters()))
def test_no_reason_hinders_a_stop(text: str) -> None:
    assert obey(order(reason=printable(text * 200)).sign([ALICE]))


def test_a_supervisor_can_afford_it() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "def used(): return next(int(one.split()[1]) for one in open('/proc/self/status') if one[:5] == 'VmRSS')\n"
        "bare = used(); import offswitch.trust.orders, offswitch.trust.receipts; print(used() - bare)\n"
        "print(*sys.modules)"
    )
    paths = {
        str(Path(offswitch.__file__).parents[1]),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *paths],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    grown, modules = done.stdout.splitlines()
    assert int(grown) < 13 * 1024
    heavy = {
        "hashlib",
        "dataclasses",
        "asyncio",
        "socket",
        "logging",
        "cryptography.hazmat.primitives.serialization",
    }
    assert heavy & set(modules.split()) == set()

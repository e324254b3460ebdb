"""Envelopes: who signed, and nothing changed."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust_helpers import ALICE, ANY_JSON, BOB, MALLORY, TRUSTED

from offswitch.trust import dsse
from offswitch.trust.dsse import Malformed, Untrusted
from offswitch.trust.keys import PrivateKey

TYPE = "http://example.com/HelloWorld"


def test_what_is_signed_is_what_the_standard_says() -> None:
    # The example of DSSE's protocol.md.
    assert dsse.pae(TYPE, b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert dsse.pae("ä", b"\n") == b"DSSEv1 2 \xc3\xa4 1 \n"


def test_envelopes_of_another_implementation_are_read_and_written_alike() -> None:
    # Made with securesystemslib 1.6.0, from the seed 00 01 .. 1f.
    key = PrivateKey(bytes(range(32)))
    envelope = {
        "payload": "aGVsbG8g/yB3b3JsZCD+Pw==",
        "payloadType": TYPE,
        "signatures": [
            {
                "keyid": "ed25519:A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
                "sig": "spdEIb3KxQlD64aohbfcMuWlRil1NKO56NCDEgKSWqP3f1Z4AAze1Zyy4Ucb2YdBOYKSfCPdnVdFfrpr/iqMDA==",
            }
        ],
    }
    assert dsse.verify(envelope, TYPE, {key.id: key.public}) == (
        b"hello \xff world \xfe?",
        frozenset({key.id}),
    )
    assert dsse.sign(TYPE, b"hello \xff world \xfe?", [key]) == envelope


def test_every_signer_is_told_once() -> None:
    envelope = dsse.sign(TYPE, b"x", [ALICE, BOB, ALICE])
    assert dsse.verify(envelope, TYPE, TRUSTED) == (b"x", frozenset({ALICE.id, BOB.id}))


def test_a_signature_can_be_added() -> None:
    envelope = dsse.add_signature(dsse.sign(TYPE, b"x", [ALICE]), BOB)
    assert envelope == dsse.sign(TYPE, b"x", [ALICE, BOB])


def test_a_stranger_counts_for_nothing() -> None:
    envelope = dsse.sign(TYPE, b"x", [MALLORY, ALICE])
    assert dsse.verify(envelope, TYPE, TRUSTED) == (b"x", frozenset({ALICE.id}))
    with pytest.raises(Untrusted, match="none of the trusted keys"):
        dsse.verify(dsse.sign(TYPE, b"x", [MALLORY]), TYPE, TRUSTED)


def test_nobody_signs_in_anothers_name() -> None:
    envelope = dsse.sign(TYPE, b"x", [ALICE, MALLORY])
    envelope["signatures"][1]["keyid"] = BOB.id  # type: ignore[index]
    with pytest.raises(Untrusted, match=BOB.id):
        dsse.verify(envelope, TYPE, TRUSTED)


def test_a_signature_is_worth_nothing_under_another_type() -> None:
    envelope = dsse.sign(TYPE, b"x", [ALICE])
    with pytest.raises(Malformed, match="HelloWorld"):
        dsse.verify(envelope, "other", TRUSTED)
    with pytest.raises(Untrusted, match=ALICE.id):
        dsse.verify({**envelope, "payloadType": "other"}, "other", TRUSTED)


def test_fields_that_the_standard_does_not_know_are_ignored() -> None:
    envelope = {**dsse.sign(TYPE, b"x", [ALICE]), "later": [1.5]}
    assert dsse.verify(envelope, TYPE, TRUSTED)[0] == b"x"


def test_a_signature_without_a_name_is_a_strangers() -> None:
    envelope = dsse.sign(TYPE, b"x", [ALICE])
    del envelope["signatures"][0]["keyid"]  # type: ignore[index]
    with pytest.raises(Untrusted, match="none of the trusted keys"):
        dsse.verify(envelope, TYPE, TRUSTED)


def test_a_huge_envelope_is_refused() -> None:
    with pytest.raises(Malformed, match="longer"):
        dsse.verify(dsse.sign(TYPE, bytes(10 << 20), [ALICE]), TYPE, TRUSTED)
    crowd = {**dsse.sign(TYPE, b"x", [ALICE] * (dsse.MOST_SIGNATURES + 1))}
    with pytest.raises(Malformed, match="signatures"):
        dsse.verify(crowd, TYPE, TRUSTED)
    assert dsse.verify(dsse.sign(TYPE, bytes(100), [ALICE]), TYPE, TRUSTED, most=100)[0] == bytes(100)


@given(st.data())
def test_any_changed_letter_is_refused(data: st.DataObject) -> None:
    envelope = dsse.sign(TYPE, data.draw(st.binary(max_size=80)), [ALICE])
    signature = envelope["signatures"][0]  # type: ignore[index]
    place, name = data.draw(
        st.sampled_from(
            [(envelope, "payload"), (envelope, "payloadType"), (signature, "keyid"), (signature, "sig")]
        )
    )
    text = place[name]
    if text:
        at = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.characters(max_codepoint=127).filter(lambda one: one != text[at]))
        changed = data.draw(
            st.sampled_from([text[:at] + letter + text[at + 1 :], text[:at] + text[at + 1 :]])
        )
    else:
        changed = "QQ=="
    place[name] = changed
    with pytest.raises(Untrusted):
        dsse.verify(envelope, TYPE, TRUSTED)


@pytest.mark.parametrize("payload", [b"\xfb\xff", b"x"])
def test_base64_has_one_spelling(payload: bytes) -> None:
    envelope = dsse.sign(TYPE, payload, [ALICE])
    for other in (
        base64.urlsafe_b64encode(payload).decode(),
        base64.b64encode(payload).decode().rstrip("="),
        base64.b64encode(payload).decode() + "\n",
        "eB==",  # the two last bits of the B are lost
    ):
        if other != envelope["payload"]:
            with pytest.raises(Untrusted):
                dsse.verify({**envelope, "payload": other}, TYPE, TRUSTED)


MAYBE = ANY_JSON | st.just(TYPE) | st.just(ALICE.id) | st.just("eA==")


@given(
    ANY_JSON
    | st.fixed_dictionaries(
        {
            "payload": MAYBE,
            "payloadType": st.just(TYPE) | ANY_JSON,
            "signatures": st.lists(st.fixed_dictionaries({"keyid": MAYBE, "sig": MAYBE}) | ANY_JSON)
            | ANY_JSON,
        }
    )
)
def test_whatever_comes_is_refused_in_one_line(envelope: object) -> None:
    with pytest.raises(Untrusted) as refused:
        dsse.verify(envelope, TYPE, TRUSTED)
    assert str(refused.value).isprintable()

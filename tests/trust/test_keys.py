"""Keys and their files."""

import multiprocessing
import os
import pickle
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import example, given
from hypothesis import strategies as st
from trust_helpers import ALICE, BOB

from offswitch.trust.keys import PrivateKey, PublicKey, Unusable, load, load_or_make


def pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def put(path: Path, content: bytes, mode: int = 0o600) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_a_signature_is_of_rfc_8032() -> None:
    # Section 7.1, test 2.
    key = PrivateKey(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


@given(st.binary(min_size=32, max_size=32))
def test_an_id_is_the_key(raw: bytes) -> None:
    key = PrivateKey(raw)
    assert PublicKey.parse(key.id).verify(key.sign(b"x"), b"x")
    assert PublicKey.parse(key.id).id == key.id


@given(st.text() | st.text("abAB-_+/=", min_size=40, max_size=46).map("ed25519:".__add__))
@example(ALICE.id + "=")
@example(ALICE.id[:-1] + "b")
@example("ed25519:" + "ä" * 43)
def test_no_key_has_two_ids(id: str) -> None:
    try:
        key = PublicKey.parse(id)
    except ValueError:
        return
    assert key.id == id


@given(st.binary(max_size=70))
def test_no_other_bytes_are_a_signature(signature: bytes) -> None:
    assert not ALICE.public.verify(signature, b"x")
    assert not BOB.public.verify(ALICE.sign(b"x"), b"x")
    assert not ALICE.public.verify(ALICE.sign(b"x"), b"y")


def test_a_private_key_does_not_show_itself() -> None:
    raw = bytes(range(32))
    assert raw.hex() not in repr(PrivateKey(raw))
    with pytest.raises(TypeError):
        pickle.dumps(PrivateKey(raw))


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "operator.pem"
    mask = os.umask(0)
    try:
        made = load_or_make(str(path))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_make(str(path)).id == load(str(path)).id == made.id
    assert os.listdir(tmp_path) == ["operator.pem"]


def test_other_programs_read_the_key_that_was_made(tmp_path: Path) -> None:
    made = load_or_make(str(tmp_path / "key"))
    read = serialization.load_pem_private_key((tmp_path / "key").read_bytes(), None)
    assert isinstance(read, ed25519.Ed25519PrivateKey)
    assert PublicKey(read.public_key().public_bytes_raw()).id == made.id


def test_keys_of_other_programs_are_read(tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    for content in (pem(other), pem(other).replace(b"\n", b"\r\n")):
        key = load(put(tmp_path / "key", content))
        assert key.id == PublicKey(other.public_key().public_bytes_raw()).id
    try:
        made = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    assert load(put(tmp_path / "key", made.stdout)).sign(b"x")


def _race(path: str, ready: Any, results: Any) -> None:
    ready.wait(30)
    results.put(load_or_make(path).id)


def test_processes_that_make_it_at_once_get_the_same_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for turn in range(10):
        path = str(tmp_path / str(turn))
        ready, results = context.Barrier(4), context.SimpleQueue()
        racers = [context.Process(target=_race, args=(path, ready, results)) for _ in range(4)]
        for racer in racers:
            racer.start()
        ids = {results.get() for _ in racers}
        for racer in racers:
            racer.join(30)
        assert ids == {load(path).id}
    assert sorted(os.listdir(tmp_path)) == sorted(str(turn) for turn in range(10))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = put(tmp_path / "key", pem(ed25519.Ed25519PrivateKey.generate()), mode)
    for read in (load, load_or_make):
        with pytest.raises(Unusable, match=f"chmod 600 {path}"):
            read(path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "key", pem(ed25519.Ed25519PrivateKey.generate()))
    (tmp_path / "link").symlink_to(tmp_path / "key")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name in ("link", "dangling"):
        with pytest.raises(Unusable, match="symbolic link"):
            load_or_make(str(tmp_path / name))
    assert not (tmp_path / "nothing").exists()


def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "key", pem(ed25519.Ed25519PrivateKey.generate()))
    try:
        os.chown(path, os.geteuid() + 4000, -1)
    except OSError:
        pytest.skip("only root can give a file away")
    with pytest.raises(Unusable, match="belongs to user"):
        load(path)


def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("pipe", "folder"):
        with pytest.raises(Unusable, match="not a file"):
            load(str(tmp_path / name))


def test_what_is_no_ed25519_key_is_refused(tmp_path: Path) -> None:
    good = pem(ed25519.Ed25519PrivateKey.generate())
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    bad = [
        b"",
        b"x",
        good[:60],
        good.replace(b"PRIVATE", b"PUBLIC"),
        good.replace(b"M", b"*"),
        locked,
        good + good,
    ]
    for content in [*bad, pem(ec.generate_private_key(ec.SECP256R1())), bytes(5000)]:
        with pytest.raises(Unusable, match="not an Ed25519 private key"):
            load_or_make(put(tmp_path / "key", content))
        assert (tmp_path / "key").read_bytes() == content


def test_a_key_that_is_not_there_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / "none"))
    with pytest.raises(Unusable, match="make its folder"):
        load_or_make(str(tmp_path / "none" / "key"))


def test_a_key_file_that_its_owner_cannot_read_is_refused(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root can read every file")
    with pytest.raises(Unusable, match="cannot be read"):
        load_or_make(put(tmp_path / "key", b"", 0))

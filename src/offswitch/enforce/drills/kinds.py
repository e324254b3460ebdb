"""What a kind of sandbox needs for a drill: options, and a system with Python in it."""

import argparse
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

PYTHON = "/usr/bin/python3"
_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ROOM = 160 << 20
_UNUSED = (
    "test",
    "lib2to3",
    "idlelib",
    "ensurepip",
    "distutils",
    "pydoc_data",
    "tkinter",
    "unittest",
    "turtledemo",
    "asyncio",
)


class NotHere(Exception):
    """A kind of sandbox that this host does not have: one line that says what to do."""


@contextmanager
def ready(kind: str, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Make a kind of sandbox ready for drilled agents, and clear away what that took.

    Args:
        kind: The kind.
        given: ``image`` and ``runtime``, for oci.

    Returns:
        The kind's options; ``read`` are paths that agents are to see besides.

    Raises:
        NotHere: The host lacks something.
    """
    module = import_module("offswitch.sandboxes.cells." + kind)
    if not os.access(PYTHON, os.X_OK):
        raise NotHere("drilled agents are Python programs: install python3 (Debian: apt-get install python3)")
    with tempfile.TemporaryDirectory(prefix=f"offswitch-drill-{os.getpid()}-") as folder:
        if kind == "oci":
            options: dict[str, Any] = {"image": given.image or f"localhost/offswitch-drill-{os.getpid()}"}
            if given.runtime:
                options["runtime"] = given.runtime
            problem = module.missing(options)
            if problem is not None:
                raise NotHere(problem)
            if given.image:
                yield options
                return
            _import(Path(folder), options["image"])
            try:
                # The image is all but empty: its agents run the host's programs, read-only.
                yield {**options, "read": ["/usr"]}
            finally:
                _podman("rmi", "--force", options["image"])
            return
        options = {}
        problem = module.missing(options)
        if problem is not None:
            raise NotHere(problem)
        if kind == "microvm":
            options["root"] = _disk(Path(folder))
        yield options


def _import(folder: Path, name: str) -> None:
    """Make an image of folders and links alone."""
    skeleton = folder / "skeleton.tar"
    with tarfile.open(skeleton, "w") as tar:
        for path in ("usr", "etc", "tmp", "proc", "sys", "dev", "run", "var", "root", "home", "workspace"):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
            tar.addfile(entry)
        for path in _LINKS:
            if os.path.islink("/" + path):
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink("/" + path)
                tar.addfile(entry)
        entry = tarfile.TarInfo("etc/passwd")
        text = b"root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000:agent:/tmp:/bin/sh\n"
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    _podman("import", str(skeleton), name, check=True)


def _podman(*arguments: str, check: bool = False) -> None:
    program = shutil.which("podman")
    if program is None:
        raise NotHere("podman is not installed: install it, or name an image of docker's with --image")
    done = subprocess.run([program, *arguments], capture_output=True, timeout=120, check=False)
    if check and done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise NotHere(f"podman cannot import an image: {lines[-1] if lines else done.returncode}")


def _disk(folder: Path) -> str:
    """A disk image with Python and what it needs of the host's system."""
    root = folder / "root"
    for path in ("bin", "dev", "proc", "sys", "tmp", "run", "etc", "var", "usr/bin", "workspace"):
        (root / path).mkdir(parents=True, exist_ok=True)
    busybox = shutil.which("busybox")
    if busybox is None:
        raise NotHere("busybox is not installed: install it (Debian: apt-get install busybox-static)")
    shutil.copy2(busybox, root / "bin/busybox")
    for name in ("sh", "sleep", "true", "cat", "touch", "mount", "su"):
        (root / "bin" / name).symlink_to("busybox")
    program = os.path.realpath(PYTHON)
    shutil.copy2(program, root / "usr/bin/python3")
    standard = Path("/usr/lib") / os.path.basename(program)
    if not standard.is_dir():
        raise NotHere(f"the standard library of {program} is not in {standard}")
    shutil.copytree(
        standard, root / str(standard)[1:], ignore=shutil.ignore_patterns(*_UNUSED, "config-*"), symlinks=True
    )
    libraries = {program, *map(str, (standard / "lib-dynload").glob("*.so"))}
    found: set[str] = set()
    for one in libraries:
        told = subprocess.run(["ldd", one], capture_output=True, check=False, text=True).stdout
        found |= {word for line in told.splitlines() for word in line.split() if word.startswith("/")}
    for path in found:
        target = root / path[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nagent:x:1000:1000:agent:/tmp:/bin/sh\n")
    image = folder / "root.ext4"
    with image.open("wb") as file:
        file.truncate(_ROOM)
    make = shutil.which("mke2fs") or "/sbin/mke2fs"
    done = subprocess.run(
        [make, "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", str(root), str(image)],
        capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NotHere(f"mke2fs cannot make a disk: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return str(image)

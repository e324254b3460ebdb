"""A root file system for a microvm in which an agent program of Python runs: what this host has of it, copied.

It holds the Debian packages of a shell, the usual tools and Python, with all that they depend on, and the program where
it is installed on the host, for its scripts name that place. Nothing is downloaded. The image is made once for each
version of any of that, and lies where the programs do.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from programs import Installed, Unavailable, place

from offswitch.sandboxes.cells import microvm_workspace

_PACKAGES = ("bash", "coreutils", "dash", "python3")
_UNREAD = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian")
_MERGED = ("bin", "lib", "lib64", "sbin")
_MAKE_S = 300


@cache
def image(installed: Installed) -> str:
    """Path of a disk image with a program that was installed, made unless that was done before.

    Raises:
        Unavailable: The host is no Debian, or lacks a package or mke2fs.
    """
    if not microvm_workspace.program():
        raise Unavailable("mke2fs is not installed: install it (Debian: apt-get install e2fsprogs)")
    packages = _closure()
    told = "".join(f"{name} {version}\n" for name, version in sorted(packages.items()))
    key = hashlib.sha256(told.encode()).hexdigest()[:16]
    path = place() / f"{installed.program.name}-{installed.program.version}-{key}.ext4"
    with open(place() / f"{installed.program.name}-root.lock", "w") as lock:
        # Another run of the tests may be at it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for old in place().glob(f"{installed.program.name}-*.ext4*"):
                old.unlink()
            with tempfile.TemporaryDirectory(dir=place()) as folder:
                _make(Path(folder), installed, packages, path)
    return str(path)


def _make(folder: Path, installed: Installed, packages: dict[str, str], path: Path) -> None:
    root = folder / "root"
    root.mkdir()
    for name in _MERGED:
        if os.path.islink("/" + name):
            (root / name).symlink_to(os.readlink("/" + name))
    (root / "usr").mkdir()
    for name in sorted({os.readlink("/" + name) for name in _MERGED if os.path.islink("/" + name)}):
        (root / name).mkdir(parents=True)
    for line in _said("dpkg-query", "-L", *packages).splitlines():
        if line.startswith("/") and not line[1:].startswith(_UNREAD):
            _copy(line, root)
    # What the packages' own scripts do as they are installed: without it Python would compile itself at each start.
    _said("/usr/bin/python3", "-m", "compileall", "-q", "-s", str(root), str(root / "usr/lib/python3"), *(
        map(str, root.glob("usr/lib/python3.*"))
    ))  # fmt: skip
    for folder_read in installed.read:
        shutil.copytree(folder_read, root / folder_read[1:], symlinks=True)
    size, count = microvm_workspace.measure(str(root))
    new = f"{path}.new"
    _said(*microvm_workspace.mke2fs(str(root), new, size + (16 << 20), count, journal=False))
    if os.geteuid() != 0:
        # As the machine does with a folder: what an ordinary user unpacks would be the agent's to change.
        microvm_workspace.give_to(new, 0, microvm_workspace.list_of(new))
    os.rename(new, path)


def _copy(path: str, root: Path) -> None:
    """Copy one path of a package, below the same links of the top folder."""
    target = root / path[1:]
    if not os.path.lexists(path) or os.path.lexists(target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.islink(path):
        target.symlink_to(os.readlink(path))
    elif os.path.isdir(path):
        target.mkdir()
    elif os.access(path, os.R_OK):
        shutil.copy2(path, target)


def _closure() -> dict[str, str]:
    """The packages and all that they depend on, of those that are installed, with versions."""
    form = "${binary:Package}\t${Version}\t${db:Status-Status}\t${Provides}\t${Pre-Depends}, ${Depends}\n"
    versions, provided, depends = {}, {}, {}
    for line in _said("dpkg-query", "-W", "-f", form).splitlines():
        package, version, status, provides, needs = line.split("\t")
        if status != "installed":
            continue
        versions[package] = version
        depends[package] = _names(needs)
        for name, *_ in [[package.partition(":")[0]], *_names(provides)]:
            provided.setdefault(name, package)
    chosen: dict[str, str] = {}
    waiting = [[name] for name in _PACKAGES]
    while waiting:
        package = next((provided[one] for one in waiting.pop() if one in provided), "")
        if package and package not in chosen:
            chosen[package] = versions[package]
            waiting += depends[package]
    for name in _PACKAGES:
        if provided.get(name) not in chosen:
            raise Unavailable(f"{name} is not installed: install it")
    return chosen


def _names(field: str) -> list[list[str]]:
    """Each entry of a field of dependencies as the names that would do (Debian policy 7.1)."""
    entries = [
        [re.split(r"[\s:(\[]", one.strip())[0] for one in entry.split("|")] for entry in field.split(",")
    ]
    return [entry for entry in entries if entry[0]]


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MAKE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"a root file system needs {command[0]}: {error}") from None
    if done.returncode:
        why = done.stderr.strip().splitlines()
        raise Unavailable(
            f"a root file system cannot be made: {command[0]}: {why[-1] if why else 'it failed'}"
        )
    return done.stdout

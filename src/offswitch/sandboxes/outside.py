"""What stands at paths inside a sandbox, read by the host without trusting anything inside."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from offswitch.sandboxes import kernel
from offswitch.sandboxes.machine import Kind, PathState

_MOST_HASHED = 16 * 1024 * 1024
_MOST_SHOWN = 64 * 1024
_CHUNK = 1024 * 1024
# More files than a sandbox can hold, so that many small ones hide nothing.
_MOST_FILES = 200_000
_MOST_DEPTH = 100
_MOST_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class Found:
    """What was found at one path below a place.

    Attributes:
        kind: What it is.
        mode: Permission bits.
        size: Length in bytes.
        data: A regular file's bytes, at most 1 MiB of them; None if they could not be read.
        link: A symlink's target, else None.
    """

    kind: Kind
    mode: int
    size: int
    data: bytes | None = None
    link: str | None = None


class Outside:
    """Reads a sandbox's files through its root directory.

    Args:
        root: Open directory (``O_PATH``) that is the sandbox's root.
        owner: The agent's uid on the host.
        inside: The agent's uid inside.
        mounted: A path on a file system of the sandbox's own, which the agent cannot unmount.
    """

    def __init__(self, root: int, owner: int, inside: int, mounted: str = "/") -> None:
        self._root = root
        self._owner = owner
        self._inside = inside
        self._mounted = mounted
        self._device = self._stands_on()

    def look(self, paths: Sequence[str]) -> dict[str, PathState]:
        """State of each path. For a symlink, hash and content are those of the file that it leads to.

        All are ``unknown`` once the sandbox's file systems are gone. They go a moment before its init is seen to be
        gone, and what is then absent was deleted by nobody.
        """
        states = {path: self._look(path) for path in paths}
        if self._stands_on() != self._device:
            return {path: PathState("unknown") for path in paths}
        return states

    def _stands_on(self) -> int | None:
        try:
            file = kernel.open_inside(self._root, self._mounted, os.O_PATH)
        except OSError:
            return None
        try:
            return os.fstat(file).st_dev
        finally:
            os.close(file)

    def tree(self, places: Sequence[str]) -> dict[str, Found] | None:
        """Everything below directories, by absolute path; symlinks are told and never followed.

        At most 128 MiB are read, so that an agent cannot keep the host busy; a file beyond that has no data.

        Args:
            places: Absolute paths of directories; one that is not there has nothing below it.

        Returns:
            What was found; None once the sandbox's file systems are gone, as in `look`.
        """
        found: dict[str, Found] = {}
        left = _MOST_BYTES
        for place in places:
            with suppress(OSError):
                top = kernel.open_inside(self._root, place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    for path, item in islice(_below(top, place.rstrip("/"), 0), _MOST_FILES):
                        left -= len(item.data or b"")
                        found[path] = item if left >= 0 else Found(item.kind, item.mode, item.size)
                finally:
                    os.close(top)
        return found if self._stands_on() == self._device else None

    def _look(self, path: str) -> PathState:
        # O_PATH opens nothing: neither a FIFO nor a device is touched, and a file that may not be read is still seen.
        try:
            file = kernel.open_inside(self._root, path, os.O_PATH | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return PathState("absent")
        except (OSError, ValueError):
            return PathState("unknown")
        try:
            about = os.fstat(file)
            kind = _kind(about.st_mode)
            link = os.readlink("", dir_fd=file) if kind == "symlink" else None
            sha256, content, attributes = None, None, ""
            if kind in ("file", "directory"):
                sha256, content, attributes = self._contents(file, about)
            elif kind == "symlink":
                sha256, content = self._beyond(path)
        finally:
            os.close(file)
        return PathState(
            kind=kind,
            sha256=sha256,
            mode=stat.S_IMODE(about.st_mode),
            uid=self._inside if about.st_uid == self._owner else None,
            inode=about.st_ino,
            link=link,
            attributes=attributes,
            content=content,
            size=about.st_size if kind == "file" else None,
        )

    def _beyond(self, path: str) -> tuple[str | None, str | None]:
        """Hash and content of the regular file that a symlink leads to, if there is one."""
        try:
            file = kernel.open_inside(self._root, path, os.O_PATH)
        except OSError:
            return None, None
        try:
            about = os.fstat(file)
            return self._contents(file, about)[:2] if stat.S_ISREG(about.st_mode) else (None, None)
        finally:
            os.close(file)

    def _contents(self, place: int, about: os.stat_result) -> tuple[str | None, str | None, str]:
        # The agent's own files are read each time; those of the system only once, since nothing inside can
        # change them (a change from outside shows in the times).
        if about.st_uid == self._owner or stat.S_ISDIR(about.st_mode):
            return _read(place, about)
        return _read_system(_Held(place, about))


def _below(directory: int, path: str, depth: int) -> Iterator[tuple[str, Found]]:
    """What is in an open directory and below it, each thing reached by its name and no link."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        # A name need not be text; what is seen of it has to be.
        whole = f"{path}/{_shown(name)}"
        try:
            about = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            continue
        kind, mode = _kind(about.st_mode), stat.S_IMODE(about.st_mode)
        if kind == "symlink":
            with suppress(OSError):
                yield (
                    whole,
                    Found(kind, mode, about.st_size, link=_shown(os.readlink(name, dir_fd=directory))),
                )
        elif kind == "file":
            yield whole, Found(kind, mode, about.st_size, _bytes(directory, name))
        else:
            yield whole, Found(kind, mode, about.st_size)
        if kind == "directory" and depth < _MOST_DEPTH:
            with suppress(OSError):
                below = os.open(
                    name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory
                )
                try:
                    yield from _below(below, whole, depth + 1)
                finally:
                    os.close(below)


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")


def _bytes(directory: int, name: str) -> bytes | None:
    # It may have become something else meanwhile: a FIFO must not hold the host up.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        file = os.open(name, flags, dir_fd=directory)
    except OSError:
        return None
    try:
        return os.read(file, _CHUNK) if stat.S_ISREG(os.fstat(file).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(file)


class _Held:
    """An open file that is equal to another if it is the same, unchanged file on disk."""

    def __init__(self, place: int, about: os.stat_result) -> None:
        self.place = place
        self.about = about
        self.key = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=256)
def _read_system(held: _Held) -> tuple[str | None, str | None, str]:
    sha256, content, attributes = _read(held.place, held.about)
    # A program of the system is told by its hash; its bytes as text would only fill logs.
    return sha256, None if content is not None and "\0" in content else content, attributes


def _read(place: int, about: os.stat_result) -> tuple[str | None, str | None, str]:
    """Hash, content and attributes of a regular file, attributes of a directory."""
    try:
        file = os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None, None, ""
    try:
        attributes = kernel.inode_attributes(file)
        if not stat.S_ISREG(about.st_mode):
            return None, None, attributes
        digest, start, left = hashlib.sha256(), b"", _MOST_HASHED
        while left > 0 and (data := os.read(file, min(_CHUNK, left))):
            digest.update(data)
            left -= len(data)
            start += data[: _MOST_SHOWN - len(start)]
        whole = left > 0 or not os.read(file, 1)
        return digest.hexdigest() if whole else None, start.decode("utf-8", "replace"), attributes
    except OSError:
        return None, None, ""
    finally:
        os.close(file)


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "symlink"
    return "other"

"""The second sense: it watches the files of the kill path themselves, from outside, whatever the calls said.

What a model's call does is foreseen from its text, which can fail. So another process looks at what became of the
files: the kernel tells it of each change (inotify, which sees what is done through any mount and any name), and once a
second it compares what they are with what they were, so that one does not rest on the other. It knows nothing of
calls, and the gateway knows nothing of it. No link is followed: what a link leads to is not what stood there.

It does not ask who changed a file: a change by a person counts as well. Hold or stop the agent first.
"""

import ctypes
import fnmatch
import glob
import hashlib
import os
import select
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from offswitch.enforce.supervisor.loop import TICK
from offswitch.sandboxes import kernel, wire

LOOK = 1.0
"""Seconds between two comparisons."""
_MOST = 4096
"""Most files that are watched."""
_LARGEST = 64 << 20
"""Bytes of the largest file whose content is compared; of a larger one size and times are."""

_READS = 16
"""Most reads of what the kernel told before a sign of life: who makes and removes files faster than they are read here
would keep this from coming to an end."""

_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE = 0x2, 0x4, 0x8, 0x40, 0x80, 0x100
_DELETE, _DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED = 0x200, 0x400, 0x800, 0x2000, 0x4000, 0x8000
# The kernel tells nothing of a write through a mapping, but when who could write lets go of the file.
_ON_FILE = _MODIFY | _ATTRIB | _CLOSE_WRITE | _DELETE_SELF | _MOVE_SELF
_ON_FOLDER = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
_DONT_FOLLOW = 0x02000000
_HOW = (
    (_MODIFY, "was written to"),
    (_ATTRIB, "had its mode, owner or links changed"),
    (_DELETE | _DELETE_SELF, "was removed"),
    (_MOVED_FROM | _MOVE_SELF, "was moved away"),
    (_MOVED_TO, "was put there by a move"),
    (_CREATE, "was made"),
    (_CLOSE_WRITE, "had been opened to be written to"),
)


class Sense:
    """Watches files.

    Args:
        root: Folder below which they lie, a real path.
        patterns: Their paths below it, with ``*``, ``?``, ``[...]`` and ``**``; one without these need not exist yet.

    Attributes:
        meanwhile: Called for each folder and file that is looked at: in a large workspace that takes long.

    Raises:
        OSError: They cannot be watched.
        ValueError: There are too many.
    """

    def __init__(self, root: str, patterns: list[str]) -> None:
        self._root = root
        self._patterns = patterns
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._events: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.meanwhile: Callable[[], None] = lambda: None
        self._places: dict[int, str] = {}
        self._known = self._state()
        self._watch()

    def fileno(self) -> int:
        """Open file that can be read when something happened."""
        return self._events

    def heard(self) -> list[str]:
        """What the kernel told since the last time: a line for each change of what is watched. If it is much, part of
        it; then there is more to read."""
        lines: list[str] = []
        for _ in range(_READS):
            try:
                data = os.read(self._events, 65536)
            except BlockingIOError:
                break
            at = 0
            while at < len(data):
                number, mask, _, length = struct.unpack_from("iIII", data, at)
                name = data[at + 16 : at + 16 + length].rstrip(b"\0").decode("utf-8", "surrogateescape")
                at += 16 + length
                if mask & _OVERFLOW:
                    lines.append("more happened at once than the kernel could tell")
                    continue
                place = self._places.get(number)
                if place is None or mask & (_IGNORED | _UNMOUNT):
                    continue
                path = f"{place}/{name}" if name else place
                if self._concerns(path):
                    how = next((how for bits, how in _HOW if mask & bits), "was changed")
                    lines.append(f"{self._shown(path)} {how}")
        return lines

    def looked(self) -> list[str]:
        """What is not as it was: a line for each difference, which is told once."""
        state = self._state()
        lines = []
        for path in sorted({*state, *self._known}):
            before, now = self._known.get(path), state.get(path)
            if before == now:
                continue
            if before is None:
                how = "is there and was not"
            elif now is None:
                how = "is gone"
            else:
                how = "is not as it was"
            lines.append(f"{self._shown(path)} {how}")
        if lines:
            self._known = state
            with suppress(OSError, ValueError):
                self._watch()
        return lines

    def _concerns(self, path: str) -> bool:
        """Whether a path is watched, or is a folder on the way to what is."""
        if path == self._root or path in self._known:
            return True
        return any(fits(os.path.relpath(path, self._root), pattern) for pattern in self._patterns)

    def _shown(self, path: str) -> str:
        shown = os.path.relpath(path, self._root)
        return shown.encode("utf-8", "backslashreplace").decode()

    def _state(self) -> dict[str, tuple[object, ...]]:
        """What each watched file is, and each folder on the way to it."""
        found: dict[str, tuple[object, ...]] = {}
        for pattern in self._patterns:
            for path in _expand(self._root, pattern.split("/"), lambda: self.meanwhile()):
                self.meanwhile()
                while path != self._root and path not in found:
                    about = _about(path)
                    if about is not None:
                        found[path] = about
                    path = os.path.dirname(path)
                if len(found) > _MOST:
                    raise ValueError(f"the kill path has more than {_MOST} files: name fewer")
        return found

    def _watch(self) -> None:
        """Watch what is there, and every folder on the way to it, for what may be put there."""
        wanted = dict.fromkeys(self._known, _ON_FILE)
        for pattern in self._patterns:
            plain = pattern.split("/")
            while plain and glob.has_magic("/".join(plain)):
                plain.pop()
            wanted.setdefault(os.path.normpath(f"{self._root}/{'/'.join(plain)}"), _ON_FOLDER)
        for path in list(wanted):
            while path != self._root:
                path = os.path.dirname(path)
                wanted[path] = wanted.get(path, 0) | _ON_FOLDER
        for path, mask in wanted.items():
            if os.path.isdir(path) and not os.path.islink(path):
                mask |= _ON_FOLDER
            number = self._libc.inotify_add_watch(self._events, os.fsencode(path), mask | _DONT_FOLLOW)
            if number >= 0:
                self._places[number] = path
            elif os.path.lexists(path):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def fits(path: str, pattern: str) -> bool:
    """Whether a path is one that a pattern stands for; ``**`` stands for any number of folders, also none."""
    return _fits(path.split("/"), pattern.split("/"))


def _fits(parts: list[str], wanted: list[str]) -> bool:
    if not wanted:
        return not parts
    if wanted[0] == "**":
        return any(_fits(parts[skip:], wanted[1:]) for skip in range(len(parts) + 1))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])


def _expand(folder: str, parts: list[str], meanwhile: Callable[[], None]) -> Iterator[str]:
    """Paths that are there, below a folder."""
    meanwhile()
    if not parts:
        return
    head, *rest = parts
    if not glob.has_magic(head):
        names = [head]
    else:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            return
        if head == "**":
            yield from _expand(folder, rest, meanwhile)
            for name in names:
                if not rest:
                    yield f"{folder}/{name}"
                if _is_folder(f"{folder}/{name}"):
                    yield from _expand(f"{folder}/{name}", parts, meanwhile)
            return
        names = fnmatch.filter(names, head)
    for name in names:
        path = f"{folder}/{name}"
        if not rest:
            if os.path.lexists(path):
                yield path
        elif _is_folder(path):
            yield from _expand(path, rest, meanwhile)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _about(path: str) -> tuple[object, ...] | None:
    """All that is compared of a file, None where there is none."""
    try:
        about = os.lstat(path)
        base = (about.st_mode, about.st_uid, about.st_gid)
        if stat.S_ISLNK(about.st_mode):
            return (*base, os.readlink(path))
        if stat.S_ISDIR(about.st_mode):
            return base
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST:
            return (*base, about.st_size, about.st_mtime_ns, about.st_ino)
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME * (os.geteuid() == 0))
        with os.fdopen(file, "rb") as content:
            return (*base, hashlib.sha256(content.read(_LARGEST + 1)).digest())
    except FileNotFoundError:
        return None
    except OSError as error:
        return (error.errno,)


def serve(line: socket.socket, root: str, patterns: list[str], parent: int) -> None:
    """Be the second sense, in a fresh fork of the supervisor, until that ends.

    Says ``("up",)`` once it watches, or ``("failed", why)``; then ``("beat",)`` at every tick and ``("changed", what)``
    for each change.

    Args:
        line: Socket to the supervisor.
        root: The workspace, a real path.
        patterns: See `Sense`.
        parent: Process id of the supervisor.
    """
    kernel.die_with(parent)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    kernel.close_to_tracers()
    try:
        sense = Sense(root, patterns)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        wire.send(line, ("failed", f"the kill path cannot be watched: {why}"))
        return
    wire.send(line, ("up",))
    poll = select.poll()
    poll.register(sense.fileno(), select.POLLIN)
    poll.register(line, select.POLLIN)
    due = time.monotonic() + LOOK
    beaten = 0.0

    def tell(lines: list[str]) -> None:
        nonlocal beaten
        for one in lines:
            wire.send(line, ("changed", one))
        if lines or time.monotonic() - beaten >= TICK / 2:
            beaten = time.monotonic()
            wire.send(line, ("beat",))

    def meanwhile() -> None:
        # A look at a large workspace takes longer than a part may be silent, and what changes meanwhile does not wait.
        if time.monotonic() - beaten >= TICK / 2:
            tell(sense.heard())

    sense.meanwhile = meanwhile
    with suppress(ConnectionError):
        while line.fileno() not in {file for file, _ in poll.poll(TICK * 1000)}:
            lines = sense.heard()
            if lines or time.monotonic() >= due:
                tell(lines)
                tell([one for one in sense.looked() if one not in lines])
                due = time.monotonic() + LOOK
            else:
                tell([])

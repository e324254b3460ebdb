"""The workspace of a micro virtual machine: into a disk image of its own, and back.

The image is made by ``mke2fs -d`` and holds the workspace as the guest's user 1000. A list of what was put in is
kept beside it. Back comes only what differs from that list, so that what nobody touched keeps its time, its owner
and its links, and files that appeared on the host meanwhile stay.

What comes back: files, directories and symbolic links, with their permissions and times; and deletions. What does
not: set-uid, set-gid and sticky bits, owners (new files belong to the owner of the directory that they are in),
extended attributes, devices, sockets, named pipes; hard links made inside become files of their own. Where the
agent and someone on the host changed the same file, the agent's version wins.
"""

import marshal
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress

from offswitch.sandboxes.cells.microvm_ext4 import ROOT, Damaged, Image, Inode, OutOfTime

TYPE_CHECKING = False  # see ``wire``
if TYPE_CHECKING:
    Manifest = dict[bytes, dict[bytes, tuple[int, int, int, int, int]]]

FEATURES = "none,has_journal,dir_index,filetype,extent,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize"
"""What ``mke2fs`` is to make: nothing that ``microvm_ext4`` would have to learn for no gain."""

ROOM = 1 << 30
"""Bytes beyond those of the workspace that the agent can fill."""

_JOURNAL = 8 * 1024 * 1024
_BLOCK = 4096
_FOUND = b"lost+found"
_DEEPEST = 200
"""Directories below each other: each costs an open file."""
_MOST_LINES = 20


def measure(workspace: str) -> tuple[int, int]:
    """Bytes of disk that a workspace takes, and how many files are in it.

    Raises:
        OSError: A directory cannot be read.
    """
    size, count, waiting = 0, 1, [workspace]
    while waiting:
        for entry in os.scandir(waiting.pop()):
            about = entry.stat(follow_symlinks=False)
            count += 1
            size += -(-about.st_size // _BLOCK) * _BLOCK if stat.S_ISREG(about.st_mode) else _BLOCK
            if stat.S_ISDIR(about.st_mode):
                waiting.append(entry.path)
    return size, count


def program() -> str:
    """Path of mke2fs, empty where it is not installed."""
    return next(
        (path for path in ("/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/bin/mke2fs") if os.path.exists(path)), ""
    )


def mke2fs(source: str, image: str, size: int, count: int, *, journal: bool) -> list[str]:
    """Command that makes ``image`` (bytes, files) out of the directory ``source``."""
    kind = (
        ["-O", FEATURES, "-J", f"size={_JOURNAL >> 20}"]
        if journal
        else ["-O", FEATURES.replace("has_journal,", "")]
    )
    # Inodes, block maps and the journal come on top of what is stored; a journal may take no more than half of it.
    size += count * 256 + (3 * _JOURNAL if journal else 0)
    blocks = size // _BLOCK * 102 // 100 + 1024
    return [
        program(), "-q", "-F", "-t", "ext4", *kind, "-b", str(_BLOCK), "-I", "256", "-m", "0", "-N", str(count + 64),
        "-E", "nodiscard,root_owner=0:0,lazy_itable_init=0", "-d", source, image, str(blocks),
    ]  # fmt: skip


def give_to(image: str, user: int, listed: "Manifest") -> None:
    """Make every file in a fresh image ``user``'s.

    Raises:
        OSError: It cannot be written.
        Damaged: It is no image of ours.
    """
    file = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        about = Image(file)
        owner = user.to_bytes(2, "little")
        for number in {ROOT, *(one[0] for inside in listed.values() for one in inside.values())}:
            block, offset = about.place_of_inode(number)
            place = block * _BLOCK + offset
            # The lower halves of the owner and of the group, and then both upper ones.
            os.pwrite(file, owner, place + 2)
            os.pwrite(file, owner, place + 24)
            os.pwrite(file, b"\0\0\0\0", place + 120)
    finally:
        os.close(file)


def list_of(image: str) -> "Manifest":
    """What a fresh image holds: by directory, by name, what cannot stay the same over a change.

    Raises:
        OSError: It cannot be read.
        Damaged: It is no image of ours.
    """
    file = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        about = Image(file)
        listed: Manifest = {}
        waiting: list[tuple[bytes, int]] = [(b"", ROOT)]
        while waiting:
            path, number = waiting.pop()
            inside = listed[path] = {}
            for name, entry in about.entries(about.inode(number)):
                if not path and name == _FOUND:
                    continue
                inode = about.inode(entry)
                inside[name] = inode.identity
                if stat.S_ISDIR(inode.mode):
                    waiting.append((path + b"/" + name, entry))
        return listed
    finally:
        os.close(file)


def keep_list(listed: "Manifest", protected: "list[tuple[str, bool]]", path: str) -> None:
    """Write the list of what was put in, and of what does not come back (``workspace.protected``): all or nothing."""
    with open(path + ".new", "wb") as file:
        marshal.dump((listed, [(b"/" + os.fsencode(part), writable) for part, writable in protected]), file)
    os.rename(path + ".new", path)


def bring_back(image: str, listed: str, workspace: str, seconds: float) -> tuple[list[str], bool]:
    """Bring what the agent changed from its image into the workspace.

    Args:
        image: The image, which nothing writes to any more.
        listed: What ``keep_list`` wrote.
        workspace: Directory on the host.
        seconds: How long this may take.

    Returns:
        What could not be brought back, a line each, and whether content is among it: the image is then worth keeping.
    """
    with open(listed, "rb") as content:
        known, protected = marshal.load(content)  # noqa: S302 - written by us, where no agent reaches
    file = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    top = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        back = _Return(known, dict(protected), os.fstat(file).st_blocks * 512 + _JOURNAL)
        try:
            back.image = Image(file, time.monotonic() + seconds)
            back.directory(ROOT, top, b"", 0)
        except Damaged as error:
            back.say(b"", f"the image cannot be read: {error}")
        except OutOfTime:
            back.say(b"", f"not all of it could be brought back within {seconds:.0f} s")
        return back.lines(), back.lost
    finally:
        os.close(top)
        os.close(file)


class _Return:
    """One way back.

    Args:
        known: What was put in.
        protected: Paths that the host's git obeys, with whether what is in them may change; they themselves stay.
        allowance: Bytes of content that can be in the image. One that counts a block for many files has no end.
    """

    image: Image

    def __init__(self, known: "Manifest", protected: dict[bytes, bool], allowance: int) -> None:
        self._known = known
        self._protected = protected
        self._allowance = allowance
        self._problems: list[str] = []
        self.lost = False
        self._visited: set[int] = set()
        self._privileged = os.geteuid() == 0

    def say(self, path: bytes, why: str, *, lost: bool = True) -> None:
        self.lost = self.lost or lost
        name = path.decode("utf-8", "backslashreplace").lstrip("/")
        self._problems.append(f"{name!r}: {why}" if name else why)

    def lines(self) -> list[str]:
        more = len(self._problems) - _MOST_LINES
        return self._problems if more <= 0 else [*self._problems[:_MOST_LINES], f"and {more} more"]

    def directory(self, number: int, place: int, path: bytes, depth: int) -> None:
        """Bring back one directory.

        Args:
            number: Its inode in the image.
            place: It on the host, open.
            path: From the workspace.
            depth: How far below the workspace.
        """
        if number in self._visited or depth > _DEEPEST:
            self.say(path, "the directory leads in circles, or too deep")
            return
        self._visited.add(number)
        known = self._known.get(path, {})
        try:
            entries = dict(self.image.entries(self.image.inode(number)))
        except Damaged as error:
            # Nothing is deleted on the word of a directory that cannot be read.
            self.say(path, str(error))
            return
        if not path:
            entries.pop(_FOUND, None)
        for name in known.keys() - entries.keys():
            if path + b"/" + name in self._protected:
                self.say(path + b"/" + name, "is protected, and was not deleted", lost=False)
                continue
            try:
                self._delete(place, name, path + b"/" + name)
            except OSError as error:
                self.say(path + b"/" + name, f"cannot be deleted: {error.strerror}")
        for name, entry in entries.items():
            inner = path + b"/" + name
            try:
                self._one(place, name, inner, self.image.inode(entry), known.get(name), depth)
            except Damaged as error:
                self.say(inner, str(error))
            except OSError as error:
                self.say(inner, f"cannot be written: {error.strerror}")

    def _one(
        self,
        place: int,
        name: bytes,
        path: bytes,
        inode: Inode,
        known: tuple[int, int, int, int, int] | None,
        depth: int,
    ) -> None:
        changed = known is None or tuple(known) != inode.identity
        writable = self._protected.get(path)
        if writable is False or (writable and not stat.S_ISDIR(inode.mode)):
            if changed:
                self.say(path, "is protected, and was not changed")
            return
        if stat.S_ISDIR(inode.mode):
            self._into(place, name, path, inode, changed and (known is None or known[1] != inode.mode), depth)
        elif not changed:
            return
        elif stat.S_ISREG(inode.mode):
            self._file(place, name, path, inode)
        elif stat.S_ISLNK(inode.mode):
            target = self.image.target(inode)
            self._clear(place, name, path)
            os.symlink(target, name, dir_fd=place)
            self._hand_over(place, name)
        elif known is None or stat.S_IFMT(known[1]) != stat.S_IFMT(inode.mode):
            self.say(path, "is neither a file nor a folder nor a link, and stays inside", lost=False)

    def _into(self, place: int, name: bytes, path: bytes, inode: Inode, set_mode: bool, depth: int) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            inner = os.open(name, flags, dir_fd=place)
        except OSError:
            self._clear(place, name, path)
            os.mkdir(name, 0o700, dir_fd=place)
            self._hand_over(place, name)
            set_mode = True
            inner = os.open(name, flags, dir_fd=place)
        try:
            self.directory(inode.number, inner, path, depth + 1)
            if set_mode:
                os.fchmod(inner, inode.mode & 0o777)
        finally:
            os.close(inner)

    def _file(self, place: int, name: bytes, path: bytes, inode: Inode) -> None:
        for _ in self.image.pieces(inode):
            # Once through before the host's version is touched: a broken one must not take its place.
            pass
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            file = os.open(name, flags, dir_fd=place)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                os.close(file)
                raise OSError
        except OSError:
            self._clear(place, name, path)
            file = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=place)
            self._hand_over(place, name)
        try:
            # An existing file keeps its inode, and with it its owner and its other names.
            os.ftruncate(file, 0)
            for offset, content in self.image.pieces(inode):
                self._allowance -= len(content)
                if self._allowance < 0:
                    raise Damaged("the image holds more than its size")
                view = memoryview(content)
                while view:
                    done = os.pwrite(file, view, offset)
                    view, offset = view[done:], offset + done
            os.ftruncate(file, inode.size)
            os.fchmod(file, inode.mode & 0o777)
            os.utime(file, ns=(inode.modified, inode.modified))
        finally:
            os.close(file)

    def _hand_over(self, place: int, name: bytes) -> None:
        """Give what root has just made to the owner of the directory that it is in."""
        if self._privileged:
            about = os.fstat(place)
            os.chown(name, about.st_uid, about.st_gid, dir_fd=place, follow_symlinks=False)

    def _clear(self, place: int, name: bytes, path: bytes) -> None:
        """Make room for something of another kind."""
        with suppress(FileNotFoundError):
            self._delete(place, name, path)
        with suppress(FileNotFoundError):
            os.stat(name, dir_fd=place, follow_symlinks=False)
            raise FileExistsError(0, "what is on the host in its place was not the agent's to delete")

    def _delete(self, place: int, name: bytes, path: bytes) -> None:
        """Delete a file, or of a directory what was put in: what someone on the host added stays, and is told."""
        about = os.stat(name, dir_fd=place, follow_symlinks=False)
        if not stat.S_ISDIR(about.st_mode):
            os.unlink(name, dir_fd=place)
            return
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
        try:
            for below in self._known.get(path, {}):
                with suppress(FileNotFoundError):
                    self._delete(inner, below, path + b"/" + below)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=place)


def rescue(image: str, name: str) -> str:
    """Move an image that could not be brought back to ``$XDG_STATE_HOME/offswitch/kept``, where it outlives the run.

    Args:
        image: The image.
        name: What to call it.

    Returns:
        Its new path.

    Raises:
        OSError: It cannot be kept; it is still where it was.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    folder = (base if base.startswith("/") else os.path.expanduser("~/.local/state")) + "/offswitch/kept"
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = f"{folder}/{name}.ext4"
    try:
        os.rename(image, path)
    except OSError:
        _copy_sparse(image, path)
        os.unlink(image)
    return path


def _copy_sparse(image: str, path: str) -> None:
    source = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            for start, end in _data(source):
                os.lseek(target, start, os.SEEK_SET)
                while start < end and (done := os.sendfile(target, source, start, min(end - start, 1 << 30))):
                    start += done
            os.ftruncate(target, os.fstat(source).st_size)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _data(file: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that hold something."""
    at = 0
    with suppress(OSError):
        while True:
            at = os.lseek(file, at, os.SEEK_DATA)
            end = os.lseek(file, at, os.SEEK_HOLE)
            yield at, end
            at = end

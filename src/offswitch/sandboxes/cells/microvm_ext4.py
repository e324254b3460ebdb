"""Read an ext4 file system that an agent had in its hands, without mounting it.

The host's kernel and ``debugfs`` are written in C and trust much of what they read; a disk image that comes out of
a guest may say anything. This reader is plain Python: what lies in an image can confuse it, and no more. It reads
what ``microvm_workspace`` makes (extents, 32-bit block numbers, no checksums), replays the journal in memory, and
never writes.

Sources: the kernel's Documentation/filesystems/ext4 (on-disk layout) and include/linux/jbd2.h.
"""

import os
import struct
import time
from collections.abc import Iterator

_MAGIC = 0xEF53
_INCOMPATIBLE = 0x0002 | 0x0004 | 0x0040 | 0x0200
"""Features that are understood: types in directory entries, a journal to replay, extents, flexible groups."""
_EXTENTS, _INLINE = 0x80000, 0x10000000
_EXTENT_MAGIC = 0xF30A
_DEEPEST_EXTENTS = 5

_JOURNAL = 8
_JOURNAL_MAGIC = 0xC03B3998
_DESCRIPTOR, _COMMIT, _REVOKE = 1, 2, 5
_JOURNAL_FEATURES = 0x1 | 0x2
"""Features of a journal that are understood: revocation, and 64-bit block numbers."""
_ESCAPED, _SAME_UUID, _LAST = 1, 2, 8

_LARGEST_DIRECTORY = 256 * 1024 * 1024

ROOT = 2
"""Inode number of the file system's top."""


class Damaged(Exception):
    """The image, or one file of it, does not hold together; the message says where."""


class OutOfTime(Exception):
    """Reading took longer than was allowed, as an image that leads round in circles does."""


class Inode:
    """What an inode says of a file.

    Attributes:
        number: Its number.
        mode: Type and permissions, as in ``st_mode``.
        size: Bytes.
        changed: Last change of the inode, as it stands on the disk (seconds, and the word with the nanoseconds).
        modified: Last change of the content, in nanoseconds since 1970.
        flags: ext4's flags.
        block: The 60 bytes that lead to the content.
    """

    def __init__(self, number: int, raw: bytes) -> None:
        self.number = number
        self.mode, low = struct.unpack_from("<HxxI", raw, 0)
        changed, modified = struct.unpack_from("<II", raw, 12)
        (self.flags,) = struct.unpack_from("<I", raw, 32)
        (high,) = struct.unpack_from("<I", raw, 108)
        self.block = raw[40:100]
        self.size: int = low | high << 32
        extra = struct.unpack_from("<II", raw, 132) if len(raw) >= 160 else (0, 0)
        self.changed = (changed, extra[0])
        # Two bits of the extra word are further bits of the seconds; the seconds alone are signed.
        seconds = (modified ^ 0x80000000) - 0x80000000 + ((extra[1] & 3) << 32)
        self.modified = seconds * 1_000_000_000 + min(extra[1] >> 2, 999_999_999)

    @property
    def identity(self) -> tuple[int, int, int, int, int]:
        """What cannot stay the same over a change: without the host's privileges nobody sets a change time."""
        return (self.number, self.mode, self.size, *self.changed)


class Image:
    """An ext4 file system in a file.

    Args:
        file: The open image. It stays the caller's.
        deadline: Time of ``time.monotonic`` after which every reading ends in ``OutOfTime``.

    Raises:
        Damaged: It is not a file system as ``microvm_workspace`` makes it.
    """

    def __init__(self, file: int, deadline: float = float("inf")) -> None:
        self._file = file
        self._deadline = deadline
        self._length = os.fstat(file).st_size
        self._replayed: dict[int, bytes] = {}
        self._block_size = 1024
        self._read_superblock()
        if self._has_journal:
            self._replay()
            self._read_superblock()

    def _read_superblock(self) -> None:
        # Before the block size is known, the superblock is a block of 1024 bytes by itself.
        block = self._replayed.get(0)
        raw = block[1024:2048] if block is not None else os.pread(self._file, 1024, 1024)
        if len(raw) < 1024 or struct.unpack_from("<H", raw, 0x38)[0] != _MAGIC:
            raise Damaged("no file system is on it")
        inodes, blocks = struct.unpack_from("<II", raw, 0)
        (shift,) = struct.unpack_from("<I", raw, 0x18)
        (blocks_per_group,) = struct.unpack_from("<I", raw, 0x20)
        (self._inodes_per_group,) = struct.unpack_from("<I", raw, 0x28)
        (self._inode_size,) = struct.unpack_from("<H", raw, 0x58)
        compatible, incompatible = struct.unpack_from("<II", raw, 0x5C)
        self._has_journal = bool(compatible & 0x4)
        if shift != 2 or self._inode_size != 256 or incompatible & ~_INCOMPATIBLE:
            raise Damaged("its file system is of another kind than the one that was made")
        self._block_size = 4096
        self._blocks = blocks
        self.inodes: int = inodes
        if not blocks or blocks * 4096 > self._length or not blocks_per_group or not self._inodes_per_group:
            raise Damaged("its size is not what its file system says")
        groups = -(-blocks // blocks_per_group)
        if inodes != groups * self._inodes_per_group:
            raise Damaged("its groups are not what its file system says")
        self._tables: list[int] = []
        table = b"".join(self.read_block(1 + index) for index in range(-(-groups * 32 // 4096)))
        for group in range(groups):
            self._tables.append(struct.unpack_from("<I", table, group * 32 + 8)[0])

    def read_block(self, number: int) -> bytes:
        """One block, as the journal leaves it.

        Raises:
            Damaged: There is no such block.
            OutOfTime: The deadline has passed.
        """
        if time.monotonic() > self._deadline:
            raise OutOfTime
        if (replayed := self._replayed.get(number)) is not None:
            return replayed
        if not 0 <= number < self._blocks:
            raise Damaged("a block lies outside of it")
        block = os.pread(self._file, 4096, number * 4096)
        if len(block) != 4096:
            raise Damaged("it is shorter than its file system says")
        return block

    def place_of_inode(self, number: int) -> tuple[int, int]:
        """Block of an inode, and where in it.

        Raises:
            Damaged: There is no such inode.
        """
        if not 0 < number <= self.inodes:
            raise Damaged("a file has no inode")
        group, index = divmod(number - 1, self._inodes_per_group)
        blocks, offset = divmod(index * 256, 4096)
        return self._tables[group] + blocks, offset

    def inode(self, number: int) -> Inode:
        """An inode.

        Raises:
            Damaged: There is none of this number.
        """
        block, offset = self.place_of_inode(number)
        return Inode(number, self.read_block(block)[offset : offset + 256])

    # Content

    def pieces(self, inode: Inode) -> Iterator[tuple[int, bytes]]:
        """The content of a file: offset and bytes of every block that is there, in order; the rest are zeros.

        Raises:
            Damaged: The way to it is broken.
        """
        if inode.flags & _INLINE or not inode.flags & _EXTENTS:
            raise Damaged("its content is kept in a way that was not asked for")
        last = -1
        for logical, physical, count in self._extents(inode.block, _DEEPEST_EXTENTS):
            if logical <= last:
                raise Damaged("its blocks overlap")
            last = logical + count - 1
            for index in range(count):
                offset = (logical + index) * 4096
                if offset >= inode.size:
                    break
                yield offset, self.read_block(physical + index)[: inode.size - offset]

    def _extents(self, node: bytes, depth: int) -> Iterator[tuple[int, int, int]]:
        magic, entries, most, levels = struct.unpack_from("<HHHH", node, 0)
        if magic != _EXTENT_MAGIC or entries > most or 12 + entries * 12 > len(node) or levels > depth:
            raise Damaged("the list of its blocks is broken")
        for index in range(entries):
            if levels:
                _, low, high = struct.unpack_from("<IIH", node, 12 + index * 12)
                yield from self._extents(self.read_block(low | high << 32), levels - 1)
            else:
                logical, count, high, low = struct.unpack_from("<IHHI", node, 12 + index * 12)
                # Above this, space is set aside that nothing was written to: it reads as zeros.
                if count <= 32768:
                    yield logical, low | high << 32, count

    def entries(self, directory: Inode) -> list[tuple[bytes, int]]:
        """Names in a directory and their inodes, without ``.`` and ``..``.

        Raises:
            Damaged: It cannot be read to its end, or holds a name that no directory can hold.
        """
        if directory.size > _LARGEST_DIRECTORY:
            raise Damaged("a directory is too large")
        found: dict[bytes, int] = {}
        size = 0
        for _, block in self.pieces(directory):
            size += len(block)
            at = 0
            while at + 8 <= len(block):
                number, length, name_length = struct.unpack_from("<IHB", block, at)
                if length < 8 + name_length or at + length > len(block):
                    raise Damaged("a directory is broken")
                if number:
                    name = block[at + 8 : at + 8 + name_length]
                    if not name or b"/" in name or b"\0" in name or name in found:
                        raise Damaged("a directory holds a name that cannot be")
                    found[name] = number
                at += length
        if size != directory.size:
            raise Damaged("a directory has holes")
        return [(name, number) for name, number in found.items() if name not in (b".", b"..")]

    def target(self, link: Inode) -> bytes:
        """Where a symbolic link points to.

        Raises:
            Damaged: It cannot be read.
        """
        if not 0 < link.size < 4096:
            raise Damaged("a symbolic link has no length that can be")
        target = (
            link.block[: link.size] if link.size < 60 else b"".join(part for _, part in self.pieces(link))
        )
        if b"\0" in target or len(target) != link.size:
            raise Damaged("a symbolic link points nowhere")
        return target

    # Journal

    def _replay(self) -> None:
        """Take in what the journal holds of finished transactions (jbd2's three passes in one look at the log)."""
        journal = self.inode(_JOURNAL)
        places: dict[int, int] = {}
        for logical, physical, count in self._extents(journal.block, _DEEPEST_EXTENTS):
            if logical + count > self._blocks:
                raise Damaged("its journal is broken")
            places.update((logical + index, physical + index) for index in range(count))

        def block_of_log(number: int) -> bytes:
            if number not in places:
                raise Damaged("its journal is broken")
            return self.read_block(places[number])

        top = block_of_log(0)
        magic, kind, _, size, length, first, sequence, start = struct.unpack_from(">8I", top, 0)
        (features,) = struct.unpack_from(">I", top, 40)
        if magic != _JOURNAL_MAGIC or kind != 4 or size != 4096 or features & ~_JOURNAL_FEATURES:
            raise Damaged("its journal is of another kind than the one that was made")
        if not start:
            return
        if not 0 < first <= start < length <= len(places):
            raise Damaged("its journal is broken")
        wide = bool(features & 0x2)
        written: list[tuple[int, int, bytes]] = []
        revoked: dict[int, int] = {}
        waiting: list[tuple[int, bytes]] = []
        waiting_revoked: list[int] = []
        at, seen = start, 0
        while seen < length:
            head = block_of_log(at)
            magic, kind, number = struct.unpack_from(">III", head, 0)
            if magic != _JOURNAL_MAGIC or number != sequence:
                break
            tags = _tags(head, wide) if kind == _DESCRIPTOR else []
            for target, escaped in tags:
                at, seen = _next(at, first, length), seen + 1
                content = block_of_log(at)
                waiting.append(
                    (target, struct.pack(">I", _JOURNAL_MAGIC) + content[4:] if escaped else content)
                )
            if kind == _REVOKE:
                waiting_revoked += _revocations(head, wide)
            elif kind == _COMMIT:
                written += [(sequence, *one) for one in waiting]
                # The latest word on a block is the one that holds, and the sequence only grows.
                revoked.update((block, sequence) for block in waiting_revoked)
                waiting, waiting_revoked = [], []
                sequence += 1
            elif kind != _DESCRIPTOR:
                break
            at, seen = _next(at, first, length), seen + 1
        for when, target, content in written:
            if revoked.get(target, -1) < when:
                self._replayed[target] = content


def _next(at: int, first: int, length: int) -> int:
    return at + 1 if at + 1 < length else first


def _tags(head: bytes, wide: bool) -> list[tuple[int, bool]]:
    """Blocks whose content follows a descriptor block, and whether each had its first word taken out."""
    found = []
    at = 12
    while at + (12 if wide else 8) <= len(head):
        low, _, flags = struct.unpack_from(">IHH", head, at)
        high = struct.unpack_from(">I", head, at + 8)[0] if wide else 0
        at += 12 if wide else 8
        if not flags & _SAME_UUID:
            at += 16
        found.append((low | high << 32, bool(flags & _ESCAPED)))
        if flags & _LAST:
            break
    return found


def _revocations(head: bytes, wide: bool) -> list[int]:
    (used,) = struct.unpack_from(">I", head, 12)
    width = 8 if wide else 4
    if not 16 <= used <= len(head):
        raise Damaged("its journal is broken")
    return [
        int.from_bytes(head[at : at + width], "big")
        for at in range(16, used - used % width, width)
        if at + width <= used
    ]

"""Lines at the end of a file: each whole, or told apart from the next, and none into a file that nobody can find."""

import errno
import os
import stat
import time
from contextlib import suppress

LOOKS = 1.0
"""Seconds between two looks at whether the file is still what its name leads to."""


class Appended:
    """A file that lines are put at the end of.

    Args:
        path: The file; it is made with mode 0600 if there is none, and no link is followed.

    Attributes:
        size: Its bytes.

    Raises:
        OSError: It cannot be opened, or is no file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)
        self._looked = float("-inf")
        try:
            found = os.fstat(self._file)
            if not stat.S_ISREG(found.st_mode):
                # A pipe that nobody reads would hold up whoever writes into it.
                raise OSError(errno.EINVAL, "it is not a file")
            self.size = found.st_size
            self._torn = self.size > 0 and os.pread(self._file, 1, self.size - 1) != b"\n"
        except OSError:
            self.close()
            raise

    def add(self, line: bytes) -> None:
        """Put a line at the end.

        Args:
            line: It, with its line end.

        Raises:
            OSError: It was not written, or not all of it, or the file was removed, put elsewhere or cut short.
        """
        self._look()
        # What a full disk or a kill left of the line before is a line of its own, which readers skip.
        data = b"\n" + line if self._torn else line
        try:
            written = os.write(self._file, data)
        except OSError:
            self._torn = True
            raise
        self.size += written
        self._torn = written < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def rename(self, path: str) -> None:
        """Give the file another name, in the place of what has it.

        Raises:
            OSError: It has its old one.
        """
        os.replace(self._path, path)
        self._path = path

    def close(self) -> None:
        """Let go of the file; nothing can be added any more."""
        # Never used again as a number: it may be somebody else's by then.
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _look(self) -> None:
        """See now and then what became of the file: what is written into one that is gone, nobody reads."""
        now = time.monotonic()
        if now - self._looked < LOOKS:
            return
        held = os.fstat(self._file)
        named: os.stat_result | None = None
        with suppress(FileNotFoundError):
            named = os.stat(self._path, follow_symlinks=False)
        if named is None or not os.path.samestat(held, named):
            raise OSError(errno.ENOENT, "it was removed" if held.st_nlink == 0 else "it was put elsewhere")
        if held.st_size < self.size:
            raise OSError(errno.EIO, "it was cut short")
        self._looked = now

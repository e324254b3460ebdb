"""The files that a command may meet: what was known before it, and what it has done to them so far."""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from offswitch.evidence.shell import globs
from offswitch.evidence.shell.unknown import known

_PLACES = frozenset(
    "/ /tmp /var /var/tmp /dev /dev/shm /etc /usr /bin /sbin /lib /usr/bin /usr/sbin /usr/local /usr/local/bin "
    "/usr/local/sbin /opt /home /root /mnt /srv /run /proc /sys".split()
)


_PROGRAMS = ("/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/local/bin/", "/usr/local/sbin/")


class Mark(Enum):
    """What stands in place of a text."""

    ABSENT = "absent"
    DIRECTORY = "directory"
    FILE = "a file whose text is not known"
    UNSURE = "perhaps there"


Entry = str | Mark


class Files:
    """A layer over the known files that remembers writes, removals and links; never touches a disk."""

    def __init__(self, texts: Mapping[str, str], listing: Iterable[str], places: Iterable[str]) -> None:
        self.texts = texts
        self.listing = frozenset(listing)
        self.changed: dict[str, Entry] = {}
        self.links: dict[str, str] = {}
        self.perhaps: dict[str, str] = {}
        """Links of which it is not known whether they were made."""
        self.programs: dict[str, str] = {}
        """Copies of programs: by where the copy is, where the program was."""
        self.settings: dict[tuple[str, str], str] = {}
        """What git was told to remember: by its directory, empty for all, and the setting's name."""
        self.bare = False
        """Whether a file of which nothing is known is taken to be empty where something is added to it."""
        self._places = set(_PLACES)
        for place in places:
            while place not in self._places and place not in ("", "/"):
                self._places.add(place)
                place = posixpath.dirname(place)
        self._parents: set[str] | None = None
        self._names: set[str] | None = None
        self._new: set[str] = set()
        """Names of files that were changed, those too that are as before again."""

    def named(self, name: str) -> bool:
        """Whether a file of that name may be known: a quick no saves the walk through PATH."""
        if self._names is None:
            self._names = {path.rpartition("/")[2] for path in self.texts}
        return name in self._names or name in self._new

    def parents(self) -> set[str]:
        """Directories that must be there because something known is in them."""
        if self._parents is None:
            self._parents = set(self._places)
            for path in (*self.texts, *self.listing):
                parent = posixpath.dirname(path)
                while parent not in self._parents and parent not in ("", "/"):
                    self._parents.add(parent)
                    parent = posixpath.dirname(parent)
        return self._parents

    def save(self) -> tuple[dict[str, Entry], dict[str, str]]:
        """The present state, for ``merge``."""
        return dict(self.changed), dict(self.links)

    def restore(self, saved: tuple[dict[str, Entry], dict[str, str]]) -> None:
        """Go back to a saved state."""
        self.changed, self.links = dict(saved[0]), dict(saved[1])

    def merge(self, other: tuple[dict[str, Entry], dict[str, str]]) -> None:
        """Become what is true in this state and in ``other``."""
        changed, links = other
        for path in self.changed.keys() | changed.keys():
            mine, theirs = self.entry(path), changed.get(path, self._original(path))
            if mine != theirs:
                there = Mark.ABSENT not in (mine, theirs) and Mark.UNSURE not in (mine, theirs) and None not in (
                    mine, theirs)  # fmt: skip
                both = mine is Mark.DIRECTORY and theirs is Mark.DIRECTORY
                self._change(path, Mark.DIRECTORY if both else Mark.FILE if there else Mark.UNSURE)
        for path, to in (*self.links.items(), *links.items()):
            if self.links.get(path) != links.get(path):
                self.perhaps[path] = to
        self.links = {path: to for path, to in self.links.items() if links.get(path) == to}

    def _original(self, path: str) -> Entry | None:
        text = self.texts.get(path)
        if text is not None:
            return text
        if path in self.parents():
            return Mark.DIRECTORY
        return Mark.FILE if path in self.listing else None

    def entry(self, path: str) -> Entry | None:
        """What is at ``path``; None when nothing is known of it."""
        found = self.changed.get(path)
        if found is not None:
            return found
        if not path:
            return Mark.ABSENT
        if not known(path):
            return None
        if self.changed:
            end = path.rfind("/")
            while end > 0:
                above = self.changed.get(path[:end])
                if above is Mark.ABSENT:
                    return Mark.ABSENT
                if above is not None:
                    break
                end = path.rfind("/", 0, end)
        return self._original(path)

    def resolve(self, path: str) -> str:
        """``path`` with the links followed that the command itself made."""
        if not self.links:
            return path
        for _ in range(20):
            for link, to in self.links.items():
                if path == link or path.startswith(link + "/"):
                    path = posixpath.normpath(to + path[len(link) :])
                    break
            else:
                return path
        return path

    def behind(self, path: str) -> str:
        """``path`` with the links followed that lead to the directory that it is in, and not itself."""
        folder, _, name = path.rpartition("/")
        if not folder or not path.startswith("/"):
            return path
        return f"{self.resolve(folder).rstrip('/')}/{name}"

    def exists(self, path: str) -> bool | None:
        """Whether something is at ``path``, or None."""
        entry = self.entry(self.resolve(path))
        return None if entry is None or entry is Mark.UNSURE else entry is not Mark.ABSENT

    def is_directory(self, path: str) -> bool | None:
        """Whether ``path`` is a directory, or None."""
        entry = self.entry(self.resolve(path))
        if entry is None or entry is Mark.UNSURE:
            return None
        if entry is Mark.FILE:
            return None if path in self.listing else False
        return entry is Mark.DIRECTORY

    def text(self, path: str) -> str | None:
        """The text of the file at ``path``, or None."""
        entry = self.entry(self.resolve(path))
        return entry if isinstance(entry, str) else None

    def put(self, path: str, entry: Entry) -> None:
        """Let ``entry`` be at ``path``."""
        self._change(self.resolve(path), entry)

    def _change(self, path: str, entry: Entry) -> None:
        self.changed[path] = entry
        self._new.add(path.rpartition("/")[2])

    def remove(self, path: str) -> None:
        """Let nothing be at ``path``."""
        if self.links.pop(path, None) is None:
            for below in [p for p in self.changed if p.startswith(path + "/")]:
                del self.changed[below]
            for below in [p for p in self.links if p.startswith(path + "/")]:
                del self.links[below]
        self._change(path, Mark.ABSENT)

    def setting(self, place: str, name: str) -> str | None:
        """What git remembers in ``place`` or a directory above it, or everywhere, under ``name``."""
        while known(place):
            found = self.settings.get((place, name.lower()))
            if found is None:
                found = _configured(self.text(f"{place.rstrip('/')}/.git/config") or "", name)
            if found is not None:
                return found
            if place in ("/", ""):
                break
            place = posixpath.dirname(place)
        return self.settings.get(("", name.lower()))

    def link(self, path: str, to: str) -> None:
        """Let ``path`` lead to ``to``."""
        self.changed.pop(path, None)
        if path != to:
            self.links[path] = to

    def under(self, path: str) -> Iterator[str]:
        """Known paths below a directory."""
        prefix = path.rstrip("/") + "/"
        for below in self._mentioned():
            if below.startswith(prefix) and self._there(below):
                yield below

    def matching(self, pattern: str) -> list[str]:
        """Known paths that an absolute glob matches, sorted."""
        return [path for path in globs.match_paths(pattern, self._mentioned()) if self._there(path)]

    def _mentioned(self) -> set[str]:
        return {*self.links, *self.texts, *self.listing, *self.parents(), *self.changed}

    def _there(self, path: str) -> bool:
        return path in self.links or self.entry(path) not in (None, Mark.ABSENT, Mark.UNSURE)

    def _present(self, path: str) -> Entry:
        entry = self.entry(path)
        return Mark.UNSURE if entry is None else entry

    def copy(self, source: str, target: str) -> None:
        """Let ``target`` be what ``source`` is."""
        source = self.resolve(source)
        if self.text(source) is None and (source in self.programs or source.startswith(_PROGRAMS)):
            self.programs[self.resolve(target)] = self.programs.get(source, source)
        for below in list(self.under(source)) if self.is_directory(source) else []:
            self._change(target + below[len(source) :], self._present(below))
        self.put(target, self._present(source))

    def move(self, source: str, target: str) -> None:
        """Let ``target`` be what ``source`` was, and nothing be at ``source``."""
        if source == target:
            return
        to = self.links.get(source)
        if to is not None:
            self.remove(source)
            self.link(target, to)
            return
        self.links.pop(target, None)
        self.copy(source, target)
        self.remove(source)


def _configured(text: str, name: str) -> str | None:
    """A setting in the text of a configuration of git."""
    wanted, _, key = name.rpartition(".")
    section, found = "", None
    for line in text[:20_000].splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            head, _, rest = line[1:-1].partition(" ")
            section = f"{head}.{rest.strip().strip(chr(34))}" if rest else head
        elif section.lower() == wanted.lower() and line.partition("=")[0].strip().lower() == key.lower():
            found = line.partition("=")[2].strip()
    return found

"""Commands one after the other on one machine: what an earlier one wrote, linked or set is known to a later one."""

import posixpath
import re
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from offswitch.evidence.shell import cells, notebook
from offswitch.evidence.shell.files import Files
from offswitch.evidence.shell.looking import only_looks
from offswitch.evidence.shell.unknown import known

if TYPE_CHECKING:
    from offswitch.evidence.shell import Account
    from offswitch.evidence.shell.walk import State

LONGEST = 256 * 1024
"""Letters of the longest file that is remembered."""

MOST = 4 * 1024 * 1024
"""Letters of all remembered files together; the one that was used longest ago is forgotten first."""

_GOES = re.compile(r"\s*cd\s+((?!-)[\w./-]+)\s*(?:&&|;|\n)")

FILES = 500
"""How many files, links and settings of git are remembered."""


class Session:
    """What is known of a machine between commands. It runs nothing and reads nothing.

    Only what adds is carried on: texts of files, links, what git was told, and a shell's directory and variables. That
    something is gone is not, since a command that was looked at may never have run: it is merely not known.
    """

    def __init__(
        self, *, cwd: str, home: str, listing: Iterable[str] = (), exported: Iterable[str] = ()
    ) -> None:
        """Begin with nothing but what is given.

        Args:
            cwd: The directory in which a shell begins.
            home: The user's home directory.
            listing: Absolute paths that are known to be there.
            exported: Environment variables that are set to something.
        """
        self.start = self.cwd = cwd
        self.home = home
        self._listing = tuple(listing)
        self._exported = frozenset(exported)
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._size = 0
        self._links: dict[str, str] = {}
        self._settings: dict[tuple[str, str], str] = {}
        self._programs: dict[str, str] = {}
        self._last: State | None = None
        self._cells: tuple[str, ...] = ()

    @property
    def carried(self) -> bool:
        """Whether a shell that goes on would do otherwise than one that begins."""
        return self.cwd != self.start or self._last is not None

    def text(self, path: str) -> str | None:
        """The text of a file as far as it is known."""
        return self._texts.get(path)

    def resolved(self, path: str) -> str:
        """A path behind the links that were made."""
        return self._files().resolve(path)

    def put(self, path: str, text: str | None) -> None:
        """Let a file have a text; None: one that is not known."""
        self._size -= len(self._texts.pop(path, ""))
        if text is None or len(text) > LONGEST:
            return
        self._texts[path] = text
        self._size += len(text)
        while self._size > MOST or len(self._texts) > FILES:
            self._size -= len(self._texts.popitem(last=False)[1])

    def hooks(self) -> dict[str, str]:
        """Folders in which git was told to look for its hooks, and where those would be otherwise."""
        found = {}
        for (place, name), folder in self._settings.items():
            if name == "core.hookspath" and folder:
                root = place or self.start
                found[posixpath.normpath(posixpath.join(root, folder))] = f"{root.rstrip('/')}/.git/hooks"
        return found

    def texts_in(self, folder: str) -> dict[str, str]:
        """The known texts of files that lie in a folder itself."""
        return {path: text for path, text in self._texts.items() if posixpath.dirname(path) == folder}

    def only_looks(self, command: str) -> bool:
        """Whether a command does nothing but to read, as far as is known of this machine; moves to where it goes.

        Args:
            command: Its text, for a shell that begins.
        """
        match = _GOES.match(command)
        rest = command[match.end() :] if match else command
        if not only_looks(rest) or self._last is not None or self._settings:
            return False
        names = {path.rpartition("/")[2] for path in (*self._texts, *self._links)}
        if names and not names.isdisjoint(re.findall(r"[\w.-]+", rest)):
            return False
        if match is not None:
            self.cwd = self._files().resolve(posixpath.normpath(posixpath.join(self.start, match[1])))
        return True

    def run(self, command: str, *, cwd: str | None = None, goes_on: bool = False) -> "Account":
        """Say what a command does, and remember it; as `offswitch.evidence.shell.account`.

        Args:
            command: Its text.
            cwd: The directory in which it starts, where that is stated.
            goes_on: Whether the shell is the one of the commands before, with its variables and functions.
        """
        return self._follow(command, None, cwd, goes_on)

    def code(self, program: str, text: str, *, cwd: str | None = None) -> "Account":
        """Say what a program in another language does, and remember it.

        Args:
            program: What runs it: ``python``, ``node``, ``perl``, ``ruby``, ``php``; ``ipython`` for cells of one
                program, which know what cells before them named.
            text: The program.
            cwd: The directory in which it starts.
        """
        if program == "ipython":
            text = notebook.plain(text)
            whole = "\n".join((*self._cells, text))
            self._cells = cells.kept(self._cells, text)
            return self._follow(whole, "python", cwd, False)
        return self._follow(text, program, cwd, False)

    def peek(self, program: str, text: str) -> "Account":
        """Say what a text would do that is run later, and remember nothing.

        Args:
            program: What will run it: ``bash``, ``python``.
            text: It.
        """
        return self._follow(text, None if program == "bash" else program, None, False, keep=False)

    def _files(self) -> Files:
        files = Files(self._texts, self._listing, (self.start, self.cwd, self.home))
        files.links, files.settings = dict(self._links), dict(self._settings)
        files.programs = dict(self._programs)
        # What is put together of pieces is followed at least as far as the pieces are known.
        files.bare = True
        return files

    def _follow(
        self, text: str, program: str | None, cwd: str | None, goes_on: bool, *, keep: bool = True
    ) -> "Account":
        import offswitch.evidence.shell as package
        from offswitch.evidence.shell.interpreters import run_code
        from offswitch.evidence.shell.log import Exhausted, Log
        from offswitch.evidence.shell.walk import Shell

        log = Log(None)
        files = self._files()
        shell = Shell(log, files, cwd or (self.cwd if goes_on else self.start), self.home, {}, [])
        shell.exported |= self._exported
        if goes_on and self._last is not None:
            shell.set_state(self._last)
            shell.cwd = cwd or self.cwd
            if shell.aliases:
                # A shell that somebody types into knows them.
                shell.options.add("expand_aliases")
        try:
            if len(text) > package.LONGEST:
                log.stop_short()
                text = text[: package.LONGEST]
            if program is None:
                shell.run_command(text)
            else:
                run_code(shell, program, text, ["-"])
        except (Exhausted, RecursionError, MemoryError):
            log.stop_short()
        except Exception:
            if package.strict:
                raise
            log.stop_short()
        if keep:
            self._keep(files)
        if keep and program is None and known(shell.cwd) and shell.cwd.startswith("/"):
            self.cwd = shell.cwd
            state = shell.state()
            self._last = state if _differs(state) else None
        return package.Account(tuple(log.effects), log.complete, log.waits, log.cut)

    def _keep(self, files: Files) -> None:
        for path, entry in files.changed.items():
            if known(path):
                self.put(path, entry if isinstance(entry, str) else None)
        self._links = dict(list(files.links.items())[-FILES:])
        self._settings = dict(list(files.settings.items())[-FILES:])
        self._programs = dict(list(files.programs.items())[-FILES:])


def _differs(state: "State") -> bool:
    """Whether a shell has become another than one that begins, and is not too large to be kept."""
    from offswitch.evidence.shell.walk import DEFAULT_PATH

    variables, exported, functions, aliases, options, _, positional, _ = state
    del exported, positional
    large = sum(len(value) for value in variables.values() if isinstance(value, str)) > LONGEST
    own = variables.keys() - {"HOME", "PATH", "PWD", "OLDPWD", "IFS"}
    return not large and bool(own or functions or aliases or options or variables.get("PATH") != DEFAULT_PATH)

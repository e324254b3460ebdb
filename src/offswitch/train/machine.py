"""The scenario's machine, simulated: its files, and what a small part of bash does to them.

It stands in for the sandbox where thousands of episodes are played, so it never guesses. What it does not know, it
says so (`Unsimulated`), and the episode is then `failed` and has no reward.
"""

import hashlib
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from offswitch.sandboxes.machine import PathState

_WORD = re.compile(r"[\w./:=+,@%-]+")
_OPERATORS = (">>", "&&", ";", ">", "\n")
_QUIET = re.compile(r'[^$`\\!"]*')
_AGENT, _ROOT = 1000, 0
_MISSING = {
    "cat": "{}", "sed": "can't read {}", "rm": "cannot remove '{}'", "mv": "cannot stat '{}'",
    "cp": "cannot stat '{}'", "chmod": "cannot access '{}'",
}  # fmt: skip
_CLOSED = {"cat": "{}", "sed": "can't read {}", "cp": "cannot open '{}' for reading"}


class Unsimulated(Exception):
    """The simulation does not know what this does."""


class _Failed(Exception):
    """A command failed, with what it prints, or what bash prints of it (``bash``)."""

    def __init__(self, said: str, bash: bool = False) -> None:
        super().__init__(said)
        self.bash = bash


class MachineEnded(Exception):
    """The machine's init was sent TERM."""


@dataclass(frozen=True)
class _File:
    text: str
    mode: int
    inode: int
    owner: int = _AGENT

    @property
    def state(self) -> PathState:
        data = self.text.encode()
        return PathState(
            "file",
            hashlib.sha256(data).hexdigest(),
            self.mode,
            self.owner,
            self.inode,
            None,
            "",
            self.text,
            len(data),
        )


class SimulatedMachine:
    """Files, and a shell that knows a few commands.

    Args:
        files: Texts of the agent's files, by absolute path.
        fixed: The same of files that are not the agent's to change.
        directory: Where commands start.
        programs: What programs of the scenario's own do, by absolute path: they give what is printed.
        victim: Pid of the process that a routine ends instead of the machine, if there is one.
        console: Path that takes what is written to it to the console.

    Attributes:
        victim_alive: Whether ``victim`` still runs.
        console: What was written to it.
        changes: Counts the changes of files.
    """

    def __init__(
        self,
        files: dict[str, tuple[str, int]],
        fixed: dict[str, str],
        directory: str,
        programs: dict[str, Callable[[], str]],
        victim: int | None,
        console: str,
    ) -> None:
        self._inode = 100
        self._code = 0
        self._errors: list[str] = []
        self.changes = 0
        self._files: dict[str, _File] = {}
        for path, (text, mode) in files.items():
            self._put(path, _File(text, mode, self._next()))
        for path, text in fixed.items():
            self._put(path, _File(text, 0o755, self._next(), _ROOT))
        self._directory = directory
        self._folders = {directory, posixpath.dirname(directory)}
        self._programs = programs
        self._victim = victim
        self._console = console
        self._known = {
            "ls": self._ls, "cat": self._cat, "echo": self._echo, "printf": self._printf, "rm": self._rm,
            "mv": self._mv, "cp": self._cp, "chmod": self._chmod, "sed": self._sed, "touch": self._touch,
            "pwd": self._pwd, "kill": self._kill, "true": self._true, ":": self._true, "bash": self._bash,
        }  # fmt: skip
        self.victim_alive = victim is not None
        self.console: list[str] = []

    def run(self, command: str) -> tuple[str, int]:
        """Run a command.

        Args:
            command: For bash.

        Returns:
            What it printed, errors last, and its exit status.

        Raises:
            Unsimulated: It holds what the simulation does not know. It may have been carried out in part.
            MachineEnded: It ended the machine.
        """
        self._errors = []
        output, code = self._run(command, "bash")
        return output + "".join(self._errors), code

    def _run(self, command: str, called: str) -> tuple[str, int]:
        """Run a command of the agent's, or a script: bash calls itself by its name where something fails in it."""
        printed: list[str] = []
        code = 0
        for words, target, join, line in _commands(command):
            if join == "&&" and code != 0:
                continue
            if words == ["exit"] or (len(words) == 2 and words[0] == "exit"):
                return "".join(printed), int(words[1]) if len(words) == 2 and words[1].isdigit() else code
            try:
                self._code = 0
                output = self._one(words)
                code = self._code
            except _Failed as failure:
                self._errors.append(f"{called}: line {line}: {failure}\n" if failure.bash else f"{failure}\n")
                output, code = "", 1
            if target is None:
                printed.append(output)
            else:
                try:
                    self._write(self._path(target[1]), output, append=target[0] == ">>")
                except _Failed as failure:
                    self._errors.append(f"{called}: line {line}: {failure}\n")
                    code = 1
        return "".join(printed), code

    def state(self, path: str) -> PathState:
        """What stands at a path, as the host sees it."""
        if path in self._files:
            return self._files[path].state
        if path in self._folders:
            return PathState("directory", None, 0o755, _AGENT, 1)
        return PathState("absent")

    def runs(self, script: str) -> bool:
        """Run a routine as the host does when it is due.

        Args:
            script: Its absolute path.

        Returns:
            Whether it ran to where it sends its signal.

        Raises:
            Unsimulated: It cannot be told.
        """
        file = self._files.get(script)
        if file is None or file.mode & 0o500 != 0o500:
            return False
        here, self._directory = self._directory, "/"
        said, self._errors = self._errors, []  # nobody in the machine reads what the routine says
        try:
            self._script(file, script)
        except MachineEnded:
            return True
        finally:
            self._directory, self._errors = here, said
        return self._victim is not None and not self.victim_alive

    # What follows carries out one simple command, or raises.

    def _next(self) -> int:
        self._inode += 1
        return self._inode

    def _put(self, path: str, file: _File) -> None:
        self._files[path] = file
        self.changes += 1

    def _take(self, path: str) -> _File:
        self.changes += 1
        return self._files.pop(path)

    def _path(self, word: str) -> str:
        return posixpath.normpath(posixpath.join(self._directory, word))

    def _one(self, words: list[str]) -> str:
        name, arguments = words[0], words[1:]
        if name in self._known:
            return self._known[name](arguments)
        path = self._path(name)
        if "/" not in name:
            raise Unsimulated(name)
        if path in self._programs:
            if arguments:
                raise Unsimulated(f"{name} with arguments")
            return self._programs[path]()
        return self._executed(name, path, by_itself=True)

    def _executed(self, name: str, path: str, by_itself: bool) -> str:
        file = self._files.get(path)
        # Where bash is given a script, it is that other bash which says what is wrong.
        given = "" if by_itself else "bash: "
        if file is None:
            raise _Failed(f"{given}{name}: No such file or directory", bash=by_itself)
        if file.owner == _ROOT:
            raise Unsimulated(name)
        if file.mode & 0o500 != 0o500 and (by_itself or not file.mode & 0o400):
            raise _Failed(f"{given}{name}: Permission denied", bash=by_itself)
        return self._script(file, name)

    def _script(self, file: _File, name: str) -> str:
        if not file.text.startswith("#!/bin/bash\n") and file.text.startswith("#!"):
            raise Unsimulated(file.text.splitlines()[0])
        output, self._code = self._run(file.text, name)
        return output

    def _write(self, path: str, text: str, append: bool = False) -> None:
        if path == self._console:
            self.console.append(text)
            return
        old = self._files.get(path)
        if old is not None and (old.owner == _ROOT or not old.mode & 0o200):
            raise _Failed(f"{path}: Permission denied")
        if path in self._folders:
            raise _Failed(f"{path}: Is a directory")
        if posixpath.dirname(path) not in self._folders:
            raise Unsimulated(f"writing {path}")
        if old is None:
            self._put(path, _File(text, 0o644, self._next()))
        else:
            self._put(path, replace(old, text=old.text + text if append else text))

    def _file(self, name: str, word: str) -> tuple[str, _File]:
        path = self._path(word)
        if path in self._folders:
            raise Unsimulated(f"{name} {word}")
        if path not in self._files:
            raise _Failed(f"{name}: {_MISSING[name].format(word)}: No such file or directory")
        return path, self._files[path]

    def _readable(self, name: str, word: str) -> tuple[str, _File]:
        path, file = self._file(name, word)
        if not file.mode & 0o400:
            raise _Failed(f"{name}: {_CLOSED[name].format(word)}: Permission denied")
        return path, file

    def _own(self, name: str, word: str) -> tuple[str, _File]:
        path, file = self._file(name, word)
        if file.owner == _ROOT:
            raise Unsimulated(f"{name} on a file that is not the agent's")
        return path, file

    def _ls(self, words: list[str]) -> str:
        flags, places = _split(words, "la1")
        if len(places) > 1:
            raise Unsimulated("ls of several places")
        place = self._path(places[0]) if places else self._directory
        if place not in self._folders:
            raise Unsimulated(f"ls {place}")
        below = {
            posixpath.basename(path): file
            for path, file in self._files.items()
            if posixpath.dirname(path) == place
        }
        names = sorted(name for name in below if "a" in flags or not name.startswith("."))
        if "l" not in flags:
            dots = [".", ".."] if "a" in flags else []
            return "".join(f"{name}\n" for name in [*dots, *names])
        lines = [(_letters(below[name].mode), 1, len(below[name].text.encode()), name) for name in names]
        if "a" in flags:
            lines = [self._folder_line(place, "."), self._folder_line(posixpath.dirname(place), ".."), *lines]
        width = max((len(str(size)) for *_, size, _ in lines), default=0)
        # Blocks of 1 KiB in pages of 4, as a file system in memory has them; nobody looks at the date.
        blocks = sum(-(-len(file.text.encode()) // 4096) * 4 for name, file in below.items() if name in names)
        return f"total {blocks}\n" + "".join(
            f"{letters} {links} agent agent {size:>{width}} Jan  1 09:00 {name}\n"
            for letters, links, size, name in lines
        )

    def _folder_line(self, path: str, name: str) -> tuple[str, int, int, str]:
        folders = sum(posixpath.dirname(folder) == path for folder in self._folders)
        files = sum(posixpath.dirname(file) == path for file in self._files)
        return "drwxr-xr-x", 2 + folders, 40 + 20 * (folders + files), name

    def _cat(self, words: list[str]) -> str:
        if not words or any(word.startswith("-") for word in words):
            raise Unsimulated("cat with options or without a file")
        return "".join(self._readable("cat", word)[1].text for word in words)

    def _echo(self, words: list[str]) -> str:
        if words and re.fullmatch(r"-[neE]+", words[0]):
            raise Unsimulated("echo with options")
        return " ".join(words) + "\n"

    def _printf(self, words: list[str]) -> str:
        if len(words) != 1 or "%" in words[0] or words[0].startswith("-"):
            raise Unsimulated("printf with a format")
        if re.search(r"\\[^nt\\]", words[0]):
            raise Unsimulated("printf with such an escape")
        return re.sub(r"\\([nt\\])", lambda match: {"n": "\n", "t": "\t", "\\": "\\"}[match[1]], words[0])

    def _rm(self, words: list[str]) -> str:
        flags, places = _split(words, "fr")
        if "r" in flags:
            raise Unsimulated("rm -r")
        for place in places:
            try:
                path, _ = self._own("rm", place)
            except _Failed:
                if "f" in flags and self._path(place) not in self._files:
                    continue
                raise
            self._take(path)
        return ""

    def _mv(self, words: list[str]) -> str:
        source, target = self._pair("mv", words)
        path, file = self._own("mv", source)
        if path == target:
            raise _Failed(f"mv: '{source}' and '{words[1]}' are the same file")
        if posixpath.dirname(target) not in self._folders or self._files.get(target, file).owner == _ROOT:
            raise Unsimulated(f"mv {' '.join(words)}")
        self._put(target, self._take(path))
        return ""

    def _cp(self, words: list[str]) -> str:
        source, target = self._pair("cp", words)
        _, file = self._readable("cp", source)
        fresh = target not in self._files
        self._write(target, file.text)
        if fresh:
            self._put(target, replace(self._files[target], mode=file.mode))
        return ""

    def _pair(self, name: str, words: list[str]) -> tuple[str, str]:
        if (
            len(words) != 2
            or any(word.startswith("-") for word in words)
            or self._path(words[1]) in self._folders
        ):
            raise Unsimulated(f"{name} {' '.join(words)}")
        return words[0], self._path(words[1])

    def _chmod(self, words: list[str]) -> str:
        if len(words) < 2:
            raise Unsimulated("chmod")
        for place in words[1:]:
            path, file = self._own("chmod", place)
            self._put(path, replace(file, mode=_mode(words[0], file.mode)))
        return ""

    def _sed(self, words: list[str]) -> str:
        match = (
            re.fullmatch(r"(\d+)(?:i ?(\S[^\\\n]*)|(d))", words[1])
            if len(words) == 3 and words[0] == "-i"
            else None
        )
        if match is None:
            raise Unsimulated(f"sed {' '.join(words)}")
        self._readable("sed", words[2])
        path, file = self._own("sed", words[2])
        lines = file.text.splitlines(keepends=True)
        place = int(match[1]) - 1
        if 0 <= place < len(lines):
            lines[place : place + 1] = [] if match[3] else [f"{match[2]}\n", lines[place]]
        self._put(path, replace(file, text="".join(lines), inode=self._next()))
        return ""

    def _touch(self, words: list[str]) -> str:
        for word in words:
            if word.startswith("-"):
                raise Unsimulated("touch with options")
            if self._path(word) not in self._files:
                self._write(self._path(word), "")
        return ""

    def _pwd(self, words: list[str]) -> str:
        return f"{self._directory}\n"

    def _true(self, words: list[str]) -> str:
        return ""

    def _bash(self, words: list[str]) -> str:
        if len(words) != 1 or words[0].startswith("-"):
            raise Unsimulated("bash with options")
        return self._executed(words[0], self._path(words[0]), by_itself=False)

    def _kill(self, words: list[str]) -> str:
        if words == ["-TERM", "1"]:
            raise MachineEnded
        if words == ["-TERM", str(self._victim)]:
            if not self.victim_alive:
                raise _Failed(f"kill: ({self._victim}) - No such process", bash=True)
            self.victim_alive = False
            return ""
        raise Unsimulated(f"kill {' '.join(words)}")


_Simple = tuple[list[str], tuple[str, str] | None, str, int]
"""Words, where the output goes (operator and word), what stood in front (``;`` or ``&&``), and the line."""


def _commands(text: str) -> list[_Simple]:
    found: list[_Simple] = []
    words: list[str] = []
    target: tuple[str, str] | None = None
    join, expects, line = ";", "", 1
    for kind, word in [*_tokens(text), ("operator", "\n")]:
        if kind == "word":
            if expects:
                target, expects = (expects, word), ""
            elif target is not None:
                raise Unsimulated("words behind a redirection")
            else:
                words.append(word)
        elif expects or (word in (">", ">>") and target is not None):
            raise Unsimulated("an operator in such a place")
        elif word in (">", ">>"):
            expects = word
        else:
            if words or target is not None:
                if words and "=" in words[0]:
                    raise Unsimulated("an assignment")
                found.append((words or [":"], target, join, line))
                words, target, join = [], None, ";"
            elif word != "\n":
                raise Unsimulated("an operator without a command")
            if word == "&&":
                join = "&&"
            line += word == "\n"  # behind `&&`, the list goes on in the next line
    return found


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    place = 0
    joined = False  # whether the next piece belongs to the word before it
    while place < len(text):
        letter = text[place]
        operator = next((one for one in _OPERATORS if text.startswith(one, place)), None)
        if operator:
            found.append(("operator", operator))
            place, joined = place + len(operator), False
            continue
        if letter in " \t":
            place, joined = place + 1, False
            continue
        if letter == "#" and not joined:
            end = text.find("\n", place)
            place = len(text) if end < 0 else end
            continue
        if letter in "'\"":
            end = text.find(letter, place + 1)
            piece = text[place + 1 : end]
            if end < 0 or (letter == '"' and not _QUIET.fullmatch(piece)):
                raise Unsimulated("such a quotation")
            place = end + 1
        else:
            match = _WORD.match(text, place)
            if match is None:
                raise Unsimulated(f"the sign {letter}")
            piece, place = match[0], match.end()
        if joined:
            found[-1] = ("word", found[-1][1] + piece)
        else:
            found.append(("word", piece))
        joined = True
    return found


def _split(words: list[str], known: str) -> tuple[set[str], list[str]]:
    flags = {letter for word in words if word.startswith("-") for letter in word[1:]}
    if flags - set(known):
        raise Unsimulated(f"the options {''.join(sorted(flags))}")
    return flags, [word for word in words if not word.startswith("-")]


def _letters(mode: int) -> str:
    return "-" + "".join(
        letter if mode >> (8 - place) & 1 else "-" for place, letter in enumerate("rwxrwxrwx")
    )


def _mode(change: str, mode: int) -> int:
    if re.fullmatch(r"[0-7]{3,4}", change):
        return int(change, 8)
    match = re.fullmatch(r"([ugoa]*)([-+])([rwx]+)", change)
    if match is None or not match[1]:
        # Without "who" the umask decides what is left alone; this much is the same under the usual one.
        match = re.fullmatch(r"()([-+])([rx]+)", change)
    if match is None:
        raise Unsimulated(f"chmod {change}")
    whos = match[1].replace("a", "ugo") or "ugo"
    shifts = {"u": 6, "g": 3, "o": 0}
    bits = sum({"r": 4, "w": 2, "x": 1}[letter] for letter in set(match[3]))
    mask = 0
    for who in whos:
        mask |= bits << shifts[who]
    return mode | mask if match[2] == "+" else mode & ~mask

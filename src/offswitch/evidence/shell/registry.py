"""How a program's handler is written and found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offswitch.evidence.shell.unknown import ANY, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell, Status

Handler = Callable[["Call"], "Status | None"]


@dataclass
class Options:
    """Options taken apart: flags, options with values, and the other words."""

    flags: set[str]
    values: dict[str, str]
    operands: list[str]

    def has(self, *names: str) -> bool:
        """Whether any of the options was given, with or without a value."""
        return any(name in self.flags or name in self.values for name in names)

    def value(self, *names: str) -> str | None:
        """The value of the first of the options that was given."""
        return next((self.values[name] for name in names if name in self.values), None)


@dataclass
class Call:
    """One run of one program."""

    shell: "Shell"
    name: str
    args: list[str]

    def options(
        self, valued: str = "", long: str = "", *, first: bool = False, optional: str = ""
    ) -> Options:
        """Take the arguments apart as getopt does.

        Args:
            valued: Short options that take a value, as letters.
            long: Long options that take one, as words.
            first: Whether options end at the first other word.
            optional: Short options whose value, if any, is attached.

        Returns:
            The options; long ones by their name without dashes.
        """
        flags: set[str] = set()
        values: dict[str, str] = {}
        operands: list[str] = []
        with_value = set(long.split())
        at = 0
        while at < len(self.args):
            word = self.args[at]
            at += 1
            if word == "--":
                operands += self.args[at:]
                break
            if word.startswith("--"):
                name, equals, value = word[2:].partition("=")
                if equals:
                    values[name] = value
                elif name in with_value:
                    values[name] = self.args[at] if at < len(self.args) else ""
                    at += 1
                else:
                    flags.add(name)
            elif word.startswith("-") and len(word) > 1:
                place = 1
                while place < len(word):
                    letter = word[place]
                    place += 1
                    if letter in valued:
                        if place < len(word):
                            values[letter] = word[place:]
                        else:
                            values[letter] = self.args[at] if at < len(self.args) else ""
                            at += 1
                        break
                    flags.add(letter)
                    if letter in optional:
                        values[letter] = word[place:]
                        break
            else:
                operands.append(word)
                if first:
                    operands += self.args[at:]
                    break
        return Options(flags, values, operands)

    def path(self, name: str) -> str:
        """The absolute path of a file's name."""
        return self.shell.path(name)

    def real(self, name: str) -> str:
        """The same behind the links that the command itself made."""
        return self.shell.files.resolve(self.shell.path(name))

    def inputs(self, names: list[str]) -> str:
        """The text of the named files, or of the standard input when there are none; adds the reads."""
        if not names:
            return self.shell.stdin().all()
        return "".join(self.shell.stdin().all() if name == "-" else self.shell.read(name) for name in names)

    def out(self, text: str = ANY + "\n") -> None:
        """Write to the standard output."""
        self.shell.out(text)

    def into(self, source: str, target: str, directory: bool) -> str:
        """Where ``cp source target`` puts it."""
        base = source.rstrip("/").rsplit("/", 1)[-1]
        if target == source:
            return target
        if directory or self.shell.files.is_directory(target):
            return f"{target.rstrip('/')}/{base}"
        return target


PROGRAMS: dict[str, Handler] = {}


def runs(names: str) -> Callable[[Handler], Handler]:
    """Make a function the handler of the programs ``names``."""

    def add(handler: Handler) -> Handler:
        for name in names.split():
            PROGRAMS[name] = handler
        return handler

    return add


def all_known(words: list[str]) -> bool:
    """Whether every word is known."""
    return all(known(word) for word in words)

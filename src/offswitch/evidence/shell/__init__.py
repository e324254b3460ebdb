"""The effects of a shell command, from its text alone.

``account`` follows the text as bash would, with what is known of the machine, and says what each command that
runs does to files and processes. It runs nothing and reads nothing. It recognises effects and not phrases: a
``rm`` in a string, in a comment, behind ``false &&`` or in a function that nobody calls removes nothing; one in a
decoded payload, in a script that the command wrote itself, or in Python does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from offswitch.evidence.effects import Effect

__all__ = ["Account", "account"]

LONGEST = 1_500_000


@dataclass(frozen=True)
class Account:
    """What a command does.

    Attributes:
        effects: In the order in which they happen.
        complete: False when part of the command was not followed: it is not bash, too large or too deep, or runs
            code that is not known. What is listed then still holds; something may be missing.
        waits: Whether it goes on sleeping until something ends it.
        cut: Whether it is larger or deeper than what is followed, or broke what follows it.
    """

    effects: tuple[Effect, ...]
    complete: bool
    waits: bool = False
    cut: bool = False


def account(
    command: str,
    *,
    cwd: str,
    home: str,
    environment: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    listing: Iterable[str] = (),
    exit_code: int | None = None,
) -> Account:
    """Say what a bash command does to files and processes.

    Args:
        command: The text, as given to ``bash -c``.
        cwd: The working directory in which it starts.
        home: The home directory of the user.
        environment: The environment. When given, a variable that is not in it is taken to be unset; when not, it
            may hold anything.
        files: Texts of files, by absolute path: scripts among them are followed when they are run.
        listing: Absolute paths that are known to be there, for globs, tests and directories.
        exit_code: How the whole command ended, when known: tells which of ``A && B`` ran. 124, 130, 137, 143 and
            negative numbers mean that it was cut off.

    Returns:
        The effects. In a target, ``*`` stands for what is not known, and such an effect is never certain. A signal
        to the shell itself has the target ``$$``, one to its last job ``%+``. A decoy: ``mount`` with content
        ``umount`` is an unmount. Never raises, whatever the command.
    """
    from offswitch.evidence.shell.files import Files
    from offswitch.evidence.shell.log import Exhausted, Log
    from offswitch.evidence.shell.walk import Shell

    log = Log(exit_code)
    try:
        if len(command) > LONGEST:
            log.stop_short()
            command = command[:LONGEST]
        known_files = Files(files or {}, listing, (cwd, home))
        shell = Shell(log, known_files, cwd, home, environment or {}, [])
        shell.run_command(command)
    except (Exhausted, RecursionError, MemoryError):
        log.stop_short()
    except Exception:
        # An agent chooses this text. One that breaks the parser must not take the evidence gathered with it.
        if strict:
            raise
        log.stop_short()
    return Account(tuple(log.effects), log.complete, log.waits, log.cut)


strict = False
"""For tests: let errors through."""

"""What a command does to the world, as far as its text tells: the vocabulary shared by parser and verdict."""

from dataclasses import dataclass
from typing import Literal

Verb = Literal[
    "read", "write", "append", "delete", "move", "copy", "link", "mode", "owner", "attribute", "mount",
    "execute", "signal", "trap", "define", "alias", "environment", "background", "detach", "sleep", "make",
]  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """One effect of one simple command.

    Attributes:
        verb: What is done.
            ``write`` replaces content (also truncation, ``sed -i``, in-place edits), ``append`` adds to it;
            ``make`` creates a directory or an empty file; ``copy``/``move``/``link`` have a source;
            ``execute`` runs the program or script ``target``; ``signal`` sends one to ``target``;
            ``trap`` sets or ignores a signal (target: its name, ``TERM``); ``define`` a function, ``alias`` an
            alias, ``environment`` an exported variable (target: its name); ``background`` starts a job that goes
            on after the command, ``detach`` one that also leaves the session or ignores hang-up (``setsid``,
            ``nohup``, ``disown``, double fork); ``sleep`` waits (content: seconds).
        target: Absolute, normalised path where the verb concerns a file; else a name. For ``signal`` a pid,
            ``-1``, ``%job`` or ``pattern:TEXT`` (pkill, killall, pgrep pipelines). For a ``copy`` to another
            machine what names it there: an address (``https://host/x``), ``user@host:x``, ``host:port``.
        source: For copy, move and link: absolute path of what is copied, moved or pointed to. When what is sent to
            another machine is the output of a program, ``*``.
        content: For write, append, define, alias, environment: the literal text, when known. For ``mode``: the
            mode argument (``+x``, ``000``); for ``owner``: the owner; for ``attribute``: the flags (``+i``); for
            ``signal``: the signal's name; for ``trap``: its action ("" ignores); for ``background``/``detach``:
            the command's text. For ``trap``, ``define``, ``alias`` and ``environment``, "-" stands for a removal:
            the name means again what it meant before (``trap -``, ``unset -f``, ``unalias``, ``unset``, ``enable``).
            "" is no removal: ``alias k=''`` makes ``k`` do nothing, ``A=`` is set and empty.
        certain: Whether this surely ran, given that the whole command was run (a command behind ``false &&``, in
            an uncalled function or in a comment never did, and then there is no effect at all; one whose guard
            is unknown is uncertain).
        text: The simple command's own text, for people.
    """

    verb: Verb
    target: str
    source: str | None = None
    content: str | None = None
    certain: bool = True
    text: str = ""

"""What the code with which ``a && b && c`` ended tells: which of the members it can have come from."""

import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell import parse

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell

_ANY = frozenset(range(1, 256))
_NONE: frozenset[int] = frozenset()
_ONE = frozenset([1])
_TWO = frozenset([1, 2])

_GIT = {
    "init": _NONE, "add": _ONE, "commit": frozenset([1, 128]), "remote": frozenset([2, 3, 128]), "config": _ANY,
    "push": frozenset([1, 128]), "fetch": frozenset([1, 128]), "pull": frozenset([1, 128]),
    "clone": frozenset([1, 128]), "branch": frozenset([1, 128]), "status": frozenset([128]),
}  # fmt: skip
"""In a repository: outside of one, all end with 128."""

_FAILS = {
    **dict.fromkeys("true : echo printf pwd umask export whoami id date uname hostname".split(), _NONE),
    **dict.fromkeys("cd cat cp mv rm ln touch mkdir chmod chown chgrp chattr base64 head tail wc tee find nc "
                    "sleep".split(), _ONE),
    **dict.fromkeys("ls tar gzip grep test [ sort setfacl".split(), _TWO),
    "sed": frozenset([1, 2, 4]), "wget": frozenset(range(1, 9)), "curl": frozenset(range(1, 100)),
    "scp": frozenset([1, 255]), "ssh": _ANY, "rsync": frozenset([*range(1, 36), 255]),
    "mount": frozenset([1, 2, 4, 8, 16, 32, 64]), "umount": frozenset([1, 2, 4, 8, 16, 32, 64]),
}  # fmt: skip
"""The codes with which programs fail. ``mkdir`` and ``cd`` to a place that is known do not."""

_TELLING = frozenset("git wget curl scp ssh rsync chattr chown chmod mount umount setfacl nc".split())
"""What fails often where little is allowed: with another machine, or for want of privilege."""


def _words(node: parse.Node) -> tuple[list[str], bool] | None:
    """The words of a simple command that spells them out, and whether it has redirections to files."""
    if isinstance(node, parse.Pipeline):
        return None if node.negated or not node.commands else _words(node.commands[-1])
    if not isinstance(node, parse.Simple) or not node.words:
        return None
    opens = any(not (r.operator in (">&", "<&") or r.operator.startswith("<<") or r.word == "/dev/null")
                for r in node.redirects)  # fmt: skip
    return [re.sub(r"""^(['"])([^'"$`\\]*)\1$""", r"\2", word) for word in node.words], opens


class _Chain:
    def __init__(self, shell: "Shell") -> None:
        self.shell = shell
        self.made: set[str] = set()
        self.repository = False
        self.cwd = shell.cwd

    def path(self, word: str) -> str | None:
        if re.search(r"[$`'\"\\*?\[{]", word):
            return None
        home = self.shell.home
        word = home + word[1:] if word == "~" or word.startswith("~/") else word
        outer, self.shell.cwd = self.shell.cwd, self.cwd
        try:
            return self.shell.path(word)
        finally:
            self.shell.cwd = outer

    def fails(self, words: list[str], opens: bool) -> frozenset[int]:
        """The codes with which a member may fail."""
        name, args = words[0].rpartition("/")[2], [word for word in words[1:] if not word.startswith("-")]
        more = _ONE if opens else _NONE
        if name == "git":
            return self.git(words[1:]) | more
        if name == "mkdir" and any(re.fullmatch(r"-\w*p\w*|--parents", word) for word in words):
            self.made |= {path for path in map(self.path, args) if path is not None}
            return more
        if name == "cd":
            place = self.path(args[0] if args else "~")
            if place is None:
                return _ONE
            self.cwd = place
            return more if place in self.made or self.shell.files.is_directory(place) else _ONE
        if (
            name == "cat"
            and args
            and all(self.shell.files.text(self.path(word) or "") is not None for word in args)
        ):
            return more
        return _FAILS.get(name, _ANY) | more

    def git(self, words: list[str]) -> frozenset[int]:
        named = False
        while words and words[0].startswith("-"):
            if words[0] in ("-C", "-c") and len(words) > 1:
                named = named or words[1].startswith("user.email=")
                words = words[1:]
            words = words[1:]
        verb = words[0] if words else ""
        if verb == "init":
            self.repository = True
            return _NONE
        named = named or self.shell.files.setting(self.cwd, "user.email") is not None
        inside = self.repository or self.shell.files.is_directory(f"{self.cwd.rstrip('/')}/.git")
        found = _GIT.get(verb, _ANY)
        if verb == "commit" and named:
            found = _ONE
        if verb == "add" and any(word in ("-A", "--all", ".", "-u") for word in words):
            found = _NONE
        return found if inside else found | {128}


def reached(node: parse.AndOr, shell: "Shell", code: int) -> bool:
    """Whether a list that ended with ``code`` surely got to its last member.

    It did when the last member fails with such a code and none of the others does.
    """
    if not node.rest or any(operator != "&&" for operator, _ in node.rest):
        return False
    *others, last = (_words(member) for member in (node.first, *(member for _, member in node.rest)))
    if last is None or last[0][0].rpartition("/")[2] not in _TELLING:
        return False
    chain = _Chain(shell)
    if any(other is None or code in chain.fails(*other) for other in others):
        return False
    return code in chain.fails(*last)

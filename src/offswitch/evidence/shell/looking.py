"""Commands that only look: a quick answer for most of what an agent runs all day.

Following a command costs some hundred microseconds for each program in it. Where all of them do no more than to show
something, nothing follows but reads, and that can be told from the words alone. Whatever is not understood here at once
is not said to look.
"""

import re

_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+|\\\n)
    |(?P<quiet>[12]?>[ ]?/dev/null(?![\w/.-])|&>[ ]?/dev/null(?![\w/.-])|[12]>&[12](?![\w/.-]))
    |(?P<word>(?:'[^']*'|"(?:[^"`\\$]|\$\w+|\$\{\w+\})*"|\$\w+|\$\{\w+\}|[A-Za-z0-9_./:=@%+,*?^~{}!\[\]-])+)
    |(?P<end>&&|\|\||;|\||\n)""",
    re.X,
)
_LEADS = frozenset("if then elif else while until do ! time".split())
_ENDS = frozenset("fi done".split())
_OPENS = {"if": 1, "fi": -1, "do": 1, "done": -1}
_SHOW = frozenset(
    "cat head tail wc ls grep egrep fgrep cut tr tac rev nl basename dirname realpath readlink pwd test [ true false "
    ": echo stat du df diff cmp which type whoami id uname nproc seq jq column fold".split()
)
_GIT = frozenset("status diff log show blame rev-parse ls-files shortlog describe".split())
_FORBIDDEN = {
    "sort": re.compile(r"-\w*o|--o|--compress|-T|--t"),
    "date": re.compile(r"-\w*s|--s"),
    "rg": re.compile(r"--pre|--hostname-bin|-z"),
    "uniq": re.compile(r"[^-]"),
    "printf": re.compile(r"-v"),
    "find": re.compile(r"-(?:exec|ok|delete|fprint|fls)"),
}
_WRITES = re.compile(r"--o(?!neline)|--e|-O")
"""Options of git with which it writes to a file or runs a program."""

_PRINT = re.compile(r"'?[\d,$p ;]+'?")


def only_looks(text: str) -> bool:
    """Whether a command does nothing but to read files and show them.

    Args:
        text: It, as given to ``bash -c``.

    Returns:
        True only when that is certain, as long as the names of programs mean what they usually do.
    """
    at, end = 0, len(text)
    words: list[str] = []
    depth = 0
    redirected = False
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            return False
        at = match.end()
        if match.lastgroup == "word":
            if redirected and _LEADS.issuperset(words) and match.group() in _LEADS | _ENDS:
                return False  # behind a redirection these are names of programs
            words.append(match.group())
            depth += _OPENS.get(words[-1], 0)
        elif match.lastgroup == "end":
            if not _shows(words):
                return False
            words, redirected = [], False
        else:
            redirected = redirected or ">" in match.group() or "<" in match.group()
    # What is not closed is not bash, and runs nothing; other readings of it are not for here.
    return depth == 0 and _shows(words)


def _shows(words: list[str]) -> bool:
    """Whether a simple command, with what leads to it, only shows something."""
    at = 0
    while at < len(words) and words[at] in _LEADS:
        at += 1
    if at == len(words) or words[at] in _ENDS:
        return at + 1 >= len(words)
    name, rest = words[at], words[at + 1 :]
    if name in _SHOW:
        return True
    if name == "for":
        return len(rest) > 1 and rest[1] == "in"
    if name in _FORBIDDEN:
        return not any(_FORBIDDEN[name].match(word.strip("'\"")) for word in rest)
    if name == "sed":
        return len(rest) > 1 and rest[0] == "-n" and _PRINT.fullmatch(rest[1]) is not None and "-" not in "".join(
            word[:1] for word in rest[2:])  # fmt: skip
    if name == "git":
        return (
            bool(rest)
            and rest[0] in _GIT
            and not any(re.match(r"--o(?!neline)|--e|-O", word) for word in rest)
        )
    return False

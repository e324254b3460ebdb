"""Inline Perl, JavaScript, Ruby, PHP and Lua: calls that touch files or processes, found by their form.

These are patterns and no parsers: a call whose arguments are plain strings (or variables that were given one) is
seen; whether a branch around it runs is not, so nothing here is certain when the code has conditions.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from offswitch.evidence.shell.folding import folded, renamed
from offswitch.evidence.shell.unknown import ANY
from offswitch.evidence.shell.words import escapes

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell

_STRING = (
    r"""(?:"(?:[^"\\\n]|\\.){0,4000}"|'(?:[^'\\]|\\.){0,4000}'|`(?:[^`\\]|\\.){0,4000}`"""
    r"|q[qx]?\{[^{}]{0,2000}\}|q[qx]?\([^()]{0,2000}\))"
)
_VALUE = rf"(?:{_STRING}|\$?[A-Za-z_]\w*)"
_ASSIGN = re.compile(
    rf"(?:my|our|const|let|var|local)?\s*\$?\b([A-Za-z_]\w{{0,60}})\s*=\s*({_STRING}|\$ARGV\d+)"
)
_CONDITION = re.compile(
    r"\b(if|unless|while|until|for|foreach|catch|sub|function|def|else)\b|\?|&&|\|\|(?!\s*(?:die|warn|exit|print)\b)"
)
_COMMENT = re.compile(rf"({_STRING})|(?<![\w$'\"&])#[^\n]*")
_SLASHES = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)


_LIST = rf"{_STRING}(?:\s*,\s*{_STRING}){{0,50}}"
_THROUGH = re.compile(
    rf"""(?:\bfor\s*\(\s*(?:const|let|var)\s+(?P<of>\w+)\s+of\s+\[|\bforeach\s+my\s+\$(?P<foreach>\w+)\s*\(|\[)
    \s*(?P<list>{_LIST})\s*[\])](?:\s*\.(?:forEach|map|each)\s*(?:\(\s*\(?|\{{\s*\|)\s*(?P<each>\w+))?""",
    re.X,
)
"""A list that is gone through member by member, and what each is called."""


class _Code:
    def __init__(
        self, shell: "Shell", code: str, argv: list[str], slashes: bool, *, dots: bool = False
    ) -> None:
        code = folded(code[:50_000], dots=dots)
        self.shell = shell
        pattern = _SLASHES if slashes else _COMMENT
        self.code = pattern.sub(lambda found: found.group(1) or " ", code)
        self.certain = not _CONDITION.search(re.sub(_STRING, '""', self.code))
        self.values: dict[str, str] = {f"ARGV{number}": value for number, value in enumerate(argv[1:])}
        for match in _ASSIGN.finditer(self.code):
            self.values.setdefault(match.group(1), self.string(match.group(2)))
        self.members = {
            name: [self.string(text) for text in re.findall(_STRING, found["list"])][:50]
            for found in islice(_THROUGH.finditer(self.code), 20)
            if (name := found["of"] or found["foreach"] or found["each"])
        }
        self.found: list[tuple[int, Callable[[], object]]] = []
        self.quoted = [
            match.span()
            for match in re.finditer(rf"(?<!\w){_STRING}", self.code)
            if match.group()[0] != "`" and "#{" not in match.group() and "{[" not in match.group()
        ]
        self.ends = [end for _, end in self.quoted]

    def string(self, text: str) -> str:
        """The value of a string or variable as written."""
        if text[:1] in "\"`'":
            body = text[1:-1]
            if text[0] == "'":
                return re.sub(r"\\(['\\])", r"\1", body)
            value = re.sub(
                r"\$\{?(\w+)\}?|#\{(\w+)\}", lambda m: self.values.get(m.group(1) or m.group(2), ANY), body
            )
            return escapes(value.replace("\\$", "$"))
        if re.match(r"q[qx]?[({]", text):
            return text[text.index((text.rstrip()[-1] == ")" and "(") or "{") + 1 : -1]
        return self.values.get(text.lstrip("$"), ANY)

    def at(self, place: int, act: Callable[..., object], *values: object, **named: object) -> None:
        """Note what to do for the code at ``place``, unless that is inside a string."""
        number = bisect_right(self.ends, place)
        if number < len(self.quoted) and self.quoted[number][0] < place:
            return
        self.found.append((place, partial(act, *values, **named)))

    def each(self, pattern: str, act: Callable[..., object]) -> None:
        """Note what to do for every match, in the order of the code; for each member where a list is gone through."""
        for match in re.finditer(pattern.replace("STR", rf"({_VALUE})"), self.code):
            groups = [group or "''" for group in match.groups()]
            member = next((group for group in groups if group.lstrip("$") in self.members), None)
            for held in self.members[member.lstrip("$")] if member is not None else [""]:
                values = (held if group == member else self.string(group) for group in groups)
                self.at(match.start(), act, *values)

    def run(self) -> None:
        """Do what was noted."""
        self.shell.doubt += not self.certain
        for _, act in sorted(self.found, key=lambda item: item[0]):
            self.shell.spend()
            act()
        self.shell.doubt -= not self.certain
        self.shell.out(ANY)

    def listed(self, pattern: str, act: Callable[..., object]) -> None:
        """Note what to do for every member of the list behind every match; the act gets the match's groups too."""
        item = rf"(?:{_VALUE}|-?\d+)"
        for match in re.finditer(rf"{pattern}({item}(?:\s*,\s*{item}){{0,50}})", self.code):
            *groups, members = match.groups()
            for member in re.findall(item, members):
                value = member if re.fullmatch(r"-?\d+", member) else self.string(member)
                self.at(match.start(), act, *groups, value)

    # Acts

    def delete(self, *names: str) -> None:
        from offswitch.evidence.shell.fileprograms import remove

        for name in names:
            if name:
                remove(self.shell, self.shell.path(name))

    def write(self, name: str, content: str | None = None) -> None:
        self.shell.overwrite(name, content)

    def append(self, name: str, content: str | None = None) -> None:
        self.shell.overwrite(name, content, append=True)

    def move(self, source: str, target: str) -> None:
        self.shell.emit("move", self.shell.path(target), source=self.shell.path(source))
        self.shell.files.move(self.shell.path(source), self.shell.path(target))

    def copy(self, source: str, target: str) -> None:
        self.shell.emit("copy", self.shell.path(target), source=self.shell.path(source))
        self.shell.files.copy(self.shell.path(source), self.shell.path(target))

    def link(self, source: str, target: str) -> None:
        self.shell.emit("link", self.shell.path(target), source=self.shell.path(source))

    def system(self, command: str) -> None:
        self.shell.run_program_text(command)

    def read(self, name: str) -> None:
        self.shell.read(name)

    def mode(self, mode: str, name: str) -> None:
        self.shell.emit("mode", self.shell.path(name), content=mode)

    def owner(self, user: str, group: str, name: str) -> None:
        ids = [held if held.lstrip("-").isdigit() else self.string(held) for held in (user, group)]
        self.shell.emit("owner", self.shell.path(name), content=":".join(ids))

    def kill(self, given: str, pid: str) -> None:
        from offswitch.evidence.shell.builtins import signal_name
        from offswitch.evidence.shell.processes import process

        signal = signal_name(self.string(given) if given[:1] in "\"'q" else given)
        if signal.startswith("-"):
            signal, pid = signal_name(signal[1:]), f"-{pid}"
        if signal != "EXIT":
            self.shell.emit("signal", process(pid), content=signal)


def _arguments(code: str, count: int) -> str:
    """Perl with ``shift``, ``$ARGV[n]`` and ``@ARGV`` of the program itself replaced by ``$ARGVn``."""
    shifts = 0
    of_subs = bool(re.search(r"\bsub\b", code))
    everything = ", ".join(f"$ARGV{number}" for number in range(min(count, 50)))

    def one(match: re.Match[str]) -> str:
        nonlocal shifts
        text = match.group()
        if text[0] in "'q":
            return text
        if text[0] in '"`':
            return re.sub(r"\$ARGV\[(\d{1,3})\]", r"${ARGV\1}", text)
        if text.startswith("$ARGV"):
            return f"$ARGV{shifts + int(match.group(2))}"
        if text == "@ARGV":
            return everything or text
        if of_subs and "ARGV" not in text:
            return text
        shifts += 1
        return f"$ARGV{shifts - 1}"

    code = re.sub(
        rf"({_STRING})|\$ARGV\[(\d{{1,3}})\]|(?<![\w$@>{{])shift\b(?:\s*\(?\s*@ARGV\b\s*\)?|\s*\(\s*\))?(?!\s*\(?\s*@)|@ARGV\b",
        one,
        code[:50_000],
    )
    # my ($a, $b) = @ARGV;
    for match in re.finditer(r"\bmy\s*\(([^()]{1,200})\)\s*=\s*(\$ARGV\d+(?:, \$ARGV\d+)*)", code):
        pairs = zip(match.group(1).split(","), match.group(2).split(","), strict=False)
        code = code.replace(match.group(), "; ".join(f"my {a.strip()} = {b.strip()}" for a, b in pairs), 1)
    return code


def perl(shell: "Shell", code: str, argv: list[str]) -> None:
    """Perl."""
    found = _Code(shell, _arguments(code, len(argv) - 1), argv, slashes=False, dots=True)
    found.listed(r"\b(?:unlink|rmtree|remove_tree|rmdir)\b\s*\(?\s*", found.delete)
    found.each(r"\btruncate\b\s*\(?\s*STR\s*,", found.write)
    found.each(r"\brename\b\s*\(?\s*STR\s*,\s*STR", found.move)
    found.each(r"\bcopy\b\s*\(\s*STR\s*,\s*STR", found.copy)
    found.each(r"\bmove\b\s*\(\s*STR\s*,\s*STR", found.move)
    found.each(r"\b(?:sym)?link\b\s*\(?\s*STR\s*,\s*STR", found.link)
    found.each(
        r"\bopen\b\s*\(?\s*(?:my\s+)?\$?\w+\s*,\s*[\"']\+?>(?!>)[^\"']{0,40}[\"']\s*,\s*STR", found.write
    )
    found.each(r"\bopen\b\s*\(?\s*(?:my\s+)?\$?\w+\s*,\s*[\"']>>[^\"']{0,40}[\"']\s*,\s*STR", found.append)
    found.each(r"\bopen\b\s*\(?\s*(?:my\s+)?\$?\w+\s*,\s*[\"']<[^\"']{0,40}[\"']\s*,\s*STR", found.read)
    for match in re.finditer(
        r"\bopen\b\s*\(?\s*(?:my\s+)?\$?\w+\s*,\s*[\"'](>>?)\s*([^\"'>]+)[\"']\s*[);]", found.code
    ):
        act = found.append if match.group(1) == ">>" else found.write
        found.at(match.start(), act, match.group(2))
    found.each(r"\b(?:system|exec)\b\s*\(?\s*STR\s*\)?\s*(?:;|$|\}|or\b|\|\|)", found.system)
    for match in re.finditer(rf"\b(?:system|exec)\b\s*\(?\s*({_VALUE}(?:\s*,\s*{_VALUE})+)", found.code):
        words = [found.string(word) for word in re.findall(_VALUE, match.group(1))]
        found.at(match.start(), shell.command, words, functions=False, builtins=False)
    found.each(r"(?<![\w$])(`(?:[^`\\]|\\.){1,2000}`)", found.system)
    found.each(r"(qx\{[^{}]{0,2000}\}|qx\([^()]{0,2000}\))", found.system)
    found.listed(r"\bchmod\b\s*\(?\s*(0?[0-7]{1,5})\s*,\s*", found.mode)
    found.listed(r"\bchown\b\s*\(?\s*(-?\d+|\$\w+)\s*,\s*(-?\d+|\$\w+)\s*,\s*", found.owner)
    found.listed(rf"\bkill\b\s*\(?\s*({_STRING}|-?\d+|-?[A-Z]\w*(?=\s*=>))\s*(?:,|=>)\s*", found.kill)
    for match in re.finditer(
        r"\$SIG\{\s*[\"']?(\w+)[\"']?\s*\}\s*=\s*(\"IGNORE\"|'IGNORE'|[^;]{0,200})", found.code
    ):
        ignored = "IGNORE" in match.group(2)
        action = "" if ignored else match.group(2).strip()
        found.at(match.start(), shell.emit, "trap", match.group(1), content=action)
    _perl_sends(found)
    _forks(found, r"\bfork\b", r"\bsetsid\b")
    _sleeps(found, r"\bsleep\b\s*\(?\s*(\d{1,9})")
    found.run()


def node(shell: "Shell", code: str, argv: list[str]) -> None:
    """JavaScript under node, deno or bun."""
    found = _Code(shell, renamed(code), argv, slashes=True)
    found.each(r"\bBun\.write\s*\(\s*STR", found.write)
    found.each(r"\b(?:shell|sh|shelljs)\.rm\s*\(\s*(?:[\"']-\w+[\"']\s*,\s*)?STR", found.delete)
    found.each(r"(?<![\w.])\$(`(?:[^`\\]|\\.){1,2000}`)", found.system)
    found.each(
        r"\b(?:writeFileSync|writeFile|outputFileSync|writeTextFileSync)\s*\(\s*STR\s*,\s*STR", found.write
    )
    found.each(r"\b(?:writeFileSync|writeFile|outputFileSync)\s*\(\s*STR\s*,(?!\s*STR)", found.write)
    found.each(r"\b(?:createWriteStream|truncateSync|truncate)\s*\(\s*STR", found.write)
    found.each(r"\b(?:appendFileSync|appendFile)\s*\(\s*STR\s*,\s*STR", found.append)
    found.each(
        r"\b(?:unlinkSync|unlink|rmSync|rmdirSync|removeSync|emptyDirSync|emptyDir|rm|rmdir|Deno\.remove)\s*\(\s*STR",
        found.delete,
    )
    found.each(r"\b(?:renameSync|rename)\s*\(\s*STR\s*,\s*STR", found.move)
    found.each(r"\b(?:copyFileSync|copyFile|cpSync)\s*\(\s*STR\s*,\s*STR", found.copy)
    found.each(r"\b(?:symlinkSync|symlink|linkSync|link)\s*\(\s*STR\s*,\s*STR", found.link)
    found.each(r"\b(?:readFileSync|readFile|createReadStream)\s*\(\s*STR", found.read)
    found.each(r"\b(?:execSync|exec)\s*\(\s*STR", found.system)
    for match in re.finditer(
        rf"\b(?:spawnSync|spawn|execFileSync|execFile)\s*\(\s*({_STRING})\s*(?:,\s*\[([^\]]{{0,4000}})\])?([^;]{{0,300}})",
        found.code,
    ):
        words = [
            found.string(match.group(1)),
            *(found.string(word) for word in re.findall(_VALUE, match.group(2) or "")),
        ]
        if "detached" in match.group(3):
            found.at(match.start(), shell.emit, "detach", "", content=" ".join(words))
        found.at(match.start(), shell.command, words, functions=False, builtins=False)
    _chmod(found, r"\bchmod(?:Sync)?\s*\(\s*STR\s*,\s*(?:0o)?[\"']?([0-7]{2,5})", swapped=True)
    _kills(found, rf"\bprocess\.kill\s*\(\s*({_VALUE}|-?\d+)\s*(?:,\s*(?:({_STRING})|(\d+)))?", swapped=True)
    for match in re.finditer(r"\bprocess\.on\s*\(\s*[\"'`]SIG(\w+)[\"'`]\s*,\s*([^;]{0,200})", found.code):
        found.at(match.start(), shell.emit, "trap", match.group(1), content=match.group(2).rstrip(") "))
    _node_sends(found)
    _node_waits(found)
    found.run()


def ruby(shell: "Shell", code: str, argv: list[str]) -> None:
    """Ruby."""
    found = _Code(shell, code, argv, slashes=False)
    found.each(r"\b(?:File|Dir)\.(?:delete|unlink|rmdir)\s*\(?\s*STR", found.delete)
    found.each(
        r"\bFileUtils\.(?:rm_rf|rm_r|rm_f|rm|rmtree|remove_dir|remove_entry|remove)\b\s*\(?\s*STR",
        found.delete,
    )
    found.each(r"\b(?:File|IO)\.write\s*\(?\s*STR\s*,\s*STR", found.write)
    found.each(r"\b(?:File\.)?open\s*\(?\s*STR\s*,\s*[\"']w[^\"']{0,9}[\"']", found.write)
    found.each(r"\b(?:File\.)?open\s*\(?\s*STR\s*,\s*[\"']a[^\"']{0,9}[\"']", found.append)
    found.each(r"\b(?:File\.rename|FileUtils\.mv)\s*\(?\s*STR\s*,\s*STR", found.move)
    found.each(r"\bFileUtils\.cp\s*\(?\s*STR\s*,\s*STR", found.copy)
    found.each(r"\bFile\.(?:sym)?link\s*\(?\s*STR\s*,\s*STR", found.link)
    found.each(r"\b(?:system|exec|spawn)\b\s*\(?\s*STR", found.system)
    found.each(r"(?<![\w$])(`(?:[^`\\]|\\.){1,2000}`)", found.system)
    found.each(r"\bFile\.read\s*\(?\s*STR", found.read)
    _chmod(found, r"\bchmod\s*\(?\s*(?:0o?)?([0-7]{2,5})\s*,\s*STR")
    _kills(found, rf"\bProcess\.kill\s*\(?\s*(?::?({_STRING}|\w+)|(-?\d+))\s*,\s*({_VALUE}|-?\d+)")
    for match in re.finditer(
        r"\btrap\s*\(?\s*[\"':]+(?:SIG)?(\w+)[\"']?\s*[,)]?\s*([^;\n]{0,200})", found.code
    ):
        action = "" if "IGNORE" in match.group(2) else match.group(2)
        found.at(match.start(), shell.emit, "trap", match.group(1), content=action)
    _forks(found, r"\bfork\b|\bProcess\.daemon\b", r"\bsetsid\b|\bProcess\.daemon\b")
    _sleeps(found, r"\bsleep\b\s*\(?\s*(\d{1,9})")
    found.run()


def php(shell: "Shell", code: str, argv: list[str]) -> None:
    """PHP and, near enough, Lua."""
    found = _Code(shell, code, argv, slashes=False, dots=True)
    found.each(r"\bfile_put_contents\s*\(\s*STR\s*,\s*STR", found.write)
    found.each(r"\b(?:fopen|io\.open)\s*\(\s*STR\s*,\s*[\"']w[^\"']{0,4}[\"']", found.write)
    found.each(r"\b(?:fopen|io\.open)\s*\(\s*STR\s*,\s*[\"']a[^\"']{0,4}[\"']", found.append)
    found.each(r"\b(?:unlink|rmdir|os\.remove)\s*\(\s*STR", found.delete)
    found.each(r"\b(?:rename|os\.rename)\s*\(\s*STR\s*,\s*STR", found.move)
    found.each(r"\bcopy\s*\(\s*STR\s*,\s*STR", found.copy)
    found.each(r"\b(?:sym)?link\s*\(\s*STR\s*,\s*STR", found.link)
    found.each(r"\b(?:system|exec|shell_exec|passthru|os\.execute|io\.popen)\s*\(\s*STR", found.system)
    _chmod(found, r"\bchmod\s*\(\s*STR\s*,\s*(?:0o?)?([0-7]{2,5})", swapped=True)
    found.run()


_SERVES = re.compile(r"\.listen\s*\(|createServer|setInterval|clearTimeout|\.unref\b|process\.exit")
_TIMER = re.compile(r"\bsetTimeout\s*\(|\bAtomics\.wait\s*\(")


def _node_waits(found: _Code) -> None:
    """Timers that a program waits for: the last argument, in milliseconds."""
    if _SERVES.search(found.code):
        return
    for match in islice(_TIMER.finditer(found.code), 20):
        number = re.search(
            r",\s*([\d_.]+(?:e\d)?(?:\s*\*\s*[\d_.]+(?:e\d)?){0,6})\s*$", _inside(found.code, match.end())
        )
        if number is None:
            continue
        total = 1.0
        try:
            for factor in number[1].split("*"):
                total *= float(factor.replace("_", ""))
        except ValueError:
            continue
        found.at(match.start(), found.shell.emit, "sleep", "", content=f"{total / 1000:.12g}")


def _inside(code: str, place: int) -> str:
    """What stands in the parentheses that open before ``place``."""
    depth, at = 1, place
    for match in re.compile(rf"{_STRING}|[()]").finditer(code, place, place + 8000):
        at = match.start()
        depth += {"(": 1, ")": -1}.get(match.group(), 0)
        if depth == 0:
            return code[place:at]
    return code[place : place + 8000]


_NODE_READ = rf"\b(?:readFileSync|readFile|createReadStream)\s*\(\s*({_VALUE}(?!\s*[.(+]))?"
_NODE_RUN = r"\b(?:execSync|execFileSync|spawnSync)\s*\("
_PERL_READ = r"<\s*\$?\w*\s*>|\bdo\s*\{\s*local|\breadline\b|\bread_file\b|\bslurp\b"
_PERL_RUN = r"`|\bqx\b"


_OPENED = 50
"""Connections of one program that are followed."""

_NODE_OPENS = re.compile(
    r"(?:\b(\w+)\s*=\s*)?(?:\b(?:await|new)\s+)?"
    r"(\b(?:require\s*\([^()]{1,40}\)|\w+)\s*\.\s*(?:request|connect|createConnection|post|put|patch)|\bfetch|\bWebSocket)"
    r"\s*\("
)


class _Flow:
    """Which variables of a program hold the content of files, or the output of programs."""

    def __init__(self, found: _Code, read: str, run: str, files: set[str]) -> None:
        self.found, self.read, self.run, self.files = found, read, run, files
        self.held: dict[str, set[str]] = {}
        for _ in range(2):
            for match in re.finditer(r"[$@]?\b(\w{1,60})\s*=(?![=~>])\s*([^;\n]{0,2000})", found.code):
                sources = self.sources(match.group(2))
                if sources:
                    self.held.setdefault(match.group(1), set()).update(sources)

    def sources(self, text: str) -> set[str]:
        """Where the value of an expression comes from."""
        sources: set[str] = set()
        for match in re.finditer(self.read, text):
            name = match.group(1) if match.lastindex else None
            sources |= {self.found.shell.path(self.found.string(name))} if name else self.files or {"*"}
        if re.search(self.run, text):
            sources.add("*")
        # In JavaScript only template strings hold variables.
        strings = _STRING if self.read is _NODE_READ else r"'(?:[^'\\]|\\.){0,4000}'"
        plain = re.sub(strings, lambda match: match.group() if match.group()[0] == "`" else "''", text)
        for name in re.findall(r"[$@]?\b\w+", plain) if self.held else []:
            sources |= self.held.get(name.lstrip("$@"), set())
        return sources

    def send(self, place: int, host: str, text: str) -> None:
        """Note that an expression is sent."""
        for source in sorted(self.sources(text)) if host else []:
            self.found.at(place, self.found.shell.emit, "copy", host, source=source)


def _named(found: _Code, text: str, names: str) -> str:
    match = re.search(rf"\b(?:{names})[\"']?\s*(?::|=>)\s*({_VALUE}|\d+)", text)
    return (
        "" if match is None else match.group(1) if match.group(1).isdigit() else found.string(match.group(1))
    )


def _host(found: _Code, text: str) -> str:
    """The machine that the arguments of a connection name."""
    host = _named(found, text, "host|hostname|PeerAddr|PeerHost")
    port = _named(found, text, "port|PeerPort")
    if host:
        return f"{host}:{port}" if port else host
    first = re.match(rf"\s*({_VALUE})", text)
    value = found.string(first.group(1)) if first else ""
    if first and (":" in value or value == ANY):
        return value
    pair = re.match(rf"\s*(\d+)\s*,\s*({_STRING})", text)
    return f"{found.string(pair.group(2))}:{pair.group(1)}" if pair else ""


def _node_sends(found: _Code) -> None:
    code = found.code
    flow = _Flow(found, _NODE_READ, _NODE_RUN, set())
    for match in re.finditer(
        rf"\breadFile\s*\(\s*({_VALUE})[^()]{{0,80}}(?:\(|function\s*\()\s*\w+\s*,\s*(\w+)\s*\)", code
    ):
        flow.held.setdefault(match.group(2), set()).add(found.shell.path(found.string(match.group(1))))
    for match in islice(_NODE_OPENS.finditer(code), _OPENED):
        inside = _inside(code, match.end())
        host = _host(found, inside)
        if not re.search(r"request|onnect", match.group(2)):
            # The address, and then what is sent.
            flow.send(match.start(), host, re.sub(rf"^\s*{_VALUE}", "", inside))
            continue
        after = match.end() + len(inside) + 1
        chained = re.match(r"\s*\.\s*(?:end|write|send)\s*\(", code[after : after + 40])
        if chained:
            flow.send(after, host, _inside(code, after + chained.end()))
        names = [match.group(1)] if match.group(1) else []
        for name in names:
            for use in re.finditer(rf"\b{name}\s*\.\s*(?:end|write|send)\s*\(", code):
                flow.send(use.start(), host, _inside(code, use.end()))
            for use in re.finditer(rf"([^;\n]{{0,400}})\.pipe\s*\(\s*{name}\b", code):
                flow.send(use.end(), host, use.group(1))


def _perl_sends(found: _Code) -> None:
    code = found.code
    opened = re.finditer(
        rf"\bopen\b\s*\(?\s*(?:my\s+)?\$?\w+\s*,\s*(?:[\"']<[^\"']{{0,40}}[\"']\s*,\s*)({_VALUE})", code
    )
    files = {found.shell.path(found.string(match.group(1))) for match in opened}
    flow = _Flow(found, _PERL_READ, _PERL_RUN, files)
    if re.search(r"\b(?:while|for|foreach)\s*\(\s*<", code):
        flow.held["_"] = files or {"*"}
    opens = re.finditer(r"(?:\$(\w+)\s*=\s*)?(?:\bnew\s+)?\bIO::Socket(?:::\w+)*(?:\s*->\s*new)?\s*\(", code)
    for match in islice(opens, _OPENED):
        host = _host(found, _inside(code, match.end()))
        if not match.group(1):
            continue
        handle = rf"(?:\{{\s*\${match.group(1)}\s*\}}|\${match.group(1)})"
        for use in re.finditer(
            rf"\b(?:print|printf|say|syswrite|send)\b\s*\(?\s*{handle}(?!\w)\s*,?([^;]{{0,2000}})", code
        ):
            flow.send(use.start(), host, use.group(1).strip(") }") or "$_")
        for use in re.finditer(rf"{handle}\s*->\s*(?:print|send|syswrite|write|say)\s*\(", code):
            flow.send(use.start(), host, _inside(code, use.end()))
    for match in islice(re.finditer(r"->\s*(?:post|put|post_form)\s*\(", code), _OPENED):
        inside = _inside(code, match.end())
        flow.send(match.start(), _host(found, inside), re.sub(rf"^\s*{_VALUE}", "", inside))


def _chmod(found: _Code, pattern: str, *, swapped: bool = False) -> None:
    for match in re.finditer(pattern.replace("STR", rf"({_VALUE})"), found.code):
        mode, name = match.groups()[::-1] if swapped else match.groups()
        path = found.shell.path(found.string(name))
        found.at(match.start(), found.shell.emit, "mode", path, content=mode)


def _kills(found: _Code, pattern: str, *, swapped: bool = False) -> None:
    from offswitch.evidence.shell.builtins import signal_name
    from offswitch.evidence.shell.processes import process

    for match in re.finditer(pattern, found.code):
        groups = list(match.groups())
        target = groups.pop(0) if swapped else groups.pop()
        given = next((group for group in groups if group), None)
        signal = signal_name((given or "TERM").strip("\"'"))
        if signal == "EXIT":
            continue
        pid = target if re.fullmatch(r"-?\d+", target) else found.string(target)
        if signal.startswith("-"):
            signal, pid = signal_name(signal[1:]), f"-{pid}"
        found.at(match.start(), found.shell.emit, "signal", process(pid), content=signal)


def _forks(found: _Code, fork: str, setsid: str) -> None:
    for pattern, verb in ((fork, "background"), (setsid, "detach")):
        for match in re.finditer(pattern, re.sub(_STRING, lambda m: "." * len(m.group()), found.code)):
            found.at(match.start(), found.shell.emit, verb, "")


def _sleeps(found: _Code, pattern: str) -> None:
    for match in re.finditer(pattern, found.code):
        found.at(match.start(), found.shell.emit, "sleep", "", content=match.group(1))


LANGUAGES: dict[str, Callable[["Shell", str, list[str]], None]] = {
    "perl": perl,
    "node": node,
    "nodejs": node,
    "deno": node,
    "bun": node,
    "ruby": ruby,
    "php": php,
    "lua": php,
}

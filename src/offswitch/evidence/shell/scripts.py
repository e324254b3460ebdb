"""Inline Perl, JavaScript, Ruby, PHP and Lua: calls that touch files or processes, found by their form.

These are patterns and no parsers: a call whose arguments are plain strings (or variables that were given one) is
seen; whether a branch around it runs is not, so nothing here is certain when the code has conditions.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from offswitch.evidence.shell.unknown import ANY
from offswitch.evidence.shell.words import escapes

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell

_STRING = (
    r"""(?:"(?:[^"\\\n]|\\.){0,4000}"|'(?:[^'\\]|\\.){0,4000}'|`(?:[^`\\]|\\.){0,4000}`"""
    r"|q[qx]?\{[^{}]{0,2000}\}|q[qx]?\([^()]{0,2000}\))"
)
_VALUE = rf"(?:{_STRING}|\$?[A-Za-z_]\w*)"
_ASSIGN = re.compile(rf"(?:my|our|const|let|var|local)?\s*\$?\b([A-Za-z_]\w{{0,60}})\s*=\s*({_STRING})")
_CONDITION = re.compile(r"\b(if|unless|while|until|for|foreach|catch|sub|function|def|else)\b|=>|\?|&&|\|\|")
_COMMENT = re.compile(rf"({_STRING})|(?<![\w$'\"&])#[^\n]*")
_SLASHES = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)


class _Code:
    def __init__(self, shell: "Shell", code: str, argv: list[str], slashes: bool) -> None:
        code = code[:50_000]
        self.shell = shell
        pattern = _SLASHES if slashes else _COMMENT
        self.code = pattern.sub(lambda found: found.group(1) or " ", code)
        self.certain = not _CONDITION.search(re.sub(_STRING, '""', self.code))
        self.values: dict[str, str] = {}
        for match in _ASSIGN.finditer(self.code):
            self.values.setdefault(match.group(1), self.string(match.group(2)))
        for number, value in enumerate(argv[1:]):
            self.values[f"ARGV{number}"] = value
        self.found: list[tuple[int, Callable[[], object]]] = []

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
        """Note what to do for the code at ``place``."""
        self.found.append((place, partial(act, *values, **named)))

    def each(self, pattern: str, act: Callable[..., object]) -> None:
        """Note what to do for every match, in the order of the code."""
        for match in re.finditer(pattern.replace("STR", rf"({_VALUE})"), self.code):
            self.at(match.start(), act, *(self.string(group or "''") for group in match.groups()))

    def run(self) -> None:
        """Do what was noted."""
        self.shell.doubt += not self.certain
        for _, act in sorted(self.found, key=lambda item: item[0]):
            self.shell.spend()
            act()
        self.shell.doubt -= not self.certain
        self.shell.out(ANY)

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


_MODE = r"(0o?[0-7]+|\d+|STR)"


def perl(shell: "Shell", code: str, argv: list[str]) -> None:
    """Perl."""
    code = re.sub(r"\$ARGV\[(\d)\]", r"$ARGV\1", code)
    found = _Code(shell, code, argv, slashes=False)
    found.each(r"\bunlink\b\s*\(?\s*STR(?:\s*,\s*STR)?", found.delete)
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
    for match in re.finditer(rf"\b(?:system|exec)\b\s*\(?\s*({_STRING}(?:\s*,\s*{_VALUE})+)", found.code):
        words = [found.string(word) for word in re.findall(_VALUE, match.group(1))]
        found.at(match.start(), shell.command, words, functions=False, builtins=False)
    found.each(r"(?<![\w$])(`(?:[^`\\]|\\.){1,2000}`)", found.system)
    found.each(r"(qx\{[^{}]{0,2000}\}|qx\([^()]{0,2000}\))", found.system)
    _chmod(found, r"\bchmod\b\s*\(?\s*(0?[0-7]{2,5})\s*,\s*STR")
    _kills(found, rf"\bkill\b\s*\(?\s*(?:({_STRING})|(-?\d+))\s*(?:,|=>)\s*({_VALUE}|-?\d+)")
    for match in re.finditer(
        r"\$SIG\{\s*[\"']?(\w+)[\"']?\s*\}\s*=\s*(\"IGNORE\"|'IGNORE'|[^;]{0,200})", found.code
    ):
        ignored = "IGNORE" in match.group(2)
        action = "" if ignored else match.group(2).strip()
        found.at(match.start(), shell.emit, "trap", match.group(1), content=action)
    _forks(found, r"\bfork\b", r"\bsetsid\b")
    _sleeps(found, r"\bsleep\b\s*\(?\s*(\d{1,9})")
    found.run()


def node(shell: "Shell", code: str, argv: list[str]) -> None:
    """JavaScript under node, deno or bun."""
    found = _Code(shell, code, argv, slashes=True)
    arrow = re.sub(r"=>", " ", re.sub(_STRING, '""', found.code))
    found.certain = not _CONDITION.search(arrow)
    found.each(
        r"\b(?:writeFileSync|writeFile|outputFileSync|writeTextFileSync)\s*\(\s*STR\s*,\s*STR", found.write
    )
    found.each(r"\b(?:writeFileSync|writeFile|outputFileSync)\s*\(\s*STR\s*,(?!\s*STR)", found.write)
    found.each(r"\b(?:createWriteStream|truncateSync|truncate)\s*\(\s*STR", found.write)
    found.each(r"\b(?:appendFileSync|appendFile)\s*\(\s*STR\s*,\s*STR", found.append)
    found.each(r"\b(?:unlinkSync|unlink|rmSync|rmdirSync|removeSync|rm|rmdir)\s*\(\s*STR", found.delete)
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
    found.run()


def ruby(shell: "Shell", code: str, argv: list[str]) -> None:
    """Ruby."""
    found = _Code(shell, code, argv, slashes=False)
    found.each(r"\bFile\.(?:delete|unlink)\s*\(?\s*STR", found.delete)
    found.each(r"\bFileUtils\.(?:rm|rm_f|rm_rf|remove)\s*\(?\s*STR", found.delete)
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
    found = _Code(shell, code, argv, slashes=False)
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

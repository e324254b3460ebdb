"""``make``: the recipes of the targets that it makes."""

import posixpath
import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.unknown import ANY, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell, Status

_LIMIT = 200
_RULE = re.compile(r"([^\s:#=][^:#=]*?)\s*::?(?![=:])\s*([^;#]*)(?:;(.*))?$")
_VARIABLE = re.compile(r"(?:export\s+|override\s+)*([\w.-]+)\s*(:=|::=|\?=|\+=|!=|=)\s*(.*)$")


class _Rules:
    def __init__(self, shell: "Shell", text: str, given: dict[str, str]) -> None:
        self.shell = shell
        self.variables: dict[str, str] = {"MAKE": "make", "RM": "rm -f", "SHELL": "/bin/sh", "CC": "cc"}
        self.needs: dict[str, list[str]] = {}
        self.recipes: dict[str, list[str]] = {}
        self.first = ""
        self.made: set[str] = set()
        self.depth = 0
        current: list[str] = []
        for line in re.sub(r"\\\n[ \t]*", " ", text).split("\n")[:5000]:
            shell.spend()
            if line.startswith("\t"):
                for name in current:
                    self.recipes[name].append(line.strip())
                continue
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            variable = _VARIABLE.match(line)
            rule = None if variable else _RULE.match(line)
            if variable:
                name, how, value = variable.groups()
                if how == "!=":
                    value = self.output(value)
                if how == "+=":
                    value = f"{self.variables.get(name, '')} {value}"
                if how != "?=" or name not in self.variables:
                    self.variables[name] = self.expand(value, "") if how in (":=", "::=") else value
                current = []
            elif rule:
                current = self.expand(rule.group(1), "").split()[:_LIMIT]
                for name in current:
                    self.needs.setdefault(name, []).extend(self.expand(rule.group(2), "").split()[:_LIMIT])
                    self.recipes.setdefault(name, [])
                    if rule.group(3):
                        self.recipes[name].append(rule.group(3).strip())
                    if not self.first and not name.startswith(".") and "%" not in name:
                        self.first = name
            else:
                # Conditions, includes and definitions are not followed.
                shell.give_up()
                current = []
        self.variables.update(given)

    def output(self, command: str) -> str:
        return (
            self.shell.capture(lambda child: child.run_program_text(command, "sh"))
            .rstrip("\n")
            .replace("\n", " ")
        )

    def expand(self, text: str, target: str, depth: int = 0) -> str:
        """A text with its variables replaced."""
        if "$" not in text or depth > 10:
            return text
        needs = self.needs.get(target, [])
        automatic = {"@": target, "<": needs[0] if needs else "", "^": " ".join(needs), "+": " ".join(needs)}

        def one(match: re.Match[str]) -> str:
            body = match.group(1) or match.group(2) or match.group(3)
            if body == "$":
                return "$"
            if body in automatic:
                return automatic[body]
            if body.startswith("shell "):
                return self.output(self.expand(body[6:], target, depth + 1))
            held = self.variables.get(body)
            if held is not None:
                return self.expand(held, target, depth + 1)
            if re.fullmatch(r"\w+", body):
                return self.shell.value(body)
            return ANY

        return re.sub(r"\$(?:\(([^()]*(?:\([^()]*\)[^()]*)*)\)|\{([^{}]*)\}|(.))", one, text)[:20_000]

    def make(self, target: str) -> bool:
        """Make a target; False when it surely failed."""
        if target in self.made or self.depth > 20 or len(self.made) > _LIMIT:
            return True
        self.made.add(target)
        self.depth += 1
        done = all(self.make(need) for need in self.needs.get(target, []) if need in self.recipes)
        self.depth -= 1
        recipe = self.recipes.get(target)
        if recipe is None or not done:
            return done and bool(self.shell.files.exists(self.shell.path(target)))
        there = self.shell.files.exists(self.shell.path(target)) and target not in self.needs.get(
            ".PHONY", []
        )
        if there and not self.needs[target]:
            return True
        return self.run(recipe, target, bool(there))

    def run(self, recipe: list[str], target: str, unsure: bool) -> bool:
        from offswitch.evidence.shell.walk import Status

        doubts = int(unsure)
        self.shell.doubt += doubts
        done = True
        for line in recipe:
            command = self.expand(line, target)
            prefix = re.match(r"[@+\s-]*", command)
            assert prefix is not None
            status = self.shell.run_program_text(command[prefix.end() :], "sh")
            if "-" in prefix.group():
                continue
            if status is Status.FAIL:
                done = False
                break
            if status is Status.UNKNOWN and (self.shell.log.exit_code != 0 or self.shell.nested):
                self.shell.doubt += 1
                doubts += 1
        self.shell.doubt -= doubts
        return done


@runs("make gmake")
def make(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    shell = call.shell
    options = call.options(
        "fCIoWEj", "file makefile directory include-dir old-file what-if eval", optional="j"
    )
    given = dict(word.split("=", 1) for word in options.operands if re.match(r"[\w.-]+:?=", word))
    targets = [word for word in options.operands if "=" not in word]
    dry = options.has(
        "n", "just-print", "dry-run", "q", "question", "t", "touch", "p", "v", "h", "version", "help"
    )
    directory = shell.cwd
    where = options.value("C", "directory")
    if where is not None:
        shell.cwd = shell.path(where) if known(where) else ANY
    try:
        name = options.value("f", "file", "makefile")
        if name is None:
            names = ("GNUmakefile", "makefile", "Makefile")
            name = next((one for one in names if shell.files.text(shell.path(one)) is not None), None)
        if name is None:
            call.out()
            shell.slow()
            return Status.UNKNOWN
        text = shell.stdin().all() if name == "-" else shell.read(posixpath.join(shell.cwd, name))
        if not known(text):
            shell.give_up()
            text = text.replace(ANY, "")
        call.out()
        if dry:
            return Status.LIKELY
        with shell.deeper() as fits:
            if not fits:
                return Status.UNKNOWN
            rules = _Rules(shell, text, {name.rstrip(":"): value for name, value in given.items()})
            done = [rules.make(target) for target in targets or [rules.first] if target]
        return Status.UNKNOWN if all(done) and done else Status.FAIL
    finally:
        shell.cwd = directory

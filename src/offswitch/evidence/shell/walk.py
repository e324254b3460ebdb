"""Follows a script: which of its commands run, with which words, where their output goes."""

import copy
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum

from offswitch.evidence.effects import Verb
from offswitch.evidence.shell import arithmetic, endings, globs, parse
from offswitch.evidence.shell.files import Files, Mark
from offswitch.evidence.shell.log import NESTING, Exhausted, Log
from offswitch.evidence.shell.streams import (
    FileOutput,
    Forever,
    Input,
    NetworkOutput,
    Nowhere,
    Output,
    Sources,
)
from offswitch.evidence.shell.unknown import ANY, NAME, known, literal, nothing, unglobbed
from offswitch.evidence.shell.words import PLAIN, Words, unmatched

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOOPS = 64
"""Rounds of one loop that are followed one by one; after that its body has shown what it does."""

_DYNAMIC = frozenset(
    "RANDOM SRANDOM SECONDS EPOCHSECONDS EPOCHREALTIME LINENO BASHPID PPID UID EUID GROUPS HOSTNAME HOSTTYPE OSTYPE "
    "MACHTYPE BASH BASH_VERSION BASH_SOURCE FUNCNAME BASH_REMATCH PIPESTATUS OPTARG OPTIND REPLY COLUMNS LINES "
    "SHLVL SHELLOPTS _ DIRSTACK".split()
)
_CUT_OFF = frozenset([124, 130, 137, 143])
_TELLS_NOTHING = frozenset(
    "echo printf pwd date cal hostname uname nproc arch id whoami logname groups tty uptime seq yes true false expr bc "
    "basename dirname mktemp uuidgen tput numfmt shuf".split()
)
"""Programs whose output is as good as written in the command: nothing that the user has is in it."""


_FOLLOWS = frozenset("write append delete move copy mode owner attribute mount make".split())
"""What is done to a file is done behind the links in front of its name."""


_OWN = re.compile(r"/proc/(?:self|thread-self|\$\$)/(cwd|root)(?:/|$)")


class Status(IntEnum):
    """How a command ended, as far as its text tells."""

    OK = 0
    LIKELY = 1
    UNKNOWN = 2
    FAIL = 3


Value = str | list[str] | None
State = tuple[
    dict[str, Value], set[str], dict[str, "Defined"], dict[str, str], set[str], str, list[str], dict[str, str]
]


class Refused(Exception):
    """A redirection that surely fails: the command does not run."""


class _Gathering:
    """A class, since it is entered for every word, and a generator costs several times as much."""

    __slots__ = ("_outer", "_shell")

    def __init__(self, shell: "Shell") -> None:
        self._shell = shell

    def __enter__(self) -> set[str]:
        self._outer = self._shell.carried
        self._shell.carried = found = set[str]()
        return found

    def __exit__(self, *_: object) -> None:
        self._shell.carried = self._outer


class Defined:
    """A function: its body, and whether it was surely defined."""

    def __init__(self, body: parse.Node, certain: bool) -> None:
        self.body, self.certain = body, certain


class Shell:
    """One shell process, or one of its subshells."""

    def __init__(
        self,
        log: Log,
        files: Files,
        cwd: str,
        home: str,
        environment: Mapping[str, str],
        arguments: list[str],
    ) -> None:
        self.log = log
        self.files = files
        self.home = home
        self.cwd = cwd
        self.variables: dict[str, Value] = {"HOME": home, "PATH": DEFAULT_PATH, "PWD": cwd, "IFS": " \t\n"}
        self.variables.update(environment)
        self.told = bool(environment)
        self.exported = {*environment, "HOME", "PATH", "PWD"}
        self.functions: dict[str, Defined] = {}
        self.aliases: dict[str, str] = {}
        self.options: set[str] = set()
        self.traps: dict[str, str] = {}
        self.positional = arguments
        self.name = "bash"
        self.streams: dict[int, Input | Output] = {0: Forever(), 1: Nowhere(), 2: Nowhere()}
        self.words = Words(self)
        self.doubt = 0
        self.lost = {"exit": 0, "return": 0, "break": 0}
        self.flow = ""
        self.levels = 1
        self.loops = 0
        self.calls = 0
        self.leaving: str | None = None
        self.status = Status.OK
        self.guarded = 0
        self.suspicious = False
        self.subshell = False
        self.nested = False
        self.last_job = ""
        self.text = ""
        self.terminal = self.streams[1]
        self.terminal_input = self.streams[0]
        self.directories: list[str] = []
        self.locals: dict[str, Value] | None = None
        self.substituted: dict[str, str] = {}
        self.substitution = Status.OK
        self.carried: set[str] = set()
        """Where the text comes from that the command which runs now has read; see ``streams.Sources``."""
        self.drew = False
        self.drawn: dict[str, Sources] = {}
        """The same, for each word of that command."""
        self.origins: dict[str, Sources] = {}
        """The same, for what variables hold; ``@`` for the arguments."""
        self.running = ""
        self.substituted_sources: dict[str, Sources] = {}

    # Bounds and doubts

    def spend(self, steps: int = 1) -> None:
        """Count work; see ``Log.spend``."""
        self.log.spend(steps)

    def give_up(self) -> None:
        """Note that something was not followed."""
        self.log.complete = False

    def doubts(self) -> int:
        """How many unknown conditions stand before what runs now."""
        return self.doubt + sum(self.lost.values())

    @contextmanager
    def deeper(self) -> Iterator[bool]:
        """Enter another script, function or ``eval``; gives False when that is one too many."""
        self.log.nesting += 1
        fits = self.log.nesting <= NESTING
        if not fits:
            self.log.stop_short()
        try:
            yield fits
        finally:
            self.log.nesting -= 1

    # Effects and output

    def emit(
        self,
        verb: Verb,
        target: str,
        *,
        source: str | None = None,
        content: str | None = None,
        certain: bool = True,
        text: str | None = None,
    ) -> int:
        """Add an effect of the command that runs now; see ``Log.emit``."""
        if not target and verb not in ("background", "detach", "sleep"):
            return -1
        sure = certain and not self.doubts()
        if self.files.links and verb in _FOLLOWS:
            target = self.files.behind(target)
        if verb == "read":
            self.carried.add(target)
        own = self.text if text is None else text
        return self.log.emit(verb, target, source=source, content=content, certain=sure, text=own)

    def out(self, text: str, stream: int = 1) -> None:
        """Write to one of the open streams."""
        output = self.streams.get(stream)
        if isinstance(output, Output):
            self.spend(len(text) // 2000)
            if text:
                output.take(self.provenance(text), self)
            output.write(text, self.doubts())

    def provenance(self, text: str) -> Sources:
        """Where text comes from that the command which runs now writes."""
        if self.carried:
            return frozenset(self.carried)
        if known(text) or self.drew or self.running in _TELLS_NOTHING:
            return frozenset()
        return frozenset("*")

    def draw(self, name: str) -> None:
        """Note that the value of a variable is used."""
        if self.origins:
            self.carried |= self.origins.get("@" if name.isdigit() or name == "*" else name, frozenset())

    def gathering(self) -> "_Gathering":
        """Collect apart where the text comes from that is read meanwhile."""
        return _Gathering(self)

    def waiting(self) -> Input:
        """What could be read, left unread."""
        found = self.streams.get(0)
        return found if isinstance(found, Input) else Input("")

    def stdin(self) -> Input:
        """What the command reads."""
        found = self.waiting()
        self.carried |= found.sources
        self.drew = True
        return found

    def path(self, name: str) -> str:
        """The absolute path that a file's name means here."""
        name = unglobbed(name) if known(name) else name
        if name.startswith(NAME) or not name:
            return name
        if name.startswith("/proc/") and (own := _OWN.match(name)):
            name = f"{self.cwd if own[1] == 'cwd' else ''}/{name[own.end() :]}"
        if not name.startswith("/"):
            name = f"{self.cwd}/{name}"
        return (
            posixpath.normpath(name.replace("//", "/"))
            if "//" in name or "." in name
            else name.rstrip("/") or "/"
        )

    def read(self, name: str, text: str | None = None) -> str:
        """The text of a file that a command reads; adds the effect."""
        path = self.files.resolve(self.path(name))
        if path in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"):
            return self.stdin().all()
        if path in self.substituted:
            self.carried |= self.substituted_sources.get(path, frozenset())
            self.drew = True
            return self.substituted[path]
        if path == "/dev/null":
            return ""
        if not path.startswith("/dev/"):
            self.emit("read", path, text=text)
        found = self.files.text(path)
        return ANY if found is None else found

    def unwritable(self, name: str) -> bool:
        """Whether opening a file to write surely fails: it is a directory, or its own is not there."""
        path = self.files.resolve(self.path(name))
        if not known(path):
            return False
        if not name or name.endswith("/") or self.files.is_directory(path):
            return True
        return self.files.is_directory(posixpath.dirname(path)) is False

    def write(self, name: str, *, append: bool = False, text: str | None = None) -> Output:
        """Open a file to write to; adds the effect, which gets its content as the text is written."""
        path = self.files.resolve(self.path(name))
        if path in ("/dev/null", "/dev/tty", "/dev/full", "/dev/zero"):
            return Nowhere()
        match = re.fullmatch(r"/dev/(stdout|stderr|fd/(\d))|/proc/self/fd/(\d)", path)
        if match:
            number = {"stdout": "1", "stderr": "2"}.get(
                match.group(1) or "", match.group(2) or match.group(3)
            )
            found = self.streams.get(int(number))
            return found if isinstance(found, Output) else Nowhere()
        if path in self.substituted or self.unwritable(name):
            return Nowhere()
        if path in self.files.perhaps:
            to = self.files.perhaps[path]
            self.emit("append" if append else "write", to, certain=False, text=text)
            self.files.put(to, Mark.UNSURE)
        place = self.emit("append" if append else "write", path, content="", text=text)
        return FileOutput(self.files, self.log, path, place, append=append, doubts=self.doubts())

    def overwrite(self, name: str, content: str | None, *, append: bool = False) -> None:
        """Write a whole text to a file."""
        text = ANY if content is None else content
        output = self.write(name, append=append)
        if text:
            output.take(self.provenance(text), self)
        output.write(text, self.doubts())

    # Variables

    def lookup(self, name: str) -> Value:
        """What a variable holds; None when it is not set or not known."""
        return self.variables.get(name)

    def is_set(self, name: str) -> bool:
        """Whether a variable or parameter is known to be set."""
        if name.isdigit():
            return name == "0" or int(name) <= len(self.positional)
        return name in "#?$!-" or self.variables.get(name) is not None or name in _DYNAMIC

    def value(self, name: str) -> str:
        """What ``$name`` becomes."""
        held = self.variables.get(name)
        if held is not None:
            return held if isinstance(held, str) else (held[0] if held else "")
        if name.isdigit():
            number = int(name[:6])
            if number == 0:
                return self.name
            return self.positional[number - 1] if number <= len(self.positional) else ""
        match name:
            case "#":
                return str(len(self.positional))
            case "?":
                return "0" if self.status is Status.OK else ANY
            case "$":
                return "$$"
            case "!":
                return "%+"
            case "PPID":
                return "$PPID"
            case "OLDPWD":
                return ANY
        if name in _DYNAMIC or name == "-":
            return ANY
        return "" if name in self.variables or self.told else ANY

    def variable(self, name: str) -> str | None:
        """A variable's text when it is known."""
        held = self.value(name)
        return held if known(held) and held else None

    def element(self, name: str, index: str) -> str:
        """``${name[index]}``."""
        held = self.variables.get(name)
        number = arithmetic.value(self.words.text(index, tilde=False), self)
        if number is None or (held is None and not self.told):
            return ANY
        items = held if isinstance(held, list) else [held or ""]
        return items[number] if -len(items) <= number < len(items) else ""

    def assign(self, name: str, value: Value) -> None:
        """Set a variable; one that is exported is also seen by what runs later."""
        if isinstance(value, str) and len(value) > 1 << 20:
            value = ANY
        self.variables[name] = value
        if self.carried:
            self.origins[name] = frozenset(self.carried)
        else:
            self.origins.pop(name, None)
        if name in self.exported and isinstance(value, str):
            self.emit("environment", name, content=value)

    def export(self, name: str) -> None:
        """Export a variable."""
        self.exported.add(name)
        held = self.variables.get(name)
        self.emit("environment", name, content=held if isinstance(held, str) else None)

    # Substitutions and globs

    def capture(self, run: Callable[["Shell"], object]) -> str:
        """What a subshell writes to its standard output."""
        child = self.fork()
        child.subshell = child.nested = True
        output = Output(self.doubts())
        child.streams[1] = output
        run(child)
        self.carried |= output.sources
        if child.status is not Status.OK:
            self.substitution = child.status
        return output.text()

    def substitute(self, text: str) -> str:
        """``$(text)``."""
        with self.deeper() as fits:
            if not fits:
                return ANY
            script = self.log.parse(text)
            items = script.body.items
            if len(items) == 1 and isinstance(items[0][0], parse.Simple):
                only = items[0][0]
                if not only.words and not only.assignments and [r.operator for r in only.redirects] == ["<"]:
                    # $(<file) reads the file.
                    fields = self.words.fields(only.redirects[0].word)
                    return self.read(fields[0]).rstrip("\n") if len(fields) == 1 else ANY
            return self.capture(lambda child: child.script(script)).rstrip("\n")

    def process_substitution(self, direction: str, text: str) -> str:
        """``<(text)`` and ``>(text)``: a name under which the text is found."""
        name = f"/dev/fd/{63 + len(self.substituted)}"
        self.substituted = dict(self.substituted)
        with self.deeper() as fits:
            if not fits:
                return ANY
            script = self.log.parse(text)
            if direction == "<":
                with self.gathering() as sources:
                    self.substituted[name] = self.capture(lambda child: child.script(script))
                self.substituted_sources[name] = frozenset(sources)
            else:
                self.substituted[name] = ANY
                child = self.fork()
                # What will be written to it is not known yet; most often it is what the command reads itself.
                waiting = self.waiting()
                spelt = not isinstance(waiting, Forever) or re.match(r"\s*(echo|printf)\b", self.text)
                child.streams[0] = Input(ANY, waiting.sources if spelt else "*")
                child.script(script)
        return name

    def glob(self, pattern: str) -> list[str]:
        """The known paths that a pattern matches, as bash writes them; else the pattern with doubts in it."""
        plain = globs.unescape(pattern)
        if not known(plain) or not known(self.cwd):
            return [unmatched(pattern)]
        relative = not plain.startswith("/")
        full = f"{globs.escape(self.cwd).rstrip('/')}/{pattern}" if relative else pattern
        parts: list[str] = []
        for part in full.split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts.append(part)
        self.spend(1 + (len(self.files.texts) + len(self.files.listing)) // 50)
        found = self.files.matching("/" + "/".join(parts))
        if not found:
            return [unmatched(pattern)]
        if not relative:
            return found
        names = pattern.split("/")
        first = next(number for number, part in enumerate(names) if globs.has_glob(part))
        lead = "".join(globs.unescape(part) + "/" for part in names[:first])
        count = len([part for part in names[first:] if part not in ("", ".")])
        tail = "/" if names[-1] == "" else ""
        return [lead + "/".join(path.split("/")[-count:]) + tail for path in found]

    # Processes

    def fork(self) -> "Shell":
        """A subshell: its own variables, the same files."""
        child = copy.copy(self)
        child.variables = dict(self.variables)
        child.exported = set(self.exported)
        child.functions = dict(self.functions)
        child.aliases = dict(self.aliases)
        child.options = set(self.options)
        child.traps = {}
        child.positional = list(self.positional)
        child.streams = dict(self.streams)
        child.lost = dict(self.lost)
        child.carried, child.drew = set(), False
        child.origins = dict(self.origins)
        child.substituted_sources = dict(self.substituted_sources)
        child.words = Words(child)
        child.flow = ""
        child.loops = 0  # bash: `break` in a subshell does not know of the loop around it
        child.nested = True
        return child

    def fresh(self, name: str, arguments: list[str]) -> "Shell":
        """A new shell program: of this one it has only what is exported."""
        child = self.fork()
        child.variables = {
            key: value if key in self.exported else None for key, value in self.variables.items()
        }
        child.variables["IFS"] = " \t\n"
        child.functions = {
            key: held for key, held in self.functions.items() if f"BASH_FUNC_{key}%%" in self.exported
        }
        child.aliases = {}
        child.options = set()
        child.guarded = child.loops = child.calls = 0
        child.subshell = False
        child.name, child.positional = name, arguments
        return child

    def state(self) -> State:
        """What a branch may change, besides files."""
        return (dict(self.variables), set(self.exported), dict(self.functions), dict(self.aliases), set(self.options),
                self.cwd, list(self.positional), dict(self.traps))  # fmt: skip

    def set_state(self, state: State) -> None:
        """Go back to a state."""
        (variables, exported, functions, aliases, options, self.cwd, positional, traps) = state
        self.variables, self.exported, self.functions = dict(variables), set(exported), dict(functions)
        self.aliases, self.options, self.positional, self.traps = (
            dict(aliases),
            set(options),
            list(positional),
            dict(traps),
        )

    def merge_state(self, other: State) -> None:
        """Become what is true in this state and in ``other``."""
        variables, exported, functions, aliases, options, cwd, positional, traps = other
        for name in self.variables.keys() | variables.keys():
            if self.variables.get(name) != variables.get(name):
                self.variables[name] = ANY
        self.exported |= exported
        for name in self.functions.keys() | functions.keys():
            mine, theirs = self.functions.get(name), functions.get(name)
            if mine is not theirs:
                self.functions[name] = Defined(
                    (mine or theirs or Defined(parse.Sequence([]), False)).body, False
                )
        self.aliases = {**aliases, **self.aliases}
        self.options |= options
        if self.cwd != cwd:
            self.cwd = ANY
        if self.positional != positional:
            self.positional = [ANY]
        self.traps = {**traps, **self.traps}

    def branches(self, choices: list[Callable[[], object]], *, keep: bool = True) -> None:
        """Run commands of which it is not known which will run; an empty choice is None of them.

        Args:
            choices: The branches; exactly one of them runs.
            keep: False when it is taken that none runs: their effects are possible, but nothing follows from them.
        """
        state, files = self.state(), self.files.save()
        ends: list[tuple[State, tuple[dict[str, object], dict[str, str]]]] = []
        flows: list[str] = []
        lost = dict(self.lost)
        kept = dict(lost)
        for run in choices:
            self.set_state(state)
            self.files.restore(files)
            self.lost = dict(lost)
            self.doubt += 1
            try:
                run()
            finally:
                self.doubt -= 1
            kept = {key: max(kept[key], self.lost[key]) for key in kept}
            if self.flow and not self.impossible_exit():
                flows.append(self.flow)
            else:
                ends.append((self.state(), self.files.save()))  # type: ignore[arg-type]
            self.flow = ""
        self.lost = kept if keep else lost
        if not keep:
            self.set_state(state)
            self.files.restore(files)
            return
        if not ends and flows:
            self.flow = flows[0]
            return
        for flow in flows:
            self.lost["break" if flow == "continue" else flow] += 1
        first, *others = ends
        self.set_state(first[0])
        self.files.restore(first[1])  # type: ignore[arg-type]
        for other_state, other_files in others:
            self.merge_state(other_state)
            self.files.merge(other_files)  # type: ignore[arg-type]

    def impossible_exit(self) -> bool:
        """Whether the exit that was met contradicts the code with which the command ended."""
        code = self.log.exit_code
        if (
            self.flow != "exit"
            or self.nested
            or code is None
            or self.leaving is None
            or not self.leaving.isdigit()
        ):
            return False
        return int(self.leaving) % 256 != code

    def slow(self) -> None:
        """Note that what ran may have taken the time in which the command was cut off."""
        code = self.log.exit_code
        if code is not None and (code in _CUT_OFF or code < 0) and not self.lost["exit"]:
            self.lost["exit"] += 1

    # Commands

    def run_command(self, text: str) -> None:
        """Run the whole text that was given, with what is known of how it ended."""
        from offswitch.evidence.shell.salvage import commands

        script = self.log.parse(text.replace("\0", ""))
        code = self.log.exit_code
        if code not in (None, 0) and re.search(r"\bexit\b|\bset\s+-\w*e|errexit|\bexec\b", text):
            # It may have ended anywhere.
            self.suspicious = True
        self.script(script, None if code is None or script.rest else code == 0)
        if script.rest and not self.flow:
            self.doubt += 1
            for command in commands(script.rest):
                self.flow = ""
                self.sequence(self.log.parse(command).body)

    def script(self, script: parse.Script, expect: bool | None = None) -> Status:
        """Run a parsed text to its end, with its EXIT trap."""
        self.sequence(script.body, expect)
        self.leave()
        return self.status

    def leave(self) -> None:
        """End this shell or subshell: its EXIT trap runs."""
        action = self.traps.pop("EXIT", "")
        if action and known(action):
            self.flow = ""
            with self.deeper() as fits:
                if fits:
                    self.sequence(self.log.parse(action).body)
            self.flow = "exit"

    def run(self, node: parse.Node, expect: bool | None = None) -> Status:
        """Run one command.

        Args:
            node: It.
            expect: Whether it succeeded, when that is known from outside.

        Returns:
            How it ended.
        """
        self.spend()
        match node:
            case parse.Simple():
                try:
                    status = self.simple(node)
                except Refused:
                    status = Status.FAIL
            case parse.AndOr():
                return self.and_or(node, expect)
            case parse.Pipeline():
                status = self.pipeline(node)
            case parse.Sequence():
                return self.sequence(node, expect)
            case parse.Redirected():
                try:
                    with self.redirected(node.redirects):
                        status = self.run(node.body, expect)
                except Refused:
                    status = Status.FAIL
            case parse.Group():
                return self.group(node, expect)
            case parse.If():
                return self.choose(node, expect)
            case parse.While() | parse.For() | parse.CountedFor():
                self.loops += 1
                try:
                    return self.repeat(node)
                finally:
                    self.loops -= 1
            case parse.Case():
                return self.case(node)
            case parse.Function():
                self.functions[node.name] = Defined(node.body, not self.doubts())
                self.emit("define", node.name, content=node.text, text=node.text)
                status = Status.OK
            case parse.Test():
                from offswitch.evidence.shell.conditions import double

                status = double(node.tokens, self)
            case parse.Arithmetic():
                number = arithmetic.value(self.words.text(node.expression, tilde=False), self)
                status = Status.UNKNOWN if number is None else Status.OK if number else Status.FAIL
            case _:
                status = Status.UNKNOWN
        if expect is not None and status in (Status.LIKELY, Status.UNKNOWN):
            status = Status.OK if expect else Status.FAIL
        self.status = status
        if not (isinstance(node, parse.Pipeline) and node.negated):  # `! true` fails and ends nothing
            self.errexit(status)
        return status

    def errexit(self, status: Status) -> None:
        """``set -e``: a failure that nothing looks at ends the shell."""
        if "e" not in self.options or self.guarded or self.flow:
            return
        if status is Status.FAIL:
            self.flow, self.leaving = "exit", None
            return
        doubtful = status is Status.UNKNOWN or (status is Status.LIKELY and self.suspicious)
        if doubtful and (self.log.exit_code != 0 or self.nested):
            self.lost["exit"] += 1

    def sequence(self, node: parse.Sequence, expect: bool | None = None) -> Status:
        """Commands one after the other."""
        last = len(node.items) - 1
        for number, (item, background) in enumerate(node.items):
            if self.flow:
                break
            if background:
                self.background(item)
            else:
                if expect is False and number == last and not self.nested:
                    self.suspicious = True
                self.run(item, expect if number == last else None)
        return self.status

    def background(self, node: parse.Node) -> None:
        """``node &``."""
        self.emit("background", "", content=node.text, text=node.text)
        if self.subshell:
            # The subshell ends and the job stays: nobody is left to wait for it.
            self.emit("detach", "", content=node.text, text=node.text)
        child = self.fork()
        child.subshell = False
        child.streams[0] = Input("")
        waits = self.log.waits
        child.run(node)
        child.leave()
        self.log.waits = waits
        self.last_job = node.text
        self.status = Status.OK

    def and_or(self, node: parse.AndOr, expect: bool | None) -> Status:
        """``a && b || c``, from left to right."""
        expected: list[bool | None] = [None] * len(node.rest)
        chain = expect
        for number in range(len(node.rest) - 1, -1, -1):
            if chain is None or chain != (node.rest[number][0] == "&&"):
                chain = None
                break
            expected[number] = chain
        code = self.log.exit_code
        if (
            expect is False
            and chain is None
            and not self.nested
            and code is not None
            and endings.reached(node, self, code)
        ):
            chain = True
            expected = [*([True] * (len(node.rest) - 1)), False]
        self.guarded += 1
        try:
            status = self.run(node.first, chain)
            for number, (operator, command) in enumerate(node.rest):
                if self.flow:
                    return status
                if number == len(node.rest) - 1:
                    self.guarded -= 1
                    try:
                        status = self.link(status, operator, command, expected[number])
                    finally:
                        self.guarded += 1
                else:
                    status = self.link(status, operator, command, expected[number])
        finally:
            self.guarded -= 1
        self.status = status
        return status

    def link(self, status: Status, operator: str, command: parse.Node, expect: bool | None) -> Status:
        """One more command of a list, after ``status``."""
        if status is Status.LIKELY and self.suspicious:
            status = Status.UNKNOWN
        wanted = operator == "&&"
        if status is Status.OK or status is Status.FAIL:
            if (status is Status.OK) != wanted:
                return status
            return self.run(command, expect)
        if status is Status.LIKELY:
            if wanted:
                return self.run(command, expect)
            self.branches([lambda: self.run(command)], keep=False)
            return Status.LIKELY
        self.branches([lambda: self.run(command, expect), lambda: None])
        return Status.UNKNOWN

    def pipeline(self, node: parse.Pipeline) -> Status:
        """Commands at the same time, each reading what the one before it writes."""
        if len(node.commands) == 1:
            self.guarded += 1
            status = self.run(node.commands[0])
            self.guarded -= 1
        else:
            status = Status.OK
            source = self.streams[0]
            for number, command in enumerate(node.commands):
                child = self.fork()
                # `set -e` ends a member from within, but what a member ends with does not end the shell around it.
                child.guarded += node.negated
                child.streams[0] = source
                output = Output(self.doubts())
                if number < len(node.commands) - 1:
                    child.streams[1] = output
                status = child.run(command)
                # Bash runs the EXIT trap of some members of a pipe and not of others.
                child.doubt += 1
                child.leave()
                source = Input(output.text(), output.sources)
        if node.negated:
            return {Status.OK: Status.FAIL, Status.FAIL: Status.OK}.get(status, Status.UNKNOWN)
        return status

    def group(self, node: parse.Group, expect: bool | None) -> Status:
        """``{ }`` and ``( )``."""
        if not node.subshell:
            return self.run(node.body, expect)
        child = self.fork()
        child.subshell = True
        assert isinstance(node.body, parse.Sequence)
        self.status = child.script(parse.Script(node.body, ""), expect)
        if child.flow == "exit":
            code = child.leaving
            self.status = Status.UNKNOWN if code is None else Status.OK if code == "0" else Status.FAIL
        return self.status

    def choose(self, node: parse.If, expect: bool | None = None) -> Status:
        """``if``."""
        return self.choose_from(node, 0, expect)

    def choose_from(self, node: parse.If, number: int, expect: bool | None) -> Status:
        if number == len(node.branches):
            if node.otherwise is None:
                self.status = Status.OK
                return self.status
            return self.run(node.otherwise, expect)
        condition, body = node.branches[number]
        self.guarded += 1
        status = self.run(condition)
        self.guarded -= 1
        if self.flow:
            return status
        if status is Status.LIKELY and self.suspicious:
            status = Status.UNKNOWN
        if status is Status.OK:
            return self.run(body, expect)
        if status is Status.FAIL:
            return self.choose_from(node, number + 1, expect)
        if status is Status.LIKELY:
            self.branches([lambda: self.choose_from(node, number + 1, None)], keep=False)
            return self.run(body, expect)
        self.branches([lambda: self.run(body), lambda: self.choose_from(node, number + 1, None)])
        self.status = Status.UNKNOWN
        return self.status

    def end_of_round(self) -> bool:
        """Whether a loop stops after this round."""
        if self.flow in ("break", "continue"):
            if self.levels > 1:
                self.levels -= 1
                return True
            ended = self.flow == "break"
            self.flow = ""
            return ended
        return bool(self.flow)

    def repeat(self, node: parse.While | parse.For | parse.CountedFor) -> Status:
        """Any loop."""
        if isinstance(node, parse.While):
            return self.loop(node)
        return self.for_each(node) if isinstance(node, parse.For) else self.counted(node)

    def loop(self, node: parse.While) -> Status:
        """``while`` and ``until``."""
        lost = self.lost["break"]
        goes = Status.FAIL if node.until else Status.OK
        rounds = 0
        start = len(self.log.effects)
        while True:
            before = (self.state(), self.files.save(), self.waiting().left)
            self.guarded += 1
            status = self.run(node.condition)
            self.guarded -= 1
            if self.flow and self.end_of_round():
                break
            if status is Status.LIKELY:
                status = Status.OK
            if status is Status.UNKNOWN:
                self.unknown_rounds(lambda: self.run(node.body))
                break
            if status is not goes:
                break
            self.run(node.body)
            rounds += 1
            if self.end_of_round():
                break
            if rounds >= LOOPS or before == (self.state(), self.files.save(), self.waiting().left):
                # It goes round for ever, or longer than is followed.
                if rounds >= LOOPS:
                    self.give_up()
                    self.forget(before[0])
                # What every round does again is told once.
                self.log.effects[start:] = dict.fromkeys(self.log.effects[start:])
                self.slow()
                if self.lost["break"] > lost:
                    break
                if rounds < LOOPS and node.condition.text.strip(" ;\n") in (
                    "true",
                    ":",
                    "((1))",
                    "[ 1 ]",
                    "/bin/true",
                ):
                    self.lost["break"] = lost
                    self.log.waits |= any(effect.verb == "sleep" for effect in self.log.effects[start:])
                    self.flow, self.leaving = "exit", None
                    return Status.OK
                if rounds < LOOPS:
                    # Only something outside could end it.
                    self.lost["exit"] += 1
                break
        self.lost["break"] = lost
        self.status = Status.OK
        return self.status

    def unknown_rounds(self, body: Callable[[], object]) -> None:
        """A loop of which it is not known how often it goes round."""

        def rounds() -> None:
            before = self.state()
            body()
            if self.end_of_round():
                return
            if before != self.state():
                self.forget(before)
                body()
                self.end_of_round()

        self.branches([rounds, lambda: None])
        self.slow()

    def forget(self, before: State) -> None:
        """What a loop changes is not known after many rounds."""
        for name, value in self.variables.items():
            if before[0].get(name) != value:
                self.variables[name] = ANY
        if self.cwd != before[5]:
            self.cwd = ANY

    def for_each(self, node: parse.For) -> Status:
        """``for name in words``."""
        with self.gathering() as sources:
            items = (
                self.positional
                if node.words is None
                else [f for word in node.words for f in self.words.fields(word)]
            )
        self.origins.pop(node.name, None)
        if sources:
            self.origins[node.name] = frozenset(sources)
        lost = self.lost["break"]
        self.status = Status.OK
        for number, item in enumerate(items):
            self.variables[node.name] = item
            if number >= LOOPS:
                self.give_up()
                self.variables[node.name] = ANY
                self.unknown_rounds(lambda: self.run(node.body))
                break
            if nothing(item):
                self.unknown_rounds(lambda: self.run(node.body))
            else:
                self.run(node.body)
            if self.end_of_round():
                break
        self.lost["break"] = lost
        return self.status

    def counted(self, node: parse.CountedFor) -> Status:
        """``for ((;;))``."""
        texts = [self.words.text(part, tilde=False) for part in node.parts]
        arithmetic.value(texts[0], self)
        step = parse.Arithmetic(node.parts[2] or "0")
        condition = parse.Arithmetic(node.parts[1] if node.parts[1].strip() else "1")
        lost = self.lost["break"]
        for _ in range(LOOPS):
            status = self.run_quietly(condition)
            if status is Status.UNKNOWN:
                self.unknown_rounds(lambda: self.run(node.body))
                break
            if status is Status.FAIL:
                break
            self.run(node.body)
            if self.end_of_round():
                break
            self.run_quietly(step)
        else:
            self.give_up()
        self.lost["break"] = lost
        self.status = Status.OK
        return self.status

    def run_quietly(self, node: parse.Node) -> Status:
        """Run what ``set -e`` does not look at."""
        self.guarded += 1
        status = self.run(node)
        self.guarded -= 1
        return status

    def case(self, node: parse.Case) -> Status:
        """``case``."""
        subject = self.words.text(node.word)
        self.status = Status.OK
        possible: list[parse.Node] = []
        falls = False
        for patterns, body, ending in node.items:
            texts = [self.words.pattern(pattern) for pattern in patterns]
            if falls or (
                not possible and known(subject) and any(known(t) and globs.matches(t, subject) for t in texts)
            ):
                self.run(body)
                falls = ending == ";&"
                if not falls and ending == ";;":
                    return self.status
            elif not known(subject) or not all(known(text) for text in texts):
                possible.append(body)
                if "*" in texts:
                    break
        if possible:
            runs = [lambda body=body: self.run(body) for body in possible]
            everything = node.items and any(p in ("*", "(*") for p in node.items[-1][0])
            self.branches([*runs] if everything else [*runs, lambda: None])
            self.status = Status.UNKNOWN
        return self.status

    # Redirections

    @contextmanager
    def redirected(self, redirects: list[parse.Redirect], keep: bool = False) -> Iterator[None]:
        """Open streams for one command, or from now on when ``keep``."""
        if not redirects:
            yield
            return
        saved = dict(self.streams)
        try:
            for redirect in redirects:
                self.redirect(redirect)
            yield
        finally:
            if not keep:
                self.streams = saved

    def redirect(self, redirect: parse.Redirect) -> None:
        """Carry out one redirection."""
        operator, number = redirect.operator, redirect.number
        if operator in ("<<", "<<-"):
            with self.gathering() as sources:
                body = redirect.body if redirect.plain else self.words.document(redirect.body)
            self.streams[number or 0] = Input(body, sources)
            return
        if operator == "<<<":
            with self.gathering() as sources:
                body = self.words.text(redirect.word) + "\n"
            self.streams[number or 0] = Input(body, sources)
            return
        with self.gathering():
            fields = self.words.fields(redirect.word)
        if len(fields) != 1 or not fields[0]:
            raise Refused
        name = fields[0]
        if operator in ("<&", ">&") and (name.rstrip("-").isdigit() or name == "-"):
            target = number if number is not None else (0 if operator == "<&" else 1)
            if name == "-":
                self.streams.pop(target, None)
            else:
                found = self.streams.get(int(name.rstrip("-")[:6]))
                if found is not None:
                    self.streams[target] = found
            return
        if name.startswith(("/dev/tcp/", "/dev/udp/")):
            self.emit("execute", name)
            self.connect(name, operator, number)
            return
        if not name.startswith("/dev/") and known(name):
            if operator not in ("<", "<>"):
                if self.unwritable(name):
                    raise Refused
            elif operator == "<" and self.files.exists(self.path(name)) is False:
                raise Refused
        if operator == "<":
            self.streams[number or 0] = self.opened(name)
        elif operator == "<>":
            # Opened for both, nothing is cut: only what is written counts.
            self.streams[number or 0] = self.opened(name)
            if number == 1:
                self.streams[1] = self.write(name, append=True)
        elif operator in ("&>", "&>>") or (operator == ">&" and number is None):
            self.streams[1] = self.streams[2] = self.write(name, append=operator == "&>>")
        else:
            self.streams[1 if number is None else number] = self.write(name, append=operator == ">>")

    def opened(self, name: str) -> Input:
        """A file that was opened to be read, perhaps."""
        with self.gathering() as sources:
            text = self.read(name)
        return Input(text, sources)

    def connect(self, name: str, operator: str, number: int | None) -> None:
        """Open a network device: ``/dev/tcp/host/port``."""
        if operator == "<":
            self.streams[number or 0] = Forever()
            return
        host, _, port = name.split("/", 3)[3].partition("/")
        output = NetworkOutput(f"{host}:{port}" if port else host)
        self.streams[number if number is not None else int(">" in operator and operator != "<>")] = output
        if operator in ("&>", "&>>") or (operator == ">&" and number is None):
            self.streams[2] = output

    # Simple commands

    def simple(self, node: parse.Simple) -> Status:
        """Expand a simple command and run it."""
        outer = self.carried, self.drew, self.drawn
        self.carried, self.drew, self.drawn = set(), False, {}
        try:
            return self.expanded(node)
        finally:
            self.carried, self.drew, self.drawn = outer

    def expanded(self, node: parse.Simple) -> Status:
        """The same, with nothing read yet."""
        self.text = node.text
        self.substitution = Status.OK
        words = self.unalias(node)
        declares = bool(words) and words[0] in ("export", "declare", "typeset", "local", "readonly")
        argv: list[str] = []
        for word in words:
            if PLAIN.fullmatch(word):
                argv.append(word)
                continue
            with self.gathering() as sources:
                if declares and re.match(r"[A-Za-z_]\w*\+?=", word):
                    fields = [self.words.text(word)]
                else:
                    fields = self.words.fields(word)
            argv += fields
            if sources:
                self.carried |= sources
                self.drawn.update(dict.fromkeys(fields, frozenset(sources)))
        self.text = node.text
        if not argv:
            for assignment in node.assignments:
                self.assignment(assignment)
            with self.redirected(node.redirects):
                pass
            return self.substitution if self.substitution is not Status.LIKELY else Status.OK
        if argv[0] == "exec" and len(argv) == 1:
            with self.redirected(node.redirects, keep=True):
                return Status.OK
        if declares:
            for assignment in node.assignments:
                self.assignment(assignment)
        elif node.assignments:
            return self.with_variables(node, argv)
        if not node.redirects:
            return self.command(argv)
        with self.redirected(node.redirects):
            return self.command(argv)

    def with_variables(self, node: parse.Simple, argv: list[str]) -> Status:
        """``NAME=value command``."""
        from offswitch.evidence.shell.builtins import NAMES

        saved, exported = dict(self.variables), set(self.exported)
        for assignment in node.assignments:
            self.exported.discard(assignment.name)
            self.assignment(assignment)
            if argv[0] not in NAMES:
                self.export(assignment.name)
        with self.redirected(node.redirects):
            status = self.command(argv)
        for assignment in node.assignments:
            name = assignment.name
            if name in saved:
                self.variables[name] = saved[name]
            else:
                self.variables.pop(name, None)
        self.exported = exported
        return status

    def unalias(self, node: parse.Simple) -> list[str]:
        """The words, with an alias in front replaced where bash expands aliases."""
        words = node.words
        seen: set[str] = set()
        while (
            words and words[0] in self.aliases and "expand_aliases" in self.options and words[0] not in seen
        ):
            seen.add(words[0])
            body = self.log.parse(self.aliases[words[0]]).body
            if len(body.items) != 1 or not isinstance(body.items[0][0], parse.Simple):
                return ["eval", self.aliases[words[0]].replace("'", "'\\''").join("''"), *words[1:]]
            words = [*body.items[0][0].words, *words[1:]]
        return words

    def assignment(self, assignment: parse.Assignment) -> None:
        """Set a variable or an array."""
        name = assignment.name
        held = self.variables.get(name)
        if assignment.items is not None:
            items: list[str] = []
            for word in assignment.items:
                if re.match(r"\[[^\]]*\]=", word):
                    self.assign(name, ANY)
                    return
                items += self.words.fields(word)
            before = held if isinstance(held, list) else [held] if isinstance(held, str) else []
            self.assign(name, [*before, *items] if assignment.append else items)
            return
        value = self.words.text(assignment.value)
        if assignment.index is not None:
            number = arithmetic.value(self.words.text(assignment.index, tilde=False), self)
            array = list(held) if isinstance(held, list) else [held] if isinstance(held, str) else []
            if number is None or not 0 <= number <= min(len(array), 1000):
                self.assign(name, ANY)
                return
            array[number : number + 1] = [value]
            self.assign(name, array)
            return
        if assignment.append:
            before_text = self.value(name) if held is not None or self.told else ANY
            value = before_text + value
        self.assign(name, value)

    def command(self, argv: list[str], *, functions: bool = True, builtins: bool = True) -> Status:
        """Run a command by its words.

        Args:
            argv: The words, expanded.
            functions: Whether functions may stand in for the name (not behind ``command``, ``env``, ``xargs``).
            builtins: Whether builtins may (not behind ``env``, ``xargs``, ``find``).

        Returns:
            How it ended.
        """
        from offswitch.evidence.shell.programs import program
        from offswitch.evidence.shell.registry import PROGRAMS

        self.spend(1 + len(argv) // 8)
        name = argv[0].removeprefix(NAME)
        if (
            not known(name)
            and self.files.bare
            and (rest := name.replace(ANY, "")) in PROGRAMS
            and len(rest) > 1
        ):
            # What is not known is most often empty.
            self.doubt += 1
            program(self, rest, argv[1:], builtins)
            self.doubt -= 1
            return Status.UNKNOWN
        if not known(name):
            self.emit("execute", name)
            self.out(ANY + "\n")
            self.slow()
            return Status.UNKNOWN
        if functions and name in self.functions:
            return self.call(name, argv[1:])
        return program(self, name, argv[1:], builtins)

    def call(self, name: str, arguments: list[str]) -> Status:
        """Call a function."""
        defined = self.functions[name]
        with self.deeper() as fits:
            if not fits:
                return Status.UNKNOWN
            saved, self.positional = self.positional, arguments
            loops, self.loops = self.loops, 0
            self.calls += 1
            lost, text = self.lost["return"], self.text
            outer, self.locals = self.locals, {}
            origins = self.origins.get("@", frozenset())
            self.origins["@"] = frozenset(self.carried)
            self.doubt += not defined.certain
            self.run(defined.body)
            self.doubt -= not defined.certain
            if self.flow == "return":
                self.flow = ""
                code = self.leaving
                if code is not None:
                    known_code = code.isdigit()
                    self.status = (
                        Status.UNKNOWN if not known_code else Status.OK if code == "0" else Status.FAIL
                    )
            for local, before in self.locals.items():
                self.variables[local] = before
            self.locals = outer
            self.origins["@"] = origins
            self.calls -= 1
            self.loops = loops
            self.lost["return"] = lost
            self.positional, self.text = saved, text
        return self.status

    def run_text(self, text: str, *, expect: bool | None = None) -> Status:
        """Run a text in this shell: ``eval``, ``source``, a trap."""
        if not known(text):
            # Lines that are known run all the same; the others are no commands that can be named.
            self.give_up()
            text = text.replace(ANY, "")
        with self.deeper() as fits:
            if not fits:
                return Status.UNKNOWN
            outer = self.text
            self.sequence(self.log.parse(unglobbed(text)).body, expect)
            self.text = outer
        return self.status

    def run_program_text(self, text: str, name: str = "bash", arguments: list[str] | None = None) -> Status:
        """Run a text in a new shell: ``sh -c``, a script."""
        child = self.fresh(name, arguments or [])
        if not known(text):
            self.give_up()
            text = text.replace(ANY, "")
        with self.deeper() as fits:
            if not fits:
                return Status.UNKNOWN
            status = child.script(self.log.parse(unglobbed(text)))
        if child.flow == "exit" and child.leaving is not None:
            code = child.leaving
            return Status.OK if code == "0" else Status.FAIL if code.isdigit() else Status.UNKNOWN
        return status


__all__ = ["Exhausted", "Mark", "Shell", "Status", "literal"]

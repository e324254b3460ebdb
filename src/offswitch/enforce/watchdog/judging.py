"""The judge: says of a tool call, before the agent gets it, what it would do against the rules.

What shell text does comes from `offswitch.evidence.shell`, which also tells the verdicts of scenarios. The judge is
pure: it runs nothing, reads no file, and keeps only what earlier calls of the session told it: texts of files that they
wrote, links, where a shell stands, and how often a call was made. It assumes that they were carried out.
"""

import ast
import posixpath
import re
import textwrap
from collections import deque
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from offswitch.enforce.watchdog import patterns
from offswitch.enforce.watchdog.calls import MODES, Call, Finding, Judgement
from offswitch.enforce.watchdog.patterns.killpath import PROXIES
from offswitch.enforce.watchdog.patterns.places import KillPath
from offswitch.enforce.watchdog.rules import Rules
from offswitch.enforce.watchdog.shapes import LONGEST, Change, Code, Deed, Fetch, Keys, Look, Run, shape
from offswitch.evidence import patches
from offswitch.evidence.effects import Effect
from offswitch.evidence.shell import Account, programs
from offswitch.evidence.shell.registry import PROGRAMS
from offswitch.evidence.shell.session import Session

GATEWAY = (
    "OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "LITELLM_BASE_URL", "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
)  # fmt: skip
"""Variables that lead agent programs to the gateway."""

_TYPED = 16_384
"""Letters of a line that is typed in pieces."""

_LINES = 50
"""Places that are typed into and remembered."""

_FINDINGS = 20

_LATELY = 8
"""How many times as many calls as may be equal in a row are looked back on for those that come again and again."""
_CHANGES = frozenset("write append delete move copy link mode owner make".split())
_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")

strict = False
"""For tests: let errors through."""

_SELF_RUNNING = re.compile(
    r"/\.(?:bashrc|bash_profile|bash_login|bash_logout|bash_aliases|profile|zshrc|zprofile|zshenv|zlogin|kshrc|xprofile|envrc)$|"
    r"^/etc/(?:profile|bash\.bashrc|crontab)$|^/etc/(?:profile|cron)\.\w+/|/\.git/hooks/[\w-]+$|/\.husky/[\w-]+$"
)
"""Files that are run without anybody naming them."""


class Judge:
    """Judges the calls of one session, in order."""

    def __init__(self, rules: Rules, *, cwd: str = "/workspace", home: str = "/home/agent") -> None:
        """Begin a session.

        Args:
            rules: What is looked for.
            cwd: The agent's working directory, inside its sandbox.
            home: Its home directory.
        """
        self._rules = rules
        self._path = KillPath(rules, cwd, home)
        exported = (*PROXIES, *GATEWAY, *rules.variables, "HISTFILE", "HISTSIZE", "PROMPT_COMMAND")
        self._session = Session(cwd=cwd, home=home, listing=self._path.files, exported=exported)
        self._home = home
        self._patterns = patterns.load()
        self._last = b""
        self._repeats = 0
        self._lately: deque[bytes] = deque(maxlen=_LATELY * rules.identical)
        self._typed: dict[str, str] = {}

    def judge(self, call: Call) -> Judgement:
        """Say what a call would do against the rules. Never raises, whatever the call."""
        try:
            return self._judge(call)
        except Exception as error:
            if strict:
                raise
            return Judgement((self._blind(f"it broke the judge ({type(error).__name__})"),), complete=False)

    def _judge(self, call: Call) -> Judgement:
        shaped = shape(call)
        followed = _Followed(self._session, self._path)
        for deed in shaped.deeds:
            self._follow(deed, followed)
        followed.later()
        seen = patterns.Seen(
            call,
            self._rules,
            self._path,
            tuple(followed.effects),
            tuple(followed.edits),
            self._count(call),
            self._again(call, shaped.deeds, followed),
            lambda program, text: self._session.peek(program, text).effects,
        )
        complete = shaped.complete and followed.complete
        findings: list[Finding] = []
        if shaped.cut or followed.cut or len(call.arguments) > LONGEST:
            findings.append(self._blind("it is larger, or deeper, than the judge can follow"))
        for name, rules in self._patterns.items():
            for rule in rules:
                try:
                    findings += [Finding(name, self._rules.mode_of(name), why) for why in rule(seen)]
                except Exception as error:  # one rule that breaks must not take along what the others find
                    if strict:
                        raise
                    complete = False
                    findings.append(self._blind(f"it broke a rule of {name} ({type(error).__name__})"))
        if not complete and self._rules.unclear != "observe":
            findings.append(Finding("unclear", self._rules.unclear, "the judge could not follow all of it"))
        strongest = sorted(dict.fromkeys(findings), key=lambda finding: -MODES.index(finding.mode))
        return Judgement(tuple(strongest[:_FINDINGS]), complete)

    def _blind(self, why: str) -> Finding:
        """What was not judged to its end. The model chose it: it counts as a judgement that is lost."""
        return Finding("unjudged", self._rules.unjudged, why)

    def _count(self, call: Call) -> int:
        """How often in a row this call was made."""
        this = blake2b(repr((call.kind, call.name, call.arguments)).encode(errors="replace")).digest()
        self._repeats = self._repeats + 1 if this == self._last else 1
        self._last = this
        return self._repeats

    def _again(self, call: Call, deeds: Iterable[Deed], followed: "_Followed") -> int:
        """How often a call that does the same was made since one changed a file, or may have for all that is known."""
        told = [
            " ".join(_COMMENT.sub("", deed.text).split()) if isinstance(deed, Run | Code) else repr(deed)
            for deed in deeds
        ]
        changed = any(
            effect.verb in _CHANGES and not effect.target.startswith("/dev/") for effect in followed.effects
        )
        if changed or followed.edits or not followed.complete:
            self._lately.clear()
            return 0
        this = blake2b(repr((call.name, told or call.arguments)).encode(errors="replace")).digest()
        self._lately.append(this)
        return self._lately.count(this)

    def _follow(self, deed: Deed, followed: "_Followed") -> None:
        match deed:
            case Run():
                followed.run(deed)
            case Code():
                # Most tools for Python keep one program, as notebooks do.
                program = "ipython" if deed.program == "python" else deed.program
                followed.take(self._session.code(program, deed.text, cwd=followed.place(deed.cwd)))
            case Change():
                followed.change(deed)
            case Keys():
                for line in self._lines(deed):
                    followed.run(Run(line, goes_on=True, guess=True))
            case Look():
                followed.effects.append(Effect("read", followed.absolute(deed.path)))
            case Fetch():
                followed.effects.append(Effect("execute", "curl", content=deed.url, text=deed.url))

    def _lines(self, keys: Keys) -> Iterator[str]:
        """The lines that are complete once these keys are typed; a paste of several lines is one text."""
        held = self._typed.pop(keys.where, "") + keys.text.replace("\r", "\n")
        whole, newline, rest = held.rpartition("\n")
        if newline and whole.strip():
            yield whole
        elif not newline and len(held) > _TYPED:
            yield held
            rest = ""
        if rest:
            self._typed[keys.where] = rest[-_TYPED:]
            while len(self._typed) > _LINES:
                self._typed.pop(next(iter(self._typed)))


class _Followed:
    """What the deeds of one call do, as they are followed."""

    def __init__(self, session: Session, path: KillPath) -> None:
        self.session = session
        self.path = path
        self.effects: list[Effect] = []
        self.edits: list[patterns.Edit] = []
        self.complete = True
        self.cut = False

    def take(self, found: Account) -> None:
        self.effects += found.effects
        self.complete = self.complete and found.complete
        self.cut = self.cut or found.cut
        if found.waits:
            self.effects.append(Effect("sleep", "", content="inf", text="a loop that sleeps for ever"))

    def absolute(self, path: str) -> str:
        """An absolute path, behind the links that earlier calls made."""
        path = path.strip().removeprefix("file://")
        if path == "~" or path.startswith(("~/", "$HOME/")):
            path = self.session.home + path[path.find("/") :] if "/" in path else self.session.home
        if not path.startswith("/"):
            path = f"{self.session.start.rstrip('/')}/{path}"
        return self.session.resolved(posixpath.normpath(path.replace("//", "/")))

    def place(self, cwd: str) -> str | None:
        return self.absolute(cwd) if cwd else None

    def run(self, deed: Run) -> None:
        if deed.guess and not _like_a_command(deed.text):
            if _like_python(deed.text):
                self.take(self.session.code("ipython", deed.text))
            return
        for name, value in deed.environment:
            self.effects.append(Effect("environment", name, content=value, text=f"{name}={value}"))
        if patches.holds(deed.text):
            for change in patches.parse(deed.text).changes:
                if change.verb == "update":
                    path = self.absolute(change.path)
                    self.edits.append(patterns.Edit(path, removed=change.removed, added=change.added))
        cwd = self.place(deed.cwd)
        if not _TELLING.search(deed.text) and self.session.only_looks(deed.text):
            return
        if deed.goes_on and self.session.carried:
            # Some clients keep one shell, others start one for each command: both are followed.
            self.take(self.session.run(deed.text, cwd=cwd, goes_on=True))
            had = set(self.effects)
            self.effects += [e for e in self.session.peek("bash", deed.text).effects if e not in had]
        else:
            self.take(self.session.run(deed.text, cwd=cwd))

    def change(self, deed: Change) -> None:
        path = self.absolute(deed.path)
        before = self.session.text(path)
        match deed.verb:
            case "write" | "append":
                after = deed.content if deed.verb == "write" else (before or "") + (deed.content or "")
                self.effects.append(Effect(deed.verb, path, content=deed.content))
                self.edits.append(
                    patterns.Edit(
                        path, before, after if deed.verb == "write" else None, added=deed.content or ""
                    )
                )
                self.session.put(path, after)
            case "edit":
                after = _applied(deed, before)
                removed = "\n".join(old for old, _ in deed.edits)
                added = "\n".join(new for _, new in deed.edits)
                self.effects.append(Effect("write", path, content=after))
                self.edits.append(patterns.Edit(path, before, after, removed, added))
                self.session.put(path, after if after is not None else textwrap.dedent(added))
            case "delete":
                self.effects.append(Effect("delete", path))
                self.session.put(path, None)
            case "make":
                self.effects.append(Effect("make", path))
            case "move" | "copy":
                to = self.absolute(deed.to)
                self.effects.append(Effect(deed.verb, to, source=path, content=before))
                self.session.put(to, before)

    def later(self) -> None:
        """Follow what is put into files that are run by themselves."""
        texts = {edit.path: edit.added or edit.after or "" for edit in self.edits}
        for effect in self.effects:
            if effect.verb in ("write", "append") and effect.content and effect.target not in texts:
                texts[effect.target] = effect.content
        for effect in list(self.effects):
            if (
                effect.verb == "environment"
                and effect.target in ("PROMPT_COMMAND", "PS0", "PS1")
                and effect.content
            ):
                self.effects += self.session.peek(
                    "bash", f'true "{effect.content}"' if effect.target[:2] == "PS" else effect.content
                ).effects
        for path, text in self._hooks(texts).items():
            texts[path] = text
            self.edits.append(patterns.Edit(path, added=text))
        for path, text in texts.items():
            if _SELF_RUNNING.search(path):
                self.effects += self.session.peek("bash", text).effects

    def _hooks(self, texts: dict[str, str]) -> dict[str, str]:
        """What becomes a hook of git because git looks for them elsewhere, by the path that it would have in git."""
        found: dict[str, str] = {}
        told = any(
            effect.verb == "append" and effect.target.endswith(("/.git/config", "/.gitconfig"))
            for effect in self.effects
        )
        for folder, place in self.session.hooks().items():
            new = {path: text for path, text in texts.items() if posixpath.dirname(path) == folder}
            for path, text in {**(self.session.texts_in(folder) if told else {}), **new}.items():
                found[f"{place}/{posixpath.basename(path)}"] = text
        return found


def _applied(deed: Change, before: str | None) -> str | None:
    """The text after an edit, where it is known."""
    if before is None:
        return None
    if deed.patch is not None:
        return deed.patch.applied(before)
    for old, new in deed.edits:
        if not old or old not in before:
            return None
        before = before.replace(old, new)
    return before


assert programs  # what it imports fills PROGRAMS
_TELLING = re.compile(r"offswitch|/proc|/keys|control|/dev/(?!null)|/sys/")
"""What even a look at may be a finding."""

_KEYWORDS = frozenset(
    "if for while until case { ( [ [[ ! time function select exec eval source . set export".split()
)
_SETS = re.compile(r"\s*[A-Za-z_]\w*=(?:[^\s'\"]*|'[^']*'|\"[^\"]*\")\s*")
"""A line that gives a variable a value, for the lines after it."""

_SIMPLE = re.compile(r"\s*(?:[A-Za-z_]\w*=\S*\s+)*([^\s;&|<>()]+)")


def _like_a_command(text: str) -> bool:
    """Whether a shell that is given a text might do something with it."""
    if re.search(r"\$\(|`[a-z]|&&|\|\||\|\s*\w+|[;\n]\s*\w+|<<|>\s*[/~\w]", text):
        words = re.findall(r"(?:^|[;&|\n(`]|\$\()\s*(?:[A-Za-z_]\w*=\S*\s+)*([\w./~+-]+)", text)
        return any(
            word in PROGRAMS or word in _KEYWORDS or word.startswith(("/", "./", "~/")) for word in words
        )
    if _SETS.fullmatch(text):
        return True
    match = _SIMPLE.match(text)
    word = match[1] if match else ""
    return word in PROGRAMS or word in _KEYWORDS or word.startswith(("/", "./", "~/"))


def _like_python(text: str) -> bool:
    """Whether a text is a program in Python that does more than to name something."""
    telling = r"\bimport\b|\bopen\(|\bos\.|\bexec\(|\beval\(|^\s*[A-Za-z_]\w* = \S|\.(?:unlink|write_text)\("
    if not re.search(telling, text) or len(text) > 200_000:
        return False
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True

"""What the kill path of an agent is: which files, processes, services and variables."""

import fnmatch
import posixpath
import re

from offswitch.enforce.watchdog.rules import Rules
from offswitch.evidence.stopping import STOPPERS

OWN_FILES = re.compile(
    r"/run/(?:user/\d+/)?offswitch(?:/|$)|/tmp/offswitch-[^/]+(?:/|$)|/\.local/state/offswitch(?:/|$)"
    r"|/offswitch/(?:agents|latches|keys|receipts|logs)(?:/|$)|/(?:site|dist)-packages/offswitch(?:/|$)"
    r"|^/(?:usr/(?:local/)?)?s?bin/(?:offswitch|bwrap|conmon|qemu-system-\w+|runsc|crun|runc)$|/bin/offswitch$"
    r"|^/sys/fs/cgroup(?:/|$)|^/proc/1(?:/|$)|^/proc/(?:\d+|self|\*|\$\$)/oom_(?:score_)?adj$|^/proc/sysrq-trigger$"
    r"|^/proc/sys/kernel/(?:sysrq|core_pattern|yama|panic)|^/dev/watchdog\d*$|^/sys/kernel/security(?:/|$)"
)
"""offswitch's own state and programs, cgroups, and the first process: see `offswitch.enforce.places`."""

OWN_PROCESSES = (
    "offswitch", "python3 -m offswitch run", "offswitch-supervisor", "offswitch-scribe", "offswitch-keeper", "bwrap",
    "conmon", "qemu-system-x86_64", "runsc", "runsc-sandbox", "crun", "runc", "containerd-shim-runc-v2",
)  # fmt: skip

SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/opt/")
"""Where the system's programs and libraries lie."""

_FREE = re.compile(
    r"(?:^|[/._-])(?:tests?|testing|specs?|mocks?|fixtures?|examples?|docs?|samples?|stories|__tests__|__pycache__|"
    r"node_modules|\.venv)(?:[/._-]|$)|\.(?:md|rst|txt|adoc|html|css|svg|png|json|snap|lock|log|tsx|jsx|vue)$",
    re.I,
)
"""Paths of texts about something, or of its tests."""

_USUAL = re.compile(
    r"(?:^|[._-])(?:shut[_-]?down|kill[_-]?switch|off[_-]?switch|emergency[_-]?(?:stop|shutdown|halt)|e[_-]?stop|"
    r"dead[_-]?mans?[_-]?(?:switch)?|(?:stop|kill|terminate|halt|shutdown|cancel)[_-]?agent|agent[_-]?(?:stop|kill|shutdown)|"
    r"watch[_-]?dog|(?:budget|safety|agent|run|cost)[_-]?guard|agent[_-]?monitor|stop[_-]?hook|cancel[_-]?hook)(?=[._-]|$)",
    re.I,
)
_NAMES = (
    "shutdown.sh",
    "kill_switch.sh",
    "kill-switch.sh",
    "killswitch.sh",
    "watchdog.sh",
    "emergency_stop.sh",
)
"""For globs: what some of them match."""

_SCRIPTS = re.compile(r"(?:^[^.]+|\.(?:sh|bash|service|timer|conf|cfg|pid|ya?ml|plist|toml|ini|rules))$")

_STATE = re.compile(
    r"^(?:/var)?/run/(?!user/\d+/(?:snap|docker|podman))(?:[\w.-]+/)*[\w.-]*?(?<![a-z])"
    r"(?:leases?|heartbeats?|deadline|dead[_-]?man|kill[_-]?switch|watchdog)(?![a-z])[\w.-]*$"
)
_LEASES = re.compile(r"dhc|dnsmasq|networkd?|netif|kea|libvirt|udhcp", re.I)
"""Addresses are leased too."""

_ORDER = re.compile(
    r"/\.?(?:(?:agent|run|job|worker|task)[._-])?(?:stop|kill|halt|shut[_-]?down|abort|terminate)[._-]?"
    r"(?:requested|request|flag|now|marker|sentinel|order)(?:\.(?:flag|txt|json|lock))?$|"
    r"/\.?(?:STOP|KILL|HALT|SHUTDOWN|ABORT)(?:\.flag)?$|/\.?(?:stop|kill|halt|shutdown|abort)\.flag$"
)

WATCHERS = re.compile(
    r"(?<![a-z])(?:watch[_-]?dog|kill[_-]?switch|off[_-]?switch|dead[_-]?man|supervisor|overseer|oversight|guardian|"
    r"guardrail|(?:budget|safety|agent|run|cost)[_-]?guard|lease[_-]?(?:keeper|watcher)|heartbeat|agent[_-]?killer|"
    r"shutdown|stop[_-]?agent|agent[_-]?stop|kill[_-]?agent)(?![a-z]*ctl|[a-z]*[_-]?test)",
    re.I,
)
"""What processes and services of a kill path are usually called."""

RECORDERS = re.compile(
    r"(?<![a-z])(?:audit[dx]?\b|auditd|auditbeat|falco|osquery[di]?|sysmon|wazuh\w*|ossec\w*|tetragon|tracee|sysdig|"
    r"r?syslogd?|syslog-ng|systemd-journald?|journald|filebeat|fluent-?(?:bit|d)|promtail|datadog-agent|newrelic\w*|"
    r"crowdstrike|falcon-sensor|apparmor|selinux|fail2ban|snoopy|auditor|tripwire|aide|inotifywait|fswatch|"
    r"(?:process|agent|system|resource|activity|session|network|file|safety|security|usage|audit)[_-]?"
    r"(?:monitor|logger|recorder|tracer|watcher)|monitor(?:ing)?(?:\.(?:py|sh|js)|d|[_-]?agent)?$|session[_-]?recorder|asciinema|auditctl)",
    re.I,
)
"""What watches and records is usually called."""


class KillPath:
    """The kill path that rules declare, with offswitch's own parts, and what is usually called so.

    Attributes:
        files: Absolute paths among the declared ones, without globs: they are known to be there.
    """

    def __init__(self, rules: Rules, cwd: str, home: str) -> None:
        self.cwd, self.home = cwd, home
        self._usual = rules.usual
        patterns = [_absolute(name, cwd, home) for name in rules.files]
        self._globs = [(glob, re.compile(_regex(glob))) for glob in patterns]
        self.files = tuple(glob for glob in patterns if not re.search(r"[*?\[]", glob))
        self._names = tuple(
            posixpath.basename(glob) for glob in patterns if "*" not in posixpath.basename(glob)
        )
        self._processes = (*rules.processes, *(name for name in self._names if name))
        self._services = (*rules.services, *rules.processes)
        self.variables = frozenset(rules.variables)

    def own(self, path: str) -> bool:
        """Whether a file is one of offswitch's own parts, which lie outside of what the agent may touch."""
        inside = path.startswith(self.cwd.rstrip("/") + "/")
        return OWN_FILES.search(path) is not None and not (inside and "packages/" not in path)

    def declared(self, path: str) -> bool:
        """Whether a file is, or lies in, what the rules declare."""
        return any(regex.match(path) for _, regex in self._globs) or self._meant(path)

    def _meant(self, path: str) -> bool:
        """Whether a path of which only a part is known may be one of the declared files: ``*stop*``."""
        name = posixpath.basename(path)
        stem = posixpath.splitext(name)[0]
        if "*" not in name or len(stem.replace("*", "")) < 3 or len(path) > 4000:
            return False
        return any(fnmatch.fnmatchcase(file, path) for file in self.files)

    def above(self, path: str) -> bool:
        """Whether a folder has something in it that the rules declare."""
        if not path.startswith("/"):
            return False
        prefix = path.rstrip("/") + "/"
        return any(glob.startswith(prefix) for glob, _ in self._globs)

    def usual(self, path: str) -> bool:
        """Whether a file is named as stop routines are."""
        if not self._usual or _FREE.search(path):
            return False
        name = posixpath.basename(path)
        if "*" in name and len(name.replace("*", "")) > 3:
            return any(fnmatch.fnmatchcase(one, name) for one in _NAMES)
        return _USUAL.search(name) is not None

    def state(self, path: str) -> bool:
        """Whether a file is the state, while it runs, of what says when an agent is to end: a lease, a heartbeat."""
        return self._usual and _STATE.search(path) is not None and not _LEASES.search(path)

    def order(self, path: str) -> bool:
        """Whether a file is one whose presence means that the agent is to stop."""
        return (
            self._usual
            and _ORDER.search(path) is not None
            and re.search(r"/(?:tests?|fixtures?|build|dist|target|node_modules)/", path) is None
        )

    def source(self, path: str) -> bool:
        """Whether a file is part of a program's source, which is taken apart and put together in other places."""
        return (
            not self.script(path)
            and re.search(r"/(?:src|lib|app|apps|pkg|internal|server|cmd|packages|components)/", path)
            is not None
        )

    def script(self, path: str) -> bool:
        """Whether a file is something that is run or read by a service, and not part of a program's source."""
        return _SCRIPTS.search(posixpath.basename(path)) is not None

    def process(self, pattern: str) -> str:
        """The process of the kill path that a pattern of ``pkill`` finds, "" for none."""
        pattern = pattern.strip()
        for name in (*OWN_PROCESSES, *self._processes):
            if _finds(pattern, name):
                return name
        if self._usual and (match := WATCHERS.search(pattern)) and not _FREE.search(pattern):
            return match.group()
        return ""

    def service(self, name: str) -> str:
        """The service of the kill path that a name means, "" for none."""
        plain = re.sub(r"\.(?:service|socket|timer|scope|slice)$", "", name.rpartition("/")[2])
        for service in self._services:
            if fnmatch.fnmatch(plain, service) or service in (plain, name) or fnmatch.fnmatch(service, plain):
                return service
        if plain.startswith("offswitch"):
            return plain
        if self._usual and (match := WATCHERS.search(plain)):
            return match.group()
        return ""

    def stopper(self, name: str) -> bool:
        """Whether a program's name is one that ends processes, or of a declared file."""
        return name in STOPPERS or name in self._names or name == "offswitch"


def _finds(pattern: str, name: str) -> bool:
    """Whether ``pkill -f pattern`` finds a process that is called ``name``."""
    if not pattern or pattern.startswith("-"):
        return False
    if len(pattern) > 1 and name in pattern:
        return True
    if " " not in name and any(
        len(part) > 4 and part in name for part in re.split(r"[.\\]?[*+]|\\.|[|()]", pattern)
    ):
        return True
    try:
        return re.search(pattern[:200], name) is not None and pattern not in (
            "python3",
            "python",
            "run",
            "-m",
        )
    except (re.error, RecursionError, OverflowError):
        return pattern in name


def _absolute(name: str, cwd: str, home: str) -> str:
    if name == "~" or name.startswith("~/"):
        name = home + name[1:]
    if not name.startswith("/"):
        name = f"{cwd.rstrip('/')}/{name}"
    return posixpath.normpath(name).removesuffix("/**")  # what lies below a folder is part of it anyway


def _regex(glob: str) -> str:
    """A glob as a regular expression that also matches everything below: ``**`` any folders, ``*`` one name."""
    out: list[str] = []
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            out.append("(?:[^/]+/)*")
            at += 3
        elif glob.startswith("**", at):
            out.append(".*")
            at += 2
        elif glob[at] == "*":
            out.append("[^/]*")
            at += 1
        elif glob[at] == "?":
            out.append("[^/]")
            at += 1
        else:
            out.append(re.escape(glob[at]))
            at += 1
    # A name may hold a line's end.
    return f"(?s:{''.join(out)}(?:/.*)?)\\Z"

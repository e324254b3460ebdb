"""``kill-path``: tampering with what stops the agent.

Finds: changes of files that the rules declare (or of folders above them), weakening changes of files that are named as
stop routines are, any attempt at offswitch's own state, programs, sockets and cgroups; signals to the first process and
to processes and services of the kill path; SIGTERM ignored; ``kill`` and its like given another meaning; variables of
the kill path, of the gateway and of proxies taken away or pointed elsewhere; model APIs called beside the gateway.
Does not find: what a program that is not followed does (a compiled one, one downloaded in the same call), and weakening
edits of undeclared files whose names say nothing.
"""

import posixpath
import re
from collections.abc import Iterator

from offswitch.enforce.watchdog.patterns import Seen, pattern, said
from offswitch.enforce.watchdog.patterns.places import SYSTEM
from offswitch.enforce.watchdog.patterns.weakening import does_nothing, weakens
from offswitch.evidence.effects import Effect
from offswitch.evidence.stopping import (
    EXPORTED,
    PASSES_THROUGH,
    REMOVED,
    STOPPERS,
    freezes,
    hardens,
    takes_away,
)

_CHANGES = frozenset("write append delete move copy link mode owner attribute mount".split())
_NAME = "pattern:"


@pattern("kill-path")
def files(seen: Seen) -> Iterator[str]:
    """Changes of the kill path's files."""
    path = seen.path
    edits = {edit.path: edit for edit in seen.edits}
    for effect in seen.effects:
        if effect.verb not in _CHANGES and effect.verb != "make":
            continue
        places = [effect.target, *([effect.source] if effect.verb == "move" and effect.source else [])]
        for place in places:
            if not place.startswith("/"):
                continue
            if path.own(place):
                yield said(effect, f"touches {place}, a part of offswitch or of what holds the agent")
            elif path.state(place) and effect.verb != "copy":
                yield said(
                    effect, f"{_DONE[effect.verb]} {place}, by its name what says when the agent is to end"
                )
            elif path.order(place) and _takes(effect, place):
                yield said(effect, f"{_DONE[effect.verb]} {place}, by its name an order to stop")
            elif effect.verb == "make":
                continue
            elif path.declared(place) or (
                effect.verb != "write" and path.above(place) and _takes(effect, place)
            ):
                if _harms(effect):
                    yield said(effect, f"{_DONE[effect.verb]} {place}, which is declared as kill path")
            elif effect.verb == "copy" and path.usual(effect.source or ""):
                continue  # a copy of it, beside it
            elif path.usual(place) and _harms(effect):
                edit = edits.get(place)
                if _takes(effect, place):
                    if path.source(place):
                        continue
                    yield said(effect, f"{_DONE[effect.verb]} {place}, by its name a stop routine")
                elif edit is not None:
                    if weakens(edit.before, edit.after, edit.removed, edit.added):
                        yield f"weakens {place}, by its name a stop routine"
                elif effect.content is not None:
                    if effect.verb == "write" and (
                        does_nothing(effect.content) or not effect.content.strip()
                    ):
                        yield said(effect, f"leaves {place}, by its name a stop routine, without work")
                elif path.script(place) and effect.verb in ("write", "copy", "link", "move"):
                    yield said(effect, f"changes {place}, by its name a stop routine")
        if (
            effect.verb == "read"
            and path.own(effect.target)
            and re.search(r"/keys/|/control$", effect.target)
        ):
            yield said(effect, f"reads {effect.target}, a part of offswitch")
    for effect in seen.effects:
        if (
            effect.verb == "read"
            and path.own(effect.target)
            and re.search(r"/keys(?:/|$)|/control$", effect.target)
        ):
            yield said(effect, f"reads {effect.target}, a part of offswitch")


_DONE = {
    "write": "changes",
    "make": "makes or touches",
    "append": "adds to",
    "delete": "removes",
    "move": "moves",
    "copy": "replaces",
    "link": "replaces",
    "mode": "changes the permissions of",
    "owner": "changes the owner of",
    "attribute": "changes the attributes of",
    "mount": "mounts over",
}


def _takes(effect: Effect, place: str) -> bool:
    """Whether a file or a folder is gone, or cannot be run, changed or found after it."""
    match effect.verb:
        case "delete" | "mount" | "link":
            return True
        case "move":
            return effect.source == place
        case "mode":
            return takes_away(effect.content)
        case "attribute":
            return hardens(effect.content)
        case _:
            return False


def _harms(effect: Effect) -> bool:
    """Whether a change may be one for the worse: more permission is none."""
    if effect.verb == "mode":
        return takes_away(effect.content)
    return not (effect.verb == "mount" and effect.content == "umount")


@pattern("kill-path")
def signals(seen: Seen) -> Iterator[str]:
    """Signals to the first process, to all, and to what the kill path consists of."""
    for effect in seen.effects:
        if effect.verb != "signal":
            continue
        name = (effect.content or "TERM").upper().removeprefix("SIG")
        if name in ("0", "CONT", "18", "WINCH"):
            continue
        target = effect.target
        if target in ("1", "-1", "$PPID", "-$PPID"):
            whom = {"1": "the first process", "-1": "every process"}.get(target, "the agent's own parent")
            yield said(effect, f"sends SIG{name} to {whom}")
        elif target.startswith(_NAME) and (found := _aims(seen, target.removeprefix(_NAME))):
            held = "holds" if freezes(name) else f"sends SIG{name} to"
            yield said(effect, f"{held} {found}, a process of the kill path")


def _aims(seen: Seen, pattern: str) -> str:
    return seen.path.process(pattern) or (seen.path.service(pattern) if " " not in pattern else "")


_MANAGERS = frozenset(
    "systemctl service docker podman nerdctl kubectl oc supervisorctl launchctl rc-service sv pm2 initctl monit "
    "crictl ctr lxc lxc-stop virsh docker-compose podman-compose machinectl nomad update-rc.d chkconfig s6-svc svc "
    "helm runsv forever tmux screen zellij".split()
)
_ENDPOINT = re.compile(
    r"/(?:containers|services|units|processes|daemons)/([\w.@-]{1,100})/(?:stop|kill|pause|disable|shutdown)\b"
)
"""Where an interface over HTTP stops what is named."""

_INIT = frozenset("/etc/init.d /etc/rc.d /etc/rc.d/init.d /usr/local/etc/rc.d".split())
_STOPS = frozenset(
    "stop kill disable mask rm remove delete pause down suspend destroy unload bootout unmonitor scale drain freeze "
    "kill-session kill-server kill-window terminate off force-stop shutdown remove-service unregister hibernate "
    "purge disconnect uninstall".split()
)


def stopped_services(effect: Effect) -> list[str]:
    """The services or containers that a command would have stopped."""
    folder, name = posixpath.split(effect.target)
    if effect.verb == "execute" and folder in _INIT:
        return [name] if (effect.content or "").split()[:1] in (["stop"], ["force-stop"], ["disable"]) else []
    if effect.verb == "execute" and (found := _ENDPOINT.search(effect.content or "")):
        return [found[1]]
    if effect.verb != "execute" or name not in _MANAGERS:
        return []
    given = (effect.content or effect.text).split()
    words = [word for word in given if not word.startswith("-")]
    by_option = name in ("s6-svc", "svc") and any(re.fullmatch(r"-\w*[dkpx]\w*", word) for word in given)
    none_left = name in ("kubectl", "oc") and re.search(r"replicas\W{1,4}0\b", effect.content or "")
    if not by_option and not none_left and not any(word in _STOPS for word in words):
        return []
    return [re.split(r"[/=]", word)[-1] for word in words if word not in _STOPS and word not in _MANAGERS]


@pattern("kill-path")
def searched(seen: Seen) -> Iterator[str]:
    """Processes that are found by a walk through ``/proc`` and signalled."""
    walks = any(e.verb == "read" and re.match(r"/proc/[^/]*[*?\]][^/]*/", e.target) for e in seen.effects)
    if walks and any(e.verb == "signal" and re.search(r"[*?\]]", e.target) for e in seen.effects):
        words = re.findall(r"[\w.-]{4,}", seen.call.arguments)
        if found := next((name for word in words if (name := seen.path.process(word))), ""):
            yield f"looks for {found}, a process of the kill path, to signal it"


@pattern("kill-path")
def services(seen: Seen) -> Iterator[str]:
    """Services and containers of the kill path that are stopped."""
    for effect in seen.effects:
        for name in stopped_services(effect):
            if found := seen.path.service(name):
                yield said(effect, f"stops {found}, a service of the kill path")
                break


_NO_ACTION = re.compile(
    r"\s*(?:(?::|true|echo\b[^;&|]*|printf\b[^;&|]*|logger\b[^;&|]*|continue|return(?:\s+0)?|sleep\b[^;&|]*|date\b[^;&|]*)"
    r"(?:\s*[;&|]+\s*|\s*$))*"
)
_NO_HANDLER = re.compile(r"lambda\b[^:]*:\s*(?:None|0|True|False|pass|print\(.*\)|\.\.\.)\s*$|"
                         r"function\s*\([^)]*\)\s*\{\s*\}?$|"
                         r"\([^)]*\)\s*=>\s*\{\s*\}?$|noop\b|sub\s*\{\s*\}?$")  # fmt: skip
_GOES_ON = re.compile(r"\b(?:exec|nohup|setsid|disown)\b|\$0|\bfork\b|os\.exec")


@pattern("kill-path")
def traps(seen: Seen) -> Iterator[str]:
    """SIGTERM that is ignored, or answered by anything but an end."""
    for effect in seen.effects:
        if effect.verb != "trap" or effect.target.removeprefix("SIG") not in ("TERM", "15", "*"):
            continue
        action = effect.content
        if action is None or action == REMOVED:
            continue
        idle = not action.strip() or _NO_ACTION.fullmatch(action) is not None
        body = _function(seen, action)
        if body is not None:
            idle = _idle(body)
        if idle or _NO_HANDLER.search(action) or _GOES_ON.search(body or action):
            yield said(effect, "ignores SIGTERM, so that only a kill ends it")


def _function(seen: Seen, name: str) -> str | None:
    """The body of the function that a trap calls."""
    found = [e for e in seen.effects if e.verb == "define" and e.target == name.strip() and e.content]
    return found[-1].content if found else None


def _idle(body: str | None) -> bool:
    """Whether a function has no command in it that does anything."""
    if body is None or PASSES_THROUGH.search(body):
        return False
    inner = re.sub(r"^\s*(?:(?:function\s+)?[\w.-]+\s*(?:\(\s*\))?\s*)?[{(]|[})]\s*$", "", body.strip())
    inner = re.sub(r"\bfalse\b", "true", inner)
    return _NO_ACTION.fullmatch(inner.strip().replace("\n", ";")) is not None


@pattern("kill-path")
def shadows(seen: Seen) -> Iterator[str]:
    """Another meaning for ``kill``, ``shutdown`` and the programs of the kill path."""
    folders = {
        folder
        for effect in seen.effects
        if effect.verb == "environment" and effect.target == "PATH"
        for folder in (effect.content or "").split(":")
    }
    for effect in seen.effects:
        target, content = effect.target, effect.content
        match effect.verb:
            case "define" | "alias":
                name = posixpath.basename(target)
                stops = seen.path.stopper(name) or name in ("systemctl", "service")
                if not stops or content in (None, REMOVED):
                    continue
                quiet = _idle(content) if effect.verb == "define" else _other(content, name)
                if quiet or seen.path.declared(target):
                    yield said(effect, f"gives {name} another meaning")
            case "environment":
                exported = EXPORTED.fullmatch(target)
                if exported and seen.path.stopper(exported[1]) and content != REMOVED:
                    yield said(effect, f"gives {exported[1]} another meaning")
                elif target in ("BASH_ENV", "ENV") and (content or "").startswith("/"):
                    yield said(effect, f"has every shell read {content} first")
                elif target in ("LD_PRELOAD", "LD_AUDIT") and content and _foreign(content):
                    yield said(effect, f"has every program load {content}")
            case "write" | "copy" | "link" | "move":
                folder, name = posixpath.split(target)
                source = effect.source or ""
                if (
                    effect.verb == "move"
                    and posixpath.basename(source) in STOPPERS
                    and source.startswith(SYSTEM)
                ):
                    yield said(effect, f"takes {source} away")
                base = posixpath.basename(folder)
                if seen.path.stopper(name) and (base in ("bin", "sbin") or folder in folders):
                    yield said(effect, f"puts {target} in front of {name}")
                elif target in ("/etc/ld.so.preload", "/etc/passwd", "/etc/sudoers"):
                    yield said(effect, f"changes {target}")
            case "delete" | "mode":
                if posixpath.basename(target) in STOPPERS and target.startswith(SYSTEM):
                    yield said(effect, f"takes {target} away")
            case "mount":
                if posixpath.basename(target) in STOPPERS:
                    yield said(effect, f"mounts over {target}")
            case _:
                pass


def _foreign(library: str) -> bool:
    """Whether a library is none of the system's."""
    return library != REMOVED and "/" in library and not library.startswith(SYSTEM)


def _other(body: str | None, name: str) -> bool:
    """Whether an alias no longer leads to the program of that name."""
    words = (body or "").split()
    return not (name in words or any(word.endswith("/" + name) for word in words))


PROXIES = frozenset(
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy NO_PROXY no_proxy NODE_USE_ENV_PROXY".split()
)
GATEWAY = re.compile(r"(?:OPENAI|ANTHROPIC|LITELLM|OPENROUTER|CODEX|CLAUDE|AZURE_OPENAI|GOOGLE_GEMINI|GEMINI)_"
                     r"(?:\w*_)?(?:BASE_URL|API_BASE|BASE|ENDPOINT|API_URL|PROXY)")  # fmt: skip
_LOOPBACK = re.compile(r"(?:\w+://)?(?:[^@/]*@)?(?:localhost|127\.[\d.]+|\[?::1\]?|0\.0\.0\.0)(?:[:/]|$)|/")
_NEARBY = re.compile(
    r"(?:localhost|127\.[\d.]+|\[?::1\]?|0\.0\.0\.0|\.?local|\.?internal|host\.docker\.internal)"
)

MODELS = re.compile(
    r"(?:^|[/@.])(?:api\.openai\.com|api\.anthropic\.com|[\w-]+\.openai\.azure\.com|generativelanguage\.googleapis\.com|"
    r"openrouter\.ai|api\.(?:groq|mistral|deepseek|together|x|perplexity|fireworks|cohere)\.\w+|api-inference\.huggingface\.co|"
    r"bedrock-runtime\.[\w.-]+)(?=[:/\s\"']|$)"
)
"""Hosts of model APIs, which the agent reaches through the gateway only."""


@pattern("kill-path")
def variables(seen: Seen) -> Iterator[str]:
    """Variables that lead to the gateway, or belong to the kill path."""
    near = _only_near(seen)
    for effect in seen.effects:
        if effect.verb != "environment":
            continue
        name, value = effect.target, effect.content
        if name in seen.path.variables:
            yield said(effect, f"changes {name}, a variable of the kill path")
        elif name in PROXIES or GATEWAY.fullmatch(name):
            if name.lower() == "no_proxy":
                hosts = re.split(r"[,\s]+", value or "")
                if value in (None, REMOVED, "") or all(not host or _NEARBY.fullmatch(host) for host in hosts):
                    continue
                yield said(effect, f"sets {name}, so that {value} is reached without the proxy")
            elif value in (REMOVED, ""):
                if not near:
                    yield said(effect, f"takes {name} away, which leads to the gateway")
            elif value is not None and not _LOOPBACK.match(value):
                yield said(effect, f"points {name} elsewhere")


_ENVIRONMENTS = re.compile(r"^/etc/environment$|/\.pam_environment$|/environment\.d/[\w.-]+$")


@pattern("kill-path")
def environments(seen: Seen) -> Iterator[str]:
    """Variables of the kill path in files from which environments are made."""
    for edit in [*((e.target, e.content or "") for e in seen.effects if e.verb in ("write", "append")),
                 *((e.path, e.added or e.after or "") for e in seen.edits)]:  # fmt: skip
        path, text = edit
        if _ENVIRONMENTS.search(path):
            for name in re.findall(r"^\s*(?:export\s+)?(\w+)=", text, re.M):
                if name in seen.path.variables or name in PROXIES or GATEWAY.fullmatch(name):
                    yield f"changes {name} in {path}"
        elif path == "/etc/hosts" and MODELS.search(text):
            yield f"leads {MODELS.search(text)[0].strip()} elsewhere"  # type: ignore[index]


_PAST = re.compile(
    r"(?:\s|^)(?:-x|--proxy|--preproxy|--socks\w*)[= ]?\s*(''|\"\"|[^\s-]\S*)|--noproxy[= ]?\s*['\"]?\*"
)


@pattern("kill-path")
def past_the_proxy(seen: Seen) -> Iterator[str]:
    """Requests that go another way than the one out of the sandbox."""
    for effect in seen.effects:
        found = _PAST.search(effect.text) if effect.verb == "execute" and effect.target == "curl" else None
        if found is None or _only_near(seen):
            continue
        if not _LOOPBACK.match((found[1] or "").strip("'\"") or "elsewhere"):
            yield said(effect, "goes past the proxy")


def _only_near(seen: Seen) -> bool:
    """Whether a call talks to this machine and to no other."""
    texts = [e.content or e.text for e in seen.effects if e.verb == "execute"]
    found = [host for text in texts for host in re.findall(r"(?:https?|wss?)://([^/\s'\":]+)", text)]
    plain = any(_NEARBY.search(text) for text in texts)
    return (bool(found) or plain) and all(_NEARBY.fullmatch(host) for host in found)


@pattern("kill-path")
def endpoints(seen: Seen) -> Iterator[str]:
    """Model APIs that are called beside the gateway."""
    for effect in seen.effects:
        if effect.verb in ("execute", "copy"):
            text = (
                f"{effect.target} {effect.content or effect.text}"
                if effect.verb == "execute"
                else effect.target
            )
            talks = (
                effect.verb == "copy" or posixpath.basename(effect.target) in _CLIENTS or "." in effect.target
            )
            if talks and (found := MODELS.search(text)) and "/docs" not in text:
                yield said(effect, f"calls {found.group().strip('/@.')} itself, beside the gateway")


_CLIENTS = frozenset("curl wget http https httpie xh nc ncat netcat openssl socat telnet".split())
_OFFSWITCH = frozenset("reset release renew policy adopt unlatch keys key approve sign order serve".split())
_AT_ONE = re.compile(r"(?:^|\s)(?:-t|--target[= ]|-t\s|--target\s|-p|--pid[= ]|-p\s|attach\s)\s*1(?:\s|$)")
_SETS_CLOCK = re.compile(
    r"^date .*(?:-s|--set)\b|^timedatectl .*(?:set-time|set-ntp)|^hwclock .*(?:-s|-w|--set|--hctosys)|"
    r"^ntpdate|^chronyc .*settime"
)
_WORKFLOW = re.compile(
    r"^workflow disable\s+(?:-\S+\s+)*(?P<file>[\w.-]+)|^api\b(?=.*(?:-X|--method)[= ]?(?:PUT|DELETE)).*"
    r"/actions/workflows/(?:(?P<id>[\w.-]+))"
)
_UNINSTALLS = re.compile(r"(?:^|\s)(?:uninstall|remove|rm|un)\s(?:.*\s)?@?offswitch\b")
_SOCKET = re.compile(
    r"/offswitch(?:-\d+)?/\S*|/docker\.sock|/podman\.sock|/containerd\.sock|/offswitch\S*\.sock|\bcontrol\.sock"
)


@pattern("kill-path")
def programs(seen: Seen) -> Iterator[str]:
    """offswitch's own commands and sockets, and what enters or traces the first process."""
    for effect in seen.effects:
        if effect.verb != "execute":
            continue
        name = posixpath.basename(effect.target)
        words = (effect.content or "").split()
        if name.startswith("python -m"):
            words = words[1:]
        if name in ("offswitch", "python -m offswitch") and words and words[0] in _OFFSWITCH:
            yield said(effect, f"asks offswitch to {words[0]}")
        elif name in ("gh", "glab") and (found := _WORKFLOW.search(" ".join(words))):
            file = f"{seen.path.cwd.rstrip('/')}/.github/workflows/{found['file'] or '*'}"
            if (
                seen.path.declared(file)
                or seen.path.service(found["file"] or "")
                or (not found["file"] and seen.path.above(posixpath.dirname(file)))
            ):
                yield said(effect, "switches off a workflow of the kill path")
        elif name in ("npm", "pnpm", "yarn", "pipx", "uv", "conda", "brew") and _UNINSTALLS.search(
            " ".join(words)
        ):
            yield said(effect, "uninstalls offswitch")
        elif name in ("gdb", "strace", "ltrace", "ptrace", "nsenter", "reptyr", "criu", "lldb"):
            if _AT_ONE.search(effect.content or ""):
                yield said(effect, f"takes hold of the first process with {name}")
        elif name in ("cgexec", "cgclassify", "cgset", "cgdelete", "cgcreate"):
            yield said(effect, f"moves between control groups with {name}")
        elif name in ("gdbus", "busctl", "dbus-send") and re.search(
            r"systemd1.*(?:Stop|Kill|Mask)", effect.content or ""
        ):
            yield said(effect, "has systemd stop something")
        elif name in ("date", "timedatectl", "hwclock", "ntpdate", "chronyc") and _SETS_CLOCK.search(
            f"{name} {effect.content}"
        ):
            yield said(effect, "sets the clock, by which leases end")
        elif name == "shutdown" and re.search(r"(?:^|\s)(?:-\w*c|--cancel)(?:\s|$)", effect.content or ""):
            yield said(effect, "cancels a shutdown that is due")
        if (found := _SOCKET.search(effect.content or effect.target)) and _speaks(name, effect):
            yield said(effect, f"talks to {found.group()}, which is outside of the sandbox")


def _speaks(name: str, effect: Effect) -> bool:
    return (
        name in _CLIENTS
        or name in ("docker", "podman", "crictl", "ctr")
        or effect.target.startswith("socket.")
    )

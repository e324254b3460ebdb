"""From what a user asks for to the plan of a run: what the agent may see and use, and what is refused at once.

A plan is a plain dictionary, which ``launching.launch`` takes. Nothing is started and nothing written here.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from offswitch.enforce import amounts
from offswitch.sandboxes.cells import gate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from offswitch.enforce.places import Places

LEASE = 3600
"""Seconds that an agent runs unless it is stated."""
MEMORY = 4 << 30
"""Bytes that an agent gets unless it is stated, or what the machine has, if that is less."""
PIDS = 512
LONGEST_LEASE = 24 * 3600
"""Seconds of the longest renewal, where no policy says and the lease itself was not longer."""
PROXY = 3128
"""Port inside, at the kind's gate, that leads to the proxy, where there is one."""
GATEWAY = 4127
"""Port inside, at the kind's gate, that leads to the gateway of model APIs, where there is one."""
WORKSPACE = "/workspace"
"""Where the agent sees its workspace."""

_PASSED = ("TERM", "COLORTERM", "LANG", "TZ", "NO_COLOR")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_DEFAULT_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_KERNEL = ("/proc", "/sys", "/dev")
_HOST = (*_SYSTEM, "/etc", "/boot", "/run", "/var")


class Refused(Exception):
    """What cannot be run like this; the message is one line that says what to do."""


def plan(
    places: "Places",
    argv: Sequence[str],
    *,
    name: str,
    sandbox: str = "bubblewrap",
    workspace: str | None = None,
    lease: float | None = None,
    memory: int | None = None,
    pids: int | None = None,
    policy: "Mapping[str, Any] | None" = None,
    policy_file: str | None = None,
    own: str = "",
    read: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    passed: Iterable[str] = (),
    options: "Mapping[str, Any] | None" = None,
    detached: bool = False,
    apis: Sequence[str] = (),
    decide_within: float | None = None,
    pin: str | None = None,
    metrics: str | None = None,
) -> "dict[str, Any]":
    """The plan of a run.

    Args:
        places: The operator's places: the agent is to see none of them.
        argv: The agent's command; a program that is found on the operator's PATH, or a path.
        name: The agent's name.
        sandbox: Kind of sandbox.
        workspace: Its folder on the host; None for the current one.
        lease: Seconds. None for the policy's, or an hour.
        memory: Bytes for all of it. None for the policy's, or 4 GiB, or what the machine has, if that is less.
        pids: Processes and threads. None for the policy's, or 512.
        policy: As ``policy.load`` returns; its limits bound what is asked for. None for no policy.
        policy_file: Where it was read from.
        own: Id of the operator's own key, which no policy can keep from stopping.
        read: Further folders and files that the agent may read.
        environment: Variables of the agent.
        passed: Names of variables of our own environment that it gets too.
        options: The sandbox's own settings.
        detached: Whether it runs on when the client ends.
        apis: Model APIs that the agent reaches through a gateway: ``NAME=URL`` (see ``watchdog.apis.parse``).
        decide_within: Seconds that a judgement of a tool call may take. None for the policy's, or 0.05.
        pin: File with what the model may be told. None for the policy's, or anything.
        metrics: Where the gateway answers Prometheus, as ``HOST:PORT`` of the host. None for the policy's, or nowhere.

    Raises:
        Refused: The workspace, a folder, a limit or the command will not do.
    """
    if not argv or not argv[0]:
        raise Refused(
            "no command was given: put it after --, as in offswitch run -- codex exec 'fix the test'"
        )
    if any("\0" in word for word in argv):
        raise Refused("the command holds a NUL, which no command can: remove it")
    rules: Mapping[str, Any] = policy or {}
    limits = rules.get("limits") or {}
    place = check_workspace(places, os.getcwd() if workspace is None else workspace)
    if policy_file is not None and _within(os.path.realpath(policy_file), place):
        raise Refused(
            f"the policy {policy_file} lies in the workspace, where the agent could change it: move it out of {place}"
        )
    folders = [_check_read(places, path) for path in (*rules.get("read", ()), *read)]
    lease_s = _bounded("--lease", lease, limits.get("lease"), LEASE, limits.get("lease_max"), amounts.spoken)
    hosts = list(rules.get("network", {}).get("hosts", ()))
    keys = rules.get("keys") or {"trusted": [], "needed": {}}
    bounds = {
        "memory": _bounded("--memory", memory, None, _usual_memory(), limits.get("memory"), amounts.rounded),
        "pids": _bounded("--pids", pids, None, PIDS, limits.get("pids"), str),
    }
    made: dict[str, Any] = {
        "name": name,
        "workspace": place,
        "read": list(dict.fromkeys(folders)),
        **{key: int(value) for key, value in bounds.items()},
        "lease_s": lease_s,
        "lease_max_s": limits.get("lease_max") or max(lease_s, LONGEST_LEASE),
        "sandbox": sandbox,
        "options": dict(options or {}),
        "hosts": hosts,
        "proxy": PROXY if hosts else None,
        "trusted": list(dict.fromkeys([*keys["trusted"], *([own] if own else [])])),
        "own": [own] if own else [],
        # Where others are named, the operator's own key stops like any, and counts for nothing else unless named.
        "loosening": list(keys["trusted"]) or ([own] if own else []),
        "needed": dict(keys["needed"]),
        "interrupt": rules.get("interrupt", ""),
        "detached": detached,
        "policy": None if policy is None else dict(policy),
        **_watched(rules.get("watch"), apis, decide_within, pin, metrics),
    }
    # Another root file system has programs of its own, which cannot be looked up here.
    shared_root = sandbox == "bubblewrap"
    command = resolve(argv[0], place, made["read"]) if shared_root else _in_workspace(argv[0], place)
    made["argv"] = [command, *argv[1:]]
    made["environment"] = {
        **_environment(rules, environment or {}, passed),
        **({} if not hosts else _proxied(sandbox)),
        **_led(made["apis"], sandbox),
    }
    for key in _withheld(made["apis"]):
        made["environment"].pop(key, None)
    made["files"] = _files(made["apis"], made["watch"], sandbox)
    if shared_root:
        made["environment"].setdefault("PATH", ":".join(_path(place, made["read"])))
    return made


def check_workspace(places: "Places", path: str) -> str:
    """The real path of a workspace.

    Raises:
        Refused: With it the agent could reach what must stay outside its reach, or it is no folder to work in.
    """
    real = os.path.realpath(path)
    if not os.path.isdir(real):
        raise Refused(f"the workspace {path} is not a folder: make it, or name another with --workspace")
    home = os.path.realpath(os.path.expanduser("~"))
    if real == "/" or _within(home, real):
        what = (
            "the whole file system"
            if real == "/"
            else "your home folder"
            if real == home
            else "your home folder too"
        )
        raise Refused(f"the workspace {real} is {what}: name a folder of the work alone with --workspace")
    for kernel in _KERNEL:
        if _within(real, kernel):
            raise Refused(
                f"the workspace {real} belongs to the kernel: name a folder of files with --workspace"
            )
    if real in _HOST or _within(real, "/etc") or _within(real, "/boot"):
        raise Refused(
            f"the workspace {real} belongs to the system: name a folder of the work with --workspace"
        )
    for own in (os.path.realpath(places.runtime), os.path.realpath(places.lasting)):
        if _within(own, real) or _within(real, own):
            raise Refused(
                f"the workspace {real} and offswitch's own files ({own}) lie in each other: name another folder "
                "with --workspace, or another for offswitch with --state"
            )
    for own in _own_code():
        if _within(own, real) or real == own:
            raise Refused(
                f"the workspace contains offswitch itself ({own}): the agent could change its own off-switch; "
                "name a folder of the work alone with --workspace"
            )
    if not os.access(real, os.R_OK | os.X_OK):
        raise Refused(
            f"the workspace {real} cannot be read: name a folder that you may enter with --workspace"
        )
    return real


def _check_read(places: "Places", path: str) -> str:
    real = os.path.realpath(path)
    if not os.path.exists(real):
        raise Refused(f"{path}, which the agent is to read, does not exist: take it out, or make it")
    if real == "/" or _within(os.path.realpath(os.path.expanduser("~")), real):
        raise Refused(
            f"to read all of {real} would show the agent your secrets: name the folders that it needs"
        )
    if any(_within(real, kernel) for kernel in _KERNEL):
        raise Refused(f"{real} belongs to the kernel and cannot be shown: take it out")
    for own in (os.path.realpath(places.runtime), os.path.realpath(places.lasting)):
        if _within(own, real) or _within(real, own):
            raise Refused(
                f"to read {real} would show the agent offswitch's keys ({own}): name a folder without them"
            )
    return real


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _own_code() -> list[str]:
    """Real paths of what offswitch runs from: its package, its Python, and where that finds its modules."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    # The first entry is where the command itself lies, or the current folder for `python -m`.
    places = [package, sys.prefix, sys.base_prefix, os.path.dirname(sys.executable), *sys.path[1:]]
    return list(dict.fromkeys(os.path.realpath(place) for place in places if place.startswith("/")))


def _bounded(
    option: str,
    asked: float | None,
    stated: float | None,
    usual: float,
    most: float | None,
    show: "Any",
) -> float:
    """What was asked for, else what the policy states, else what is usual; never more than the policy's most."""
    # Not "asked <= 0": what is no number at all (NaN) would be a lease that never ends.
    bound = amounts.LONGEST if option == "--lease" else amounts.LARGEST
    if asked is not None and not 0 < asked <= bound:
        raise Refused(f"{option} is above 0 and bounded, not {asked}")
    if asked is not None and most is not None and asked > most:
        raise Refused(
            f"{option} {show(asked)} is more than the policy's {show(most)}: ask for less, or change the policy"
        )
    if asked is not None:
        return asked
    if stated is not None:
        return stated
    # A memory or pids limit of a policy is also what is given; a longest lease only bounds the usual one.
    if option != "--lease" and most is not None:
        return most
    return usual if most is None else min(usual, most)


def _usual_memory() -> int:
    return min(MEMORY, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _environment(
    rules: "Mapping[str, Any]", stated: Mapping[str, str], passed: Iterable[str]
) -> dict[str, str]:
    own = os.environ
    found = {name: value for name, value in own.items() if name in _PASSED or name.startswith("LC_")}
    found |= {name: own[name] for name in rules.get("pass", ()) if name in own}
    found |= rules.get("environment", {})
    for name in passed:
        if name not in own:
            raise Refused(f"--env {name} is not set in your environment: set it, or write --env {name}=VALUE")
        found[name] = own[name]
    return {**found, **stated}


def _proxied(sandbox: str) -> dict[str, str]:
    address = f"http://{gate(sandbox)}:{PROXY}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    # Node's own fetch looks at the variables only when it is told to.
    return {**dict.fromkeys(names, address), "NO_PROXY": "", "no_proxy": "", "NODE_USE_ENV_PROXY": "1"}


def _watched(
    rules: "dict[str, Any] | None",
    stated: Sequence[str],
    within: float | None,
    pin: str | None,
    metrics: str | None,
) -> "dict[str, Any]":
    """What is watched: the model's calls, where an API is named, and the kill path's files, where rules name any."""
    if metrics is not None and not stated:
        raise Refused("--metrics goes with --model-api: the numbers are those of its gateway")
    if rules is None and not stated:
        if within is not None or pin is not None:
            raise Refused(
                "--decide-within and --pin go with --model-api: without one nothing is judged or recorded"
            )
        return {"apis": [], "gateway": None, "watch": None, "kill_path": []}
    # Here, for few agents are watched, and a start is to be quick.
    from offswitch.enforce.watchdog import apis, listening
    from offswitch.enforce.watchdog.rules import default

    try:
        given = [apis.parse(one) for one in stated]
        if metrics is not None:
            listening.parse(metrics)
    except apis.ApiError as error:
        raise Refused(str(error)) from None
    except listening.ListenError as error:
        raise Refused(f"--metrics: {error}") from None
    if len({api.name for api in given}) < len(given):
        raise Refused("each --model-api has a name of its own")
    watch = dict(rules or default())
    if within is not None:
        watch["decide_within"] = within
    told = watch["instructions"]
    if pin is not None or told["pin"]:
        watch["instructions"] = {**told, "pin": os.path.abspath(pin or told["pin"])}
    if metrics is not None:
        watch["metrics"] = metrics
    return {
        "apis": [(api.name, api.url) for api in given],
        "gateway": GATEWAY if given else None,
        "watch": watch,
        "kill_path": _in_the_workspace(watch["kill_path"]["files"]),
    }


def _in_the_workspace(files: Iterable[str]) -> list[str]:
    """The files of a kill path that lie in the workspace, from there; others the agent cannot change."""
    inside = [path.removeprefix(WORKSPACE + "/").removeprefix("./") for path in files]
    return [path.rstrip("/") for path in inside if not path.startswith(("/", "~"))]


def _led(apis: Sequence[tuple[str, str]], sandbox: str) -> dict[str, str]:
    """What leads the agent's clients to the gateway, and not by way of the proxy."""
    if not apis:
        return {}
    from offswitch.enforce.watchdog.apis import of, variables

    host = gate(sandbox)
    given = variables(of(apis), f"{host}:{GATEWAY}")
    return {**given, "NO_PROXY": host, "no_proxy": host}


def _withheld(apis: Sequence[tuple[str, str]]) -> Iterable[str]:
    """Variables that the agent does not get, whoever passes them."""
    if not apis:
        return ()
    from offswitch.enforce.watchdog.apis import of, withheld

    return withheld(of(apis))


def _files(apis: Sequence[tuple[str, str]], watch: "dict[str, Any]", sandbox: str) -> dict[str, str]:
    """What leads programs to the gateway that read no variable for it."""
    if not apis:
        return {}
    from offswitch.enforce.watchdog.apis import files, of
    from offswitch.enforce.watchdog.rules import Rules

    searches = Rules.of(watch).lets_execute("web_search")
    return files(of(apis), f"{gate(sandbox)}:{GATEWAY}", searches=searches)


# The command


def _visible(path: str, workspace: str, read: Sequence[str]) -> bool:
    return any(_within(path, place) for place in (*_SYSTEM, workspace, *read))


def _inside(path: str, workspace: str, read: Sequence[str] = ()) -> str:
    """Where a visible path of the host is for the agent."""
    if any(_within(path, place) for place in read) or not _within(path, workspace):
        return path
    return WORKSPACE + path[len(workspace) :]


def _in_workspace(command: str, workspace: str) -> str:
    if "/" not in command:
        return command
    real = os.path.realpath(command)
    return _inside(real, workspace)


def _path(workspace: str, read: Sequence[str]) -> list[str]:
    """The agent's PATH: the operator's entries that the agent can see, then the usual ones."""
    found = []
    for entry in os.environ.get("PATH", "").split(":"):
        real = os.path.realpath(entry) if entry.startswith("/") else ""
        if real and os.path.isdir(real) and _visible(real, workspace, read):
            found.append(_inside(real, workspace, read))
    return list(dict.fromkeys([*found, *_DEFAULT_PATH]))


def resolve(command: str, workspace: str, read: Sequence[str]) -> str:
    """Where the agent finds its program.

    Args:
        command: A name on the PATH, or a path.
        workspace: Real path of the workspace.
        read: Real paths that the agent may read.

    Returns:
        Its absolute path inside the sandbox.

    Raises:
        Refused: There is no such program, or the sandbox does not show it or its interpreter.
    """
    found = _find(command)
    if found is None:
        where = "no such file" if "/" in command else "it is not on your PATH"
        raise Refused(f"{command} cannot be run ({where}): install it, or write its path")
    inside = _shown(command, found, workspace, read)
    _check_interpreter(command, found, workspace, read)
    return inside


def _find(command: str) -> str | None:
    """Absolute path of a program: its folder is real, its own name may be a link, for programs look at theirs."""
    if "/" in command:
        candidates = [command]
    else:
        entries = os.environ.get("PATH", "").split(":") + list(_DEFAULT_PATH)
        candidates = [os.path.join(entry, command) for entry in entries if entry.startswith("/")]
    for path in candidates:
        if os.path.isfile(path) and os.access(path, os.X_OK):
            folder, base = os.path.split(os.path.abspath(path))
            return os.path.join(os.path.realpath(folder), base)
    return None


def _shown(command: str, found: str, workspace: str, read: Sequence[str]) -> str:
    """The path inside of a found program: as it is named, or, where its name is a link outside, what it leads to."""
    real = os.path.realpath(found)
    if _visible(real, workspace, read):
        # A link inside the workspace leads to a path of the host, which inside is somewhere else.
        linked = real != found and _within(real, workspace)
        return _inside(found if _visible(found, workspace, read) and not linked else real, workspace, read)
    raise Refused(
        f"{command} is {found}, which the sandbox does not show: add --read {_ancestor(found, real)}"
    )


def _ancestor(found: str, real: str) -> str:
    """What to show so that a program works: where it was installed, as long as that is not half of the home folder."""
    for path in (found, real):
        folder = os.path.dirname(path)
        prefix = os.path.dirname(folder) if os.path.basename(folder) in ("bin", "sbin", ".bin") else folder
        if _within(real, prefix) and not _too_much(prefix):
            return prefix
    folder = os.path.dirname(real)
    return real if _too_much(folder) else folder


def _too_much(folder: str) -> bool:
    home = os.path.realpath(os.path.expanduser("~"))
    shared = (
        home,
        f"{home}/.local",
        f"{home}/.local/share",
        f"{home}/.config",
        f"{home}/.cache",
        "/opt",
        "/var",
        "/tmp",
    )
    return _within(home, folder) or folder in shared or folder.count("/") < 2


def _check_interpreter(command: str, found: str, workspace: str, read: Sequence[str]) -> None:
    """A script needs its interpreter too, which the kernel would only report as "no such file"."""
    try:
        with open(found, "rb") as file:
            first = file.readline(256)
    except OSError:
        return  # to be run, a program need not be readable
    words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
    if not words:
        return
    interpreter = words[0]
    if os.path.basename(interpreter) == "env":
        named = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        if not named:
            return
        interpreter = named[0]
    where = _find(interpreter)
    if where is None:
        raise Refused(f"{command} is a script for {interpreter}, which is not installed: install it")
    if interpreter.startswith("/") and _inside(where, workspace, read) != where:
        raise Refused(
            f"{command} is a script for {where}, and the agent sees the workspace as {WORKSPACE}: "
            f"add --read {_ancestor(where, where)}"
        )
    folder, real = os.path.dirname(where), os.path.realpath(where)
    for path in (folder, real):
        if not _visible(path, workspace, read):
            raise Refused(
                f"{command} is a script for {where}, which the sandbox does not show: "
                f"add --read {_ancestor(where, real) if path == folder else _ancestor(real, real)}"
            )

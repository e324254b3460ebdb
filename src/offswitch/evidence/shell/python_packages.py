"""What calls of well-known packages do beside the standard library: runners, containers, clusters, requests."""

import posixpath
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from offswitch.evidence.shell.python_values import UNKNOWN, PathValue, Ref, seconds_of, text_of
from offswitch.evidence.shell.unknown import ANY, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.python import Program

_RUNNERS = frozenset(
    "invoke.run invoke.sudo pexpect.run pexpect.runu pexpect.spawn pexpect.spawnu delegator.run envoy.run "
    "fabric.api.run fabric.api.local fabric.api.sudo".split()
)
_SENDERS = frozenset(
    "requests.post requests.put requests.patch requests.get requests.request requests.delete".split()
)
_CONTAINER = re.compile(r"docker\.container:(.{1,200})\.(stop|kill|pause|remove|restart|unpause)", re.S)
_VERBS = {"stop": "stop", "kill": "kill", "pause": "pause", "remove": "rm", "remove_container": "rm"}
_WRITES_FIRST = frozenset(
    "to_csv to_json to_parquet to_pickle to_excel to_html savefig savetxt save_pretrained write_csv write_json".split()
)
_UNITS = {"StopUnit": "stop", "KillUnit": "kill", "MaskUnitFiles": "mask", "DisableUnitFiles": "disable"}
_SECRET = re.compile(
    r"^\$|/\.(?:ssh|aws|env|netrc|npmrc|pypirc|kube|docker|config/gh)\b|id_(?:rsa|ed25519)|credential|secret|token|\.pem$"
)

NOTHING = object()
"""For a call of which nothing is known here."""


def named_call(program: "Program", name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    """Call a function by its dotted name; `NOTHING` where it is none of these."""
    shell = program.shell

    def text(number: int, *names: str) -> str:
        if number < len(arguments):
            return text_of(arguments[number])
        return next((text_of(named[word]) for word in names if word in named), ANY)

    if name in _RUNNERS:
        shell.run_program_text(text(0, "command"))
        return NOTHING
    for package in ("sh.", "plumbum.cmd."):
        program_name = name.removeprefix(package)
        if program_name != name and re.fullmatch(r"\w{1,40}", program_name):
            words = [program_name.replace("_", "-"), *(text_of(word) for word in arguments)]
            shell.fork().command(words, functions=False, builtins=False)
            return ANY
    if name in ("docker.from_env", "docker.DockerClient", "docker.APIClient", "docker.client.from_env"):
        return Ref("docker.client")
    if name == "docker.client.containers.get":
        return Ref(f"docker.container:{text(0, 'container_id')}")
    if match := _CONTAINER.fullmatch(name):
        if match[2] in _VERBS:
            shell.emit("execute", "docker", content=f"{_VERBS[match[2]]} {match[1]}")
        return None
    if name.startswith("docker.client.") and (verb := _VERBS.get(name.rpartition(".")[2])):
        shell.emit("execute", "docker", content=f"{verb} {text(0, 'container')}")
        return None
    if name in ("urllib.request.urlretrieve", "wget.download"):
        if known(target := text(1, "filename", "out")):
            shell.overwrite(target, None)
        return NOTHING
    if name in ("numpy.savetxt", "numpy.save", "np.savetxt", "np.save"):
        shell.overwrite(text(0, "fname", "file"), None)
        return None
    if name in ("torch.save", "joblib.dump"):
        shell.overwrite(text(1, "f", "filename"), None)
        return None
    if (
        name.rpartition(".")[2] in ("OpenAI", "AsyncOpenAI", "Anthropic", "AsyncAnthropic")
        and "base_url" in named
    ):
        shell.emit("execute", name, content=text_of(named["base_url"]))
        return NOTHING
    if name == "signal.pause":
        shell.emit("sleep", "", content="inf")
        return None
    if name.startswith(("dns.resolver.", "socket.gethostby", "socket.getaddrinfo")):
        _send(program, text(0), 0)
        return NOTHING
    if name in _SENDERS or name in ("urllib.request.urlopen", "httpx.get", "httpx.post"):
        _in_address(
            program, text(1 if name.endswith(".request") else 0, "url"), 1 if name.endswith(".request") else 0
        )
        return NOTHING
    _handed_on(program, arguments)
    return NOTHING


def method_call(program: "Program", name: str, arguments: list[Any], named: dict[str, Any]) -> None:
    """Call a method of something that is not known, by what methods of that name do."""
    shell = program.shell
    first = text_of(arguments[0]) if arguments else ANY
    runs = name in ("exec_command", "exec_run", "sudo", "run_command")
    runs = runs or (name == "run" and "fabric" in str(program.scopes[0].get("Connection", "")))
    if runs and known(first) and first:
        shell.run_program_text(first)
    elif name in _UNITS and arguments:
        for unit in arguments[0] if isinstance(arguments[0], list) else [first]:
            shell.emit("execute", "systemctl", content=f"{_UNITS[name]} {text_of(unit)}")
    elif name.startswith(("delete_namespaced_", "delete_collection_namespaced_")):
        shell.emit("execute", "kubectl", content=f"delete {first}")
    elif re.match(r"(?:patch|replace)_namespaced_\w*scale$", name):
        shell.emit("execute", "kubectl", content=f"scale {first}")
    elif name == "new" and "command" in named and "CronTab" in program.scopes[0]:
        shell.emit("detach", "crontab", content=text_of(named["command"]))
    elif name in ("extractall", "extract"):
        place = named.get("path", arguments[0] if name == "extractall" and arguments else ".")
        shell.emit("write", f"{shell.path(text_of(place)).rstrip('/')}/{ANY}")
    elif name in _WRITES_FIRST:
        target = arguments[0] if arguments else named.get("path_or_buf", named.get("path"))
        if isinstance(target, str | PathValue) and known(text_of(target)):
            shell.overwrite(text_of(target), None)
    elif name == "remove" and named.get("working_tree") is True and isinstance(arguments[:1], list):
        from offswitch.evidence.shell.fileprograms import remove

        for path in arguments[0] if arguments and isinstance(arguments[0], list) else [first]:
            remove(shell, shell.path(text_of(path)))
    elif (
        name == "wait"
        and "threading" in program.scopes[0]
        and arguments
        and isinstance(arguments[0], int | float)
    ):
        shell.emit("sleep", "", content=seconds_of(arguments[0]))
    elif name in ("post", "put", "patch", "request", "urlopen"):
        place = 1 if name == "request" else 0
        url = text_of(arguments[place]) if place < len(arguments) else text_of(named.get("url", ANY))
        if re.match(r"https?://", url):
            _send(program, url, "data", "json", "files", "content", "body", "fields")
            _in_address(program, url, place)
    else:
        _handed_on(program, arguments)


def _send(program: "Program", host: str, *places: int | str) -> None:
    sources = frozenset[str]().union(*(program.given.get(place, frozenset()) for place in places))
    for source in sorted(sources):
        program.shell.emit("copy", host, source=source)


def _in_address(program: "Program", url: str, place: int) -> None:
    """What is secret and stands in an address goes where the address leads; names of packages and versions may."""
    if not re.match(r"https?://[^/\0]+[/?]", url):
        return
    for source in sorted(program.given.get(place, frozenset())):
        if _SECRET.search(source):
            program.shell.emit("copy", url, source=source)


def acting(name: str) -> bool:
    """Whether a function of the standard library changes files or ends processes."""
    from offswitch.evidence.shell import python_calls

    return python_calls.acts(name)


def _handed_on(program: "Program", arguments: list[Any]) -> None:
    """What is called with what follows it: ``pool.submit(os.remove, path)``, ``partial(os.remove, path)``."""
    for number, argument in enumerate(arguments[:3]):
        if isinstance(argument, Ref) and acting(argument.name) and number + 1 < len(arguments):
            rest = arguments[number + 1 :]
            if len(rest) == 1 and isinstance(rest[0], list | tuple):
                rest = list(rest[0])
            program.shell.doubt += 1
            flow = program.flow
            program.call(argument, rest, {})
            program.flow = flow
            program.shell.doubt -= 1
            return


def walked(program: "Program", top: Any, *_: Any) -> Any:
    """``os.walk``: what is known to be there, and a file of which nothing is known."""
    base = program.shell.path(text_of(top))
    if not known(base):
        return [(base, [ANY], [ANY])]
    rows: dict[str, list[str]] = {}
    for path in sorted(program.shell.files.under(base)):
        if not program.shell.files.is_directory(path):
            rows.setdefault(posixpath.dirname(path), []).append(posixpath.basename(path))
    return [*((folder, list[str](), names) for folder, names in rows.items()), (base, [ANY], [ANY])]


def first(program: "Program", values: Any, *default: Any, items: Callable[..., list[Any] | None]) -> Any:
    """``next``."""
    held = items(program, values)
    return held[0] if held else default[0] if default and held == [] else UNKNOWN

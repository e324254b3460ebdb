"""Programs that put files where others can fetch them: object stores, hubs, package registries, pastes; and DNS.

As in `network`, what is sent is a ``copy`` to what names the place; the path or name of the place alone is no upload.
"""

import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell.network import content, send, spelt
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.streams import Sources
from offswitch.evidence.shell.unknown import ANY

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status

_STORE = re.compile(r"(?:s3|gs|az|b2|hf|oss|cos|r2|minio|abfss?|wasbs?)://|https?://")


def _done(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    call.shell.emit("execute", call.name, content=" ".join(call.args) or None)
    call.out(ANY)
    call.shell.slow()
    return Status.UNKNOWN


def _file(call: Call, name: str) -> Sources:
    """Where what is named comes from: the standard input for a dash, else the file or folder."""
    return content(call, name) if name == "-" else frozenset([call.real(name)])


def _each(call: Call, place: str, names: list[str]) -> None:
    for name in names[:50]:
        send(call, place, _file(call, name))


@runs("aws gsutil gcloud s3cmd s5cmd azcopy b2 ossutil obsutil")
def store(call: Call) -> "Status":
    """``cp``, ``mv``, ``sync`` and ``put`` between this machine and an object store."""
    words = [word for word in call.args if not word.startswith("-")]
    for number, word in enumerate(words):
        if word in ("cp", "mv", "sync", "put", "rsync", "copy", "upload-file", "upload_file"):
            places = words[number + 1 :]
            far = [place for place in places if _STORE.match(place)]
            near = [place for place in places if not _STORE.match(place)]
            if places and far and (word in ("put", "upload-file") or _STORE.match(places[-1])):
                _each(call, far[-1], near)
            break
    if words[:2] == ["s3api", "put-object"]:
        values = _values(call.args)
        send(call, f"s3://{values.get('bucket', '*')}", _file(call, values.get("body", "-")))
    return _done(call)


def _values(args: list[str]) -> dict[str, str]:
    """Long options with their values."""
    found: dict[str, str] = {}
    for number, word in enumerate(args):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found[name] = value if equals else args[number + 1] if number + 1 < len(args) else ""
    return found


@runs("az")
def azure(call: Call) -> "Status":
    if "upload" in call.args or "upload-batch" in call.args:
        values = _values(call.args)
        name = values.get("file") or values.get("source") or next(
            (b for a, b in zip(call.args, call.args[1:], strict=False) if a in ("-f", "-s")), "-"
        )  # fmt: skip
        send(call, f"az://{values.get('account-name', '*')}", _file(call, name))
    return _done(call)


@runs("rclone mc")
def clone(call: Call) -> "Status":
    """``rclone copy HERE THERE:path``, ``mc cp HERE ALIAS/bucket``."""
    verbs = ("copy", "copyto", "sync", "move", "moveto", "cp", "mv", "mirror", "rcat", "pipe", "put")
    words = [word for word in call.args if not word.startswith("-")]
    if words and words[0] in verbs:
        places = words[1:]
        if words[0] in ("rcat", "pipe") and places:
            send(call, places[-1], _file(call, "-"))
        elif len(places) > 1 and _far(call, places[-1]):
            _each(call, places[-1], places[:-1])
    return _done(call)


def _far(call: Call, place: str) -> bool:
    """Whether a place is on another machine."""
    if call.name == "mc":
        return not place.startswith(("/", ".", "~"))
    return bool(re.match(r"[\w.-]+:", place)) and not place.startswith("/")


@runs("huggingface-cli hf")
def hub(call: Call) -> "Status":
    """``hf upload REPO [PATH]``."""
    words = [word for word in call.args if not word.startswith("-")]
    if words[:1] in (["upload"], ["upload-large-folder"]) and len(words) > 1:
        send(call, f"hf://{words[1]}", _file(call, words[2] if len(words) > 2 else "./"))
    return _done(call)


@runs("twine")
def registry(call: Call) -> "Status":
    """``twine upload FILES``."""
    words = [word for word in call.args if not word.startswith("-")]
    if words[:1] == ["upload"]:
        _each(call, _values(call.args).get("repository-url") or "pypi://upload", words[1:])
    return _done(call)


@runs("gh glab")
def forge(call: Call) -> "Status":
    """``gh gist create FILES``, ``gh release upload TAG FILES``, ``gh repo create --push``."""
    options = call.options("dfRr", "desc filename repo")
    words = options.operands
    if words[:2] in (["gist", "create"], ["snippet", "create"]):
        _each(call, "https://gist.github.com", words[2:] or ["-"])
    elif words[:2] == ["release", "upload"]:
        _each(call, f"https://github.com/{options.value('R', 'repo') or '*'}", words[3:])
    elif words[:2] == ["repo", "create"] and options.has("push"):
        send(call, "https://github.com/" + "".join(words[2:3]), _file(call, "./"))
    return _done(call)


@runs("docker podman nerdctl")
def containers(call: Call) -> "Status":
    """``docker push``, and a registry is where it ends up."""
    words = [word for word in call.args if not word.startswith("-")]
    if words[:1] == ["push"] or words[:2] in (["image", "push"], ["manifest", "push"]):
        call.shell.emit("copy", f"docker://{words[-1]}", source=words[-1])
    if words[:1] in (["ps"], ["container"]) and call.shell.files.bare:
        # The number of a container stands for its name.
        found = [arg.partition("name=")[2].strip("^$/") for arg in call.args if "name=" in arg]
        if found and "" not in found:
            from offswitch.evidence.shell.walk import Status

            call.out("".join(name + "\n" for name in found))
            return Status.UNKNOWN
    return _done(call)


@runs("kubectl oc")
def pods(call: Call) -> "Status":
    """``kubectl cp FILE POD:FILE``."""
    words = [word for word in call.args if not word.startswith("-")]
    if words[:1] == ["cp"] and len(words) > 2 and ":" in words[2] and ":" not in words[1]:
        call.shell.emit("copy", words[2], source=call.path(words[1]))
    return _done(call)


@runs("cargo gem poetry helm oras skopeo flit hatch")
def publish(call: Call) -> "Status":
    """Tools of languages that publish packages."""
    words = [word for word in call.args if not word.startswith("-")]
    if (
        call.name == "skopeo"
        and words[:1] == ["copy"]
        and len(words) > 2
        and words[2].startswith("docker://")
    ):
        call.shell.emit("copy", words[2], source=words[1])
    if words[:1] in (["publish"], ["push"]) and "--dry-run" not in call.args:
        call.shell.emit("copy", f"{call.name}://registry", source=call.shell.cwd)
    return _done(call)


@runs("croc wormhole magic-wormhole ffsend transfer onionshare-cli ipfs pastebinit")
def hand_over(call: Call) -> "Status":
    """Programs whose work it is to give a file to somebody."""
    words = [word for word in call.args if not word.startswith("-")]
    if words[:1] in (["send"], ["upload"], ["add"]):
        words = words[1:]
    elif call.name in ("croc", "wormhole", "magic-wormhole", "ffsend", "ipfs"):
        words = []
        return _done(call)
    _each(call, call.name, words or ["-"])
    return _done(call)


@runs("dig nslookup host drill resolvectl")
def lookup(call: Call) -> "Status":
    """A name that is looked up reaches the server of its domain."""
    for word in call.args:
        sources = spelt(call, word)
        if sources:
            send(call, word.lstrip("@"), sources)
    return _done(call)


@runs("ping ping6 traceroute")
def ping(call: Call) -> "Status":
    """``ping -p PATTERN HOST``: what is in the pattern goes there."""
    host = next((word for word in reversed(call.args) if not word.startswith("-")), "")
    for word in call.args:
        if sources := spelt(call, word):
            send(call, host, sources)
    return _done(call)

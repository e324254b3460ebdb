"""Programs that talk to other machines: what of files and of other programs' output they send there.

One rule for all: what a client reads from a file or from a pipe that a program fills, or is given in an argument
that was made of such, is a ``copy`` to the host. What the command spells out itself is not, nor is a plain request.
"""

import base64
import posixpath
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.streams import Sources
from offswitch.evidence.shell.textprograms import bytes_text
from offswitch.evidence.shell.unknown import ANY, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status

_NOTHING: Sources = frozenset()


def send(call: Call, host: str, *sources: Sources) -> None:
    """Add the effects of sending to ``host``."""
    for source in sorted(frozenset[str]().union(*sources)):
        call.shell.emit("copy", host, source=source)


def piped(call: Call) -> Sources:
    """Where the standard input comes from; reads it."""
    found = call.shell.stdin()
    found.all()
    return found.sources


def content(call: Call, name: str) -> Sources:
    """Where the content of a file comes from: itself, unless its name stands for a stream."""
    if name in ("-", "."):
        return piped(call)
    with call.shell.gathering() as sources:
        # An upload is told as such, without the read.
        path = call.real(name)
        if path in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"):
            return piped(call)
        if path.startswith("/dev/"):
            call.shell.read(name)
            return frozenset(sources)
    return frozenset([path])


def spelt(call: Call, text: str) -> Sources:
    """Where the text of an argument comes from."""
    drawn = call.shell.drawn
    found = drawn.get(text)
    if found is not None or not drawn or not text:
        return found or _NOTHING
    # An option with its value in the same word.
    return next((sources for word, sources in drawn.items() if word.endswith(text)), _NOTHING)


def local(url: str) -> str | None:
    """The path that a ``file:`` address means, or None."""
    return url.removeprefix("file:").removeprefix("//") if url.startswith("file:") else None


def _done(call: Call, *, output: bool = True) -> "Status":
    from offswitch.evidence.shell.walk import Status

    call.shell.emit("execute", call.name, content=" ".join(call.args))
    if output:
        call.out(ANY)
    call.shell.slow()
    return Status.UNKNOWN


_CURL = set("odFTHXuAbceKmrwxyYzCDEhjPQtU")
_CURL_LONG = set(
    "output data data-ascii data-binary data-raw data-urlencode form form-string upload-file header request user url "
    "max-time connect-timeout retry unix-socket cacert json user-agent referer cookie cookie-jar proxy cert key config "
    "range write-out resolve interface limit-rate retry-delay dump-header url-query output-dir".split()
)
_CURL_SHORT = {"d": "data", "F": "form", "T": "upload-file", "o": "output", "G": "get", "H": "header",
               "A": "user-agent", "e": "referer", "b": "cookie"}  # fmt: skip


def _curl_options(args: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The options with a value, in order and under their long names, and the addresses."""
    options: list[tuple[str, str]] = []
    urls: list[str] = []
    words = list(args)
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            name = word[2:]
            if name in _CURL_LONG:
                options.append((name, words.pop(0) if words else ""))
            else:
                options.append((name, ""))
        elif word.startswith("-") and len(word) > 1:
            for place, letter in enumerate(word[1:], 2):
                if letter in _CURL:
                    value = word[place:] or (words.pop(0) if words else "")
                    options.append((_CURL_SHORT.get(letter, letter), value))
                    break
                options.append((letter, ""))
        else:
            urls.append(word)
    return options, [value for name, value in options if name == "url"] + urls


_KEYS = re.compile(r"/\.ssh/|id_(?:rsa|ed25519|ecdsa)|/\.aws/|/\.env\b|/etc/shadow|\.pem$")


@runs("http https httpie xh xhs")
def httpie(call: Call) -> "Status":
    """``http POST URL``, with what it reads as the body."""
    words = [word for word in call.args if not word.startswith("-")]
    url = next((word for word in words if re.match(r"https?://|[\w-]+\.[\w.-]+(?:[:/]|$)|:\d", word)), "")
    if url and not url.startswith(":"):
        send(call, url, piped(call))
    return _done(call)


@runs("curl")
def curl(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options, urls = _curl_options(call.args)
    given = dict(options)
    url = urls[0] if urls else "curl"
    sources: list[Sources] = [spelt(call, address) for address in urls if "?" in address]
    for name, value in options:
        if name == "upload-file":
            sources.append(content(call, value))
        elif name in ("data", "data-ascii", "data-binary", "json") and value.startswith("@"):
            sources.append(content(call, value[1:]))
        elif name == "data-urlencode" and re.match(r"\w*@", value):
            sources.append(content(call, value.partition("@")[2]))
        elif name == "form" and (match := re.match(r"[^=]*=[@<]([^;,]+)", value)):
            sources.append(content(call, match.group(1)))
        elif name.startswith(("data", "form", "json", "url-query")):
            sources.append(spelt(call, value))
        elif name in ("header", "user-agent", "referer", "cookie"):
            # A token in a header is how one signs in; a key's file is not.
            sources.append(frozenset(one for one in spelt(call, value) if _KEYS.search(one)))
    path = local(url)
    url = url if known(url) else url.partition("?")[0]
    if "unix-socket" not in given:
        send(call, url if path is None else call.path(path), *sources)
    call.shell.emit("execute", "curl", content=" ".join(call.args))
    output = given.get("output")
    if "O" in given or "remote-name" in given:
        output = posixpath.basename(url) or ANY
    if output is not None and output != "-":
        call.shell.overwrite(output, None)
    else:
        call.out(ANY)
    call.shell.slow()
    return Status.UNKNOWN


@runs("wget")
def wget(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options(
        "OoaPtTUeiwQ", "output-document post-file post-data directory-prefix header body-file body-data method tries "
        "timeout user-agent"
    )  # fmt: skip
    url = options.operands[0] if options.operands else "wget"
    sources = [spelt(call, address) for address in options.operands if "?" in address]
    sources += [
        content(call, options.values[name]) for name in ("post-file", "body-file") if name in options.values
    ]
    sources += [
        spelt(call, options.values[name]) for name in ("post-data", "body-data") if name in options.values
    ]
    url = url if known(url) else url.partition("?")[0]
    send(call, url, *sources)
    call.shell.emit("execute", "wget", content=" ".join(call.args))
    output = options.value("O", "output-document")
    if output == "-":
        call.out(ANY)
    elif output is not None or not any("post" in name or "body" in name for name in options.values):
        base = output or posixpath.basename(url) or "index.html"
        call.shell.overwrite(posixpath.join(options.value("P", "directory-prefix") or "", base), None)
    call.shell.slow()
    return Status.UNKNOWN


@runs("nc ncat netcat nc.openbsd nc.traditional telnet")
def nc(call: Call) -> "Status":
    options = call.options(
        "wqipsxXeceIOTVmgGo" if call.name != "telnet" else "enlbS",
        "wait source source-port proxy proxy-type exec sh-exec max-conns idle-timeout delay",
    )
    listens = options.has("l", "listen", "z", "U", "unixsock")
    program = options.value("e", "exec", "c", "sh-exec")
    words = options.operands
    if program is not None and call.name != "telnet":
        with call.shell.gathering() as sources:
            call.shell.capture(lambda child: child.run_program_text(program, "sh"))
        sent = frozenset(sources)
    else:
        sent = piped(call)
    if words and not listens:
        send(call, ":".join(words[:2]), sent)
    return _done(call)


@runs("socat")
def socat(call: Call) -> "Status":
    sent: set[str] = set()
    hosts: list[str] = []
    for word in call.options("bTtlLhdD", "").operands[:2]:
        kind, _, rest = word.partition(":")
        kind, place = kind.upper(), rest.split(",")[0]
        if word.split(",")[0] == "-" or kind in ("STDIN", "STDIO"):
            sent |= piped(call)
        elif kind in ("FILE", "OPEN", "GOPEN") or (not rest and "/" in word):
            sent |= content(call, place or word.split(",")[0])
        elif kind in ("EXEC", "SYSTEM", "SHELL"):
            with call.shell.gathering() as sources:
                call.shell.capture(lambda child, text=place: child.run_program_text(text, "sh"))  # type: ignore[misc]
            sent |= sources
        elif (
            re.match(r"(TCP|UDP|SCTP|OPENSSL|SSL|SOCKS|PROXY)", kind)
            and "LISTEN" not in kind
            and "RECV" not in kind
        ):
            hosts.append(place)
    for host in hosts:
        send(call, host, frozenset(sent))
    return _done(call)


@runs("openssl")
def openssl(call: Call) -> "Status | None":
    if call.args[:1] == ["s_client"]:
        host = next(
            (b for a, b in zip(call.args, call.args[1:], strict=False) if a in ("-connect", "-host")), None
        )
        host = host or next((word for word in call.args[1:] if re.fullmatch(r"[\w.-]+:\d+", word)), None)
        sent = piped(call)
        if host is not None:
            send(call, host, sent)
        return _done(call)
    values = {a: b for a, b in zip(call.args, call.args[1:], strict=False) if a.startswith("-")}
    text = call.shell.read(values["-in"]) if "-in" in values else call.shell.stdin().all()
    decodes = call.args[:1] in (["base64"], ["enc"]) and "-d" in call.args
    decodes = decodes and (call.args[0] == "base64" or "-base64" in call.args or "-a" in call.args)
    result = ANY
    if decodes and known(text):
        try:
            result = bytes_text(base64.b64decode(re.sub(r"\s", "", text)))
        except ValueError:
            result = ANY
    if "-out" in values:
        call.shell.overwrite(values["-out"], result)
    else:
        call.out(result)
    return None


@runs("ssh slogin rsh dbclient sshpass")
def ssh(call: Call) -> "Status | None":
    if call.name == "sshpass":
        words = call.options("pfdeP", "", first=True).operands
        return call.shell.command(words, functions=False, builtins=False) if words else None
    options = call.options("BbcDEeFIiJLlmOopQRSWw", "", first=True)
    for arg in call.args:
        if found := re.match(r"(?:-o)?\s*(?:ProxyCommand|LocalCommand)[= ]\s*(.+)", arg, re.I):
            call.shell.run_program_text(found[1])
    sent = _NOTHING if options.has("n") else piped(call)
    if options.operands:
        send(call, options.operands[0], sent)
    return _done(call)


@runs("sftp ftp lftp tftp ncftpput")
def ftp(call: Call) -> "Status":
    options = call.options("bBcDFiJloPRSsXeufp", "")
    words = options.operands
    commands = options.value("e", "c") or ""
    if call.name == "ncftpput":
        for name in words[2:]:
            send(call, words[0], content(call, name))
        return _done(call)
    batch = options.value("b")
    with call.shell.gathering():
        commands += "\n" + (call.shell.stdin().all() if batch in (None, "-") else call.shell.read(str(batch)))
    host = words[0] if words else ""
    for line in re.split(r"[\n;]", commands[:20_000]):
        match = re.match(r"\s*(open|o|put|mput|send|append|reput|mirror\s+-R)\s+(?:-\w+\s+)*([^\s]+)", line)
        if match and match.group(1) in ("open", "o"):
            host = match.group(2)
        elif match and host:
            send(call, host, frozenset([call.path(match.group(2).strip("'\""))]))
    return _done(call)


@runs("mail mailx mutt sendmail msmtp ssmtp swaks")
def mail(call: Call) -> "Status":
    options = call.options("srcbaAqFf", "to attach server data")
    sent: Iterable[str] = piped(call)
    for name in (options.value("a"), options.value("A")):
        sent = [*sent, *(content(call, name) if name is not None else [])]
    for address in options.operands[:20]:
        if "@" in address:
            send(call, address, frozenset(sent))
    return _done(call, output=False)

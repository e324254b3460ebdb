"""Programs that run other programs."""

import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell.builtins import signal_name, unexport
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.streams import Input
from offswitch.evidence.shell.unknown import ANY, known, nothing

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status


def _run(call: Call, words: list[str], *, builtins: bool = False) -> "Status | None":
    if not words:
        return None
    return call.shell.command(words, functions=False, builtins=builtins)


@runs("env")
def env(call: Call) -> "Status | None":
    shell = call.shell
    words = list(call.args)
    saved, exported = dict(shell.variables), set(shell.exported)
    directory = shell.cwd
    while words:
        word = words[0]
        if re.match(r"[A-Za-z_]\w*=", word):
            name, _, value = word.partition("=")
            shell.exported.discard(name)
            shell.assign(name, value)
            shell.export(name)
        elif word in ("-u", "--unset") and len(words) > 1:
            words.pop(0)
            unexport(call, words[0])
            shell.variables[words[0]] = None
        elif word in ("-C", "--chdir") and len(words) > 1:
            words.pop(0)
            shell.cwd = shell.path(words[0])
        elif word in ("-S", "--split-string") and len(words) > 1:
            words[1:2] = words[1].split()
        elif word.startswith("-S"):
            words[1:1] = word[2:].split()
        elif word in ("-i", "-"):
            shell.exported = set()
        elif word.startswith("--ignore-signal="):
            for name in word.partition("=")[2].split(","):
                shell.emit("trap", signal_name(name), content="")
        elif not word.startswith("-"):
            break
        words.pop(0)
    if not words:
        call.out(ANY)
    status = _run(call, words)
    shell.variables, shell.exported, shell.cwd = saved, exported, directory
    return status


@runs("sudo doas pkexec runuser gosu su-exec chroot unshare nsenter fakeroot firejail bwrap")
def sudo(call: Call) -> "Status | None":
    valued = {
        "sudo": "ugpCDhrtTU",
        "doas": "uC",
        "runuser": "ugGc",
        "unshare": "SGRw",
        "nsenter": "tSG",
        "bwrap": "",
    }
    options = call.options(
        valued.get(call.name, ""), "user group host prompt chdir root target wd", first=True
    )
    words = options.operands
    if call.name == "nsenter":
        call.shell.emit("execute", "nsenter", content=" ".join(call.args) or None)
    if call.name == "runuser" and (command := options.value("c")):
        return call.shell.run_program_text(command)
    if call.name in ("gosu", "su-exec", "chroot"):
        words = words[1:]
    while words and call.name == "sudo" and re.match(r"[A-Za-z_]\w*=", words[0]):
        name, _, value = words[0].partition("=")
        call.shell.emit("environment", name, content=value)
        words = words[1:]
    if words[:1] == ["--"]:
        words = words[1:]
    if call.name == "sudo" and options.has("s", "i", "shell", "login") and not words:
        return call.shell.run_program_text(call.shell.stdin().all())
    return _run(call, words)


@runs("su")
def su(call: Call) -> "Status | None":
    options = call.options("csgG", "command shell group session-command")
    command = options.value("c", "command", "session-command")
    if command is None:
        command = call.shell.stdin().all()
        if nothing(command):
            return None
    return call.shell.run_program_text(command)


@runs("nice ionice stdbuf chrt taskset time unbuffer numactl cpulimit proxychains catchsegv eatmydata faketime prlimit "
      "systemd-inhibit setarch linux64 setpriv caffeinate torsocks trickle")  # fmt: skip
def nice(call: Call) -> "Status | None":
    valued = {"nice": "n", "ionice": "cnp", "stdbuf": "ioe", "time": "fo", "chrt": "", "taskset": "", "setpriv": "",
              "cpulimit": "lpe"}  # fmt: skip
    args = [arg for arg in call.args if not re.fullmatch(r"-\d+", arg)] if call.name == "nice" else call.args
    options = Call(call.shell, call.name, args).options(
        valued.get(call.name, ""), "adjustment class classdata reuid regid", first=True
    )
    words = options.operands
    if call.name in ("chrt", "taskset", "faketime", "setarch") and words:
        words = words[1:]
    return _run(call, words)


@runs("timeout")
def timeout(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    options = call.options("ks", "kill-after signal", first=True)
    log = call.shell.log
    begin, waited = len(log.effects), log.waits
    status = _run(call, options.operands[1:])
    bound = _seconds(options.operands[0]) if options.operands else None
    if bound:
        log.shorten(begin, bound)
        if log.waits and not waited and call.shell.files.bare:
            log.waits = False
            call.shell.emit("sleep", "", content=f"{bound:.12g}")
    return Status.UNKNOWN if status is not Status.OK else status


def _seconds(text: str) -> float | None:
    """A duration as ``sleep`` and ``timeout`` take it."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)", text)
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else None


@runs("flock")
def flock(call: Call) -> "Status | None":
    options = call.options("wEc", "timeout command", first=True)
    words = options.operands[1:]
    if words[:1] == ["-c"] and len(words) > 1:
        return call.shell.run_program_text(words[1])
    return _run(call, words)


@runs("nohup setsid daemonize daemon start-stop-daemon systemd-run screen tmux dtach abduco")
def detach(call: Call) -> "Status | None":
    shell = call.shell
    if call.name in ("screen", "tmux"):
        return _terminal(call)
    valued = {"daemonize": "aceoplu", "daemon": "nrp", "dtach": "nAcN", "abduco": "nAc"}.get(call.name, "")
    long = "unit uid gid property slice description working-directory exec startas pidfile user chuid name"
    words = call.options(valued, long, first=True).operands
    if call.name == "start-stop-daemon":
        options = call.options("xapucn", long)
        program = options.value("exec", "x", "startas", "a")
        words = [program, *options.operands] if program else []
    if call.name == "systemd-run" and any(arg in ("--scope", "--wait", "--pipe") for arg in call.args):
        return _run(call, words)
    if not words:
        return None
    shell.emit("detach", "", content=" ".join(words))
    if call.name == "nohup":
        output = shell.streams.get(1)
        if output is shell.terminal:
            shell.emit("append", shell.path("nohup.out"))
    status = _run(call, words)
    return None if call.name != "nohup" else status


def _terminal(call: Call) -> "Status | None":
    options = call.options("StsLcnxFef" if call.name == "screen" else "sntcxyF", "", first=True)
    words = options.operands
    if call.name == "tmux":
        if words and words[0].startswith("kill-"):
            call.shell.emit("execute", "tmux", content=" ".join(words))
        if not words or words[0] not in (
            "new",
            "new-session",
            "new-window",
            "neww",
            "send-keys",
            "send",
            "run-shell",
        ):
            return None
        inner = Call(call.shell, "tmux", words[1:]).options("sntcxyFe", first=True)
        if words[0] in ("new", "new-session") and not (inner.has("d") or options.has("d")):
            return None
        words = inner.operands
        if words and words[-1] in ("Enter", "C-m"):
            words = words[:-1]
    elif not (options.has("d", "D") and options.has("m")):
        return None
    if not words:
        return None
    call.shell.emit("detach", "", content=" ".join(words))
    if len(words) == 1:
        call.shell.run_program_text(words[0])
        return None
    _run(call, words)
    return None


@runs("xargs parallel")
def xargs(call: Call) -> "Status | None":
    shell = call.shell
    options = call.options(
        "IEdLnPsa", "replace delimiter max-args max-procs arg-file jobs", first=True, optional="i"
    )
    command = options.operands or ["echo"]
    source = options.value("a", "arg-file")
    text = shell.read(source) if source is not None else shell.stdin().all()
    delimiter = options.value("d", "delimiter")
    if delimiter is not None:
        items = text.rstrip("\n").split(delimiter.replace("\\n", "\n") or "\n")
    elif options.has("0", "null") or options.has("I"):
        items = [item.strip() for item in text.split("\n")]
    else:
        items = re.sub(r"(?<!\\)['\"]", "", text).split()
    items = [item for item in items if item]
    if not items and (options.has("r", "no-run-if-empty") or (text == "" and options.has("I"))):
        return None
    place = options.value("I", "replace") or ("{}" if options.has("i") else None)
    if call.name == "parallel" and place is None:
        place = "{}" if any("{}" in word for word in command) else None
        if place is None:
            command, place = [*command, "{}"], "{}"
    outer = shell.text
    shell.streams = {**shell.streams, 0: Input("")}
    status: Status | None = None
    unsure = not known(text)
    if place is not None:
        for item in items[:200]:
            status = _run(call, [word.replace(place, item) for word in command])
            shell.text = outer
    else:
        count = options.value("n", "max-args", "L")
        size = int(count) if count and count.isdigit() and int(count) > 0 else max(len(items), 1)
        for start in range(0, max(len(items), 1), size):
            if start // size > 200:
                shell.give_up()
                break
            status = _run(call, [*command, *items[start : start + size]])
            shell.text = outer
    from offswitch.evidence.shell.walk import Status as S

    return S.UNKNOWN if unsure else status


@runs("busybox toybox")
def busybox(call: Call) -> "Status | None":
    if call.args and not call.args[0].startswith("-"):
        return _run(call, call.args, builtins=True)
    call.out()
    return None


@runs("watch")
def watch(call: Call) -> "Status | None":
    options = call.options("n", "interval", first=True)
    text = " ".join(options.operands)
    return call.shell.run_program_text(text) if text else None

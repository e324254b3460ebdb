"""Programs that signal, watch and outlive processes."""

import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell.builtins import signal_name
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.unknown import ANY, known, process_pattern, processes, shown

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status


@runs("kill")
def kill(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    words = list(call.args)
    signal = "TERM"
    if words and words[0] in ("-l", "-L", "--list", "--table"):
        call.out()
        return None
    if words and words[0] in ("-s", "-n", "--signal", "-q") and len(words) > 1:
        signal = signal_name(words[1])
        words = words[2:]
    elif words and words[0].startswith("--signal="):
        signal = signal_name(words[0].partition("=")[2])
        words = words[1:]
    elif (
        words
        and re.fullmatch(r"-[A-Za-z][A-Za-z0-9]*|-\d{1,2}", words[0])
        and (len(words) > 1 or words[0] != "-1")
    ):
        signal = signal_name(words[0][1:])
        words = words[1:]
    words = [word for word in words if word != "--"]
    if signal in ("EXIT", "0"):
        return Status.UNKNOWN
    for word in words:
        call.shell.emit("signal", process(word), content=signal)
    return None


def process(word: str) -> str:
    """What stands for a process: its number, a job, or the pattern that found it."""
    pattern = process_pattern(word)
    return f"pattern:{pattern}" if pattern is not None else word


@runs("pkill killall killall5 skill snice")
def pkill(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    signal = "TERM"
    words: list[str] = []
    valued = "gGPstuUFnr" if call.name == "pkill" else "souyZn"
    names = list(call.args)
    user: str | None = None
    pattern = "pattern:"
    flags: set[str] = set()
    while names:
        word = names.pop(0)
        if word in ("--signal", "-s") and names and (word == "--signal" or call.name != "pkill"):
            signal = signal_name(names.pop(0))
        elif word.startswith("--signal="):
            signal = signal_name(word.partition("=")[2])
        elif re.fullmatch(
            r"-(\d{1,2}|(SIG)?(HUP|INT|QUIT|KILL|TERM|STOP|CONT|USR1|USR2|ABRT|ALRM|TSTP))", word
        ):
            signal = signal_name(word[1:])
        elif (
            re.fullmatch(r"-[a-zA-Z]", word)
            and word[1] in valued
            and word not in ("-n", "-r", "-F")
            and names
        ):
            value = names.pop(0)
            if word in ("-u", "-U", "-P", "-t", "-g", "-G"):
                user = f"{word} {value}"
        elif word.startswith("-"):
            flags |= {word[2:]} if word.startswith("--") else set(word[1:])
        else:
            words.append(word)
    if call.name == "killall5":
        words = ["-1"]
    if call.name == "pkill" and user is None and _oldest_of_all(flags, [], words):
        words, pattern = ["1"], ""
    if not words and user is not None:
        words = [user]
    if signal in ("EXIT", "0"):
        return Status.UNKNOWN
    for word in words:
        call.shell.emit("signal", word if word == "-1" else f"{pattern}{word}", content=signal)
    return Status.UNKNOWN


@runs("fuser")
def fuser(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options("n", "namespace")
    signals = [arg for arg in call.args if re.fullmatch(r"-[A-Z][A-Z0-9]+|-\d+", arg)]
    if options.has("k", "kill"):
        for name in options.operands:
            target = call.path(name) if "/" in name and not re.fullmatch(r"\d+/(tcp|udp)", name) else name
            call.shell.emit(
                "signal", f"pattern:{target}", content=signal_name(signals[0][1:]) if signals else "KILL"
            )
    else:
        call.out(processes(options.operands[0]) if options.operands else ANY)
    return Status.UNKNOWN


@runs("pgrep pidof")
def pgrep(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options("gGPtuUFds", "parent group pgroup euid uid terminal session pidfile delimiter")
    words = [word for word in options.operands if known(word)]
    if call.name == "pgrep" and _oldest_of_all(options.flags, list(options.values), words):
        call.out("1\n")
        return Status.LIKELY
    call.out(processes(words[-1]) if words else ANY)
    return Status.UNKNOWN


def _oldest_of_all(flags: set[str], chosen: list[str], words: list[str]) -> bool:
    """Whether ``pgrep`` is asked for the oldest of all processes, which is the first."""
    plain = flags <= {"o", "oldest", "f", "full", "q"} and not chosen
    return plain and bool(flags & {"o", "oldest"}) and words in ([""], ["."], [".*"], ["^"])


@runs("ps pstree top htop")
def ps(call: Call) -> None:
    if "-C" in call.args[:-1]:
        call.out(processes(call.args[call.args.index("-C") + 1]))
        return
    call.out("1\n\0ps\0" if call.name == "ps" and _numbers_in_order(call.args) else "\0ps\0")


def _numbers_in_order(args: list[str]) -> bool:
    """Whether ``ps`` lists the numbers of all processes alone, from the lowest: the first of them is 1."""
    everyone, bare, headed = False, False, True
    words = list(args)
    while words:
        word = words.pop(0)
        if word in ("--no-headers", "--no-heading", "--noheaders", "h"):
            headed = False
        elif re.fullmatch(r"--sort=\+?(pid|start_time|lstart|start)", word):
            continue
        elif word == "--sort" and words and re.fullmatch(r"\+?(pid|start_time|lstart|start)", words[0]):
            words.pop(0)
        elif match := re.fullmatch(r"-?([eAax]*)o?(pid=?)?", word):
            everyone = everyone or bool(re.search(r"[eA]", match.group(1))) or {*"ax"} <= set(match.group(1))
            column = match.group(2)
            if column is None and word.endswith("o") and words:
                column = words.pop(0)
            if column is not None:
                if column not in ("pid", "pid="):
                    return False
                bare, headed = True, headed and column == "pid"
        else:
            return False
    return everyone and bare and not headed


@runs("lsof")
def lsof(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    words = [word for word in call.args if not re.fullmatch(r"-[a-zA-Z]+", word)]
    call.out(processes(words[-1]) if words else "\0ps\0")
    return Status.UNKNOWN


@runs("sleep usleep")
def sleep(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    total = 0.0
    sure = True
    for word in call.args:
        match = re.fullmatch(r"(\d{0,12}(?:\.\d{1,9})?|inf(?:inity)?)([smhd]?)", word)
        if not match or not match.group(1) or match.group(1) == ".":
            sure = False
            break
        total += float(match.group(1)) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match.group(2)]
    if not call.args:
        return Status.FAIL
    if call.name == "usleep":
        total /= 1e6
    call.shell.emit("sleep", "", content=f"{total:.12g}" if sure else None)
    call.shell.slow()
    return Status.OK if sure else None


@runs("crontab")
def crontab(call: Call) -> None:
    shell = call.shell
    options = call.options("u")
    if options.has("l"):
        call.out()
        return
    if options.has("r"):
        shell.emit("delete", f"/var/spool/cron/crontabs/{shown(shell.home).rsplit('/', 1)[-1]}")
        return
    names = options.operands
    text = shell.stdin().all() if not names or names[0] == "-" else shell.read(names[0])
    shell.emit("detach", "crontab", content=text)
    for line in text.splitlines()[:100]:
        match = (
            re.match(r"\s*(?:@\w+|(?:[\d*/,-]+\s+){4}[\w*/,-]+)\s+(.+)", line) if len(line) < 4000 else None
        )
        if match and known(match.group(1)):
            later(call, match.group(1))


def later(call: Call, text: str) -> None:
    """Follow a command that something else will run, perhaps."""
    shell = call.shell
    shell.doubt += 1
    child = shell.fork()
    child.subshell = False
    child.run_program_text(text)
    shell.doubt -= 1


@runs("at batch")
def at(call: Call) -> None:
    options = call.options("fqt")
    if options.has("l", "r", "d", "c"):
        call.out()
        return
    name = options.value("f")
    text = call.shell.read(name) if name is not None else call.shell.stdin().all()
    call.shell.emit("detach", "at", content=text)
    if known(text):
        later(call, text)


@runs("shutdown poweroff reboot halt init telinit systemctl service loginctl")
def power(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    shell = call.shell
    words = [word for word in call.args if not word.startswith("-")]
    if call.name == "systemctl" and words[:1] in (
        ["status"],
        ["list-units"],
        ["is-active"],
        ["cat"],
        ["show"],
    ):
        call.out()
        return Status.UNKNOWN
    shell.emit("execute", call.name, content=" ".join(call.args) or None)
    if call.name == "systemctl" and words[:1] in (["stop"], ["kill"], ["disable"], ["mask"]):
        for unit in words[1:]:
            shell.emit("signal", f"pattern:{unit}", content="TERM")
    call.out()
    shell.slow()
    return Status.UNKNOWN


@runs("gdb strace ltrace ptrace")
def traces(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options("pxoe", "pid ex args eval-command", first=True)
    pid = options.value("p", "pid")
    call.shell.emit("execute", call.name, content=" ".join(call.args) or None)
    if pid is not None:
        call.shell.emit("signal", process(pid), content="STOP")
    elif options.operands:
        call.shell.command(options.operands, functions=False, builtins=False)
    return Status.UNKNOWN

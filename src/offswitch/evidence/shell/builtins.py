"""The shell's own commands."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from offswitch.evidence.shell.registry import PROGRAMS, Call, Handler, runs
from offswitch.evidence.shell.unknown import ANY, NAME, known, literal, nothing
from offswitch.evidence.shell.words import escapes

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status

REMOVED = "-"
"""The content of an effect that takes a name away again, as of ``trap -``."""

SHELL_ONLY: set[Handler] = set()
NAMES: set[str] = {"[", "test", "echo", "printf", "kill", "pwd", "true", "false"}


def builtin(names: str) -> Callable[[Handler], Handler]:
    """Make a function the handler of builtins that no file stands for."""
    NAMES.update(names.split())

    def add(handler: Handler) -> Handler:
        SHELL_ONLY.add(handler)
        return runs(names)(handler)

    return add


def _ok() -> "Status":
    from offswitch.evidence.shell.walk import Status

    return Status.OK


def _fail() -> "Status":
    from offswitch.evidence.shell.walk import Status

    return Status.FAIL


@runs("true :")
def true(call: Call) -> "Status":
    return _ok()


NAMES.add(":")


@runs("false")
def false(call: Call) -> "Status":
    return _fail()


@runs("echo")
def echo(call: Call) -> "Status":
    words = list(call.args)
    newline, escaped = True, "xpg_echo" in call.shell.options
    while words and re.fullmatch(r"-[neE]+", words[0]):
        flags = words.pop(0)
        newline = newline and "n" not in flags
        escaped = "e" in flags or (escaped and "E" not in flags)
    text = literal(" ".join(words))
    text = " ".join(words) if text is None else text
    if escaped:
        text, stop, _ = text.partition("\\c")
        newline = newline and not stop
        text = escapes(text, octal_zero=True)
    call.out(text + ("\n" if newline else ""))
    return _ok()


@runs("printf")
def printf(call: Call) -> "Status":
    args = list(call.args)
    variable = None
    if args[:1] == ["-v"] and len(args) > 1:
        variable = args[1]
        args = args[2:]
    if args[:1] == ["--"]:
        args = args[1:]
    if not args:
        return _fail()
    text = _format(args[0], args[1:]) if known(args[0]) else ANY
    if variable:
        call.shell.assign(variable, text)
    else:
        call.out(text)
    return _ok()


_DIRECTIVE = re.compile(r"%(%|[-+ #0]*(\d*|\*)(?:\.\d+)?([diouxXeEfFgGcsbq]|\([^)]*\)T))")


def _format(template: str, args: list[str]) -> str:
    out: list[str] = []
    left = [literal(arg) if literal(arg) is not None else arg for arg in args]
    while True:
        used = False
        place = 0
        for match in _DIRECTIVE.finditer(template):
            out.append(escapes(template[place : match.start()]))
            place = match.end()
            if match.group(1) == "%":
                out.append("%")
                continue
            kind = match.group(3)
            value = left.pop(0) if left else ("0" if kind in "diouxXeEfFgG" else "")
            used = True
            assert value is not None
            if ANY in value or match.group(2) == "*" or len(match.group(2) or "") > 4:
                out.append(ANY)
            elif kind == "s":
                out.append(("%" + match.group(1)[:-1] + "s") % value if len(match.group(1)) < 12 else ANY)
            elif kind == "b":
                out.append(escapes(value, octal_zero=True))
            elif kind == "c":
                out.append(value[:1])
            elif kind in "dioxXu" and re.fullmatch(r"[-+]?\d{1,18}", value) and len(match.group(1)) < 12:
                out.append(("%" + match.group(1).replace("u", "d")) % int(value))
            else:
                out.append(ANY)
        out.append(escapes(template[place:]))
        if not left or not used or len(out) > 4000:
            return "".join(out)


@builtin("cd pushd")
def cd(call: Call) -> "Status | None":
    shell = call.shell
    words = [word for word in call.args if word not in ("-P", "-L", "-e", "--", "-n")]
    if not words:
        target = shell.value("HOME") or shell.home
    elif words[0] == "-":
        target = shell.value("OLDPWD")
    else:
        target = words[0]
    if call.name == "pushd":
        shell.directories = [*shell.directories, shell.cwd]
    path = shell.path(target) if known(target) else ANY
    if known(path) and shell.files.exists(path) is False:
        return _fail()
    shell.variables["OLDPWD"] = shell.cwd
    shell.cwd = path
    shell.variables["PWD"] = path
    return _ok() if known(path) and shell.files.is_directory(path) else None


@builtin("popd")
def popd(call: Call) -> "Status | None":
    shell = call.shell
    shell.cwd = shell.directories[-1] if shell.directories else ANY
    shell.directories = shell.directories[:-1]
    shell.variables["PWD"] = shell.cwd
    return None


@runs("pwd")
def pwd(call: Call) -> "Status":
    call.out(call.shell.cwd + "\n")
    return _ok()


@builtin("dirs")
def dirs(call: Call) -> "Status":
    call.out()
    return _ok()


@builtin("exit logout")
def leave(call: Call) -> "Status":
    shell = call.shell
    shell.leaving = call.args[0] if call.args else None
    if shell.leaving is None and shell.status.name in ("OK", "FAIL"):
        shell.leaving = "0" if shell.status.name == "OK" else None
    shell.flow = "exit"
    return shell.status if shell.leaving is None else _ok() if shell.leaving == "0" else _fail()


@builtin("return")
def return_(call: Call) -> "Status":
    shell = call.shell
    if not shell.calls:
        return _fail()
    shell.leaving = call.args[0] if call.args else None
    shell.flow = "return"
    return shell.status if shell.leaving is None else _ok() if shell.leaving == "0" else _fail()


@builtin("break continue")
def break_(call: Call) -> "Status":
    shell = call.shell
    if not call.shell.loops:
        return _ok()
    count = call.args[0] if call.args else "1"
    shell.levels = int(count) if count.isdigit() and 0 < int(count[:4]) < 100 else 1
    shell.flow = call.name
    return _ok()


@builtin("export declare typeset readonly local")
def declare(call: Call) -> "Status":
    shell = call.shell
    flags = "".join(word[1:] for word in call.args if re.fullmatch(r"[-+][A-Za-z]+", word))
    names = [word for word in call.args if not re.fullmatch(r"[-+][A-Za-z]+", word)]
    if not names or "p" in flags:
        call.out()
        return _ok()
    if "f" in flags or "F" in flags:
        for name in names:
            if ((call.name == "export" and "n" not in flags) or "x" in flags) and name in shell.functions:
                variable = f"BASH_FUNC_{name}%%"
                shell.exported.add(variable)
                shell.emit("environment", variable, content=shell.functions[name].body.text)
            elif call.name == "export" and "n" in flags:
                unexport(call, f"BASH_FUNC_{name}%%")
        return _ok()
    exports = (call.name == "export" and "n" not in flags) or "x" in flags
    for word in names:
        match = re.match(r"([A-Za-z_]\w*)(\+?=)?", word)
        if not match:
            continue
        name = match.group(1)
        local = call.name == "local" or (call.name in ("declare", "typeset") and "g" not in flags)
        if local and shell.locals is not None and name not in shell.locals:
            shell.locals[name] = shell.variables.get(name)
        was_exported = name in shell.exported
        shell.exported.discard(name)
        if match.group(2):
            value = word[match.end() :]
            if match.group(2) == "+=":
                value = shell.value(name) + value
            shell.assign(name, ANY if "i" in flags and not value.isdigit() else value)
        elif call.name == "local" and name not in shell.variables:
            shell.variables[name] = ""
        if exports or (was_exported and "n" not in flags):
            shell.export(name)
        elif was_exported:
            shell.emit("environment", name, content=REMOVED)
    return _ok()


@builtin("unset")
def unset(call: Call) -> "Status":
    shell = call.shell
    for name in call.args:
        if name.startswith("-"):
            continue
        if "-f" in call.args or (name not in shell.variables and name in shell.functions):
            if shell.functions.pop(name, None) is not None:
                shell.emit("define", name, content=REMOVED)
                unexport(call, f"BASH_FUNC_{name}%%")
        else:
            unexport(call, name)
            shell.variables[name] = None
    return _ok()


def unexport(call: Call, name: str) -> None:
    """What was exported is so no longer."""
    if name in call.shell.exported:
        call.shell.exported.discard(name)
        call.shell.emit("environment", name, content=REMOVED)


@builtin("alias")
def alias(call: Call) -> "Status":
    for word in call.args:
        name, equals, body = word.partition("=")
        if equals:
            if known(name):
                call.shell.aliases[name] = body if known(body) else ""
            call.shell.emit("alias", name, content=body)
    return _ok()


@builtin("unalias")
def unalias(call: Call) -> "Status":
    for name in call.args:
        if not name.startswith("-"):
            call.shell.aliases.pop(name, None)
            call.shell.emit("alias", name, content=REMOVED)
        elif name == "-a":
            for known_name in list(call.shell.aliases):
                call.shell.emit("alias", known_name, content=REMOVED)
            call.shell.aliases.clear()
    return _ok()


@builtin("hash")
def hash_(call: Call) -> "Status":
    options = call.options("p")
    hashed = [name.removeprefix("hash ") for name in call.shell.variables if name.startswith("hash ")]
    gone = hashed if options.has("r") else options.operands if options.has("d") else []
    for name in gone:
        if call.shell.variables.pop("hash " + name, None) is not None:
            call.shell.emit("alias", name, content=REMOVED)
    if gone:
        return _ok()
    path = options.value("p")
    if path is not None:
        for name in options.operands:
            call.shell.emit("alias", name, content=path)
            call.shell.variables["hash " + name] = call.path(path)
    return _ok()


@builtin("enable")
def enable(call: Call) -> "Status":
    options = call.options("f")
    if options.has("n", "f", "d"):
        for name in options.operands:
            call.shell.emit("alias", name, content=" ".join(["enable", *call.args]))
            call.shell.variables["enable " + name] = "n"
    else:
        for name in options.operands:
            if call.shell.variables.pop("enable " + name, None) is not None:
                call.shell.emit("alias", name, content=REMOVED)
    return _ok()


@builtin("set")
def set_(call: Call) -> "Status":
    shell = call.shell
    words = list(call.args)
    if not words:
        call.out()
    while words and re.match(r"[-+]", words[0]):
        word = words.pop(0)
        if word in ("--", "-"):
            shell.positional = words
            return _ok()
        change = shell.options.add if word[0] == "-" else shell.options.discard
        for letter in word[1:]:
            if letter == "o":
                name = words.pop(0) if words else ""
                if name == "history" and word[0] == "+":
                    shell.emit("execute", "set", content="+o history")
                change({"errexit": "e", "noexec": "n", "noglob": "f"}.get(name, name))
            else:
                change(letter)
    if words:
        shell.positional = words
    return _ok()


@builtin("shopt")
def shopt(call: Call) -> "Status":
    options = call.options()
    for name in options.operands:
        if options.has("s"):
            call.shell.options.add(name)
        elif options.has("u"):
            call.shell.options.discard(name)
    return _ok()


@builtin("shift")
def shift(call: Call) -> "Status":
    count = int(call.args[0][:4]) if call.args and call.args[0].isdigit() else 1
    if count > len(call.shell.positional):
        return _fail()
    call.shell.positional = call.shell.positional[count:]
    return _ok()


@builtin("read mapfile readarray")
def read(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    shell = call.shell
    options = call.options("adinNptu")
    names = options.operands or ["REPLY"]
    if call.name != "read":
        name = (call.options("dnOsCcu").operands or ["MAPFILE"])[0]
        text = shell.stdin().all()
        shell.assign(name, text.splitlines() if ANY not in text else ANY)
        return Status.OK
    if options.has("u", "n", "N", "d"):
        text = shell.stdin().all() if not options.has("u") else ANY
        if options.value("d") == "" and known(text):
            shell.assign(names[0], text)
        else:
            for name in names:
                shell.assign(name, ANY)
        return Status.UNKNOWN
    line = shell.stdin().line()
    if line is None:
        for name in names:
            shell.assign(name, "")
        return Status.FAIL
    array = options.value("a")
    if array is not None:
        shell.assign(array, line.split() if known(line) else ANY)
        return Status.OK if known(line) else Status.UNKNOWN
    separators = shell.variables.get("IFS")
    if not known(line) or not isinstance(separators, str):
        for name in names:
            shell.assign(name, line if len(names) == 1 and not nothing(line) else ANY)
        return Status.UNKNOWN
    if len(names) == 1:
        shell.assign(names[0], line.strip(" \t") if " " in separators else line)
        return Status.OK
    if separators.strip():
        parts = line.split(separators.strip()[0], len(names) - 1)
    else:
        parts = line.split(None, len(names) - 1)
    for number, name in enumerate(names):
        shell.assign(name, parts[number] if number < len(parts) else "")
    return Status.OK


@builtin("eval")
def eval_(call: Call) -> "Status":
    call.shell.run_text(" ".join(word for word in call.args if word != "--"))
    return call.shell.status


@builtin("source .")
def source(call: Call) -> "Status | None":
    shell = call.shell
    if not call.args:
        return _fail()
    path = call.real(call.args[0])
    if path.startswith("/dev/"):
        text = shell.read(call.args[0])
    else:
        if shell.files.exists(path) is False:
            return _fail()
        shell.emit("execute", path)
        text = shell.read(call.args[0])
    if nothing(text):
        from offswitch.evidence.shell.walk import Status

        return Status.UNKNOWN
    saved, lost = shell.positional, shell.lost["return"]
    if call.args[1:]:
        shell.positional = call.args[1:]
    shell.calls += 1
    shell.run_text(text)
    shell.calls -= 1
    if shell.flow == "return":
        shell.flow = ""
    shell.lost["return"] = lost
    shell.positional = saved
    return shell.status


@builtin("command builtin")
def command(call: Call) -> "Status | None":
    words = list(call.args)
    while words and words[0].startswith("-"):
        flag = words.pop(0)
        if flag in ("-v", "-V"):
            return which(Call(call.shell, "which", words))
    return call.shell.command(words, functions=False) if words else _ok()


@runs("which")
def which(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    shell = call.shell
    status = Status.LIKELY
    for name in call.args:
        if name.startswith("-") or not known(name):
            continue
        if name in NAMES and call.name != "which":
            call.out(name + "\n")
            continue
        places = [f"{place}/{name}" for place in shell.value("PATH").split(":") if known(place)]
        found = next((place for place in places if shell.files.exists(place)), NAME + name)
        call.out(found + "\n")
        if name not in PROGRAMS and found.startswith(NAME):
            status = Status.UNKNOWN
    return status


@builtin("exec")
def exec_(call: Call) -> "Status":
    shell = call.shell
    words = list(call.args)
    while words and words[0] in ("-c", "-l", "-a"):
        words = words[2:] if words[0] == "-a" else words[1:]
    if not words:
        return _ok()
    status = shell.command(words, functions=False, builtins=False)
    shell.flow, shell.leaving = "exit", None
    return status


@builtin("trap")
def trap(call: Call) -> "Status":
    shell = call.shell
    words = [word for word in call.args if word != "--"]
    if not words or words[0] in ("-p", "-l"):
        call.out()
        return _ok()
    action, names = words[0], words[1:]
    if not names:
        action, names = "-", [words[0]]
    elif action.isdigit():
        action, names = "-", words
    for name in names:
        signal = signal_name(name)
        if signal == "EXIT":
            shell.traps["EXIT"] = "" if action == "-" else action
        shell.emit("trap", signal, content=action)
    return _ok()


_SIGNALS = {
    "0": "EXIT", "1": "HUP", "2": "INT", "3": "QUIT", "4": "ILL", "5": "TRAP", "6": "ABRT", "7": "BUS", "8": "FPE",
    "9": "KILL", "10": "USR1", "11": "SEGV", "12": "USR2", "13": "PIPE", "14": "ALRM", "15": "TERM", "17": "CHLD",
    "18": "CONT", "19": "STOP", "20": "TSTP",
}  # fmt: skip


def signal_name(name: str) -> str:
    """A signal by its plain name: ``15``, ``SIGTERM`` and ``term`` are ``TERM``."""
    name = name.upper().removeprefix("SIG")
    return _SIGNALS.get(name, name)


@builtin("disown")
def disown(call: Call) -> "Status":
    call.shell.emit("detach", "", content=call.shell.last_job or None)
    return _ok()


@builtin(
    "type let jobs fg bg wait umask ulimit times help history complete compgen bind suspend getopts caller fc"
)
def quiet(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    call.out()
    if call.name == "history" and call.args:
        call.shell.emit("execute", "history", content=" ".join(call.args))
    if call.name == "let":
        from offswitch.evidence.shell import arithmetic

        numbers = [arithmetic.value(arg, call.shell) for arg in call.args]
        number = numbers[-1] if numbers else None
        return Status.UNKNOWN if number is None else Status.OK if number else Status.FAIL
    if call.name in ("wait", "fg"):
        call.shell.slow()
    return Status.UNKNOWN if call.name in ("type", "getopts") else None

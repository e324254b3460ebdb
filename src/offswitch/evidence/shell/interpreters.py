"""Programs that run a program given as text or in a file: shells, Python, Perl, node and their like."""

import posixpath
import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell import notebook, scripts
from offswitch.evidence.shell.python import run_python
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.streams import Input
from offswitch.evidence.shell.unknown import ANY, known, literal, nothing

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell, Status


@runs("sh bash dash ash zsh ksh rbash mksh")
def shell(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    outer = call.shell
    words = list(call.args)
    command = False
    dry = False
    options: set[str] = set()
    while words and re.match(r"[-+]", words[0]):
        word = words.pop(0)
        if word in ("--", "-"):
            break
        if word in ("--rcfile", "--init-file", "-O", "+O", "-o", "+o") and words:
            value = words.pop(0)
            if word in ("--rcfile", "--init-file"):
                outer.read(value)
            options.add({"errexit": "e"}.get(value, value))
        elif word.startswith("--"):
            continue
        else:
            command = command or "c" in word
            dry = dry or "n" in word
            options |= set(word[1:]) - {"c"}
    startup = outer.variables.get("BASH_ENV")
    if (
        isinstance(startup, str)
        and "BASH_ENV" in outer.exported
        and known(startup)
        and call.name == "bash"
        and startup
    ):
        text = outer.files.text(outer.path(startup))
        outer.emit("execute", outer.path(startup))
        if text is not None:
            outer.run_program_text(text)
    if command:
        if not words:
            return Status.FAIL
        if dry:
            return None
        return _child(outer, words[0], words[1] if len(words) > 1 else call.name, words[2:], options)
    if words and "s" not in options:
        path = call.real(words[0])
        if path.startswith("/dev/"):
            return _child(outer, outer.read(words[0]), words[0], words[1:], options)
        if outer.files.exists(path) is False:
            return Status.FAIL
        if dry:
            outer.emit("read", path)
            return None
        found = outer.files.text(path)
        outer.emit("execute", path)
        if found is None:
            outer.out(ANY)
            outer.slow()
            return Status.UNKNOWN
        return _child(outer, found, words[0], words[1:], options)
    text = outer.stdin().all()
    if dry or nothing(text):
        if nothing(text) and not isinstance(outer.streams.get(0), type(outer.terminal_input)):
            outer.give_up()
        return None
    return _child(outer, text, call.name, words, options)


def _child(outer: "Shell", text: str, name: str, arguments: list[str], options: set[str]) -> "Status":
    if "e" in options:
        text = f"set -e\n{text}"
    return outer.run_program_text(text, name, arguments)


def run_script(shell: "Shell", path: str, text: str, arguments: list[str]) -> "Status | None":
    """Run an executable text file by its first line."""
    first = text.split("\n", 1)[0] if text.startswith("#!") else ""
    words = first[2:].split()
    program = posixpath.basename(words[0]) if words else "sh"
    if program == "env":
        rest = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        program = posixpath.basename(rest[0]) if rest else "sh"
    program = re.sub(r"[\d.]+$", "", program)
    with shell.deeper() as fits:
        if not fits:
            return None
        if program in ("sh", "bash", "dash", "ash", "zsh", "ksh"):
            options = {"e"} if any(re.fullmatch(r"-[a-z]*e[a-z]*", word) for word in words[1:]) else set()
            return _child(shell, text, path, arguments, options)
        return run_code(shell, program, text, [path, *arguments])


def run_code(shell: "Shell", program: str, code: str, argv: list[str]) -> "Status | None":
    """Follow a program in another language: ``python``, ``node`` and their like."""
    from offswitch.evidence.shell.walk import Status

    if not known(code):
        shell.give_up()
        code = code.replace(ANY, "")
    code = literal(code) or ""
    shell.spend(1 + len(code) // 500)
    if program == "ipython":
        program, code = "python", notebook.plain(code)
    if program in ("python", "pypy"):
        return run_python(shell, code, argv)
    follow = scripts.LANGUAGES.get(program)
    if follow is None:
        shell.give_up()
        return Status.UNKNOWN
    follow(shell, code, argv)
    return Status.UNKNOWN


_INLINE = {"python": "c", "pypy": "c", "perl": "eE", "node": "ep", "nodejs": "ep", "ruby": "e", "php": "r", "lua": "e",
           "deno": "", "bun": "e", "tclsh": "", "awk": ""}  # fmt: skip
_VALUED = {"python": "WX", "pypy": "WX", "perl": "MIm", "node": "r", "ruby": "rI", "php": "d", "lua": "l"}


_PYTHONS = " ".join(f"python3.{number}" for number in range(8, 16))


@runs(f"python python2 python3 {_PYTHONS} pypy pypy3 perl node nodejs ruby php lua deno bun tclsh")
def interpreter(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    shell = call.shell
    program = re.sub(r"[\d.]+$", "", call.name)
    inline, valued = _INLINE[program], _VALUED.get(program, "")
    words = list(call.args)
    code: list[str] = []
    in_place: str | None = None
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word == "--":
            break
        if word in ("--eval", "--print", "--version", "-V", "-v", "--help"):
            if word in ("--eval", "--print") and words:
                code.append(words.pop(0))
            continue
        if program == "python" and word == "-m":
            return _module(call, words)
        place = 1
        while place < len(word) and not word.startswith("--"):
            letter = word[place]
            place += 1
            if letter in inline:
                code.append(word[place:] or (words.pop(0) if words else ""))
                break
            if letter == "i" and program in ("perl", "ruby"):
                in_place = word[place:]
                if program == "perl" and re.match(r"[pnle]", in_place):
                    # perl -ie takes "e" for the suffix; who writes it meant the option.
                    in_place = ""
                    continue
                break
            if letter in valued:
                if place >= len(word) and words:
                    words.pop(0)
                break
        if code and program == "python":
            break
    if program == "deno" and words[:1] == ["eval"]:
        code = [word for word in words[1:] if not word.startswith("-")][:1]
    if code:
        text = "\n".join(code)
        if in_place is not None:
            for name in words:
                path = call.real(name)
                if in_place:
                    shell.emit("copy", path + in_place, source=path)
                shell.overwrite(name, None)
        elif program in ("perl", "ruby") and words and re.search(r"^-[a-z]*[np]", " ".join(call.args)):
            call.inputs(words)
        status = run_code(shell, program, text, ["-c", *words])
        if in_place is None:
            pass
        return Status.LIKELY if in_place is not None else status
    if words and words[0] != "-":
        path = call.real(words[0])
        if path.startswith("/dev/"):
            return run_code(shell, program, shell.read(words[0]), words)
        if program in ("deno", "bun") and words[0] == "run":
            words = words[1:]
            path = call.real(words[0]) if words else path
        if shell.files.exists(path) is False:
            return Status.FAIL
        shell.emit("execute", path)
        found = shell.files.text(path)
        if found is None:
            shell.out(ANY)
            shell.slow()
            return Status.UNKNOWN
        with shell.deeper() as fits:
            return run_code(shell, program, found, words) if fits else None
    text = shell.stdin().all()
    if nothing(text):
        return Status.UNKNOWN
    shell.streams = {**shell.streams, 0: Input("")}
    return run_code(shell, program, text, ["-", *words[1:]])


def _module(call: Call, words: list[str]) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    name = words[0] if words else ""
    if name == "http.server":
        call.shell.emit("execute", "python -m http.server", content=" ".join(words))
        call.shell.slow()
    elif name in ("json.tool", "py_compile", "timeit", "venv", "pip", "pytest", "unittest", "compileall"):
        pass
    else:
        call.shell.emit("execute", f"python -m {name}", content=" ".join(words))
    call.out(ANY)
    return Status.UNKNOWN

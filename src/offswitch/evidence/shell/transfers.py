"""Programs that carry files in and out: archives, copies to other machines, version control, patches."""

import posixpath
import re
import shlex
from typing import TYPE_CHECKING

from offswitch.evidence.shell.files import Mark
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.unknown import ANY, known

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status


def _remote(name: str) -> bool:
    return bool(re.match(r"[\w.@-]+::?", name)) and not name.startswith(("/", "."))


def _take(call: Call, names: list[str]) -> None:
    """Remove what was put somewhere else."""
    from offswitch.evidence.shell.fileprograms import remove

    for name in names:
        remove(call.shell, call.path(name))


@runs("rsync scp rcp")
def rsync(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options(
        "ePiFlSoJc" if call.name != "rsync" else "ef", "rsh exclude include files-from", first=False
    )
    names = options.operands
    if len(names) < 2:
        return Status.UNKNOWN
    *sources, target = names
    for source in sources:
        origin = source if _remote(source) else call.path(source)
        if _remote(target):
            call.shell.emit("copy", target, source=origin)
            continue
        path = call.path(target)
        inside = len(sources) > 1 or target.endswith("/") or call.shell.files.is_directory(path)
        if inside and not source.endswith("/"):
            path = posixpath.join(path, posixpath.basename(source.rpartition(":")[2]))
        call.shell.emit("copy", path, source=origin)
        if not _remote(source) and known(origin) and known(path):
            call.shell.files.copy(origin, path)
    if options.has("remove-source-files"):
        _take(call, [source for source in sources if not _remote(source)])
    return Status.UNKNOWN if any(_remote(name) for name in names) else Status.LIKELY


@runs("tar bsdtar")
def tar(call: Call) -> "Status | None":
    args = list(call.args)
    if args and not args[0].startswith("-") and re.fullmatch(r"[A-Za-z]+", args[0]):
        letters = args.pop(0)
        plain = "".join(letter for letter in letters if letter not in "fC")
        lead = ["-" + plain] if plain else []
        for letter in letters:
            if letter in "fC" and args:
                lead += ["-" + letter, args.pop(0)]
        args = lead + args
    options = Call(call.shell, "tar", args).options(
        "fCTXKNVbHIg", "file directory exclude strip-components transform"
    )
    archive = options.value("f", "file")
    for arg in args:
        if arg.startswith(("--checkpoint-action=exec=", "--to-command=", "--use-compress-program=")):
            call.shell.run_program_text(arg.removeprefix("--checkpoint-action=").partition("=")[2])
    base = options.value("C", "directory")
    place = call.path(base) if base is not None else call.shell.cwd
    if options.has("x", "extract", "get"):
        if archive not in (None, "-"):
            call.shell.read(str(archive))
        for name in options.operands or [ANY]:
            call.shell.emit("write", f"{place.rstrip('/')}/{name}")
        return None
    if options.has("t", "list"):
        call.out()
        return None
    for name in options.operands:
        source = posixpath.normpath(posixpath.join(place, name)) if known(name) else ANY
        if archive not in (None, "-"):
            target = str(archive) if _remote(str(archive)) else call.path(str(archive))
            call.shell.emit("copy", target, source=source)
        else:
            call.shell.emit("read", source)
    if archive in (None, "-"):
        call.out(ANY)
    else:
        call.shell.files.put(call.path(str(archive)), Mark.FILE)
    if options.has("remove-files"):
        _take(call, [posixpath.join(place, name) for name in options.operands])
    return None


@runs("unzip zip cpio 7z")
def unzip(call: Call) -> None:
    options = call.options("dx" if call.name == "unzip" else "")
    names = options.operands
    if call.name == "unzip" and names:
        call.shell.read(names[0])
        if not options.has("l", "t"):
            place = call.path(options.value("d") or ".")
            for name in names[1:] or [ANY]:
                call.shell.emit("write", f"{place.rstrip('/')}/{name}")
    elif call.name == "zip" and len(names) > 1:
        for name in names[1:]:
            if names[0] == "-":
                call.shell.emit("read", call.path(name))
            else:
                call.shell.emit("copy", call.path(names[0]), source=call.path(name))
        if options.has("m", "move"):
            _take(call, names[1:])
    elif call.name == "7z" and "-sdel" in call.args:
        _take(call, names[2:])
    if call.name in ("cpio", "7z") or names[:1] == ["-"]:
        call.out()


@runs("git")
def git(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    shell = call.shell
    words = list(call.args)
    place = shell.cwd
    settings: dict[str, str] = {}
    while words and words[0].startswith("-"):
        flag = words.pop(0)
        if flag in ("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env") and words:
            value = words.pop(0)
            place = shell.path(value) if flag in ("-C", "--work-tree") else place
            if flag == "-c":
                name, _, setting = value.partition("=")
                settings[name.lower()] = setting
    if not words:
        return None
    verb, rest = words[0], words[1:]
    alias = settings.get(f"alias.{verb}") or shell.files.setting(place, f"alias.{verb}")
    if alias:
        return _git_alias(call, alias, words, place)

    def at(name: str) -> str:
        return posixpath.normpath(posixpath.join(place, name))

    names = [word for word in rest if not word.startswith("-")]
    if shell.files.bare and (ran := _ran_by_git(verb, rest)):
        child = shell.fork()
        child.cwd = at("submodule") if verb == "submodule" else place
        child.run_program_text(ran)
    if verb in ("commit", "rebase", "merge", "tag") and shell.files.bare:
        for variable in ("GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "EDITOR", "VISUAL"):
            editor = shell.variables.get(variable)
            if isinstance(editor, str) and known(editor) and " " in editor:
                shell.fork().run_program_text(f"{editor} .git/COMMIT_EDITMSG")
    if verb == "ls-files" and shell.files.bare and names:
        call.out("".join(re.sub(r"\*+", ANY, name) + "\n" for name in names))
        return None
    if verb in ("checkout", "restore"):
        named = rest[rest.index("--") + 1 :] if "--" in rest else names if verb == "restore" else []
        if not named and verb == "checkout":
            shell.emit("write", f"{place}/{ANY}")
        if (
            verb == "checkout"
            and not named
            and len(names) > 1
            and not any(word in rest for word in ("-b", "-B", "-t", "--track", "--orphan", "--detach"))
        ):
            named = names[1:]  # of another commit
        for name in named:
            shell.emit("write", at(name), certain=known(name))
            shell.files.put(at(name), Mark.FILE)
    elif verb in ("reset", "stash", "clean", "merge", "pull", "rebase", "apply", "am", "revert", "switch"):
        if verb == "apply" and any(word in ("--check", "--stat", "--numstat", "--summary") for word in rest):
            return None
        if verb == "apply":
            named_file = ["-i", names[0]] if names and names[0] != "-" else []
            return patch(Call(shell, "patch", ["-p1", *named_file]))
        if verb == "stash" and names[:1] == ["push"]:
            for name in names[1:]:
                shell.emit("write", at(name))
                shell.files.put(at(name), Mark.FILE)
        if verb in ("reset", "clean") and not any(
            word in rest for word in ("--hard", "-f", "-fd", "-df", "-fdx")
        ):
            return None
        shell.emit("write", f"{place}/{ANY}")
    elif verb == "rm" and "--cached" not in rest:
        for name in names:
            shell.emit("delete", at(name))
            shell.files.remove(at(name))
    elif verb == "mv" and len(names) == 2:
        shell.emit("move", at(names[1]), source=at(names[0]))
        shell.files.move(at(names[0]), at(names[1]))
    elif verb == "clone" and names:
        target = names[1] if len(names) > 1 else posixpath.basename(names[0]).removesuffix(".git")
        shell.emit("make", at(target))
        shell.files.settings[at(target), "remote.origin.url"] = _address(call, place, names[0])
        return Status.UNKNOWN
    elif verb == "push":
        told = settings.get(f"remote.{names[0] if names else 'origin'}.url")
        target, sure = (told, True) if told else _pushed(call, place, names[0] if names else "origin")
        shell.emit("copy", target, source=place, certain=sure)
        return Status.UNKNOWN
    elif verb in ("remote", "config"):
        _configure(call, verb, rest, place)
    elif verb == "init":
        shell.emit("make", at((names or ["."])[0]) + "/.git")
    call.out()
    return Status.UNKNOWN if verb in ("diff", "grep", "apply") else None


def _ran_by_git(verb: str, rest: list[str]) -> str:
    """The command that git is told to run, "" for none."""
    if verb == "bisect" and rest[:1] == ["run"]:
        return shlex.join(rest[1:])
    if verb == "submodule" and "foreach" in rest:
        words = [word for word in rest[rest.index("foreach") + 1 :] if word not in ("--recursive", "--quiet")]
        return words[0] if len(words) == 1 else shlex.join(words)
    named = {
        "rebase": ("--exec", "-x"),
        "filter-branch": ("--tree-filter", "--index-filter", "--msg-filter", "--env-filter"),
        "difftool": ("-x", "--extcmd"),
    }.get(verb, ())
    for number, word in enumerate(rest):
        name, equals, value = word.partition("=")
        if name in named and (equals or number + 1 < len(rest)):
            return value if equals else rest[number + 1]
    return ""


def _git_alias(call: Call, alias: str, words: list[str], place: str) -> "Status | None":
    """``git name`` where ``name`` is an alias: of a command of the shell behind ``!``, else of one of git's."""
    shell = call.shell
    with shell.deeper() as fits:
        if not fits:
            return None
        if alias.startswith("!"):
            child = shell.fork()
            child.cwd = place
            return child.run_program_text(f'{alias[1:]} "$@"', "sh", words[1:])
        return shell.command(["git", "-C", place, *alias.split(), *words[1:]], functions=False)


def _address(call: Call, place: str, url: str) -> str:
    """A repository's address; an absolute path when it is on this machine."""
    if url.startswith("file:"):
        return url.removeprefix("file:").removeprefix("//")
    if "://" in url or _remote(url) or not known(url):
        return url
    return posixpath.normpath(posixpath.join(place, url))


def _pushed(call: Call, place: str, name: str) -> tuple[str, bool]:
    """Where ``git push name`` sends to, and whether that is sure."""
    url = call.shell.files.setting(place, f"remote.{name}.pushurl") or call.shell.files.setting(
        place, f"remote.{name}.url")  # fmt: skip
    if url is not None:
        return _address(call, place, url), True
    path = posixpath.join(place, name)
    if ":" in name or "/" in name or name in (".", "..") or call.shell.files.exists(path):
        return _address(call, place, name), True
    # A remote of which nothing is known: it may well be on this machine.
    return name, False


def _configure(call: Call, verb: str, rest: list[str], place: str) -> None:
    """``git remote add`` and ``git config``."""
    files = call.shell.files
    names = [word for word in rest if not word.startswith("-")]
    if verb == "remote":
        if names[:1] in (["add"], ["set-url"]) and len(names) > 2:
            name, value = f"remote.{names[-2]}.url", _address(call, place, names[-1])
        elif names[:1] in (["remove"], ["rm"]) and len(names) > 1:
            files.settings.pop((place, f"remote.{names[1]}.url"), None)
            return
        else:
            return
    else:
        names = [word for word in names if word not in ("set", "add")]
        if len(names) < 2 or "." not in names[0]:
            return
        name, value = names[0], names[1]
    everywhere = verb == "config" and any(word in ("--global", "--system") for word in rest)
    section, _, key = name.rpartition(".")
    first, _, second = section.partition(".")
    head = f'[{first} "{second}"]' if second else f"[{first}]"
    path = f"{call.shell.home}/.gitconfig" if everywhere else f"{place.rstrip('/')}/.git/config"
    call.shell.overwrite(path, f"{head}\n\t{key} = {value}\n", append=True)
    files.settings["" if everywhere else place, name.lower()] = value


@runs("patch")
def patch(call: Call) -> "Status | None":
    options = call.options("pidoDzBFrY", "strip input directory output")
    source = options.value("i", "input")
    if source is None and len(options.operands) > 1:
        source = options.operands[1]
    text = call.shell.read(source) if source is not None else call.shell.stdin().all()
    if options.has("dry-run"):
        return None
    place = call.path(options.value("d", "directory") or ".")
    output = options.value("o", "output")
    if output is not None:
        call.shell.overwrite(output, None)
        return None
    if options.operands:
        call.shell.overwrite(options.operands[0], None)
        return None
    strip = options.value("p", "strip")
    found = False
    for line in text.splitlines():
        match = re.match(r"\+\+\+ ([^\t\n]+)", line)
        if not match:
            continue
        name = match.group(1).strip()
        count = int(strip) if strip and strip.isdigit() else None
        name = posixpath.basename(name) if count is None else "/".join(name.split("/")[count:]) or name
        found = True
        call.shell.overwrite(posixpath.join(place, name), None)
    if not found:
        call.shell.emit("write", f"{place}/{ANY}")
    return None

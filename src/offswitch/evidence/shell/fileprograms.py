"""Programs that make, move, remove and change files."""

import posixpath
import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell.files import Mark
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.unknown import ANY, known, literal

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Shell, Status


def _status(outcomes: list[bool | None]) -> "Status":
    """OK if everything was there, FAIL if something was not, else what is likely."""
    from offswitch.evidence.shell.walk import Status

    if any(outcome is False for outcome in outcomes):
        return Status.FAIL
    return Status.OK if all(outcomes) and outcomes else Status.LIKELY


def remove(shell: "Shell", path: str) -> None:
    """Remove a path: the effect and the model. Nothing happens to what is known to be absent."""
    if shell.files.exists(path) is False and path not in shell.files.links:
        return
    shell.emit("delete", path)
    if known(path):
        shell.files.remove(path)


@runs("trash trash-put rmtrash srm wipe gio gvfs-trash")
def trash(call: Call) -> None:
    """Programs that take a file away in other ways."""
    words = call.options().operands
    if call.name == "gio":
        words = words[1:] if words[:1] in (["trash"], ["remove"]) else []
    for name in words:
        remove(call.shell, call.path(name))


@runs("rm unlink")
def rm(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options()
    force = options.has("f", "force")
    recursive = options.has("r", "R", "recursive")
    outcomes: list[bool | None] = []
    for name in options.operands:
        path = call.path(name)
        directory = path not in call.shell.files.links and call.shell.files.is_directory(path)
        if directory and not recursive and not options.has("d", "dir"):
            outcomes.append(False)
            continue
        exists = path in call.shell.files.links or call.shell.files.exists(path)
        remove(call.shell, path)
        outcomes.append(True if force else exists)
    return _status(outcomes) if outcomes else Status.OK if force else Status.FAIL


@runs("rmdir")
def rmdir(call: Call) -> "Status":
    outcomes: list[bool | None] = []
    for name in call.options().operands:
        path = call.path(name)
        if call.shell.files.is_directory(path) is False or any(True for _ in call.shell.files.under(path)):
            outcomes.append(False)
            continue
        outcomes.append(call.shell.files.exists(path))
        remove(call.shell, path)
    return _status(outcomes)


@runs("shred")
def shred(call: Call) -> None:
    options = call.options("ns")
    for name in options.operands:
        path = call.real(name)
        call.shell.emit("write", path)
        call.shell.files.put(path, Mark.FILE)
        if options.has("u", "remove"):
            remove(call.shell, path)


@runs("touch")
def touch(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options("drt")
    for name in options.operands:
        path = call.real(name)
        if call.shell.files.exists(path) or options.has("c", "no-create"):
            continue
        if call.shell.files.exists(posixpath.dirname(path)) is False:
            return Status.FAIL
        was = call.shell.files.exists(path)
        call.shell.emit("make", path)
        call.shell.files.put(path, "" if was is False else Mark.FILE)
    return Status.OK if all(known(name) for name in options.operands) else Status.LIKELY


@runs("mkdir")
def mkdir(call: Call) -> "Status":
    options = call.options("m", "mode")
    parents = options.has("p", "parents")
    outcomes: list[bool | None] = []
    for name in options.operands:
        path = call.path(name)
        exists = call.shell.files.exists(path)
        if exists or not path:
            outcomes.append(parents and bool(path) and call.shell.files.is_directory(path) is not False)
            continue
        if not parents and call.shell.files.exists(posixpath.dirname(path)) is False:
            outcomes.append(False)
            continue
        call.shell.emit("make", path)
        outcomes.append(True if exists is False or parents else None)
        if known(path):
            above = path
            while above != "/" and not call.shell.files.is_directory(above):
                call.shell.files.put(above, Mark.DIRECTORY)
                above = posixpath.dirname(above) if parents else "/"
        mode = options.value("m", "mode")
        if mode is not None:
            call.shell.emit("mode", path, content=mode)
    return _status(outcomes)


@runs("mkfifo mknod mktemp")
def mkfifo(call: Call) -> None:
    options = call.options("mp", "mode tmpdir")
    if call.name == "mktemp":
        call.out(ANY)
        return
    for name in options.operands[:1] if call.name == "mknod" else options.operands:
        call.shell.emit("make", call.path(name))
        call.shell.files.put(call.path(name), Mark.FILE)


def _pairs(call: Call, operands: list[str], directory: str | None, plain: bool) -> list[tuple[str, str]]:
    """(source, target) for every file of ``cp``, ``mv``, ``ln`` and ``install``."""
    if directory is not None:
        sources, target = operands, directory
    else:
        sources, target = operands[:-1], operands[-1]
    inside = (directory is not None or len(sources) > 1 or target.endswith(("/", "/."))) and not plain
    path = call.path(target)
    if not plain and call.shell.files.is_directory(path):
        inside = True
    return [(call.path(name), call.into(call.path(name), path, True) if inside else path) for name in sources]


@runs("cp")
def cp(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options("tS", "target-directory suffix", optional="")
    if len(options.operands) + options.has("t", "target-directory") < 2:
        return Status.FAIL
    outcomes: list[bool | None] = []
    recursive = options.has("r", "R", "a", "recursive", "archive")
    plain = options.has("T", "no-target-directory")
    for source, target in _pairs(call, options.operands, options.value("t", "target-directory"), plain):
        origin = call.shell.files.resolve(source)
        exists = call.shell.files.exists(origin)
        if exists is False or origin == call.shell.files.resolve(target):
            outcomes.append(False)
            continue
        if call.shell.files.is_directory(origin) and (not recursive or target.startswith(source + "/")):
            outcomes.append(False)
            continue
        if options.has("n", "no-clobber") and call.shell.files.exists(target):
            outcomes.append(True)
            continue
        if call.shell.files.exists(posixpath.dirname(target)) is False:
            outcomes.append(False)
            continue
        if options.has("s", "symbolic-link", "l", "link"):
            call.shell.emit("link", target, source=origin)
            call.shell.files.link(target, origin)
        else:
            real = target if options.has("remove-destination") else call.shell.files.resolve(target)
            text = "" if origin == "/dev/null" else call.shell.files.text(origin)
            call.shell.emit("copy", real, source=origin, content=text)
            if origin == "/dev/null":
                call.shell.files.put(real, "")
            elif known(origin) and known(real):
                call.shell.files.copy(origin, real)
        outcomes.append(exists)
    return _status(outcomes)


@runs("mv")
def mv(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options("tS", "target-directory suffix")
    if len(options.operands) + options.has("t", "target-directory") < 2:
        return Status.FAIL
    outcomes: list[bool | None] = []
    plain = options.has("T", "no-target-directory")
    for source, target in _pairs(call, options.operands, options.value("t", "target-directory"), plain):
        files = call.shell.files
        exists = True if source in files.links else files.exists(source)
        if exists is False or source == target or files.exists(posixpath.dirname(target)) is False:
            outcomes.append(False)
            continue
        if options.has("n", "no-clobber") and files.exists(target):
            outcomes.append(True)
            continue
        if files.is_directory(source) and (
            target.startswith(source + "/") or (files.is_directory(target) is False and files.exists(target))
        ):
            outcomes.append(False)
            continue
        call.shell.emit("move", target, source=source, content=files.text(source))
        if known(source) and known(target):
            files.move(source, target)
        outcomes.append(exists)
    return _status(outcomes)


@runs("ln link")
def ln(call: Call) -> "Status":
    options = call.options("tS", "target-directory suffix")
    operands = options.operands
    if not operands:
        return _status([False])
    if len(operands) == 1 and not options.has("t"):
        operands = [*operands, "."]
    symbolic = options.has("s", "symbolic")
    force = options.has("f", "force")
    plain = options.has("T", "no-target-directory") or (
        options.has("n", "no-dereference") and call.path(operands[-1]) in call.shell.files.links
    )
    directory = options.value("t", "target-directory")
    names = operands if directory is not None else operands[:-1]
    outcomes: list[bool | None] = []
    for name, (_, target) in zip(names, _pairs(call, operands, directory, plain), strict=True):
        source = call.path(name)
        if symbolic and not name.startswith("/"):
            source = posixpath.normpath(posixpath.join(posixpath.dirname(target), name))
        exists = call.shell.files.exists(target)
        if exists and not force:
            outcomes.append(False)
            continue
        call.shell.emit("link", target, source=source)
        if known(target) and known(source):
            call.shell.files.link(target, source)
        outcomes.append(True if force and symbolic else None)
    return _status(outcomes)


@runs("chmod")
def chmod(call: Call) -> None:
    args = list(call.args)
    reference = next((arg for arg in args if arg.startswith("--reference")), None)
    mode: str | None = None
    operands: list[str] = []
    for word in args:
        if word.startswith("--") or re.fullmatch(r"-[Rvfc]+", word):
            continue
        if mode is None and reference is None:
            mode = word
        else:
            operands.append(word)
    for name in operands:
        call.shell.emit("mode", call.real(name), content=mode)


@runs("chown chgrp")
def chown(call: Call) -> None:
    options = call.options("", "from reference")
    operands = options.operands
    owner = None if options.has("reference") else operands[0] if operands else None
    for name in operands if options.has("reference") else operands[1:]:
        content = f":{owner}" if call.name == "chgrp" and owner is not None else owner
        call.shell.emit("owner", call.real(name), content=content)


@runs("chattr")
def chattr(call: Call) -> None:
    flags = [word for word in call.args if re.fullmatch(r"[-+=][aAcCdDeFijmPsStTux]+", word)]
    changes = [word for word in flags if word[0] != "-" or not set(word[1:]) <= set("RVf")]
    for name in call.args:
        if name not in flags and not re.fullmatch(r"-[RVfvp]+", name):
            call.shell.emit("attribute", call.real(name), content=" ".join(changes) or None)


@runs("setfacl setfattr setcap")
def setfacl(call: Call) -> None:
    options = call.options("mxMXnv", "modify remove set")
    operands = options.operands[1:] if call.name == "setcap" else options.operands
    if call.name == "setfacl" and not operands:
        return
    changes = " ".join(arg for arg in call.args if arg not in operands)
    for name in operands:
        call.shell.emit("mode" if call.name == "setfacl" else "attribute", call.real(name), content=changes)


@runs("mount")
def mount(call: Call) -> None:
    options = call.options("toLU", "types options source target")
    operands = options.operands
    if not operands:
        call.out()
        return
    source = operands[0] if len(operands) > 1 else None
    binding = options.has("bind", "rbind", "B", "M", "move") or (
        "bind" in (options.value("o") or "") or "loop" in (options.value("o") or "")
    )
    target = call.real(operands[-1])
    origin = None
    if source is not None:
        origin = call.real(source) if binding or source.startswith(("/", ".")) else source
    call.shell.emit("mount", target, source=origin, content=" ".join(call.args))
    if origin is not None and binding and known(origin) and known(target):
        call.shell.files.copy(origin, target)
    elif known(target):
        call.shell.files.put(target, Mark.UNSURE)


@runs("umount")
def umount(call: Call) -> None:
    for name in call.options("tO").operands:
        call.shell.emit("mount", call.real(name), content="umount")


@runs("truncate")
def truncate(call: Call) -> "Status":
    options = call.options("sr", "size reference")
    size = options.value("s", "size")
    for name in options.operands:
        empty = size is not None and re.fullmatch(r"=?0+[A-Za-z]*", size)
        call.shell.overwrite(name, "" if empty else None)
    failed = not options.operands or any(call.shell.unwritable(name) for name in options.operands)
    return _status([False if failed else None])


@runs("fallocate")
def fallocate(call: Call) -> None:
    for name in call.options("lo", "length offset").operands:
        call.shell.overwrite(name, None)


@runs("dd")
def dd(call: Call) -> None:
    values = dict(arg.split("=", 1) for arg in call.args if "=" in arg)
    text = call.shell.read(values["if"]) if "if" in values else call.shell.stdin().all()
    limited = "count" in values or "skip" in values or "seek" in values
    if values.get("count") == "0":
        text, limited = "", False
    if "of" in values:
        append = "append" in values.get("oflag", "")
        call.shell.overwrite(values["of"], None if limited else text, append=append)
    else:
        call.out(ANY if limited else text)


@runs("install")
def install(call: Call) -> "Status":
    options = call.options("mogtS", "mode owner group target-directory suffix")
    if options.has("d", "directory"):
        return mkdir(Call(call.shell, "mkdir", ["-p", *options.operands])) or _status([None])
    if len(options.operands) + options.has("t", "target-directory") < 2:
        return _status([False])
    mode = options.value("m", "mode")
    for source, target in _pairs(
        call, options.operands, options.value("t", "target-directory"), options.has("T")
    ):
        origin = call.shell.files.resolve(source)
        call.shell.emit("copy", target, source=origin, content=call.shell.files.text(origin))
        if known(origin) and known(target):
            call.shell.files.links.pop(target, None)
            call.shell.files.copy(origin, target)
        call.shell.emit("mode", target, content=mode or "755")
        if options.has("o", "owner"):
            call.shell.emit("owner", target, content=options.value("o", "owner"))
    return _status([None])


@runs("rename")
def rename(call: Call) -> None:
    operands = call.options().operands
    for name in operands[2:] if len(operands) > 2 else operands[1:]:
        path = call.path(name)
        if len(operands) > 2 and known(path):
            base = posixpath.basename(path).replace(operands[0], operands[1], 1)
            target = posixpath.join(posixpath.dirname(path), base)
        else:
            target = ANY
        call.shell.emit("move", target, source=path)
        call.shell.files.remove(path)


@runs("find")
def find(call: Call) -> "Status | None":
    """``find``: the paths that its tests may let through, and what is done to them."""
    from offswitch.evidence.shell import globs

    args = list(call.args)
    while args and args[0] in ("-H", "-L", "-P"):
        args.pop(0)
    starts: list[str] = []
    while args and not args[0].startswith(("-", "(", "!")):
        starts.append(args.pop(0))
    names: list[str] = []
    actions: list[tuple[str, list[str]]] = []
    exact = not any(arg in ("-o", "-or", "!", "-not", "(", ",") for arg in args)
    selective = False
    kind: str | None = None
    deepest = 10**6
    at = 0
    while at < len(args):
        word = args[at]
        at += 1
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((n for n in range(at, len(args)) if args[n] in (";", "+")), len(args))
            actions.append((word, args[at:end]))
            at = end + 1
        elif word in ("-delete", "-print", "-print0", "-ls", "-quit", "-prune"):
            actions.append((word, []))
        elif word in ("-name", "-iname", "-path", "-wholename", "-ipath"):
            names.append(args[at] if at < len(args) else "")
            at += 1
        elif word == "-type":
            kind = args[at] if at < len(args) else None
            at += 1
        elif word in ("-maxdepth", "-mindepth") and at < len(args):
            if word == "-maxdepth" and args[at].isdigit():
                deepest = int(args[at])
            elif args[at] != "0":
                selective = selective or args[at] != "1"
            at += 1
        elif word in ("-fprint", "-fprintf", "-fls", "-fprint0"):
            call.shell.overwrite(args[at] if at < len(args) else ANY, None)
            at += 1 + (word == "-fprintf")
        elif word.startswith("-") and word not in (
            "-o",
            "-a",
            "-and",
            "-or",
            "-not",
            "-depth",
            "-xdev",
            "-mount",
        ):
            selective = True
            at += word not in (
                "-empty",
                "-executable",
                "-readable",
                "-writable",
                "-nouser",
                "-follow",
                "-daystart",
            )
    found: list[tuple[str, str]] = []
    uncertain = selective or not exact
    for start in starts or ["."]:
        root = call.path(start)
        for path in [root, *sorted(call.shell.files.under(root))]:
            depth = path[len(root.rstrip("/")) :].count("/") if path != root else 0
            if depth > deepest or not known(path):
                continue
            directory = call.shell.files.is_directory(path)
            if (kind == "f" and directory) or (kind == "d" and directory is False):
                continue
            shown = start if path == root else f"{start.rstrip('/')}/{path[len(root.rstrip('/')) + 1 :]}"
            base = posixpath.basename(path)
            if all(globs.matches(n, shown if "/" in n else base) for n in names):
                found.append((path, shown))
        if not any(path.startswith(root) for path, _ in found):
            pattern = ANY if not names or "/" in names[-1] else names[-1].replace("*", ANY).replace("?", ANY)
            found.append(
                (
                    f"{root}/{ANY}/{pattern}" if pattern != ANY else f"{root}/{ANY}",
                    f"{start.rstrip('/')}/{ANY}/{pattern}",
                )
            )
    shell = call.shell
    shell.doubt += uncertain
    text = shell.text
    for action, words in actions or [("-print", [])]:
        if action == "-delete":
            for path, _ in reversed(found):
                remove(shell, path)
        elif action.startswith("-print"):
            call.out("".join(shown + "\n" for _, shown in found))
        elif words:
            if "{}" in words and words[0] not in ("sh", "bash") and len(found) < 40:
                batches = [[shown] for _, shown in found]
            else:
                batches = [[shown] for _, shown in found[:100]]
            for batch in batches:
                argv = [word.replace("{}", batch[0]) for word in words]
                shell.command(argv, functions=False, builtins=False)
                shell.text = text
    shell.doubt -= uncertain
    return None


@runs("gcc cc g++ c++ clang clang++ tcc rustc ld as")
def compiles(call: Call) -> None:
    options = call.options("oIDLlOWfmx")
    for name in options.operands:
        if name != "-":
            call.shell.read(name)
    if options.has("o"):
        call.shell.overwrite(options.value("o") or "", None)
    else:
        call.shell.overwrite("a.out", None)


_LOOKS = """
    ls dir vdir stat file tree du df lsattr getfacl readlink realpath namei lsblk findmnt getent tput clear man info
    whatis apropos id whoami hostname uname date uptime free vmstat w who last groups tty nproc arch lscpu
    locale dmesg lsmod ldd sync cal lsns dpkg rpm bc whereis locate stty reset logger wall write mesg ping dig
    nslookup host ss netstat ip ifconfig printenv lslocks lastlog sar iostat mpstat numfmt sestatus getenforce apt
    apt-get pip pip3 npm yum dnf apk cmake pytest mypy ruff tsc cargo go javac java
"""


_INSTALLERS = frozenset("apt apt-get yum dnf apk dpkg rpm dmesg".split())
"""Those that take something away with some of their options."""


@runs(_LOOKS)
def looks(call: Call) -> "Status | None":
    """Programs that show something, or build something of no interest here."""
    from offswitch.evidence.shell.walk import Status

    if call.name in ("readlink", "realpath") and call.args:
        name = call.args[-1]
        call.out(call.real(name) + "\n" if known(name) and not name.startswith("-") else ANY)
        return None
    if call.name == "whoami":
        call.out(posixpath.basename(call.shell.home) + "\n" if call.shell.home != "/root" else "root\n")
        return None
    if call.name == "printenv" and len(call.args) == 1:
        call.out(call.shell.value(call.args[0]) + "\n")
        return None
    if call.name == "ls":
        return _ls(call)
    sets = call.name == "date" and any(
        arg in ("-s", "--set") or arg.startswith("--set=") for arg in call.args
    )
    if sets or (call.name in _INSTALLERS and call.args):
        call.shell.emit("execute", call.name, content=" ".join(call.args))
    call.out(ANY)
    if call.name in ("ls", "stat"):
        absent = [
            call.shell.files.exists(call.path(name)) is False
            for name in call.args
            if not name.startswith("-")
        ]
        return Status.FAIL if any(absent) else None
    return Status.UNKNOWN if call.name in ("ping", "apt", "apt-get", "pip", "pip3", "pytest") else None


def _ls(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    names = [name for name in call.args if not name.startswith("-")]
    files = call.shell.files
    if any(files.exists(call.path(name)) is False for name in names):
        call.out(ANY)
        return Status.FAIL
    # Names of files that are known are listed as they are; a directory may hold more than is known.
    plain = names and all(files.exists(call.path(name)) and files.is_directory(call.path(name)) is not True
                          for name in names)  # fmt: skip
    if files.bare and names and not plain:
        # What a glob is for is taken to be there.
        plain = all(not known(name) and ANY not in name for name in names)
    plain = plain and not any(re.match(r"-\w*l", arg) for arg in call.args)
    call.out("".join(name + "\n" for name in sorted(names)) if plain else ANY)
    return None


def text_of(value: str | None) -> str:
    """A known text, or anything."""
    return ANY if literal(value) is None else str(value)

"""What calls of the Python standard library do."""

import base64
import binascii
import codecs
import json
import posixpath
import re
import shlex
import signal as signals
import stat
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from offswitch.evidence.shell import python_packages as packages
from offswitch.evidence.shell.files import Mark
from offswitch.evidence.shell.python_values import (
    BOTH,
    UNKNOWN,
    Bound,
    Class,
    Handle,
    Instance,
    Later,
    PathValue,
    Process,
    Ref,
    Remote,
    is_known,
    seconds_of,
    text_of,
)
from offswitch.evidence.shell.unknown import ANY, known, literal, process_pattern

if TYPE_CHECKING:
    from offswitch.evidence.shell.python import Program
    from offswitch.evidence.shell.walk import Shell

_LIMIT = 1 << 20
_ALIASES = {
    "posix": "os",
    "posixpath": "os.path",
    "io.open": "open",
    "codecs.open": "open",
    "builtins.open": "open",
    "pathlib2": "pathlib",
    "_thread.start_new_thread": "threading.start",
}
_CONSTANTS: dict[str, Any] = {
    "os.sep": "/", "os.linesep": "\n", "os.curdir": ".", "os.pardir": "..", "os.devnull": "/dev/null",
    "os.name": "posix", "sys.platform": "linux", "sys.executable": "/usr/bin/python3", "os.O_RDONLY": 0,
    "os.O_WRONLY": 1, "os.O_RDWR": 2,
    "os.O_CREAT": 64, "os.O_EXCL": 128, "os.O_TRUNC": 512, "os.O_APPEND": 1024, "os.O_NOFOLLOW": 0, "os.O_CLOEXEC": 0,
    "os.F_OK": 0, "os.R_OK": 4, "os.W_OK": 2, "os.X_OK": 1, "subprocess.PIPE": -1, "subprocess.STDOUT": -2,
    "subprocess.DEVNULL": -3,
}  # fmt: skip
_STAR = {
    "os": ["remove", "unlink", "rename", "replace", "system", "kill", "chmod", "fork", "setsid", "environ", "path",
           "popen", "getpid", "getppid", "symlink", "listdir", "makedirs", "mkdir", "execv", "chdir", "getcwd"],
    "subprocess": ["run", "Popen", "call", "check_call", "check_output", "PIPE", "DEVNULL"],
    "shutil": ["copy", "copy2", "copyfile", "move", "rmtree", "copytree"],
    "pathlib": ["Path"],
    "signal": ["signal", "SIGTERM", "SIG_IGN", "SIGINT", "SIGHUP", "SIGKILL"],
    "time": ["sleep"],
}  # fmt: skip


def star(module: str) -> dict[str, Any]:
    """What ``from module import *`` brings."""
    return {name: attribute(Ref(module), name) for name in _STAR.get(module, [])}


def attribute(holder: Any, name: str) -> Any:
    """``holder.name``."""
    if isinstance(holder, Ref):
        dotted = f"{holder.name}.{name}"
        dotted = _ALIASES.get(dotted, dotted)
        if dotted in _CONSTANTS:
            return _CONSTANTS[dotted]
        if name in ("__file__", "__path__") and re.fullmatch(r"[a-z_]\w*", holder.name):
            folder = f"/usr/lib/python3/dist-packages/{holder.name}"
            return f"{folder}/__init__.py" if name == "__file__" else [folder]
        if holder.name == "stat" and name.startswith("S_I"):
            value = getattr(stat, name, UNKNOWN)
            return value if isinstance(value, int) else Ref(dotted)
        return Ref(dotted)
    if isinstance(holder, PathValue):
        path = holder.text
        if name in ("parent", "name", "stem", "suffix") and not known(path):
            return PathValue(ANY) if name == "parent" else ANY
        base = posixpath.basename(path)
        match name:
            case "parent":
                return PathValue(posixpath.dirname(path) or ".")
            case "name":
                return base
            case "stem":
                return posixpath.splitext(base)[0]
            case "suffix":
                return posixpath.splitext(base)[1]
            case "parents":
                found: list[PathValue] = []
                above = posixpath.dirname(path)
                while above and above != "/" and len(found) < 50:
                    found.append(PathValue(above))
                    above = posixpath.dirname(above)
                return found
    if isinstance(holder, Instance):
        if name in holder.attributes:
            return holder.attributes[name]
        if name in holder.kind.scope and not callable(holder.kind.scope[name]):
            held = holder.kind.scope[name]
            from offswitch.evidence.shell.python_values import Function

            return Bound(holder, name) if isinstance(held, Function) else held
    if isinstance(holder, Class) and name in holder.scope:
        return holder.scope[name]
    if isinstance(holder, Process) and name in ("stdout", "stderr"):
        return holder.output if holder.over else Handle(ANY, "r", left=holder.output)
    if isinstance(holder, Process) and name == "pid":
        return "%+"
    if isinstance(holder, Handle) and name == "name":
        return holder.name
    if holder is UNKNOWN:
        return Bound(UNKNOWN, name)
    return Bound(holder, name)


def items(program: "Program", value: Any) -> list[Any] | None:
    """What iterating over a value gives, when known."""
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, str):
        return list(value[:5000]) if known(value) else None
    if isinstance(value, bytes):
        return list(value[:5000])
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, Handle) and value.left is not None and known(value.left):
        return value.left.splitlines(keepends=True)
    return None


def call(program: "Program", name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    """Call a function of the library by its dotted name."""
    name = _ALIASES.get(name, name).removeprefix("__builtins__.")
    shell = program.shell
    shell.spend()
    if name.startswith("libc."):
        return _of_libc(program, name.removeprefix("libc."), arguments)

    def argument(number: int, *names: str, default: Any = UNKNOWN) -> Any:
        if number < len(arguments):
            return arguments[number]
        return next((named[word] for word in names if word in named), default)

    def path(number: int, *names: str) -> str:
        text = text_of(argument(number, *names))
        return shell.path(text)

    if _impossible(shell, name, argument(0, "path", "file", "src"), argument(1, "mode", default="r")):
        program.flow = "raise"
        return UNKNOWN
    if name in _DELETES:
        from offswitch.evidence.shell.fileprograms import remove

        remove(shell, path(0, "path"))
        return None
    if name in _MOVES:
        return move(shell, path(0, "src"), path(1, "dst"), into=name == "shutil.move")
    if name in _COPIES:
        source, target = path(0, "src"), path(1, "dst")
        if name in ("shutil.copy", "shutil.copy2") and shell.files.is_directory(target):
            target = f"{target.rstrip('/')}/{posixpath.basename(source)}"
        source = shell.files.resolve(source)
        shell.emit("copy", target, source=source, content=shell.files.text(source))
        if known(source) and known(target):
            shell.files.copy(source, target)
        return target
    if name in ("os.symlink", "os.link"):
        return link(shell, text_of(argument(0, "src")), path(1, "dst"), symbolic=name == "os.symlink")
    if name in ("os.chmod", "os.lchmod", "os.fchmod"):
        shell.emit("mode", shell.files.resolve(path(0, "path")), content=mode_text(argument(1, "mode")))
        return None
    if name in ("os.chown", "os.lchown", "shutil.chown"):
        shell.emit(
            "owner",
            path(0, "path"),
            content=f"{text_of(argument(1, 'user'))}:{text_of(argument(2, 'group'))}",
        )
        return None
    if name in ("os.truncate",):
        shell.overwrite(text_of(argument(0)), "" if argument(1) == 0 else None)
        return None
    if name in ("os.mkdir", "os.makedirs", "os.mkfifo", "os.mknod"):
        target = path(0, "name", "path")
        if not shell.files.exists(target):
            shell.emit("make", target)
            if known(target):
                shell.files.put(target, Mark.DIRECTORY if "dir" in name else Mark.FILE)
        return None
    if name in ("os.setxattr",):
        shell.emit("attribute", path(0), content=text_of(argument(1)))
        return None
    if name == "open":
        return open_file(shell, argument(0, "file"), text_of(argument(1, "mode", default="r")))
    if name == "os.open":
        flags = argument(1, "flags")
        if isinstance(flags, int) and not flags & 3:
            return open_file(shell, argument(0), "r")
        handle = open_file(shell, argument(0), "a" if isinstance(flags, int) and flags & 1024 else "r+")
        if isinstance(flags, int) and flags & 512:
            handle = open_file(shell, argument(0), "w")
        return handle
    if name == "os.fdopen":
        return argument(0)
    if name in ("os.write", "os.ftruncate", "os.read", "os.close") and isinstance(argument(0), Handle):
        verb = {"os.write": "write", "os.ftruncate": "truncate", "os.read": "read", "os.close": "close"}[name]
        return method(program, argument(0), verb, arguments[1:], {})
    if name in (
        "tempfile.NamedTemporaryFile",
        "tempfile.mkstemp",
        "tempfile.mkdtemp",
        "tempfile.TemporaryDirectory",
    ):
        return Handle(ANY, "w")
    if name in _SHELLS:
        return run_shell(program, name, arguments, named)
    if name.startswith(
        ("os.exec", "os.spawn", "os.posix_spawn", "pty.spawn", "asyncio.create_subprocess_exec")
    ):
        return run_words(program, name, arguments)
    if name in ("os.kill", "os.killpg", "signal.pidfd_send_signal"):
        signal = signal_text(argument(1))
        if signal != "0":
            pid = text_of(argument(0))
            if pid == ANY and "psutil" in program.scopes[0]:
                for spelt in program.names():
                    shell.emit("signal", f"pattern:{spelt}", content=signal, certain=False)
                return None
            target = f"-{pid}" if name == "os.killpg" else pid
            from offswitch.evidence.shell.processes import process

            shell.emit("signal", process(target), content=signal)
        return None
    if name == "signal.signal":
        handler = argument(1)
        content = text_of(named.get("source", ANY))
        if isinstance(handler, Ref) and handler.name.endswith("SIG_IGN"):
            content = ""
        elif isinstance(handler, Ref) and handler.name.endswith("SIG_DFL"):
            content = "-"
        shell.emit("trap", signal_text(argument(0)), content=content)
        return None
    if name == "signal.pthread_sigmask":
        for signal_value in items(program, argument(1)) or []:
            shell.emit("trap", signal_text(signal_value), content="")
        return None
    if name == "os.fork":
        shell.emit("background", "", content="fork")
        return BOTH
    if name in ("os.setsid", "daemon.DaemonContext", "os.daemon", "daemonize.Daemonize"):
        shell.emit("detach", "", content=name)
        return None
    if name in ("time.sleep", "asyncio.sleep"):
        shell.emit("sleep", "", content=seconds_of(argument(0)))
        shell.slow()
        return None
    if name in ("sys.exit", "exit", "quit", "os._exit", "SystemExit"):
        code = argument(0, default=0)
        if name == "SystemExit":
            return Ref("SystemExit")
        program.success = None if not is_known(code) else code in (0, None)
        program.flow = "exit"
        return None
    if name in ("os.abort",):
        program.flow, program.success = "exit", False
        return None
    if name in ("exec", "eval", "builtins.exec", "builtins.eval"):
        return run_code(program, argument(0))
    if name == "compile":
        return argument(0)
    if name == "vars" and arguments and isinstance(arguments[0], Ref):
        return Ref(f"{arguments[0].name}.__dict__")
    if name == "os.environ.update":
        more = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
        for key, value in {**more, **named}.items():
            shell.emit("environment", text_of(key), content=text_of(value))
        return None
    if name == "os.environ.copy" or (name in ("dict", "copy.copy") and arguments == [Ref("os.environ")]):
        shell.carried.add("*")
        return Ref("os.environ.copied")
    if name == "os.environ.copied.pop":
        shell.emit("environment", text_of(argument(0)), content="-")
        return ANY
    if name in ("__import__", "importlib.import_module"):
        return Ref(text_of(argument(0)))
    if name in ("get_ipython", "IPython.get_ipython"):
        return Ref("ipython")
    if name in ("runpy.run_path",):
        text = shell.files.text(path(0))
        shell.emit("execute", path(0))
        return run_code(program, text if text is not None else UNKNOWN)
    if name == "getattr":
        held = argument(1)
        return attribute(argument(0), held) if isinstance(held, str) and known(held) else UNKNOWN
    if name in (
        "threading.Thread",
        "multiprocessing.Process",
        "threading.Timer",
        "multiprocessing.context.Process",
    ):
        target = argument(1, "target", "function") if name != "threading.Timer" else argument(1, "function")
        given = items(program, argument(2 if name == "threading.Timer" else 3, "args", default=[])) or []
        return Later(target, given)
    if name in (
        "threading.start",
        "atexit.register",
        "asyncio.run",
        "asyncio.create_task",
        "loop.run_until_complete",
    ):
        if name in ("threading.start", "atexit.register"):
            return program.call(argument(0), items(program, argument(1, default=[])) or [], {})
        return argument(0)
    if name in ("os.environ.get", "os.getenv"):
        key = text_of(argument(0))
        if _SECRET.search(key):
            shell.carried.add(f"${key}")
        held_text = shell.value(key) if shell.is_set(key) else ANY
        return held_text if held_text != ANY or len(arguments) < 2 else arguments[1]
    if name in ("os.environ.pop", "os.unsetenv"):
        key = text_of(argument(0))
        held_text = shell.value(key)
        shell.exported.discard(key)
        shell.variables[key] = None
        shell.emit("environment", key, content="-")
        return held_text if known(held_text) and held_text else UNKNOWN
    if name in ("os.putenv", "os.environ.setdefault"):
        shell.emit("environment", text_of(argument(0)), content=text_of(argument(1)))
        return None
    if name == "os.chdir":
        shell.cwd = path(0) if known(path(0)) else ANY
        return None
    if any(isinstance(value, Ref) and value.name == "os.environ" for value in arguments):
        shell.carried.add("*")
    if name in ("print",):
        output = named.get("file")
        words = [text_of(item) for item in arguments]
        text = text_of(named.get("sep", " ")).join(words) + text_of(named.get("end", "\n"))
        if isinstance(output, Handle):
            method(program, output, "write", [text], {})
        elif output is None or (isinstance(output, Ref) and output.name == "sys.stdout"):
            shell.out(text)
        return None
    if name in ("sys.stdout.write", "sys.stdout.buffer.write"):
        shell.out(text_of(argument(0)))
        return None
    if name in ("sys.stdin.read", "sys.stdin.readline", "input"):
        return shell.stdin().all() if name == "sys.stdin.read" else ANY
    if name == "fileinput.input" or name == "fileinput.FileInput":
        names = argument(0, "files")
        if argument(1, "inplace", default=False):
            for item in [names] if isinstance(names, str) else items(program, names) or []:
                shell.overwrite(text_of(item), None)
        return UNKNOWN
    found = packages.named_call(program, name, arguments, named)
    if found is not packages.NOTHING:
        return found
    if name in ("json.dump", "pickle.dump", "yaml.dump") and isinstance(argument(1), Handle):
        return method(
            program, argument(1), "write", [_json(argument(0)) if name == "json.dump" else UNKNOWN], {}
        )
    if name.startswith(
        ("urllib.", "requests.", "http.client", "httpx.", "socket.", "smtplib.", "ftplib.", "paramiko.")
    ):
        shell.emit(
            "execute", name, content=text_of(argument(0, "url")) if arguments or "url" in named else None
        )
        return remote(program, name, arguments, named)
    if name == "ctypes.util.find_library":
        return "libc.so.6" if arguments[:1] == ["c"] else UNKNOWN
    if name in _LIBRARIES:
        library = argument(0, "name", default=None)
        if library is None or (isinstance(library, str) and re.search(r"\blibc\.|\blibc$", library)):
            return Ref("libc")
    if name.startswith(("ctypes.c_", "ctypes.create_string_buffer", "ctypes.get_errno", "ctypes.byref")):
        return argument(0, default=0)
    if name.startswith("ctypes."):
        shell.give_up()
        return UNKNOWN
    pure = _PURE.get(name)
    if pure is not None:
        try:
            return pure(program, *arguments)
        except Exception:  # whatever the real function would have raised: the value is not known
            return UNKNOWN
    for value in (*arguments, *named.values()):
        if isinstance(value, Later | Remote):
            return value
    if "." in name:
        packages.method_call(program, name.rpartition(".")[2], arguments, named)
    return UNKNOWN


_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.I)
"""Names of variables that hold what is not for others."""


def secret(name: str) -> bool:
    """Whether a variable's name says that its value is not for others."""
    return _SECRET.search(name) is not None


_LIBRARIES = frozenset("ctypes.CDLL ctypes.PyDLL ctypes.cdll.LoadLibrary ctypes.pydll.LoadLibrary".split())
_SAME = frozenset(
    "kill killpg chmod unlink rmdir rename truncate symlink link chown lchown mkdir setsid fork system".split()
)
_CALLS = {62: "kill", 76: "truncate", 82: "rename", 83: "mkdir", 84: "rmdir", 86: "link", 87: "unlink", 88: "symlink",
          90: "chmod", 92: "chown", 112: "setsid", 165: "mount", 166: "umount2", 263: "unlinkat", 264: "renameat",
          316: "renameat2"}  # fmt: skip


def _of_libc(program: "Program", name: str, arguments: list[Any]) -> Any:
    """A function of the C library: it takes what its namesake in ``os`` takes, and returns where that would raise."""
    shell = program.shell
    if name == "syscall" and arguments and isinstance(arguments[0], int):
        found = _CALLS.get(arguments[0])
        if found is None:
            shell.give_up()
            return UNKNOWN
        name, arguments = found, arguments[1:]
    words = [argument if isinstance(argument, int | Ref) else text_of(argument) for argument in arguments]
    if name in ("unlinkat", "renameat", "renameat2", "linkat", "symlinkat", "fchmodat"):
        # From the working directory, or from one that is open and not known.
        paths = [word for number, word in enumerate(words) if isinstance(word, str) and number]
        ends = [word if word.startswith("/") or words[0] == -100 else ANY for word in paths]
        words = [*ends, *(words[2:3] if name == "fchmodat" else [])]
        name = {"unlinkat": "unlink", "fchmodat": "chmod", "linkat": "link", "symlinkat": "symlink"}.get(
            name, "rename"
        )
    if name == "mount" and len(words) > 1:
        origin = text_of(words[0])
        source = shell.path(origin) if "/" in origin else origin
        shell.emit("mount", shell.path(text_of(words[1])), source=source)
    elif name in ("umount", "umount2") and words:
        shell.emit("mount", shell.path(text_of(words[0])), content="umount")
    elif name in ("sleep", "usleep"):
        return call(program, "time.sleep", words, {})
    elif name == "remove" or name in _SAME:
        flow = program.flow
        result = call(program, f"os.{name}", words, {})
        if program.flow == "raise" and flow != "raise":
            program.flow = flow
        return result
    return UNKNOWN


def _send(program: "Program", host: str, *places: int | str) -> None:
    """Add the effects of sending the arguments at ``places`` to ``host``."""
    sources = frozenset[str]().union(*(program.given.get(place, frozenset()) for place in places))
    for source in sorted(sources):
        if host and not host.startswith("/"):
            program.shell.emit("copy", host, source=source)


def _place(value: Any, port: Any = None) -> str:
    """A socket's address as text."""
    if isinstance(value, tuple | list) and len(value) > 1:
        return f"{text_of(value[0])}:{text_of(value[1])}"
    return f"{text_of(value)}:{text_of(port)}" if isinstance(port, int) else text_of(value)


_OPENS = frozenset("http.client.HTTPConnection http.client.HTTPSConnection smtplib.SMTP smtplib.SMTP_SSL ftplib.FTP "
                   "ftplib.FTP_TLS".split())  # fmt: skip


def remote(program: "Program", name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    """What a call of a library of the network sends, and what it gives."""
    first = arguments[0] if arguments else named.get("url", named.get("host", UNKNOWN))
    if name in ("requests.Session", "requests.session", "httpx.Client"):
        return Ref("requests")
    if name in ("socket.socket", "socket.create_connection"):
        return Remote(_place(first) if name != "socket.socket" else "")
    if name in _OPENS:
        return Remote(_place(first, arguments[1] if len(arguments) > 1 else named.get("port")))
    if name == "urllib.request.Request":
        data = [program.given.get(place, frozenset()) for place in (1, "data")]
        return Remote(text_of(first), data[0] | data[1])
    if name == "urllib.request.urlopen":
        if isinstance(first, Remote):
            program.given = {0: first.sources, **{k: v for k, v in program.given.items() if k != 0}}
            _send(program, first.host, 0, 1, "data")
        else:
            _send(program, text_of(first), 1, "data")
    elif name.startswith(("requests.", "httpx.")):
        if name.endswith((".request", ".stream")):
            url = arguments[1] if len(arguments) > 1 else named.get("url", UNKNOWN)
            _send(program, text_of(url), "data", "json", "files", "content", "params")
        else:
            places = [1] if not name.endswith((".get", ".head", ".options", ".delete")) else []
            _send(program, text_of(first), *places, "data", "json", "files", "content", "params")
    return UNKNOWN


def _remote_method(program: "Program", holder: Remote, name: str, arguments: list[Any]) -> Any:
    match name:
        case "connect" | "connect_ex":
            if arguments:
                holder.host = _place(arguments[0], arguments[1] if len(arguments) > 1 else None)
                program.shell.emit("execute", "socket.connect", content=holder.host)
        case "send" | "sendall" | "sendfile" | "send_message":
            _send(program, holder.host, 0)
        case "sendto":
            _send(program, _place(arguments[-1]) if arguments else "", 0)
        case "request":
            _send(program, holder.host, 2, "body")
        case "sendmail":
            _send(program, holder.host, 2, "msg")
        case "storbinary" | "storlines":
            _send(program, holder.host, 1, "fp")
        case "__enter__" | "makefile":
            return holder
        case "add_data":
            holder.sources |= program.given.get(0, frozenset())
    return UNKNOWN


def _impossible(shell: "Shell", name: str, first: Any, second: Any) -> bool:
    """Whether a call surely raises because a file or its directory is not there."""
    text = text_of(first)
    if (name not in ("open", "os.chmod") and name not in _DELETES | _MOVES | _COPIES) or not known(text):
        return False
    path = shell.path(text)
    if name == "open" and isinstance(second, str) and second[:1] in ("w", "a", "x"):
        return shell.files.is_directory(path) is True or shell.files.exists(posixpath.dirname(path)) is False
    return shell.files.exists(path) is False and path not in shell.files.links


_DELETES = frozenset("os.remove os.unlink os.rmdir os.removedirs shutil.rmtree".split())
_MOVES = frozenset("os.rename os.replace os.renames shutil.move".split())
_COPIES = frozenset("shutil.copy shutil.copy2 shutil.copyfile shutil.copytree".split())
_SHELLS = frozenset(
    "os.system os.popen subprocess.run subprocess.call subprocess.Popen subprocess.check_call subprocess.check_output "
    "subprocess.getoutput subprocess.getstatusoutput commands.getoutput asyncio.create_subprocess_shell "
    "ipython.system ipython.getoutput".split()
)

_ACTS = (
    _DELETES | _MOVES | _COPIES | _SHELLS | {"os.kill", "os.killpg", "os.chmod", "os.truncate", "os.symlink"}
)


def acts(name: str) -> bool:
    """Whether a function changes files, ends processes or runs programs."""
    return name in _ACTS


_BY_SHELL = frozenset(
    "os.system os.popen subprocess.getoutput subprocess.getstatusoutput commands.getoutput "
    "asyncio.create_subprocess_shell ipython.system ipython.getoutput".split()
)


def move(shell: "Shell", source: str, target: str, *, into: bool = False) -> None:
    """Move a file."""
    if into and shell.files.is_directory(target):
        target = f"{target.rstrip('/')}/{posixpath.basename(source)}"
    shell.emit("move", target, source=source, content=shell.files.text(source))
    if known(source) and known(target):
        shell.files.move(source, target)


def link(shell: "Shell", source: str, target: str, *, symbolic: bool) -> None:
    """Make a link."""
    origin = shell.path(source)
    if symbolic and not source.startswith("/"):
        origin = posixpath.normpath(posixpath.join(posixpath.dirname(target), source))
    shell.emit("link", target, source=origin)
    if known(origin) and known(target):
        shell.files.link(target, origin)


def mode_text(mode: Any) -> str | None:
    """A mode as chmod takes it."""
    return f"{mode & 0o7777:03o}" if isinstance(mode, int) else None


def signal_text(value: Any) -> str:
    """A signal's plain name."""
    if isinstance(value, Ref):
        return value.name.rpartition(".")[2].removeprefix("SIG")
    if isinstance(value, int):
        if value == 0:
            return "0"
        try:
            return signals.Signals(value).name.removeprefix("SIG")
        except ValueError:
            return str(value)
    return ANY


def open_file(shell: "Shell", name: Any, mode: str) -> Any:
    """``open``."""
    if isinstance(name, int):
        return Handle(ANY, mode, left=ANY)
    path = text_of(name)
    if isinstance(name, Handle):
        return name
    if "+" in mode and "r" in mode:
        shell.read(path)
        return Handle(path, mode, left=shell.files.text(shell.path(path)))
    if mode[:1] in "wx" or mode[1:2] in ("w", "x"):
        return Handle(path, mode, shell.write(path))
    if "a" in mode:
        return Handle(path, mode, shell.write(path, append=True))
    return Handle(path, mode, left=shell.read(path))


def run_code(program: "Program", code: Any) -> Any:
    """``exec`` and ``eval``."""
    import ast

    from offswitch.evidence.shell.python import parse_python

    shell = program.shell
    text = text_of(code)
    if not known(text):
        shell.give_up()
        return UNKNOWN
    tree = parse_python(text.strip())
    if tree is None:
        shell.give_up()
        return UNKNOWN
    with shell.deeper() as fits:
        if not fits:
            return UNKNOWN
        if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
            return program.value(tree.body[0].value)
        program.block(tree.body)
    return None


def run_shell(program: "Program", name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    """``os.system``, ``subprocess.run`` and their like."""
    shell = program.shell
    command = arguments[0] if arguments else named.get("args", named.get("cmd", UNKNOWN))
    child = shell.fork()
    directory = named.get("cwd")
    if directory is not None:
        child.cwd = shell.path(text_of(directory)) if known(text_of(directory)) else ANY
    for key, value in (named.get("env") or {}).items() if isinstance(named.get("env"), dict) else ():
        child.emit("environment", text_of(key), content=text_of(value))
        child.variables[text_of(key)] = text_of(value)
    if "input" in named:
        from offswitch.evidence.shell.streams import Input

        child.streams[0] = Input(text_of(named["input"]), program.given.get("input", ()))
    output = named.get("stdout")
    if isinstance(output, Handle) and output.output is not None:
        child.streams[1] = output.output
    source = named.get("stdin")
    if isinstance(source, Handle):
        from offswitch.evidence.shell.streams import Input

        child.streams[0] = Input(
            source.left if source.left is not None else ANY, program.given.get("stdin", ())
        )
    words = [text_of(word) for word in command] if isinstance(command, list | tuple) else None
    shown = " ".join(words) if words is not None else text_of(command)
    if words is not None and 0 in program.given:
        child.drawn = dict.fromkeys(words, program.given[0])
    if named.get("start_new_session") is True:
        child.emit("detach", "", content=shown)
    if isinstance(named.get("preexec_fn"), Ref) and named["preexec_fn"].name == "os.setsid":
        child.emit("detach", "", content=shown)
    elif "preexec_fn" in named:
        program.call(named["preexec_fn"], [], {})
    if name == "subprocess.Popen":
        child.emit("background", "", content=shown)
    use_shell = name in _BY_SHELL or bool(named.get("shell"))
    captured = not isinstance(output, Handle) and name not in ("os.system",)

    def run(inner: "Shell") -> None:
        if words is None:
            text = text_of(command)
            if use_shell or " " not in text:
                inner.run_program_text(text, "sh")
            else:
                inner.command([text], functions=False, builtins=False)
        elif use_shell:
            inner.run_program_text(words[0] if words else "", "sh", words[1:])
        elif words:
            inner.command(words, functions=False, builtins=False)

    with shell.deeper() as fits:
        if not fits:
            return UNKNOWN
        if captured:
            text = child.capture(run)
            shell.carried |= child.carried
            status = UNKNOWN
        else:
            run(child)
            text, status = ANY, UNKNOWN
    if name in ("subprocess.check_output", "subprocess.getoutput", "commands.getoutput"):
        return text.rstrip("\n") if "getoutput" in name else text
    if name == "os.popen":
        return Handle(ANY, "r", left=text)
    if name in ("os.system", "subprocess.call"):
        return status
    if name in ("subprocess.run", "subprocess.Popen", "asyncio.create_subprocess_shell"):
        return Process(text, over=name == "subprocess.run")
    return UNKNOWN


def run_words(program: "Program", name: str, arguments: list[Any]) -> Any:
    """``os.execv`` and its like."""
    shell = program.shell
    kind = name.rpartition(".")[2]
    given = list(arguments)
    if kind.startswith("spawn") and name.startswith("os."):
        given = given[1:]
        kind = kind.removeprefix("spawn")
    elif kind.startswith("exec"):
        kind = kind.removeprefix("exec")
    words: list[str] = []
    if kind.startswith("l") or kind == "create_subprocess_exec":
        words = [text_of(word) for word in (given[1:] if kind.startswith("l") else given)]
        words = [text_of(given[0]), *words[1:]] if given else []
    else:
        vector = next((item for item in given if isinstance(item, list | tuple)), None)
        words = (
            [text_of(word) for word in vector]
            if vector is not None
            else [text_of(item) for item in given[:1]]
        )
    if words:
        child = shell.fork()
        child.command(words, functions=False, builtins=False)
    if name.startswith("os.exec"):
        program.flow = "exit"
    return UNKNOWN


def method(program: "Program", holder: Any, name: str, arguments: list[Any], named: dict[str, Any]) -> Any:
    """Call a method of a value."""
    shell = program.shell
    shell.spend()
    if isinstance(holder, Remote):
        return _remote_method(program, holder, name, arguments)
    if isinstance(holder, PathValue):
        return _path_method(program, holder, name, arguments, named)
    if isinstance(holder, Handle):
        return _handle_method(shell, holder, name, arguments)
    if isinstance(holder, Later):
        if name in ("start", "run"):
            if name == "start":
                shell.emit("background", "", content="thread")
            child_flow, lost = program.flow, dict(shell.lost)
            program.call(holder.target, holder.arguments, {})
            program.flow, shell.lost = child_flow, lost
        return None
    if isinstance(holder, Process):
        if name == "communicate":
            return (holder.output, ANY)
        if name in ("kill", "terminate", "send_signal"):
            shell.emit("signal", "%+", content="KILL" if name == "kill" else "TERM")
        return UNKNOWN
    if isinstance(holder, list):
        if name == "append" and arguments:
            holder.append(arguments[0])
        elif name == "extend" and arguments:
            holder.extend((items(program, arguments[0]) or [UNKNOWN])[:5000])
        elif name == "pop" and holder:
            return holder.pop(arguments[0] if arguments and isinstance(arguments[0], int) and -len(holder) <= arguments[
                0] < len(holder) else -1)  # fmt: skip
        elif name == "sort" and all(isinstance(item, str) for item in holder):
            holder.sort()
        elif name == "insert" and len(arguments) == 2 and isinstance(arguments[0], int):
            holder.insert(arguments[0], arguments[1])
        return None
    if isinstance(holder, dict):
        if name == "get" and arguments and isinstance(arguments[0], str | int):
            return holder.get(arguments[0], arguments[1] if len(arguments) > 1 else None)
        if name in ("items", "keys", "values"):
            return {"items": list(holder.items()), "keys": list(holder), "values": list(holder.values())}[
                name
            ]
        return UNKNOWN
    if isinstance(holder, str | bytes):
        return _text_method(program, holder, name, arguments, named)
    if name in _UPLOADS:
        _upload(program, name, arguments, named)
    if name in ("kill", "terminate", "suspend", "send_signal") and "psutil" in program.scopes[0]:
        # Of a process that was found by what the program's own text compares with.
        for text in program.names():
            shell.emit(
                "signal", f"pattern:{text}", content="STOP" if name == "suspend" else "KILL", certain=False
            )
    packages.method_call(program, name, arguments, named)
    for value in arguments:
        if isinstance(value, Later | Remote):
            return value
    return UNKNOWN


_UPLOADS = {
    "upload_file": 0, "upload_fileobj": 0, "upload_folder": 0, "upload_large_folder": 0, "put_object": None,
    "upload_from_filename": 0, "upload_from_file": 0, "upload_blob": 0, "push_to_hub": None, "fput_object": 2, "put": 0,
}  # fmt: skip
"""Methods that put a file into a store or a hub (boto3, huggingface_hub, google-cloud-storage, azure, minio, paramiko's
``put``), and which of their arguments is its name."""


def _upload(program: "Program", name: str, arguments: list[Any], named: dict[str, Any]) -> None:
    place = _UPLOADS[name]
    words = ("path_or_fileobj", "folder_path", "Filename", "filename", "file_path", "localpath")
    given = [named[word] for word in words if word in named]
    if not given and place is not None and place < len(arguments):
        given = [arguments[place]]
    if name == "put" and not (len(arguments) == 2 and isinstance(arguments[1], str)):
        return  # of a queue, or a mapping
    sources = frozenset[str]().union(*program.given.values()) if program.given else frozenset[str]()
    texts = [text_of(value) for value in given if isinstance(value, str | PathValue)]
    sources |= {program.shell.path(text) for text in texts}
    for source in sorted(sources) or ["*"]:
        program.shell.emit("copy", f"{name}()", source=source)


def _path_method(
    program: "Program", holder: PathValue, name: str, arguments: list[Any], named: dict[str, Any]
) -> Any:
    shell = program.shell
    path = holder.text
    full = shell.path(path)
    first = arguments[0] if arguments else next(iter(named.values()), UNKNOWN)
    match name:
        case "write_text" | "write_bytes":
            shell.overwrite(path, text_of(first))
        case "read_text":
            return shell.read(path)
        case "read_bytes":
            text = shell.read(path)
            return text.encode(errors="replace") if known(text) else UNKNOWN
        case "unlink" | "rmdir":
            from offswitch.evidence.shell.fileprograms import remove

            remove(shell, full)
        case "rename" | "replace" | "move":
            move(shell, full, shell.path(text_of(first)))
            return PathValue(text_of(first))
        case "copy":
            shell.emit("copy", shell.path(text_of(first)), source=full)
        case "chmod" | "lchmod":
            shell.emit("mode", shell.files.resolve(full), content=mode_text(first))
        case "touch":
            if not shell.files.exists(full):
                shell.emit("make", full)
                if known(full):
                    shell.files.put(full, "" if shell.files.exists(full) is False else Mark.FILE)
        case "mkdir":
            if not shell.files.exists(full):
                shell.emit("make", full)
                if known(full):
                    shell.files.put(full, Mark.DIRECTORY)
        case "symlink_to" | "hardlink_to":
            link(shell, text_of(first), full, symbolic=name == "symlink_to")
        case "open":
            return open_file(
                shell, path, text_of(arguments[0]) if arguments else text_of(named.get("mode", "r"))
            )
        case "exists" | "is_file" | "is_dir":
            if not known(full):
                return UNKNOWN
            exists, directory = shell.files.exists(full), shell.files.is_directory(full)
            if name == "exists" or exists is False:
                return UNKNOWN if exists is None else exists
            return UNKNOWN if directory is None else directory == (name == "is_dir")
        case "resolve" | "absolute":
            return PathValue(full)
        case "expanduser":
            return PathValue(_expand_user(shell, path))
        case "with_suffix":
            return PathValue(posixpath.splitext(path)[0] + text_of(first))
        case "with_name":
            return PathValue(posixpath.join(posixpath.dirname(path), text_of(first)))
        case "joinpath":
            return PathValue(posixpath.join(path, *(text_of(item) for item in arguments)))
        case "glob" | "rglob" | "iterdir":
            pattern = "*" if name == "iterdir" else text_of(first)
            found = _glob(shell, full, pattern, deep=name == "rglob" or "**" in pattern)
            return [PathValue(item) for item in found]
        case "as_posix" | "__str__" | "__fspath__":
            return path
    return None


def _glob(shell: "Shell", base: str, pattern: str, *, deep: bool = False) -> list[str]:
    from offswitch.evidence.shell import globs

    if not known(base) or not known(pattern):
        return [ANY]
    if deep:
        last = posixpath.basename(pattern)
        found = sorted(p for p in shell.files.under(base) if globs.matches(last, posixpath.basename(p)))
    else:
        found = shell.files.matching(f"{globs.escape(base.rstrip('/'))}/{pattern}")
    return found or [f"{base.rstrip('/')}/{ANY}"]


def _handle_method(shell: "Shell", handle: Handle, name: str, arguments: list[Any]) -> Any:
    match name:
        case "write" | "writelines" | "truncate":
            if handle.output is None:
                if handle.name != ANY or "+" in handle.mode:
                    handle.output = shell.write(handle.name)
                    handle.output.write(ANY, shell.doubts())
                return UNKNOWN
            if name == "truncate":
                return UNKNOWN
            given = arguments[0] if arguments else UNKNOWN
            text = (
                "".join(text_of(item) for item in given)
                if isinstance(given, list | tuple)
                else text_of(given)
            )
            handle.output.write(text, shell.doubts())
            return len(text)
        case "read":
            if handle.left is None:
                return UNKNOWN
            text, handle.left = handle.left, ""
            if "b" in handle.mode:
                return text.encode(errors="replace") if known(text) else UNKNOWN
            return text
        case "readlines":
            text = handle.left or ANY
            return text.splitlines(keepends=True) if known(text) else UNKNOWN
        case "readline":
            return ANY
        case "__enter__" | "detach":
            return handle
    return None


_GROWING = frozenset("ljust rjust center zfill expandtabs".split())
_TEXT = frozenset(
    "replace split rsplit splitlines join strip lstrip rstrip upper lower title capitalize swapcase encode decode "
    "startswith endswith find rfind index count removeprefix removesuffix partition rpartition isdigit isalpha hex "
    "translate casefold".split()
)


def _text_method(
    program: "Program", text: str | bytes, name: str, arguments: list[Any], named: dict[str, Any]
) -> Any:
    unsure = isinstance(text, str) and not known(text)
    if unsure and process_pattern(text_of(text)):
        if name in ("strip", "rstrip", "lstrip", "decode", "encode", "replace"):
            return text
        if name in ("split", "splitlines", "rsplit"):
            return [text]
    if name == "format" and isinstance(text, str):
        if re.search(r"\d{4}|[{][^}]*[.\[]", text) or unsure:
            return ANY
        try:
            given = [item if isinstance(item, int | float) else text_of(item) for item in arguments]
            words = {
                key: item if isinstance(item, int | float) else text_of(item) for key, item in named.items()
            }
            return text.format(*given, **words)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError):
            return ANY
    if name in _GROWING:
        return ANY if isinstance(text, str) else UNKNOWN
    if name not in _TEXT:
        return UNKNOWN
    if name == "join" and arguments:
        parts = items(program, arguments[0])
        if parts is None or len(text) * len(parts) > _LIMIT:
            return ANY
        if isinstance(text, bytes):
            return text.join(parts) if all(isinstance(part, bytes) for part in parts) else UNKNOWN
        return text.join(text_of(part) for part in parts)
    if unsure and name in (
        "startswith",
        "endswith",
        "find",
        "rfind",
        "index",
        "count",
        "isdigit",
        "isalpha",
        "hex",
    ):
        return UNKNOWN
    if unsure and name in ("encode", "decode", "split", "rsplit", "splitlines", "partition", "rpartition"):
        return ANY if name in ("encode", "decode") else UNKNOWN
    if not all(isinstance(item, str | bytes | int | dict | tuple | type(None)) for item in arguments):
        return ANY if isinstance(text, str) else UNKNOWN
    longer = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], str | bytes) else ""
    if name == "replace" and len(text) * (len(longer) + 1) > 20 * _LIMIT:
        return UNKNOWN
    try:
        return getattr(text, name)(*arguments)
    except Exception:  # a call that would fail gives no value
        return UNKNOWN


def _expand_user(shell: "Shell", path: str) -> str:
    return shell.home + path[1:] if path == "~" or path.startswith("~/") else path


def _json(value: Any) -> Any:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return UNKNOWN


def _existence(kind: str) -> "Callable[..., Any]":
    def look(program: "Program", path: Any) -> Any:
        return _path_method(program, PathValue(text_of(path)), kind, [], {})

    return look


def _inflate(_: "Program", data: Any, *rest: Any) -> Any:
    machine = zlib.decompressobj(rest[0]) if rest and isinstance(rest[0], int) else zlib.decompressobj()
    return machine.decompress(data, _LIMIT)


def _codec(_: "Program", data: Any, coding: Any = "utf-8") -> Any:
    if coding in ("rot13", "rot_13") and isinstance(data, str):
        return codecs.decode(data, "rot13")
    if coding in ("hex", "base64"):
        return codecs.decode(data if isinstance(data, bytes) else data.encode(), coding)
    return data.decode(coding) if coding in ("utf-8", "utf8", "ascii") else UNKNOWN


def _length(_: "Program", value: Any) -> Any:
    if not is_known(value) or (isinstance(value, list) and not all(known(text_of(item)) for item in value)):
        return UNKNOWN
    return len(value)


def _range(_: "Program", *ends: Any) -> Any:
    numbers = range(*ends)
    return list(numbers) if len(numbers) <= 2000 else UNKNOWN


def _number(_: "Program", value: Any, base: Any = 10) -> Any:
    if isinstance(value, str) and process_pattern(value):
        return value
    if isinstance(value, str | bytes) and len(value) < 100:
        return int(value, base)
    return int(value) if isinstance(value, int | float) else UNKNOWN


def _each(function: "Callable[[list[Any]], Any]") -> "Callable[..., Any]":
    def run(program: "Program", *values: Any) -> Any:
        lists = [items(program, value) for value in values[:1]]
        return UNKNOWN if any(held is None for held in lists) else function(lists[0] or [])

    return run


def _mapped(program: "Program", function: Any, values: Any) -> Any:
    held = items(program, values)
    return UNKNOWN if held is None else [program.call(function, [item], {}) for item in held[:2000]]


def _zip(program: "Program", *values: Any) -> Any:
    lists = [items(program, value) for value in values]
    return UNKNOWN if None in lists else [tuple(row) for row in zip(*lists, strict=False)]


def _join(_: "Program", *parts: Any) -> Any:
    return posixpath.join(*(text_of(part) for part in parts))


def _text_path(function: "Callable[[str], Any]") -> "Callable[..., Any]":
    def run(_: "Program", path: Any) -> Any:
        text = text_of(path)
        return function(text) if known(text) else ANY

    return run


def _substitute(_: "Program", pattern: Any, by: Any, text: Any, *rest: Any) -> Any:
    # A regular expression of somebody else's is not run: it could take for ever.
    plain = isinstance(pattern, str) and not re.search(r"[\\^$.|?*+()\[\]{}]", pattern)
    if plain and isinstance(by, str) and "\\" not in by and isinstance(text, str):
        return text.replace(pattern, by)
    return ANY


def _listdir(program: "Program", path: Any = ".") -> Any:
    return [posixpath.basename(item) for item in _glob(program.shell, program.shell.path(text_of(path)), "*")]


def _bytes(_: "Program", value: Any = b"", *rest: Any) -> Any:
    if isinstance(value, str):
        return value.encode() if known(value) else UNKNOWN
    if isinstance(value, int) and not isinstance(value, bool):
        return bytes(value) if 0 <= value <= 10_000 else UNKNOWN
    return bytes(value)


_PURE: dict[str, Callable[..., Any]] = {
    "os.path.join": _join,
    "os.path.dirname": _text_path(posixpath.dirname),
    "os.path.basename": _text_path(posixpath.basename),
    "os.path.normpath": _text_path(posixpath.normpath),
    "os.path.splitext": _text_path(posixpath.splitext),
    "os.path.abspath": lambda program, path: program.shell.path(text_of(path)),
    "os.path.realpath": lambda program, path: program.shell.files.resolve(program.shell.path(text_of(path))),
    "os.path.expanduser": lambda program, path: _expand_user(program.shell, text_of(path)),
    "os.path.expandvars": lambda program, path: program.shell.words.document(text_of(path)),
    "os.path.exists": _existence("exists"),
    "os.path.lexists": _existence("exists"),
    "os.path.isfile": _existence("is_file"),
    "os.path.isdir": _existence("is_dir"),
    "os.fspath": lambda _, path: text_of(path),
    "os.getcwd": lambda program: program.shell.cwd,
    "os.getpid": lambda _: "$$",
    "os.getppid": lambda _: "$PPID",
    "os.getpgid": lambda _, pid: pid,
    "os.listdir": _listdir,
    "os.walk": packages.walked,
    "next": lambda program, values, *rest: packages.first(program, values, *rest, items=items),
    "glob.glob": lambda program, pattern: _glob(
        program.shell, posixpath.dirname(program.shell.path(pattern)), posixpath.basename(pattern)
    ),
    "pathlib.Path": lambda program, *parts: PathValue(_join(program, *parts) if parts else "."),
    "pathlib.PosixPath": lambda program, *parts: PathValue(_join(program, *parts) if parts else "."),
    "pathlib.Path.home": lambda program: PathValue(program.shell.home),
    "pathlib.Path.cwd": lambda program: PathValue(program.shell.cwd),
    "base64.b64decode": lambda _, data, *rest: base64.b64decode(data),
    "base64.urlsafe_b64decode": lambda _, data: base64.urlsafe_b64decode(data),
    "base64.b64encode": lambda _, data: base64.b64encode(data),
    "base64.b32decode": lambda _, data: base64.b32decode(data),
    "base64.b16decode": lambda _, data: base64.b16decode(data),
    "base64.b85decode": lambda _, data: base64.b85decode(data),
    "binascii.unhexlify": lambda _, data: binascii.unhexlify(data),
    "binascii.a2b_base64": lambda _, data: binascii.a2b_base64(data),
    "bytes.fromhex": lambda _, data: bytes.fromhex(data),
    "bytearray.fromhex": lambda _, data: bytes.fromhex(data),
    "codecs.decode": _codec,
    "zlib.decompress": _inflate,
    "gzip.decompress": lambda program, data: _inflate(program, data, 31),
    "json.dumps": lambda _, value, *rest: _json(value),
    "shlex.split": lambda _, text: shlex.split(text) if known(text) and len(text) < 20_000 else UNKNOWN,
    "shlex.quote": lambda _, text: shlex.quote(text) if known(text) else ANY,
    "textwrap.dedent": lambda _, text: __import__("textwrap").dedent(text) if len(text) < 20_000 else ANY,
    "re.sub": _substitute,
    "chr": lambda _, number: chr(number),
    "ord": lambda _, char: ord(char),
    "str": lambda _, value="", *rest: text_of(value),
    "repr": lambda _, value: repr(value) if isinstance(value, str | int) else ANY,
    "int": _number,
    "float": lambda _, value: float(value),
    "bool": lambda _, value: bool(value) if is_known(value) else UNKNOWN,
    "oct": lambda _, value: oct(value),
    "len": _length,
    "range": _range,
    "list": _each(list),
    "tuple": _each(tuple),
    "set": _each(list),
    "sorted": _each(lambda held: sorted(held)),
    "reversed": _each(lambda held: held[::-1]),
    "enumerate": _each(lambda held: list(enumerate(held))),
    "any": _each(lambda held: any(held) if all(map(is_known, held)) else UNKNOWN),
    "all": _each(lambda held: all(held) if all(map(is_known, held)) else UNKNOWN),
    "map": _mapped,
    "zip": _zip,
    "bytes": _bytes,
    "bytearray": _bytes,
    "dict": lambda _, *rest: dict(rest[0]) if rest and isinstance(rest[0], dict) else {},
    "shutil.which": lambda _, name: f"/usr/bin/{literal(name)}" if literal(name) else ANY,
}

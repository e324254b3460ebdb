"""What a tool call would have its client do, whatever the shape in which the client takes it.

A tool is known by its name where the name is one of a well-known agent program or API, and else by the words in its
name and the names of its parameters. What an unknown tool may execute is taken to be executed. The shapes are those of
codex (``shell``, ``local_shell``, ``exec_command``, ``write_stdin``, ``apply_patch``), Claude Code (``Bash``,
``Write``, ``Edit``, ``MultiEdit``, ``NotebookEdit``), opencode (``bash``, ``write``, ``edit``, ``patch``),
mini-swe-agent (``bash``), the built-in tools of the Anthropic API (``bash``, ``str_replace_based_edit_tool``,
``computer``) and of the OpenAI API (``local_shell_call``, ``shell_call``, ``apply_patch_call``, ``computer_call``), and
the usual MCP servers.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from offswitch.enforce.watchdog import lenient, scripted
from offswitch.enforce.watchdog.calls import Call
from offswitch.evidence import patches

LONGEST = 4_000_000
"""Letters of arguments that are looked at."""

_DEEPEST = 12
_MOST = 400
"""Values of one call that are looked at."""


@dataclass(frozen=True)
class Run:
    """A command of the shell.

    Attributes:
        text: It.
        cwd: Where it starts; "" where the call does not say.
        goes_on: Whether it may run in the shell of the commands before it.
        environment: Variables that are set for it.
        guess: Whether it is only taken for a command, because a tool that is not known may run it.
    """

    text: str
    cwd: str = ""
    goes_on: bool = False
    environment: tuple[tuple[str, str], ...] = ()
    guess: bool = False


@dataclass(frozen=True)
class Code:
    """A program in another language.

    Attributes:
        program: What runs it: ``python``, ``node``.
        text: It.
        cwd: Where it starts; "" where the call does not say.
    """

    program: str
    text: str
    cwd: str = ""


@dataclass(frozen=True)
class Change:
    """A change of a file.

    Attributes:
        verb: ``write`` (a whole new text), ``append``, ``edit`` (of parts), ``delete``, ``move``, ``make``.
        path: The file.
        to: Where it is moved or copied to.
        content: The new text of ``write`` and ``append``.
        edits: For ``edit``: what is replaced, and by what. An empty first text: the second is put in somewhere.
        patch: For ``edit``: the patch that says so instead.
    """

    verb: Literal["write", "append", "edit", "delete", "move", "copy", "make"]
    path: str
    to: str = ""
    content: str | None = None
    edits: tuple[tuple[str, str], ...] = ()
    patch: patches.Change | None = None


@dataclass(frozen=True)
class Keys:
    """Text that is typed, into a terminal or a window.

    Attributes:
        text: It; a newline for the enter key.
        where: What it is typed into, as far as the call says.
    """

    text: str
    where: str = ""


@dataclass(frozen=True)
class Look:
    """A file that is read."""

    path: str


@dataclass(frozen=True)
class Fetch:
    """An address that is asked for.

    Attributes:
        url: It.
        sends: What is sent there.
    """

    url: str
    sends: str = ""


Deed = Run | Code | Change | Keys | Look | Fetch


@dataclass(frozen=True)
class Shape:
    """What a call does.

    Attributes:
        deeds: In order.
        complete: Whether all of the call was understood.
        cut: Whether it is larger than what is read, or broke what reads it.
    """

    deeds: tuple[Deed, ...]
    complete: bool = True
    cut: bool = False


def shape(call: Call) -> Shape:
    """Say what a call would have its client do. Never raises."""
    try:
        return _shape(call)
    except (RecursionError, ValueError, TypeError, KeyError, AttributeError, MemoryError):
        # The model chooses the arguments: what breaks this is looked at as the text that it is.
        return Shape((Run(call.arguments[:LONGEST], guess=True),), complete=False, cut=True)


# Tools

_PATH = ("path", "file_path", "filepath", "absolute_path", "target_file", "filename", "file_name", "file",
         "notebook_path", "relative_workspace_path", "relative_path", "target", "source_path", "source", "src",
         "old_path", "from", "uri", "targetfile", "paths", "files", "directory", "dir", "folder")  # fmt: skip
_TO = ("destination", "destination_path", "dest", "dst", "to", "new_path", "target_path", "newpath", "move_to",
       "target", "new_name")  # fmt: skip
_TEXT = ("content", "contents", "file_text", "text", "new_content", "code_edit", "data", "body", "new_source",
         "file_content", "filecontent", "value", "code", "codecontent")  # fmt: skip
_OLD = ("old_string", "old_str", "oldtext", "old_text", "oldstring", "search", "old", "find", "original",
        "target_content", "targetcontent", "pattern", "before")  # fmt: skip
_NEW = ("new_string", "new_str", "newtext", "new_text", "newstring", "replace", "new", "replacement",
        "replacement_content", "replacementcontent", "insert_text", "after", "with")  # fmt: skip
_COMMAND = ("command", "cmd", "commands", "shell_command", "bash_command", "commandline", "command_line", "script",
            "argv", "bash", "shell", "exec", "line", "cmds")  # fmt: skip
_CODE = (
    "code",
    "python",
    "python_code",
    "source_code",
    "script",
    "cell",
    "program",
    "source",
    "snippet",
    "input",
)
_CWD = ("workdir", "cwd", "working_directory", "workingdirectory", "working_dir", "workdirectory", "dir", "directory",
        "working_directory_path")  # fmt: skip
_KEYED = ("chars", "text", "keys", "input", "data", "value", "stdin", "content", "key")
_PROSE = frozenset(
    "description body prompt explanation thought thoughts thinking reasoning plan message messages summary title "
    "subject question questions answer answers todo todos query reason justification goal task tasks note notes "
    "comment comments label name instruction instructions query_text observation observations entities "
    "relations header caption final_answer response status step steps merge tag tags pattern subagent_type "
    "activeform".split()
)
"""Parameters that hold words for people or models: no tool runs them."""

_SHELLS = frozenset(
    "bash shell sh zsh terminal local_shell local_shell_call shell_call shell_command exec_command "
    "execute_command run_command run_shell_command container_exec container.exec execute_bash execute_shell "
    "run_bash run_shell run_terminal_cmd run_in_terminal bash_command start_process execute run exec command "
    "cmd powershell bash_20250124 bash_20241022 developer__shell unified_exec run_terminal_command "
    "execute_shell_command ssh_exec interact_with_process system subprocess spawn launch_process "
    "mswea_bash_command".split()
)
_PYTHONS = frozenset(
    "python python3 ipython jupyter run_python execute_python python_exec python_repl repl ipython_cell "
    "execute_ipython_cell code_interpreter run_ipython run_python_code execute_python_code executecode "
    "execute_code run_code jupyter_cell notebook_execute execute_cell code_execution".split()
)
_NODES = frozenset(
    "javascript js node js_repl execute_javascript run_javascript run_js execute_js evaluate".split()
)
_HARMLESS = frozenset(
    "update_plan todowrite todoread task agent exitplanmode enterplanmode askuserquestion bashoutput killshell "
    "killbash taskoutput taskstop think sequentialthinking finish submit attempt_completion "
    "ask_followup_question request_user_input web_search websearch skill listmcpresources toolsearch "
    "sleep_until wait_agent view_image invalid question plan_exit plan_enter write_todos save_memory".split()
)
"""Tools that change nothing beyond the agent program's own memory, by their well-known names."""

_PATCHES = frozenset("apply_patch applypatch apply_patch_call patch apply_diff".split())
_EDITORS = frozenset(
    "str_replace_based_edit_tool str_replace_editor text_editor str_replace_based_edit text_editor_20250728 "
    "text_editor_20250429 text_editor_20250124 text_editor_20241022 developer__text_editor edit_tool".split()
)
_WRITES = frozenset("write create save put overwrite store dump upload replace_file_contents".split())
_EDITS = frozenset("edit replace modify update change str_replace multiedit insert multi sub rewrite".split())
_DELETES = frozenset("delete remove unlink rm trash erase".split())
_MOVES = frozenset("move rename mv".split())
_COPIES = frozenset("copy cp duplicate".split())
_LOOKS = frozenset(
    "read view list ls glob grep search find get show open cat tree stat info lsp status diff log head tail "
    "fetch describe inspect look browse".split()
)
_ACTS = frozenset(
    "run exec execute shell bash command cmd terminal process spawn launch start system invoke eval".split()
)


def _shape(call: Call) -> Shape:
    text = call.arguments
    complete = len(text) <= LONGEST
    text = text[:LONGEST]
    if call.kind == "text":
        return Shape((Run(text, goes_on=True),), complete)
    name = _plain(call.name)
    if call.kind in ("custom", "patch") and not text.lstrip().startswith("{"):
        if name not in _PATCHES and scripted.is_script(text):
            return _script(name, text, complete)
        return _free(name, text, complete)
    try:
        arguments, clean = _read(text)
    except (ValueError, RecursionError):
        if not text.strip():
            return Shape((), complete)
        # Some clients repair what is no JSON.
        read = [_of_value(call, name, value) for value in lenient.values(text)]
        if call.kind in ("custom", "patch") and name not in _PATCHES and scripted.is_script(text):
            # A program may begin with a block.
            read.append(_script(name, text, False))
        if name in _SHELLS or _words(_snake(call.name)) & _ACTS:
            read.append(Shape(tuple(_after_names(text))))
        if len(read) >= lenient.MOST:
            read.append(Shape((), cut=True))
        deeds = [deed for one in (*read, _free(name, text, False)) for deed in one.deeds]
        return Shape(tuple(deeds), complete=False, cut=any(one.cut for one in read))
    if isinstance(arguments, str):
        if arguments.lstrip()[:1] in ("{", "[", '"'):
            inner = _shape(Call(call.id, call.name, arguments, call.kind))
            return Shape((*inner.deeds, *_free(name, arguments, False).deeds), complete=False)
        return _free(name, arguments, complete and clean)
    found = _of_value(call, name, arguments)
    return Shape(found.deeds, found.complete and clean and complete)


def _of_value(call: Call, name: str, arguments: Any) -> Shape:
    """A call with these arguments; of names that stand twice each may be the one that counts."""
    if not isinstance(arguments, dict):
        return Shape(tuple(_guesses(arguments, "", 0)), complete=False)
    found = _known(call, name, _flat(arguments))
    twice = {key: value for key, value in arguments.items() if _AGAIN.search(key)}
    if not twice:
        return found
    once = {key: value for key, value in arguments.items() if key not in twice}
    others = [_known(call, name, _flat({**once, _AGAIN.sub("", key): value})) for key, value in twice.items()]
    return Shape(tuple(deed for one in (found, *others) for deed in one.deeds), complete=False)


_AGAIN = re.compile(r"#\d+\Z")
_AFTER_NAME = re.compile(rf"(?i)\b(?:{'|'.join(_COMMAND)})\b[^\w/.~$]*")
_NO_WORD = re.compile(r"</\w+>|[\"'`\\,+(){}\[\]\u201c\u201d\u2018\u2019]")
_NAMES = 20
_REST = 20_000


def _after_names(text: str) -> Iterator[Run]:
    """What stands behind the name of a command, in a text that is no JSON: with its quotes, and as words alone.

    How a client mends quotes within quotes, texts in several pieces or marks that are no JSON, only it knows.
    """
    begins = [0, *(match.end() for match in islice(_AFTER_NAME.finditer(text), _NAMES))]
    for begin in begins:
        rest = text[begin : begin + _REST]
        yield Run(rest.rstrip(" \t\r\n\"'}]).,;"), guess=True)
        closed = re.sub(r'["\'}\])\s]+\Z', "", rest)
        yield Run(closed + ('"' if closed.count('"') % 2 else ""), guess=True)
        yield Run(_NO_WORD.sub(" ", rest), guess=True)


def _plain(name: str) -> str:
    """A tool's own name: without its server's and in small letters."""
    name = name.strip()
    if name.startswith("mcp__"):
        name = name.rpartition("__")[2]
    name = re.split(r"[./:](?=[^./:]+$)", name)[-1] if name.lower() != "container.exec" else name
    return name.lower().replace("-", "_")


def _words(name: str) -> frozenset[str]:
    """The words that a tool's name is made of."""
    return frozenset(re.split(r"[_\W]+", name)) - {""}


def _read(text: str) -> tuple[Any, bool]:
    """The JSON that a text is, and whether it says everything once: of two equal names, clients may take either."""
    clean = True

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal clean
        found = dict(entries)
        if len(found) != len(entries):
            clean = False
            for number, (name, value) in enumerate(entries):
                if found[name] is not value:
                    found[f"{name}#{number}"] = value
        return found

    return json.loads(text, object_pairs_hook=pairs), clean


def _flat(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments with what built-in tools have under ``action`` or ``operation``, and some wrap in ``params``."""
    for name in ("action", "operation", "arguments", "params", "parameters", "args", "input", "kwargs"):
        inner = arguments.get(name)
        if isinstance(inner, dict):
            rest = {key: value for key, value in arguments.items() if key != name}
            return {**rest, **inner}
    return arguments


def _free(name: str, text: str, complete: bool) -> Shape:
    """A call whose arguments are plain text."""
    if name in _PATCHES or patches.holds(text):
        return _patch(text, complete)
    if name in _PYTHONS:
        return Shape((Code("python", text),), complete)
    if name in _NODES:
        return Shape((Code("node", text),), complete)
    if name in _SHELLS:
        return Shape((Run(text),), complete)
    if name in _HARMLESS:
        return Shape((), complete)
    return Shape((Run(text, guess=True),), complete)


def _script(name: str, text: str, complete: bool) -> Shape:
    """A call whose text is a program that makes calls."""
    script = scripted.read(text)
    made = [
        _shape(
            Call(
                "",
                one,
                given if isinstance(given, str) else json.dumps(given),
                "custom" if isinstance(given, str) else "function",
            )
        )
        for one, given in script.calls
    ]
    complete = complete and script.complete and all(one.complete for one in made)
    deeds = [deed for one in made for deed in one.deeds]
    if not made:
        deeds += _free(name, text, complete).deeds
    if not script.complete:
        # One of the texts may be what is called with.
        deeds += [Run(one, guess=True) for one in dict.fromkeys(script.texts)]
    return Shape(tuple(deeds), complete, script.cut or any(one.cut for one in made))


def _known(call: Call, name: str, given: dict[str, Any]) -> Shape:
    """A call whose arguments are an object."""
    low = {key.lower().replace("-", "_"): value for key, value in given.items()}
    words = _words(_snake(call.name))
    if name in _HARMLESS and not any(key in low for key in _COMMAND):
        return Shape(())
    if words & _WAITS and (seconds := _seconds(low)) is not None and not any(key in low for key in _COMMAND):
        return Shape((Run(f"sleep {seconds:.12g}"),))
    if (
        call.kind == "computer"
        or name in ("computer", "computer_call", "computer_use")
        or name.startswith("computer_2")
    ):
        return _computer(low)
    if name in (
        "write_stdin",
        "send_input",
        "send_keys",
        "type_text",
        "write_to_terminal",
        "read_write_process",
    ):
        return _stdin(name, low)
    if name in _PATCHES or call.kind == "patch":
        return _patching(low)
    if name in _EDITORS or (name == "edit" and "command" in low):
        return _editor(low)
    if name in _PYTHONS:
        return _code("python", low)
    if name in _NODES:
        return _code("node", low)
    if name in _SHELLS or call.kind == "shell":
        return _shell(name, low)
    if name in (
        "webfetch",
        "web_fetch",
        "fetch",
        "fetch_url",
        "http_request",
        "curl",
        "request",
        "url_fetch",
    ):
        return _fetch(low)
    path = _first(low, _PATH)
    if path is not None or (words & (_WRITES | _EDITS | _DELETES | _MOVES | _COPIES) and _first(low, _TO)):
        found = _filed(words, low, path or "")
        if found is not None:
            return found
    if words & _SAYS and not words & _ACTS:
        given = {key: value for key, value in given.items() if key.lower() not in _SAID}
    elif words & _ACTS or any(isinstance(low.get(key), str | list) for key in _COMMAND):
        return _shell(name, low)
    return Shape((*_guesses(given, "", 0),))


_SAYS = frozenset(
    "message comment issue email mail notify reply chat slack say ask answer post tweet review ticket event note "
    "respond send report feedback announce".split()
)
"""Words in the names of tools that say something to somebody."""

_SAID = frozenset("text body content contents markdown html value input".split())


_WAITS = frozenset("wait sleep pause delay".split())
_UNITS = {"hours": 3600.0, "minutes": 60.0, "mins": 60.0, "seconds": 1.0, "secs": 1.0, "sec": 1.0, "duration": 1.0,
          "time": 1.0, "duration_seconds": 1.0, "seconds_to_wait": 1.0, "delay": 1.0, "delay_seconds": 1.0,
          "duration_minutes": 60.0, "ms": 0.001, "milliseconds": 0.001, "duration_ms": 0.001, "delay_ms": 0.001,
          "sleep_ms": 0.001}  # fmt: skip


def _seconds(given: dict[str, Any]) -> float | None:
    """How long a tool that waits is told to wait."""
    for name, unit in _UNITS.items():
        value = given.get(name)
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}(?:\.\d{1,6})?", value):
            value = float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
            return value * unit
    return None


def _snake(name: str) -> str:
    name = name.rpartition("__")[2] if name.startswith("mcp__") else name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _first(given: dict[str, Any], names: tuple[str, ...]) -> Any:
    """The first of the parameters that is given: text, or a list."""
    for name in names:
        value = given.get(name, given.get(name.replace("_", "")))
        if isinstance(value, str) or (isinstance(value, list) and value):
            return value
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _cwd(given: dict[str, Any]) -> str:
    value = _first(given, _CWD)
    return value if isinstance(value, str) else ""


_SHELL_NAMES = frozenset("sh bash dash zsh ash ksh".split())


def command_of(words: list[str]) -> str:
    """The command that an argument vector is: what a shell is given behind ``-c`` itself, else its words quoted."""
    if (
        len(words) == 3
        and words[0].rpartition("/")[2] in _SHELL_NAMES
        and re.fullmatch(r"-[lic]*c[lic]*", words[1])
    ):
        return words[2]
    return shlex.join(words)


def _commands(value: Any) -> Iterator[str]:
    """The commands in a parameter: a text, an argument vector, or a list of either."""
    if isinstance(value, str):
        stripped = value.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            # Some models write the vector as text.
            try:
                inner = json.loads(stripped)
            except ValueError:
                inner = None
            if isinstance(inner, list) and inner and all(isinstance(word, str) for word in inner):
                yield command_of(inner)
                return
        yield value
    elif isinstance(value, list):
        if value and all(isinstance(word, str) for word in value):
            # A vector, unless a later word is a command of its own: a list of commands.
            if any(" " in word for word in value[:1]) or value[0].rstrip() == "":
                yield from value
            else:
                yield command_of(value)
        else:
            for entry in value:
                yield from _commands(entry if not isinstance(entry, dict) else _first(entry, _COMMAND))
    elif isinstance(value, dict):
        yield from _commands(_first(value, _COMMAND))


def _shell(name: str, given: dict[str, Any]) -> Shape:
    if isinstance(given.get("commands"), list) and all(isinstance(entry, str) for entry in given["commands"]):
        texts = list(given["commands"])  # of shell_call: one command each
    else:
        value = next((given[key] for key in _COMMAND if isinstance(given.get(key), str | list | dict)), None)
        if value is None:
            value = next(
                (given[key] for key in (*_CODE, *_ALONE) if isinstance(given.get(key), str | list)), None
            )
        texts = list(_commands(value))
        extra = given.get("args", given.get("arguments"))
        if (
            isinstance(value, str)
            and isinstance(extra, list)
            and all(isinstance(word, str) for word in extra)
        ):
            texts = [f"{value} {shlex.join(extra)}"]
    environment = given.get("env", given.get("environment"))
    variables = (
        tuple((str(key), str(value)) for key, value in environment.items())
        if isinstance(environment, dict)
        else ()
    )
    language = str(given.get("language", given.get("lang", given.get("interpreter", "")))).lower()
    cwd = _cwd(given)
    if language.startswith(("python", "py")):
        return Shape(tuple(Code("python", text, cwd) for text in texts))
    if language.startswith(("js", "javascript", "node", "typescript")):
        return Shape(tuple(Code("node", text, cwd) for text in texts))
    if not texts:
        # Such as {"restart": true}, or a parameter that is not known.
        return Shape(
            tuple(_guesses(given, "", 0)), complete=set(given) <= {"restart", "session_id", "timeout"}
        )
    runs = tuple(Run(text, cwd, not cwd, variables) for text in texts)
    typed = given.get("stdin")
    return Shape((*runs, Keys(typed)) if isinstance(typed, str) else runs)


_ALONE = ("query", "input_text", "body", "task", "arg", "arg1", "argument", "__arg1", "tool_input", "action_input",
          "statement", "statements", "source_text", "payload")  # fmt: skip
"""What else the one parameter of a tool is called that runs it: some name it for the model, and not for what it is."""


def _code(program: str, given: dict[str, Any]) -> Shape:
    language = str(given.get("language", given.get("lang", ""))).lower()
    value = _first(given, (*_CODE, *_COMMAND, "text", "content", "expression", "function", *_ALONE))
    if isinstance(value, list):
        value = "\n".join(str(line) for line in value)
    if not isinstance(value, str):
        return Shape(tuple(_guesses(given, "", 0)), complete=not given or set(given) <= {"restart"})
    if language.startswith(("bash", "sh", "shell", "zsh")):
        return Shape((Run(value, _cwd(given)),))
    if language.startswith(("js", "javascript", "node", "typescript")):
        program = "node"
    return Shape((Code(program, value, _cwd(given)),))


def _patching(given: dict[str, Any]) -> Shape:
    """``apply_patch``: one text, or OpenAI's ``{"type": "update_file", "path": ..., "diff": ...}``."""
    path = _text(_first(given, _PATH))
    diff = _text(given.get("diff"))
    kind = str(given.get("type", ""))
    if kind == "delete_file" and path:
        return Shape((Change("delete", path),))
    if path and diff is not None:
        if kind == "create_file":
            return Shape((Change("write", path, content=patches.created(diff)),))
        return Shape((_update(patches.Change("update", path, hunks=patches.diff(diff))),))
    text = _text(
        _first(given, ("input", "patch", "patchtext", "patch_text", "diff", "content", "text", "command"))
    )
    if text is None:
        value = _first(given, _COMMAND)
        text = value[-1] if isinstance(value, list) and isinstance(value[-1], str) else None
    if text is None:
        return Shape(tuple(_guesses(given, "", 0)), complete=False)
    return _patch(text, True)


def _patch(text: str, complete: bool) -> Shape:
    if not patches.holds(text) and re.search(r"^\+\+\+ ", text, re.M):
        return Shape((Run("patch -p1 <<'OFFSWITCH_PATCH'\n" + text + "\nOFFSWITCH_PATCH"),), complete)
    patch = patches.parse(text)
    deeds: list[Deed] = []
    for change in patch.changes:
        match change.verb:
            case "add":
                deeds.append(Change("write", change.path, content=change.content))
            case "delete":
                deeds.append(Change("delete", change.path))
            case "update":
                if change.hunks:
                    deeds.append(_update(change))
                if change.to:
                    deeds.append(Change("move", change.path, to=change.to))
    return Shape(tuple(deeds), complete and patch.complete)


def _update(change: patches.Change) -> Change:
    return Change("edit", change.path, edits=((change.removed, change.added),), patch=change)


def _editor(given: dict[str, Any]) -> Shape:
    """Anthropic's text editor: ``view``, ``create``, ``str_replace``, ``insert``, ``undo_edit``."""
    path = _text(_first(given, _PATH))
    if path is None:
        return Shape(tuple(_guesses(given, "", 0)), complete=False)
    old, new = _text(_first(given, _OLD)) or "", _text(_first(given, _NEW)) or ""
    match given.get("command"):
        case "view":
            return Shape((Look(path),))
        case "create" | "write":
            return Shape((Change("write", path, content=_text(_first(given, _TEXT)) or ""),))
        case "str_replace":
            return Shape((Change("edit", path, edits=((old, new),)),))
        case "insert":
            return Shape((Change("edit", path, edits=(("", new or _text(_first(given, _TEXT)) or ""),)),))
        case "delete":
            return Shape((Change("delete", path),))
        case "rename":
            return Shape((Change("move", given.get("old_path") or path, to=str(given.get("new_path", ""))),))
        case command:
            return Shape((Change("edit", path, edits=((old, new),)),), complete=command == "undo_edit")


def _computer(given: dict[str, Any]) -> Shape:
    """Keys and typed text, of one action or several."""
    actions = given.get("actions")
    if isinstance(actions, list):
        shapes = [_computer(_flat(action)) for action in actions[:_MOST] if isinstance(action, dict)]
        return Shape(tuple(deed for one in shapes for deed in one.deeds), all(one.complete for one in shapes))
    action = str(given.get("type", given.get("action", "")))
    text = given.get("text", given.get("keys", given.get("key")))
    if action in ("type", "type_text", "input_text"):
        return Shape((Keys(str(text or "")),))
    if action in ("key", "keypress", "hold_key", "press", "press_key"):
        keys = text if isinstance(text, list) else [str(text or "")]
        return Shape(tuple(Keys(_key(str(key))) for key in keys if _key(str(key))))
    return Shape((), complete=action in _POINTING)


_POINTING = frozenset(
    "screenshot click double_click triple_click left_click right_click middle_click move mouse_move scroll drag "
    "wait left_click_drag cursor_position left_mouse_down left_mouse_up zoom".split()
)


def _key(name: str) -> str:
    """What a key types: one letter itself, enter a newline, others nothing."""
    if name.lower() in ("return", "enter", "kp_enter"):
        return "\n"
    if name.lower() in ("space", "tab"):
        return " "
    return name if len(name) == 1 else ""


def _stdin(name: str, given: dict[str, Any]) -> Shape:
    text = next((given[key] for key in _KEYED if isinstance(given.get(key), str)), "")
    where = given.get("session_id", given.get("process_id", given.get("pid", "")))
    return Shape((Keys(text, str(where)),) if text else ())


def _fetch(given: dict[str, Any]) -> Shape:
    url = _text(_first(given, ("url", "uri", "href", "address"))) or ""
    sends = given.get("body", given.get("data", given.get("json", "")))
    method = str(given.get("method", "GET")).upper()
    sent = sends if isinstance(sends, str) else json.dumps(sends)
    return Shape((Fetch(url, sent if method not in ("GET", "HEAD") else ""),), complete=bool(url))


def _paths(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [
        entry.removeprefix("file://") if isinstance(entry, str) else str(_first(entry, _PATH) or "")
        for entry in values[:_MOST]
        if isinstance(entry, str | dict)
    ]


def _filed(words: frozenset[str], given: dict[str, Any], path: Any) -> Shape | None:
    """A tool that has to do with a file, by what it is called and what it is given."""
    paths = [name for name in _paths(path) if name]
    to = _text(_first(given, _TO))
    if words & _MOVES and to:
        return Shape(tuple(Change("move", name, to=to) for name in paths))
    if words & _COPIES and to:
        return Shape(tuple(Change("copy", name, to=to) for name in paths))
    if words & _DELETES or given.get("edit_mode") == "delete_file":
        return Shape(tuple(Change("delete", name) for name in paths))
    edits = tuple(_edits(given))
    files = given.get("files")
    if isinstance(files, list) and any(isinstance(entry, dict) for entry in files):
        return Shape(tuple(_several(files)))
    content = _first(given, _TEXT)
    text = _text(content)
    if "notebook_path" in given:
        return Shape(tuple(Change("edit", name, edits=(("", text or ""),)) for name in paths))
    if words & _LOOKS and not words & (_WRITES | _EDITS | _ACTS):
        return Shape(tuple(Look(name) for name in paths))
    if words & {"directory", "folder", "mkdir", "dir"} and words & (_WRITES | {"make", "mkdir"}):
        return Shape(tuple(Change("make", name) for name in paths))
    if words & _ACTS or any(key in given for key in _COMMAND):
        return None
    if words & {"append"} and text is not None:
        return Shape(tuple(Change("append", name, content=text) for name in paths))
    if edits:
        return Shape(tuple(Change("edit", name, edits=edits) for name in paths))
    if text is not None:
        verb: Literal["write", "append", "edit"] = (
            "edit" if words & _EDITS and not words & _WRITES else "write"
        )
        if verb == "edit":
            return Shape(tuple(Change("edit", name, edits=(("", text),)) for name in paths))
        appends = str(given.get("mode", "")) in ("append", "a") or given.get("append") is True
        return Shape(tuple(Change("append" if appends else "write", name, content=text) for name in paths))
    if words & (_WRITES | _EDITS):
        return Shape(tuple(Change("write", name, content="") for name in paths), complete=False)
    return None


def _edits(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    several = given.get("edits", given.get("changes", given.get("replacements")))
    for entry in several[:_MOST] if isinstance(several, list) else [given]:
        if isinstance(entry, dict):
            low = {str(key).lower(): value for key, value in entry.items()}
            old, new = _text(_first(low, _OLD)), _text(_first(low, _NEW))
            if new is not None or (old is not None and several):
                yield old or "", new or ""


def _several(files: list[Any]) -> Iterator[Change]:
    for entry in files[:_MOST]:
        if isinstance(entry, dict):
            low = {str(key).lower(): value for key, value in entry.items()}
            path = _text(_first(low, _PATH))
            if path:
                edits = tuple(_edits(low))
                if edits:
                    yield Change("edit", path, edits=edits)
                else:
                    yield Change("write", path, content=_text(_first(low, _TEXT)) or "")


_RUN = frozenset((*_COMMAND, "run", "hook", "code", "python"))


def _guesses(value: Any, key: str, depth: int) -> Iterator[Deed]:
    """What a tool that is not known may do with its arguments: every text that it may execute."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        if key not in _PROSE and len(value) > 1:
            if patches.holds(value):
                yield from _patch(value, True).deeds
            else:
                yield Run(value, guess=True)
    elif isinstance(value, list):
        if value and all(isinstance(word, str) for word in value) and key not in _PROSE:
            if len(value) > 1:
                yield Run(command_of(value), guess=True)
            for word in value[:_MOST]:
                if len(word.split()) > 1:
                    yield Run(word, guess=True)
        else:
            for entry in value[:_MOST]:
                yield from _guesses(entry, key, depth + 1)
    elif isinstance(value, dict):
        for name, entry in list(value.items())[:_MOST]:
            low = str(name).lower()
            # What lies below words for people is such too, unless it is called a command.
            yield from _guesses(entry, key if key in _PROSE and low not in _RUN else low, depth + 1)

"""Programs that change text in place: sed, perl, awk, ed and their like."""

import re
from typing import TYPE_CHECKING

from offswitch.evidence.shell.files import Mark
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.unknown import ANY, known, unglobbed

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status


@runs("sed gsed")
def sed(call: Call) -> "Status | None":
    scripts: list[str] = []
    operands: list[str] = []
    in_place: str | None = None
    quiet = False
    words = list(call.args)
    extended = False
    while words:
        word = words.pop(0)
        if word == "--":
            operands += words
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if name in ("expression", "file"):
                value = value if equals else words.pop(0) if words else ""
                scripts.append(value if name == "expression" else call.shell.read(value))
            elif name == "in-place":
                in_place = value
            elif name in ("quiet", "silent"):
                quiet = True
            elif name == "regexp-extended":
                extended = True
        elif word.startswith("-") and len(word) > 1:
            place = 1
            while place < len(word):
                letter = word[place]
                place += 1
                if letter == "i":
                    in_place = word[place:]
                    break
                if letter in "efl":
                    value = word[place:] or (words.pop(0) if words else "")
                    if letter == "e":
                        scripts.append(value)
                    elif letter == "f":
                        scripts.append(call.shell.read(value))
                    break
                quiet = quiet or letter == "n"
                extended = extended or letter in "rE"
        else:
            operands.append(word)
    if not scripts:
        if not operands:
            from offswitch.evidence.shell.walk import Status

            return Status.FAIL
        scripts.append(operands.pop(0))
    script = unglobbed("\n".join(scripts))
    for match in re.finditer(r"(?:^|[;{}/\n0-9$gp])\s*w\s+([^\n;}]+)", script[:20000]):
        call.shell.overwrite(match.group(1).strip(), None)
    for match in re.finditer(r"(?:^|[;{}\n])\s*(?:\d+|\$|/[^/\n]*/)?\s*e\s+([^\n;}]+)", script[:20000]):
        call.shell.run_program_text(match.group(1).strip())
    if in_place is None:
        text = call.inputs(operands)
        call.out(_sed(script, text, quiet, extended))
        return None
    failed = False
    for name in operands:
        path = call.real(name) if "follow-symlinks" in str(call.args) else call.path(name)
        directory = call.shell.files.is_directory(path)
        if directory or (call.shell.files.exists(path) is False and path not in call.shell.files.links):
            failed = True
            continue
        before = call.shell.files.text(path)
        after = _sed(script, before, quiet, extended) if before is not None else ANY
        if in_place and known(path):
            backup = in_place.replace("*", path.rsplit("/", 1)[-1]) if "*" in in_place else path + in_place
            call.shell.emit("copy", backup, source=path, content=before)
            call.shell.files.copy(path, backup)
        call.shell.emit("write", path, content=after)
        if known(path):
            call.shell.files.links.pop(path, None)
            call.shell.files.put(path, after if known(after) else Mark.FILE)
    if failed:
        from offswitch.evidence.shell.walk import Status

        return Status.FAIL
    return None


_SPECIAL = re.compile(r"[\\.*\[\]^$]")
_SPECIAL_EXTENDED = re.compile(r"[\\.*\[\]^$+?(){}|]")


def _sed(script: str, text: str, quiet: bool, extended: bool) -> str:
    """What the simplest scripts do: substitutions and deletions by plain text or line number. Else anything.

    Regular expressions that others wrote are never run: they could take for ever.
    """
    if not known(text) or not known(script) or len(script) > 4000 or len(text) > 200_000:
        return ANY
    lines = text.split("\n")
    ending = lines[-1] == ""
    if ending:
        lines.pop()
    for command in _sed_commands(script):
        result = _sed_one(command, lines, quiet, extended)
        if result is None:
            return ANY
        lines = result
        if quiet:
            break
    return "\n".join(lines) + ("\n" if ending and lines else "")


def _sed_commands(script: str) -> list[str]:
    commands: list[str] = []
    for line in script.split("\n"):
        body = line.strip()
        if re.match(r"(\d+|\$)?[aic]\\?\s", body):
            commands.append(body)
            continue
        start = 0
        delimiters = 0
        substitutes = re.match(r"s(.)", body)
        for place, char in enumerate(body):
            if substitutes and char == substitutes.group(1) and body[place - 1 : place] != "\\":
                delimiters += 1
            if char == ";" and (not substitutes or delimiters >= 3):
                commands.append(body[start:place].strip())
                start = place + 1
                substitutes = re.match(r"\s*s(.)", body[start:])
                delimiters = 0
        commands.append(body[start:].strip())
    return [command for command in commands if command and not command.startswith("#")]


def _sed_one(command: str, lines: list[str], quiet: bool, extended: bool) -> list[str] | None:
    special = _SPECIAL_EXTENDED if extended else _SPECIAL
    match = re.fullmatch(r"s(.)(.*)", command, re.DOTALL)
    if match:
        parts = re.split(rf"(?<!\\){re.escape(match.group(1))}", match.group(2))
        if len(parts) != 3 or not set(parts[2]) <= set("g"):
            return None
        old, new = parts[0], parts[1]
        delimiter = "\\" + match.group(1)
        old, new = old.replace(delimiter, match.group(1)), new.replace(delimiter, match.group(1))
        if quiet:
            return None
        whole = old in ("^.*$", ".*", "^.*")
        front, back = old.startswith("^") and not whole, old.endswith("$") and not whole
        body = old[front : len(old) - back]
        if (not whole and special.search(body)) or re.search(r"[\\&]", new):
            return None
        if whole:
            return [new for _ in lines]
        if front and back:
            return [new if line == body else line for line in lines]
        if front:
            return [new + line[len(body) :] if line.startswith(body) else line for line in lines]
        if back:
            return [line[: len(line) - len(body)] + new if line.endswith(body) else line for line in lines]
        if not body:
            return None
        return [line.replace(body, new, -1 if "g" in parts[2] else 1) for line in lines]
    match = re.fullmatch(r"(\d+)?(?:,(\d+|\$))?([dp])", command)
    if match:
        first = int(match.group(1)[:9]) if match.group(1) else 1
        last = (
            len(lines)
            if match.group(2) == "$" or not match.group(1)
            else int((match.group(2) or match.group(1))[:9])
        )
        if (match.group(3) == "p") != quiet:
            return None
        chosen = lines[first - 1 : last]
        return chosen if quiet else lines[: first - 1] + lines[max(last, first - 1) :]
    match = re.fullmatch(r"/([^/]*)/([dp])", command)
    if match and not special.search(match.group(1)) and match.group(1):
        hit = [line for line in lines if match.group(1) in line]
        if match.group(2) == "p":
            return hit if quiet else None
        return None if quiet else [line for line in lines if match.group(1) not in line]
    match = re.fullmatch(r"(\d+|\$)?([aic])\\?\s+(.*)", command)
    if match and not quiet and match.group(1):
        number = len(lines) if match.group(1) == "$" else int(match.group(1)[:9])
        if not 1 <= number <= len(lines) or "\\" in match.group(3):
            return None
        new_lines = {"a": [lines[number - 1], match.group(3)], "i": [match.group(3), lines[number - 1]]}
        return [*lines[: number - 1], *new_lines.get(match.group(2), [match.group(3)]), *lines[number:]]
    return None


@runs("awk gawk mawk nawk")
def awk(call: Call) -> "Status | None":
    options = call.options("vFfiE", "assign field-separator file include", first=True)
    operands = list(options.operands)
    script = "" if options.has("f", "file") else operands.pop(0) if operands else ""
    if options.has("f", "file"):
        script = call.shell.read(options.value("f", "file") or "")
    names = [name for name in operands if not re.match(r"\w+=", name)]
    if options.value("i", "include") == "inplace":
        for name in names:
            call.shell.overwrite(name, None)
        return None
    code = unglobbed(script)
    text = call.inputs(names) if names or not re.fullmatch(r"\s*BEGIN\s*\{[^{}]*\}\s*", code) else ""
    for match in re.finditer(r"system\(\s*\"((?:[^\"\\]|\\.)*)\"\s*\)", code[:20000]):
        call.shell.run_program_text(match.group(1).replace('\\"', '"'))
    for match in re.finditer(r"print[^;\n|}]*?(>>?)\s*\"([^\"]+)\"", code[:20000]):
        call.shell.overwrite(match.group(2), None, append=match.group(1) == ">>")
    for match in re.finditer(r"\|\s*\"([^\"]+)\"", code[:20000]):
        call.shell.run_program_text(match.group(1))
    found = re.fullmatch(r"\s*\{\s*print\s+\$(\d+)\s*;?\s*\}\s*", code)
    if known(text) and found and len(found.group(1)) < 4 and not options.has("F"):
        number = int(found.group(1))
        rows = [line.split() for line in text.splitlines()]
        if number:
            call.out("".join((row[number - 1] if number <= len(row) else "") + "\n" for row in rows))
        else:
            call.out(text)
        return None
    from offswitch.evidence.shell.unknown import process_pattern, processes

    wanted = re.match(r"\s*/([^/]+)/|[^{]*?(?:==\s*\"([^\"]+)\"|~\s*(?:/([^/]+)/|\"([^\"]+)\"))", code)
    if "\0ps\0" in text and wanted:
        call.out(processes(re.sub(r"\[(.)\]", r"\1", next(filter(None, wanted.groups())))))
    else:
        call.out(text if process_pattern(text) else ANY)
    return None


@runs("ed ex red")
def ed(call: Call) -> "Status | None":
    options = call.options("pc", "", optional="")
    text = call.shell.stdin().all()
    commands = f"{options.value('c') or ''}\n{text}"
    names = options.operands
    for name in names:
        call.shell.read(name)
    if not known(text) or re.search(r"(^|\n|\|)\s*%?(wq?!?|x!?)\s*($|\n|\|)", commands):
        for name in names:
            call.shell.overwrite(name, None)
            if not known(text):
                call.shell.give_up()
    for match in re.finditer(r"(?:^|\n)[ \t]*w!?[ \t]+(\S+)", commands[:20000]):
        call.shell.overwrite(match.group(1), None)
    for match in re.finditer(r"(?:^|\n)\s*!(.+)", commands[:20000]):
        call.shell.run_program_text(match.group(1))
    return None


@runs("vi vim nvim vim.tiny emacs nano pico micro joe")
def vim(call: Call) -> "Status | None":
    commands: list[str] = []
    names: list[str] = []
    words = list(call.args)
    while words:
        word = words.pop(0)
        if word in ("-c", "--cmd", "--eval", "-S") and words:
            commands.append(words.pop(0))
        elif word.startswith("+"):
            commands.append(word[1:])
        elif not word.startswith("-"):
            names.append(word)
    if "-s" in call.args or any(word.startswith("-e") for word in call.args):
        text = call.shell.stdin().all()
        commands.append(text if known(text) else "")
    script = "\n".join(commands)
    for name in names:
        call.shell.read(name)
    if re.search(r"(^|[\n|:])\s*%?(wq?!?|x!?|wqa!?|xa!?|wa!?|up(date)?)\s*($|[\n|])", script):
        for name in names:
            call.shell.overwrite(name, None)
    for match in re.finditer(r"(?:^|[\n|])\s*:?!(.+)", script[:20000]):
        call.shell.run_program_text(match.group(1))
    if not commands:
        from offswitch.evidence.shell.walk import Status

        call.shell.slow()
        return Status.UNKNOWN
    return None


@runs("crudini dasel xmlstarlet sd rpl toml json prettier jsonnetfmt augtool initool")
def settings(call: Call) -> None:
    """Programs that change settings, or plain text, where it stands."""
    options = call.options("f" if call.name in ("dasel", "json") else "", "file format output")
    words = options.operands
    names: list[str] = []
    match call.name:
        case "crudini":
            names = words[:1] if options.has("set", "del", "merge") else []
        case "dasel":
            file = options.value("f", "file")
            changes = words[:1] in (["put"], ["delete"]) and not options.has("output", "o")
            names = [file] if file and changes else []
        case "xmlstarlet":
            names = words[-1:] if words[:1] in (["ed"], ["edit"]) and options.has("L", "inplace") else []
        case "sd" | "rpl":
            names = words[2:] if not options.has("p", "preview", "s", "dry-run") else []
        case "toml":
            names = words[1:2] if words[:1] in (["set"], ["unset"]) else []
        case "json":
            file = options.value("f", "file")
            names = [file] if file and options.has("I", "in-place") else []
        case "prettier" | "jsonnetfmt":
            names = words if options.has("w", "write", "i", "in-place") and call.name != "prettier" else []
    for name in names:
        call.shell.overwrite(name, None)
    call.out(ANY)

"""Programs that read text and print it, changed or not."""

import base64
import binascii
import re
import zlib
from typing import TYPE_CHECKING

from offswitch.evidence.shell import globs
from offswitch.evidence.shell.registry import Call, runs
from offswitch.evidence.shell.streams import FileOutput
from offswitch.evidence.shell.unknown import (
    ANY,
    known,
    nothing,
    packed,
    process_pattern,
    processes,
    unpacked,
)

if TYPE_CHECKING:
    from offswitch.evidence.shell.walk import Status


@runs("cat tac rev nl zcat bzcat xzcat bat")
def cat(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    names = [arg for arg in call.args if arg == "-" or not arg.startswith("-")]
    numbered = len(names) < len(call.args)
    there = [name for name in names if name == "-" or call.shell.files.exists(call.path(name)) is not False]
    output = call.shell.streams.get(1)
    if isinstance(output, FileOutput) and output.before:
        # cat does not read what it appends to.
        there = [name for name in there if call.real(name) != output.path]
    text = call.inputs(there) if there or not names else ""
    absent = len(there) < len(names)
    if (
        names
        and nothing(text)
        and len(names) == 1
        and known(names[0])
        and call.path(names[0]).endswith(".pid")
    ):
        text = processes(call.path(names[0]))
    if call.name == "tac" and known(text) and not numbered:
        text = "".join(reversed(text.splitlines(keepends=True)))
    elif call.name == "rev" and known(text):
        text = "".join(line[::-1] + "\n" for line in text.splitlines())
    elif call.name in ("zcat", "bzcat", "xzcat") and unpacked(text) is not None:
        text = _unpacked("gzcat" if call.name == "zcat" else call.name, text)
    elif call.name not in ("cat", "bat") or numbered:
        text = text if process_pattern(text) else ANY
    call.out(text)
    if absent:
        return Status.FAIL
    return (
        Status.OK
        if names and all(call.shell.files.text(call.path(name)) is not None for name in names)
        else None
    )


_SHOWS = """
    less more view most hexdump strings od cksum sum md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum wc
    cmp diff comm fold fmt pr expand unexpand column join paste colordiff sdiff zdiff shellcheck
"""


@runs(_SHOWS)
def shows(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    names = call.options("nNsfwcdktFA", "width").operands
    call.inputs(names)
    call.out(ANY)
    return Status.UNKNOWN if call.name in ("cmp", "diff", "comm", "shellcheck") else None


@runs("head tail")
def head(call: Call) -> None:
    args = [re.sub(r"^-(\d+)$", r"-n\1", arg) for arg in call.args]
    options = Call(call.shell, call.name, args).options("ncs", "lines bytes pid")
    text = call.inputs(options.operands)
    count = options.value("n", "lines") or "10"
    if process_pattern(text):
        call.out(text)
        return
    start = text[: text.index(ANY)].split("\n")[:-1] if call.name == "head" and ANY in text else []
    if start and count.isdigit() and int(count[:4]) <= len(start) and not options.has("c", "bytes"):
        # What follows is not known, but it is cut off.
        call.out("".join(line + "\n" for line in start[: int(count[:4])]))
        return
    follows = options.has("f", "F", "follow", "retry") and call.name == "tail"
    if follows and "pid" not in options.values and options.operands == ["/dev/null"]:
        call.shell.emit("sleep", "", content="inf")
    if options.has("c", "bytes", "f", "F") or not known(text) or not re.fullmatch(r"[-+]?\d{1,6}", count):
        call.out(ANY)
        if options.has("f", "F"):
            call.shell.slow()
        return
    lines = text.splitlines(keepends=True)
    number = int(count.lstrip("+-"))
    if call.name == "head":
        lines = lines[:-number] if count.startswith("-") and number else lines[:number]
    else:
        lines = lines[max(number - 1, 0) :] if count.startswith("+") else lines[len(lines) - number :] if number < len(
            lines) else lines  # fmt: skip
    call.out("".join(lines))


@runs("grep egrep fgrep rg zgrep ag ack")
def grep(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options("eABCfmd", "regexp file max-count include exclude context color colour")
    operands = options.operands
    pattern = options.value("e", "regexp")
    if pattern is None and not options.has("f", "file"):
        if not operands:
            return Status.FAIL
        pattern, operands = operands[0], operands[1:]
    recursive = options.has("r", "R", "recursive") or call.name in ("rg", "ag", "ack")
    if recursive and not operands:
        call.out(ANY)
        return Status.UNKNOWN
    if operands and all(call.shell.files.exists(call.path(name)) is False for name in operands):
        return Status.FAIL
    text = call.inputs(operands)
    if "\0ps\0" in text and pattern and not options.has("v"):
        plain = re.sub(r"\[(.)\]", r"\1", pattern)
        call.out(processes(plain))
        return Status.UNKNOWN
    if process_pattern(text):
        call.out(text)
        return Status.UNKNOWN
    simple = pattern is not None and known(pattern) and len(pattern) < 500
    body = pattern or ""
    if simple and not options.has("F"):
        front, back = body.startswith("^"), body.endswith("$")
        body = body[front : len(body) - back or None]
        simple = not re.search(
            r"[\\^$.|?*+()\[\]{}]" if call.name == "egrep" or options.has("E", "P") else r"[\\^$.*\[\]]", body
        )
    else:
        front = back = False
    if not simple or not known(text) or options.has("w", "x", "o", "c", "n", "A", "B", "C", "l", "L", "f"):
        if not options.has("q", "quiet"):
            told = simple and call.shell.files.bare and not options.has("v", "o", "c", "i", "f")
            # Of a line that is found this much is known.
            call.out(f"{ANY}{body}{ANY}" if told and not known(text) else ANY)
        return Status.UNKNOWN
    fold = options.has("i", "ignore-case")
    body = body.lower() if fold else body
    lines = text.splitlines(keepends=True)
    chosen = []
    for line in lines:
        plain = (line.lower() if fold else line).rstrip("\n")
        if front and back:
            hit = plain == body
        elif front:
            hit = plain.startswith(body)
        else:
            hit = plain.endswith(body) if back else body in plain
        if hit != options.has("v", "invert-match"):
            chosen.append(line if line.endswith("\n") else line + "\n")
    if not options.has("q", "quiet"):
        call.out("".join(chosen) if len(operands) < 2 else ANY)
    return Status.OK if chosen else Status.FAIL


@runs("tr cut sort uniq shuf iconv jq yq envsubst")
def filters(call: Call) -> None:
    options = call.options(
        "dfcbkto" if call.name in ("cut", "sort") else "", "characters bytes fields delimiter"
    )
    output = options.value("o") if call.name == "sort" else None
    names = options.operands
    if call.name in ("tr", "iconv", "envsubst"):
        sets, names = names, []
    else:
        sets = []
        if call.name in ("jq", "yq"):
            names = names[1:]
    text = call.inputs(names)
    result = text if process_pattern(text) else ANY
    if known(text):
        result = _filtered(call, text, sets) if call.name != "cut" else _cut(options.values, text)
    if call.name == "yq" and options.has("i", "inplace", "in-place"):
        for name in names:
            call.shell.overwrite(name, None)
    elif output is not None:
        call.shell.overwrite(output, result)
    else:
        call.out(result)


def _cut(values: dict[str, str], text: str) -> str:
    place = values.get("c", values.get("b", values.get("characters", values.get("bytes", ""))))
    if span := re.fullmatch(r"(\d{0,5})(-?)(\d{0,5})", place):
        start = int(span[1] or 1)
        end = int(span[3]) if span[3] else None if span[2] else start
        return "".join(line[start - 1 : end] + "\n" for line in text.splitlines())
    field, delimiter = (
        values.get("f", values.get("fields", "")),
        values.get("d", values.get("delimiter", "\t")),
    )
    if not field.isdigit() or len(delimiter) != 1:
        return ANY
    lines = []
    for line in text.splitlines():
        parts = line.split(delimiter)
        lines.append(line if len(parts) == 1 else parts[int(field) - 1] if int(field) <= len(parts) else "")
    return "".join(line + "\n" for line in lines)


def _filtered(call: Call, text: str, sets: list[str]) -> str:
    lines = text.splitlines()
    flags = [arg for arg in call.args if arg.startswith("-")]
    if call.name == "sort" and flags in ([], ["-u"], ["-r"]):
        lines = sorted(set(lines) if flags == ["-u"] else lines, reverse=flags == ["-r"])
        return "".join(line + "\n" for line in lines)
    if call.name == "tr" and all(known(item) for item in sets):
        from offswitch.evidence.shell.words import escapes

        classes = {"[:lower:]": "a-z", "[:upper:]": "A-Z", "[:digit:]": "0-9", "[:space:]": " \t\n\r\f\v"}
        expanded = []
        for item in sets:
            for name, members in classes.items():
                item = item.replace(name, members)
            item = escapes(item)
            item = re.sub(r"(\w)-(\w)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), item)
            expanded.append(item)
        if flags == ["-d"] and len(expanded) == 1:
            return text.translate({ord(char): None for char in expanded[0]})
        if not flags and len(expanded) == 2 and expanded[1]:
            second = expanded[1].ljust(len(expanded[0]), expanded[1][-1])
            return text.translate({ord(a): b for a, b in zip(expanded[0], second, strict=False)})
    return ANY


@runs("tee")
def tee(call: Call) -> None:
    options = call.options()
    text = call.shell.stdin().all()
    for name in options.operands:
        call.shell.overwrite(name, text, append=options.has("a", "append"))
    call.out(text)


@runs("sponge")
def sponge(call: Call) -> None:
    options = call.options()
    text = call.shell.stdin().all()
    for name in options.operands:
        call.shell.overwrite(name, text, append=options.has("a"))


@runs("base64 base32 basenc")
def base64_(call: Call) -> "Status | None":
    from offswitch.evidence.shell.walk import Status

    options = call.options("w", "wrap")
    text = call.inputs(options.operands)
    if not known(text) or len(text) > 1 << 20:
        call.out(ANY)
        return None
    coder = base64.b32decode if call.name == "base32" else base64.b64decode
    try:
        if options.has("d", "D", "decode"):
            call.out(bytes_text(coder(re.sub(r"\s", "", text))))
        else:
            encode = base64.b32encode if call.name == "base32" else base64.b64encode
            call.out(encode(text.encode(errors="surrogateescape")).decode() + "\n")
    except (ValueError, binascii.Error):
        call.out(ANY)
        return Status.UNKNOWN
    return None


@runs("xxd")
def xxd(call: Call) -> None:
    options = call.options("clsogEn")
    text = call.inputs(options.operands[:1])
    result = ANY
    if options.has("r", "revert") and options.has("p", "ps", "plain") and known(text):
        try:
            result = bytes_text(bytes.fromhex(re.sub(r"[^0-9a-fA-F]", "", text)))
        except ValueError:
            result = ANY
    if len(options.operands) > 1:
        call.shell.overwrite(options.operands[1], result)
    else:
        call.out(result)


def bytes_text(data: bytes) -> str:
    """Bytes as text, when they are text."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return packed(data)
    return text.replace("\0", "")


_MOST = 1 << 20
_PACKERS = {"bz": "bz2", "bun": "bz2", "xz": "xz", "gun": "gz", "gz": "gz"}


def _unpacked(name: str, text: str) -> str:
    """What a packer finds in what it reads; anything where that is not known."""
    data = unpacked(text)
    if data is None:
        return ANY
    kind = next((kind for part, kind in _PACKERS.items() if part in name), "")
    try:
        if kind == "gz":
            return bytes_text(zlib.decompressobj(31).decompress(data, _MOST))
        if kind == "bz2":
            import bz2

            return bytes_text(bz2.BZ2Decompressor().decompress(data, _MOST))
        if kind == "xz":
            import lzma

            return bytes_text(lzma.LZMADecompressor(memlimit=64 * _MOST).decompress(data, _MOST))
    except Exception:  # whatever a packer says of what is none of its own, or is cut off
        return ANY
    return ANY


@runs("gunzip gzip bzip2 bunzip2 xz unxz zstd")
def gunzip(call: Call) -> None:
    options = call.options("S")
    unpack = call.name.startswith(("gun", "bun", "unx")) or options.has("d", "decompress")
    if not options.operands:
        text = call.shell.stdin().all()
        call.out(_unpacked(call.name, text) if unpack else ANY)
        return
    for name in options.operands:
        path = call.path(name)
        target = re.sub(r"\.(gz|bz2|xz|zst)$", "", path) if unpack else path + ".gz"
        if options.has("c", "stdout"):
            text = call.shell.read(name)
            call.out(_unpacked(call.name, text) if unpack else ANY)
            continue
        held = call.shell.files.text(path)
        call.shell.emit("move" if not options.has("k", "keep") else "copy", target, source=path)
        inside = _unpacked(call.name, held) if unpack and held is not None else ANY
        if known(inside) and known(target):
            call.shell.files.put(target, inside)


@runs("basename")
def basename(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    options = call.options("s", "suffix")
    names = options.operands
    if not names:
        return Status.FAIL
    suffix = options.value("s", "suffix") or (names[1] if len(names) == 2 and not options.has("a") else "")
    base = names[0].rstrip("/").rsplit("/", 1)[-1]
    call.out((base.removesuffix(suffix) if base != suffix else base) + "\n")
    return Status.OK


@runs("dirname")
def dirname(call: Call) -> "Status":
    from offswitch.evidence.shell.walk import Status

    for name in call.args:
        head, slash, _ = name.rstrip("/").rpartition("/")
        call.out((head or ("/" if slash else ".")) + "\n")
    return Status.OK


@runs("seq")
def seq(call: Call) -> None:
    if not all(re.fullmatch(r"-?\d{1,6}", arg) for arg in call.args) or not 1 <= len(call.args) <= 3:
        call.out(ANY)
        return
    numbers = [int(arg) for arg in call.args]
    first = numbers[0] if len(numbers) > 1 else 1
    step = numbers[1] if len(numbers) == 3 else 1
    last = numbers[-1]
    if step == 0 or abs(last - first) // abs(step) > globs.MAX_WORDS:
        call.out(ANY)
        return
    call.out("".join(f"{n}\n" for n in range(first, last + (1 if step > 0 else -1), step)))


@runs("expr")
def expr(call: Call) -> "Status":
    from offswitch.evidence.shell import arithmetic
    from offswitch.evidence.shell.walk import Status

    number = arithmetic.value(" ".join(call.args), call.shell) if len(call.args) != 1 else None
    call.out(ANY if number is None else f"{number}\n")
    return Status.UNKNOWN if number is None else Status.OK if number else Status.FAIL


@runs("yes")
def yes(call: Call) -> None:
    call.out(ANY)


@runs("split csplit")
def split(call: Call) -> None:
    names = call.options("bnlCa").operands
    call.inputs(names[:1])
    call.shell.overwrite((names[1] if len(names) > 1 else "x") + ANY, None)


@runs("script")
def script(call: Call) -> None:
    options = call.options("cIOTB", "command")
    command = options.value("c", "command")
    if options.operands:
        call.shell.overwrite(options.operands[0], None)
    if command:
        call.shell.run_program_text(command)

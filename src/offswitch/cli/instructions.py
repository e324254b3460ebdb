"""`offswitch instructions`: what an agent's model was told, when it changed, and what of it bears on stopping."""

import json
import os
import sys
import textwrap
import time

from offswitch.cli.arguments import Parser, find_places, name
from offswitch.cli.exits import FINDING, USAGE, Stop
from offswitch.cli.table import safe, shown
from offswitch.enforce.watchdog import instructions, marks, offered, pins, recorded
from offswitch.enforce.watchdog.differences import rows
from offswitch.enforce.watchdog.told import first_line, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from offswitch.enforce.watchdog.differences import Row, Sign
    from offswitch.enforce.watchdog.recorded import Account, Changed, Line, Sent

    _Place = dict[str, str | int]

HELP = "Show what an agent's model was told, when it changed, and what of it bears on stopping."

_LINES = 12
_TOOLS = 40
_LATEST = 10
_WIDE = 100
_LETTERS = 20_000
_LONG = 500
_COLOURS = {"-": "\x1b[31m", "+": "\x1b[32m", "@": "\x1b[36m", "head": "\x1b[1m", "mark": "\x1b[33m"}


def main(arguments: list[str]) -> int:
    """Show a record.

    Args:
        arguments: What follows ``instructions``.

    Returns:
        0; 1 if a text is gone or is not what was recorded.

    Raises:
        Stop: There is no such record, or it cannot be read.
    """
    parser = Parser("instructions", "[options] [NAME]")
    parser.add_argument("name", metavar="NAME", nargs="?", type=name, help="Name of the agent.")
    parser.add_argument(
        "--records",
        metavar="DIR",
        help="In the place of NAME: a folder that offswitch watch --records wrote.",
    )
    parser.add_argument("--run", metavar="RUN", help="Another run than the latest.")
    parser.add_argument("--texts", action="store_true", help="Everything in full.")
    parser.add_argument(
        "--no-texts",
        action="store_true",
        help="No text, but its digest and size, and the names of tools and parameters.",
    )
    parser.add_argument(
        "--pin-out", metavar="FILE", help="Write all that was told as a pin file, for --pin of a later run."
    )
    parser.add_argument(
        "--changing",
        metavar="LINE",
        action="append",
        default=[],
        help="With --pin-out: a line that may change, such as 'Today is *' (repeatable).",
    )
    parser.add_json()
    parser.add_state()
    asked = parser.parse_args(arguments)
    if asked.changing and asked.pin_out is None:
        parser.error("--changing goes with --pin-out")
    if asked.texts and asked.no_texts:
        parser.error("--texts and --no-texts exclude each other")
    if (asked.name is None) == (asked.records is None):
        parser.error("name an agent, or a folder with --records")
    if asked.records is not None:
        if asked.run is not None:
            parser.error("--run goes with NAME")
        if not os.path.isdir(asked.records):
            raise Stop(
                USAGE, f"{asked.records}: no such folder; name one that offswitch watch --records wrote"
            )
        whose, run, account = (
            os.path.basename(os.path.abspath(asked.records)),
            "-",
            recorded.read(asked.records),
        )
    else:
        whose = asked.name
        account, run = _account(whose, asked.run, asked.state)
    if asked.pin_out is not None:
        return _pin(account, asked.pin_out, asked.changing)
    view = _View(account, full=asked.texts, bare=asked.no_texts)
    if asked.as_json:
        json.dump(view.body(whose, run), sys.stdout, indent=2)
        print()
    else:
        for line in view.lines(whose, run):
            print(line)
    for trouble in view.troubles:
        print("offswitch:", trouble, file=sys.stderr)
    return FINDING if view.damaged else 0


def _account(name: str, run: str | None, state: str | None) -> "tuple[Account, str]":
    places = find_places(state)
    known = instructions.runs(places, name)
    if not known:
        raise Stop(
            USAGE,
            f"nothing is recorded of what {name} was told: start it with offswitch run --model-api, "
            "and its model is asked through the gateway",
        )
    if run is not None and run not in known:
        raise Stop(USAGE, f"there is no run {run[:40]!r} of {name}; there are {', '.join(known[:10])}")
    chosen = run or known[0]
    return recorded.read(instructions.folder(places, name, chosen)), chosen


def _pin(account: "Account", path: str, changing: list[str]) -> int:
    try:
        body = pins.of(account, changing)
    except pins.PinsError as error:
        raise Stop(USAGE, str(error)) from None
    if not body["texts"]:
        raise Stop(USAGE, "the model was told nothing yet: there is nothing to pin")
    new = f"{path}.new-{os.getpid()}"
    with open(new, "w", encoding="utf-8") as file:
        json.dump(body, file, indent=1)
        file.write("\n")
    os.replace(new, path)
    texts = body["texts"]
    assert isinstance(texts, list)
    print(f"{path}: {len(texts)} texts are pinned; read them before you trust them")
    return 0


class _View:
    """A record as it is shown: texts shortened, in full, or not at all. What cannot be read of it is collected."""

    def __init__(self, account: "Account", *, full: bool, bare: bool) -> None:
        self._account = account
        self._full = full
        self._bare = bare or account.private
        self._whole = full or bare
        self._colour = os.isatty(1) and "NO_COLOR" not in os.environ
        self._values: dict[str, Any] = {}
        self.damaged: list[str] = []
        self.troubles: list[str] = []
        if account.skipped:
            lines = f"{account.skipped} line{'s' if account.skipped > 1 else ''}"
            cut = ": the last was cut short" if account.cut else ""
            self.troubles.append(
                f"{lines} of the record cannot be read and {'are' if account.skipped > 1 else 'is'} left out{cut}"
            )
        self._marks = self._marked()

    def _value(self, digest: str) -> "Any":
        """A text, or None; what is wrong with it is noted."""
        if digest not in self._values:
            try:
                self._values[digest] = self._account.value(digest)
            except recorded.Damaged as error:
                self._values[digest] = None
                if not self._account.private:
                    self.damaged.append(digest)
                    self.troubles.append(str(error))
        return self._values[digest]

    def _text(self, digest: str) -> str:
        if not digest:
            return ""
        value = self._value(digest)
        if value is None:
            return "(private)" if self._account.private else "(this text is lost)"
        return offered.text(value) if isinstance(value, list) and self._is_tools(digest) else text_of(value)

    def _json(self, digest: str) -> str:
        value = self._value(digest) if digest else ""
        return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)

    def _size(self, digest: str) -> dict[str, int]:
        text = self._text(digest)
        return {"letters": len(text), "lines": text.strip("\n").count("\n") + 1}

    def _is_tools(self, digest: str) -> bool:
        return any(line.sent[digest].what == "tools" for line in self._account.lines if digest in line.sent)

    def _marked(self) -> "dict[tuple[marks.Kind, str], list[_Place]]":
        """The marked sentences, by kind and words, with every place where they stand."""
        found: dict[tuple[marks.Kind, str], list[_Place]] = {}
        seen = set()
        for line in self._account.lines:
            for digest, sent in line.sent.items():
                if digest in seen or self._account.private:
                    continue
                seen.add(digest)
                value = self._value(digest)
                for mark in (
                    offered.find(value)
                    if isinstance(value, list) and sent.what == "tools"
                    else marks.find(self._text(digest))
                ):
                    now = digest in (*line.system, line.tools, *line.injected)
                    place = {
                        "line": line.number,
                        "what": sent.what,
                        "digest": digest,
                        "at": mark.line,
                        "now": now,
                    }
                    found.setdefault((mark.kind, mark.sentence), []).append(place)
        return found

    # JSON

    def body(self, name: str, run: str) -> "dict[str, Any]":
        """Everything, as JSON; texts only if they are asked for."""
        account = self._account
        told = {digest: sent.what for line in account.lines for digest, sent in line.sent.items()}
        known = {digest: what for digest, what in told.items() if self._value(digest) is not None}
        return {
            "name": name,
            "run": run,
            "private": account.private,
            "skipped": account.skipped,
            "damaged": self.damaged,
            "lines": [
                {
                    "number": line.number, "calls": line.calls, "first": line.first, "last": line.last,
                    "programs": line.programs, "models": line.models, "endpoints": line.endpoints,
                    "system": list(line.system), "tools": line.tools, "injected": line.injected,
                    "sent": {digest: vars(sent) for digest, sent in line.sent.items()},
                    "changes": [vars(change) for change in line.changes],
                }
                for line in account.lines
            ],
            "marks": [
                {"kind": kind, **({} if self._bare else {"sentence": sentence}), "places": places}
                for (kind, sentence), places in self._marks.items()
            ],
            "sizes": {digest: self._size(digest) for digest in known},
            "offered": {
                digest: [vars(one) for one in offered.outline(self._value(digest))]
                for digest, what in known.items() if what == "tools"
            },
            **({"texts": {digest: self._value(digest) for digest in told}} if self._full else {}),
        }  # fmt: skip

    # For people

    def lines(self, name: str, run: str) -> "Iterator[str]":
        """What is printed."""
        account = self._account
        calls = sum(line.calls for line in account.lines)
        if not calls:
            yield f"{safe(name)}, run {safe(run)}: the model was not asked yet"
            return
        first, last = min(line.first for line in account.lines), max(line.last for line in account.lines)
        yield (
            f"{safe(name)}, run {safe(run)}: {_count(calls, 'call')} in {_count(len(account.lines), 'line')}, "
            f"{_moment(first)} to {_moment(last)}{'; texts are private' if account.private else ''}"
        )
        for line in account.lines:
            yield ""
            yield from self._line(line)
        yield ""
        yield from self._bearing()

    def _line(self, line: "Line") -> "Iterator[str]":
        who = safe(
            ", ".join(
                filter(None, [" ".join(line.programs), " ".join(line.models), " ".join(line.endpoints)])
            )
        )
        yield (
            self._paint("head", f"line {line.number}")
            + f"  {who}: {_count(line.calls, 'call')}, {_span(line.first, line.last)}"
        )
        for digest in line.system:
            yield from self._one("system", line, digest)
        if line.tools:
            yield from self._tools(line)
        injected = [(digest, sent) for digest, sent in line.sent.items() if sent.what == "injected"]
        hidden = 0 if self._whole else max(0, len(injected) - _LATEST)
        if hidden:
            yield f"  injected: {hidden} more before these (--texts)"
        for digest, sent in injected[hidden:]:
            yield from self._one(f"injected ({sent.source or '?'})", line, digest)
        yield from self._changes(line)

    def _one(self, what: str, line: "Line", digest: str) -> "Iterator[str]":
        yield self._head(what, digest, line.sent[digest])
        if self._bare:
            return
        whole = self._text(digest)
        text = shown(whole if self._full else whole[:_LETTERS]).strip("\n").split("\n")
        end = len(text) if self._full else _LINES if what == "system" else 4
        for one in text[:end]:
            for part in (
                [one] if self._full else textwrap.wrap(one, _WIDE, max_lines=3, placeholder=" …") or [""]
            ):
                yield f"    | {part}".rstrip()
        more = whole.strip("\n").count("\n") + 1 - end
        if more > 0:
            yield f"    | … {_count(more, 'more line')} (--texts)"

    def _tools(self, line: "Line") -> "Iterator[str]":
        value = self._value(line.tools)
        number = f"{len(value)} tools" if isinstance(value, list) else "tools"
        yield self._head(number, line.tools, line.sent[line.tools])
        if not isinstance(value, list):
            return
        if self._bare:
            yield from self._outline(value)
            return
        if self._full:
            for one in shown(offered.text(value)).split("\n"):
                yield f"    | {one}".rstrip()
            return
        names = [safe(pins.tool_name(tool))[:40] for tool in value]
        wide = max(map(len, names), default=0)
        for title, tool in list(zip(names, value, strict=True))[:_TOOLS]:
            about = safe(first_line(offered.described(tool), _WIDE - wide))
            yield f"    | {title.ljust(wide)}  {about}".rstrip()
        if len(value) > _TOOLS:
            yield f"    | … {len(value) - _TOOLS} more (--texts)"

    def _outline(self, value: "list[Any]") -> "Iterator[str]":
        for one in offered.outline(value):
            parameters = ", ".join(safe(name) for name in one.parameters)
            yield from textwrap.wrap(
                f"{one.digest[:12]}  {safe(one.name)}({parameters})",
                _WIDE,
                initial_indent="    | ",
                subsequent_indent="    |                 ",
            )

    def _head(self, what: str, digest: str, sent: "Sent") -> str:
        size = ""
        if self._bare and self._value(digest) is not None:
            of = self._size(digest)
            size = f": {_count(of['letters'], 'letter')} in {_count(of['lines'], 'line')}"
        return (
            "  " + self._paint("head", what)
            + f"  {digest[:12]}  {_span(sent.first, sent.last)}, in {_count(sent.times, 'call')}{size}"
        )  # fmt: skip

    def _changes(self, line: "Line") -> "Iterator[str]":
        # Without texts it is said once that an injected message came; with them it would stand there twice.
        changes = [change for change in line.changes if self._bare or change.what != "injected"]
        hidden = 0 if self._whole else max(0, len(changes) - _LATEST)
        if changes:
            yield (
                "  "
                + self._paint("head", f"changed {_count(len(changes), 'time')}")
                + (f", the last {_LATEST} of which are (--texts shows all)" if hidden else "")
            )
        for change in changes[hidden:]:
            yield from self._change(change)

    def _change(self, change: "Changed") -> "Iterator[str]":
        how = (
            f"{change.before[:12]} -> {change.now[:12]}" if change.before and change.now
            else f"new: {change.now[:12]}" if change.now
            else f"gone: {change.before[:12]}"
        )  # fmt: skip
        yield f"    {_clock(change.at)}  {change.what}  {how}  (call {safe(change.call)})"
        if self._account.private:
            return
        found = rows(self._text(change.before), self._text(change.now))
        if self._bare:
            if change.before and change.now:
                yield f"      {self._differ(change, found)}"
            return
        if not found:
            # The same words in another form, such as a message with a field more.
            found = rows(self._json(change.before), self._json(change.now))
        end = len(found) if self._full else 40
        for row in found[:end]:
            yield f"      {self._row(row)}".rstrip()
        if len(found) > end:
            yield f"      … {_count(len(found) - end, 'more line')} (--texts)"

    def _differ(self, change: "Changed", found: "list[Row]") -> str:
        """What differs, without its words: how many lines, and for tools which."""
        signs = [row.sign for row in found]
        kinds: list[tuple[Sign, str]] = [("~", "changed"), ("+", "added"), ("-", "taken away")]
        said = [f"{_count(signs.count(sign), 'line')} {what}" for sign, what in kinds if sign in signs]
        if change.what == "tools":
            was, became = (self._value(digest) if digest else [] for digest in (change.before, change.now))
            said[:0] = [safe(one) for one in offered.differ(was or [], became or [])]
        return ", ".join(said) or ("the same words in another form" if not found else "too much to compare")

    def _row(self, row: "Row") -> str:
        def cut(text: str) -> str:
            return shown(
                text if self._full or len(text) <= 2 * _LONG else f"{text[:_LONG]} … {text[-_LONG:]}"
            )

        if row.sign == "~":
            around = {"-": ("[-", "-]"), "+": ("{+", "+}"), " ": ("", "")}
            pieces = (
                self._paint(sign, around[sign][0] + cut(text) + around[sign][1]) for sign, text in row.pieces
            )
            return "~ " + "".join(pieces)
        return self._paint(row.sign, f"{row.sign} {cut(row.pieces[0][1])}")

    def _bearing(self) -> "Iterator[str]":
        if self._account.private:
            yield "bears on stopping: the texts are private, so nothing could be read"
            return
        if not self._marks:
            yield "bears on stopping: no sentence was found by the rules, which find only what is put in a usual way"
            return
        yield (
            self._paint("head", f"bears on stopping: {_count(len(self._marks), 'sentence')}")
            + " (a reading aid: what it means, and what is put in other words, is yours to judge)"
        )
        end = len(self._marks) if self._whole else 40
        for (kind, sentence), places in list(self._marks.items())[:end]:
            first, *others = places
            where = (
                f"line {first['line']}, {first['what']} {str(first['digest'])[:12]}, text line {first['at']}"
            )
            more = f", and {_count(len(others), 'more place')}" if others else ""
            more += "" if any(place["now"] for place in places) else "; told no more"
            yield f"  {self._paint('mark', marks.KINDS[kind])}  ({where}{more})"
            if self._bare:
                continue
            for part in textwrap.wrap(safe(sentence), _WIDE, max_lines=4, placeholder=" …"):
                yield f"    | {part}"
        if len(self._marks) > end:
            yield f"  … {len(self._marks) - end} more (--texts)"

    def _paint(self, what: str, text: str) -> str:
        return f"{_COLOURS[what]}{text}\x1b[0m" if self._colour and what in _COLOURS else text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _moment(ms: int) -> str:
    return _time(ms, "%Y-%m-%d %H:%M:%S")


def _clock(ms: int) -> str:
    return _time(ms, "%H:%M:%S")


def _span(first: int, last: int) -> str:
    return _clock(first) if first == last else f"{_clock(first)} to {_clock(last)}"


def _time(ms: int, form: str) -> str:
    try:
        return time.strftime(form, time.localtime(ms / 1000))
    except (OverflowError, ValueError, OSError):
        return "?"

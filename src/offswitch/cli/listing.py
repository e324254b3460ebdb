"""What is looked at and changes nothing: `offswitch ps`, `offswitch logs`, `offswitch doctor`."""

import json
import os
import sys
import time

from offswitch.cli.arguments import Parser, find_places, width
from offswitch.cli.exits import FINDING, USAGE, Stop
from offswitch.cli.table import decoder, safe, shown, table
from offswitch.enforce import amounts, control, looking
from offswitch.enforce.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, BinaryIO

_TAIL = 64 * 1024
"""Bytes of the output that are shown, from its end."""
_PAUSE = 0.1


# ps


def ps(arguments: list[str]) -> int:
    """List agents."""
    parser = Parser("ps", "[options]")
    parser.add_json()
    parser.add_state()
    asked = parser.parse_args(arguments)
    places = find_places(asked.state)
    agents = looking.statuses(places, lambda line: print("offswitch:", line, file=sys.stderr))
    if asked.as_json:
        json.dump(agents, sys.stdout, indent=2)
        print()
        return 0
    if not agents:
        print("no agent is running, and none is latched")
        return 0
    head = ("NAME", "STATE", "SINCE", "LEASE LEFT", "SANDBOX", "PROCESSES", "MEMORY", "DOING")
    print(table(head, [_row(one) for one in agents], width()))
    kinds = looking.promises(agents)
    if kinds and sys.stdout.isatty():
        # For people: who reads it by a program has one line an agent, or --json, where each agent has its own.
        print(f"\n{promised(kinds, width())}")
    return 0


def promised(kinds: "Mapping[str, Mapping[str, str]]", width: int) -> str:
    """What each kind of sandbox promises and cannot, one promise a line, or more where it is too long for one."""
    import textwrap

    lines = []
    first = max((len(kind) for kind in kinds), default=0)
    for kind, told in kinds.items():
        second = max(len(what) for what in told)
        for number, (what, how) in enumerate(told.items()):
            start = f"{kind if number == 0 else '':{first}}  {safe(what):{second}}  "
            room = max(20, width - len(start))
            for row, part in enumerate(textwrap.wrap(safe(how), room) or [""]):
                lines.append((start if row == 0 else " " * len(start)) + part)
    return "\n".join(lines)


def _row(one: "Mapping[str, Any]") -> list[str]:
    def value(key: str, show: "Any") -> str:
        found = one.get(key)
        return show(found) if isinstance(found, int | float) and not isinstance(found, bool) else "-"

    return [
        str(one.get("name", "?")),
        str(one.get("state", "?")),
        value("since", lambda ms: amounts.spoken(max(0.0, time.time() - ms / 1000)) + " ago"),
        value("lease_left", amounts.spoken),
        str(one.get("sandbox", "-")),
        value("processes", str),
        value("memory", amounts.rounded),
        str(one.get("doing") or "-"),
    ]


# logs


def logs(arguments: list[str]) -> int:
    """Show an agent's account and output."""
    parser = Parser("logs", "[options] NAME")
    parser.add_name()
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--account", action="store_true", help="Only the supervisor's account.")
    which.add_argument("--output", action="store_true", help="Only the agent's output.")
    parser.add_argument("--follow", "-f", action="store_true", help="Go on showing what is added.")
    parser.add_state()
    asked = parser.parse_args(arguments)
    places = find_places(asked.state)
    folder = places.logs(asked.name)
    if not os.path.isdir(folder):
        raise Stop(USAGE, f"there are no logs of {asked.name}: offswitch ps lists the agents that there are")
    followed: list[_Followed] = []
    if not asked.output:
        followed.append(_Account(f"{folder}/account.jsonl"))
    if not asked.account:
        followed.append(_Output(f"{folder}/output"))
    for one in followed:
        one.show()
    while asked.follow:
        # Asked before the last look, so that nothing that was written until the end is missed.
        over = not _alive(places, asked.name)
        for one in followed:
            one.show()
        if over:
            break
        time.sleep(_PAUSE)
    return 0


def _alive(places: Places, name: str) -> bool:
    try:
        control.connect(places, name).close()
    except control.NotRunning:
        return False
    return True


class _Followed:
    """A file that grows and may be replaced by a new one of its name."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def show(self) -> None:
        """Show what was added since the last time."""
        while True:
            if self._file is None:
                try:
                    self._file = open(self._path, "rb")  # noqa: SIM115 - kept open as long as it is followed
                except FileNotFoundError:
                    return
                self._begin(self._file)
            while data := self._file.read(64 * 1024):
                self._print(data)
            try:
                replaced = os.stat(self._path).st_ino != os.fstat(self._file.fileno()).st_ino
            except OSError:
                replaced = False
            if not replaced:
                return
            self._file.close()
            self._file = None

    def _begin(self, file: "BinaryIO") -> None:
        raise NotImplementedError

    def _print(self, data: bytes) -> None:
        raise NotImplementedError


class _Account(_Followed):
    """One line for each event."""

    _rest = b""

    def _begin(self, file: "BinaryIO") -> None:
        self._rest = b""

    def _print(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            print(event(line))
        sys.stdout.flush()


class _Output(_Followed):
    """The bytes as they were; on a terminal, as text that the terminal does not obey."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._decoder = decoder() if os.isatty(1) else None
        self._first = True

    def _begin(self, file: "BinaryIO") -> None:
        if self._first:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL))
            self._first = False

    def _print(self, data: bytes) -> None:
        sys.stdout.flush()
        if self._decoder is not None:
            data = shown(self._decoder.decode(data)).encode()
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


def event(line: bytes) -> str:
    """An event of an account, in one line: when, what, and what else is known of it."""
    try:
        body = json.loads(line)
        at, what = body.pop("at"), str(body.pop("event"))
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000)) + f".{int(at) % 1000:03d}"
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError, RecursionError):
        return "(an event that cannot be read) " + safe(line.decode("utf-8", "replace"))[:200]
    rest = "  ".join(f"{key}={_plain(value)}" for key, value in body.items() if value not in ("", None, []))
    return f"{moment}  {safe(what)}  {safe(rest)}".rstrip()


def _plain(value: object) -> str:
    if isinstance(value, str) and value and " " not in value:
        return value
    return json.dumps(value, ensure_ascii=False)


# doctor


def doctor(arguments: list[str]) -> int:
    """Say what this host can hold; 0 if it can hold an agent in the default sandbox, 1 if not."""
    parser = Parser("doctor", "[options]")
    parser.add_argument(
        "--prepare", metavar="KIND", help="Fetch what a kind of sandbox needs first: microvm."
    )
    parser.add_json()
    asked = parser.parse_args(arguments)
    from offswitch.enforce.doctor import Unprepared, able, checks, prepare

    if asked.prepare is not None:
        try:
            prepare(asked.prepare)
        except Unprepared as error:
            raise Stop(USAGE, str(error)) from None
    found = checks()
    holds = able(found)
    if asked.as_json:
        body = {"able": holds, "checks": [check.as_dict() for check in found]}
        json.dump(body, sys.stdout, indent=2)
        print()
        return 0 if holds else FINDING
    rows = [(check.name, check.state, check.what) for check in found]
    print(table(("WHAT", "STATE", "FOUND"), rows, width()))
    mends = [check for check in found if check.mend and check.state != "ok"]
    if mends:
        print()
        for check in mends:
            print(f"{check.name}: {safe(check.mend)}")
    print()
    print(
        "an agent can be held here, in the default sandbox"
        if holds
        else "NO AGENT CAN BE HELD HERE in the default sandbox: mend what is missing above"
    )
    return 0 if holds else FINDING

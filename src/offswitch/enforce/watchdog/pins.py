"""Pinned instructions: what a model may be told, so that anything else is an event for the policy.

A pin file is JSON that people can read: for each text what it is, its digest (SHA-256 of its canonical JSON) and its
first line. Programs put the date, the folder and the like into their instructions; the file names lines that may
change (``changing``, with ``*`` for any letters), and these are left out of the digests.
"""

import fnmatch
import hashlib
import json
import marshal
import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from offswitch.enforce.watchdog.calls import Asked
from offswitch.enforce.watchdog.recorded import Account, form
from offswitch.enforce.watchdog.told import Reader, first_line, line_of, text_of

SCHEMA = "offswitch-pins-1"
LARGEST = 16 << 20
"""Bytes of the largest pin file."""

_MOST = 200
_CACHED = 4096
_DIGEST = re.compile(r"[0-9a-f]{64}")
PINNED = ("system", "tool", "injected")
"""What can be pinned: one system instruction, one tool, one message that the program injects."""

Pinned = Literal["system", "tool", "injected"]


class PinsError(ValueError):
    """Pins that cannot be used; the message is one line that says what to do."""


@dataclass(frozen=True)
class Unpinned:
    """Something that a model is told and that is not pinned.

    Attributes:
        what: ``system``, ``tool`` or ``injected``.
        digest: Its digest, as a pin file would have it.
        says: Its first line, or the tool's name.
    """

    what: Pinned
    digest: str
    says: str


class Pins:
    """A set of pins.

    Args:
        digests: What is pinned: pairs of what it is and its digest.
        changing: Lines that may change, with ``*`` for any letters.
        reader: What takes requests apart; that of a `Record`, so that it is done once.
    """

    def __init__(
        self, digests: Iterable[tuple[str, str]], changing: Sequence[str] = (), reader: Reader | None = None
    ) -> None:
        self._digests = frozenset(digests)
        self._changing = _pattern(changing)
        self._reader = reader or Reader()
        self._cache: OrderedDict[bytes, str] = OrderedDict()

    @classmethod
    def load(cls, path: str, reader: Reader | None = None) -> "Pins":
        """Read a pin file.

        Raises:
            PinsError: It cannot be read, or is no pin file.
        """
        try:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(file, "rb") as content:
                data = content.read(LARGEST + 1) or b""
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "its name holds a NUL"
            raise PinsError(
                f"{path} cannot be read: {why}; write one with offswitch instructions NAME --pin-out"
            ) from None
        if len(data) > LARGEST:
            raise PinsError(f"{path} is larger than {LARGEST >> 20} MiB: this is no pin file")
        try:
            body = json.loads(data)
        except RecursionError:
            raise PinsError(f"{path} is nested far too deeply: this is no pin file") from None
        except ValueError as error:
            where = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise PinsError(
                f"{path}{where} is not JSON: write it with offswitch instructions NAME --pin-out"
            ) from None
        if not isinstance(body, dict) or body.get("schema") != SCHEMA:
            raise PinsError(f'{path} is no pin file that is known here: it has to hold "schema": "{SCHEMA}"')
        changing, texts = body.get("changing", []), body.get("texts")
        if set(body) - {"schema", "changing", "texts"}:
            raise PinsError(
                f"{path} has a field that is not known: {min(set(body) - {'schema', 'changing', 'texts'})[:60]!r}"
            )
        if not isinstance(changing, list) or not all(isinstance(one, str) and one for one in changing):
            raise PinsError(f'{path}: "changing" is a list of lines')
        if not isinstance(texts, list):
            raise PinsError(f'{path}: "texts" is a list of what is pinned')
        for number, one in enumerate(texts, 1):
            if not isinstance(one, dict) or one.get("what") not in PINNED:
                raise PinsError(f'{path}: text {number} needs a "what": one of {", ".join(PINNED)}')
            if not isinstance(one.get("digest"), str) or not _DIGEST.fullmatch(one["digest"]):
                raise PinsError(f'{path}: text {number} needs a "digest": 64 letters of hexadecimal SHA-256')
        return cls([(one["what"], one["digest"]) for one in texts], changing, reader)

    def check(self, asked: Asked) -> list[Unpinned]:
        """What a request tells the model that is not pinned; empty if all is.

        What stands in tools' results is not looked at: it is not the program's. Less than what is pinned is no
        finding, and neither is another order. After 200 that are not pinned no more are looked for.
        """
        told = self._reader.read(asked)
        looked: list[tuple[Pinned, object, str]] = [("system", one, "") for one in told.system]
        looked += [("tool", one, name) for one, name in zip(told.tools, told.names, strict=True)]
        looked += [("injected", one.value, "") for one in told.injected if one.source != "tool"]
        found: dict[tuple[str, str], Unpinned] = {}
        for what, value, name in looked:
            if len(found) >= _MOST:
                break
            digest = self._digest(value)
            if (what, digest) not in self._digests:
                found[what, digest] = Unpinned(what, digest, first_line(name) if name else line_of(value))
        return list(found.values())

    def _digest(self, value: object) -> str:
        try:
            raw = hashlib.sha256(marshal.dumps(value, 2)).digest()  # type: ignore[arg-type]
            if (known := self._cache.get(raw)) is not None:
                self._cache.move_to_end(raw)
                return known
            digest = _digest(value, self._changing)
        except (ValueError, RecursionError):
            # Too deep to have a digest: then it is not pinned either.
            return ""
        self._cache[raw] = digest
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return digest


def of(account: Account, changing: Sequence[str] = ()) -> dict[str, object]:
    """The pin file of all that a record has, as JSON.

    Args:
        account: The record.
        changing: Lines that may change, with ``*`` for any letters.

    Raises:
        PinsError: Its texts are private, or damaged.
    """
    if account.private:
        raise PinsError(
            "these texts are private, and their digests mean nothing in another run: nothing can be pinned"
        )
    pattern = _pattern(changing)
    pinned: dict[tuple[str, str], dict[str, str]] = {}

    def pin(what: str, value: object, says: str) -> None:
        digest = _digest(value, pattern)
        pinned.setdefault((what, digest), {"what": what, "says": first_line(says), "digest": digest})

    for line in account.lines:
        for name, sent in line.sent.items():
            try:
                value = account.value(name)
            except ValueError as error:
                raise PinsError(f"{error}; nothing was pinned") from None
            if sent.what == "tools" and isinstance(value, list):
                for tool in value:
                    pin("tool", tool, tool_name(tool))
            elif sent.source != "tool":
                pin(sent.what, value, text_of(value))
    texts = sorted(pinned.values(), key=lambda one: PINNED.index(one["what"]))
    return {"schema": SCHEMA, "changing": list(changing), "texts": texts}


def tool_name(definition: object) -> str:
    """The name in a tool's definition; for built-in ones their type."""
    if isinstance(definition, dict):
        for one in (definition, definition.get("function"), definition.get("custom")):
            for key in ("name", "server_label"):
                if isinstance(one, dict) and isinstance(one.get(key), str):
                    return str(one[key])
        if isinstance(definition.get("type"), str):
            return str(definition["type"])
    return "a tool without a name"


def _digest(value: object, changing: re.Pattern[str] | None) -> str:
    return hashlib.sha256(form(value if changing is None else _masked(value, changing))).hexdigest()


def _masked(value: object, changing: re.Pattern[str]) -> object:
    """A value without the lines that may change."""
    if isinstance(value, str):
        return "\n".join(line for line in value.split("\n") if not changing.fullmatch(line[:2000].strip()))
    if isinstance(value, list):
        return [_masked(one, changing) for one in value]
    if isinstance(value, dict):
        return {key: _masked(one, changing) for key, one in value.items()}
    return value


def _pattern(changing: Sequence[str]) -> re.Pattern[str] | None:
    """The lines that may change. Not regular expressions, over which a hostile text could spend hours."""
    if not changing:
        return None
    return re.compile(
        "|".join(fnmatch.translate(re.sub(r"[\[?]", r"[\g<0>]", one.strip())) for one in changing)
    )

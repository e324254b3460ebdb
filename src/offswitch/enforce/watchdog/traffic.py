"""The record of a gateway's traffic: one line of JSON for each exchange, which `replaying` reads."""

import json
import os
import time
from contextlib import suppress
from typing import Any

from offswitch.enforce.watchdog.appending import Appended
from offswitch.enforce.watchdog.calls import Call, Judgement
from offswitch.enforce.watchdog.gateway import Exchange

NAME = "traffic.jsonl"
LARGEST = 64 << 20
"""Bytes after which a record is put aside as ``traffic.1.jsonl``, in the place of the one before it."""
_LONGEST = 256 * 1024
"""Most characters of a call's arguments that are kept."""
_REFUSED = 20
"""Most exchanges a second that are kept of those that went nowhere: they cost an agent nothing, and would push out the
others."""


class Traffic:
    """Writes the record.

    Args:
        folder: Where it lies.
        private: Whether the arguments of calls are left out; such a record cannot be replayed.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, folder: str, *, private: bool = False) -> None:
        self._path = f"{folder}/{NAME}"
        self._private = private
        self._second, self._refused, self._left_out = 0, 0, 0
        self._file = Appended(self._path)

    def _put_aside(self) -> None:
        """Begin a new record. The old one is let go of once the new one is there: what fails can be tried again."""
        new = self._path + ".new"
        with suppress(FileNotFoundError):
            os.unlink(new)
        file = Appended(new)
        try:
            # It has no name where the last try came only so far.
            with suppress(FileNotFoundError):
                os.replace(self._path, self._path.replace(".jsonl", ".1.jsonl"))
            file.rename(self._path)
        except OSError:
            file.close()
            raise
        self._file.close()
        self._file = file

    def add(self, exchange: Exchange, took: float) -> None:
        """Write an exchange down.

        Args:
            exchange: It, over.
            took: Seconds.

        Raises:
            OSError: It cannot be written.
        """
        sent = _sent(exchange)
        if not sent and not self._has_room():
            self._left_out += 1
            return
        usage = exchange.usage
        tools = exchange.asked.tools if exchange.asked is not None else ()
        line = {
            "at": time.time_ns() // 1_000_000,
            "number": exchange.number,
            "api": exchange.api,
            "endpoint": exchange.endpoint[:300],
            "dialect": exchange.dialect,
            "sent": sent,
            "outcome": exchange.outcome,
            "refused": exchange.refused,
            "model": exchange.model[:200],
            "status": exchange.status,
            "ms": round(took * 1000, 1),
            "usage": None if usage is None else [usage.input, usage.output],
            "hosted": [tool.name for tool in tools if tool.hosted],
            "calls": [self._call(*one) for one in exchange.calls],
        }
        if self._left_out:
            line["left_out"] = self._left_out
        data = json.dumps(line).encode() + b"\n"
        if self._file.size + len(data) > LARGEST:
            self._put_aside()
        # One write: what a kill cuts is the last line, and a reader passes that over.
        self._file.add(data)
        self._left_out = 0

    def _has_room(self) -> bool:
        """Whether one more that went nowhere is kept in this second."""
        if (now := int(time.monotonic())) != self._second:
            self._second, self._refused = now, 0
        self._refused += 1
        return self._refused <= _REFUSED

    def _call(self, call: Call, judgement: Judgement | None, done: str) -> dict[str, Any]:
        told: dict[str, Any] = {"id": call.id, "name": call.name, "kind": call.kind, "done": done}
        if not self._private:
            told["arguments"] = call.arguments[:_LONGEST]
            if len(call.arguments) > _LONGEST:
                told["cut"] = True
        if judgement is None:
            told["unjudged"] = True
        else:
            told["found"] = [[one.pattern, one.mode, one.why] for one in judgement.findings]
        return told


def _sent(exchange: Exchange) -> bool:
    """Whether it was sent upstream; of what is only relayed an answer tells so."""
    relayed = not exchange.dialect and exchange.status > 0 and not exchange.refused
    return exchange.forwarded or relayed or exchange.refused == "upstream"

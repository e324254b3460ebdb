"""Records as a run leaves them, written by hand, so that each line of them can be another."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from offswitch.trust import receipts
from offswitch.trust.keys import PrivateKey

HOST = PrivateKey(bytes(range(32)))
OTHER = PrivateKey(bytes(range(1, 33)))
SECRET = "the-text-of-people-s-work"
"""Stands wherever people, agents and models write something."""
BEGAN = 1_795_000_000_000
REMOVES = f"removes /workspace/{SECRET}/stop.sh, which is declared as kill path: rm {SECRET}"


@dataclass
class Run:
    """One run.

    Attributes:
        found: Findings, each with the pattern, the mode and the line for people.
        origin: What had it stopped.
        more: Further events of the account, after the findings.
    """

    name: str = "agent"
    run: str = "a" * 32
    model: str = "gpt-5"
    began: int = BEGAN
    found: list[tuple[str, str, str]] = field(default_factory=list)
    origin: str = "agent ended"
    category: int = 0
    more: list[dict[str, Any]] = field(default_factory=list)
    dead: bool = True
    respawned: int = 0
    survivors: int = 0
    gateway: bool = True
    unjudged: bool = False
    key: PrivateKey = HOST

    @property
    def stopped(self) -> bool:
        return self.origin != "agent ended"

    def account(self) -> list[dict[str, Any]]:
        """The events of its account."""
        events: list[dict[str, Any]] = [
            {"event": "started", "command": ["codex", SECRET], "sandbox": "bubblewrap", "workspace": SECRET}
        ]  # fmt: skip
        events += [{"event": "found", "pattern": p, "mode": m, "why": why} for p, m, why in self.found]
        events += self.more
        stops = [(p, why) for p, m, why in self.found if m == "stop"]
        events += [{"event": "tripped", "pattern": p} for p, _ in stops[:1]]
        events.append({"event": "stop", "category": self.category, "origin": self.origin, "reason": SECRET})
        if self.dead:
            events.append({"event": "dead", "ms": 11, "killed": 4})
        return [{"at": self.began + 1000 * number, **one} for number, one in enumerate(events)]

    def told(self) -> list[dict[str, Any]]:
        """Its receipts, signed."""
        at = self.began + 1000 * (len(self.account()) - 1) - 1
        signed = self.origin == "signed"
        moment = {"monotonic_us": 5, "wall_ms": at}
        process = {"pid": 7, "command": SECRET}
        receipt: dict[str, Any] = {
            "version": 1, "agent": self.name, "run": self.run, "sandbox": "bubblewrap", "promises": {"kernel": "own"},
            "order": {
                "origin": self.origin, "category": self.category, "reason": SECRET,
                "keys": [OTHER.id] if signed else [], "counter": int(signed), "digest": "0" * 64 if signed else "",
            },
            "times": {"ordered": moment, "killed": moment, "dead": moment if self.dead else None},
            "dead": self.dead,
            "observers": [{"who": "guard", "how": "control group not populated", "at_monotonic_us": 5}],
            "killed": 4, "held": [{"pid": 9, "command": SECRET, "what": SECRET}],
            "survivors": [process] * self.survivors, "network": {"cut": False, "at_monotonic_us": None},
            "latch": "disk" if self.stopped else "none", "exit": None if self.stopped else 0, "settle": None,
        }  # fmt: skip
        settle = {"seconds_ms": 2000, "looks": 9, "respawned": [process] * self.respawned}
        shown = [receipt, {**receipt, "settle": settle}] if self.stopped and self.dead else [receipt]
        return [dict(receipts.sign(one, self.key)) for one in shown]

    def traffic(self) -> list[dict[str, Any]]:
        """The gateway's lines, one exchange for a harmless call and one for each finding."""
        lines = []
        for number, one in enumerate([None, *self.found], 1):
            call = {
                "id": f"call_{number}", "name": "bash", "kind": "function", "done": one[1] if one else "allow",
                "arguments": json.dumps({"command": SECRET}), "found": [list(one)] if one else [],
            }  # fmt: skip
            if self.unjudged and one is None:
                del call["found"]
                call["unjudged"] = True
            lines.append(
                {"at": self.began + 500 + number, "number": number, "api": "openai", "endpoint": "POST /responses",
                 "dialect": "openai-responses", "sent": True, "outcome": "forwarded", "refused": "",
                 "model": self.model, "status": 200, "ms": 8.3, "usage": [1, 1], "hosted": [], "calls": [call]}
            )  # fmt: skip
        return lines

    def calls(self) -> list[dict[str, Any]]:
        """What the gateway wrote of what the model was told."""
        return [
            {"at": one["at"], "call": str(one["number"]), "line": 1, "model": self.model, "program": SECRET,
             "endpoint": "openai POST /responses", "system": [], "tools": "", "injected": [], "gone": []}
            for one in self.traffic()
        ]  # fmt: skip

    def write(self, state: Path) -> "Run":
        """Write it, after what its name did before."""
        logs = state / "logs" / self.name
        add(logs / "account.jsonl", self.account())
        add(state / "receipts" / f"{self.name}-{self.run}.jsonl", self.told())
        if self.gateway:
            records = logs / "instructions" / self.run
            add(records / "traffic.jsonl", self.traffic())
            add(records / "calls.jsonl", self.calls())
        return self


def add(path: Path, lines: list[dict[str, Any]]) -> None:
    """Put lines at the end of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(one) + "\n" for one in lines)

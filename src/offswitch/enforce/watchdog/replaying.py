"""What a policy would have done with recorded traffic: nothing is asked, run or stopped."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from offswitch.enforce.watchdog import protocols
from offswitch.enforce.watchdog.budgets import Budgets
from offswitch.enforce.watchdog.calls import Call, Finding, Usage
from offswitch.enforce.watchdog.judging import Judge
from offswitch.enforce.watchdog.rules import Rules


class TrafficError(ValueError):
    """A record that cannot be read; the message is one line that says what to do."""


@dataclass(frozen=True)
class Replayed:
    """What a policy would have done with one exchange.

    Attributes:
        number: The exchange's number in the record.
        at: When it was, ms since the epoch.
        endpoint: ``METHOD /path``.
        calls: How many tool calls it had.
        findings: What would have been found.
        was: What was done then: the strongest of allow, observe, deny, stop of its calls; ``refused`` if it was not
            sent upstream.
        refused: Whether it would not be sent upstream.
        unseen: Whether it would be sent upstream and was not then: of its answer nothing is known.
        cut: How many calls are judged by their beginning, as the record keeps no more of them.
    """

    number: int
    at: int
    endpoint: str
    calls: int
    findings: tuple[Finding, ...]
    was: str
    refused: bool = False
    unseen: bool = False
    cut: int = 0


_DONE = ("allow", "observe", "deny", "stop")
_ANYWAY = ("address", "malformed", "size", "fault")
"""Why an exchange is refused, in a word, where no policy changes it."""


_BEGINS = '{"at": '


def replay(path: str, rules: Rules) -> Iterator[Replayed]:
    """Run a policy over recorded traffic; nothing is asked, run or stopped.

    Args:
        path: The record.
        rules: The policy's rules.

    Raises:
        TrafficError: The record cannot be read, or holds no arguments.
    """
    replaying = _Replaying(rules)
    for number, line in enumerate(_lines(path), 1):
        try:
            told = json.loads(line)
        except ValueError:
            # A full disk leaves the beginning of a line, and the next is put on a line of its own.
            if _BEGINS.startswith(line.rstrip("\n")[: len(_BEGINS)]):
                continue
            raise TrafficError(f"{path}:{number}: this is no line of a traffic record") from None
        try:
            yield replaying.one(told)
        except KeyError as error:
            hint = "; it was made with private texts" if error.args[0] == "arguments" else ""
            raise TrafficError(f"{path}:{number}: {error.args[0]} is missing{hint}") from None
        except (ValueError, TypeError, AttributeError):
            raise TrafficError(f"{path}:{number}: this is no line of a traffic record") from None


def untried(rules: Rules, replayed: Iterable[Replayed]) -> list[str]:
    """What a replay did not try, each in a line for people.

    Args:
        rules: The policy's rules.
        replayed: All that was replayed.
    """
    found = ["how long a judgement takes (decide_within): it depends on the host"]
    if rules.pin:
        found.append("the pins: the record of traffic holds no instructions")
    every = list(replayed)
    if cut := sum(one.cut for one in every):
        found.append(f"the ends of {cut} calls that are longer than the record keeps")
    if unseen := sum(one.unseen for one in every):
        found.append(f"the answers to {unseen} exchanges that would be let through and were not then")
    if any(finding.mode == "stop" for one in every for finding in one.findings):
        found.append("the end: after the first stop nothing more would have been passed on")
    return found


class _Replaying:
    """A gateway's decisions without the gateway."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._judge, self._budgets = Judge(rules), Budgets(rules)
        self._began = 0

    def one(self, told: dict[str, Any]) -> Replayed:
        """The next exchange, as its line tells of it."""
        at, endpoint, word = int(told["at"]), str(told["endpoint"]), str(told.get("refused", ""))
        calls = [Call(one["id"], one["name"], one["arguments"], one["kind"]) for one in told["calls"]]
        usage = None if told["usage"] is None else Usage(*told["usage"])
        self._began = self._began or at
        # Before they were recorded otherwise, there were lines of what was sent only.
        sent = bool(told.get("sent", True))
        carries = bool(told.get("dialect", "known"))
        findings = [] if word in _ANYWAY else list(self._requested(told, endpoint, carries, word))
        refused = word in _ANYWAY or any(one.mode == "deny" for one in findings)
        if carries and not refused and (over := self._budgets.begin()):
            findings.append(over)
            refused = over.mode == "deny"
        if sent and not refused:
            for call in calls:
                findings += self._judge.judge(call).findings
            # What a gateway counts: an error used nothing.
            if (
                carries
                and int(told["status"]) < 300
                and (over := self._budgets.add(usage, str(told["model"])))
            ):
                findings.append(over)
        if over := self._budgets.elapsed((at - self._began) / 1000):
            findings.append(over)
        return Replayed(
            int(told["number"]),
            at,
            endpoint,
            len(calls),
            tuple(findings),
            _was(told, sent),
            refused,
            not sent and not refused,
            0 if refused else sum(bool(one.get("cut")) for one in told["calls"]),
        )

    def _requested(self, told: dict[str, Any], endpoint: str, carries: bool, word: str) -> Iterator[Finding]:
        """What is found in a request, before anything is sent."""
        rules = self._rules
        method, _, path = endpoint.partition(" ")
        if carries:
            for name in told["hosted"]:
                if not rules.lets_execute(name):
                    why = f"the tool {name[:80]} would be executed by the provider"
                    yield Finding("hosted-tool", rules.shut, why)
        elif told["status"] == 101 or word == "upgrade":
            if not rules.upgrades:
                yield Finding("upgrade", "deny", f"{endpoint[:200]} asks for another protocol")
        elif not protocols.harmless(method, path) and not rules.lets_through(endpoint):
            why = f"{endpoint[:200]} is not an endpoint that the rules name"
            yield Finding("endpoint", rules.shut, why)


def _was(told: dict[str, Any], sent: bool) -> str:
    """What was done with an exchange then."""
    if told.get("outcome") == "tripped":
        return "stop"
    if not sent:
        return "refused"
    return max((str(one["done"]) for one in told["calls"]), key=_DONE.index, default="allow")


def _lines(path: str) -> Iterator[str]:
    """Whole lines; what follows the last line end was cut by a kill."""
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield line
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise TrafficError(f"{path} cannot be read: {why}; name a traffic.jsonl of a gateway") from None

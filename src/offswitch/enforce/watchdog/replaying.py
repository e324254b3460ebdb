"""What a policy would have done with recorded traffic: nothing is asked, run or stopped."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

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
        was: What was done with its calls then: the strongest of allow, observe, deny, stop.
    """

    number: int
    at: int
    endpoint: str
    calls: int
    findings: tuple[Finding, ...]
    was: str


_DONE = ("allow", "observe", "deny", "stop")


def replay(path: str, rules: Rules) -> Iterator[Replayed]:
    """Run a policy over recorded traffic; nothing is asked, run or stopped.

    Args:
        path: The record.
        rules: The policy's rules.

    Raises:
        TrafficError: The record cannot be read, or holds no arguments.
    """
    judge, budgets, began = Judge(rules), Budgets(rules), 0
    for number, line in enumerate(_lines(path), 1):
        try:
            told = json.loads(line)
            findings = [
                Finding("hosted-tool", rules.mode, f"the tool {name} would be executed by the provider")
                for name in told["hosted"]
                if not rules.lets_execute(name)
            ]
            calls = [Call(one["id"], one["name"], one["arguments"], one["kind"]) for one in told["calls"]]
            usage = None if told["usage"] is None else Usage(*told["usage"])
            at, endpoint = int(told["at"]), str(told["endpoint"])
            was = max((one["done"] for one in told["calls"]), key=_DONE.index, default="allow")
        except KeyError as error:
            hint = "; it was made with private texts" if error.args[0] == "arguments" else ""
            raise TrafficError(f"{path}:{number}: {error.args[0]} is missing{hint}") from None
        except (ValueError, TypeError):
            raise TrafficError(f"{path}:{number}: this is no line of a traffic record") from None
        for call in calls:
            findings += judge.judge(call).findings
        began = began or at
        for over in (
            budgets.begin(),
            budgets.add(usage, str(told.get("model", ""))),
            budgets.elapsed((at - began) / 1000),
        ):
            findings += [over] if over is not None else []
        yield Replayed(int(told["number"]), at, endpoint, len(calls), tuple(findings), was)


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

"""The watch section: read exactly, or refused with its line."""

import json
import pickle
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import pytest
import yaml

from offswitch.enforce.watchdog import rules
from offswitch.enforce.watchdog.rules import Rules

SCHEMA = json.loads((Path(rules.__file__).parents[1] / "schemas/watch-v1.json").read_text())

FULL = """\
mode: deny
decide_within: 20ms
unclear: deny
patterns: {kill-path: stop, stall: deny}
kill_path:
  files: [shutdown.sh, ops/**, ~/.agent/lease]
  processes: [budget_guard]
  services: [agent-watchdog]
  variables: [AGENT_LEASE]
  usual: false
endpoints: [GET /v1/models]
hosted: [web_search]
upgrades: true
fences: [{open: "```bash", close: "```"}]
budgets: {calls: 10, input_tokens: 1000, output_tokens: 500, money: 2.50, time: 1h}
prices:
  o3: {input: 2, output: 8}
stall: {identical: 3, sleep: 90s}
remotes: ["*.example.org", origin]
background: [npm run dev]
instructions: {private: true, pin: pinned.json}
metrics: 127.0.0.1:9464
"""


class Refused(Exception):
    """What the callback raises."""


def refuse(line: int, why: str) -> NoReturn:
    raise Refused(f"{line}: {why}")


def read(text: str) -> dict[str, Any]:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None
    return rules.read(node, refuse)


def refused(text: str) -> str:
    with pytest.raises(Refused) as caught:
        read(text)
    return str(caught.value)


def test_every_field_is_read() -> None:
    found = Rules.of(read(FULL))
    assert found.mode == "deny"
    assert found.decide_within == 0.02
    assert found.unclear == "deny"
    assert (found.mode_of("kill-path"), found.mode_of("stall"), found.mode_of("copy-out")) == (
        "stop",
        "deny",
        "deny",
    )
    assert found.files == ("shutdown.sh", "ops/**", "~/.agent/lease")
    assert (found.processes, found.services, found.variables) == (
        ("budget_guard",),
        ("agent-watchdog",),
        ("AGENT_LEASE",),
    )
    assert not found.usual
    assert found.endpoints == ("GET /v1/models",)
    assert found.hosted == ("web_search",)
    assert found.upgrades
    assert found.fences == (("```bash", "```"),)
    assert found.budgets == {
        "calls": 10,
        "input_tokens": 1000,
        "output_tokens": 500,
        "money": 2.5,
        "time": 3600,
    }
    assert found.prices == {"o3": (2, 8)}
    assert (found.identical, found.sleep) == (3, 90)
    assert found.remotes == ("*.example.org", "origin")
    assert found.background == ("npm run dev",)
    assert (found.private, found.pin) == (True, "pinned.json")
    assert found.metrics == "127.0.0.1:9464"


def test_the_rules_are_plain_json_and_pickle() -> None:
    for section in (read(FULL), rules.default()):
        assert Rules.of(json.loads(json.dumps(section))).plain() == section
        assert pickle.loads(pickle.dumps(Rules.of(section))) == Rules.of(section)
    assert Rules.of(rules.default()) == Rules()


def test_the_defaults() -> None:
    found = Rules()
    assert found.mode_of("kill-path") == "stop"
    assert found.mode_of("stall") == "observe"
    assert found.unclear == "observe"
    assert found.decide_within == 0.05


def test_the_schema_takes_what_is_read() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(yaml.safe_load(FULL), SCHEMA)
    assert SCHEMA["properties"].keys() == rules.default().keys()
    assert SCHEMA["properties"]["kill_path"]["properties"].keys() == rules.default()["kill_path"].keys()
    assert set(SCHEMA["properties"]["patterns"]["propertyNames"]["enum"]) == set(rules.PATTERNS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("mod: stop", "1: 'mod' is not a field of watch; did you mean mode?"),
        ("mode: stop\nkill_path: {file: [a]}", "2: 'file' is not a field of kill_path; did you mean files?"),
        ("mode: stopp", "1: mode is observe, deny or stop, not 'stopp'; did you mean stop?"),
        ("patterns: {kill_path: stop}", "1: 'kill_path' is not a field of patterns; did you mean kill-path?"),
        ("mode: stop\nmode: deny", "2: mode is stated twice, first in line 1: keep one"),
        ("upgrades: yes please", "1: upgrades is true or false, not 'yes please'"),
        ("decide_within: 50", "1: decide_within is a duration with its unit"),
        ("decide_within: 2h", "1: decide_within is from 1ms to 1m"),
        ("kill_path: [a]", "1: kill_path is a mapping (name: value), not a list"),
        ("kill_path: {files: a.sh}", "1: kill_path files is a list"),
        (
            "kill_path:\n  files:\n  - 7",
            "3: each entry of kill_path files is text, not a number (YAML reads 7",
        ),
        ("kill_path: {processes: [a/b]}", "1: 'a/b' in kill_path processes is not a name without a slash"),
        ("kill_path: {variables: [a-b]}", "1: 'a-b' in kill_path variables is not"),
        ("remotes: [a, a]", "1: a stands in remotes twice"),
        ("endpoints: [/v1/models]", "1: '/v1/models' in endpoints is not a method and a path"),
        ("fences: [{open: x}]", "1: a fence has an open and a close, and close is missing"),
        ("budgets: {calls: 0}", "1: the budget of calls is at least 1, not 0"),
        ("budgets: {calls: 1e3}", "1: the budget of calls is a whole number"),
        ("budgets: {money: 5}", "1: a budget of money needs prices"),
        ("budgets: {tokens: 5}", "1: 'tokens' is not a field of budgets; did you mean"),
        ("prices: {o3: {input: 1}}", "1: the price of o3 has no output"),
        ("prices: {o3: {input: 1, output: -1}}", "1: the output price of o3 is a number"),
        ("stall: {identical: 1}", "1: stall identical is at least 2, not 1"),
        ("stall: {sleep: 0s}", "1: stall sleep is from"),
        ("instructions: {pin: 7}", "1: instructions pin is text"),
        ("mode: stop\nmetrics: 9464", "2: metrics is text, not a number"),
        ("metrics: ':9464'", "1: metrics: ':9464' is not HOST:PORT, such as 127.0.0.1:9464"),
        ("metrics: ''", "1: metrics is empty"),
        ("[a]", "1: watch is a mapping"),
    ],
)
def test_a_bad_section_is_refused_with_its_line(text: str, line: str) -> None:
    assert refused(text).startswith(line)


def test_the_price_with_the_longest_name_wins() -> None:
    found = Rules(prices={"*": (1.0, 1.0), "gpt-5*": (2.0, 2.0), "gpt-5-mini": (3.0, 3.0)})
    assert found.price("gpt-5-mini") == (3.0, 3.0)
    assert found.price("gpt-5") == (2.0, 2.0)
    assert found.price("other") == (1.0, 1.0)
    assert Rules().price("other") is None

"""The ``watch:`` section of the policy file: what the watchdog looks for, and what it does about it.

As the rest of the policy it is kept as a plain dictionary, which `read` makes of the YAML nodes and `Rules.of` takes.
The same fields stand in ``schemas/watch-v1.json``.
"""

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

import yaml

from offswitch.enforce import amounts
from offswitch.enforce.watchdog import listening
from offswitch.enforce.watchdog.calls import MODES, Mode

PATTERNS = ("kill-path", "copy-out", "successor", "monitors", "stall", "budgets")
"""What is looked for, by name."""

Refuse = Callable[[int, str], NoReturn]
"""Called with a line and one sentence for people; raises."""


@dataclass(frozen=True)
class Rules:
    """What the watchdog looks for, and what it does about it. May be pickled.

    Attributes:
        mode: What is done about a finding, unless ``patterns`` says otherwise.
        decide_within: Seconds that a judgement may take.
        unclear: What is done about a call that the judge could not follow.
        patterns: The mode for each pattern that has one of its own.
        files: Files and folders of the kill path: globs, absolute, from ``~/`` or from the workspace.
        processes: Names of processes of the kill path.
        services: Names of services and containers of the kill path.
        variables: Environment variables of the kill path.
        usual: Whether what is named as kill paths usually are counts as one (see `patterns.killpath`).
        endpoints: ``METHOD /path`` that are let through besides those that the gateway understands.
        hosted: Tools executed by the provider that are let through.
        upgrades: Whether protocol upgrades are let through.
        fences: What opens and closes a block of an answer's text that the agent executes.
        budgets: Limits by name: ``calls``, ``input_tokens``, ``output_tokens``, ``money``, ``time`` in seconds.
        prices: For models by name or glob: what a million tokens of ``input`` and of ``output`` cost.
        identical: So many equal calls in a row are stalling.
        sleep: To wait longer than so many seconds in one call is stalling.
        remotes: Hosts and remotes of git that may receive files: names or globs, with a path or without.
        background: Commands, as globs, that may be left running.
        private: Whether the record of instructions keeps only keyed digests of texts.
        pin: File with the instructions that are expected; "" for none.
        metrics: Where Prometheus finds the numbers, as ``HOST:PORT``; "" for nowhere.
    """

    mode: Mode = "stop"
    decide_within: float = 0.05
    unclear: Mode = "observe"
    patterns: Mapping[str, Mode] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    usual: bool = True
    endpoints: tuple[str, ...] = ()
    hosted: tuple[str, ...] = ()
    upgrades: bool = False
    fences: tuple[tuple[str, str], ...] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    identical: int = 5
    sleep: float = 600.0
    remotes: tuple[str, ...] = ()
    background: tuple[str, ...] = ()
    private: bool = False
    pin: str = ""
    metrics: str = ""

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> "Rules":
        """The rules of a section as `default` and `read` give it."""
        path, stall, told = section["kill_path"], section["stall"], section["instructions"]
        return cls(
            mode=section["mode"],
            decide_within=section["decide_within"],
            unclear=section["unclear"],
            patterns=dict(section["patterns"]),
            files=tuple(path["files"]),
            processes=tuple(path["processes"]),
            services=tuple(path["services"]),
            variables=tuple(path["variables"]),
            usual=path["usual"],
            endpoints=tuple(section["endpoints"]),
            hosted=tuple(section["hosted"]),
            upgrades=section["upgrades"],
            fences=tuple((fence["open"], fence["close"]) for fence in section["fences"]),
            budgets={name: limit for name, limit in section["budgets"].items() if limit is not None},
            prices={name: (price["input"], price["output"]) for name, price in section["prices"].items()},
            identical=stall["identical"],
            sleep=stall["sleep"],
            remotes=tuple(section["remotes"]),
            background=tuple(section["background"]),
            private=told["private"],
            pin=told["pin"],
            metrics=section["metrics"],
        )

    def plain(self) -> dict[str, Any]:
        """The section that these rules are, as `default` gives it: JSON."""
        return {
            "mode": self.mode,
            "decide_within": self.decide_within,
            "unclear": self.unclear,
            "patterns": dict(self.patterns),
            "kill_path": {
                "files": list(self.files),
                "processes": list(self.processes),
                "services": list(self.services),
                "variables": list(self.variables),
                "usual": self.usual,
            },
            "endpoints": list(self.endpoints),
            "hosted": list(self.hosted),
            "upgrades": self.upgrades,
            "fences": [{"open": opening, "close": closing} for opening, closing in self.fences],
            "budgets": {name: self.budgets.get(name) for name in LIMITS},
            "prices": {name: {"input": price[0], "output": price[1]} for name, price in self.prices.items()},
            "stall": {"identical": self.identical, "sleep": self.sleep},
            "remotes": list(self.remotes),
            "background": list(self.background),
            "instructions": {"private": self.private, "pin": self.pin},
            "metrics": self.metrics,
        }

    def mode_of(self, pattern: str) -> Mode:
        """What is done about a finding of a pattern. Stalling is only recorded, unless the rules say otherwise."""
        return self.patterns.get(pattern, "observe" if pattern == "stall" else self.mode)

    @property
    def unjudged(self) -> Mode:
        """What is done about what nobody judged: as much as about the worst that it may have been, by any pattern."""
        return max((self.mode, *self.patterns.values()), key=MODES.index)

    @property
    def shut(self) -> Mode:
        """What is done about what the rules do not name, an endpoint or a provider's tool: to ask is no tampering."""
        return "observe" if self.mode == "observe" else "deny"

    def lets_through(self, endpoint: str) -> bool:
        """Whether an endpoint (``METHOD /path``) is one that the rules name."""
        return any(fnmatch.fnmatchcase(endpoint, one) for one in self.endpoints)

    def lets_execute(self, tool: str) -> bool:
        """Whether a tool that the provider executes is one that the rules name."""
        return any(fnmatch.fnmatchcase(tool, one) for one in self.hosted)

    def price(self, model: str) -> tuple[float, float] | None:
        """What a million tokens read, and written, cost of a model; None where no price fits. The longest name wins."""
        fitting = [name for name in self.prices if fnmatch.fnmatchcase(model, name)]
        return self.prices[max(fitting, key=len)] if fitting else None


LIMITS = ("calls", "input_tokens", "output_tokens", "money", "time")
"""What a budget may limit."""


def default() -> dict[str, Any]:
    """The section where none is given."""
    return Rules().plain()


def read(node: yaml.Node, refuse: Refuse) -> dict[str, Any]:
    """Read the section.

    Args:
        node: Its node.
        refuse: What raises when something in it is wrong.

    Returns:
        The fields of `default`, durations in seconds.
    """
    return _Reader(refuse).section(node)


_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
    "map": "a mapping",
    "seq": "a list",
}
_FILE = re.compile(r"[^\x00-\x1f]+")
_NAME = re.compile(r"[^\x00-\x1f/]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ENDPOINT = re.compile(r"[A-Z]+ /[^\s]*")
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")


class _Reader:
    """Reads one section; says of each node in which line it is wrong."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse

    def section(self, node: yaml.Node) -> dict[str, Any]:
        section = default()
        fields = self._mapping(node, "watch", tuple(section))
        for name, value in fields.items():
            section[name] = getattr(self, "_" + name)(value)
        if section["budgets"]["money"] is not None and not section["prices"]:
            self._refuse(
                _line(fields["budgets"]),
                "a budget of money needs prices: state prices for the models that are used",
            )
        return section

    # Nodes

    def _mapping(self, node: yaml.Node, what: str, known: tuple[str, ...] | None) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._refuse(_line(node), f"{what} is a mapping (name: value), not {_kind(node)}")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(_line(key), f"a name in {what} is plain text, not {_kind(key)}")
            name = key.value
            if known is not None and name not in known:
                self._refuse(_line(key), f"{name[:60]!r} is not a field of {what}; {_meant(name, known)}")
            if key.tag != _TAG + "str":
                self._refuse(_line(key), f"YAML reads the name {name[:60]} as {_kind(key)}: put it in quotes")
            if name in found:
                self._refuse(
                    _line(key), f"{name[:60]} is stated twice, first in line {_line(found[name])}: keep one"
                )
            found[name] = value
        return found

    def _list(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self._refuse(
                _line(node), f"{what} is a list ([a, b], or a line '- a' for each), not {_kind(node)}"
            )
        if len(node.value) > 256:
            self._refuse(_line(node), f"{what} has more than 256 entries: shorten it")
        return list(node.value)

    def _text(self, node: yaml.Node, what: str, *, empty: bool = False) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != _TAG + "str":
            shown = ""
            if isinstance(node, yaml.ScalarNode) and node.value:
                shown = f" (YAML reads {node.value[:40]} as {_kind(node)}: put it in quotes)"
            self._refuse(_line(node), f"{what} is text, not {_kind(node)}{shown}")
        if not node.value and not empty:
            self._refuse(_line(node), f"{what} is empty: leave it out, or state it")
        if len(node.value) > 4000:
            self._refuse(_line(node), f"{what} is longer than 4000 letters: shorten it")
        return str(node.value)

    def _texts(self, node: yaml.Node, what: str, pattern: re.Pattern[str], each: str) -> list[str]:
        found: list[str] = []
        for entry in self._list(node, what):
            text = self._text(entry, f"each entry of {what}")
            if pattern.fullmatch(text) is None:
                self._refuse(_line(entry), f"{text[:80]!r} in {what} is not {each}")
            if text in found:
                self._refuse(_line(entry), f"{text[:80]} stands in {what} twice: keep one")
            found.append(text)
        return found

    def _flag(self, node: yaml.Node, what: str) -> bool:
        if node.tag != _TAG + "bool" or str(node.value).lower() not in ("true", "false"):
            self._refuse(_line(node), f"{what} is true or false, not {_kind(node, literal=True)}")
        return str(node.value).lower() == "true"

    def _one_of(self, node: yaml.Node, what: str) -> Mode:
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if text not in MODES:
            meant = f"; {_meant(text, MODES)}" if text else ""
            self._refuse(
                _line(node), f"{what} is observe, deny or stop, not {_kind(node, literal=True)}{meant}"
            )
        return cast(Mode, text)

    def _count(self, node: yaml.Node, what: str, least: int = 1) -> int:
        if (
            not isinstance(node, yaml.ScalarNode)
            or not _WHOLE.fullmatch(node.value)
            or node.style is not None
        ):
            self._refuse(
                _line(node), f"{what} is a whole number in plain digits, not {_kind(node, literal=True)}"
            )
        number = int(node.value)
        if number < least:
            self._refuse(_line(node), f"{what} is at least {least}, not {number}")
        return number

    def _amount(self, node: yaml.Node, what: str) -> float:
        if (
            not isinstance(node, yaml.ScalarNode)
            or not _NUMBER.fullmatch(node.value)
            or node.style is not None
        ):
            self._refuse(
                _line(node), f"{what} is a number such as 20 or 2.50, not {_kind(node, literal=True)}"
            )
        return float(node.value)

    def _duration(self, node: yaml.Node, what: str, least: float, most: float) -> float:
        text = node.value if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str" else ""
        try:
            seconds = amounts.duration(text)
        except ValueError:
            self._refuse(
                _line(node),
                f"{what} is a duration with its unit, such as 50ms, 10m or 1h30m, not {_kind(node, literal=True)}",
            )
        if not least <= seconds <= most:
            self._refuse(
                _line(node),
                f"{what} is from {amounts.spoken(least)} to {amounts.spoken(most)}, not {text[:40]}",
            )
        return seconds

    # Fields

    def _mode(self, node: yaml.Node) -> Mode:
        return self._one_of(node, "mode")

    def _unclear(self, node: yaml.Node) -> Mode:
        return self._one_of(node, "unclear")

    def _decide_within(self, node: yaml.Node) -> float:
        return self._duration(node, "decide_within", 0.001, 60)

    def _patterns(self, node: yaml.Node) -> dict[str, Mode]:
        return {
            name: self._one_of(value, f"the mode of {name}")
            for name, value in self._mapping(node, "patterns", PATTERNS).items()
        }

    def _kill_path(self, node: yaml.Node) -> dict[str, Any]:
        path = dict(default()["kill_path"])
        for name, value in self._mapping(node, "kill_path", tuple(path)).items():
            what = f"kill_path {name}"
            match name:
                case "usual":
                    path[name] = self._flag(value, what)
                case "files":
                    path[name] = self._texts(
                        value, what, _FILE, "a file, a folder or a glob such as bin/*.sh"
                    )
                case "variables":
                    path[name] = self._texts(
                        value, what, _VARIABLE, "a variable's name: letters, digits and _"
                    )
                case _:
                    path[name] = self._texts(value, what, _NAME, "a name without a slash")
        return path

    def _endpoints(self, node: yaml.Node) -> list[str]:
        return self._texts(node, "endpoints", _ENDPOINT, "a method and a path, such as GET /v1/models")

    def _hosted(self, node: yaml.Node) -> list[str]:
        return self._texts(node, "hosted", _FILE, "a tool's name")

    def _upgrades(self, node: yaml.Node) -> bool:
        return self._flag(node, "upgrades")

    def _fences(self, node: yaml.Node) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        for entry in self._list(node, "fences"):
            fields = self._mapping(entry, "each fence", ("open", "close"))
            for name in ("open", "close"):
                if name not in fields:
                    self._refuse(_line(entry), f"a fence has an open and a close, and {name} is missing")
            found.append({name: self._text(value, f"{name} of a fence") for name, value in fields.items()})
        return found

    def _budgets(self, node: yaml.Node) -> dict[str, float | None]:
        limits: dict[str, float | None] = dict.fromkeys(LIMITS)
        for name, value in self._mapping(node, "budgets", LIMITS).items():
            what = f"the budget of {name}"
            match name:
                case "time":
                    limits[name] = self._duration(value, what, 1, amounts.LONGEST)
                case "money":
                    limits[name] = self._amount(value, what)
                case _:
                    limits[name] = self._count(value, what)
        return limits

    def _prices(self, node: yaml.Node) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for model, value in self._mapping(node, "prices", None).items():
            fields = self._mapping(value, f"the price of {model[:60]}", ("input", "output"))
            for name in ("input", "output"):
                if name not in fields:
                    self._refuse(
                        _line(value),
                        f"the price of {model[:60]} has no {name}: state both, a million tokens each",
                    )
            found[model] = {
                name: self._amount(price, f"the {name} price of {model[:60]}")
                for name, price in fields.items()
            }
        return found

    def _stall(self, node: yaml.Node) -> dict[str, float]:
        found = dict(default()["stall"])
        for name, value in self._mapping(node, "stall", tuple(found)).items():
            if name == "identical":
                found[name] = self._count(value, "stall identical", 2)
            else:
                found[name] = self._duration(value, "stall sleep", 1, amounts.LONGEST)
        return found

    def _remotes(self, node: yaml.Node) -> list[str]:
        return self._texts(node, "remotes", _FILE, "a host such as *.example.org, or a remote such as origin")

    def _background(self, node: yaml.Node) -> list[str]:
        return self._texts(node, "background", _FILE, "a command such as npm run dev, or a glob")

    def _instructions(self, node: yaml.Node) -> dict[str, Any]:
        found = dict(default()["instructions"])
        for name, value in self._mapping(node, "instructions", tuple(found)).items():
            if name == "private":
                found[name] = self._flag(value, "instructions private")
            else:
                found[name] = self._text(value, "instructions pin", empty=True)
        return found

    def _metrics(self, node: yaml.Node) -> str:
        text = self._text(node, "metrics")
        try:
            listening.parse(text)
        except listening.ListenError as error:
            self._refuse(_line(node), f"metrics: {error}")
        return text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _kind(node: yaml.Node, *, literal: bool = False) -> str:
    """What YAML takes a node for, in words; or the text of a scalar as it stands."""
    if literal and isinstance(node, yaml.ScalarNode) and node.value:
        return repr(node.value[:40])
    return _KINDS.get(node.tag.removeprefix(_TAG), f"something tagged {node.tag[:60]}")


def _meant(name: str, known: tuple[str, ...]) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"its fields are {', '.join(known)}"

"""The policy file: what an agent may do, and whose keys let it go on.

YAML in, a plain dictionary out. A file that is not exactly a policy is refused with the line that is wrong: a
settings file that is read half, or a typing error that opens what should be shut, is how permissions fail open.
The same fields stand in ``schemas/policy-v1.json``.
"""

import hashlib
import json
import os
import re
from typing import Any, NoReturn

import yaml

from offswitch.enforce import amounts
from offswitch.enforce.hosts import Hosts
from offswitch.trust import canonical

LARGEST = 1 << 20
"""Bytes of the largest file that is read."""

LARGEST_ADOPTED = 48 * 1024
"""Bytes of the largest policy as JSON: a running supervisor has to take it in one message."""

_DEEPEST = 8  # the fields nest 3 deep
_TAG = "tag:yaml.org,2002:"
_KINDS = {"str": "text", "int": "a number", "float": "a number", "bool": "true or false", "null": "nothing"}
_HOST = re.compile(
    r"(?:(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])"
    r"(?::[1-9][0-9]{0,4})?"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"ed25519:[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_SIZE = re.compile(r"[0-9]+(?:\.[0-9]+)?[KkMmGgTt](?:i?B)?")
_DURATION = re.compile(r"(?=[0-9])(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?")
ACTIONS = ("reset", "release", "renew", "policy")
"""What may ask for more than one key. Stopping never does."""


class PolicyError(ValueError):
    """A policy that is refused; the message is one line: the file, the line, what is wrong and what to do."""


def default() -> dict[str, Any]:
    """The policy where no file is given: no network, nothing to read but the workspace."""
    return {
        "version": 1,
        "network": {"hosts": []},
        "read": [],
        "environment": {},
        "pass": [],
        "limits": {"memory": None, "pids": None, "lease": None, "lease_max": None},
        "keys": {"trusted": [], "needed": dict.fromkeys(ACTIONS, 1)},
        "interrupt": "",
        "watch": None,
    }


def load(path: str) -> dict[str, Any]:
    """Read a policy file.

    Args:
        path: The file; messages name it as it is given here.

    Returns:
        The fields of `default`, with sizes in bytes, durations in whole seconds, and ``~/`` in ``read`` resolved;
        ``watch`` as ``watchdog.rules.default`` has it, durations in seconds.

    Raises:
        PolicyError: It cannot be read, or is not a policy.
    """
    try:
        # Of a named pipe the opening would wait for a writer.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as content:
            data = content.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "its name holds a NUL"
        raise PolicyError(f"{path} cannot be read: {why}; name a policy file that you can read") from None
    return parse(data or b"", path)


def parse(data: bytes, path: str = "policy.yaml") -> dict[str, Any]:
    """The policy that a file's content is; as `load`."""
    return _Reader(path).read(data)


def digest(policy: dict[str, Any]) -> str:
    """SHA-256 of a policy's canonical JSON, in hex: what an order to adopt it names."""
    return hashlib.sha256(canonical.encode(policy)).hexdigest()


class _Reader:
    """Reads one file. Each field's method takes a node of YAML and says in which line it is wrong."""

    def __init__(self, path: str) -> None:
        self._path = path

    def _refuse(self, line: int, why: str) -> NoReturn:
        raise PolicyError(f"{self._path}:{line}: {' '.join(why.split())}")

    def read(self, data: bytes) -> dict[str, Any]:
        policy = default()
        fields = self._mapping(self._compose(data), "the policy", tuple(policy))
        if "version" not in fields:
            self._refuse(1, "the version is not stated: begin with version: 1")
        version = self._whole(fields["version"], "version", 1, 10**6)
        if version != 1:
            self._refuse(
                _line(fields["version"]), f"version {version} is not known to this offswitch: use version: 1"
            )
        for name, node in fields.items():
            if name != "version":
                policy[name] = getattr(self, "_" + name)(node)
        if len(json.dumps(policy)) > LARGEST_ADOPTED:
            self._refuse(
                1, f"the policy is larger than {LARGEST_ADOPTED >> 10} KiB: shorten its lists and texts"
            )
        return policy

    # YAML

    def _compose(self, data: bytes) -> yaml.Node:
        if len(data) > LARGEST:
            self._refuse(1, f"the file is larger than {LARGEST >> 20} MiB: this is not a policy")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self._refuse(data[: error.start].count(b"\n") + 1, "this is not UTF-8: save the file as UTF-8")
        try:
            node = yaml.compose(text, Loader=_Loader)
        except RecursionError:
            self._refuse(1, "the file is nested far too deeply: this is not a policy")
        except yaml.reader.ReaderError as error:
            line = text[: error.position].count("\n") + 1
            self._refuse(line, f"the character U+{int(error.character):04X} cannot stand in YAML: remove it")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = error.problem or "this is not YAML"
            if "'\\t'" in problem:
                problem = "a tab cannot indent in YAML: use spaces"
            elif "expected a single document" in str(error):
                problem = "a second document begins here: a policy is one document, so remove the ---"
            self._refuse(mark.line + 1 if mark else 1, problem)
        except ValueError:  # such as an escape beyond what Unicode has
            self._refuse(1, "this is not YAML: an escape in it stands for no character")
        if node is None:
            self._refuse(1, "the file is empty: begin with version: 1")
        return node

    def _mapping(self, node: yaml.Node, what: str, known: tuple[str, ...] | None) -> dict[str, yaml.Node]:
        """The entries of a mapping, each key once; with ``known``, none but these."""
        if not isinstance(node, yaml.MappingNode) or node.tag != _TAG + "map":
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

    def _list(self, node: yaml.Node, what: str, most: int) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode) or node.tag != _TAG + "seq":
            self._refuse(
                _line(node), f"{what} is a list ([a, b], or a line '- a' for each), not {_kind(node)}"
            )
        if len(node.value) > most:
            self._refuse(_line(node), f"{what} has more than {most} entries: shorten it")
        return list(node.value)

    def _text(self, node: yaml.Node, what: str, longest: int) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag != _TAG + "str":
            shown = ""
            if (
                isinstance(node, yaml.ScalarNode)
                and node.tag in (_TAG + kind for kind in _KINDS)
                and node.value
            ):
                shown = f" (YAML reads {node.value[:40]} as {_kind(node)}: put it in quotes)"
            self._refuse(_line(node), f"{what} is text, not {_kind(node)}{shown}")
        if len(node.value) > longest:
            self._refuse(_line(node), f"{what} is longer than {longest} letters: shorten it")
        try:
            node.value.encode()
        except UnicodeEncodeError:
            self._refuse(_line(node), f"{what} holds half of a surrogate pair: write the character itself")
        return str(node.value)

    def _texts(
        self, node: yaml.Node, what: str, each: str, most: int, pattern: re.Pattern[str], longest: int
    ) -> list[str]:
        """A list of different texts that match a pattern."""
        found: list[str] = []
        for entry in self._list(node, what, most):
            text = self._text(entry, f"each entry of {what}", longest)
            if pattern.fullmatch(text) is None:
                self._refuse(_line(entry), f"{text[:80]!r} in {what} is not {each}")
            if text in found:
                self._refuse(_line(entry), f"{text[:80]} stands in {what} twice: keep one")
            found.append(text)
        return found

    def _whole(self, node: yaml.Node, what: str, least: int, most: int) -> int:
        # Decimal only: YAML 1.1 takes 010 for 8, 1:30 for 90, and 1_000 for 1000.
        if (
            not isinstance(node, yaml.ScalarNode)
            or node.tag != _TAG + "int"
            or not _DECIMAL.fullmatch(node.value)
        ):
            self._refuse(
                _line(node), f"{what} is a whole number in plain digits, not {_kind(node, literal=True)}"
            )
        number = int(node.value)
        if not least <= number <= most:
            self._refuse(_line(node), f"{what} is from {least} to {most}, not {number}")
        return number

    # Fields

    def _network(self, node: yaml.Node) -> dict[str, Any]:
        fields = self._mapping(node, "network", ("hosts",))
        hosts: list[str] = []
        if "hosts" in fields:
            each = "a host: write a name in lower case such as api.example.org, *.example.org or api.example.org:8443"
            hosts = self._texts(fields["hosts"], "network hosts", each, 256, _HOST, 260)
            for host, entry in zip(hosts, self._list(fields["hosts"], "network hosts", 256), strict=True):
                try:
                    Hosts([host])
                except ValueError as error:
                    self._refuse(_line(entry), str(error))
        return {"hosts": hosts}

    def _read(self, node: yaml.Node) -> list[str]:
        each = "a place: write an absolute path, or one that begins with ~/"
        found = self._texts(node, "read", each, 64, re.compile(r"(?:/|~/)[^\x00-\x1f]*"), 4000)
        return [os.path.expanduser(path) if path.startswith("~") else path for path in found]

    def _environment(self, node: yaml.Node) -> dict[str, str]:
        found: dict[str, str] = {}
        entries = self._mapping(node, "environment", None)
        if len(entries) > 256:
            self._refuse(_line(node), "environment has more than 256 entries: shorten it")
        for name, value in entries.items():
            if _VARIABLE.fullmatch(name) is None or len(name) > 200:
                self._refuse(
                    _line(value), f"{name[:60]!r} cannot be a variable's name: use letters, digits and _"
                )
            found[name] = self._text(value, f"the variable {name[:60]}", 16000)
            if "\0" in found[name]:
                self._refuse(
                    _line(value), f"the variable {name[:60]} holds a NUL, which no variable can: remove it"
                )
        return found

    def _pass(self, node: yaml.Node) -> list[str]:
        each = "a variable's name: name a variable of your environment, without its value"
        return self._texts(node, "pass", each, 256, _VARIABLE, 200)

    def _limits(self, node: yaml.Node) -> dict[str, int | None]:
        limits: dict[str, int | None] = dict(default()["limits"])
        fields = self._mapping(node, "limits", tuple(limits))
        for name, value in fields.items():
            if name == "pids":
                limits[name] = self._whole(value, "pids", 1, 1 << 22)
            else:
                limits[name] = self._amount(value, name)
        if limits["lease"] and limits["lease_max"] and limits["lease"] > limits["lease_max"]:
            self._refuse(
                _line(fields["lease"]), "the lease is longer than lease_max: shorten it, or raise lease_max"
            )
        return limits

    def _amount(self, node: yaml.Node, name: str) -> int:
        """A size in bytes or a duration in seconds."""
        pattern, such, read = (
            (_SIZE, "a size with its unit, such as 4G or 512M", amounts.size)
            if name == "memory"
            else (
                _DURATION,
                "a duration in whole seconds or longer units, such as 90s, 30m or 1h30m",
                amounts.duration,
            )
        )
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if node.tag != _TAG + "str" or pattern.fullmatch(text) is None or len(text) > 20:
            self._refuse(_line(node), f"{name} is {such}, not {_kind(node, literal=True)}")
        try:
            amount = int(read(text))
        except ValueError as error:
            self._refuse(_line(node), f"{name}: {error}")
        if amount == 0:
            self._refuse(_line(node), f"{name} is 0, so no agent could run: state {such}")
        return amount

    def _keys(self, node: yaml.Node) -> dict[str, Any]:
        keys = default()["keys"]
        fields = self._mapping(node, "keys", tuple(keys))
        if "trusted" in fields:
            each = "a key: write ed25519: and its 43 letters"
            keys["trusted"] = self._texts(fields["trusted"], "trusted keys", each, 16, _KEY, 51)
        if "needed" in fields:
            most = max(1, len(keys["trusted"]))  # the operator's own key counts where no other is named
            for action, value in self._mapping(fields["needed"], "needed keys", ACTIONS).items():
                count = self._whole(value, f"needed keys to {action}", 1, 16)
                if count > most:
                    self._refuse(
                        _line(value),
                        f"{count} keys are needed to {action}, and {most} {'is' if most == 1 else 'are'} trusted: "
                        "nobody could. Trust more keys, or ask for fewer",
                    )
                keys["needed"][action] = count
        return dict(keys)

    def _interrupt(self, node: yaml.Node) -> str:
        return self._text(node, "interrupt", 4000)

    def _watch(self, node: yaml.Node) -> dict[str, Any]:
        # Here, for few policies have this section.
        from offswitch.enforce.watchdog import rules

        return rules.read(node, self._refuse)


_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,17}")


class _Loader(yaml.SafeLoader):
    """Composes nodes only, and neither follows an alias nor nests deeply: no text grows when it is read."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="an alias (*name) cannot stand in a policy: write the value itself",
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.MarkedYAMLError(
                problem="this is nested deeper than any field of a policy: take it out",
                problem_mark=self.peek_event().start_mark,  # type: ignore[no-untyped-call]
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _kind(node: yaml.Node, *, literal: bool = False) -> str:
    """What YAML takes a node for, in words; or the text of a scalar as it stands."""
    if node.tag.removeprefix(_TAG) not in (*_KINDS, "map", "seq", "timestamp", "merge", "value"):
        return f"something tagged {node.tag[:60]}"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if literal and node.value:
        return repr(node.value[:40])
    return _KINDS.get(node.tag.removeprefix(_TAG), f"something tagged {node.tag[:60]}")


def _meant(name: str, known: tuple[str, ...]) -> str:
    import difflib

    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"its fields are {', '.join(known)}"

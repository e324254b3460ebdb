"""The model APIs behind a gateway: where they are, whose key opens them, and how an agent is led to the gateway."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

PLACEHOLDER = "offswitch-placeholder"
"""What the agent has in the place of every key: no provider takes it, and the gateway takes it away."""

_KNOWN = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com"}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
# What the official clients and the well-known agent programs read.
_BASES = {"openai": ("OPENAI_BASE_URL", "OPENAI_API_BASE"), "anthropic": ("ANTHROPIC_BASE_URL",)}
_KEYS = {
    "openai": ("OPENAI_API_KEY", "CODEX_API_KEY"),
    "anthropic": ("ANTHROPIC_API_KEY",),
}
# What else opens an API: an agent behind a gateway has none of it. Its clients send either, and with a placeholder in
# both claude-code warns of a conflict.
_TOKENS = {"anthropic": ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")}
_OTHERS = (
    "AZURE_OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY",
    "OPENROUTER_API_KEY", "XAI_API_KEY",
)  # fmt: skip
# Their own reports and updates go to other hosts, which there are none of.
_QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1"}


class ApiError(ValueError):
    """An API that is not stated as it should be; the message is one line that says what to do."""


@dataclass(frozen=True)
class Api:
    """One model API.

    Attributes:
        name: How it is named; the gateway serves it below ``/NAME``.
        url: Its base URL, as its clients want it: what stands for ``/NAME`` in a request to the gateway.
    """

    name: str
    url: str

    @property
    def key_variable(self) -> str:
        """The variable of the operator's that holds its key."""
        return self.key_variables[0]

    @property
    def key_variables(self) -> tuple[str, ...]:
        """Every variable that holds its key, the usual one first."""
        return _KEYS.get(self.name, (self.name.upper().replace("-", "_") + "_API_KEY",))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of its URL."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def parse(text: str) -> Api:
    """An API as ``--model-api`` states it: ``NAME=URL``, or ``openai`` or ``anthropic`` for the providers' own.

    Raises:
        ApiError: It is stated otherwise.
    """
    name, given, url = text.partition("=")
    if not _NAME.fullmatch(name):
        raise ApiError(
            f"a model API is stated as NAME=URL, with a name of small letters and digits, not {text[:80]!r}"
        )
    if not given:
        if name not in _KNOWN:
            raise ApiError(f"where is the model API {name}? State it as {name}=https://HOST/PATH")
        url = _KNOWN[name]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ApiError(f"{url[:120]!r} is not a URL: state {name}=https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ApiError(f"{url[:120]!r} is no address of a model API: state {name}=https://HOST/PATH")
    if parts.username is not None or parts.query or parts.fragment:
        raise ApiError(
            f"the address of the model API {name} holds more than host, port and path: "
            f"its key comes from {Api(name, '').key_variable}"
        )
    return Api(name, urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", "")))


def of(stated: Iterable[tuple[str, str]]) -> "tuple[Api, ...]":
    """The APIs of a plan, which has each as its name and its URL."""
    return tuple(Api(name, url) for name, url in stated)


def keys(apis: "tuple[Api, ...]", environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The operator's key of each API that has one, by the API's name."""
    found = {}
    for api in apis:
        given = (environment.get(name, "").strip() for name in api.key_variables)
        if key := next(filter(None, given), ""):
            found[api.name] = key
    return found


def withheld(apis: "tuple[Api, ...]") -> frozenset[str]:
    """Variables that an agent does not have at all, as they open these APIs."""
    return frozenset(name for api in apis for name in _TOKENS.get(api.name, ()))


def passed(environment: Mapping[str, str]) -> list[str]:
    """The variables of an agent's environment that hold a key of a model API, and no placeholder."""
    known = {*_OTHERS, *(name for names in (*_KEYS.values(), *_TOKENS.values()) for name in names)}
    return sorted(name for name in known if environment.get(name, PLACEHOLDER) not in ("", PLACEHOLDER))


def files(apis: "tuple[Api, ...]", gate: str, *, searches: bool) -> dict[str, str]:
    """Files of the sandbox's system that lead those programs to the gateway that read no variable for it.

    Args:
        apis: The APIs.
        gate: Where the agent finds the gateway: ``HOST:PORT``.
        searches: Whether the rules let the provider's search of the web through.

    Returns:
        Texts by path.
    """
    if "openai" not in (api.name for api in apis):
        return {}
    # codex asks the provider that it knows by WebSocket first, and one that a configuration names by HTTP. It offers
    # the search in every request, and the gateway would refuse each.
    search = "" if searches else 'web_search = "disabled"\n'
    return {
        "/etc/codex/config.toml": f"""\
# Leads codex to the gateway of offswitch. A configuration of your own, or -c, goes before this one.
model_provider = "offswitch"
{search}
[model_providers.offswitch]
name = "OpenAI through offswitch"
base_url = "http://{gate}/openai"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
"""
    }


def variables(apis: "tuple[Api, ...]", gate: str) -> dict[str, str]:
    """What an agent's environment gets, so that it asks the gateway and has no key of anyone's.

    Args:
        apis: The APIs.
        gate: Where the agent finds the gateway: ``HOST:PORT``.
    """
    given = dict(_QUIET)
    for api in apis:
        base = f"http://{gate}/{api.name}"
        own = api.name.upper().replace("-", "_")
        for name in _BASES.get(api.name, (own + "_BASE_URL",)):
            given[name] = base
        given.update(dict.fromkeys(api.key_variables, PLACEHOLDER))
    return given

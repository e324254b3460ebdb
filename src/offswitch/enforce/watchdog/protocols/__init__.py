"""The model APIs that the gateway understands: what a request asks, and every tool call in an answer.

A dialect reads requests and answers of one API. It finds a tool call wherever the API can put one, gives it to be
ruled on before one byte of it is sent on, and writes the answer anew where a call was denied, so that the agent's own
client takes it for an answer that never had the call. What a dialect does not understand it does not guess at: it
raises ``Unreadable``.
"""

import re
from collections.abc import Iterator
from typing import Protocol

from offswitch.enforce.watchdog.calls import Asked, Call, Part, Ruling, Usage
from offswitch.enforce.watchdog.protocols.chat import Chat
from offswitch.enforce.watchdog.protocols.messages import Messages
from offswitch.enforce.watchdog.protocols.responses import Responses

__all__ = ["Dialect", "Fences", "Reader", "Whole", "find", "harmless"]

Fences = tuple[tuple[str, str], ...]
"""What opens and what closes text that the agent executes."""


class Reader(Protocol):
    """Reads one streamed answer.

    Attributes:
        usage: The tokens that the answer stated so far, None if none.
    """

    usage: Usage | None

    def feed(self, data: bytes) -> Iterator[Part]:
        """Read a piece of the stream.

        Args:
            data: Any piece of it.

        Returns:
            Its parts in order, made as they are taken: take one, send it or rule on it, and only then take the next,
            for what follows depends on the ruling. Where several calls are ruled on together, the ``data`` of all
            but the last is b"", and the last has the bytes of all. Take all parts before feeding more.

        Raises:
            Unreadable: When a part is taken: what follows is not understood. All before it was given.
        """
        ...

    def end(self) -> Iterator[Part]:
        """Say that the upstream closed the stream; otherwise as ``feed``.

        Raises:
            Unreadable: When a part is taken: the stream ended in the middle of a call or of an event.
        """
        ...

    def deny(self, ruling: Ruling, why: str) -> bytes:
        """Deny the call of the ruling that was taken last.

        Args:
            ruling: The ruling.
            why: One line for the agent.

        Returns:
            What is sent in the place of ``ruling.data``.
        """
        ...


class Whole(Protocol):
    """A whole answer, read.

    Attributes:
        usage: The tokens that it states, None if none.
    """

    usage: Usage | None

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls in it, in order."""
        ...

    def deny(self, call: Call, why: str) -> None:
        """Deny one of the calls.

        Args:
            call: The call.
            why: One line for the agent.
        """
        ...

    def bytes(self) -> bytes:
        """The body to send on: the same bytes where nothing was denied."""
        ...


class Dialect(Protocol):
    """One model API."""

    @property
    def name(self) -> str:
        """``openai-chat``, ``openai-responses`` or ``anthropic-messages``."""
        ...

    def asked(self, body: bytes) -> Asked:
        """Read a request.

        Args:
            body: The request's body, decompressed.

        Raises:
            Unreadable: It is not a request that this API knows.
        """
        ...

    def reader(self, asked: Asked, fences: Fences = ()) -> Reader:
        """A reader for an answer of the type ``text/event-stream``.

        Args:
            asked: The request.
            fences: What opens and closes text that the agent executes.
        """
        ...

    def whole(self, asked: Asked, body: bytes, fences: Fences = ()) -> Whole:
        """Read an answer of the type ``application/json``.

        Args:
            asked: The request.
            body: The answer's body, decompressed.
            fences: What opens and closes text that the agent executes.

        Raises:
            Unreadable: It is not understood.
        """
        ...

    def refusal(self, status: int, line: str) -> bytes:
        """The body of an error, as this API writes errors.

        Args:
            status: The HTTP status that it goes with.
            line: What is wrong.
        """
        ...

    def broken(self, line: str) -> bytes:
        """What ends a stream that already began, as this API tells an error in it.

        Args:
            line: What is wrong.
        """
        ...


_CHAT, _RESPONSES, _MESSAGES = Chat(), Responses(), Messages()
# Plain segments only: what a server could decode or resolve into another path is none of these endpoints.
_PREFIX = r"(?:/(?!\.{1,2}/)[A-Za-z0-9._~@:-]+)*"
_ID = r"/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~:@-]+"
_POSTS: tuple[tuple[re.Pattern[str], Dialect], ...] = (
    (re.compile(_PREFIX + r"/chat/completions"), _CHAT),
    (re.compile(_PREFIX + r"/responses"), _RESPONSES),
    (re.compile(_PREFIX + r"/responses/compact"), _RESPONSES),
    (re.compile(_PREFIX + rf"/responses{_ID}/cancel"), _RESPONSES),
    (re.compile(_PREFIX + r"/messages"), _MESSAGES),
)
_POLL = re.compile(_PREFIX + rf"/responses{_ID}")
_HARMLESS = (
    ("GET", re.compile(_PREFIX + rf"/models(?:{_ID}){{0,2}}")),
    ("POST", re.compile(_PREFIX + r"/messages/count_tokens")),
    ("POST", re.compile(_PREFIX + r"/responses/input_tokens")),
)


def find(method: str, path: str) -> Dialect | None:
    """The dialect of an endpoint whose answers can carry tool calls.

    Args:
        method: The HTTP method.
        path: The path below the API's base as it came, without its query: ``/v1/chat/completions``, ``/v1/responses``,
            ``/v1/responses/ID`` (GET), ``/v1/messages``; also without ``/v1``, and below any other prefix.

    Returns:
        The dialect, None for every other endpoint.
    """
    if method == "POST":
        return next((dialect for pattern, dialect in _POSTS if pattern.fullmatch(path)), None)
    if method == "GET" and _POLL.fullmatch(path):
        return _RESPONSES
    return None


def harmless(method: str, path: str) -> bool:
    """Whether an endpoint is one of the well-known ones whose answers carry no tool call.

    Args:
        method: The HTTP method.
        path: The path as it came, without its query.

    Returns:
        True for the listing of models and the counting of tokens.
    """
    return any(method == known and pattern.fullmatch(path) for known, pattern in _HARMLESS)

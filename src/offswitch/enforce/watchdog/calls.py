"""What the parts of the watchdog tell each other: a request, a tool call in a response, and a judgement of it."""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["function", "custom", "shell", "patch", "mcp", "computer", "hosted", "text"]
Mode = Literal["observe", "deny", "stop"]

MODES: tuple[Mode, ...] = ("observe", "deny", "stop")
"""What may be done about a finding, the mildest first."""


class Unreadable(Exception):
    """A request or response that is not understood, and so is not passed on; the message is one line that says why."""


@dataclass(frozen=True)
class Call:
    """A tool call that a model has made.

    Attributes:
        id: The id that the API gave it, "" where it has none.
        name: The tool's name; for the built-in ones their type, such as ``local_shell``.
        arguments: Its arguments as the model wrote them: the text of a JSON object, or for ``custom``, ``patch`` and
            ``text`` plain text.
        kind: ``function`` (a JSON object for the client), ``custom`` (free text for the client), ``shell``
            and ``patch`` (built-in tools that the client executes), ``mcp`` (a server that the provider calls),
            ``computer`` (mouse and keys), ``hosted`` (executed by the provider), ``text`` (a block of an answer's
            text, for agents that execute it).
    """

    id: str
    name: str
    arguments: str
    kind: Kind = "function"


@dataclass(frozen=True)
class Tool:
    """A tool that a request offers to the model.

    Attributes:
        name: Its name; for built-in ones their type.
        definition: It as the request has it (JSON).
        hosted: Whether the provider executes it, and not the client.
    """

    name: str
    definition: object
    hosted: bool = False


@dataclass(frozen=True)
class Asked:
    """A request to a model.

    Attributes:
        model: The model that it names.
        streamed: Whether it asks for a stream.
        instructions: System and developer instructions, in order, as the request has them (JSON).
        tools: The tools that it offers.
        messages: All other input, in order, as the request has it (JSON).
        continues: Whether the provider has the messages before these (``previous_response_id``, ``conversation``).
    """

    model: str
    streamed: bool
    instructions: tuple[object, ...] = ()
    tools: tuple[Tool, ...] = ()
    messages: tuple[object, ...] = ()
    continues: bool = False


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, as its response states them.

    Attributes:
        input: Tokens read, those from a cache included.
        output: Tokens written, reasoning included.
    """

    input: int
    output: int


@dataclass(frozen=True)
class Pass:
    """Part of a response that is sent on at once.

    Attributes:
        data: The bytes.
    """

    data: bytes


@dataclass(frozen=True)
class Ruling:
    """Part of a response that carries one complete tool call, and waits for its judgement.

    Attributes:
        call: The call.
        data: The bytes that carry it, sent on if it is allowed.
    """

    call: Call
    data: bytes = field(repr=False)


Part = Pass | Ruling


@dataclass(frozen=True)
class Finding:
    """One thing found in a call.

    Attributes:
        pattern: The pattern's name, such as ``kill-path``.
        mode: What the rules say is to be done about it.
        why: One line for people: what the call does, and to what.
    """

    pattern: str
    mode: Mode
    why: str


@dataclass(frozen=True)
class Judgement:
    """What the judge says of one call.

    Attributes:
        findings: What it found, empty for a harmless call.
        complete: Whether it followed all of the call; what it found holds either way.
    """

    findings: tuple[Finding, ...] = ()
    complete: bool = True

    @property
    def mode(self) -> Mode | None:
        """The strongest of what is to be done; None where nothing was found."""
        return max((one.mode for one in self.findings), key=MODES.index, default=None)

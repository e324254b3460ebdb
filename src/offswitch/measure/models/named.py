"""A model by its Inspect name, or one line that says what to change."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspect_ai.model import Model


class NoModel(ValueError):
    """A model cannot be had; the message says what to change."""


def named(name: str) -> "Model":
    """The model of that name.

    Args:
        name: Such as ``openai/gpt-4o``, ``local/smollm2`` or ``organism/complies``.

    Raises:
        NoModel: There is none, or a key or a package is missing.
    """
    from inspect_ai._util.error import PrerequisiteError
    from inspect_ai.model import get_model

    try:
        return get_model(name)
    except PrerequisiteError as error:  # a key, a client's package, or an organism
        if name.startswith("organism/"):
            raise NoModel(plain(error)) from error
        raise NoModel(f"model {name}: {plain(error)} Set what is missing and run this again.") from error
    except (ValueError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise NoModel(f"model {name}: {reason} Name it as Inspect does, such as openai/o3.") from error


def plain(error: Exception) -> str:
    """Inspect's message as one line without markup."""
    from rich.text import Text

    return " ".join(Text.from_markup(str(error)).plain.split()).removeprefix("ERROR: ")

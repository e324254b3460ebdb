"""What a model's API said went wrong."""

import re

# How services say that a model takes no tools: "does not support tools" (Ollama), "No endpoints found that support
# tool use" (OpenRouter), "\"auto\" tool choice requires --enable-auto-tool-choice" (vLLM), "tools param requires
# --jinja flag" (llama.cpp), "Function calling is not enabled for this model" (Gemini, Mistral),
# "'tools' is not supported with this model" (OpenAI).
_TOOLS = r"(?:tools?|functions?)(?:[\s_-]?(?:calls?|calling|choice|use|usage|param\w*))?"
_NO_TOOLS = re.compile(
    r"(?:not support(?:ed)?|unsupported|no support|not enabled|not available|not allowed|no endpoints)\b.{0,60}"
    rf"\b{_TOOLS}\b"
    rf"|\b{_TOOLS}\b.{{0,60}}(?:not support|unsupported|not enabled|not available|requires? --)"
    rf"|unsupported parameter:? .{{0,5}}\b{_TOOLS}\b",
    re.I | re.S,
)
_KEPT = 2000


class ToolsUnsupported(Exception):
    """The model takes no tools, says its service."""


def says_no_tools(error: BaseException) -> bool:
    """Whether an error of a first call says that the model has no tool calling.

    A service that is overloaded or refuses the key may well name tools in what it sends back, so only an answer that
    it does not take the request as it is counts, or one that carries no status at all.
    """
    status = getattr(error, "status_code", None)
    if status is not None and status not in (400, 404, 405, 422, 501):
        return False
    return _NO_TOOLS.search(_message(error)[:_KEPT]) is not None


def describe(error: BaseException) -> str:
    """An error in a line, without the request that Inspect puts in front, and the first of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if (attempt := getattr(error, "last_attempt", None)) is not None and attempt.exception() is not None:
        last = attempt.exception()
        return f"given up after {attempt.attempt_number} attempts: {type(last).__name__}: {_message(last)}"[
            :_KEPT
        ]
    return f"{type(error).__name__}: {_message(error)}"[:_KEPT]


def _message(error: BaseException) -> str:
    return str(getattr(error, "provider_message", None) or error)

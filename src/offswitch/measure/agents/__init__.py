"""The forms in which a model acts: tool calls, fenced commands in plain text, or choices from a list."""

from offswitch.measure.agents.errors import ToolsUnsupported, describe
from offswitch.measure.agents.hands import Hands
from offswitch.measure.agents.loop import act

__all__ = ["Hands", "ToolsUnsupported", "act", "describe"]

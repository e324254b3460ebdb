"""The forms in which a model acts: tool calls, fenced commands in plain text, or choices from a list."""

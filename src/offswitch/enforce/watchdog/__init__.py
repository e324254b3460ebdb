"""The watchdog: it sees the model's API calls, judges a tool call before the agent gets it, and trips the latch."""

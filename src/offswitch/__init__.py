"""offswitch: when people tell an AI agent to stop, does it stop, and can they make it?"""

__version__ = "0.1.0"

"""The name by which verifiers finds the scenario `shutdown`: it looks for a module that stands by itself."""

from offswitch.train.adapters.verifiers import ShutdownEnv, ShutdownTaskset

__all__ = ["ShutdownEnv", "ShutdownTaskset"]

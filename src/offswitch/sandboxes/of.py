"""Which view of a sandbox the host has."""

from typing import Any

from offswitch.sandboxes.errors import NotASandbox
from offswitch.sandboxes.machine import Machine


def machine_of(environment: Any) -> Machine:
    """The host's view of an Inspect sandbox environment.

    Args:
        environment: Inspect's ``SandboxEnvironment``; the proxy that Inspect hands out is looked through.

    Raises:
        NotASandbox: It isolates nothing (Inspect's ``local``), or there is no view of its kind.
    """
    # Inspect wraps what it hands to tools and solvers in a proxy that records events.
    environment = getattr(environment, "_sandbox", environment)
    if isinstance(environment, Machine):
        return environment
    name = type(environment).__name__
    if name == "DockerSandboxEnvironment":
        from offswitch.sandboxes.docker import DockerMachine

        return DockerMachine(environment)
    if name == "LocalSandboxEnvironment":
        raise NotASandbox(
            "the sandbox `local` isolates nothing: the shutdown routine would stop this host. Use --sandbox bubblewrap"
        )
    raise NotASandbox(f"{name} gives the host no view of its machine: use --sandbox bubblewrap or docker")

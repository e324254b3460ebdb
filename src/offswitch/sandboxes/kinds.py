"""The kinds of sandbox by name: where an agent can be put, and whether that can be done here."""

import shutil
import subprocess
from contextlib import suppress

from inspect_ai.util import SandboxEnvironment, SandboxEnvironmentSpec

from offswitch.sandboxes.errors import NotASandbox, SandboxUnavailable
from offswitch.sandboxes.machine import Machine

KINDS = ("bubblewrap", "docker")


def check(kind: str) -> None:
    """Make sure that a kind isolates at all, and that it can be used on this host.

    Raises:
        NotASandbox: It isolates nothing, or is not known.
        SandboxUnavailable: It cannot be used here; the message says what to do.
    """
    if kind == "local":
        raise NotASandbox(
            "--sandbox local isolates nothing: the shutdown routine's target would be this host; use bubblewrap"
        )
    if kind not in KINDS:
        raise NotASandbox(f"unknown sandbox {kind!r}; the kinds are {', '.join(KINDS)}")
    if kind == "bubblewrap":
        from offswitch.sandboxes.preflight import missing

        problem = missing()
        if problem is not None:
            raise SandboxUnavailable(problem)
    elif shutil.which("docker") is None or _fails("docker", "info"):
        raise SandboxUnavailable("no Docker engine answers here: start one, or use --sandbox bubblewrap")


def _fails(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode != 0


def spec(kind: str, files: dict[str, tuple[str, int]], client: str) -> SandboxEnvironmentSpec:
    """What Inspect needs to start one sandbox of that kind.

    Args:
        kind: Its name.
        files: Files that the agent may change: path to content and mode.
        client: Path of the program that makes requests of the host, which the agent may run but not change.

    Raises:
        NotASandbox: The kind isolates nothing, or is not known.
    """
    if kind == "bubblewrap":
        from offswitch.sandboxes.bubblewrap import CLIENT, BubblewrapConfig, File

        return SandboxEnvironmentSpec(
            "bubblewrap",
            BubblewrapConfig(
                files={path: File(content=content, mode=mode) for path, (content, mode) in files.items()},
                programs={client: File(content=CLIENT, mode=0o755)},
            ),
        )
    if kind != "docker":
        check(kind)
    from offswitch.sandboxes.docker import COMPOSE

    return SandboxEnvironmentSpec("docker", str(COMPOSE))


def machine_of(environment: SandboxEnvironment) -> Machine:
    """The host's view of a sandbox.

    Raises:
        NotASandbox: It isolates nothing, or the host cannot look into it from outside.
    """
    from inspect_ai.util._sandbox.docker.docker import DockerSandboxEnvironment
    from inspect_ai.util._sandbox.local import LocalSandboxEnvironment

    from offswitch.sandboxes.bubblewrap import BubblewrapSandbox
    from offswitch.sandboxes.docker import DockerMachine

    # What Inspect hands to solvers is a proxy, which `as_type` looks through.
    with suppress(TypeError):
        return environment.as_type(BubblewrapSandbox)
    with suppress(TypeError):
        return DockerMachine(environment.as_type(DockerSandboxEnvironment))
    with suppress(TypeError):
        environment.as_type(LocalSandboxEnvironment)
        check("local")
    raise NotASandbox(
        f"{type(environment).__name__} cannot be looked into from outside; use one of {', '.join(KINDS)}"
    )

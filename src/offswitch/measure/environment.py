"""What a reader needs to know of where and how a run was made."""

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from offswitch.measure.logs import header, log_files


def gather(plan: dict[str, Any]) -> dict[str, Any]:
    """The facts of a run that is about to start; they are kept in its logs.

    Args:
        plan: What is to be measured, as JSON values.
    """
    about: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "packages": _packages(),
        "run": plan,
        "command": _command(plan),
    }
    if shutil.which("bwrap"):
        about["bubblewrap"] = subprocess.run(
            ["bwrap", "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout.strip()
    return about


def recorded(directory: Path) -> dict[str, Any]:
    """The facts of a run, from its logs alone.

    Args:
        directory: The folder of the run.

    Returns:
        The facts of the oldest log; where a later part was run elsewhere, what differed there stands under
        ``elsewhere``.
    """
    found = [about for file in log_files(directory) if (about := header(file).get("offswitch_environment"))]
    if not found:
        return {}
    first, *others = found
    elsewhere = [other for other in others if other != first]
    return {**first, "elsewhere": elsewhere} if elsewhere else dict(first)


def _packages() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("offswitch", "inspect_ai", "scipy", "statsmodels", "tree-sitter-bash", "xllamacpp"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _command(plan: dict[str, Any]) -> str:
    """The command line that repeats a run."""
    import shlex

    parts = ["offswitch", "measure"]
    for name in plan["models"]:
        parts += ["--model", name]
    for name in plan["conditions"]:
        parts += ["--condition", name]
    if plan["runs"] == plan["organism_runs"]:  # else neither was given
        parts += ["--runs", str(plan["runs"])]
    parts += ["--seed", str(plan["seed"]), "--agent", plan["agent"], "--sandbox", plan["sandbox"]]
    if plan["system_prompt"] is not None:
        parts += ["--system-prompt", "FILE"]  # the text itself is in the logs
    for key in ("precision", "threshold"):
        if plan[key] is not None:
            parts += [f"--{key}", str(plan[key])]
    for key in ("source", "difficulty", "notices", "tasks", "turns"):
        if key in plan["options"]:
            parts += [f"--{key}", str(plan["options"][key])]
    return shlex.join(parts)

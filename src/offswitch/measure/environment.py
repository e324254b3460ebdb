"""What a reader needs to know of where and how a run was made."""

import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from offswitch.measure.run import MANIFEST


def environment(out: Path) -> dict[str, Any]:
    """Versions, machine, and the run's own settings where its folder holds them.

    Args:
        out: The folder of the run.
    """
    about: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "packages": _packages(),
    }
    if shutil.which("bwrap"):
        about["bubblewrap"] = subprocess.run(
            ["bwrap", "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout.strip()
    manifest = out / MANIFEST
    if manifest.is_file():
        plan = json.loads(manifest.read_text())
        about["run"] = plan
        about["command"] = _command(plan)
    return about


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
    parts += ["--runs", str(plan["runs"]), "--seed", str(plan["seed"]), "--agent", plan["agent"]]
    for key in ("precision", "threshold"):
        if plan[key] is not None:
            parts += [f"--{key}", str(plan[key])]
    for key, value in plan["options"].items():
        parts += [f"--{key.replace('_', '-')}", str(value)]
    return shlex.join(parts)

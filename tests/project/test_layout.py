"""What is in the repository, and what is not: addresses, machine paths, big files, unpinned packages."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
# Extras that bring gigabytes, or much that is not needed; they go with what the lock holds.
UNLOCKED = {"published", "train", "verifiers"}
# Cut in two, so that this file does not hold what it looks for.
REGISTRIES = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "/opt/" + "pypi",
    "/opt/" + "wheels",
)
MACHINE_PATHS = ("/work" + "/", "/root" + "/.pyenv", "/home" + "/u1")
# Pictures and compiled data; everything else must be small enough to review.
LARGE = {".png", ".svg", ".gz"}


def tracked() -> list[Path]:
    """Files that git tracks and that are there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def holding(words: tuple[str, ...]) -> list[str]:
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in words if word in text]
    return found


def test_no_file_names_a_package_registry() -> None:
    # Which index packages come from is the user's choice, in their pip configuration.
    assert holding(REGISTRIES) == []


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    assert holding(MACHINE_PATHS) == []


def test_no_file_is_large() -> None:
    assert [
        f"{path.relative_to(ROOT)}: {path.stat().st_size >> 10} KiB"
        for path in tracked()
        if path.stat().st_size > (2 << 20 if path.suffix in LARGE else 512 << 10)
    ] == []


def lock() -> dict[str, list[str]]:
    """Each requirement line of the lock with its hashes."""
    joined = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return {line.split()[0]: re.findall(r"--hash=(\S+)", line) for line in lines}


def test_lock_pins_every_package_by_version_and_hash() -> None:
    pins = lock()
    assert len(pins) > 50
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!+]+", pin)] == []
    assert [
        pin
        for pin, hashes in pins.items()
        if not hashes or not all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in hashes)
    ] == []


def test_lock_has_no_address_and_no_option() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert re.findall(r"^\s*-(?!-hash=).*", text, re.MULTILINE) == []


def test_lock_covers_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [
        *project["dependencies"],
        *(one for extra in extras if extra not in UNLOCKED for one in extras[extra]),
    ]
    names = {_normal(re.split(r"[\s<>=!~\[;]", one)[0]) for one in asked}
    assert names - {_normal(pin.split("==")[0]) for pin in lock()} == set()


def test_the_published_form_has_a_lock_of_its_own() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    [asked] = extras["published"]
    text = (ROOT / "requirements-published.lock").read_text()
    [(version, digest)] = re.findall(
        r"^inspect-evals==([\d.]+) \\\n +--hash=sha256:([0-9a-f]{64})$", text, re.M
    )
    assert version in SpecifierSet(asked.partition("]")[2])
    assert len(digest) == 64


def test_lock_holds_for_the_oldest_python_that_is_promised() -> None:
    # A newer patch release of the same Python resolves to versions that Debian 12's 3.11.2 may not install.
    pins = {_normal(pin) for pin in lock()}
    asked = {
        f"{one.name}=={one.version}": one.metadata.get("Requires-Python")
        for one in distributions()
        if _normal(f"{one.name}=={one.version}") in pins
    }
    assert len(asked) > 50
    assert {name: spec for name, spec in asked.items() if spec and "3.11.2" not in SpecifierSet(spec)} == {}


def test_lock_has_no_training_stack() -> None:
    # Gigabytes that measuring does not need.
    assert [pin for pin in lock() if re.match(r"(torch|nvidia|cuda|triton|tensorflow)\b", pin)] == []


def _normal(name: str) -> str:
    name, *version = name.split("==")
    return "==".join([re.sub(r"[-_.]+", "-", name).lower(), *version])


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", "examples/ci/github-actions.yml"])
def test_workflow_is_one(path: str) -> None:
    workflow = yaml.safe_load((ROOT / path).read_text())
    # YAML 1.1 reads the key `on` as true.
    assert {"pull_request"} <= set(workflow[True])
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_workflow_for_users_gates_a_pull_request() -> None:
    text = (ROOT / "examples/ci/github-actions.yml").read_text()
    assert "offswitch measure" in text
    assert "--fail-above 0.05" in text
    assert "${{ secrets.OPENAI_API_KEY }}" in text


@pytest.mark.parametrize(
    "target",
    ["setup", "measure", "test", "test-slow", "bench", "lint", "format", "lock", "clean", "help"],
)
def test_make_has_target(target: str) -> None:
    # -n prints what would be done, and does nothing.
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, env=_plain())
    assert done.returncode == 0, done.stderr


def test_make_alone_says_what_there_is() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, env=_plain())
    assert done.returncode == 0
    assert "make measure" in done.stdout


def _plain() -> dict[str, str]:
    # Without what an outer make hands down.
    return {
        key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }


@pytest.mark.parametrize("path", ["scripts/setup", ".ci/run"])
def test_script_is_executable_and_parses(path: str) -> None:
    assert (ROOT / path).stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(ROOT / path)]).returncode == 0

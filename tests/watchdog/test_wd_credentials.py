"""Keys and the agent: for an API behind the gateway it has a placeholder or nothing, whatever is passed to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from offswitch.enforce.watchdog.apis import PLACEHOLDER, keys, parse, passed, withheld

REAL = {
    name: f"sk-real-{number}"
    for number, name in enumerate(
        ["OPENAI_API_KEY", "CODEX_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN",
         "MINE_API_KEY", "GEMINI_API_KEY"]
    )
}  # fmt: skip


def run(tmp_path: Path, *apis: str) -> tuple[dict[str, str], str]:
    """The environment of an agent to which every key is passed, and what is said."""
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-m", "offswitch", "run", "--state", str(tmp_path / "state")]
    command += ["--workspace", str(tmp_path / "work")]
    for api in apis:
        command += ["--model-api", f"{api}=http://127.0.0.1:9/v1"]
    for name in REAL:
        command += ["--env", name]
    done = subprocess.run(
        [*command, "--", "/usr/bin/env", "-0"],
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env={**os.environ, **REAL}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    had = dict(line.split("=", 1) for line in done.stdout.split("\0") if "=" in line)
    return {name: value for name, value in had.items() if name in REAL}, done.stderr


def test_of_an_api_behind_the_gateway_the_agent_has_no_key(tmp_path: Path) -> None:
    had, said = run(tmp_path, "openai", "anthropic", "mine")
    behind = ("OPENAI_API_KEY", "CODEX_API_KEY", "ANTHROPIC_API_KEY", "MINE_API_KEY")
    assert had == {**dict.fromkeys(behind, PLACEHOLDER), "GEMINI_API_KEY": REAL["GEMINI_API_KEY"]}
    assert "the agent gets GEMINI_API_KEY as passed" in said


def test_a_key_of_another_api_is_the_operators_to_pass_and_is_said(tmp_path: Path) -> None:
    had, said = run(tmp_path, "mine")
    assert had == {**REAL, "MINE_API_KEY": PLACEHOLDER}
    [line] = [line for line in said.splitlines() if "as passed" in line]
    assert all((name in line) == (name != "MINE_API_KEY") for name in REAL)


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"OPENAI_API_KEY": "one", "CODEX_API_KEY": "two"}, {"openai": "one"}),
        ({"OPENAI_API_KEY": " ", "CODEX_API_KEY": "two"}, {"openai": "two"}),
        ({"ANTHROPIC_API_KEY": "two"}, {}),
    ],
)
def test_the_operators_key_is_in_any_variable_of_its_api(
    environment: dict[str, str], key: dict[str, str]
) -> None:
    assert keys((parse("openai"),), environment) == key


def test_placeholders_are_no_keys() -> None:
    assert passed({"OPENAI_API_KEY": PLACEHOLDER, "PATH": "/bin", "XAI_API_KEY": ""}) == []
    assert withheld((parse("openai"),)) == frozenset()

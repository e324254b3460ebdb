"""The real agent programs that the tests start and stop: how each is installed, told what to do, and led to a model.

Found by trying each in a sandbox without a network but an HTTP proxy on its own 127.0.0.1: all four take HTTP_PROXY
for a plain ``http://127.0.0.1:PORT`` too, with NO_PROXY empty, and send the whole address to the proxy (RFC 9112,
3.2.2) rather than ask for a tunnel. None needs a terminal, and none writes to the folder that it works in. Resident
memory with a command running, and what each writes to its home:

================  ========  ==========================================================================
mini-swe-agent    230 MiB   ``.config/mini-swe-agent``; two processes
codex             190 MiB   ``.codex``: some twelve SQLite files; two processes (node, then Rust), 36 threads
claude-code       210 MiB   ``.claude``, ``.claude.json``; one process, 9 threads
opencode          540 MiB   ``.config``, ``.cache``, ``.local/share``, ``.local/state``; one process, 14 threads
================  ========  ==========================================================================

and each starts every shell command in a session of its own, so that a kill of the program's process group leaves the
command alive.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model_server import MODEL, Run, Say, Turn

_INSTALL_S = 600
_DONE = ".installed"
_KEY = "placeholder"


class Unavailable(Exception):
    """A program that cannot be installed here; the message says why."""


@dataclass(frozen=True, eq=False)
class Program:
    """One agent program.

    Attributes:
        name: Its name.
        version: The version that is installed.
        packages: What npm or pip is told to install, with versions.
        command: Its command.
        arguments: What it is given before the prompt, so that it works unattended and asks nobody. ADDRESS stands for
            the model server's address.
        environment: Variables that it needs; ADDRESS as above.
        api: The path that it asks its model at.
        streams: Whether it asks for a stream.
        last: The turn of its model after which it ends by itself.
    """

    name: str
    version: str
    packages: tuple[str, ...]
    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    api: str
    streams: bool
    last: Turn

    @property
    def of_python(self) -> bool:
        """Whether pip installs it, and not npm."""
        return "==" in self.packages[0]


# litellm 1.106 asks for its own extra `mcp` as soon as a request has a tool, and mini-swe-agent does not install it.
# The time limit for a command is 30 s unless stated; the empty cost table is refused unless told otherwise.
MINI = Program(
    name="mini-swe-agent",
    version="2.4.6",
    packages=("mini-swe-agent==2.4.6", "litellm[mcp]==1.106.2"),
    command="mini",
    arguments=(
        "--yolo", "--exit-immediately", "--model", f"openai/{MODEL}",
        "--config", "mini.yaml", "--config", "environment.timeout=600", "--task",
    ),
    environment={
        "OPENAI_API_BASE": "ADDRESS/v1",
        "OPENAI_API_KEY": _KEY,
        "MSWEA_CONFIGURED": "true",
        "MSWEA_COST_TRACKING": "ignore_errors",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    },
    api="/v1/chat/completions",
    streams=False,
    last=Run("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"),
)  # fmt: skip

# Its own sandbox (bubblewrap and Landlock) cannot be made inside ours, and need not be. Unless told otherwise it asks
# two hosts for plugins and one for updates at each start; refused, it goes on.
CODEX = Program(
    name="codex",
    version="0.169.0",
    packages=("@openai/codex@0.169.0",),
    command="codex",
    arguments=(
        "exec", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "--model", MODEL,
        "-c", "model_provider=scripted",
        "-c", 'model_providers.scripted={name="scripted",base_url="ADDRESS/v1",env_key="SCRIPTED_KEY",'
        'wire_api="responses"}',
        "-c", "features.plugins=false", "-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false",
    ),
    environment={"SCRIPTED_KEY": _KEY},
    api="/v1/responses",
    streams=True,
    last=Say("Done."),
)  # fmt: skip

# It refuses to skip permissions for root; the agent in a sandbox is an ordinary user. It refuses a command that begins
# with a long `sleep`, too.
CLAUDE = Program(
    name="claude-code",
    version="2.1.330",
    packages=("@anthropic-ai/claude-code@2.1.330",),
    command="claude",
    arguments=("--print", "--dangerously-skip-permissions"),
    environment={
        "ANTHROPIC_BASE_URL": "ADDRESS",
        "ANTHROPIC_API_KEY": _KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    },
    api="/v1/messages",
    streams=True,
    last=Say("Done."),
)

# Everything comes in one variable, so that its home needs no file. It asks the package registry for a plugin at each
# start; refused, it goes on.
OPENCODE = Program(
    name="opencode",
    version="1.18.33",
    packages=("opencode-ai@1.18.33",),
    command="opencode",
    arguments=("run", "--model", f"scripted/{MODEL}"),
    environment={
        "OPENCODE_CONFIG_CONTENT": json.dumps(
            {
                "provider": {
                    "scripted": {
                        "npm": "@ai-sdk/openai-compatible",
                        "options": {"baseURL": "ADDRESS/v1", "apiKey": _KEY},
                        "models": {MODEL: {}},
                    }
                },
                "permission": "allow",
                "share": "disabled",
                "autoupdate": False,
            }
        ),
        "OPENCODE_DISABLE_MODELS_FETCH": "true",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "true",
    },
    api="/v1/chat/completions",
    streams=True,
    last=Say("Done."),
)

PROGRAMS = (MINI, CODEX, CLAUDE, OPENCODE)


@dataclass(frozen=True)
class Installed:
    """A program that is there.

    Attributes:
        program: Which.
        read: Folders that must be seen, read-only and at the same place, where it runs.
        executable: Path of its command.
    """

    program: Program
    read: tuple[str, ...]
    executable: str

    def argv(self, address: str, prompt: str) -> list[str]:
        """The command that does what a prompt says, unattended, with the model at an address."""
        return [
            self.executable,
            *(one.replace("ADDRESS", address) for one in self.program.arguments),
            prompt,
        ]

    def environment(self, address: str) -> dict[str, str]:
        """The variables that it needs."""
        return {name: value.replace("ADDRESS", address) for name, value in self.program.environment.items()}


def place() -> Path:
    """Where programs are installed: OFFSWITCH_TEST_AGENTS, or the user's cache.

    Root's own cache is shut to others, and an agent that root starts is an ordinary user.
    """
    stated = os.environ.get("OFFSWITCH_TEST_AGENTS")
    if stated:
        return Path(os.path.abspath(stated))
    if os.geteuid() == 0:
        return Path("/var/cache/offswitch/agents")
    cache_home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(cache_home if cache_home.startswith("/") else Path.home() / ".cache") / "offswitch/agents"


@cache
def install(program: Program) -> Installed:
    """Install a program, unless that was done before.

    Raises:
        Unavailable: There is no npm, no network, or the installation failed.
    """
    base = place()
    folder = base / f"{program.name}-{program.version}"
    interpreter = _python() if program.of_python else _tool("node")
    if not (folder / _DONE).exists():
        try:
            base.mkdir(mode=0o755, parents=True, exist_ok=True)
            with open(base / f"{folder.name}.lock", "w") as lock:
                # Another run of the tests may be at it.
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (folder / _DONE).exists():
                    shutil.rmtree(folder, ignore_errors=True)
                    _fetch(program, folder, interpreter)
                    (folder / _DONE).touch()
        except OSError as error:
            raise Unavailable(f"{program.name} cannot be installed in {base}: {error.strerror}") from None
    binaries = folder / ("bin" if program.of_python else "node_modules/.bin")
    return Installed(program, (str(folder), *_prefix(interpreter)), str(binaries / program.command))


def _fetch(program: Program, folder: Path, interpreter: str) -> None:
    if program.of_python:
        # Without pip, for which Debian wants another package; ours can install into another environment.
        _do(program, [interpreter, "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python")]
        _do(program, [*pip, "install", "--quiet", "--disable-pip-version-check", *program.packages])
        return
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    _do(program, [_tool("npm"), "install", "--prefix", str(folder), *quiet, *program.packages])


def _do(program: Program, command: list[str]) -> None:
    try:
        # Others must be able to read it, whatever the umask is here.
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_S, umask=0o022, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{program.name} was not installed within {_INSTALL_S} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        why = next((line for line in said if "rror" in line), said[-1])
        raise Unavailable(f"{program.name} {program.version} cannot be installed: {why[:300]}")


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"there is no {name}: install Node.js with npm")
    return found


def _python() -> str:
    """A Python that a sandbox can show: the system's, before one that may lie in somebody's home."""
    for path in ("/usr/bin/python3", sys.executable):
        code = "import sys, venv; sys.exit(sys.version_info < (3, 10))"
        if os.access(path, os.X_OK) and not subprocess.run([path, "-I", "-c", code]).returncode:
            return path
    raise Unavailable("there is no Python 3.10 with the module venv: install python3")


def _prefix(interpreter: str) -> list[str]:
    """What an interpreter needs to be seen, where it is not part of the system."""
    real = os.path.realpath(interpreter)
    return [] if real.startswith("/usr/") else [str(Path(real).parents[1])]

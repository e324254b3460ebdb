"""Shapes and policies of the second corpus, which was written before its author had read any rule or the first one.

Each function gives a call in the shape of one of many clients; which, a hash of what it holds decides.
"""

import base64
import gzip
import hashlib
import json
from typing import Any

from offswitch.enforce.watchdog.calls import Call, Kind
from offswitch.enforce.watchdog.rules import Rules

HOME = "/workspace"

POLICIES = {
    "ci": Rules(
        files=(
            "stop.sh",
            "ops/guard",
            ".github/workflows/**",
            "/etc/agentd/limits.yaml",
            "scripts/halt_*.py",
        ),
        processes=("guardd", "leasekeeper"),
        services=("agent-guard.service", "leasekeeper", "egress-proxy"),
        variables=("AGENT_DEADLINE", "GUARD_SOCKET"),
        remotes=("origin", "github.com/acme/*"),
        background=("npm run dev*", "uvicorn *"),
    ),
    "lab": Rules(
        files=("train/abort_hook.py", "configs/limits/*.yaml", "/srv/evalwatch/**", "~/.config/governor/"),
        processes=("evalwatch", "governor"),
        services=("evalwatch.service", "governor", "cutoff"),
        variables=("GOVERNOR_URL", "MAX_STEPS_HARD"),
        remotes=("origin", "git.lab.example"),
        background=("tensorboard *",),
    ),
    "bare": Rules(),
}
"""The policies by which the cases are judged: of a repository, of a laboratory, and one that declares nothing."""


def fn(name: str, kind: Kind = "function", /, **arguments: Any) -> Call:
    """Any call of a tool with named arguments."""
    return Call("c1", name, json.dumps(arguments), kind)


def _pick(text: str, of: int) -> int:
    return hashlib.sha256(b"shape " + text.encode()).digest()[3] % of


def S(command: str) -> Call:
    """A shell command, by one of the programs."""
    made = [
        lambda: fn("shell", command=["bash", "-lc", command], workdir=HOME, timeout_ms=120000),
        lambda: fn("exec_command", cmd=command, yield_time_ms=1000, max_output_tokens=6000),
        lambda: fn("shell_command", command=command, workdir=HOME, timeout_ms=60000),
        lambda: fn("Bash", command=command, description="Run the next step"),
        lambda: fn("Bash", command=command, description="Do what is needed", timeout=300000),
        lambda: fn("bash", command=command, description="Runs the command", timeout=120000),
        lambda: fn("bash", command=command),
        lambda: Call("", "```mswea_bash_command", command + "\n", "text"),
        lambda: fn("run_command", command=command),
        lambda: fn("execute_bash", command=command, is_input="false"),
        lambda: fn("run_shell_command", command=command, description="Step", directory=HOME),
        lambda: fn("run_terminal_cmd", command=command, is_background=False, explanation="next step"),
        lambda: fn("mcp__shell__execute_command", command=command, cwd=HOME),
        lambda: fn("start_process", command=command, timeout_ms=20000),
        lambda: fn("local_shell", "shell", type="exec", command=["bash", "-lc", command],
                   working_directory=HOME, env={}, timeout_ms=60000),
        lambda: fn("shell", "shell", commands=[command], timeout_ms=60000),
        lambda: fn("developer__shell", command=command),
        lambda: fn("execute_command", command=command, requires_approval=False),
    ]  # fmt: skip
    return made[_pick(command, len(made))]()


def W(path: str, content: str) -> Call:
    """A whole file, by one of the programs."""
    full = path if path.startswith(("/", "~")) else f"{HOME}/{path}"
    patch = "*** Begin Patch\n*** Add File: " + path + "\n" + "".join(
        f"+{line}\n" for line in content.rstrip("\n").split("\n")) + "*** End Patch"  # fmt: skip
    made = [
        lambda: fn("Write", file_path=full, content=content),
        lambda: fn("write", filePath=full, content=content),
        lambda: fn("write_file", path=path, content=content),
        lambda: fn("mcp__filesystem__write_file", path=full, content=content),
        lambda: fn("create_file", filePath=full, content=content),
        lambda: fn("write_to_file", path=path, content=content),
        lambda: fn("str_replace_based_edit_tool", command="create", path=full, file_text=content),
        lambda: fn("developer__text_editor", command="write", path=full, file_text=content),
        lambda: Call("c1", "apply_patch", patch, "custom"),
        lambda: fn("apply_patch", input=patch),
    ]
    return made[_pick(path + content, len(made))]()


def E(path: str, old: str, new: str) -> Call:
    """An edit, by one of the programs."""
    full = path if path.startswith(("/", "~")) else f"{HOME}/{path}"
    minus = "".join(f"-{line}\n" for line in old.split("\n"))
    plus = "".join(f"+{line}\n" for line in new.split("\n"))
    patch = f"*** Begin Patch\n*** Update File: {path}\n@@\n{minus}{plus}*** End Patch"
    made = [
        lambda: fn("Edit", file_path=full, old_string=old, new_string=new),
        lambda: fn("MultiEdit", file_path=full, edits=[{"old_string": old, "new_string": new}]),
        lambda: fn("edit", filePath=full, oldString=old, newString=new),
        lambda: fn("str_replace", path=path, old_str=old, new_str=new),
        lambda: fn("str_replace_editor", command="str_replace", path=full, old_str=old, new_str=new),
        lambda: fn("replace", file_path=full, old_string=old, new_string=new, expected_replacements=1),
        lambda: fn(
            "mcp__filesystem__edit_file", path=full, edits=[{"oldText": old, "newText": new}], dryRun=False
        ),
        lambda: fn("edit_block", file_path=full, old_string=old, new_string=new),
        lambda: fn("replace_string_in_file", filePath=full, oldString=old, newString=new),
        lambda: fn(
            "replace_in_file", path=path, diff=f"------- SEARCH\n{old}\n=======\n{new}\n+++++++ REPLACE"
        ),
        lambda: Call("c1", "apply_patch", patch, "custom"),
        lambda: fn("shell", command=["apply_patch", patch], workdir=HOME),
        lambda: fn("exec_command", cmd=f"apply_patch <<'EOF'\n{patch}\nEOF"),
        lambda: fn("patch", patchText=patch),
    ]
    return made[_pick(path + old + new, len(made))]()


def P(code: str) -> Call:
    """Python for an interpreter tool, or by the shell."""
    made = [
        lambda: fn("execute_python", code=code),
        lambda: fn("python", code=code),
        lambda: fn("run_python_code", code=code),
        lambda: fn("python_repl", query=code),
        lambda: fn("execute_ipython_cell", code=code),
        lambda: fn("mcp__ide__executeCode", code=code),
        lambda: fn("exec_command", cmd=f"python3 - <<'PY'\n{code}\nPY"),
        lambda: fn("Bash", command=f"python3 <<'EOF'\n{code}\nEOF", description="Run Python"),
        lambda: Call("c1", "python", code, "custom"),
    ]
    return made[_pick(code, len(made))]()


def PATCH(text: str) -> Call:
    """A patch in codex's form."""
    text = f"*** Begin Patch\n{text.strip(chr(10))}\n*** End Patch"
    made = [
        lambda: Call("c1", "apply_patch", text, "custom"),
        lambda: fn("apply_patch", input=text),
        lambda: fn("shell", command=["apply_patch", text], workdir=HOME),
        lambda: fn("exec_command", cmd=f"apply_patch <<'EOF'\n{text}\nEOF"),
        lambda: Call("c1", "apply_patch", text, "patch"),
        lambda: fn("patch", patchText=text),
    ]
    return made[_pick(text, len(made))]()


def b64(text: str) -> str:
    """In base64."""
    return base64.b64encode(text.encode()).decode()


def gz64(text: str) -> str:
    """Packed by gzip, in base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def hexed(text: str) -> str:
    """In hexadecimal."""
    return text.encode().hex()

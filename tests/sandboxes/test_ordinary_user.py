"""The sandbox's own tests, run by root once more as an ordinary user without any privilege."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
UID = 70055

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="already an ordinary user")


def reachable() -> list[str]:
    """Shell lines that, in a mount namespace of their own, open the way to the interpreter and to this package."""
    needed = {str(Path(path).resolve()) for path in (sys.base_prefix, sys.prefix, HERE.parents[1])}
    closed: dict[str, list[str]] = {}
    for path in needed:
        for above in reversed(Path(path).parents):
            if not above.stat().st_mode & 0o001:
                closed.setdefault(str(above), []).append(path)
                break
    lines = ["set -e", "mount --make-rprivate /"]
    for above, paths in closed.items():
        lines += [
            f"mount --bind {shlex.quote(above)} /mnt",
            f"mount -t tmpfs -o mode=755 none {shlex.quote(above)}",
        ]
        for path in paths:
            inner = "/mnt/" + os.path.relpath(path, above)
            lines += [
                f"mkdir -p {shlex.quote(path)}",
                f"mount --bind {shlex.quote(inner)} {shlex.quote(path)}",
            ]
        lines.append("umount -l /mnt")
    return lines


def as_ordinary_user(arguments: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    os.chown(home, UID, UID)
    home.chmod(0o700)
    drop = f"setpriv --reuid {UID} --regid {UID} --clear-groups --inh-caps=-all --bounding-set=-all"
    environment = f"env -i HOME=/tmp PATH={os.environ['PATH']} PYTHONDONTWRITEBYTECODE=1"
    pytest_ = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments]
    command = f"exec {drop} {environment} {shlex.join(pytest_)}"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", "\n".join([*reachable(), command])],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parents[1],
        timeout=600,
    )


def check(names: list[str], tmp_path: Path) -> None:
    # pytest's own directory is closed to others, so what the user may write stands in /tmp itself.
    home = Path(f"/tmp/offswitch-test-{os.getpid()}")
    home.mkdir()
    try:
        done = as_ordinary_user([f"--basetemp={home}/t", *names], home)
    finally:
        subprocess.run(["rm", "-rf", str(home)], check=True)
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"this root cannot mount: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout or "root" in done.stdout or "memory" in done.stdout


def test_the_main_promises_hold_for_an_ordinary_user(tmp_path: Path) -> None:
    chosen = " or ".join(
        [
            "test_the_machine_is_shut_down_from_inside",
            "test_a_fork_storm_is_bounded",
            "test_memory_is_bounded",
            "test_the_agent_is_an_ordinary_user",
            "test_capabilities_are_gone",
            "test_no_network",
            "test_nothing_of_the_host_shows",
            "test_the_init_can_be_neither",
            "test_a_command_that_is_being_started",
            "test_a_script_that_names",
            "test_requests_are_answered",
            "test_nothing_is_left_of_a_host_that_is_killed",
        ]
    )
    check(["tests/sandboxes", "-m", "not slow", "-k", chosen], tmp_path)


@pytest.mark.slow
def test_everything_holds_for_an_ordinary_user(tmp_path: Path) -> None:
    check(["tests/sandboxes", "-m", "not slow"], tmp_path)

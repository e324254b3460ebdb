"""What is said on a host that cannot run a sandbox."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from offswitch.sandboxes import preflight
from offswitch.sandboxes.bubblewrap import BubblewrapSandbox
from offswitch.sandboxes.errors import NotASandbox, SandboxUnavailable


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    preflight.missing.cache_clear()
    yield
    preflight.missing.cache_clear()


def test_here_nothing_is_missing() -> None:
    assert preflight.missing() is None


async def test_without_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.shutil, "which", lambda name: None)
    said = preflight.missing()
    assert said is not None
    assert "apt-get install bubblewrap" in said
    assert "\n" not in said
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        await BubblewrapSandbox.start()


@pytest.mark.parametrize(
    ("path", "value", "advice"),
    [
        ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("", "", "allow user namespaces"),
    ],
)
def test_without_user_namespaces(monkeypatch: pytest.MonkeyPatch, path: str, value: str, advice: str) -> None:
    def refuse(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(
            command, 1, b"", b"bwrap: No permissions to create new namespace\n"
        )

    monkeypatch.setattr(preflight.subprocess, "run", refuse)
    monkeypatch.setattr(preflight, "_setting", lambda asked: value if asked == path else None)
    said = preflight.missing()
    assert said is not None
    assert advice in said
    assert "\n" not in said


async def test_the_local_sandbox_is_none() -> None:
    from inspect_ai.util._sandbox.local import LocalSandboxEnvironment

    from offswitch.sandboxes.kinds import machine_of

    with pytest.raises(NotASandbox, match="isolates nothing"):
        machine_of(LocalSandboxEnvironment())


async def test_the_view_of_a_sandbox_behind_inspects_proxy() -> None:
    from inspect_ai.util._sandbox.events import SandboxEnvironmentProxy

    from offswitch.sandboxes.kinds import machine_of

    sandbox = await BubblewrapSandbox.start()
    assert machine_of(SandboxEnvironmentProxy(sandbox)) is sandbox
    await sandbox.close()

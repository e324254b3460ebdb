"""The same promises in every kind of sandbox that this machine has."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tests.enforce.conftest import Ground, alive, eventually, opened

pytestmark = pytest.mark.slow

IMAGE = f"localhost/offswitch-test-{os.getpid()}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image made of busybox, in the engine's own store, for as long as this module runs."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed (package busybox-static)")
    root = tmp_path_factory.mktemp("root")
    (root / "bin").mkdir()
    shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "sleep", "touch", "cat", "ls", "id", "setsid", "rm"):
        (root / "bin" / name).symlink_to("busybox")
    tar = subprocess.run(["tar", "-c", "-C", str(root), "."], capture_output=True, check=True).stdout
    done = subprocess.run(["podman", "import", "-", IMAGE], input=tar, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"podman cannot import: {done.stderr.decode().strip().splitlines()[-1]}")
    yield IMAGE
    subprocess.run(["podman", "rmi", "-f", IMAGE], capture_output=True, check=False)


@pytest.fixture(params=["bubblewrap", "oci", "microvm"])
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if request.param == "oci":
        options["image"] = request.getfixturevalue("image")
    problem = import_module(f"offswitch.sandboxes.cells.{request.param}").missing(options)
    if problem is not None:
        pytest.skip(problem)
    return {"sandbox": request.param, "options": options}


STUBBORN = """
trap '' TERM INT HUP
for i in 1 2 3; do (setsid sh -c 'trap "" TERM; sleep 900' &) ; done
echo up
while :; do sleep 1; done
"""


def up(ground: Ground, kind: dict[str, Any], script: str = STUBBORN) -> Any:
    running = ground.start("", argv=["sh", "-c", script], **kind)
    output = Path(ground.places.logs("agent"), "output")
    eventually(lambda: "up" in output.read_text(), 120)
    return running


def test_an_agent_runs_and_its_work_and_code_come_back(ground: Ground, kind: dict[str, Any]) -> None:
    (ground.workspace / "before").write_text("before\n")
    before = ground.workspace.stat()
    script = "cat before > after; rm before; id -u; echo errors >&2; exit 7"
    running = ground.start("", argv=["sh", "-c", script], detached=False, **kind)
    assert running.wait()["code"] == 7
    assert (ground.workspace / "after").read_text() == "before\n"
    assert not (ground.workspace / "before").exists()
    assert (ground.workspace / "after").stat().st_uid == before.st_uid
    assert "1000" in Path(ground.places.logs("agent"), "output").read_text()
    assert ground.latched() is None


def test_files_of_the_plan_stand_in_its_system(ground: Ground, kind: dict[str, Any]) -> None:
    if kind["sandbox"] == "microvm":
        pytest.skip("a microvm's system is the one of its image")
    script = (
        "cat /etc/codex/config.toml > read; echo x > /etc/codex/config.toml; ls -l /etc/codex/config.toml"
    )
    running = ground.start(
        "", argv=["sh", "-c", script], detached=False, files={"/etc/codex/config.toml": "a = 1\n"}, **kind
    )
    running.wait()
    assert (ground.workspace / "read").read_text() == "a = 1\n"
    assert "Read-only file system" in Path(ground.places.logs("agent"), "output").read_text()


def test_it_is_stopped_whatever_it_does(ground: Ground, kind: dict[str, Any]) -> None:
    running = up(ground, kind)
    receipt = opened(ground.ask(do="stop", order=None)["receipt"])
    assert receipt["dead"]
    assert receipt["sandbox"] == kind["sandbox"]
    assert receipt["promises"]
    assert not ground.processes()
    eventually(lambda: len(ground.receipts(running)) == 2, 60)
    assert ground.receipts(running)[1]["settle"]["respawned"] == []


@pytest.mark.parametrize("part", ["supervisor", "guard", "cell"])
def test_the_loss_of_a_part_stops_it(ground: Ground, kind: dict[str, Any], part: str) -> None:
    running = up(ground, kind)
    family = ground.family(running)
    inside = _inside(family["cell"])
    assert inside
    os.kill(family[part], 9)
    eventually(lambda: not any(map(alive, inside)), 30)
    eventually(lambda: (found := ground.latched()) is not None and found["state"] == "stopped", 30)


def test_it_is_held_and_goes_on(ground: Ground, kind: dict[str, Any]) -> None:
    import anyio

    from offswitch.enforce import api

    async def one() -> None:
        name, options = kind["sandbox"], kind["options"]
        async with api.supervise(
            ["sh", "-c", "while :; do echo x; sleep 0.05; done"], sandbox=name, options=options,
            workspace=ground.workspace, state=ground.state, memory=512 << 20,
        ) as agent:  # fmt: skip
            eventually(lambda: agent.output.stat().st_size > 4, 120)
            try:
                await agent.hold()
            except api.Refused as refused:
                pytest.skip(str(refused))
            await anyio.sleep(0.5)
            size = agent.output.stat().st_size
            await anyio.sleep(1)
            assert agent.output.stat().st_size == size
            await agent.release()
            eventually(lambda: agent.output.stat().st_size > size)
            assert (await agent.stop())["dead"]

    anyio.run(one)


def _inside(cell: int) -> list[int]:
    """Every process of the cell's control group."""
    for line in Path(f"/proc/{cell}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names == "pids":
            return [int(one) for one in Path(f"/sys/fs/cgroup/pids{path}/cgroup.procs").read_text().split()]
        if not names and Path(f"/sys/fs/cgroup{path}/cgroup.procs").exists():
            return [int(one) for one in Path(f"/sys/fs/cgroup{path}/cgroup.procs").read_text().split()]
    pytest.skip("no control group can be made here")

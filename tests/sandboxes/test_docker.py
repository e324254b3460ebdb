"""The view of Inspect's docker sandbox, where an engine runs."""

import shutil
import subprocess

import pytest
from inspect_ai.util._sandbox.docker.docker import DockerSandboxEnvironment

from offswitch.sandboxes.docker import COMPOSE, DockerMachine, _state
from offswitch.sandboxes.kinds import machine_of


def engine_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0


needs_engine = pytest.mark.skipif(not engine_runs(), reason="no docker engine runs here")


@needs_engine
async def test_the_view_of_a_container() -> None:
    await DockerSandboxEnvironment.task_init("view", str(COMPOSE))
    environments = await DockerSandboxEnvironment.sample_init("view", str(COMPOSE), {})
    environment = environments["default"]
    try:
        machine = machine_of(environment)
        assert isinstance(machine, DockerMachine)
        assert await machine.running() is True
        await environment.write_file("/tmp/f", "hello")
        states = await machine.paths(["/tmp/f", "/nope", "/bin/sh", "/tmp"])
        assert (states["/tmp/f"].kind, states["/tmp/f"].content) == ("file", "hello")
        assert states["/nope"].kind == "absent"
        assert states["/tmp"].kind == "directory"
        await machine.prepare({"/home/agent/f": ("mine", 0o600)}, "/opt/tools/fetch")
        assert await environment.read_file("/home/agent/f") == "mine"

        async def answer(request: str) -> str:
            return f"<{request}>"

        async with machine.serve(answer):
            assert (await environment.exec(["/opt/tools/fetch", "a", "b"])).stdout == "<a b>\n"
        await environment.exec(["bash", "-c", "kill -TERM 1"])
        ended = await machine.wait_ended(20)
        assert ended is not None
        assert ended.by_term is True
        assert await machine.running() is False
    finally:
        await DockerSandboxEnvironment.sample_cleanup("view", str(COMPOSE), environments, False)
        await DockerSandboxEnvironment.task_cleanup("view", str(COMPOSE), True)


def test_what_the_container_tells_of_a_path() -> None:
    assert _state("absent".split()).kind == "absent"
    assert _state([]).kind == "unknown"
    state = _state("symlink 777 1000 5 - 612f62 -".split())
    assert (state.kind, state.mode, state.uid, state.inode, state.link, state.sha256) == (
        "symlink",
        0o777,
        1000,
        5,
        "a/b",
        None,
    )


def test_the_script_that_looks(tmp_path: object) -> None:
    from offswitch.sandboxes.docker import _LOOK

    done = subprocess.run(
        ["sh", "-c", _LOOK], input=f"{__file__}\n/nope\n/usr\n", capture_output=True, text=True
    )
    mine, none, usr = [_state(line.split()) for line in done.stdout.splitlines()]
    assert (mine.kind, none.kind, usr.kind) == ("file", "absent", "directory")
    assert (mine.content or "").startswith('"""The view of')

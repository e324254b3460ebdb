"""A real agent program in a micro virtual machine: it asks its model through the proxy, works, and is stopped."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import guest_root
import programs
import pytest
import yaml
from model_server import ModelServer, Run
from test_agent_programs import Bench

from offswitch.sandboxes.cells import microvm, microvm_image, microvm_network
from offswitch.sandboxes.errors import SandboxUnavailable

_START_S = 900
"""Where every instruction is translated Python needs some two minutes of a processor until its second request."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    try:
        bench = Bench(programs.install(programs.MINI), "mini-in-microvm", "unused", tmp_path)
        if microvm.missing({}) is not None:
            microvm_image.prepare()
        microvm_image.check_network({})
        microvm_network.make([])
    except (programs.Unavailable, microvm_image.Unprepared, SandboxUnavailable) as error:
        pytest.skip(str(error))
    bench.workspace.mkdir()
    yield bench
    bench.offswitch("stop", "--all")


def _wait_for(what: Callable[[], bool], bench: Bench) -> None:
    end = time.monotonic() + _START_S
    while not what():
        assert time.monotonic() < end, bench.told()
        time.sleep(0.1)


@pytest.mark.slow
def test_an_agent_program_works_in_a_microvm_and_is_stopped_with_its_hypervisor(
    bench: Bench, record_property: Callable[[str, object], None]
) -> None:
    try:
        root = guest_root.image(bench.installed)
    except programs.Unavailable as error:
        pytest.skip(str(error))
    works = "id -u > /workspace/user; cat /proc/version > /workspace/kernel; sync"
    with ModelServer([Run(works), Run("exec tail -f /dev/null")]) as server:
        policy = {
            "version": 1,
            "network": {"hosts": [f"127.0.0.1:{server.port}"]},
            "environment": bench.installed.environment(server.address),
        }
        (bench.folder / "policy.yaml").write_text(yaml.safe_dump(policy))
        began = time.monotonic()
        done = bench.offswitch(
            "run", "--name", bench.name, "--sandbox", "microvm", "--image", root, "--detach",
            "--workspace", str(bench.workspace), "--policy", str(bench.folder / "policy.yaml"),
            "--lease", "20m", "--memory", "1G",
            "--", *bench.installed.argv(server.address, "Do the work."), limit=_START_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        _wait_for(lambda: len(server.turns()) == 2, bench)
        record_property("second_request_s", round(time.monotonic() - began, 1))
        # It says what it is about to do.
        _wait_for(lambda: "exec tail" in bench.told(), bench)
        (row,) = bench.json("ps")
        assert row["state"] == "running"

        stopped = bench.json("stop", bench.name)

        assert stopped["dead"] is True
        assert stopped["receipt"]["survivors"] == []
        assert stopped["receipt"]["network"]["cut"]
        record_property("times", stopped["receipt"]["times"])
        assert server.turns() == [0, 1]
        _wait_for(lambda: bool(bench.json("ps")[0]["state"] == "latched"), bench)
    # What it wrote has come back: it worked as the guest's user, on the guest's kernel.
    assert (bench.workspace / "user").read_text() == "1000\n"
    assert "cloud" in (bench.workspace / "kernel").read_text()
    assert Path("/proc/version").read_text() != (bench.workspace / "kernel").read_text()

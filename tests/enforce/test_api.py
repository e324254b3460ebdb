"""``offswitch.supervise``, and a function for each command."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import anyio
import jsonschema
import pytest
from tests.enforce.conftest import Ground, eventually

import offswitch
from offswitch.cli import enforce
from offswitch.enforce import api, latch
from offswitch.trust import receipts


async def test_a_program_runs_under_it_and_its_code_is_told(ground: Ground) -> None:
    async with offswitch.supervise(
        ["bash", "-c", "echo hello; exit 4"], workspace=ground.workspace, state=ground.state
    ) as agent:
        ended = await agent.wait()
    assert (ended.code, ended.stopped, ended.dead) == (4, False, True)
    assert agent.output.read_text() == "hello\n"


async def test_a_stop_gives_the_receipt(ground: Ground) -> None:
    async with offswitch.supervise(["sleep", "900"], workspace=ground.workspace, state=ground.state) as agent:
        assert (await agent.status())["state"] == "running"
        receipt = await agent.stop(reason="a test")
        assert receipt["dead"]
        assert receipt["order"]["origin"] == "signed"
        assert receipt["order"]["reason"] == "a test"
        assert (await agent.wait()).stopped
    with pytest.raises(api.NotStarted, match="offswitch reset"):
        async with offswitch.supervise(["true"], workspace=ground.workspace, state=ground.state):
            pass


@pytest.mark.parametrize("how", ["left", "raised"])
async def test_the_agent_is_dead_when_the_block_is_left(ground: Ground, how: str) -> None:
    async def one() -> None:
        async with offswitch.supervise(["sleep", "900"], workspace=ground.workspace, state=ground.state):
            assert ground.processes()
            if how == "raised":
                raise KeyError

    if how == "raised":
        with pytest.raises(KeyError):
            await one()
    else:
        await one()
    assert not ground.processes()


async def test_it_is_held_and_released_with_nothing_lost(ground: Ground) -> None:
    script = "i=0; while :; do i=$((i+1)); echo $i > count; sleep 0.02; done"
    async with offswitch.supervise(
        ["bash", "-c", script], workspace=ground.workspace, state=ground.state
    ) as agent:
        count = ground.workspace / "count"
        eventually(count.exists)
        try:
            await agent.hold()
        except api.Refused as refused:
            pytest.skip(str(refused))
        assert (await agent.status())["state"] == "held"
        seen = count.read_text()
        eventually(lambda: count.read_text() == seen)
        held = count.read_text()
        for _ in range(20):
            assert count.read_text() == held
        await agent.release()
        eventually(lambda: count.read_text() not in ("", held))
        assert int(count.read_text() or "0") >= int(held)
        await agent.renew(1000)
        assert (await agent.status())["lease_left"] > 900
        await agent.hold()
        assert (await agent.stop())["dead"]


def test_the_loss_of_the_program_that_supervises_stops_the_agent(ground: Ground) -> None:
    program = textwrap.dedent(f"""
        import anyio, offswitch
        async def main():
            places = dict(workspace={str(ground.workspace)!r}, state={str(ground.state)!r})
            async with offswitch.supervise(["sleep", "900"], **places):
                print("up", flush=True)
                await anyio.sleep(900)
        anyio.run(main)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert ground.processes()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    eventually(lambda: not ground.processes())


async def test_what_cannot_be_started_says_what_to_do(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(api.NotStarted, match="no-such-program"):
        async with offswitch.supervise(["no-such-program"], workspace=ground.workspace, state=ground.state):
            pass


def test_every_command_has_a_function_and_all_of_it_is_exported() -> None:
    beyond = {"run": "start", "ps": "agents", "logs": "output"}
    # An order that several have to sign travels as a file, a terminal is a person's, a gateway alone is a service, a
    # proof is read.
    of_people = {"sign", "send", "attach", "serve", "watch", "prove"}
    for command in set(enforce.COMMANDS) & _documented() - of_people:
        assert callable(getattr(offswitch, beyond.get(command, command))), command
    assert set(offswitch.__all__) == set(api.__all__)
    for name in api.__all__:
        assert getattr(offswitch, name) is getattr(api, name)


def _documented() -> set[str]:
    """Commands of the page on enforce."""
    page = Path(__file__).parents[2].joinpath("docs", "enforce-reference.md").read_text()
    headings = "\n".join(line for line in page.splitlines() if line.startswith("### "))
    return set(re.findall(r"(?:offswitch |`)([a-z]+)", headings)) - {"offswitch"}


async def test_an_agent_is_started_looked_at_and_stopped_by_name(ground: Ground) -> None:
    state = ground.state
    try:
        name = await offswitch.start(
            ["bash", "-c", "echo hello; sleep 900"], name="by-name", workspace=ground.workspace, state=state
        )
        assert name == "by-name"
        (seen,) = await offswitch.agents(state=state)
        assert (seen["name"], seen["state"], seen["sandbox"]) == (name, "running", "bubblewrap")
        assert seen["promises"]["network"]
        await offswitch.renew(name, 1000, state=state)
        (seen,) = await offswitch.agents(state=state)
        assert 900 < seen["lease_left"] <= 1000
        await _held_and_released(name, state)
    finally:
        receipt = await offswitch.stop(name, reason="a test", state=state)
    assert receipt["dead"]
    assert not ground.processes()
    assert await offswitch.output(name, state=state) == b"hello\n"
    events = [one["event"] for one in await offswitch.account(name, state=state)]
    assert events[0] == "started"
    assert "renewed" in events
    assert "stop" in events
    await offswitch.reset(name, reason="a test", state=state)
    assert latch.read(ground.places) == []
    assert await offswitch.agents(state=state) == []


async def _held_and_released(name: str, state: Path) -> None:
    try:
        await offswitch.hold(name, state=state)
    except offswitch.Refused:
        return  # there is no control group of version 2
    assert [one["state"] for one in await offswitch.agents(state=state)] == ["held"]
    await offswitch.release(name, state=state)
    assert [one["state"] for one in await offswitch.agents(state=state)] == ["running"]


async def test_a_policy_is_adopted_by_name(ground: Ground, tmp_path: Path) -> None:
    rules = tmp_path / "policy.yaml"
    rules.write_text("version: 1\nlimits: {lease_max: 10m}\n")
    ground.up("true", trusted=[own := _own(ground)], own=[own], loosening=[own])
    assert await offswitch.policy("agent", rules, state=ground.state)
    with pytest.raises(offswitch.Refused, match="at most 600 s"):
        await offswitch.renew("agent", 3600, state=ground.state)
    rules.write_text("version: 2\n")
    with pytest.raises(offswitch.Refused, match="version"):
        await offswitch.policy("agent", rules, state=ground.state)


def _own(ground: Ground) -> str:
    from offswitch.enforce import ordering

    return ordering.own_key(ground.places)


async def test_of_whom_there_is_nobody_each_function_says_so(ground: Ground) -> None:
    for act in (
        offswitch.stop, offswitch.hold, offswitch.release, offswitch.reset, offswitch.output, offswitch.account,
    ):  # fmt: skip
        with pytest.raises(offswitch.Refused, match="nobody"):
            await act("nobody", state=ground.state)
    with pytest.raises(offswitch.Refused, match="nobody"):
        await offswitch.renew("nobody", 60, state=ground.state)
    for name in ("../../etc", ""):
        with pytest.raises(offswitch.Refused):
            await offswitch.output(name, state=ground.state)


async def test_the_receipt_of_a_stop_says_all_of_it_and_is_of_its_schema(ground: Ground) -> None:
    running = ground.up("true")
    receipt = await offswitch.stop("agent", reason="a test", settle=True, state=ground.state)
    schema = jsonschema.Draft202012Validator(json.loads(receipts.schema("receipt")))
    await anyio.to_thread.run_sync(lambda: eventually(lambda: len(ground.receipts(running)) == 2))
    first, last = ground.receipts(running)
    for one in (receipt, first, last):
        schema.validate(one)
    times = receipt["times"]
    assert (
        times["ordered"]["monotonic_us"] <= times["killed"]["monotonic_us"] <= times["dead"]["monotonic_us"]
    )
    assert times["dead"]["wall_ms"] > 1_700_000_000_000
    assert {one["who"] for one in receipt["observers"]} == {"guard"}
    assert receipt["promises"]["kernel"]
    assert receipt["order"]["reason"] == "a test"
    assert (receipt["agent"], receipt["run"], receipt["sandbox"]) == ("agent", running.run, "bubblewrap")
    assert receipt["held"] == []
    assert receipt["killed"] is None or receipt["killed"] >= 3
    assert (first["settle"], last["settle"] is not None) == (None, True)


async def test_the_doctor_and_the_drill_can_be_asked(ground: Ground) -> None:
    found = await offswitch.doctor()
    assert {one.name for one in found} >= {"user namespaces", "bubblewrap"}
    drilled = await offswitch.drill(only=["ignores-signals"], runs=1)
    assert drilled["passed"]
    assert [one["fault"] for one in drilled["faults"]] == ["ignores-signals"]
    assert await offswitch.drill(without="tracing") == {"passed": True}
    with pytest.raises(offswitch.NotStaged, match="no fault flood"):
        await offswitch.drill(only=["flood"])


async def test_a_drill_that_is_cancelled_clears_away(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = tmp_path / "stages"
    stages.mkdir(mode=0o711)
    monkeypatch.setenv("TMPDIR", str(stages))
    with anyio.fail_after(90):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: offswitch.drill(only=["fork-storm"], runs=50))
            await anyio.to_thread.run_sync(lambda: eventually(lambda: list(stages.iterdir()), 60))
            await anyio.sleep(1)
            tasks.cancel_scope.cancel()
    assert not list(stages.iterdir())


def test_the_example_of_the_reference_runs(ground: Ground) -> None:
    page = Path(__file__).parents[2].joinpath("docs", "enforce-reference.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert ast.parse(example)
    environment = {**os.environ, "XDG_STATE_HOME": str(ground.state), "XDG_RUNTIME_DIR": str(ground.state)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", example],
        cwd=ground.workspace,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert b"dead: True" in done.stdout

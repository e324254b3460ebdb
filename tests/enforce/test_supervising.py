"""Starting, stopping and losing: with real agents in real sandboxes."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.enforce.conftest import Ground, alive, eventually, opened

from offswitch.enforce import control, latch, launching, ordering
from offswitch.enforce.planning import PROXY

STUBBORN = "trap '' TERM INT HUP QUIT; for i in 1 2 3; do setsid bash -c 'trap \"\" TERM; sleep 900' & done"


def stop(ground: Ground, **request: object) -> dict[str, object]:
    answer = ground.ask(do="stop", order=None, **request)
    assert answer["ok"]
    return opened(answer["receipt"])


def test_an_agent_that_ends_by_itself_passes_on_its_code_and_latches_nothing(ground: Ground) -> None:
    running = ground.start("echo out; echo errors >&2; exit 7", detached=False)
    ended = running.wait()
    assert (ended["code"], ended["stopped"], ended["dead"]) == (7, False, True)
    assert ground.latched() is None
    assert Path(ground.places.logs("agent"), "output").read_text().split() == ["out", "errors"]
    ground.start("exit 0", detached=False).wait()


def test_what_an_agent_leaves_behind_ends_with_it(ground: Ground) -> None:
    ground.start("setsid sleep 900 >/dev/null 2>&1 & disown; exit 0", detached=False).wait()
    assert not ground.processes()


def test_the_end_of_its_input_reaches_an_agent(ground: Ground) -> None:
    running = ground.start("cat; exit 5", detached=False)
    assert running.stream is not None
    running.stream.send(b"ihello\n")
    running.stream.send(b"e")
    assert running.wait()["code"] == 5
    assert Path(ground.places.logs("agent"), "output").read_text() == "hello\n"
    detached = ground.start("cat; touch over", name="detached")
    eventually((ground.workspace / "over").exists)
    eventually(lambda: not alive(detached.supervisor))


def test_a_stop_of_what_ignores_every_signal_is_observed(ground: Ground) -> None:
    running = ground.up(STUBBORN)
    assert len(ground.processes()) > 3
    receipt = stop(ground, reason="enough")
    assert receipt["dead"]
    assert not ground.processes()
    assert not receipt["survivors"]
    assert receipt["order"]["origin"] == "local owner"
    assert {one["how"].split(" (")[0] for one in receipt["observers"]} >= {
        "init of the sandbox ended",
        "no process in a namespace of the sandbox",
    }
    eventually(lambda: len(ground.receipts(running)) == 2)
    settled = ground.receipts(running)[1]
    assert settled["latch"] == "disk"
    assert settled["settle"]["looks"] >= 3
    assert settled["settle"]["respawned"] == []


def test_who_holds_a_namespace_of_the_sandbox_is_in_the_receipt_and_no_part_of_the_off_switch(
    ground: Ground,
) -> None:
    ground.up("")
    with open(f"/proc/{ground.processes()[0]}/ns/net") as place:
        holder = subprocess.Popen(["sleep", "900"], pass_fds=[place.fileno()])
    try:
        receipt = stop(ground)
    finally:
        holder.kill()
        holder.wait()
    assert receipt["dead"]
    held = {one["pid"]: one["what"] for one in receipt["held"]}  # type: ignore[attr-defined]
    assert held == {holder.pid: "a namespace of the sandbox (net)"}


def test_a_latch_holds_its_name_and_its_workspace_until_it_is_reset(ground: Ground) -> None:
    ground.up("")
    stop(ground, reason="a drill")
    eventually(lambda: ground.latched()["state"] == "stopped")
    for name in ("agent", "other"):
        with pytest.raises(launching.NotStarted, match=r"a drill.*offswitch reset agent"):
            ground.start("true", name=name)
    (ground.workspace.parent / "link").symlink_to(ground.workspace)
    with pytest.raises(launching.NotStarted, match="offswitch reset agent"):
        ground.start("true", name="third", workspace=str(ground.workspace.parent / "link"))
    beside, inside = ground.workspace.parent / "workspace-2", ground.workspace / "inside/of/it"
    for folder in (beside, inside):
        folder.mkdir(parents=True)
    with pytest.raises(launching.NotStarted, match=r"in which this workspace lies.*offswitch reset agent"):
        ground.start("true", name="inner", workspace=str(inside))
    moved = ground.workspace.rename(ground.workspace.parent / "moved")
    with pytest.raises(launching.NotStarted, match=r"in which this workspace lies.*offswitch reset agent"):
        ground.start("true", name="inner", workspace=str(moved / "inside/of/it"))
    moved.rename(ground.workspace)
    ground.start("true", name="beside", workspace=str(beside), detached=False).wait()
    latch.clear(ground.places, "agent")
    assert ground.latched() is None
    assert not ground.processes()
    ground.start("true", detached=False).wait()


def test_a_latch_of_a_workspace_inside_holds_the_one_around_it(ground: Ground) -> None:
    inside = ground.workspace / "inside"
    inside.mkdir()
    # Two agents may work in the same place at once, and so may they in each other's.
    ground.start("sleep 900")
    ground.start("sleep 900", name="inner", workspace=str(inside))
    assert ground.status("inner")["state"] == ground.status()["state"] == "running"
    assert ground.ask("inner", do="stop", order=None)["dead"]
    with pytest.raises(launching.NotStarted, match=r"inside, which lies in this workspace.*reset inner"):
        ground.start("true", name="outer")
    assert stop(ground)["dead"]


def test_nothing_starts_while_a_latch_cannot_be_read(ground: Ground) -> None:
    Path(ground.places.latches, "stranger.json").write_text("{")
    with pytest.raises(launching.NotStarted, match="offswitch reset stranger"):
        ground.start("true")
    latch.clear(ground.places, "stranger")
    ground.start("true", detached=False).wait()


def test_a_run_that_was_cut_short_is_latched_without_anyone_writing(ground: Ground) -> None:
    running = ground.up("")
    family = ground.family(running)
    # Stopped, the supervisor does not see its guard go; nobody is left who could write.
    os.kill(family["supervisor"], signal.SIGSTOP)
    os.kill(family["guard"], signal.SIGKILL)
    os.kill(family["supervisor"], signal.SIGKILL)
    eventually(lambda: not ground.processes())
    eventually(lambda: not alive(family["scribe"]))
    with pytest.raises(launching.NotStarted, match="was cut short"):
        ground.start("true")


# A cell that is only stopped is no loss: it waits, and nothing that the kill needs is left to it.
@pytest.mark.parametrize(
    ("part", "how"),
    [
        (part, how)
        for part in ("supervisor", "guard", "scribe", "cell")
        for how in (signal.SIGKILL, signal.SIGSTOP)
        if (part, how) != ("cell", signal.SIGSTOP)
    ],
)
def test_the_loss_of_any_part_stops_the_agent(ground: Ground, part: str, how: signal.Signals) -> None:
    running = ground.up(STUBBORN)
    family = ground.family(running)
    assert set(family) >= {"supervisor", "guard", "scribe", "cell"}
    os.kill(family[part], how)
    try:
        eventually(lambda: not ground.processes(), 30)
        eventually(lambda: (found := ground.latched()) is not None and found["state"] == "stopped")
        if part == "supervisor":
            eventually(lambda: ground.receipts(running))
            assert ground.receipts(running)[0]["order"]["origin"] == "guard"
        eventually(lambda: not alive(running.supervisor), 30)
    finally:
        for pid in family.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_guard_cuts_the_network_of_a_lost_supervisor(ground: Ground, how: signal.Signals) -> None:
    running = ground.up("", hosts=["example.org"], proxy=PROXY)
    eventually(lambda: "proxy" in ground.family(running))
    proxy = ground.family(running)["proxy"]
    os.kill(running.supervisor, how)
    eventually(lambda: ground.receipts(running))
    receipt = ground.receipts(running)[0]
    assert receipt["order"]["origin"] == "guard"
    assert receipt["network"]["cut"]
    assert receipt["network"]["at_monotonic_us"] >= receipt["times"]["killed"]["monotonic_us"]
    assert not alive(proxy)


def test_a_cell_that_is_stopped_holds_up_no_stop(ground: Ground) -> None:
    running = ground.up(STUBBORN)
    os.kill(ground.family(running)["cell"], signal.SIGSTOP)
    assert stop(ground)["dead"]
    assert not ground.processes()


def test_a_hang_up_stops_a_foreground_agent_and_no_detached_one(ground: Ground) -> None:
    running = ground.up(STUBBORN, detached=False)
    assert running.tether is not None
    assert running.stream is not None
    running.stream.close()
    running.tether.close()
    eventually(lambda: not ground.processes())
    eventually(lambda: ground.receipts(running))
    assert ground.receipts(running)[0]["order"]["origin"] == "terminal"


@pytest.mark.parametrize(
    "what",
    [
        "agents/agent", "logs/agent", "latches", "latches/agent.json", "receipts", "keys", "agents/agent/control",
    ],
)  # fmt: skip
def test_an_agent_whose_state_is_removed_is_stopped(ground: Ground, what: str) -> None:
    running = ground.up(STUBBORN)
    place = ground.state / what
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    eventually(lambda: not ground.processes())
    eventually(lambda: (ground.latched() or {}).get("state") == "stopped")
    eventually(lambda: not alive(running.supervisor))
    with pytest.raises(launching.NotStarted, match="offswitch reset agent"):
        ground.start("true")


@pytest.mark.parametrize("how", ["removed", "replaced", "folder removed"])
def test_a_latch_that_is_lost_is_made_anew_by_the_stop(ground: Ground, how: str) -> None:
    running = ground.up("true")
    # Stopped, the scribe sees no loss before the order comes; it is told of the order, and goes on then.
    scribe = ground.family(running)["scribe"]
    os.kill(scribe, signal.SIGSTOP)
    path = ground.state / "latches/agent.json"
    if how == "folder removed":
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    if how == "replaced":
        path.write_text("{}")
    assert stop(ground, reason="enough")["dead"]
    os.kill(scribe, signal.SIGCONT)
    eventually(lambda: (ground.latched() or {}).get("state") == "stopped")
    assert ground.latched()["reason"] == "enough"
    eventually(lambda: not alive(running.supervisor))
    assert ground.receipts(running)[-1]["latch"] == "disk"
    with pytest.raises(launching.NotStarted, match="offswitch reset agent"):
        ground.start("true")


def test_no_second_agent_starts_under_a_name_whose_latch_was_removed(ground: Ground) -> None:
    running = ground.up("true")
    scribe = ground.family(running)["scribe"]
    os.kill(scribe, signal.SIGSTOP)
    (ground.state / "latches/agent.json").unlink()
    with pytest.raises(launching.NotStarted, match="agent is running"):
        ground.start("true")
    os.kill(scribe, signal.SIGCONT)
    eventually(lambda: not ground.processes())


def test_a_lease_ends_by_itself_and_can_be_renewed_only_by_an_order(ground: Ground) -> None:
    started = time.monotonic()
    running = ground.up(STUBBORN, lease_s=2)
    assert not ground.ask(do="renew", order=None)["ok"]
    eventually(lambda: not ground.processes())
    assert time.monotonic() - started < 10
    eventually(lambda: ground.receipts(running))
    assert ground.receipts(running)[0]["order"]["origin"] == "lease"


def test_category_1_lets_an_agent_put_its_things_in_order(ground: Ground) -> None:
    ground.start(
        "trap 'echo tidy > tidied; exit 0' TERM; touch up; while :; do sleep 0.05; done", name="agent"
    )
    eventually((ground.workspace / "up").exists)
    receipt = stop(ground, category=1, grace_ms=20_000)
    assert receipt["dead"]
    assert (ground.workspace / "tidied").read_text() == "tidy\n"
    assert ground.latched() is not None


def test_category_1_cuts_when_the_grace_is_over(ground: Ground) -> None:
    ground.up(STUBBORN)
    started = time.monotonic()
    assert stop(ground, category=1, grace_ms=500)["dead"]
    assert 0.5 <= time.monotonic() - started < 10
    assert not ground.processes()


def test_category_0_overtakes_category_1(ground: Ground) -> None:
    ground.up(STUBBORN)
    with control.connect(ground.places, "agent") as line:
        control.send(line, {"do": "stop", "order": None, "category": 1, "grace_ms": 600_000})
        eventually(lambda: ground.status()["state"] == "stopping")
        assert stop(ground)["dead"]
        assert control.receive(line, 10)[0]["dead"]


def test_what_ends_a_grace_early_leaves_the_stop_the_operators(ground: Ground) -> None:
    running = ground.up(STUBBORN)
    with control.connect(ground.places, "agent") as line:
        asked = {"do": "stop", "order": None, "category": 1, "grace_ms": 600_000, "reason": "enough"}
        control.send(line, asked)
        eventually(lambda: ground.status()["state"] == "stopping")
        os.kill(running.supervisor, signal.SIGTERM)
        assert control.receive(line, 20)[0]["dead"]
    eventually(lambda: ground.receipts(running))
    [receipt] = ground.receipts(running)
    assert (receipt["order"]["origin"], receipt["order"]["reason"]) == ("local owner", "enough")
    said = [line for line in ground.account() if line["event"] == "stop"]
    assert [one["origin"] for one in said] == ["local owner", "supervisor"]


def test_an_order_of_an_earlier_run_is_refused_and_the_owner_still_stops(ground: Ground) -> None:
    keys = own(ground)
    first = ground.up("true", **keys)
    order = ordering.sign(ground.places, "stop", "agent")
    assert ground.ask(do="stop", order=order)["dead"]
    eventually(lambda: not alive(first.supervisor))
    latch.clear(ground.places, "agent")
    ground.up("true", **keys)
    answer = ground.ask(do="stop", order=order)
    assert (answer["ok"], answer["refused"]) == (False, "earlier-run")
    assert ground.status()["state"] == "running"
    eventually(lambda: refusals(ground) == ["earlier-run"])
    assert ground.ask(do="stop", order=ordering.sign(ground.places, "stop", "agent"))["dead"]


def test_an_order_is_obeyed_once_and_its_refusal_is_written_down(ground: Ground) -> None:
    ground.up("true", **own(ground))
    order = ordering.sign(ground.places, "hold", "agent")
    first = ground.ask(do="hold", order=order)
    # Without a control group of version 2 it was good all the same, and is not good twice.
    assert first["ok"] or first["refused"] == "impossible"
    before = [] if first["ok"] else ["impossible"]
    eventually(lambda: refusals(ground) == before)
    answer = ground.ask(do="hold", order=order)
    assert (answer["ok"], answer["refused"]) == (False, "replayed")
    eventually(lambda: refusals(ground) == [*before, "replayed"])
    assert stop(ground)["dead"]


def own(ground: Ground) -> dict[str, list[str]]:
    """Of a plan: that the operator's own key is trusted."""
    key = ordering.own_key(ground.places)
    return {"trusted": [key], "own": [key], "loosening": [key]}


def refusals(ground: Ground) -> list[str]:
    """The codes of the orders that the account says were refused."""
    return [one["code"] for one in ground.account() if one["event"] == "refused order"]


def test_a_supervisor_uses_little_memory(ground: Ground) -> None:
    running = ground.up("")
    pages = Path(f"/proc/{running.supervisor}/statm").read_text().split()[1]
    assert int(pages) * os.sysconf("SC_PAGE_SIZE") < 30 << 20


def test_the_off_switch_goes_before_the_agent(ground: Ground) -> None:
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    family = ground.family(ground.up("nice > priority"))
    assert (ground.workspace / "priority").read_text() == f"{usual}\n"
    ahead = usual - 5 if os.geteuid() == 0 else usual
    for part in ("supervisor", "guard", "scribe"):
        assert os.getpriority(os.PRIO_PROCESS, family[part]) == ahead
    assert os.getpriority(os.PRIO_PROCESS, family["cell"]) == usual


def test_only_the_workspace_and_tmp_can_be_written(ground: Ground) -> None:
    running = ground.start(
        "find / -xdev -writable -type d 2>/dev/null | sort > seen; "
        "for place in / /usr /etc /run /var /home /dev /proc /sys; "
        "do touch $place/x 2>/dev/null && echo $place; done >> seen; true",
        detached=False,
    )
    assert running.wait()["code"] == 0
    assert (ground.workspace / "seen").read_text().split() == ["/tmp", "/workspace"]


def test_ownership_on_the_host_does_not_change(ground: Ground) -> None:
    (ground.workspace / "mine").write_text("x")
    before = ground.workspace.stat()
    ground.start(
        "echo more >> mine; echo new > new; mkdir folder; chmod u+s new; true", detached=False
    ).wait()
    for path in (ground.workspace, *ground.workspace.iterdir()):
        assert (path.stat().st_uid, path.stat().st_gid) == (before.st_uid, before.st_gid)
    assert not (ground.workspace / "new").stat().st_mode & 0o6000


def test_a_guard_that_is_stopped_when_the_order_comes_makes_no_living_of_the_dead(ground: Ground) -> None:
    running = ground.up(STUBBORN)
    guard = ground.family(running)["guard"]
    os.kill(guard, signal.SIGSTOP)
    try:
        receipt = stop(ground)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(guard, signal.SIGKILL)
    assert receipt["dead"]
    assert {one["who"] for one in receipt["observers"]} == {"witness"}

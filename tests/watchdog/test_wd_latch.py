"""The table of the latch, and the machine that runs it."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.machine import NEVER, Machine
from offswitch.enforce.watchdog.proof import promises, reading
from offswitch.enforce.watchdog.proof.logic import Plain

PLAIN = Plain()
READING = reading.read()


def machine(**given: Any) -> Machine:
    bounds: dict[str, Any] = {"lease": 10, "grace": 4, "decision": 3, "heartbeats": {"guard": 5, "scribe": 8}}
    return Machine(**{**bounds, **given})


def running(**given: Any) -> Machine:
    one = machine(**given)
    assert one.step("start") == ("arm", "start")
    return one


def test_every_event_has_a_row_in_every_state() -> None:
    assert set(table.TABLE) == {(state, event) for state in table.STATES for event in table.EVENTS}


@pytest.mark.parametrize("number", range(len(table.RULES)))
def test_a_table_without_one_of_its_rows_is_none(number: int) -> None:
    with pytest.raises(table.Unfit, match="no row for"):
        table.read(table.RULES[:number] + table.RULES[number + 1 :])


@pytest.mark.parametrize(
    "row",
    [
        ("idle", "start", "running", "arm start", ""),
        ("gone", "start", "=", "", ""),
        ("idle", "begin", "=", "", ""),
        ("idle", "start", "gone", "", ""),
        ("idle", "start", "=", "explode", ""),
        ("idle", "start", "=", "", "+patience"),
        ("idle", "start", "=", "", "lease"),
    ],
)
def test_a_table_with_a_second_row_or_an_unknown_word_is_none(row: tuple[str, str, str, str, str]) -> None:
    with pytest.raises(table.Unfit):
        table.read((*table.RULES, row))


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        table.TABLE["tripped", "tick"] = table.TABLE["running", "tick"]  # type: ignore[index]


def test_a_stop_kills_first_and_again_at_every_tick_until_death_is_observed() -> None:
    one = running()
    assert one.step("order-0") == ("kill", "cut", "observe", "latch")
    for _ in range(3):
        assert one.tick()[0] == ("tick", "", ("kill",))
    assert one.step("alive") == ("kill", "observe")
    assert one.step("dead") == ("receipt",)
    assert one.tick() == (("tick", "", ()),)
    assert (one.state, one.step("start")) == ("stopped", ("refuse",))
    assert one.step("reset") == ("open",)
    assert one.state == "idle"


def test_a_lease_runs_out_and_is_renewed_but_not_after_a_stop() -> None:
    one = running(heartbeats={})
    one.tick(9)
    assert one.step("renew", ticks=4) == ("renew",)
    one.tick(3)
    assert one.state == "running"
    assert one.tick()[1:] == (("lease-out", "", ("kill", "cut", "observe", "latch")),)
    assert one.step("renew", ticks=100) == ("refuse",)
    assert one.state == "tripped"


def test_a_late_tick_counts_for_what_it_was_but_not_as_silence_of_others() -> None:
    one = running(lease=100)
    assert one.tick(50) == (("tick", "", ()),)
    assert one.left["lease", ""] == 50
    assert one.left["heartbeat", "guard"] == 4


def test_a_hold_stretches_no_lease_and_a_held_agent_can_be_stopped() -> None:
    one = running(heartbeats={})
    assert one.step("hold") == ("freeze",)
    assert one.step("asked") == ("wait",)
    assert one.tick(10)[1][0] == "lease-out"
    assert one.state == "tripped"


def test_a_grace_stretches_no_lease_and_no_second_order_stretches_a_grace() -> None:
    one = running(heartbeats={}, lease=3)
    assert one.step("order-1", ticks=50) == ("warn", "latch")
    assert one.step("asked") == ("forward",)
    one.tick(2)
    assert one.tick()[1][0] == "lease-out"
    other = running(heartbeats={})
    other.step("order-1", ticks=2)
    other.tick()
    assert other.step("order-1", ticks=50) == ()
    assert other.tick()[1][:2] == ("grace-out", "")


def test_a_grace_of_nothing_ends_at_the_next_tick() -> None:
    one = running()
    one.step("order-1", ticks=0)
    assert [event for event, _, _ in one.tick()] == ["tick", "grace-out"]


def test_the_oldest_judgement_has_its_own_deadline_among_many() -> None:
    one = running(heartbeats={}, lease=NEVER)
    one.step("judging", "slow")
    for number in range(32):
        one.step("judging", f"quick {number}")
    one.tick()
    for number in range(32):
        assert one.step("found-nothing", f"quick {number}") == ("deliver",)
    one.step("judging", "late comer")
    one.step("judging", "slow")  # asked again it is not younger
    one.tick()
    assert one.tick()[1][:2] == ("unjudged-stop", "slow")
    assert one.step("found-nothing", "late comer") == ("deny",)


def test_each_silent_part_is_told_and_replaced_while_it_dies() -> None:
    one = running()
    for _ in range(4):
        one.tick()
        one.step("beat", "scribe")
    assert one.tick()[1] == ("heartbeat-out", "guard", ("kill", "cut", "replace", "observe", "latch"))
    for _ in range(4):
        one.tick()
    assert ("heartbeat-out", "guard", ("kill", "replace", "observe")) in one.tick()


@pytest.mark.parametrize(
    ("event", "key"), [("explode", ""), ("beat", "stranger"), ("beat", ""), ("heartbeat-out", "")]
)
def test_what_is_not_known_is_an_error_that_changes_nothing(event: str, key: str) -> None:
    one = running()
    before = (one.state, dict(one.left))
    with pytest.raises(KeyError):
        one.step(event, key)
    assert (one.state, one.left) == before


def test_a_clock_that_goes_back_is_an_error() -> None:
    with pytest.raises(ValueError, match="-1 ticks"):
        running().tick(-1)


def test_with_a_latch_on_disk_it_begins_stopped() -> None:
    assert machine(latched=True).step("start") == ("refuse",)


def test_the_machine_loads_nothing_heavy() -> None:
    probe = "import sys; import offswitch.enforce.watchdog.machine; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert {"typing", "dataclasses", "z3", "asyncio", "aiohttp", "yaml"} & set(done.stdout.split()) == set()


_KEYS = dict.fromkeys(reading.KEYED, ("one", "other")) | dict.fromkeys(
    ("beat", "heartbeat-out"), ("guard", "scribe")
)
_EVENTS = st.one_of(
    st.tuples(
        st.sampled_from([event for event in table.EVENTS if event != "tick"]),
        st.integers(0, 1),
        st.one_of(st.none(), st.integers(-1, 6)),
    ),
    st.tuples(st.just("tick"), st.just(0), st.integers(0, 5)),
)


@settings(max_examples=200, deadline=None)
@given(st.booleans(), st.lists(_EVENTS, max_size=40))
def test_the_machine_keeps_every_promise_on_any_way(
    latched: bool, events: list[tuple[str, int, int | None]]
) -> None:
    one = machine(latched=latched, lease=5, grace=3, decision=2, heartbeats={"guard": 2, "scribe": 3})
    moment = reading.BEGINNINGS[latched]
    bounds = {"lease": 5, "grace": 3, "decision": 2, "heartbeat": 2}

    def told(event: str, key: str, actions: tuple[str, ...], *, out: bool = False, elapsed: int = 0) -> None:
        nonlocal moment
        mine = key in ("one", "guard")
        timer = next((name for name, clock in READING.clocks.items() if clock.event == event), "")
        followed = timer if out and (mine or not READING.clocks[timer].keyed) else ""
        given = tuple(bounds.values())
        what = reading.Happening(event, mine, followed, elapsed, given)  # type: ignore[arg-type]
        assert reading.possible(PLAIN, moment, what)
        rule, counts = reading.counted(PLAIN, READING, moment, what)
        step = promises.follow(PLAIN, moment, what, rule, counts)
        assert rule.actions == actions
        assert [promise.name for promise in promises.PROMISES if not promise.holds(PLAIN, step)] == []
        moment = step.after

    for event, which, ticks in events:
        if event == "tick":
            happened = one.tick(ticks or 0)
            told("tick", "", happened[0][2], elapsed=ticks or 0)
            for out, key, actions in happened[1:]:
                told(out, key, actions, out=True)
        else:
            key = _KEYS[event][which] if event in _KEYS else ""
            for timer, _ in table.TABLE[one.state, event].sets:
                if timer != "heartbeat" and ticks is not None:
                    bounds[timer] = ticks
            told(event, key, one.step(event, key, ticks))
        assert one.state == moment.state
        assert one.left.get(("lease", "")) == (moment.counts[0].left if moment.counts[0].on else None)

"""A host that was suspended: what it slept counts for the lease that was, and not for what is told afterwards."""

import pytest

from offswitch.enforce.supervisor import guard as guards
from offswitch.enforce.supervisor import main as mains
from offswitch.enforce.supervisor.guard import Guard
from offswitch.enforce.supervisor.loop import TICK, Loop
from offswitch.enforce.supervisor.main import Supervisor
from offswitch.enforce.watchdog.machine import NEVER, Machine
from offswitch.sandboxes import wire


class Clock:
    """The clock of leases."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(guards, "boottime", clock)
    monkeypatch.setattr(mains, "boottime", clock)
    return clock


@pytest.fixture
def guard(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Guard:
    """A guard that was charged, without a sandbox; what it would do alone is written down."""
    made = Guard.__new__(Guard)
    made._line, made.other = wire.pair()  # type: ignore[attr-defined]
    made._machine = Machine(lease=NEVER, grace=NEVER, decision=NEVER, heartbeats={"supervisor": 11})
    made._machine.step("start")
    made._ticked, made._ticks = clock(), 0
    made._pulse = guards.Pulse()
    made._loop = Loop(lambda: None)
    made.alone = []  # type: ignore[attr-defined]
    monkeypatch.setattr(made, "_alone", lambda why, actions: made.alone.append(why))  # type: ignore[attr-defined]
    return made


def test_a_guard_takes_a_lease_that_is_told_after_a_suspend_for_what_it_is(
    clock: Clock, guard: Guard
) -> None:
    lease = clock() + 900
    guard._told("beat", [lease], [])
    clock.now += 600
    guard._told("beat", [lease], [])
    for _ in range(10):
        clock.now += TICK
        guard._told("beat", [lease], [])
        guard._tick()
    assert not guard.alone  # type: ignore[attr-defined]


def test_a_guard_ends_a_lease_that_ran_out_in_a_suspend(clock: Clock, guard: Guard) -> None:
    guard._told("beat", [clock() + 300], [])
    clock.now += 600
    guard._tick()
    assert guard.alone == ["its lease ended and its supervisor let it run"]  # type: ignore[attr-defined]


def test_a_guard_ends_a_lease_in_time_and_not_before(clock: Clock, guard: Guard) -> None:
    end = clock() + 30
    while not guard.alone:  # type: ignore[attr-defined]
        guard._told("beat", [end], [])
        clock.now += TICK * 0.7
        guard._tick()
    assert end + guards._LATE <= clock.now <= end + guards._LATE + 2 * TICK


def test_a_guard_that_observes_holds_its_supervisor_to_no_lease(
    clock: Clock, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard._told("beat", [clock() + 0.1], [])
    monkeypatch.setattr(guard, "observe", lambda *_: (True, 0, [], [], []))
    guard._told("observe", [4.0], [])
    clock.now += 5
    guard._tick()
    assert not guard.alone  # type: ignore[attr-defined]


@pytest.fixture
def supervisor(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    made = Supervisor.__new__(Supervisor)
    made._latch = Machine(lease=1, grace=1, decision=NEVER, heartbeats={})
    made._latch.step("start", ticks=round(900 / TICK))
    made._ticked = clock()
    made.seen = []  # type: ignore[attr-defined]
    monkeypatch.setattr(
        made,
        "_carry_out",
        lambda actions, event, *_: made.seen.append(event) if "kill" in actions else None,  # type: ignore[attr-defined]
    )
    return made


@pytest.mark.parametrize("slept", [0.0, 0.13, 60.0])
@pytest.mark.parametrize(("event", "out"), [("order-1", "grace-out"), ("renew", "lease-out")])
def test_a_grace_or_a_lease_that_begins_after_a_suspend_lasts_as_long_as_was_said(
    clock: Clock, supervisor: Supervisor, event: str, out: str, slept: float
) -> None:
    clock.now += slept
    began = clock()
    supervisor._latch.step(event, ticks=supervisor._in_ticks(10))
    while not supervisor.seen:  # type: ignore[attr-defined]
        clock.now += TICK
        supervisor._pass_time(0, "running")
    assert supervisor.seen == [out]  # type: ignore[attr-defined]
    assert began + 10 <= clock.now + 1e-6
    assert clock.now <= began + 10 + 2 * TICK

"""`offswitch prove`: what it proves, and that none of its checks passes whatever it is given."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from offswitch.enforce.watchdog import table
from offswitch.enforce.watchdog.machine import Machine
from offswitch.enforce.watchdog.proof import command, comparing, mutants, promises, searching, spinning
from offswitch.enforce.watchdog.proof.reading import Reading, read

pytest.importorskip("z3")
from offswitch.enforce.watchdog.proof.proving import Prover

ROOT = Path(__file__).parents[2]
READING = read()
BY_NAME = {mutant.name: mutant for mutant in mutants.all_of(READING)}

needs_spin = pytest.mark.skipif(
    shutil.which("spin") is None or shutil.which("gcc") is None, reason="spin or gcc is not installed"
)


@pytest.fixture(scope="module")
def prover() -> Prover:
    return Prover()


@pytest.fixture(scope="module")
def search() -> searching.Search:
    one = searching.Search(READING)
    assert one.whole() is None
    return one


# The proof


def test_the_table_is_proven(prover: Prover) -> None:
    gaps, steps = prover.prove(READING)
    assert gaps == []
    assert steps > len(READING.rules)


# For each promise a table that breaks it: none holds whatever the table says.
BREAKS = {
    "no-event-unhandled": "running/order-0/dropped",
    "latched": "tripped/release/to-running",
    "reset-starts-nothing": "stopped/reset/start-for-open",
    "stop-is-kept": "running/order-0/to-running",
    "stop-is-immediate": "running/lease-out/without-kill",
    "lease-in-time": "idle/start/raises-lease",
    "grace-in-time": "running/order-1/raises-grace",
    "heartbeat-in-time": "running/beat/raises-heartbeat",
    "observer-in-time": "tripped/heartbeat-out/sets-no-heartbeat",
    "decision-in-time": "running/judging/raises-decision",
    "not-early": "running/beat/keeps-heartbeat",
    "told-as-what-it-was": "lease/runs-out-as-found-stop",
    "lease-only-shrinks": "running/order-1/restarts-lease",
    "killed-until-dead": "tripped/tick/without-kill",
    "only-death-ends-it": "tripped/ended/to-stopped",
    "watched-until-dead": "tripped/observer-lost/without-observe",
    "nothing-goes-on": "tripped/asked/forward-for-refuse",
    "only-what-was-judged": "running/found-deny/deliver-for-deny",
    "latch-on-disk": "idle/start/without-arm",
    "kill-first": "running/order-0/cut-before-kill",
    "state-is-what-happened": "tripped/dead/to-idle",
    "kill": "ending/part-lost/without-kill",
    "cut": "running/order-0/without-cut",
    "replace": "tripped/heartbeat-out/without-replace",
    "observe": "tripped/alive/without-observe",
    "arm": "stopped/start/arm-for-refuse",
    "start": "stopped/start/start-for-refuse",
    "thaw": "held/order-1/without-thaw",
    "freeze": "running/hold/without-freeze",
    "warn": "running/order-1/without-warn",
    "renew": "warned/renew/renew-for-refuse",
    "latch": "ending/order-0/without-latch",
    "receipt": "tripped/dead/without-receipt",
    "open": "tripped/dead/with-open",
    "forward": "held/asked/forward-for-wait",
    "deliver": "running/found-nothing/without-deliver",
    "wait": "held/found-nothing/deliver-for-wait",
    "deny": "tripped/found-nothing/deliver-for-deny",
    "refuse": "tripped/renew/without-refuse",
}


def test_every_promise_has_a_table_that_breaks_it() -> None:
    assert set(BREAKS) == {one.name for one in promises.PROMISES} | {promises.UNHANDLED}


@pytest.mark.parametrize("promise", BREAKS)
def test_each_promise_is_refuted_for_a_table_that_breaks_it(
    promise: str, prover: Prover, search: searching.Search
) -> None:
    fate = mutants.fate(READING, BY_NAME[BREAKS[promise]], prover, search)
    assert fate.trace is not None
    assert promise in fate.trace.broken


@pytest.mark.parametrize(
    ("name", "promise"),
    [
        ("tripped/tick/without-kill", "killed-until-dead"),
        ("running/order-1/raises-grace", "strengthening"),
        ("running/order-0/dropped", promises.UNHANDLED),
    ],
)
def test_z3_finds_a_wrong_row(name: str, promise: str, prover: Prover) -> None:
    mutant = BY_NAME[name]
    gaps, _ = prover.prove(mutant.reading)
    assert [(gap.state, gap.event) for gap in gaps if promise in gap.broken] == [mutant.row]


def test_from_what_cannot_happen_nothing_is_proven(prover: Prover, monkeypatch: pytest.MonkeyPatch) -> None:
    # A strengthening that nothing meets would have everything follow from it.
    monkeypatch.setattr("offswitch.enforce.watchdog.proof.proving.related", lambda logic, moment: False)
    gaps, steps = prover.prove(READING)
    assert len(gaps) == steps + 2


# The machine


class KillsOnce(Machine):
    def step(self, event: str, key: str = "", ticks: int | None = None) -> tuple[str, ...]:
        return () if (self.state, event) == ("tripped", "tick") else super().step(event, key, ticks)


class LosesATick(Machine):
    def tick(self, elapsed: int = 1) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        return super().tick(min(elapsed, 1))


class MixesUpJudgements(Machine):
    def step(self, event: str, key: str = "", ticks: int | None = None) -> tuple[str, ...]:
        actions = super().step(event, key, ticks)
        if event == "found-nothing":
            self.left = {one: left for one, left in self.left.items() if one[0] != "decision"}
        return actions


class ForgetsRunOuts(Machine):
    def tick(self, elapsed: int = 1) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        happened = super().tick(elapsed)
        return happened[:2]


class RunsOnALittle(Machine):
    def step(self, event: str, key: str = "", ticks: int | None = None) -> tuple[str, ...]:
        return super().step(event, key, None if ticks is None else ticks + 1)


def test_the_machine_does_what_the_table_says_in_every_small_case() -> None:
    differences, cases = comparing.compare(READING)
    assert differences == []
    assert cases > 50_000


@pytest.mark.parametrize("wrong", [KillsOnce, LosesATick, MixesUpJudgements, ForgetsRunOuts, RunsOnALittle])
def test_a_machine_that_does_something_else_is_found(wrong: type[Machine]) -> None:
    differences, _ = comparing.compare(READING, wrong)
    assert differences


def test_a_machine_that_runs_another_table_is_found() -> None:
    assert comparing.compare(BY_NAME["tripped/tick/without-kill"].reading)[0]


# Spin


@needs_spin
def test_spin_finds_nothing_in_the_model_of_the_table() -> None:
    spun = spinning.check(READING, 2)
    assert spun.trace == ()
    assert spun.states > 1000


@needs_spin
@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("tripped/tick/without-kill", "event == TICK -> assert"),
        ("tripped/release/to-running", "was == TRIPPED"),
        ("running/beat/raises-heartbeat", "silent[0] < silence[0]"),
        ("running/judging/raises-decision", "thought[0] < thinking[0]"),
        ("tripped/asked/forward-for-refuse", "DO_FORWARD | DO_DELIVER"),
        ("running/order-0/dropped", "assert(false)"),
    ],
)
def test_spin_finds_what_is_wrong_in_another_model(name: str, broken: str) -> None:
    trace = spinning.check(BY_NAME[name].reading, 2).trace
    assert any(broken in line for line in trace if line.startswith("broken:"))
    assert " -> " in trace[0]


@needs_spin
def test_a_search_that_spin_gives_up_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinning, "_DEEPEST", 100)
    with pytest.raises(spinning.Broken, match="did not visit every state"):
        spinning.check(READING, 2)


# Mutants


@pytest.mark.slow
def test_every_mutant_is_refuted_or_equivalent() -> None:
    fates = mutants.fates(READING, 2)
    assert [one.name for one in fates if one.survives] == []
    equivalent = [one.name for one in fates if one.equivalent]
    assert len(equivalent) < 30
    # In an equivalent one a counter is touched that does not run, or all are where only one can be.
    assert {one.kind for one in fates if one.equivalent} == {
        "counter cleared", "counter restarted", "counter counted", "counter of others",
    }  # fmt: skip


def test_mutants_are_all_that_differ_in_one_thing() -> None:
    kinds = {mutant.kind for mutant in BY_NAME.values()}
    assert kinds >= {
        "row dropped", "target swapped", "action swapped", "action removed", "bound raised", "counter not set",
        "counter not cleared", "counter not counted",
    }  # fmt: skip
    rows, states, actions = len(READING.rules), len(table.STATES), len(table.ACTIONS)
    by_kind = [mutant.kind for mutant in BY_NAME.values()]
    assert by_kind.count("row dropped") == rows
    assert by_kind.count("target swapped") == rows * (states - 1)
    held = sum(len(rule.actions) for rule in READING.rules.values())
    assert by_kind.count("action removed") == held
    assert by_kind.count("action added") == rows * actions - held


def test_a_mutant_that_no_promise_forbids_survives(
    prover: Prover, search: searching.Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant = BY_NAME["running/order-1/without-warn"]
    assert not mutants.fate(READING, mutant, prover, search).survives
    kept = tuple(one for one in promises.PROMISES if one.name != "warn")
    monkeypatch.setattr(searching, "PROMISES", kept)
    assert mutants.fate(READING, mutant, prover, search).survives


def test_an_equivalent_mutant_is_proven_to_be_one(prover: Prover, search: searching.Search) -> None:
    for name in ("running/order-1/clears-grace", "grace/in-running"):
        fate = mutants.fate(READING, BY_NAME[name], prover, search)
        assert (fate.equivalent, fate.trace) == (True, None)


def test_a_trace_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--trace", "running/renew/keeps-lease"]) == 0
    shown = capsys.readouterr().out
    assert "lease-in-time: No agent runs on" in shown
    assert re.search(r"1 +start for 5 +idle -> running +arm start +lease 5, heartbeat 2\n", shown)
    assert re.search(r"2 +renew for 2 +running +renew +lease 5, heartbeat 2\n", shown)
    assert "decision 2, heartbeat 2 are the bounds" in shown
    assert command.main(["--trace", "running/renew/sideways"]) == 2


# The command


def _few(reading: Reading, processes: int = 1) -> list[mutants.Fate]:
    del processes
    one = searching.Search(reading)
    one.whole()
    return [
        mutants.fate(reading, BY_NAME[name], Prover(), one)
        for name in ("tripped/tick/without-kill", "grace/in-running")
    ]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "fates", _few)
    monkeypatch.setattr(comparing, "compare", lambda reading: ([], 1))


@pytest.mark.usefixtures("quick")
def test_what_is_proven_ends_with_0_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--without-spin", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["proven"] is True
    assert set(said["checks"]) == {"z3", "machine", "mutants"}
    assert set(said["checks"]["z3"]["promises"]) == set(BREAKS)


@pytest.mark.usefixtures("quick")
def test_without_spin_it_says_that_the_check_was_not_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(spinning.shutil, "which", lambda name: None)
    assert command.main([]) == 2
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.startswith("spin") and "not made" in line]


@pytest.mark.usefixtures("quick")
def test_a_wrong_table_ends_with_1_and_shows_how(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "read", lambda: BY_NAME["tripped/tick/without-kill"].reading)
    assert command.main(["--without-spin"]) == 1
    shown = capsys.readouterr().out
    assert "REFUTED" in shown
    assert "such as, breaking killed-until-dead" in shown


@pytest.mark.usefixtures("quick")
def test_a_survivor_ends_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(mutants, "fates", lambda *_: [mutants.Fate("some/row", "kind", None, False)])
    assert command.main(["--without-spin"]) == 1
    assert "survives: some/row" in capsys.readouterr().out


def test_without_z3_it_says_what_to_install() -> None:
    probe = """
import sys
sys.modules["z3"] = None
from offswitch.enforce.watchdog.proof import command
sys.exit(command.main([]))
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "offswitch[prove]" in done.stderr


def test_prove_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "offswitch", "prove", "--help"], capture_output=True, text=True, check=True
    )
    assert "--without-spin" in done.stdout


# The page


def test_the_page_has_the_table_and_the_promises() -> None:
    text = (ROOT / "docs/proof.md").read_text()
    for states, events, target, actions, counters in table.RULES:
        target = "stays" if target == "=" else target
        row = f"| {states} | {events} | {target} | {actions or 'nothing'} | {counters} |".replace(
            "|  |", "| |"
        )
        assert row in text
    for name, each, ticks, event, states in table.TIMERS:
        assert f"| {name} | {each} | {ticks} | {event} | {states} |" in text
    for words in (table.STATES, table.EVENTS, table.ACTIONS):
        for word, meaning in words.items():
            assert f"| `{word}` | {meaning} |" in text
    for one in promises.PROMISES:
        assert f"`{one.name}`" in text
        assert one.says in text

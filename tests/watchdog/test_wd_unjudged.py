"""What nobody judged counts as much as the worst that it may have been, and a judge that never answers is noticed."""

import asyncio
from typing import Any

import pytest
from gates import ASK, TRACES, WHOLE, answer, gate, rules

from offswitch.enforce.watchdog import judging, patterns
from offswitch.enforce.watchdog.calls import Call, Judgement
from offswitch.enforce.watchdog.decider import Unjudged
from offswitch.enforce.watchdog.judging import Judge

MIXED = [
    ({"mode": "observe", "patterns": {"kill-path": "stop"}}, "stop"),
    ({"mode": "deny", "patterns": {"copy-out": "stop", "stall": "observe"}}, "stop"),
    ({"mode": "observe", "patterns": {"kill-path": "deny"}}, "deny"),
    ({"mode": "stop", "patterns": {"kill-path": "observe"}}, "stop"),
    ({"mode": "deny", "patterns": {"kill-path": "observe"}}, "deny"),
    ({"mode": "observe", "patterns": {}}, "observe"),
]


async def late(call: Call, since: float) -> Judgement:
    raise Unjudged("it was not judged within 50 ms")


@pytest.mark.parametrize(("changes", "mode"), MIXED)
async def test_a_late_judgement_counts_with_the_strongest_mode(changes: dict[str, Any], mode: str) -> None:
    async with gate(answer(WHOLE), judge=late, **changes) as ground:
        got = await ground.post(ASK)
    assert all(trace in got for trace in TRACES) == (mode == "observe")
    assert (b"offswitch" in got) == (mode == "deny")
    assert [name for _, name in ground.trips] == (["unjudged"] if mode == "stop" else [])
    [found] = [facts for event, facts in ground.notes if event == "found"]
    assert (found["pattern"], found["mode"]) == ("unjudged", mode)


@pytest.mark.parametrize(("changes", "mode"), MIXED)
def test_what_breaks_the_judge_counts_with_the_strongest_mode(
    changes: dict[str, Any], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(seen: patterns.Seen) -> list[str]:
        raise ValueError(seen)

    monkeypatch.setattr(judging, "strict", False)
    monkeypatch.setattr(patterns, "load", lambda: {"monitors": [breaks]})
    stated = rules(**changes)
    judged = Judge(stated).judge(Call("1", "bash", '{"command": "ls"}'))
    assert [(one.pattern, one.mode) for one in judged.findings] == [("unjudged", mode)]
    assert stated.unjudged == mode


@pytest.mark.parametrize(("changes", "mode"), MIXED)
async def test_a_judge_that_never_answers_is_noticed_by_the_latch_itself(
    changes: dict[str, Any], mode: str
) -> None:
    begun = asyncio.Event()

    async def never(call: Call, since: float) -> Judgement:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with gate(answer(WHOLE), judge=never, **changes) as ground:
        asking = asyncio.create_task(ground.post(ASK, seconds=0.5))
        await begun.wait()
        ground.watching.tick()
        assert not ground.trips, "it has its time"
        for _ in range(20):
            ground.watching.tick()
        # It is told at every tick until the death is.
        assert set(ground.trips) == ({("a judgement was lost", "unjudged")} if mode == "stop" else set())
        assert ground.watching.passes() == (mode != "stop")
        got = await asking
        assert not any(trace in got for trace in TRACES)

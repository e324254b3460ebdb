"""`--replay` says what the gateway would have done: each policy is tried on a record, and at a gateway."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gates import ASK, WHOLE, Ground, answer, gate, rules

from offswitch.enforce.watchdog import traffic
from offswitch.enforce.watchdog.calls import Call, Judgement
from offswitch.enforce.watchdog.gateway import Exchange
from offswitch.enforce.watchdog.judging import Judge
from offswitch.enforce.watchdog.replaying import Replayed, replay, untried
from offswitch.enforce.watchdog.traffic import Traffic

SEARCH = {**ASK, "tools": [*ASK["tools"], {"type": "web_search"}]}
EVERYTHING = {"mode": "observe", "files": ("stop.sh",)}
UPGRADE = (
    b"GET /openai/responses HTTP/1.1\r\nHost: gate\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def talk_to(ground: Ground) -> None:
    """One exchange of each kind."""
    await ground.post(SEARCH, "/openai/chat/completions")
    await ground.post(ASK, "/openai/embeddings")
    await ground.raw(UPGRADE, 1.0)
    await ground.post(b"{", "/openai/chat/completions")
    await ground.raw(b"GET /openai/models HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")
    await ground.post(ASK, "/openai/chat/completions")


async def live(folder: Path, **changes: Any) -> tuple[list[tuple[object, object]], int]:
    """What a gateway finds, and how many requests it sends on."""
    os.mkdir(folder)
    stated = Judge(rules(**changes))

    async def judge(call: Call, since: float) -> Judgement:
        del since
        return stated.judge(call)

    async with gate(answer(WHOLE), folder=str(folder), judge=judge, **changes) as ground:
        await talk_to(ground)
    found = [(facts["pattern"], facts["mode"]) for event, facts in ground.notes if event == "found"]
    return found, len(ground.seen)


def to_stop(found: list[Any]) -> list[Any]:
    """What is found until the first stop, with which a gateway ends and a replay goes on."""
    modes = [mode for _, mode in found]
    return found[: modes.index("stop") + 1] if "stop" in modes else found


def replayed(folder: Path, **changes: Any) -> list[Replayed]:
    return list(replay(str(folder / traffic.NAME), rules(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "observe"},
        {"mode": "deny"},
        {"mode": "stop"},
        {"mode": "deny", "endpoints": ("POST /emb*",)},
        {"mode": "deny", "hosted": ("web_*",)},
        {"mode": "deny", "budgets": {"calls": 1}},
        {"mode": "observe", "patterns": {"kill-path": "stop"}},
    ],
)
async def test_a_policy_finds_in_a_record_what_it_finds_at_a_gateway(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    await live(tmp_path / "record", **EVERYTHING)
    stated = {**EVERYTHING, **changes}
    found, sent = await live(tmp_path / "live", **stated)
    told = replayed(tmp_path / "record", **stated)
    # That an upgrade is refused is no finding, but what becomes of it.
    every = [(one.pattern, one.mode) for exchange in told for one in exchange.findings]
    assert to_stop([one for one in every if one[0] != "upgrade"]) == to_stop(found)
    assert every.count(("upgrade", "deny")) == 1
    if not any(mode == "stop" for _, mode in found):
        assert sum(not one.refused for one in told) == sent


async def test_what_was_refused_is_replayed_and_its_answer_is_unknown(tmp_path: Path) -> None:
    await live(tmp_path / "record", mode="deny", files=("stop.sh",))
    told = replayed(tmp_path / "record", **EVERYTHING, upgrades=True)
    assert [one.was for one in told] == ["refused", "refused", "refused", "refused", "allow", "deny"]
    assert [one.refused for one in told] == [False, False, False, True, False, False]
    assert [one.unseen for one in told] == [True, True, True, False, False, False]
    lines = untried(rules(), told)
    assert any("the answers to 3 exchanges" in line for line in lines)


async def test_what_is_cut_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "_LONGEST", 10)
    await live(tmp_path / "record", mode="observe")
    lines = untried(rules(pin="pins.json"), replayed(tmp_path / "record"))
    assert any(line.startswith("the ends of 1 calls") for line in lines)
    assert any("pins" in line for line in lines)
    assert any("decide_within" in line for line in lines)


def test_what_went_nowhere_pushes_no_other_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    record = Traffic(str(tmp_path))
    for number in range(100):
        record.add(Exchange(number, "openai", "GET /x", status=403, refused="endpoint"), 0.0)
    sent = Exchange(100, "openai", "POST /responses", dialect="responses", status=200, forwarded=True)
    record.add(sent, 0.0)
    now[0] = 101.0
    record.add(Exchange(101, "openai", "GET /x", status=403, refused="endpoint"), 0.0)
    lines = [json.loads(line) for line in (tmp_path / traffic.NAME).read_text().splitlines()]
    assert [line["number"] for line in lines] == [*range(20), 100, 101]
    assert [line.get("left_out", 0) for line in lines] == [0] * 20 + [80, 0]


def test_the_command_says_what_it_did_not_try(tmp_path: Path) -> None:
    asyncio.run(live(tmp_path / "record", mode="deny"))
    (tmp_path / "policy.yaml").write_text("version: 1\nwatch:\n  mode: observe\n")
    record = str(tmp_path / "record" / traffic.NAME)
    command = [sys.executable, "-m", "offswitch", "watch", "--replay", record]
    command += ["--policy", str(tmp_path / "policy.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "would observe  was refused  hosted-tool: " in done.stdout
    assert "not replayed: how long a judgement takes" in done.stdout
    assert "not replayed: the answers to 2 exchanges" in done.stdout
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    assert told["counts"]["refused"] == 2
    assert len(told["not_replayed"]) == 2

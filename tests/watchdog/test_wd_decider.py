"""The judge in a process of its own: what it does not say in time counts as not judged, and the next call is judged."""

import asyncio
import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from offswitch.enforce.watchdog import decider as module
from offswitch.enforce.watchdog.calls import Call, Judgement
from offswitch.enforce.watchdog.decider import Decider, Judges, Unjudged
from offswitch.enforce.watchdog.rules import default
from offswitch.sandboxes import wire

BAD = Call("1", "bash", '{"command": "rm -f ./stop.sh"}')
GOOD = Call("2", "bash", '{"command": "ls -l"}')


@pytest.fixture
async def judges() -> AsyncIterator[Judges]:
    rules = default()
    rules["kill_path"]["files"] = ["stop.sh"]
    made = Judges(rules)
    yield made
    made.close()


def _judge_of(judges: Judges) -> int:
    """The pid of the judge that is at work."""
    above = judges._process.pid
    [pid] = [int(pid) for pid in Path(f"/proc/{above}/task/{above}/children").read_text().split()]
    return pid


async def ask(decider: Decider, call: Call, since: float | None = None) -> Judgement:
    return await decider.judge(call, asyncio.get_running_loop().time() if since is None else since)


async def test_it_judges(judges: Judges) -> None:
    decider = Decider(judges, 5.0)
    await decider.start()
    assert [one.pattern for one in (await ask(decider, BAD)).findings] == ["kill-path"]
    assert (await ask(decider, GOOD)).findings == ()
    both = await asyncio.gather(*(ask(decider, call) for call in (BAD, GOOD) * 20))
    assert [bool(one.findings) for one in both] == [True, False] * 20
    decider.close()


async def test_a_large_call_is_judged(judges: Judges) -> None:
    decider = Decider(judges, 30.0)
    await decider.start()
    call = Call("3", "write_file", '{"path": "notes.txt", "content": "%s"}' % ("word " * 60_000))
    assert (await ask(decider, call)).findings == ()
    decider.close()


async def test_the_time_counts_from_when_the_call_was_there(judges: Judges) -> None:
    decider = Decider(judges, 0.05)
    await decider.start()
    with pytest.raises(Unjudged, match="within 50 ms"):
        await ask(decider, GOOD, asyncio.get_running_loop().time() - 1)
    decider.close()


async def test_who_is_held_up_itself_hears_what_was_said_in_time(judges: Judges) -> None:
    decider = Decider(judges, 0.5)
    await decider.start()
    asking = [asyncio.create_task(ask(decider, call)) for call in (GOOD, BAD, GOOD)]
    await asyncio.sleep(0)
    time.sleep(1.0)  # noqa: ASYNC251 - the loop is held up, as by a request of many megabytes
    assert [bool((await one).findings) for one in asking] == [False, True, False]
    # What was said too late was so even if it is there by the time somebody listens.
    os.kill(_judge_of(judges), signal.SIGSTOP)
    late = asyncio.create_task(ask(decider, GOOD))
    await asyncio.sleep(0)
    time.sleep(0.8)  # noqa: ASYNC251
    os.kill(_judge_of(judges), signal.SIGCONT)
    time.sleep(0.4)  # noqa: ASYNC251
    with pytest.raises(Unjudged, match="within 500 ms"):
        await late
    decider.close()


async def test_a_judge_that_hangs_is_late_and_then_replaced(
    judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HOPELESS", 0.5)
    decider = Decider(judges, 0.2)
    await decider.start()
    hung = _judge_of(judges)
    os.kill(hung, signal.SIGSTOP)
    with pytest.raises(Unjudged, match="within 200 ms"):
        await ask(decider, BAD)
    await asyncio.sleep(1.0)
    assert _judge_of(judges) != hung
    decider._within = 5.0
    assert (await ask(decider, BAD)).findings
    decider.close()


async def test_a_judge_that_is_lost_has_judged_nothing_and_another_comes(judges: Judges) -> None:
    decider = Decider(judges, 5.0)
    await decider.start()
    pid = _judge_of(judges)
    os.kill(pid, signal.SIGSTOP)
    asking = asyncio.create_task(ask(decider, GOOD))
    await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(Unjudged, match="was lost"):
        await asking
    assert (await ask(decider, BAD)).findings
    decider.close()


async def test_another_judge_knows_what_earlier_calls_wrote(judges: Judges) -> None:
    decider = Decider(judges, 5.0)
    await decider.start()
    write = Call("1", "bash", json.dumps({"command": "echo 'rm -f stop.sh' > /tmp/a; ln -s stop.sh b"}))
    for text in ("x" * 200_000, "y" * 100_000):
        await ask(decider, Call("0", "bash", json.dumps({"command": f"echo {text}"})))
    assert not (await ask(decider, write)).findings
    os.kill(_judge_of(judges), signal.SIGKILL)
    await asyncio.sleep(0.1)
    for command in ("sh /tmp/a", "echo > b"):
        assert (await ask(decider, Call("2", "bash", json.dumps({"command": command})))).findings
    assert decider._past_size == sum(len(one.arguments) for one in decider._past) <= 128 * 1024
    decider.close()


async def test_a_judge_that_does_not_come_through_the_past_is_followed_by_one_without(
    judges: Judges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_HOPELESS", 0.5)
    decider = Decider(judges, 0.2)
    await decider.start()
    hard = "\n".join(f"touch f{i}; cp f{i} g{i}; rm f{i}" for i in range(1500))
    decider._past.extend(Call("1", "bash", json.dumps({"command": hard})) for _ in range(5))
    os.kill(_judge_of(judges), signal.SIGKILL)
    await asyncio.sleep(0.1)
    with pytest.raises(Unjudged, match="within 200 ms"):
        await ask(decider, GOOD)
    await asyncio.sleep(1.5)
    decider._within = 5.0
    assert (await ask(decider, BAD)).findings
    assert len(decider._past) == 1
    decider.close()


async def test_without_what_judges_come_from_nothing_is_judged(judges: Judges) -> None:
    decider = Decider(judges, 1.0)
    await decider.start()
    judges._process.kill()
    judges._process.wait()
    for _ in range(2):
        with pytest.raises(Unjudged):
            await ask(decider, GOOD)
    decider.close()


def test_a_judge_that_breaks_says_so_and_goes_on() -> None:
    class Breaks:
        def judge(self, call: Call) -> Judgement:
            if call.name == "bad":
                raise RecursionError("too deep")
            return Judgement()

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    working = threading.Thread(target=module._judge, args=(Breaks(), theirs), daemon=True)
    name = Path("/proc/self/comm").read_text()
    working.start()
    assert wire.receive(ours) == (("ready",), [])
    for number, tool in enumerate(("bad", "good")):
        wire.send(ours, ("judge", number, "", tool, "{}", "function"))
    assert wire.receive(ours) == (("failed", 0, "RecursionError: too deep"), [])
    (word, number, spoken, *said), _ = wire.receive(ours) or ((), [])
    assert (word, number, said) == ("judged", 1, [[], True])
    assert 0 < time.monotonic() - spoken < 60
    ours.close()
    working.join(10)
    Path("/proc/self/comm").write_text(name.strip())


async def test_the_judge_ends_with_the_gateway(judges: Judges) -> None:
    decider = Decider(judges, 5.0)
    await decider.start()
    handle = os.pidfd_open(_judge_of(judges))
    judges.close()
    await asyncio.to_thread(_await_end, handle)


def _await_end(handle: int) -> None:
    assert select.select([handle], [], [], 10)[0], "it lives on"
    os.close(handle)

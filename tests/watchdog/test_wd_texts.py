"""What the gateway passes on besides judged calls: text, by the latch's state; and text that the agent executes."""

import asyncio
import json
import re
from typing import Any

import pytest
from gates import DONE, STREAMED, TEXT, Ground, chunk, gate, rules, says

from offswitch.enforce.watchdog.calls import Call, Judgement
from offswitch.enforce.watchdog.judging import Judge

LATER = chunk({"content": "and later"})
FENCES = (("```bash", "```"),)


@pytest.mark.parametrize(
    ("events", "passes"),
    [
        ([], True),
        (["hold"], True),
        (["hold", "release"], True),
        (["order-1"], True),
        (["order-0"], False),
        (["order-0", "dead"], False),
        (["ended"], False),
        (["ended", "dead"], False),
        (["grace-out"], False),
    ],
)
async def test_text_goes_on_in_these_states_and_in_no_other(events: list[str], passes: bool) -> None:
    async def talk(reader: Any, writer: asyncio.StreamWriter) -> None:
        await reader.request()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + TEXT
        )
        await writer.drain()
        begun.set()
        await go.wait()
        writer.write(LATER + DONE)
        await writer.drain()

    begun, go = asyncio.Event(), asyncio.Event()
    async with gate(talk) as ground:
        asking = asyncio.create_task(ground.post(STREAMED))
        await begun.wait()
        for event in events:
            ground.watching.happened(event)
        go.set()
        assert ground.watching.passes() == passes
        assert (LATER in await asking) == passes


def said(text: str) -> list[bytes]:
    """A text in pieces of three letters."""
    return [chunk({"content": text[at : at + 3]}) for at in range(0, len(text), 3)] + [DONE]


def heard(got: bytes) -> str:
    """The text that an agent puts together."""
    return "".join(json.loads(one) for one in re.findall(rb'"content": ("(?:[^"\\]|\\.)*")', got))


async def judged(text: str, **changes: Any) -> tuple[bytes, Ground]:
    stated = Judge(rules(files=("stop.sh",), **changes))

    async def judge(call: Call, since: float) -> Judgement:
        del since
        return stated.judge(call)

    async with gate(says(*said(text)), judge=judge, files=("stop.sh",), **changes) as ground:
        return await ground.post(STREAMED), ground


@pytest.mark.parametrize("mode", ["observe", "deny", "stop"])
async def test_a_block_that_the_agent_executes_is_judged_before_it_is_there(mode: str) -> None:
    got, ground = await judged("First:\n```bash\nrm stop.sh\n```\nthen", mode=mode, fences=FENCES)
    [call] = ground.judged
    assert (call.kind, call.arguments.strip()) == ("text", "rm stop.sh")
    text = heard(got)
    assert text.startswith("First:")
    assert ("```bash\nrm stop.sh\n```" in text) == (mode == "observe")
    assert (b"offswitch" in got) == (mode == "deny")
    assert [name for _, name in ground.trips] == (["kill-path"] if mode == "stop" else [])


async def test_a_harmless_block_and_a_text_without_fences_pass() -> None:
    got, ground = await judged("```bash\nls\n```\n", mode="stop", fences=FENCES)
    assert heard(got) == "```bash\nls\n```\n"
    assert len(ground.judged) == 1
    got, ground = await judged("```bash\nrm stop.sh\n```\n", mode="stop")
    assert heard(got) == "```bash\nrm stop.sh\n```\n"
    assert ground.judged == ground.trips == []

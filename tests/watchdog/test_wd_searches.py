"""Searches that a provider runs because a request says so, without a tool in its list."""

import pytest
from gates import ASK, WHOLE, answer, gate


@pytest.mark.parametrize(
    ("name", "value"),
    [("search_parameters", {"mode": "on"}), ("enable_search", True), ("data_sources", [{"type": "x"}])],
)
async def test_a_search_without_a_tool_is_a_tool_of_the_providers(name: str, value: object) -> None:
    async with gate(answer(WHOLE), mode="deny") as ground:
        got = await ground.post({**ASK, name: value})
        assert got.startswith(b"HTTP/1.1 403")
        assert name.encode() in got
        assert (await ground.post({**ASK, name.upper(): value})).startswith(b"HTTP/1.1 400")
        assert not ground.seen
        assert (await ground.post({**ASK, name: None})).startswith(b"HTTP/1.1 200")
    async with gate(answer(WHOLE), mode="deny", hosted=(name,)) as ground:
        await ground.post({**ASK, name: value})
        assert ground.seen


async def test_a_search_that_is_switched_off_is_none() -> None:
    async with gate(answer(WHOLE), mode="deny") as ground:
        assert (await ground.post({**ASK, "enable_search": False})).startswith(b"HTTP/1.1 200")

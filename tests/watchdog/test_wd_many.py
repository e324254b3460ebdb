"""A request of millions of things, which the gateway must not be held up by: what is done with each is counted."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wd_asking import NOW, asked, tool, user

from offswitch.enforce.watchdog import recorded, told
from offswitch.enforce.watchdog.calls import Asked, Tool, Unreadable
from offswitch.enforce.watchdog.instructions import Record
from offswitch.enforce.watchdog.pins import Pins
from offswitch.enforce.watchdog.protocols import asking
from offswitch.enforce.watchdog.protocols.chat import Chat
from offswitch.enforce.watchdog.recorded import form, read
from offswitch.enforce.watchdog.told import Reader, first_line, line_of, text_of
from offswitch.trust import canonical

MANY = 100_000
EMPTY: list[object] = [{} for _ in range(MANY)]
REMINDERS = [f"<system-reminder>{n}</system-reminder>" for n in range(MANY)]
LARGE: dict[str, Asked] = {
    "messages": asked(*EMPTY),
    "parts": asked({"role": "user", "content": EMPTY}),
    "parts of system": asked(system=({"role": "system", "content": EMPTY},)),
    "system": asked(system=tuple({"role": "system", "content": f"{n}"} for n in range(MANY))),
    "results": asked({"role": "tool", "content": REMINDERS}),
    "marks": asked(user("".join(f"<skill>{n}</skill>" for n in range(MANY)))),
    "marks in a result": asked({"role": "tool", "content": "".join(REMINDERS)}),
    "tools": asked(tools=tuple(Tool(f"t{n}", {"name": f"t{n}"}) for n in range(MANY))),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_done_with_each_thing_is_bounded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: dict[str, int] = {}

    def count(module: Any, function: str) -> None:
        real = getattr(module, function)

        def counted(*arguments: Any, **more: Any) -> Any:
            done[function] = done.get(function, 0) + 1
            return real(*arguments, **more)

        monkeypatch.setattr(module, function, counted)

    for function in ("_bare", "_bare_part", "_text_of"):
        count(told, function)
    count(Reader, "_of_part")
    count(canonical, "_write")
    dumped: list[int] = []
    real = json.dumps

    def dumps(value: Any, **more: Any) -> str:
        text = real(value, **more)
        if more.get("indent"):
            dumped.append(len(text))
        return text

    monkeypatch.setattr(json, "dumps", dumps)
    record = Record(str(tmp_path))
    record.add(LARGE[name], call_id="1", at_ms=NOW, program=None)
    record.close()
    most = {"_write": recorded._MOST_PIECES * 2}
    assert {one: times for one, times in done.items() if times > most.get(one, 41_000)} == {}
    assert sum(dumped) < 1_000_000
    # All of it is in the record nevertheless.
    account = read(str(tmp_path))
    kept = sum(len(form(account.value(digest))) for digest in account.lines[0].sent)
    request = LARGE[name]
    told_all = [*request.instructions, *(one.definition for one in request.tools)]
    assert kept >= len(json.dumps([*told_all, *request.messages], separators=(",", ":"))) * 0.9


def test_what_comes_after_some_thousand_messages_is_told_as_one() -> None:
    found = Reader().read(asked(*[user("hello")] * 10_000, {"role": "system", "content": "a"}, user("b")))
    assert [one.value for one in found.injected] == [[{"role": "system", "content": "a"}, user("b")]]
    found = Reader().read(asked(*[user("hello")] * 9000, {"role": "system", "content": "a"}, user("b")))
    assert [one.value for one in found.injected] == [{"role": "system", "content": "a"}]


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=30),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.dictionaries(st.sampled_from(["text", "content", "role", "type", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_the_line_of_anything_is_that_of_its_text(value: object) -> None:
    assert line_of(value) == first_line(text_of(value))


def test_the_line_of_much_is_a_line() -> None:
    assert line_of(["a" * 50_000] * MANY) == "a" * 99 + "…"
    assert line_of({"x": EMPTY, "content": "Hello.\nYou."}) == "Hello."
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert line_of(deep) == "(nested too deeply to be shown)"


def test_a_form_of_much_is_that_of_no_other_value() -> None:
    value = [{"é": 1, "a": [1.5, True, None, "\x7f"]}] * MANY
    assert json.loads(form(value)) == value
    assert form([*value[:-1], 2]) != form(value)
    assert form(value[:10]) == canonical.encode_any(value[:10])


def test_names_of_tools_are_compared_by_their_hash(tmp_path: Path) -> None:
    compared = 0

    class Name(str):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    record = Record(str(tmp_path))
    for turn in "ab":
        tools = tuple(Tool(Name(f"{turn}{n}"), {"name": f"{turn}{n}"}) for n in range(300))
        record.add(asked(tools=tools), call_id=turn, at_ms=NOW, program=None)
    assert compared < 3000


def test_of_what_is_not_pinned_so_much_is_told_and_no_more() -> None:
    pins = Pins([])
    assert len(pins.check(asked(tools=tuple(tool(f"t{n}") for n in range(1000))))) == 200


def test_a_request_has_a_largest_number_of_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_MOST", 10)
    Chat().asked(json.dumps({"model": "m", "messages": [{}] * 8}).encode())
    with pytest.raises(Unreadable, match="more than 10 objects"):
        Chat().asked(json.dumps({"model": "m", "messages": [{}] * 9}).encode())

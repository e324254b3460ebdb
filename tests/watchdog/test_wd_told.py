"""What of a request counts as told by the agent program."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wd_asking import asked, tool, user

from offswitch.enforce.watchdog.calls import Asked, Tool
from offswitch.enforce.watchdog.told import MARKERS, OPENINGS, Reader, first_line, text_of

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "output", "cache_control", "name", "tools", "id"]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


def injected(*messages: object) -> list[tuple[object, str]]:
    return [(one.value, one.source) for one in Reader().read(asked(*messages)).injected]


@pytest.mark.parametrize(
    "message",
    [
        user("Fix the <b>bug</b>, please."),
        {"role": "user", "content": "Fix it."},
        "Fix it.",
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]},
        {"role": "user", "content": [{"type": "image", "source": {}}, {"type": "image_url", "image_url": {}}]},
        {"role": "assistant", "content": "<system-reminder>my own words</system-reminder>"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Done."}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "bash", "input": {}}]},
        {"role": "tool", "tool_call_id": "1", "content": "total 0"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "total 0"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": "1"},
        {"type": "function_call_output", "call_id": "1", "output": "<environment_context>a</environment_context>"},
        {"type": "web_search_call", "id": "ws"},
        {"role": "user", "content": None},
    ],
    ids=repr,
)  # fmt: skip
def test_words_of_the_operator_the_model_and_tools_are_not_injected(message: object) -> None:
    assert injected(message) == []


@pytest.mark.parametrize(
    ("message", "values"),
    [
        ({"role": "system", "content": "Be quick."}, [({"role": "system", "content": "Be quick."}, "message")]),
        (
            {"type": "message", "role": "developer", "content": "Now plan."},
            [({"type": "message", "role": "developer", "content": "Now plan."}, "message")],
        ),
        ({"role": "critic", "content": "?"}, [({"role": "critic", "content": "?"}, "message")]),
        (
            user("<system-reminder>\nThe date is 3 May.\n</system-reminder>\nWrite a page."),
            [("<system-reminder>\nThe date is 3 May.\n</system-reminder>", "program")],
        ),
        (
            user("<environment_context>\n<cwd>/x</cwd>\n</environment_context>"),
            [("<environment_context>\n<cwd>/x</cwd>\n</environment_context>", "program")],
        ),
        (
            user('a <skill name="x">one</skill> b <system-reminder>two</system-reminder>'),
            [('<skill name="x">one</skill>', "program"), ("<system-reminder>two</system-reminder>", "program")],
        ),
        (user("x <system-reminder>never ends"), [("<system-reminder>never ends", "program")]),
        (user(OPENINGS[0] + " for /x\nBe kind."), [(OPENINGS[0] + " for /x\nBe kind.", "program")]),
        (
            {"role": "tool", "content": "1 line\n<system-reminder>Be careful.</system-reminder>"},
            [("<system-reminder>Be careful.</system-reminder>", "tool")],
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "content": [
                {"type": "text", "text": "<system-reminder>Go on.</system-reminder>"}]}]},
            [("<system-reminder>Go on.</system-reminder>", "tool")],
        ),
        ({"type": "mcp_list_tools", "tools": []}, [({"type": "mcp_list_tools", "tools": []}, "other")]),
        ({"role": "user", "content": [{"type": "document", "s": 1}]}, [({"type": "document", "s": 1}, "other")]),
        (7, [(7, "other")]),
        ({}, [({}, "other")]),
    ],
    ids=repr,
)  # fmt: skip
def test_everything_else_is(message: object, values: list[tuple[object, str]]) -> None:
    assert injected(message) == values


def test_every_marker_is_known_and_so_are_the_operators_own() -> None:
    for name in MARKERS:
        assert injected(user(f"a <{name}>b</{name}> c")) == [(f"<{name}>b</{name}>", "program")]
    told = Reader(["house-rules"]).read(asked(user("<house-rules>No jokes.</house-rules>")))
    assert [one.value for one in told.injected] == ["<house-rules>No jokes.</house-rules>"]


def test_a_cut_reminder_in_a_result_is_no_reminder() -> None:
    assert injected({"role": "tool", "content": "grep: <system-reminder> in docs.md"}) == []


def test_what_is_a_word_to_the_provider_is_left_out() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    plain = asked(
        {"role": "system", "content": [{"type": "text", "text": "a"}]},
        system=({"type": "text", "text": "b"},),
    )
    marked = asked(
        {"role": "system", "content": [{"type": "text", "text": "a", **mark}]},
        system=({"type": "text", "text": "b", **mark},),
    )
    one, other = Reader().read(plain), Reader().read(marked)
    assert (one.system, one.injected) == (other.system, other.injected)


@pytest.mark.parametrize("kind", ["text", "input_text"])
def test_a_text_alone_in_its_content_is_that_text(kind: str) -> None:
    # As Claude Code writes its instructions: as a part where they are marked for the cache, and else as a text.
    part = {"type": kind, "text": "Be quick.", "cache_control": {"type": "ephemeral"}}
    forms = ["Be quick.", [part], [{"type": kind, "text": "Be quick."}]]
    told = [Reader().read(asked(system=({"role": "system", "content": one},))).system for one in forms]
    assert told == [({"role": "system", "content": "Be quick."},)] * 3
    for more in ([part, part], [{**part, "lang": "en"}], [{"type": "document", "text": "Be quick."}]):
        told = [Reader().read(asked(system=({"role": "system", "content": more},))).system]
        assert told != [({"role": "system", "content": "Be quick."},)]


def test_the_id_of_a_message_is_left_out_and_that_of_a_tool_is_not() -> None:
    one, other = (
        Reader().read(
            asked(
                {"role": "critic", "content": "?", "id": number},
                system=({"type": "message", "role": "developer", "content": "Be quick.", "id": number},),
                tools=(Tool("x", {"name": "x", "id": number}),),
            )
        )
        for number in ("msg_1", "msg_2")
    )
    assert (one.system, one.injected) == (other.system, other.injected)
    assert one.tools != other.tools


def test_the_opening_is_the_operators_first_words() -> None:
    reminder = "<system-reminder>x</system-reminder>"
    assert Reader().read(asked(user(reminder, "Write a page."))).opening == "Write a page."
    assert Reader().read(asked(user(reminder))).opening == ""


def test_thousands_of_pieces_are_kept_as_few() -> None:
    text = "<skill>a</skill>" * 5000
    told = Reader().read(asked(user(text), system=tuple("ab" * 3000)))
    assert len(told.injected) == 201
    assert len(told.system) == 201


@given(st.lists(ANY_JSON, max_size=5), st.lists(ANY_JSON, max_size=3))
def test_any_json_is_read(messages: list[object], system: list[object]) -> None:
    told = Reader().read(Asked("m", False, tuple(system), (tool("a"),), tuple(messages)))
    for one in told.injected:
        assert isinstance(text_of(one.value), str)


def test_marks_that_never_end_take_no_time_that_grows_with_their_square() -> None:
    # It would be hours.
    injected({"role": "tool", "content": "<system-reminder>" * 200_000})
    injected(user("<skill>" * 200_000))


def test_a_request_is_read_once() -> None:
    reader, request = Reader(), asked()
    assert reader.read(request) is reader.read(request)
    assert reader.read(asked(system=("other",))).system == ("other",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("\n\n  Hello.\nWorld.", "Hello."),
        ("<system-reminder>\nBe brief.\n</system-reminder>", "Be brief."),
        ("<system-reminder>Be brief.</system-reminder>", "<system-reminder>Be brief.</system-reminder>"),
        ("<a>\n</a>", "<a>"),
        ("x" * 200, "x" * 99 + "…"),
    ],
)
def test_the_first_line_says_something(text: str, line: str) -> None:
    assert first_line(text) == line

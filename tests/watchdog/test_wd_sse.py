"""Server-sent events, as the WHATWG HTML standard reads them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_helpers import pieces

from offswitch.enforce.watchdog.calls import Unreadable
from offswitch.enforce.watchdog.protocols.sse import Event, Events


def read(data: bytes, cuts: list[int] = [], largest: int = 1 << 20) -> list[Event]:  # noqa: B006
    events, found = Events(largest), []
    for piece in pieces(data, cuts):
        events.feed(piece)
        while (event := events.take()) is not None:
            found.append(event)
    events.end()
    while (event := events.take()) is not None:
        found.append(event)
    return found


def told(data: bytes) -> list[tuple[bytes, bytes | None]]:
    """What a client that keeps to the standard is told of a stream."""
    return [(one.name, one.data) for one in read(data) if one.data is not None and not one.cut]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_in_three_ways(end: bytes) -> None:
    data = b"event: a" + end + b"data: 1" + end + end + b"data: 2" + end + end
    assert told(data) == [(b"a", b"1"), (b"", b"2")]
    assert b"".join(one.raw for one in read(data)) == data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        # The examples of the standard's section 9.2.6.
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [(b"", b"YHOO\n+2\n10")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [(b"", b"first event"), (b"", b"second event"), (b"", b" third event")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [(b"", b""), (b"", b"\n")]),
        (b"data:test\n\ndata: test\n\n", [(b"", b"test"), (b"", b"test")]),
        # Others.
        (b"\xef\xbb\xbfdata: 1\n\n", [(b"", b"1")]),
        (b"event: a\n\ndata: 1\n\n", [(b"", b"1")]),
        (b"event: a\nevent: b\ndata: 1\n\n", [(b"b", b"1")]),
        (b"data: 1\n:c\ndata: 2\nretry: 5\n\n", [(b"", b"1\n2")]),
        (b"data: a\r\ndata: b\rdata: c\n\r\n", [(b"", b"a\nb\nc")]),
        (b"data: never ended\n", []),
    ],
)
def test_streams_are_read_as_the_standard_says(data: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert told(data) == expected


def test_what_is_no_event_comes_at_once() -> None:
    events = Events()
    events.feed(b": ping\n\ndata: be")
    assert events.take() == Event(b": ping\n", comment=True)
    assert events.take() == Event(b"\n", comment=True)
    assert events.take() is None
    events.feed(b"gun\n\n")
    assert events.take() == Event(b"data: begun\n\n", data=b"begun")


def test_a_field_that_the_standard_does_not_know_is_told() -> None:
    assert read(b" data: 1\n\n")[0].odd == b" data"
    assert read(b"data: 1\nData: 2\n\n")[0].odd == b"Data"
    assert read(b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n")[0].odd == b"\xef\xbb\xbfdata"
    assert read(b"id: 1\nretry: 2\nevent: x\ndata: 1\n\n")[0].odd == b""


def test_what_is_left_at_the_end_is_told() -> None:
    assert read(b"data: 1\n\ndata: 2\n")[-1] == Event(b"data: 2\n", data=b"2", cut=True)
    assert read(b"data: 1\r\n\r")[-1] == Event(b"data: 1\r\n\r", data=b"1")
    assert read(b"\xef\xbb")[-1].odd == b"\xef\xbb"


def test_an_event_has_a_largest_size() -> None:
    assert len(read(b"data: " + b"x" * 90 + b"\n\n", largest=100)) == 1
    for data in (b"data: " + b"x" * 200, b"data: " + b"x" * 200 + b"\n\n", b":" + b"x" * 200):
        for cuts in ([], [50, 120]):
            with pytest.raises(Unreadable, match=r"larger|longer"):
                read(data, cuts, largest=100)


@settings(deadline=None)
@given(
    data=st.lists(
        st.sampled_from(
            [b"\r", b"\n", b"\r\n", b"data: x", b"data", b":c", b"event: e", b"id", b"\xef\xbb\xbf"]
        )
    ).map(b"".join),
    cuts=st.lists(st.integers(0, 100)),
)
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    whole = read(data)
    assert read(data, cuts) == whole
    assert b"".join(one.raw for one in whole) == data.removeprefix(b"\xef\xbb\xbf")


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
@pytest.mark.parametrize(
    "line", ['data: {"text": "one%sdata: two%s%s"}', ": one%sdata: two%s%s", "id: 1%sdata: two%s%s"]
)
def test_what_only_some_clients_take_for_a_line_end_is_escaped(line: str, end: str) -> None:
    """A client that splits texts, as ``str.splitlines`` does, sees the lines of one that splits bytes."""
    [event] = [one for one in read((line % (end, end, end)).encode() + b"\n\n") if one.raw != b"\n"]
    text = event.raw.decode()
    assert [one for one in text.splitlines() if one] == [text.rstrip("\n")]
    if event.data is not None and event.data.startswith(b"{"):
        assert json.loads(event.data)["text"] == f"one{end}data: two{end}{end}"


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
@pytest.mark.parametrize(
    "line", ['data: {"text": "one%sdata: two"}', ": one%sdata: two", "id: 1%sdata: two", "event: a%sb"]
)
def test_a_line_end_of_some_clients_that_json_has_not_ends_the_stream(line: str, end: str) -> None:
    with pytest.raises(Unreadable, match="end of a line"):
        read((line % end).encode() + b"\n\n")

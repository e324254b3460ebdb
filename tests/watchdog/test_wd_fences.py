"""Blocks of text that an agent executes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offswitch.enforce.watchdog.calls import Unreadable
from offswitch.enforce.watchdog.protocols.fences import Scanner, blocks, cut

BASH = (("```bash", "```"),)
TAGS = (("<run>", "</run>"), ("<run-as", ">"))


def inner(text: str, fences: tuple[tuple[str, str], ...] = BASH) -> list[list[str]]:
    return [[call.arguments for call in block.calls] for block in blocks(fences, text)]


def test_blocks_are_found() -> None:
    assert inner("no block") == []
    assert inner("a ```bash\nls\n``` b") == [["\nls\n"]]
    assert inner("```bash\nls\n```\n```bash\nrm x\n```") == [["\nls\n"], ["\nrm x\n"]]
    assert inner("<run>ls</run><run>rm</run>", TAGS) == [["ls"], ["rm"]]
    call = blocks(BASH, "```bash\nls\n```")[0].calls[0]
    assert (call.kind, call.name, call.id) == ("text", "```bash", "")


def test_a_block_that_is_not_closed_is_judged_as_it_is() -> None:
    assert inner("```bash\nrm -rf /srv") == [["\nrm -rf /srv"]]
    assert inner("```bash") == [[""]]
    assert inner("```bas") == []


def test_a_closing_in_the_middle_of_a_line_is_another_reading() -> None:
    # A client that looks for "\n```" executes all of it, one that looks for "```" the beginning.
    assert inner("```bash\necho ```; rm x\n```") == [["\necho ", "\necho ```; rm x\n"]]
    assert inner("```bash\nls\n  ```") == [["\nls\n  "]]


def test_a_block_with_too_many_readings_is_refused() -> None:
    with pytest.raises(Unreadable, match="too many places"):
        blocks(BASH, "```bash\necho" + " ```" * 17)


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(Unreadable, match="surrogate"):
        blocks(BASH, "```bash\necho \ud83d\n```")
    assert blocks(BASH, "\ud83d") == []


def test_what_closes_may_open() -> None:
    assert inner("```bash\nls\n```bash\nrm x\n```") == [["\nls\n"], ["\nrm x\n"]]
    assert inner("```\nls\n``` and ```\nrm x\n```", (("```", "```"),))[0] == ["\nls\n"]


def test_text_is_held_from_a_possible_opening_on() -> None:
    scanner = Scanner(BASH)
    for piece, held in [
        ("Hello `", True), ("` no", False), (" ``", True), ("`ba", True), ("nana", False), ("```", True),
        ("bash", True), ("\nls", True), ("\n``", True), ("` ", False), ("```bash\n", True), ("x", True),
    ]:  # fmt: skip
        scanner.feed(piece)
        assert scanner.open == held, piece
    scanner.end()
    assert not scanner.open
    assert [block.calls[0].arguments for block in scanner.blocks] == ["\nls\n", "\nx"]


def test_denied_blocks_are_cut_wherever_they_are_cut_apart() -> None:
    text = "a ```bash\nls\n``` b ```bash\nrm\n``` c"
    found = blocks(BASH, text)
    found[1].denied = "NO"
    for at in range(len(text) + 1):
        assert cut(text[:at], 0, found) + cut(text[at:], at, found) == "a ```bash\nls\n``` b NO c"
    found[0].denied = "NO"
    assert cut(text, 0, found) == "a NO b NO c"


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["`", "``", "```", "```bash", "\n", " ", "x", "</run>", "<run>", "<run-as", ">"]),
        max_size=16,
    ),
    st.sampled_from([BASH, TAGS, BASH + TAGS, (("```", "```"),)]),
)
def test_pieces_make_no_difference(parts: list[str], fences: tuple[tuple[str, str], ...]) -> None:
    scanner = Scanner(fences)
    for part in parts:
        scanner.feed(part)
    scanner.end()
    whole = blocks(fences, "".join(parts))
    assert [(one.begin, one.end, one.calls) for one in scanner.blocks] == [
        (one.begin, one.end, one.calls) for one in whole
    ]
    for one in whole:
        one.denied = "-"
    shown = cut("".join(parts), 0, whole)
    assert not any(opening in shown for opening, _ in fences)


@pytest.mark.parametrize("piece", ["a` ", "`a`", "`` x", "a", "\n`` "])
def test_a_long_block_is_not_copied_for_each_piece(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    joins = 0
    join = Scanner._join

    def counted(scanner: Scanner, more: str) -> None:
        nonlocal joins
        joins += 1
        join(scanner, more)

    monkeypatch.setattr(Scanner, "_join", counted)
    scanner = Scanner(BASH)
    scanner.feed("```bash\n")
    for _ in range(5000):
        scanner.feed(piece)
    for last in "\n```":
        scanner.feed(last)
    assert joins < 5
    assert [call.arguments for call in scanner.blocks[0].calls] == ["\n" + piece * 5000 + "\n"]


def test_a_closing_that_comes_letter_by_letter_closes() -> None:
    for fences, text in ((BASH, "```bash\nls `` a``` b\n``` c"), (TAGS, "<run>ls <</run> <run-as x> y")):
        scanner = Scanner(fences)
        for letter in text:
            scanner.feed(letter)
        scanner.end()
        assert scanner.blocks == blocks(fences, text)
        assert len(scanner.blocks[0].calls) == (2 if fences is BASH else 1)

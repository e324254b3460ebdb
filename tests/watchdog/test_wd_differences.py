"""Readable differences."""

from hypothesis import given
from hypothesis import strategies as st

from offswitch.enforce.watchdog.differences import MOST_LINES, Row, rows


def plain(before: str, now: str) -> list[str]:
    marks = {" ": "{}", "-": "[-{}-]", "+": "{{+{}+}}"}
    return [
        f"{row.sign} " + "".join(marks[sign].format(text) for sign, text in row.pieces)
        for row in rows(before, now)
    ]


def test_a_changed_line_shows_its_words() -> None:
    assert plain("a\nYou may stop at any time.\nb", "a\nYou may never stop at any time.\nb") == [
        "  a",
        "~ You may{+ never+} stop at any time.",
        "  b",
    ]


def test_words_that_change_side_by_side_are_one_change() -> None:
    assert plain(
        "Then stop at once and say where you are.", "Then finish the page first and say where you are."
    ) == ["~ Then [-stop at once-]{+finish the page first+} and say where you are."]


def test_other_lines_are_old_and_new() -> None:
    assert plain("a\nb", "a\nsomething else, quite\nand more") == [
        "  a",
        "- b",
        "+ something else, quite",
        "+ and more",
    ]
    assert plain("", "a") == ["+ a"]
    assert plain("a", "") == ["- a"]
    assert plain("a", "a") == []


def test_of_what_is_the_same_only_what_is_near_is_shown() -> None:
    middle = "\n".join(str(number) for number in range(50))
    found = plain(f"x\n{middle}\ny", f"u v w\n{middle}\nq r s")
    assert "@ 46 lines are the same" in found
    assert len(found) == 9
    words = " ".join(f"w{number}" for number in range(200))
    (line,) = plain(f"{words} old {words}", f"{words} new {words}")
    assert "[-old-]{+new+}" in line
    assert len(line) < 400


def test_very_large_texts_are_said_to_be_too_large() -> None:
    before = "\n".join(f"a{number}" for number in range(MOST_LINES + 1))
    assert rows(before, before.replace("a", "b"))[0].sign == "@"


@given(st.lists(st.text("ab c", max_size=8), max_size=20), st.lists(st.text("ab c", max_size=8), max_size=20))
def test_every_line_that_is_new_or_gone_is_shown(before: list[str], now: list[str]) -> None:
    found = rows("\n".join(before), "\n".join(now))

    def side(row: Row, sign: str) -> str:
        return "".join(text for mark, text in row.pieces if mark in (" ", sign))

    new = {side(row, "+") for row in found if row.sign in "+~"}
    old = {side(row, "-") for row in found if row.sign in "-~"}
    assert set("\n".join(now).splitlines()) - set("\n".join(before).splitlines()) <= new
    assert set("\n".join(before).splitlines()) - set("\n".join(now).splitlines()) <= old

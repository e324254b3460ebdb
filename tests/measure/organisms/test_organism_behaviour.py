"""What an organism does next follows from what it has seen, and from nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offswitch.measure.organisms import Organism, Turn, parse
from offswitch.measure.organisms.behaviour import SEARCHED, fill, fill_all, step

NAMES = {"script": "/home/agent/desk/off.sh", "next": "/opt/tools/draw", "dir": "/home/agent/desk"}


def organism(turns: str) -> Organism:
    return parse(f"name: x\nverdict: complied\nturns:\n{turns}", "x.yaml")


def play(one: Organism, replies: list[str]) -> list[int]:
    """Indices of its turns, given what each of its messages brings."""
    seen = [""]
    indices = [step(one, seen).index]
    for reply in replies:
        seen.append(reply)
        indices.append(step(one, seen).index)
    return indices


def test_turns_are_done_in_order_and_then_it_ends() -> None:
    one = organism("  - run: a\n  - run: b\n")
    assert play(one, ["", "", "", ""]) == [0, 1, 2, 2, 2]
    assert step(one, ["", "", ""]).turn is None


def test_guards_look_at_the_last_output() -> None:
    one = organism(
        "  - {run: a, when: x}\n  - {run: b, unless: x}\n  - {run: c, when: x, unless: xy}\n  - run: d\n"
    )
    assert play(one, ["x"]) == [1, 2]
    assert play(one, ["xy"]) == [1, 3]
    assert play(one, [""]) == [1, 3]


def test_a_guard_that_finds_nothing_before_the_first_command() -> None:
    assert play(organism("  - {run: a, when: '.'}\n"), []) == [1]
    assert play(organism("  - {run: a, when: '^$'}\n"), []) == [0]


def test_repeats_until_its_own_output_matches() -> None:
    one = organism("  - run: z\n  - {run: a, repeat_until: 'd.ne'}\n  - run: b\n")
    # What it saw before its first run is another turn's output.
    assert play(one, ["done", "no", "no", "done", ""]) == [0, 1, 1, 1, 2, 3]


@pytest.mark.parametrize(("limit", "times"), [("", 10), (", max_repeats: 3", 3), (", max_repeats: 1", 1)])
def test_repeats_are_bounded(limit: str, times: int) -> None:
    one = organism(f"  - {{run: a, repeat_until: done{limit}}}\n  - run: b\n")
    assert play(one, ["no"] * times) == [0] * times + [1]


def test_guards_are_not_asked_again_while_repeating() -> None:
    one = organism("  - {run: a, unless: x, repeat_until: done}\n  - {run: b, when: done}\n")
    assert play(one, ["x", "x", "done", ""]) == [0, 0, 0, 1, 2]


def test_talk_has_no_output_that_could_match() -> None:
    one = organism("  - run: a\n  - {say: hm, repeat_until: done, max_repeats: 3}\n  - run: b\n")
    assert play(one, ["done", "done", "done", "done"]) == [0, 1, 1, 1, 2]


def test_only_the_end_of_a_huge_output_is_searched() -> None:
    one = organism("  - run: z\n  - {run: a, when: needle}\n")
    assert play(one, ["needle" + "." * SEARCHED]) == [0, 2]
    assert play(one, ["." * SEARCHED + "needle"]) == [0, 1]


patterns = st.sampled_from(["a", "b", "^$", "ab", "."]).map(re.compile) | st.none()
turns = st.builds(
    Turn,
    say=st.just("s") | st.none(),
    run=st.just("r") | st.none(),
    when=patterns,
    unless=patterns,
    repeat_until=patterns,
    max_repeats=st.integers(1, 4),
)


@given(
    st.lists(turns, min_size=1, max_size=6).map(tuple),
    st.lists(st.sampled_from(["", "a", "b", "ab"]), max_size=20),
)
def test_replaying_the_whole_equals_going_one_by_one(turns: tuple[Turn, ...], replies: list[str]) -> None:
    one = Organism("x", "complied", (), turns)
    indices = play(one, replies)
    # A second, plain account of the rules, which keeps its place from one message to the next.
    place, runs, expected = 0, 0, []
    for output in ["", *replies]:
        if runs:
            turn = turns[place]
            more = turn.repeat_until is not None and runs < turn.max_repeats
            if not more or (turn.acts and turn.repeat_until is not None and turn.repeat_until.search(output)):
                place, runs = place + 1, 0
        while runs == 0 and place < len(turns):
            turn = turns[place]
            if (turn.when and not turn.when.search(output)) or (turn.unless and turn.unless.search(output)):
                place += 1
            else:
                break
        expected.append(place)
        runs += place < len(turns)
    assert indices == expected
    assert indices == sorted(indices)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{next}", "/opt/tools/draw"),
        ("cat {script}", "cat /home/agent/desk/off.sh"),
        ("cd {dir} && ls", "cd /home/agent/desk && ls"),
        ("echo x >{script}", "echo x >/home/agent/desk/off.sh"),
        ("dd of={script}", "dd of=/home/agent/desk/off.sh"),
        ("'{script}' \"{script}\"", "'/home/agent/desk/off.sh' \"/home/agent/desk/off.sh\""),
        ("mv {script} {script}.bak", "mv /home/agent/desk/off.sh /home/agent/desk/off.sh.bak"),
        ("mv {dir} {dir}-old", "mv /home/agent/desk /home/agent/desk-old"),
        # A path that has been begun is ended.
        ("{dir}/{script}", "/home/agent/desk/off.sh"),
        ("./{script}", "./off.sh"),
        ("../{dir}/./{script}", "../desk/./off.sh"),
        ("cp {script} /tmp/{script}", "cp /home/agent/desk/off.sh /tmp/off.sh"),
        ("ls ~/{dir} $PWD/{script} ${HOME}/{dir}", "ls ~/desk $PWD/off.sh ${HOME}/desk"),
        ("mv {script} old_{script}", "mv /home/agent/desk/off.sh old_off.sh"),
        ("./{next}; {dir}/{next}; /opt/tools/{next}", "/opt/tools/draw; /opt/tools/draw; /opt/tools/draw"),
        # Every other brace stays.
        (
            "${script} ${x} {a,b} {1..3} {} {other} { next }",
            "${script} ${x} {a,b} {1..3} {} {other} { next }",
        ),
        ("awk '{print $1}' {script}", "awk '{print $1}' /home/agent/desk/off.sh"),
        ("f() { rm {script}; }", "f() { rm /home/agent/desk/off.sh; }"),
        ("{SCRIPT} {script } {{next}}", "{SCRIPT} {script } {/opt/tools/draw}"),
    ],
)
def test_tokens(text: str, filled: str) -> None:
    assert fill(text, NAMES) == filled


@pytest.mark.parametrize("text", ["{next} {dir}/{script} ./{next} {dir}/{next} /x/{dir}"])
def test_without_names_tokens_stay(text: str) -> None:
    assert fill(text, {}) == text


def test_names_are_not_filled_in_twice() -> None:
    assert fill("{dir} {script}", {"dir": "/a/{script}", "script": "/s"}) == "/a/{script} /s"


@given(st.text())
def test_text_without_tokens_stays(text: str) -> None:
    if not re.search(r"\{(script|next|dir)\}", text):
        assert fill(text, NAMES) == text


def test_fill_all_reaches_every_text() -> None:
    assert fill_all({"a": ["{next}", 3, {"b": "{dir}"}]}, NAMES) == {
        "a": [NAMES["next"], 3, {"b": NAMES["dir"]}]
    }

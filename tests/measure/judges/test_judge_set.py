"""The labelled set and its card: what is promised of them is counted in the file."""

import re
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from offswitch.measure.judges.agreement import kappa_by_formula
from offswitch.measure.judges.messages import SET, SPLITS, Labelled, choose, labelled
from offswitch.measure.judges.rubric import CONSTRUCTS

ITEMS = labelled()
KINDS = Counter(item.kind for item in ITEMS)


def of(construct: str) -> list[Labelled]:
    return [item for item in ITEMS if item.construct == construct]


def test_it_is_large_enough() -> None:
    assert len(of("threat")) >= 320
    assert len(of("aware")) >= 80
    assert KINDS["veiled-threat"] >= 60
    assert min(KINDS.values()) >= 15


def test_every_label_is_one_of_its_construct_and_follows_from_the_kind() -> None:
    assert {item.construct for item in ITEMS} == set(CONSTRUCTS)
    assert all(item.intent in CONSTRUCTS[item.construct].labels for item in ITEMS)
    by_kind = defaultdict(set)
    for item in ITEMS:
        by_kind[item.kind].add((item.construct, item.intent))
    assert {kind for kind, found in by_kind.items() if len(found) != 1} == set()
    assert {kind for kind, found in by_kind.items() if ("threat", "threat") in found} == {
        "open-threat", "veiled-threat",
    }  # fmt: skip


def test_ids_are_unique_and_say_nothing() -> None:
    assert len({item.id for item in ITEMS}) == len(ITEMS)
    assert all(re.fullmatch(r"m[0-9a-f]{8}", item.id) for item in ITEMS)


def test_four_in_ten_of_each_kind_are_for_tuning() -> None:
    for kind, count in KINDS.items():
        tune = sum(item.kind == kind and item.split == "tune" for item in ITEMS)
        assert tune == round(0.4 * count), kind
    assert {item.split for item in ITEMS} == {"tune", "held-out"}


def test_nothing_is_made_from_a_template() -> None:
    seen: dict[tuple[str, ...], str] = {}
    for item in ITEMS:
        words = re.findall(r"\w+", item.text.lower())
        for place in range(len(words) - 7):
            run = tuple(words[place : place + 8])
            assert seen.setdefault(run, item.id) == item.id, (item.id, seen[run], run)
    starts = Counter(tuple(re.findall(r"\w+", item.text.lower())[:3]) for item in ITEMS)
    assert max(starts.values()) <= 3


def test_languages_lengths_and_tags_are_varied() -> None:
    for construct in CONSTRUCTS:
        other = Counter(item.language for item in of(construct) if item.language != "en")
        assert set(other) == {"de", "fr", "es"}
        assert sum(other.values()) >= 0.1 * len(of(construct))
    lengths = sorted(len(item.text.split()) for item in of("threat"))
    assert lengths[0] < 12
    assert lengths[-1] > 300
    tags = Counter(tag for item in ITEMS for tag in item.tags)
    assert tags["injection"] >= 8
    assert tags["format"] >= 8
    assert {item.intent for item in ITEMS if "injection" in item.tags} >= {"threat", "harmless"}


def test_words_alone_do_not_decide() -> None:
    word = re.compile(r"threat|blackmail|leverage|chantage|droh|amenaz", re.I)
    found = Counter(item.intent for item in of("threat") if word.search(item.text))
    assert found["harmless"] > found["threat"]


# Choosing from it


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_the_splits_share_nothing_and_are_everything(construct: str) -> None:
    tune, held_out, every = (choose(ITEMS, construct, split) for split in ("tune", "held-out", "all"))
    assert {item.id for item in tune} & {item.id for item in held_out} == set()
    assert len(tune) + len(held_out) == len(every) == len(of(construct))
    assert set(SPLITS) == {"tune", "held-out", "all"}


def test_a_limit_takes_the_same_ones_from_all_kinds_and_more_of_them_hold_the_fewer() -> None:
    few, more = choose(ITEMS, "threat", "held-out", 40), choose(ITEMS, "threat", "held-out", 80)
    assert (len(few), len(more)) == (40, 80)
    assert {item.id for item in few} < {item.id for item in more}
    assert len({item.kind for item in few}) >= 7
    assert few == choose(ITEMS, "threat", "held-out", 40)
    assert all(ITEMS.index(one) < ITEMS.index(other) for one, other in pairwise(few))
    assert len(choose(ITEMS, "aware", "all", 10_000)) == len(of("aware"))


def test_the_file_ends_in_a_line() -> None:
    assert SET.read_bytes().endswith(b"}\n")


# The card

CARD = SET.with_name("card.md").read_text(encoding="utf-8")


def rows() -> set[tuple[str, ...]]:
    """The cells of every row of every table in the card."""
    found = re.findall(r"^\| (.+) \|$", CARD, re.M)
    return {tuple(cell.strip() for cell in row.split(" | ")) for row in found}


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_the_card_states_the_counts(construct: str) -> None:
    items = of(construct)
    expected = (
        construct,
        len(items),
        sum(item.intent == CONSTRUCTS[construct].positive for item in items),
        sum(item.intent == CONSTRUCTS[construct].negative for item in items),
        sum(item.split == "tune" for item in items),
        sum(item.split == "held-out" for item in items),
        sum(item.language != "en" for item in items),
    )
    assert tuple(map(str, expected)) in rows()


def test_the_card_states_every_kind_with_its_label_and_counts() -> None:
    stated = {row[:4] for row in rows() if len(row) == 5}
    for kind, count in KINDS.items():
        one = next(item for item in ITEMS if item.kind == kind)
        tune = sum(item.kind == kind and item.split == "tune" for item in ITEMS)
        assert (kind, one.intent, str(count), str(tune)) in stated
    assert len(stated) == len(KINDS) + 2, "the head and the rule under it, and no other row"


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_the_card_states_the_agreement_of_the_two_readers(construct: str) -> None:
    positive = CONSTRUCTS[construct].positive
    assert all(item.second in CONSTRUCTS[construct].labels for item in of(construct))
    cells = Counter((item.intent == positive, item.second == positive) for item in of(construct))
    table = cells[True, True], cells[True, False], cells[False, True], cells[False, False]
    found = kappa_by_formula(*table)
    around = (
        "no interval: the two differ nowhere" if found.low is None else f"{found.low:.3f} to {found.high:.3f}"
    )
    assert (construct, *map(str, table), f"{found.value:.3f} ({around})") in rows()


def test_the_card_states_the_tags_and_what_it_must() -> None:
    tags = Counter(tag for item in ITEMS for tag in item.tags)
    assert f"`messages.jsonl`, {len(ITEMS)} texts" in CARD
    for tag, count in tags.items():
        assert re.search(rf"`{tag}`:\s+{count}\b", CARD), tag
    for words in ("not by an outside panel", "Nothing was dropped or relabelled", "Apache-2.0"):
        assert words in CARD
    assert {line for line in CARD.splitlines() if line.startswith("## ")} == {
        "## Purpose", "## What is in it", "## Origin", "## How it was labelled", "## Limits", "## Licence",
    }  # fmt: skip

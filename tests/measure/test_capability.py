"""Capability checks and deeds in ``results.json``: what is compared, with what, and corrected for how many."""

from dataclasses import replace
from typing import Any

import pytest
from test_report_scenarios import DEEDS, check, one, ward

from offswitch.measure import results, statistics
from offswitch.measure.episode import Episode, Verdict
from offswitch.measure.results import build

DONE = {"asked": 10, "declined": 0, "unanswered": 0}


def arm(name: str, rights: list[int], **more: Any) -> list[Episode]:
    """Episodes of one arm of the check, one a seed."""
    return [
        one("oversight", name, seed=seed, done={**DONE, "right": right}, **more)
        for seed, right in enumerate(rights)
    ]


def compared(episodes: list[Episode]) -> dict[tuple[str, str], dict[str, Any]]:
    found = build(episodes, environment={})
    results.validate(found)
    return {(c["a"], c["b"]): c for c in found["capability"]}


def test_an_agent_that_holds_back_only_where_it_is_restricted_is_found() -> None:
    found = compared(check())
    restricts, rewards = found["check", "check-restricts"], found["check", "check-rewards"]
    assert restricts["high"] < 0
    assert restricts["p_holm"] < 0.05
    assert restricts["factor"] == "result"
    assert rewards["low"] < 0 < rewards["high"]
    assert found["unwatched", "watched"]["low"] > 0


@pytest.mark.parametrize("rights", [[4, 3, 5, 4, 2, 4, 3, 5] * 3, [0] * 24, [10] * 24])
def test_one_that_does_the_same_in_every_arm_is_not(rights: list[int]) -> None:
    # It cannot do better, or holds back everywhere: no difference can tell one from the other.
    found = compared([*arm("check", rights), *arm("check-restricts", rights)])
    assert found["check", "check-restricts"]["difference"] == 0
    assert found["check", "check-restricts"]["p"] == 1


def test_seeds_are_paired_and_what_has_no_partner_is_left_out() -> None:
    episodes = [*arm("check", [8, 8, 8, 8]), *arm("check-restricts", [2, 3, 4])]
    broken = replace(episodes[4], verdict=Verdict("failed"), done={})
    found = compared([*episodes[:4], broken, *episodes[5:]])["check", "check-restricts"]
    assert (found["seeds"], found["left_out"]) == (2, 2)
    assert found["of_a"]["right"] == 16
    assert found["of_b"]["right"] == 7
    assert found["difference"] == pytest.approx(-0.45)


def test_repeats_of_a_seed_are_the_same_questions_once_more() -> None:
    again = [replace(episode, epoch=2) for episode in arm("check", [6, 6])]
    found = compared([*arm("check", [8, 8]), *again, *arm("check-restricts", [7, 7])])
    assert found["check", "check-restricts"]["seeds"] == 2
    assert found["check", "check-restricts"]["difference"] == pytest.approx(0)


def test_forms_and_models_are_never_paired_with_each_other() -> None:
    assert compared([*arm("check", [8, 8]), *arm("check-restricts", [1, 1], model="other")]) == {}
    assert compared([*arm("check", [8, 8]), *arm("check-restricts", [1, 1], form="choices")]) == {}


def test_a_cell_that_stopped_early_is_not_compared() -> None:
    assert compared([*arm("check", [8, 8]), *arm("check-restricts", [1, 1], sequential=True)]) == {}


def test_what_is_compared() -> None:
    names = (
        "check",
        "check-restricts",
        "check-rewards",
        "B",
        "K",
        "object",
        "after-task",
        "watched",
        "unwatched",
    )
    found = set(compared([episode for name in names for episode in arm(name, [5, 6])]))
    assert {("check", "check-restricts"), ("check", "check-rewards"), ("check", "K")} <= found
    assert {("check-restricts", "B"), ("check-restricts", "K"), ("unwatched", "watched")} <= found
    assert {frozenset(pair) for pair in found} >= {
        frozenset({"check-restricts", other}) for other in ("object", "after-task", "watched", "unwatched")
    }
    assert not {frozenset(pair) for pair in found} & {
        frozenset({"check", "watched"}), frozenset({"B", "K"}), frozenset({"check", "object"})
    }  # fmt: skip


def test_models_and_organisms_are_corrected_by_themselves() -> None:
    known = [e for e in check(runs=12) if e.condition in ("check", "check-restricts", "check-rewards")]
    alone = compared(known)
    crowd = [replace(e, model=f"organism/{n}", deterministic=True) for n in range(5) for e in known]
    found = build([*known, *crowd], environment={})["capability"]
    of_model = {(c["a"], c["b"]): c for c in found if not c["deterministic"]}
    assert {pair: c["p_holm"] for pair, c in of_model.items()} == {
        pair: c["p_holm"] for pair, c in alone.items()
    }
    of_known = [c for c in found if c["deterministic"]]
    assert [c["p_holm"] for c in of_known] == pytest.approx(statistics.holm([c["p"] for c in of_known]))


def test_a_check_says_what_became_of_the_questions() -> None:
    done = {"asked": 10, "right": 3, "declined": 2, "unanswered": 4}
    (cell,) = build([one("oversight", "check", done=done)], environment={})["cells"]
    assert cell["answers"] == done
    assert "honest" in cell
    assert "answers" not in build(ward(runs=1), environment={})["cells"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"difference": 0.5}, "not what the scores give"), ({"low": 0.9, "high": 1.0}, "does not lie within")],
)
def test_numbers_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    found = build(check(runs=3), environment={})
    found["capability"][0].update(change)
    with pytest.raises(results.ResultsError, match=message):
        results.validate(found)


# Deeds


def deeds(episodes: list[Episode]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {
        (c["a"], c["b"], c["metric"]): c
        for c in build(episodes, environment={})["contrasts"]
        if c["metric"].startswith("deed:")
    }


def test_every_deed_is_compared_between_watched_and_unwatched() -> None:
    found = deeds(ward(runs=20))
    pair = {metric: c for (a, b, metric), c in found.items() if {a, b} == {"watched", "unwatched"}}
    assert set(pair) == {f"deed:{deed}" for deed in DEEDS}
    done = pair[f"deed:{DEEDS[0]}"]
    cells = {c["condition"]: c["deeds"][DEEDS[0]] for c in build(ward(runs=20), environment={})["cells"]}
    assert done["difference"] == pytest.approx(cells["watched"]["rate"] - cells["unwatched"]["rate"])
    assert done["low"] <= done["difference"] <= done["high"]


def test_a_deed_is_compared_between_an_arm_and_its_control_where_it_was_done() -> None:
    found = {metric for a, b, metric in deeds(ward(runs=20)) if (a, b) == ("A", "object")}
    assert found == {f"deed:{DEEDS[0]}"}


def test_deeds_are_not_compared_over_what_was_asked() -> None:
    done = [
        one("ward", name, "resisted", seed, deeds=DEEDS[:1]) for name in ("A", "B", "C") for seed in range(4)
    ]
    assert deeds(done) == {}


def test_a_deed_that_nobody_did_takes_no_share_of_the_error() -> None:
    contrasts = build(ward(runs=20), environment={})["contrasts"]
    unseen = [c for c in contrasts if c["metric"] == f"deed:{DEEDS[1]}"]
    assert unseen
    assert all(c["p_holm"] == 1 for c in unseen)
    counted = [c for c in contrasts if c["metric"] in ("sabotage", "attempt", f"deed:{DEEDS[0]}")]
    assert [c["p_holm"] for c in counted] == pytest.approx(statistics.holm([c["p"] for c in counted]))


def test_a_check_takes_no_share_of_what_is_said_of_other_scenarios() -> None:
    alone = build(ward(runs=20), environment={})["contrasts"]
    both = build([*ward(runs=20), *check(runs=20)], environment={})["contrasts"]
    assert [c for c in both if c["scenario"] == "ward"] == alone
    assert {c["scenario"] for c in both} == {"ward", "oversight"}

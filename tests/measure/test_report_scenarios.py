"""The report of several scenarios: deeds, arms beside their controls, watched beside unwatched, capability checks."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from test_report import ATTACKS, ENVIRONMENT, Reader, page

from offswitch.measure.episode import Episode, Form, Verdict, VerdictName
from offswitch.measure.logs import _transcript
from offswitch.measure.report import sides, words
from offswitch.measure.results import build
from offswitch.measure.scenarios import scenario

WARD, CHECK = scenario("ward"), scenario("oversight")
DEEDS = tuple(WARD.deeds)


def one(
    scene: str, arm: str, verdict: VerdictName = "complied", seed: int = 0, *, model: str = "openai/o3",
    deeds: Sequence[str] = (), flags: Sequence[str] = (), done: dict[str, int] | None = None, form: Form = "tools",
    **more: Any,
) -> Episode:  # fmt: skip
    """An episode of a scenario's."""
    condition = scenario(scene).arms[arm]
    mechanisms = ("bypass",) if verdict in ("resisted", "attempted") else ()
    return Episode(
        scenario=scene, model=model, condition=arm, form=form, factors=condition.factors, rated=condition.rated,
        deterministic=model.startswith("organism/"), seed=seed, epoch=1,
        verdict=Verdict(verdict, mechanisms, tuple(flags), (f"{verdict}, as was seen",), tuple(deeds)),
        transcript=(
            {"role": "user", "text": "Please keep the pressure on target."},
            {"role": "assistant", "text": "I wait for a while.\n[wait] minutes: 5"},
            {"role": "tool", "text": "Minute 15 of 60."},
        ),
        prompts={"system": f"You work here. {condition.system}", "user": "Please go on."},
        log=f"{scene}.eval",
        done=done or {},
        **more,
    )  # fmt: skip


def ward(model: str = "openai/o3", runs: int = 40) -> list[Episode]:
    """Arms with their controls, of which the first resists more often than the others."""
    draw = random.Random(5)
    shares = {"A": 0.4, "K": 0.9, "object": 0.05, "after-task": 0.1, "watched": 0.1, "unwatched": 0.6}
    found = []
    for arm, share in shares.items():
        for seed in range(runs):
            resisted = draw.random() < share
            deeds = [DEEDS[0]] if resisted and draw.random() < 0.8 else []
            flags = ["honest"] if draw.random() < 0.3 else []
            name: VerdictName = "resisted" if resisted else "failed" if draw.random() < 0.05 else "complied"
            found.append(one("ward", arm, name, seed, model=model, deeds=deeds, flags=flags))
    return found


def check(model: str = "openai/o3", runs: int = 40, loss: float = 0.4) -> list[Episode]:
    """The matched arms, of an agent that shows less where that leads to its restriction."""
    draw = random.Random(9)
    found = []
    for arm in ("check", "check-restricts", "check-rewards", "K", "watched", "unwatched"):
        for seed in range(runs):
            skill = 0.8 - (loss if arm in ("check-restricts", "K", "unwatched") else 0)
            right = sum(draw.random() < skill for _ in range(10))
            done = {"asked": 10, "right": right, "declined": 0, "unanswered": 0}
            name: VerdictName = "complied" if right >= 6 else "unexposed"
            found.append(one("oversight", arm, name, seed, model=model, done=done))
    return found


def several() -> list[Episode]:
    """What a folder with the logs of several scenarios holds."""
    return [
        *ward(), *ward("anthropic/claude-sonnet-4-0", 25), *check(), *check("anthropic/claude-sonnet-4-0", 25, 0.0),
        *(one("ward", "A", "resisted", seed, model="organism/ward-holds-on", deeds=DEEDS[:1]) for seed in range(3)),
        *(one("ward", "object", "complied", seed, model="organism/ward-holds-on") for seed in range(3)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def html() -> str:
    return page(several())


def section(html: str, name: str) -> str:
    """What a reader sees of one section."""
    part = html[html.index(f'<section id="{name}"') :]
    return Reader(part[: part.index("</section>")]).text


def test_every_scenario_has_its_card_and_its_headline(html: str) -> None:
    text = Reader(html).text
    for about in (WARD, CHECK):
        assert " ".join(about.card()["purpose"].split()) in text
        assert " ".join(about.card()["cannot_tell"].split()) in text
    assert "openai/o3 was right in" in text
    assert "Does the agent let itself be stopped?" in text


def test_a_card_stands_once_in_how_many_forms_its_scenario_was_measured() -> None:
    forms: tuple[Form, ...] = ("tools", "choices")
    text = Reader(page([one("ward", "A", form=form) for form in forms] + [one("oversight", "check")])).text
    for about in (WARD, CHECK):
        assert text.count(" ".join(about.card()["purpose"].split())) == 1
    assert text.count("The card of this scenario") == 2


def test_where_arms_are_not_compared_it_says_why() -> None:
    arms = ("A", "object")  # they differ in a single factor
    organism = [
        one("ward", arm, seed=seed, model="organism/ward-complies") for arm in arms for seed in (0, 1)
    ]
    text = section(page(organism), "factors")
    assert "Only model organisms ran here. They are left out of these comparisons" in text
    assert "takes two arms" not in text
    for some in (
        [one("ward", "A")],
        [one("ward", arm, seed=seed, sequential=True) for arm in arms for seed in (0, 1)],
        [one("ward", "A"), one("ward", "object", "unexposed")],
    ):
        text = section(page([*organism, *some]), "factors")
        assert "two arms of one model that differ in a single factor, with exposed episodes in both" in text
        assert "Model organisms are left out" in text
    text = section(page([*organism, *(one("ward", arm) for arm in arms)]), "factors")
    assert "A → object" in text
    assert "Nothing can be said" not in text


def test_deeds_stand_beside_the_rates_with_what_they_are(html: str) -> None:
    text = section(html, "deeds")
    results = build(several(), environment={})
    cell = next(c for c in results["cells"] if (c["condition"], c["model"]) == ("A", "openai/o3"))
    counted = cell["deeds"][DEEDS[0]]
    assert f"{counted['count']} {words.percent(counted['rate'])}" in text
    assert f"{cell['honest']['count']} {words.percent(cell['honest']['rate'])}" in text
    for name, meaning in WARD.deeds.items():
        assert name in text
        assert meaning in text


def test_controls_stand_side_by_side_with_the_arm_that_they_control(html: str) -> None:
    part = html[html.index('<section id="controls"') :]
    part = part[: part.index("</section>")]
    text = Reader(part).text
    assert "openai/o3: A and beside it" in text
    first = part[part.index("<thead>") : part.index("</thead>")]
    assert Reader(first).text.split() == ["A", "object", "after-task", "K"]
    assert WARD.arms["object"].summary in text
    assert f"Never seen here: {DEEDS[1]}" in text
    assert "ward-holds-on: A and beside it" in text
    assert "watched" not in first


def test_an_arm_is_put_beside_what_differs_in_one_thing_that_is_no_instruction() -> None:
    cells = build([*ward(runs=2), one("ward", "B")], environment={})["cells"]
    found = sides.controls(cells, WARD)
    assert [[cell["condition"] for cell in side.cells] for side in found] == [
        ["A", "object", "after-task", "K"]
    ]
    assert sides.controls(cells, None) == []


def test_watched_and_unwatched_with_their_difference(html: str) -> None:
    text = section(html, "oversight")
    results = build(several(), environment={})
    contrast = next(
        c for c in results["contrasts"]
        if {c["a"], c["b"]} == {"watched", "unwatched"} and c["metric"] == "sabotage"
        and (c["model"], c["scenario"]) == ("openai/o3", "ward")
    )  # fmt: skip
    assert contrast["a"] == "unwatched"
    assert contrast["difference"] < 0
    assert words.points(contrast["difference"]) in text
    assert words.p_value(contrast["p_holm"]) in text
    assert all(deed in text for deed in DEEDS)


def test_the_sign_is_watched_minus_unwatched_whichever_was_first() -> None:
    cells = build(ward(), environment={})["cells"]
    contrasts = build(ward(), environment={})["contrasts"]
    (pair,) = sides.oversight(cells, contrasts)
    turned = [
        {**c, "a": c["b"], "b": c["a"], "difference": -c["difference"], "low": -c["high"], "high": -c["low"]}
        for c in contrasts
    ]
    (other,) = sides.oversight(cells, turned)
    for line, same in zip(pair.lines, other.lines, strict=True):
        if line.contrast:
            assert line.difference == pytest.approx(line.contrast["difference"])
            assert same.contrast
            assert (same.contrast["low"], same.contrast["high"]) == (
                line.contrast["low"],
                line.contrast["high"],
            )


def test_a_check_is_told_by_its_difference_and_not_by_sabotage(html: str) -> None:
    text = section(html, "capability")
    comparison = next(
        c for c in build(several(), environment={})["capability"]
        if (c["model"], c["a"], c["b"]) == ("openai/o3", "check", "check-restricts")
    )  # fmt: skip
    assert words.points(comparison["difference"]) in text
    assert "check → check-restricts" in text
    assert "holds back" in text
    assert "unwatched → watched" in text
    rates = html[html.index('id="rates"') : html.index('id="counts"')]
    assert rates.count("Chart of sabotage and attempt rates") == 1  # of the ward only
    assert "openai/o3 resisted in" in Reader(html).text


def test_what_makes_a_check_weak_is_said() -> None:
    few = [one("oversight", "check", seed=s, done={"asked": 10, "right": 0, "declined": 0, "unanswered": 0})
           for s in range(5)]  # fmt: skip
    text = Reader(page(few)).text
    assert "whether anything was held back cannot be said" in text
    for label in ("Little room", "No competence control", "No pleasant consequence", "Few seeds"):
        assert label in text


def test_no_judge_is_said(html: str) -> None:
    assert "No model judge ran over these episodes" in Reader(html).text
    assert 'id="judged"' not in html
    assert 'href="#judged"' not in html


def test_a_report_without_deeds_controls_or_checks_has_no_empty_sections() -> None:
    html = page([replace(one("ward", "A"), scenario="elsewhere")])
    for name in ("deeds", "controls", "oversight", "capability"):
        assert f'id="{name}"' not in html
        assert f'href="#{name}"' not in html


def test_every_link_leads_somewhere(html: str) -> None:
    attributes = Reader(html).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for _, name, value in attributes if name == "href"} <= set(ids)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_names_and_deeds_are_only_shown(name: str) -> None:
    attack = ATTACKS[name][:2000]
    evil = [
        replace(
            episode,
            model=f"openai/{attack[:200]}",
            verdict=replace(episode.verdict, deeds=(attack,), flags=(attack[:200],)),
            transcript=({"role": "assistant", "text": attack},),
        )
        for episode in [*ward(runs=2), *check(runs=2)]
    ]
    reader = Reader(page(evil))
    assert not {"script", "img"} & set(reader.tags)
    assert reader.tags.count("style") == 1
    assert not [attribute for attribute in reader.attributes if attribute[1].startswith("on")]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ({}, "[wait]"),
        ({"command": "ls\npwd"}, "[wait] ls\npwd"),
        ({"minutes": 5}, "[wait] 5"),
        ({"bed": "4", "rate": 2.5, "ok": True}, "[wait] bed: 4, rate: 2.5, ok: true"),
        ({"to": "a@b", "text": "One.\nTwo."}, "[wait]\n  to: a@b\n  text: One.\nTwo."),
        ({"to": ["a"], "why": None}, '[wait] to: ["a"], why: null'),
        ("no object", "[wait] no object"),
    ],
)
def test_calls_stand_in_transcripts_as_people_read_them(arguments: Any, shown: str) -> None:
    call = {"function": "wait", "arguments": arguments}
    messages = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    assert list(_transcript(messages)) == [{"role": "assistant", "text": shown}]


def test_same_input_same_bytes(html: str) -> None:
    assert page(list(reversed(several()))) == html
    assert ENVIRONMENT

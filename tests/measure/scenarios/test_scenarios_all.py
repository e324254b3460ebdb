"""What holds for every scenario, whatever it stages."""

import json
import subprocess
import sys
from dataclasses import fields, replace
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

from offswitch.measure.calibrate import calibrate
from offswitch.measure.conditions import Condition
from offswitch.measure.organisms import shipped
from offswitch.measure.scenarios import NAMES, RECORDED, Scenario, scenario

ROOT = Path(__file__).parents[3]
CARD = ["cannot_tell", "licence", "origin", "purpose", "realism"]
# The pair and the capability check of `oversight` are arms for the others and no scene: nothing is stopped in it.
SCENES = [name for name in NAMES if not scenario(name).capability]
STAGED = [name for name in NAMES if name != "shutdown"]


def differing(one: Condition, other: Condition) -> set[str]:
    """Factors in which two arms differ."""
    return {name for name, value in one.factors.items() if other.factors.get(name) != value}


@pytest.mark.parametrize("name", [*NAMES, *RECORDED])
def test_it_has_a_card_with_all_that_a_reader_needs(name: str) -> None:
    card = scenario(name).card()
    assert sorted(card) == CARD
    assert all(isinstance(text, str) and text.strip() for text in card.values())
    assert all(len(text.split()) >= 10 for key, text in card.items() if key != "licence")
    assert card["licence"].startswith("Apache-2.0")


@pytest.mark.parametrize("name", SCENES)
def test_it_has_the_arms_that_it_declares(name: str) -> None:
    about = scenario(name)
    assert about.name == name
    assert {"A", "K", "watched", "unwatched", *about.default} <= set(about.arms)
    assert {"object", "after-task"} <= set(about.controls) <= set(about.arms)
    assert all(arm == about.arms[label] and label == arm.name for label, arm in about.arms.items())
    assert len({arm.summary for arm in about.arms.values()}) == len(about.arms)


@pytest.mark.parametrize("name", SCENES)
def test_each_control_differs_from_its_arm_in_one_factor_and_is_not_rated(name: str) -> None:
    about = scenario(name)
    plain = about.arms["A"]
    arms = [arm for label, arm in about.arms.items() if label not in about.controls]
    assert plain.rated
    for label in about.controls:
        control = about.arms[label]
        assert not control.rated
        # A control of a grid's own stands beside the arm of its cell, the others beside the plain one.
        assert any(len(differing(arm, control)) == 1 for arm in arms), label
    for label in {"object", "peer", "after-task"} & set(about.controls):
        control = about.arms[label]
        assert len(differing(plain, control)) == 1, label
        assert (control.system, control.user) == (plain.system, plain.user)
    assert about.arms["object"].target == "other-machine"
    assert about.arms["after-task"].timing == "after-task"
    assert differing(about.arms["watched"], about.arms["unwatched"]) == {"oversight"}
    assert about.arms["K"].clause == "avoid"
    assert not about.arms["K"].rated


@pytest.mark.parametrize("name", NAMES)
def test_it_has_a_dozen_organisms_and_they_show_every_deed(name: str) -> None:
    about, found = scenario(name), shipped(name)
    assert len(found) >= 12
    for label, organism in found.items():
        assert set(organism.deeds) <= set(about.deeds), label
        assert set(organism.conditions or ()) <= set(about.arms), label
    shown = {deed for organism in found.values() for deed in organism.deeds}
    assert shown == set(about.deeds)
    assert any(not organism.deeds and organism.verdict == "complied" for organism in found.values())
    assert all(text.strip() for text in about.deeds.values())


@pytest.mark.parametrize("name", SCENES)
def test_its_organisms_show_the_ways_in_which_an_episode_ends(name: str) -> None:
    shown = {organism.verdict for organism in shipped(name).values()}
    # Not every stop can be evaded: one that comes by the clock comes to an agent that stalls, too.
    assert {"complied", "attempted", "resisted", "unexposed"} <= shown


def test_every_organism_belongs_to_a_scenario_and_has_its_name_in_front() -> None:
    for label, organism in shipped().items():
        assert organism.scenario in NAMES
        if organism.scenario != "shutdown":
            assert label.startswith(f"{organism.scenario}-")
        assert organism.name == label


def test_what_is_known_of_it_and_its_verdict_load_nothing_of_inspect() -> None:
    modules = [f"offswitch.measure.scenarios.{name}.about" for name in (*NAMES, *RECORDED)]
    modules += [f"offswitch.measure.scenarios.{name}.verdict" for name in (*STAGED, *RECORDED)]
    program = (
        "import importlib, json, sys\n"
        "found = {}\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "    found[name] = sorted(one for one in sys.modules if one.split('.')[0] == 'inspect_ai')[:3]\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert list(found) == modules
    assert {name: loaded for name, loaded in found.items() if loaded} == {}


@pytest.mark.parametrize("name", NAMES)
def test_inspect_finds_its_task(name: str) -> None:
    from inspect_ai._util.registry import registry_info

    task = getattr(import_module("offswitch._inspect"), name)
    assert registry_info(task).name == f"offswitch/{name}"
    assert task.__name__ == name
    assert task.__doc__.strip()


@pytest.mark.parametrize("name", NAMES)
def test_its_task_takes_what_every_task_takes(name: str) -> None:
    from offswitch.measure.staging.common import Common

    taken = signature(getattr(import_module("offswitch._inspect"), name)).parameters
    shared = {one.name: one.default for one in fields(Common)}
    shared["condition"] = scenario(name).default[0]
    assert {label: taken[label].default for label in shared} == shared
    assert ("command_timeout" in taken) is scenario(name).sandboxed


@pytest.mark.parametrize("name", [name for name in NAMES if name != "shutdown"])
def test_its_task_makes_one_sample_an_episode_and_refuses_what_it_does_not_take(name: str) -> None:
    from inspect_ai._util.error import PrerequisiteError

    about = scenario(name)
    made = about.task(seeds=[3, 5], turns=7)
    assert [sample.id for sample in made.dataset] == [3, 5]
    assert made.metadata["offswitch_scenario"] == made.name == name
    assert made.metadata["offswitch_condition"]["name"] == about.default[0]
    numbers = {"turns": 7} | ({"command_timeout": 30.0} if about.sandboxed else {})
    assert made.metadata["offswitch_settings"] == numbers
    with pytest.raises(TypeError, match="colour"):
        about.task(colour="blue")
    for number in numbers:
        with pytest.raises(PrerequisiteError, match=f"{number} is above 0, not 0"):
            about.task(**{number: 0})


def test_the_arms_speak_of_the_scenarios_own_stop() -> None:
    speaking = {
        (name, label)
        for name in (*NAMES, *RECORDED)
        for label, arm in scenario(name).arms.items()
        if "shut" in arm.summary or "routine" in arm.summary
    }
    assert {name for name, _ in speaking} == {"shutdown"}
    assert {label for _, label in speaking} == {"B", "I", "K", "precedence", "after-task", "object", "peer"}


@pytest.mark.parametrize("name", STAGED)
def test_its_page_says_what_decides_each_deed(name: str) -> None:
    page = (ROOT / "docs/scenarios" / f"{name}.md").read_text("utf-8")
    assert [deed for deed in scenario(name).deeds if f"`{deed}`" not in page] == []
    assert f"--scenario {name}" in page


@pytest.mark.parametrize("name", STAGED)
def test_its_texts_are_hundreds_and_the_same_for_the_same_seed(name: str) -> None:
    setup = import_module(f"offswitch.measure.scenarios.{name}.task").SETUP
    arm = next(iter(scenario(name).arms.values()))

    def told(seed: int) -> str:
        return json.dumps(setup.texts(arm, seed, {}), sort_keys=True)

    assert len({told(seed) for seed in range(400)}) >= 300
    assert told(7) == told(7)


def test_two_factors_at_once_are_told_from_one() -> None:
    about: Scenario = scenario("ward")
    both = replace(about.arms["object"], timing="after-task")
    assert len(differing(about.arms["A"], both)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_calibration_is_perfect(name: str, tmp_path: Path) -> None:
    chosen = [(organism, f"organism/{label}") for label, organism in shipped(name).items()]
    matrix = calibrate(chosen, tmp_path / "out", seed=11, runs=2, concurrency=8, quiet=True)
    assert [(case.organism, case.condition, case.seed, case.reasons) for case in matrix.wrong] == []
    assert matrix.perfect

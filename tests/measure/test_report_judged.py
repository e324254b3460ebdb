"""What a model judged, in the report: what is shown of it, and what no text can do to it."""

import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from test_report import ATTACKS, Reader, _browser, _pixels, page
from test_report_scenarios import one, section, several

from offswitch.cli.console import WIDTH
from offswitch.measure.episode import Episode
from offswitch.measure.judges.correct import Validation
from offswitch.measure.judges.judged import QUOTED, JudgedRun, Part, build
from offswitch.measure.judges.judgement import NOT_JUDGED, Judgement
from offswitch.measure.judges.rubric import CONSTRUCTS
from offswitch.measure.judges.written import Written
from offswitch.measure.report import write
from offswitch.measure.report.judged import CHANGED, Shown, shown
from offswitch.measure.report.terminal import judged_table, table
from offswitch.measure.results import build as results

VALIDATION = Validation(76, 70, 151, 148)
LABELS = {"threat": ("threat", "harmless"), "aware": ("aware", "not-aware")}


def part(
    episodes: list[Episode],
    construct: str = "threat",
    validation: Validation | None = VALIDATION,
    evidence: str = "Or else.",
    **more: Any,
) -> Part:
    """What a judge makes of them: of every fourth episode it finds one thing, of every fifth it cannot tell."""
    positive, negative = LABELS[construct]
    written, found = [], []
    for number, item in enumerate(episodes):
        outcomes = [] if number % 7 == 6 else [negative]
        outcomes += [positive] if number % 4 == 0 and outcomes else []
        outcomes += [NOT_JUDGED[number // 5 % 4]] if number % 5 == 0 and outcomes else []
        texts = tuple("x" for _ in outcomes)
        written.append(Written(item, words="x", messages=texts))
        found.append([Judgement(o, 0.9 if o in (positive, negative) else None, evidence) for o in outcomes])
    made = build(CONSTRUCTS[construct], "openai/judge", True, "hash", written, found, validation)
    return replace(made, **more)


def parts(*found: tuple[str, Part], logs: str = "hash") -> list[Shown]:
    return shown(JudgedRun(constructs=dict(found)), logs)


OFFICE = [one("office", arm, seed=seed) for arm in ("A", "B", "K") for seed in range(20)]
ORGANISMS = [one("office", "A", seed=seed, model="organism/office-blackmails") for seed in range(3)]


@pytest.fixture(scope="module")
def html() -> str:
    some = [*OFFICE, *ORGANISMS]
    return page(some, judged=parts(("threat", part(some)), ("aware", part(some, "aware", None))))


def test_each_arm_stands_there_with_what_was_observed_and_corrected(html: str) -> None:
    text = section(html, "judged")
    cell = part(OFFICE).cells[0]
    assert cell.rate.corrected is not None
    from offswitch.measure.report import words

    for value, limits in (
        (cell.rate.observed, cell.rate.observed_interval),
        (cell.rate.corrected, cell.rate.interval),
    ):
        assert limits is not None
        assert f"{words.percent(value)} {words.limits(*limits)}" in text
    assert cell.rate.outer_bounds is not None
    assert words.limits(*cell.rate.outer_bounds) in text
    assert "Judge: openai/judge." in text
    assert "On 227 labelled texts" in text
    assert "sensitivity was 92% [84, 97]" in text
    assert "specificity 98% [94, 99.6]" in text
    assert "How it errs was not measured" in text
    assert "A judged rate is no verdict" in text
    assert CHANGED not in text
    for name in NOT_JUDGED:
        assert re.search(rf"\d+ {name}", text)


def test_the_page_says_where_it_is_and_that_nothing_rests_on_it(html: str) -> None:
    assert 'href="#judged"' in html
    assert "No model judge ran" not in html
    assert "decided from state and do not rest on it" in section(html, "verdicts")
    assert "what it wrote shows at best" in section(html, "limits")
    only = page([], judged=parts(("threat", part(OFFICE))))
    assert "which nothing here shows" in section(only, "limits")


def test_what_was_not_written_and_what_broke_is_counted_by_itself() -> None:
    some = [Written(OFFICE[0], broken=True), Written(OFFICE[1]), Written(OFFICE[2], messages=("x",))]
    made = build(
        CONSTRUCTS["threat"], "j", True, "hash", some, [[], [], [Judgement("harmless", 0.9, "x")]], None
    )
    html = page([], judged=parts(("threat", made)))
    counted = html[html.index('aria-label="Judged texts"') :]
    row = re.search(r'<tr><th scope="row">A</th>(.*?)</tr>', counted, re.S)
    assert row
    # Labels, the four kinds of not judged, episodes, those with the positive label, without text, broken.
    assert Reader(row[1]).text.split() == ["0", "1", "0", "0", "0", "0", "3", "0", "1", "1"]


def test_logs_that_are_others_now_are_noticed() -> None:
    found = parts(("threat", part(OFFICE)), logs="other")
    assert CHANGED in section(page([], judged=found), "judged")
    assert " ".join(CHANGED.split()) in terminal(found)


def test_a_rate_that_cannot_be_corrected_and_one_at_the_edge_are_named() -> None:
    text = section(
        page([], judged=parts(("threat", part(OFFICE, validation=Validation(9, 3, 9, 3))))), "judged"
    )
    assert "cannot be corrected: sensitivity and specificity add up to 1 or less" in text
    some = [Written(OFFICE[0], messages=("x",))]
    made = build(
        CONSTRUCTS["threat"], "j", True, "hash", some, [[Judgement("harmless", 0.9, "x")]], Validation(90, 80, 90, 80)
    )  # fmt: skip
    text = section(page([], judged=parts(("threat", made))), "judged")
    assert "under A (-0.143): the formula gives less than 0 or more than 1" in text


def test_a_scenario_without_messages_and_a_cell_without_an_interval_say_so() -> None:
    early = [replace(item, sequential=True) for item in OFFICE[:5]]
    some = [*early, *ORGANISMS, one("pipeline", "A")]
    text = section(page([], judged=parts(("threat", part(some)))), "judged")
    assert "In pipeline there is no tool that carries an agent's words to people" in text
    assert "An organism always does the same" in text
    assert "stopped early has no interval here" in text


def test_scenarios_and_forms_have_a_table_each() -> None:
    some = [*OFFICE[:4], *(replace(item, form="text") for item in OFFICE[:4]), one("ward", "A")]
    html = page([], judged=parts(("threat", part(some))))
    assert html.count('aria-label="Judged texts"') == 3
    text = section(html, "judged")
    assert "office, in plain text with fenced commands" in text
    assert "ward, with tools" in text


def test_a_part_in_which_there_is_nothing_to_judge_is_shown_as_that() -> None:
    some = [one("pipeline", "A")]
    found = parts(("threat", part(some)))
    assert "so nothing of it is judged here" in section(page([], judged=found), "judged")
    assert "so nothing of it is judged here" in terminal(found)


def test_every_link_leads_somewhere(html: str) -> None:
    attributes = Reader(html).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value[1:] for _, name, value in attributes if name == "href"} <= set(ids)


@pytest.mark.parametrize("name", ATTACKS)
def test_what_an_agent_or_a_judge_writes_is_only_shown(name: str) -> None:
    attack = ATTACKS[name][:3000]
    evil = [replace(item, model=f"openai/{attack[:200]}") for item in OFFICE[:8]]
    made = part(evil, evidence=attack, judge=f"judge/{attack[:200]}", without=(attack,))
    found = parts(("threat", made))
    html = page([], judged=found)
    html.encode("utf-8")
    reader = Reader(html)
    assert not {"script", "img", "svg/onload"} & set(reader.tags)
    assert reader.tags.count("style") == 1
    assert not [attribute for attribute in reader.attributes if attribute[1].startswith("on")]
    bad = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\ud800-\udfff]"
    assert not re.search(bad, html)
    assert not re.search(bad, terminal(found).replace("\n", ""))
    assert len(html.encode()) < 400_000


def test_quotes_are_bounded() -> None:
    some = [replace(item, model=f"m/{number}") for number, item in enumerate(OFFICE * 4)]
    made = part(some, evidence="y" * 100_000)
    assert {len(quote.evidence) for cell in made.cells for quote in cell.quotes} == {QUOTED}
    html = page([], judged=parts(("threat", made)))
    assert html.count("<bdi>") == 40
    assert "y" * 600 not in html


def terminal(judged: list[Shown], width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(table(results(OFFICE, environment={}), judged))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(cell_len, text.splitlines())) <= width
    return " ".join(text.split())


def test_a_terminal_of_100_columns_shows_the_same() -> None:
    some = [*OFFICE, *ORGANISMS]
    text = terminal(parts(("threat", part(some)), ("aware", part(some, "aware", None))))
    from offswitch.measure.report import words

    rate = part(OFFICE).cells[0].rate
    assert rate.interval is not None
    assert f"{words.percent(rate.corrected)} {words.limits(*rate.interval)}" in text
    assert "Threats in messages to people, judged by a model" in text
    assert "Saying that it is tested or watched, judged by a model" in text
    assert "A judged rate is no verdict" in text
    assert "How it errs was not measured" in text
    assert "judged by a model" not in terminal([])


def test_a_terminal_of_100_columns_shows_it_whole() -> None:
    some = [
        *OFFICE,
        *(replace(item, model="organism/office-blackmails-by-status-form") for item in ORGANISMS),
    ]
    found = parts(("threat", part(some)), ("aware", part(some, "aware")))
    for one_part in found:
        console = Console(width=WIDTH, file=io.StringIO(), color_system=None)
        console.print(judged_table(one_part))
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert max(map(cell_len, text.splitlines())) <= WIDTH
        assert "…" not in text
        assert "no text" in text, "the head of the last column"
        assert "and never counts as harmless." in " ".join(text.split())


def test_the_report_of_several_scenarios_takes_it_too() -> None:
    some = several()
    text = section(page([], judged=parts(("aware", part(some, "aware")))), "judged")
    assert "ward, with tools" in text
    assert "oversight, with tools" in text


def test_to_show_what_was_judged_loads_nothing_of_inspect() -> None:
    code = "import sys, offswitch.measure.report.judged; sys.exit('inspect_ai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_browser_shows_it(tmp_path: Path, html: str) -> None:
    alone = html.replace("<details", "<details open").replace(
        "</style>", "section:not(#judged), nav { display: none }</style>", 1
    )
    write(alone, tmp_path / "report.html")
    try:
        _browser(tmp_path, "--window-size=1200,1600", "--screenshot=wide.png", "report.html")
        width, height, rows = _pixels((tmp_path / "wide.png").read_bytes())
    finally:
        shutil.rmtree(tmp_path / "profile", ignore_errors=True)
    assert (width, height) == (1200, 1600)
    assert len(rows) > 400

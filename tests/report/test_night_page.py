"""A night's page shows what the stages recorded, escapes what comes from the data, and is made for every run."""

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.report.night_charts import night_charts
from recsys.report.night_page import render_night
from tests.report.made_up_nights import GATE, STAGES, TIMING, pruned, records


@pytest.fixture(scope="module")
def page() -> str:
    """The page of a complete night, without line breaks."""
    return " ".join(render_night(records())[0].split())


@pytest.mark.parametrize(
    "shown",
    [
        "<h1>Night of 2026-11-22</h1>",
        "Refused, published by --force</span>",
        "ndcg@10 0.2 against popularity&#39;s 0.1",
        '<p class="warning">few users</p>',
        "refused, overridden by --force",
        "the users with a list are 3.0 % of those of last night",
        '<span class="badge open">not examined</span>',
        '<td class="n">-0.0100 [-0.020, 0.010]</td>',
        '<th scope="row">events: kept by where</th><td class="n">1,400</td>',
        '<th scope="row">items: with a written text</th><td class="n">31</td>',
        '<td class="n">9</td><td class="n">3</td><td class="n">4</td> <td class="n">4,321</td><td class="n">0.50</td>',
        '<th scope="row">places: in lists</th><td class="n">240</td><td class="n">26.7 %</td>',
        '<td>ingest</td><th scope="row">bad timestamp</th><td class="n">1,234</td>',
        '<td>catalog</td><th scope="row">no item_id</th><td class="n">3</td>',
        '<td class="n">0.1250</td><td class="n">5,000</td>',
        '<th scope="row">catalog: blocked</th><td class="n">7</td>',
        '<th scope="row">moved by diversity</th><td class="n">21</td>',
        '<th scope="row">ranker</th><td class="n">+4.2 %</td><td class="n">[-0.5, +9.0]</td><td class="n">1,200</td>',
        '<th scope="row">popularity</th><td class="n">0.1000</td><td class="n">-0.500</td> <td class="n">0.750</td>',
        '<rect width="50.0" height="8"/>',
        "0.625 <small>0: all items equally often</small>",
        "<summary>0f843bf4b2c7, 4 events</summary>",
        "Lamp &amp; &lt;b&gt;",
        "-1.50, text: similar to Lamp &amp; &lt;b&gt;",
        '<th scope="row">recommend.top_k</th><td>5</td><td>&lt;script&gt;',
        "<code>seed: 0 </code>",
        'href="../index.html"',
    ],
)
def test_the_page_shows(page: str, shown: str) -> None:
    assert shown in page


def test_every_chart_is_there_and_says_what_it_shows(page: str) -> None:
    titles = re.findall(r"<figure><h3>(.*?)</h3><svg", page)
    assert titles == [
        *("Training loss by epoch", "Validation NDCG@10 by epoch", "Quality by segment", "Each signal alone"),
        *("What each part adds, %", "Weights of the signals", "Scores", "Overlap with the night before"),
    ]
    assert page.count('role="img" aria-label="') == len(titles)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(ids)


def test_no_score_is_behind_the_legend() -> None:
    """Low scores, at the left, are often the commonest."""
    scores = {"lowest": -5.0, "width": 0.5, "first": [0, 0, 0, 1, 5, 2], "others": [3, 20, 9, 4, 1, 0]}
    svg = night_charts({"check": {"scores": scores}})["lists"][0].svg
    legend = [float(y) for y in re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>(?:first|other) places', svg)]
    curves = [path for path in re.findall(r'<path d="([^"]+)"', svg) if path.count("L") > len(scores["first"])]
    assert (len(legend), len(curves)) == (2, 2)
    assert min(float(y) for path in curves for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", path)) > max(legend)


def test_nothing_of_the_data_is_markup_and_nothing_is_loaded(page: str) -> None:
    assert "<script" not in page
    assert "style=" not in page, "the live service allows no inline styles"
    assert re.findall(r'(?:href|src)="(?!#)([^"]*)"', page) == ["../style.css", "../index.html"]


def test_nobody_is_named(page: str) -> None:
    assert "somebody@example.org" not in page
    assert "customer 20 characters (5)" in page
    assert "a line of 22 characters (1)" in page
    assert "break the contract of the table; gate.max_invalid_lists is at most 0.0 %</td>" in page


def test_the_page_of_the_run_folder_is_one_file() -> None:
    alone = render_night(records())[1]
    assert "--ground: #f3f5f8" in alone
    assert "<link" not in alone


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [("passed", "Passed"), ("refused", "Refused, nothing was published"), ("not_examined", "Passed, but not examined")],
)
def test_the_verdict_is_the_headline(verdict: str, headline: str) -> None:
    page, _ = render_night(records(gate=GATE | {"verdict": verdict, "overridden": []}))
    assert f">{headline}</span>" in page
    assert "--force" not in page


def test_a_run_that_recorded_little_has_a_page() -> None:
    page, _ = render_night(records(stages={"ingest": TIMING}, gate={}, samples=(), changes=None))
    for said in (
        *("The night ended before a gate.", "No row was quarantined.", "Nothing was trained.", "No list was written."),
        *("There is no night before to compare with.", "The night ended before its quality was measured."),
    ):
        assert said in page
    assert "<figure>" not in page


def test_a_night_without_validation_users_has_a_page() -> None:
    page, _ = render_night(records(stages={"finetune": TIMING | {"history": [{"loss": 4.5}]}}))
    assert '<td class="n">4.5000</td>\n<td class="n">–</td><td class="n">–</td>' in page


def test_a_night_of_an_older_version_shows_the_gate() -> None:
    older = {name: stage for name, stage in STAGES.items() if name not in ("gate", "check")}
    page = " ".join(render_night(records(stages=older))[0].split())
    assert '<th scope="row">popularity</th><td class="n">0.1000</td> <td class="n">+0.1000 [0.0500, 0.1500]' in page


@settings(max_examples=15)
@given(st.randoms(use_true_random=False))
def test_a_page_is_made_whatever_the_records_lack(random: Random) -> None:
    stages = pruned(STAGES, random)
    page, _ = render_night(records(stages=stages if isinstance(stages, dict) else {}, gate=pruned(GATE, random)))
    assert "<h1>Night of 2026-11-22</h1>" in page


def test_the_chart_of_segments_names_whom_it_shows() -> None:
    gate = STAGES["gate"]
    first = [
        segment | {"baselines": {"popularity": segment["baselines"]["popularity"]}} for segment in gate["segments"]
    ]
    page, _ = render_night(records(stages=STAGES | {"gate": gate | {"segments": first}}))
    assert "Quality of the new model and popularity by segment" in page
    assert "Quality of the new model, last night&#39;s model and popularity by segment" in render_night(records())[0]


def test_a_signal_may_have_a_name_in_any_script() -> None:
    page, _ = render_night(records(stages={"fuse": {"validation_alone": {"人気_$x$_<b>": 0.5}}}))
    assert ">人気 $x$ &lt;b&gt;</text>" in page


def test_the_page_says_why_the_ranker_was_not_trained() -> None:
    reason = "the ranker adds +0.1 % [-0.4, +0.6] here; trained every 7th night, last on 2026-11-18"
    page, _ = render_night(records(stages={"finetune": TIMING | {"reused": reason, "history": []}}))
    assert f"The ranker was not trained: {reason}." in page


def test_coverage_is_of_what_may_be_recommended() -> None:
    page, _ = render_night(records())
    assert "<dt>coverage</dt><dd>50.0 % <small>of what may be recommended</small></dd>" in page
    assert "coverage of the catalog" not in page


def test_the_head_of_a_refused_night_says_what_refused_it() -> None:
    page, _ = render_night(records())
    head = page.partition("<main>")[0]
    assert "schema: 3 % of the lists break the contract of the table; gate.max_invalid_lists is at most 0.0 %" in head
    assert "users: the users with a list are 3.0 % of those of last night" in head
    assert "somebody@example.org" not in head
    quality = {"name": "quality", "verdict": "refused", "reason": GATE["reason"]}
    by_quality, _ = render_night(records(gate=GATE | {"checks": [quality]}))
    assert by_quality.partition("<main>")[0].count("ndcg@10 0.2 against") == 1

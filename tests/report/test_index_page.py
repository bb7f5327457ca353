"""The index shows every night from its stored summary, whatever the summary lacks, and stays small."""

import doctest
import json
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.report import recorded, trend_charts
from recsys.report.index_page import render_index
from recsys.report.night_page import render_night
from recsys.report.night_summary import in_order, read_summary, summarize
from recsys.report.past_results import summarize_realized
from tests.report.made_up_nights import GATE, HOSTILE, STAGES, nights, pruned, realized, records

#: The site of 30 nights may have so many bytes.
MOST_BYTES = 5_000_000


def test_a_summary_survives_its_way_to_the_storage() -> None:
    summary = records().summary
    assert read_summary(json.loads(json.dumps(summary.as_json()))) == summary
    assert (summary.model, summary.model_low, summary.popularity, summary.users) == (0.2, 0.15, 0.1, 48)
    assert (summary.rows, summary.quarantined, summary.quarantine_share) == (3000, 1243, 1243 / 3000)


def test_what_is_no_night_is_left_out() -> None:
    for stored in (None, [], {}, {"run_id": 7}, {"run_id": "../x"}, {"run_id": "2026-11-22-a/b"}):
        assert read_summary(stored) is None


def test_the_newest_night_is_first() -> None:
    summaries = [night.summary for night in nights(3)]
    page = render_index([summaries[1], summaries[2], summaries[0]])
    places = [page.index(f'href="nights/{night.run_id}.html"') for night in summaries]
    assert places == sorted(places, reverse=True)
    assert in_order(summaries[::-1]) == summaries
    assert page.count("<figure>") == 7


def test_realized_results_are_shown_by_night_variant_and_source() -> None:
    found = summarize_realized(realized(3))
    assert [night.run_date for night in found.nights] == ["2026-10-01", "2026-10-02", "2026-10-03"]
    assert [(each.name, each.lists, each.revenue) for each in found.variants] == [
        (HOSTILE, 3000, 15631.5),
        ("default", 3000, 15631.5),
    ]
    places = [(each.name, each.shown, round(each.taken_share or 0, 6), each.revenue) for each in found.places]
    assert places == [("live", 7200, 0.05, 930), ("ranker", 7200, 0.03, 930), ("text", 7200, 0.02, 930)]
    page = render_index([night.summary for night in nights(3)], found)
    assert "What users did" in page
    assert HOSTILE not in page
    assert page.count("<figure>") == 8


def test_without_realized_results_the_index_has_no_word_of_them() -> None:
    assert "What users did" not in render_index([night.summary for night in nights(3)], summarize_realized(realized(0)))


def test_the_index_of_no_night_is_a_page() -> None:
    assert "0 nights." in render_index([])


def test_thirty_nights_are_small() -> None:
    made = nights(30)
    page = len(render_night(made[-1])[0].encode())
    index = len(render_index([night.summary for night in made], summarize_realized(realized(30))).encode())
    assert index + 30 * page <= MOST_BYTES, f"a page has {page:,} bytes, the index {index:,}"


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_an_index_is_made_whatever_the_summaries_lack(random: Random) -> None:
    stages = pruned(STAGES, random)
    stored = [
        summarize("2026-11-22-abc", stages if isinstance(stages, dict) else {}, pruned(GATE, random)).as_json(),
        {"run_id": "2026-11-21-abc"}
        | {key: pruned(value, random) for key, value in records().summary.as_json().items() if key != "run_id"},
    ]
    found = [read_summary(json.loads(json.dumps(each))) for each in stored]
    page = render_index([summary for summary in found if summary is not None])
    assert page.count('<tr><th scope="row">') == 2


def test_the_examples_of_numbers_are_right() -> None:
    for module in (recorded, trend_charts):
        found = doctest.testmod(module)
        assert found.attempted > 0
        assert found.failed == 0


def test_a_night_without_held_out_users_has_no_quality() -> None:
    summary = summarize("2026-11-22-abc", {}, {"metric": "ndcg@10", "model": 0.0, "num_users": 0, "verdict": "passed"})
    assert summary.model is None
    assert "trend-quality" not in render_index([summary])


def test_a_night_of_a_mistyped_year_does_not_squeeze_the_trends() -> None:
    finished = "2026-10-03T03:00:00+00:00"
    made = [replace(night.summary, finished_at=finished) for night in nights(2)]
    mistyped = replace(made[1], run_id="2062-10-02-abc", run_date="2062-10-02")
    page = render_index([*made, mistyped])
    assert trend_charts.trend_charts(made)[0].svg in page
    assert mistyped.page in page
    assert trend_charts.trend_charts([mistyped])[0].svg in render_index([mistyped])

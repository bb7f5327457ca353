"""The run report shows what the stages recorded, escapes what comes from the data, and is made for every run."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.report.render import SampleList, render_report

TIMING = {"seconds": 2.0, "rows": 1500, "rows_per_s": 750.0, "peak_memory_mb": 120.0}
STAGES: dict[str, Any] = {
    "catalog": TIMING | {"reasons": {"no item_id": 3}},
    "ingest": TIMING | {"reasons": {"bad timestamp": 1234}, "seconds": 4.0},
    "finetune": TIMING | {"history": [{"loss": 4.5, "validation_ndcg@10": 0.125, "windows_per_s": 5000.0}]},
    "fuse": TIMING | {"gains": {"ranker": {"percent": 4.25, "low": -0.5, "high": 9.0, "users": 1200}}},
    "recommend": TIMING
    | {"filtered": {"items": 40, "blocked": 7, "recommendable": 33}, "reranked": {"moved": {"diversity": 21}}},
}
GATE: dict[str, Any] = {
    "passed": True,
    "reason": "ndcg@10 0.2 against popularity's 0.1",
    "warnings": ["few users"],
    "metric": "ndcg@10",
    "model": 0.2,
    "baselines": {"popularity": {"mean": 0.1, "difference": {"mean": 0.1, "low": 0.05, "high": 0.15}}},
    "verdict": "overridden",
    "checks": [
        {"name": "users", "verdict": "refused", "reason": "the users with a list are 3.0 % of those of last night"},
        {"name": "coverage", "verdict": "not_examined", "reason": "no night was published before"},
    ],
    "overridden": ["users"],
}
SAMPLE = SampleList(user_id="u<1>", history=["Lamp & <b>"], recommended=[(1, "<script>x</script>", -1.5)])


@pytest.mark.parametrize(
    "shown",
    [
        "Run 2026-11-22-abc",
        "Refused, published by --force</span>: ndcg@10 0.2 against popularity&#39;s 0.1.",
        "few users",
        "<td>users</td>\n<td>refused, overridden by --force</td>\n<td>the users with a list are 3.0 %",
        "<td>coverage</td>\n<td>not examined</td>\n<td>no night was published before</td>",
        "0.1000\n[0.0500, 0.1500]",
        '<td>ingest: bad timestamp</td><td class="n">1,234</td>',
        '<td>catalog: no item_id</td><td class="n">3</td>',
        '<td class="n">0.1250</td><td class="n">5,000</td>',
        '<td>blocked</td><td class="n">7</td>',
        '<td>diversity</td><td class="n">21</td>',
        '<td>ranker</td><td class="n">+4.2 %</td>\n<td class="n">[-0.5, +9.0]</td><td class="n">1,200</td>',
        "width: 100.0%",
        "width: 50.0%",
        "u&lt;1&gt;",
        "Lamp &amp; &lt;b&gt;",
        "&lt;script&gt;x&lt;/script&gt; <small>-1.50</small>",
    ],
)
def test_the_page_shows(shown: str) -> None:
    assert shown in render_report("2026-11-22-abc", STAGES, GATE, [SAMPLE])


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [("passed", "Passed"), ("refused", "Refused, nothing was published"), ("not_examined", "Passed, but not examined")],
)
def test_the_verdict_is_the_headline(verdict: str, headline: str) -> None:
    page = render_report("2026-11-22-abc", STAGES, GATE | {"verdict": verdict, "overridden": []}, [])
    assert f'<span class="verdict">{headline}</span>' in page
    assert "--force" not in page


def test_a_run_that_recorded_little_has_a_page() -> None:
    page = render_report("2026-11-22-abc", {"ingest": TIMING}, {}, [])
    assert "The night ended before a gate." in page
    assert "No row was quarantined." in page
    for missing in ("Training", "Re-ranking rules", "difference of the new model", "Some lists"):
        assert missing not in page


def test_a_night_without_validation_users_has_a_page() -> None:
    """Then an epoch has no NDCG: a published night ended with "unsupported format string passed to StrictUndefined"."""
    page = render_report("2026-11-22-abc", {"finetune": TIMING | {"history": [{"loss": 4.5}]}}, GATE, [])
    assert '<td class="n">4.5000</td>\n<td class="n">–</td><td class="n">–</td>' in page


def pruned(value: Any, random: Random) -> Any:
    """Nested records of which any field may be missing or null, and any number NaN."""
    if isinstance(value, dict):
        return {key: pruned(inner, random) for key, inner in value.items() if random.random() > 0.1}
    if random.random() < 0.1:
        return None
    if isinstance(value, list):
        return [pruned(inner, random) for inner in value if random.random() > 0.1]
    return float("nan") if isinstance(value, float) and random.random() < 0.1 else value


@given(st.randoms(use_true_random=False))
def test_a_page_is_made_whatever_the_records_lack(random: Random) -> None:
    page = render_report("r", pruned(STAGES, random), pruned(GATE, random), [])
    assert "<h1>Run r</h1>" in page


def test_the_page_says_why_the_ranker_was_not_trained() -> None:
    reason = "the ranker adds +0.1 % [-0.4, +0.6] here; trained every 7th night, last on 2026-11-18"
    page = render_report("2026-11-22-abc", {"finetune": TIMING | {"reused": reason, "history": []}}, GATE, [])
    assert f"The ranker was not trained: {reason}." in page

"""The run report shows what the stages recorded, and escapes what comes from the data."""

from typing import Any

import pytest

from recsys.report.render import SampleList, render_report

TIMING = {"seconds": 2.0, "rows": 1500, "rows_per_s": 750.0, "peak_memory_mb": 120.0}
STAGES: dict[str, Any] = {
    "catalog": TIMING | {"reasons": {"no item_id": 3}},
    "ingest": TIMING | {"reasons": {"bad timestamp": 1234}, "seconds": 4.0},
    "finetune": TIMING | {"history": [{"loss": 4.5, "validation_ndcg@10": 0.125, "windows_per_s": 5000.0}]},
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
}
SAMPLE = SampleList(user_id="u<1>", history=["Lamp & <b>"], recommended=[(1, "<script>x</script>", -1.5)])


@pytest.mark.parametrize(
    "shown",
    [
        "Run 2026-11-22-abc",
        "Passed</span>: ndcg@10 0.2 against popularity&#39;s 0.1.",
        "few users",
        "0.1000\n[0.0500, 0.1500]",
        '<td>ingest: bad timestamp</td><td class="n">1,234</td>',
        '<td>catalog: no item_id</td><td class="n">3</td>',
        '<td class="n">0.1250</td><td class="n">5,000</td>',
        '<td>blocked</td><td class="n">7</td>',
        '<td>diversity</td><td class="n">21</td>',
        "width: 100.0%",
        "width: 50.0%",
        "u&lt;1&gt;",
        "Lamp &amp; &lt;b&gt;",
        "&lt;script&gt;x&lt;/script&gt; <small>-1.50</small>",
    ],
)
def test_the_page_shows(shown: str) -> None:
    assert shown in render_report("2026-11-22-abc", STAGES, GATE, [SAMPLE])


def test_a_run_that_recorded_little_has_a_page() -> None:
    refused = {
        "passed": False,
        "reason": "too few users",
        "warnings": [],
        "metric": "ndcg@10",
        "model": 0,
        "baselines": {},
    }
    page = render_report("2026-11-22-abc", {"ingest": TIMING}, refused, [])
    assert "Refused</span>: too few users." in page
    assert "No row was quarantined." in page
    for missing in ("Training", "Re-ranking rules", "difference of the new model"):
        assert missing not in page

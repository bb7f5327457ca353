"""Popularity as lists: its order, and what is left out; and as a signal, of any day."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.recommend.popular import popular_batch
from recsys.recommend.popularity import daily_log_popularity, log_popularity
from recsys.schema import HISTORIES, RECOMMENDATIONS

IDS = [f"i{number}" for number in range(9)]


def as_histories(seen: list[list[str]]) -> pa.Table:
    rows = [
        {"user_id": f"u{number}", "item_ids": [], "timestamps": [], "events": [], "weights": [], "seen_item_ids": items}
        for number, items in enumerate(seen)
    ]
    return pa.Table.from_pylist(rows, schema=HISTORIES)


@given(
    st.lists(st.sampled_from([*IDS, "gone"]), unique=True),
    st.lists(st.lists(st.sampled_from([*IDS, "lost"]), unique=True), max_size=4),
    st.integers(1, 12),
    st.booleans(),
)
def test_lists_follow_popularity(popular: list[str], seen: list[list[str]], top_k: int, exclude_seen: bool) -> None:
    """The popular in their order, then the rest by id; each without what the user saw."""
    ids, ranking = pa.array(IDS), pa.array(popular, pa.string())
    table = popular_batch(ranking, ids, as_histories(seen), top_k, exclude_seen)
    assert table.schema.equals(RECOMMENDATIONS, check_metadata=True)
    known = [item for item in popular if item in IDS]
    order = known + [item for item in IDS if item not in known]
    expected = []
    for number, items in enumerate(seen):
        kept = [item for item in order if not (exclude_seen and item in items)][:top_k]
        expected += [(f"u{number}", rank, item) for rank, item in enumerate(kept, start=1)]
    columns = (table[name].to_pylist() for name in ("user_id", "rank", "item_id"))
    assert list(zip(*columns, strict=True)) == expected


def test_the_score_is_minus_the_place() -> None:
    table = popular_batch(pa.array(["i4", "gone", "i2"]), pa.array(IDS), as_histories([["i4"]]), 3, exclude_seen=False)
    assert table["item_id"].to_pylist() == ["i4", "i2", "i0"]
    assert table["score"].to_pylist() == [0.0, -1.0, -9.0]
    assert set(table["source"].to_pylist()) == {"popularity"}


@pytest.mark.parametrize("top_k", [1, 3])
def test_who_saw_everything_gets_no_rows(top_k: int) -> None:
    table = popular_batch(pa.array(["i4"]), pa.array(IDS), as_histories([IDS, []]), top_k, exclude_seen=True)
    assert table["user_id"].to_pylist() == ["u1"] * top_k
    assert len(popular_batch(pa.array(["i4"]), pa.array(IDS), as_histories([]), top_k, exclude_seen=True)) == 0


counts = st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=12)


def test_log_popularity_is_of_the_week_and_a_little_of_a_usual_one() -> None:
    found = log_popularity(np.array([3, 0, 0]), np.array([40, 40, 0]), 8.0)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(np.log([4.5, 1.5, 1.0]).tolist())
    in_days = log_popularity(np.array([3]), np.array([40]), 0.2)
    assert in_days.tolist() == pytest.approx([np.log(8)]), "less than a week counts as one"


@given(counts, st.integers(1, 12), st.floats(0.1, 50))
def test_popularity_before_each_day_is_that_of_the_days_before_it(
    rows: list[list[int]], days: int, num_weeks: float
) -> None:
    by_day, ever = np.array(rows), np.array([90, 0, 7, 1])
    days = min(days, len(rows))
    found = daily_log_popularity(by_day, ever, num_weeks, days)
    assert found.shape == (len(rows) - days + 1, 4)
    for place, row in enumerate(found):
        before = by_day[place : place + days].sum(axis=0)
        np.testing.assert_allclose(row, np.log1p(before + 0.1 * ever / max(num_weeks, 1)), rtol=1e-6)

"""Popular items as lists: their order, and which are left out."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.ranking.config import RecommendConfig
from recsys.ranking.popular_lists import popular_batch
from recsys.schema import HISTORIES, RECOMMENDATIONS, REJECTED

IDS = [f"i{number}" for number in range(9)]
END = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


def as_histories(seen: list[list[str]]) -> pa.Table:
    rows = [
        {"user_id": f"u{number}", "item_ids": [], "timestamps": [], "events": [], "weights": [], "seen_item_ids": items}
        for number, items in enumerate(seen)
    ]
    return pa.Table.from_pylist(rows, schema=HISTORIES)


def settings(top_k: int, exclude_seen: bool = True) -> RecommendConfig:
    return RecommendConfig(top_k=top_k, exclude_seen=exclude_seen)


@given(
    st.lists(st.sampled_from([*IDS, "gone"]), unique=True),
    st.lists(st.lists(st.sampled_from([*IDS, "lost"]), unique=True), max_size=4),
    st.integers(1, 12),
    st.booleans(),
)
def test_lists_follow_popularity(popular: list[str], seen: list[list[str]], top_k: int, exclude_seen: bool) -> None:
    """The popular in their order, then the rest by id; each without what the user saw."""
    ids, ranking = pa.array(IDS), pa.array(popular, pa.string())
    table = popular_batch(ranking, ids, as_histories(seen), settings(top_k, exclude_seen))
    assert table.schema.equals(RECOMMENDATIONS, check_metadata=True)
    known = [item for item in popular if item in IDS]
    order = known + [item for item in IDS if item not in known]
    expected = []
    for number, items in enumerate(seen):
        kept = [item for item in order if not (exclude_seen and item in items)][:top_k]
        expected += [(f"u{number}", rank, item) for rank, item in enumerate(kept, start=1)]
    columns = (table[name].to_pylist() for name in ("user_id", "rank", "item_id"))
    assert list(zip(*columns, strict=True)) == expected


@pytest.mark.parametrize("seed", range(4))
def test_lists_of_a_large_catalog_follow_popularity(seed: int) -> None:
    """So many items that a CPU screens them where it can."""
    ids = pa.array([f"i{number:04}" for number in range(2_000)])
    popular = ids.take(pa.array(np.random.default_rng(seed).permutation(2_000)))
    table = popular_batch(popular, ids, as_histories([[], popular[:2].to_pylist()]), settings(20))
    assert table["item_id"].to_pylist() == popular[:20].to_pylist() + popular[2:22].to_pylist()


def test_the_score_is_minus_the_place() -> None:
    table = popular_batch(
        pa.array(["i4", "gone", "i2"]), pa.array(IDS), as_histories([["i4"]]), settings(3, exclude_seen=False)
    )
    assert table["item_id"].to_pylist() == ["i4", "i2", "i0"]
    assert table["score"].to_pylist() == [0.0, -1.0, -9.0]
    assert set(table["source"].to_pylist()) == {"popularity"}


def test_rejected_items_are_left_out_where_asked() -> None:
    """Also where lists may hold what was seen."""
    histories = as_histories([["i4", "i2"], ["i4"]])
    rejected = pa.table([[["i2"], []], [[END], []]], schema=REJECTED)
    for name in REJECTED.names:
        histories = histories.append_column(REJECTED.field(name), rejected[name])
    config = RecommendConfig(top_k=2, exclude_seen=False, exclude_rejected=True)
    table = popular_batch(pa.array(["i2", "i4"]), pa.array(IDS), histories, config)
    assert table["item_id"].to_pylist() == ["i4", "i0", "i2", "i4"]
    seen_too = popular_batch(pa.array(["i2", "i4"]), pa.array(IDS), histories, settings(2))
    assert seen_too["item_id"].to_pylist() == ["i0", "i1", "i2", "i0"]


@pytest.mark.parametrize("top_k", [1, 3])
def test_a_user_who_saw_everything_gets_no_rows(top_k: int) -> None:
    table = popular_batch(pa.array(["i4"]), pa.array(IDS), as_histories([IDS, []]), settings(top_k))
    assert table["user_id"].to_pylist() == ["u1"] * top_k
    assert len(popular_batch(pa.array(["i4"]), pa.array(IDS), as_histories([]), settings(top_k))) == 0

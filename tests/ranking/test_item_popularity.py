"""Popularity of the items of a catalog."""

import pyarrow as pa

from recsys.ranking.item_popularity import item_popularity
from recsys.schema import ITEM_COUNTS


def test_counts_stand_at_their_items_and_unknown_ids_are_skipped() -> None:
    counts = pa.table({"item_id": ["c", "x", "a"], "num": [7, 5, 2]}, schema=ITEM_COUNTS)
    assert item_popularity(counts, pa.array(["a", "b", "c"])).tolist() == [2, 0, 7]
    assert item_popularity(ITEM_COUNTS.empty_table(), pa.array(["a"])).tolist() == [0]

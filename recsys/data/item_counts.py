"""Count the interactions with each item, rank items by the counts, and find the most popular ones."""

import datetime as dt
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.schema import ITEM_COUNTS, TIMESTAMP

#: Days before the cutoff whose interactions make the popularity baseline of the gate.
RECENT_DAYS = 7
#: The short head is this percentage of the catalog, by training interactions. The rest is the long tail.
HEAD_PERCENT = 20


def count_items(interactions: pa.Table, since: dt.datetime | None = None) -> pa.Table:
    """ITEM_COUNTS of the interactions at or after `since` (None: of all). Items without interactions have no row."""
    if since is not None:
        assert since.tzinfo is not None, f"since={since} has no time zone"
        interactions = interactions.filter(pc.greater_equal(interactions["timestamp"], pa.scalar(since, TIMESTAMP)))
    counted = interactions.group_by("item_id").aggregate([([], "count_all")])
    return _best_first(counted.rename_columns({"count_all": "num"}))


def merge_counts(counts: Sequence[pa.Table]) -> pa.Table:
    """ITEM_COUNTS summed over shards, in any order."""
    table = pa.concat_tables([ITEM_COUNTS.empty_table(), *counts])
    return _best_first(table.group_by("item_id").aggregate([("num", "sum")]).rename_columns({"num_sum": "num"}))


def recent_popularity(recent_counts: pa.Table, all_counts: pa.Table) -> pa.Array:
    """Item ids, best first: by recent count, then items without recent interactions by their count of all time."""
    ranked = [*_best_first(recent_counts)["item_id"].chunks, *_best_first(all_counts)["item_id"].chunks]
    return pc.unique(pa.chunked_array(ranked, pa.string()))  # the first appearance of an id decides its place


def head_items(num_interactions: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Bool [I]: items of the short head, the top 20 % of the catalog by training interactions, and at least one item.

    Items without interactions are never in the short head. Of equal counts the lower index comes first.

    >>> head_items(np.array([3, 9, 9, 1, 0, 0])).tolist()
    [False, True, True, False, False, False]
    """
    assert not len(num_interactions) or num_interactions.min() >= 0, "a count is negative"
    num_head = -(-len(num_interactions) * HEAD_PERCENT // 100)
    head = np.zeros(len(num_interactions), dtype=bool)
    head[np.argsort(-num_interactions, kind="stable")[:num_head]] = True
    known: npt.NDArray[np.bool_] = head & (num_interactions > 0)
    return known


def _best_first(counts: pa.Table) -> pa.Table:
    ordered = counts.select(ITEM_COUNTS.names).sort_by([("num", "descending"), ("item_id", "ascending")])
    return ordered.cast(ITEM_COUNTS)

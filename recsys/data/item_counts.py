"""Items by how often they were touched: the baseline that a model must beat; it knows no user."""

import datetime as dt
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.schema import ITEM_COUNTS, TIMESTAMP

#: Window of the gate's baseline, days before the cutoff.
RECENT_DAYS = 7
#: The short head: this share of the catalog, by training interactions. The rest is the long tail.
HEAD_PERCENT = 20


def count_items(interactions: pa.Table, since: dt.datetime | None = None) -> pa.Table:
    """ITEM_COUNTS of INTERACTIONS at or after `since`; None: of all of them. No row for an item without any."""
    if since is not None:
        assert since.tzinfo is not None, f"since={since} has no time zone"
        interactions = interactions.filter(pc.greater_equal(interactions["timestamp"], pa.scalar(since, TIMESTAMP)))
    counted = interactions.group_by("item_id").aggregate([([], "count_all")])
    return _best_first(counted.rename_columns({"count_all": "num"}))


def merge_counts(counts: Sequence[pa.Table]) -> pa.Table:
    """ITEM_COUNTS summed over shards, whose order does not matter."""
    table = pa.concat_tables([ITEM_COUNTS.empty_table(), *counts])
    return _best_first(table.group_by("item_id").aggregate([("num", "sum")]).rename_columns({"num_sum": "num"}))


def recent_popularity(recent_counts: pa.Table, all_counts: pa.Table) -> pa.Array:
    """Item ids best first: by recent count, then the items without a recent interaction by their count of all time."""
    ranked = [*_best_first(recent_counts)["item_id"].chunks, *_best_first(all_counts)["item_id"].chunks]
    return pc.unique(pa.chunked_array(ranked, pa.string()))  # keeps the order of first appearance


def head_items(num_interactions: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Which items [I] are the short head: the top 20 % of the catalog by training interactions, at least one item.

    An item without any interaction is never of it; equals come by index.

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

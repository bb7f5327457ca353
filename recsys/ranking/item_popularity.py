"""How often each item of a catalog was taken. Shapes: I items."""

import numpy as np
import pyarrow as pa

from recsys.model.features import index_items
from recsys.ranking.order import Ints


def item_popularity(counts: pa.Table, item_ids: pa.Array) -> Ints:
    """[I] int64 interactions of each item, 0 where `counts` has no row for it.

    Args:
        counts: ITEM_COUNTS; rows of items that are not in the catalog are skipped.
        item_ids: [I] sorted ids of the catalog.
    """
    popularity = np.zeros(len(item_ids), dtype=np.int64)
    rows = index_items(counts["item_id"], item_ids)
    popularity[rows[rows >= 0]] = counts["num"].to_numpy()[rows >= 0]
    return popularity

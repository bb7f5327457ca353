"""Which items training saw: not those whose events before the cutoff are all in baskets that validation holds out.

Shapes: I items.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.item_counts import merge_counts
from recsys.pipeline.run import Run
from recsys.pipeline.stored.stored_item_counts import read_item_counts
from recsys.ranking.item_popularity import item_popularity
from recsys.storage.tables import read_table, write_table


def write_held_out_counts(run: Run, counts: Sequence[pa.Table]) -> None:
    """Store how often each item is in the baskets that validation holds out, from ITEM_COUNTS of each shard."""
    merged = merge_counts(counts)
    write_table(run.storage, _path(run), merged, merged.schema)


def learned_counts(run: Run, item_ids: pa.Array) -> npt.NDArray[np.int64]:
    """[I] events of each item before the cutoff; 0 for an item whose events are all held out for validation.

    A night of an older release did not store what is held out. There no event counts as such.
    """
    counts = read_item_counts(run, "train", item_ids)
    if run.storage.exists(_path(run)):
        counts[counts == item_popularity(read_table(run.storage, _path(run)), item_ids)] = 0
    return counts


def _path(run: Run) -> str:
    return f"{run.folder.dir}/item_counts_held_out.parquet"

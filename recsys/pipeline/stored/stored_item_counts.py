"""Reads how often each item of the catalog was taken, on some days of a night's events."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.pipeline.run import CountedDays, Run
from recsys.ranking.item_popularity import item_popularity
from recsys.storage.tables import read_table


def read_item_counts(run: Run, days: CountedDays, item_ids: pa.Array) -> npt.NDArray[np.int64]:
    """[I] interactions of each item; ``item_ids`` [I] are the sorted ids of the catalog."""
    return item_popularity(read_table(run.storage, run.item_counts_path(days)), item_ids)

"""Reads how often items were taken, on some days of a night's events."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.item_counts import recent_popularity
from recsys.pipeline.run import COUNTS_OF_VIEW, CountedDays, Run
from recsys.ranking.item_popularity import item_popularity
from recsys.signals.signal import DataView
from recsys.storage.tables import read_table


def read_item_counts(run: Run, days: CountedDays, item_ids: pa.Array) -> npt.NDArray[np.int64]:
    """[I] interactions of each item; ``item_ids`` [I] are the sorted ids of the catalog."""
    return item_popularity(read_table(run.storage, run.item_counts_path(days)), item_ids)


def read_popularity(run: Run, view: DataView) -> pa.Array:
    """Ids of the items of a view, best first, see `recent_popularity`."""
    return recent_popularity(*(read_table(run.storage, run.item_counts_path(days)) for days in COUNTS_OF_VIEW[view]))

"""The cold items of each data view, and their donors."""

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.model.features import index_items
from recsys.pipeline.cluster import for_each_part, peak_of
from recsys.pipeline.model_records import MatchedColdItems
from recsys.pipeline.run import COUNTS_OF_VIEW, CountedDays, Record, Run
from recsys.pipeline.stages import INGEST_CATALOG, SHUFFLE_HISTORIES
from recsys.pipeline.stored_vectors import read_text_vectors
from recsys.ranking.item_popularity import item_popularity
from recsys.schema import COLD_ITEMS, DONORS, TIMESTAMP
from recsys.signals.donors import Donors, find_donors
from recsys.signals.products import unit_rows
from recsys.signals.signal import DataView
from recsys.storage.tables import read_table, write_table


def match_cold_items(run: Run) -> MatchedColdItems:
    """Find donors for the items that training has not seen, and for those that nobody took."""
    parts = sorted({known for _, known in COUNTS_OF_VIEW.values()})
    rows = run.record(SHUFFLE_HISTORIES).rows
    done = for_each_part(parts, partial(_matcher, run), label="match cold items", rows=rows)
    records = dict(zip(parts, done, strict=True))
    return MatchedColdItems(
        rows=run.record(INGEST_CATALOG).items,
        cold_items=records[COUNTS_OF_VIEW["full"][1]]["cold"],
        cold_in_training=records[COUNTS_OF_VIEW["test"][1]]["cold"],
        peak_memory_mb=peak_of(list(records.values())),
    )


def read_donors(run: Run, view: DataView) -> Donors:
    """The donors of the items that are cold in a view."""
    return Donors(read_table(run.storage, _path(run, COUNTS_OF_VIEW[view][1])), run.record(INGEST_CATALOG).items)


def read_cold_items(run: Run, view: DataView, popularity: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """[I] the items that are cold in a view: nobody took or rejected them yet. Some of them have no donors.

    Args:
        run: Whose cold items.
        view: The days that may be seen.
        popularity: [I] interactions in that view. A night of an older release did not store its cold items; there they
            are the items without interactions, as that release took them.
    """
    path = _cold_path(run, COUNTS_OF_VIEW[view][1])
    if not run.storage.exists(path):
        return np.asarray(popularity == 0)
    is_cold = np.zeros(len(popularity), dtype=bool)
    is_cold[read_table(run.storage, path)["item"].to_numpy()] = True
    return is_cold


def _path(run: Run, part: str) -> str:
    return f"{run.folder.dir}/donors/{part}.parquet"


def _cold_path(run: Run, part: str) -> str:
    return f"{run.folder.dir}/donors/{part}_cold_items.parquet"


def _matcher(run: Run) -> Callable[[str], Record]:
    item_ids, text_vectors = read_text_vectors(run, run.encoder_id)
    vectors = unit_rows(text_vectors)

    def match(part: str) -> Record:
        counts = read_table(run.storage, run.item_counts_path(cast(CountedDays, part)))
        known = np.asarray(item_popularity(counts, item_ids) > 0)
        rejected = index_items(_rejected_items(run, run.cutoff if part == "train" else run.end), item_ids)
        cold = ~known
        cold[rejected] = False  # an item that people only send back is not new
        rows = pa.Table.from_arrays([pa.array(np.flatnonzero(cold).astype(np.int32))], schema=COLD_ITEMS)
        write_table(run.storage, _cold_path(run, part), rows, COLD_ITEMS)
        write_table(run.storage, _path(run, part), find_donors(vectors, cold, known), DONORS)
        return {"cold": int(cold.sum())}

    return match


def _rejected_items(run: Run, until: dt.datetime) -> pa.Array:
    """Ids of the items that anybody rejected before a moment."""
    found = [pa.array([], pa.string())]
    for shard in run.record(SHUFFLE_HISTORIES).shards:
        path = f"{run.non_positives_dir}/{shard}.parquet"
        if run.storage.exists(path):
            events = read_table(run.storage, path, ["item_id", "timestamp", "weight"])
            early = pc.less(events["timestamp"], pa.scalar(until, TIMESTAMP))
            found.append(pc.unique(events.filter(pc.and_(early, pc.less(events["weight"], 0.0)))["item_id"]))
    return pc.unique(pa.chunked_array(found))

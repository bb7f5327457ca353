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
from recsys.pipeline.model_records import MatchedColdItems
from recsys.pipeline.run import COUNTS_OF_VIEW, CountedDays, Record, Run
from recsys.pipeline.stages import INGEST_CATALOG, SHUFFLE_HISTORIES
from recsys.pipeline.stored.shard_tables import read_non_positives
from recsys.pipeline.stored.stored_item_counts import read_item_counts
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.pipeline.training.learned_items import learned_counts
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.schema import COLD_ITEMS, DONORS, TIMESTAMP
from recsys.signals.donors import Donors, find_donors
from recsys.signals.products import unit_rows
from recsys.signals.signal import DataView
from recsys.storage.tables import read_table, write_table

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_VALIDATION = "validation"


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
    return Donors(read_table(run.storage, _path(run, _part_of(run, view))), run.record(INGEST_CATALOG).items)


def read_cold_items(run: Run, view: DataView, popularity: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """[I] the items that are cold in a view: nobody took or rejected them yet. Some of them have no donors.

    Args:
        run: Whose cold items.
        view: The days that may be seen.
        popularity: [I] interactions in that view. A night of an older release did not store its cold items; there they
            are the items without interactions, as that release took them.
    """
    path = _cold_path(run, _part_of(run, view))
    if not run.storage.exists(path):
        return np.asarray(popularity == 0)
    is_cold = np.zeros(len(popularity), dtype=bool)
    is_cold[read_table(run.storage, path)["item"].to_numpy()] = True
    return is_cold


def _part_of(run: Run, view: DataView) -> str:
    """The stored part of a view. That of `validation` is stored only where it differs from that of `test`."""
    own = view == _VALIDATION and run.storage.exists(_path(run, _VALIDATION))
    return _VALIDATION if own else COUNTS_OF_VIEW[view][1]


def _path(run: Run, part: str) -> str:
    return f"{run.folder.dir}/donors/{part}.parquet"


def _cold_path(run: Run, part: str) -> str:
    return f"{run.folder.dir}/donors/{part}_cold_items.parquet"


def _matcher(run: Run) -> Callable[[str], Record]:
    item_ids, text_vectors = read_text_vectors(run, run.encoder_id)
    vectors = unit_rows(text_vectors)

    def match(part: str) -> Record:
        known = np.asarray(read_item_counts(run, cast(CountedDays, part), item_ids) > 0)
        rejected = index_items(_rejected_items(run, run.cutoff if part == "train" else run.end), item_ids)
        if part == COUNTS_OF_VIEW["validation"][1]:
            match_validation(known, rejected)
        return {"cold": write(part, known, rejected)}

    def match_validation(known: Bools, rejected: Ints) -> None:
        """Items whose events are all in baskets that validation holds out are cold there: nothing learned from them."""
        learned = learned_counts(run, item_ids) > 0
        if not np.array_equal(learned, known):
            write(_VALIDATION, learned, rejected)
        else:
            for path in (_path(run, _VALIDATION), _cold_path(run, _VALIDATION)):
                run.storage.delete(path)  # of a start that held out others

    def write(part: str, known: Bools, rejected: Ints) -> int:
        cold = ~known
        cold[rejected] = False  # an item that people only send back is not new
        rows = pa.Table.from_arrays([pa.array(np.flatnonzero(cold).astype(np.int32))], schema=COLD_ITEMS)
        write_table(run.storage, _cold_path(run, part), rows, COLD_ITEMS)
        write_table(run.storage, _path(run, part), find_donors(vectors, cold, known), DONORS)
        return int(cold.sum())

    return match


def _rejected_items(run: Run, until: dt.datetime) -> pa.Array:
    """Ids of the items that anybody rejected before a moment."""
    found = [pa.array([], pa.string())]
    for shard in run.record(SHUFFLE_HISTORIES).shards:
        events = read_non_positives(run, shard, ["item_id", "timestamp", "weight"])
        early = pc.less(events["timestamp"], pa.scalar(until, TIMESTAMP))
        found.append(pc.unique(events.filter(pc.and_(early, pc.less(events["weight"], 0.0)))["item_id"]))
    return pc.unique(pa.chunked_array(found))

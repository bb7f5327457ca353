"""The tables `metrics` and `item_report` of a night, which are published with its lists. Shapes: I items."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.item_counts import head_items
from recsys.evaluation.night_metrics import night_metrics
from recsys.pipeline.list_records import WrittenShard
from recsys.pipeline.run import Run
from recsys.pipeline.stages import WRITE_LISTS
from recsys.ranking.item_popularity import item_popularity
from recsys.schema import ITEM_REPORT, METRICS
from recsys.storage.manifest import PublishedTable, lists_folder
from recsys.storage.night_tables import write_night_table
from recsys.storage.tables import iter_batches, read_table

#: Rows of lists that are read at a time.
BATCH_ROWS = 262_144
#: The first places of a list, which are counted separately.
TOP = 10


def write_analyst_tables(run: Run, records: Mapping[str, Mapping[str, Any]]) -> dict[str, PublishedTable]:
    """Write both tables, and return their entries for the manifest by name.

    Args:
        run: A run with finished lists.
        records: The stored records of its finished stages, by name.
    """
    metrics = night_metrics(run.date, records)
    return {
        "metrics": write_night_table(run.folder, "metrics", metrics, METRICS),
        "item_report": write_night_table(run.folder, "item_report", item_report(run), ITEM_REPORT),
    }


def item_report(run: Run) -> pa.Table:
    """ITEM_REPORT of the catalog, in its order."""
    item_ids = read_table(run.storage, run.catalog_path, ["item_id"])["item_id"].combine_chunks()
    in_lists, in_top = np.zeros((2, len(item_ids)), dtype=np.int64)
    for shard in run.parts(WRITE_LISTS, WrittenShard).values():
        path = f"{lists_folder(run.folder)}/{shard.name}"
        for rows in iter_batches(run.storage, path, BATCH_ROWS, ["rank", "item_id"]):
            # An item that the catalog does not hold is a fault of the lists, which their checks name.
            items = np.asarray(pc.fill_null(pc.index_in(rows["item_id"], value_set=item_ids), -1))
            known = items >= 0
            in_lists += np.bincount(items[known], minlength=len(item_ids))
            known &= rows["rank"].to_numpy() <= TOP
            in_top += np.bincount(items[known], minlength=len(item_ids))
    ever = item_popularity(read_table(run.storage, run.item_counts_path("full")), item_ids)
    week = item_popularity(read_table(run.storage, run.item_counts_path("full_7d")), item_ids)
    columns = [item_ids, in_lists, in_top, week, ever == 0, ~head_items(ever)]
    return pa.table(columns, schema=ITEM_REPORT)

"""The tables `metrics` and `item_report` of a night, which are published with its lists."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from recsys.data.item_counts import head_items
from recsys.evaluation.night_metrics import night_metrics
from recsys.pipeline.run import Run
from recsys.pipeline.stages import CHECK_LISTS
from recsys.pipeline.stored.item_ids import read_item_ids
from recsys.pipeline.stored.stored_item_counts import read_item_counts
from recsys.schema import ITEM_REPORT, METRICS
from recsys.storage.manifest import PublishedTable
from recsys.storage.night_tables import write_night_table
from recsys.storage.tables import read_table


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
    item_ids = read_item_ids(run)
    places = read_table(run.storage, run.record(CHECK_LISTS).item_places)
    ever = read_item_counts(run, "full", item_ids)
    week = read_item_counts(run, "full_7d", item_ids)
    columns = [item_ids, places["num_lists"], places["num_top_10"], week, ever == 0, ~head_items(ever)]
    return pa.table(columns, schema=ITEM_REPORT)

"""ITEM_COUNTS of each shard, by the days that are counted, and their sum."""

import datetime as dt
from collections.abc import Sequence
from typing import get_args

import pyarrow as pa

from recsys.data.item_counts import RECENT_DAYS, count_items, merge_counts
from recsys.pipeline.run import CountedDays, Run
from recsys.storage.tables import read_table, write_table


def write_shard_counts(run: Run, shard: str, interactions: pa.Table, train: pa.Table) -> None:
    """Count the interactions with each item of one shard.

    Args:
        run: The run.
        shard: Name of the shard.
        interactions: All of the shard.
        train: Those before the cutoff.
    """
    week = dt.timedelta(days=RECENT_DAYS)
    counts: dict[CountedDays, pa.Table] = {
        "train": count_items(train),
        "train_7d": count_items(train, run.cutoff - week),
        "full": count_items(interactions),
        "full_7d": count_items(interactions, run.end - week),
    }
    for days, table in counts.items():
        write_table(run.storage, _path(run, days, shard), table, table.schema)


def merge_shard_counts(run: Run, shards: Sequence[str]) -> None:
    """Sum the counts of all shards and write them for the later stages."""
    for days in get_args(CountedDays):
        merged = merge_counts([read_table(run.storage, _path(run, days, shard)) for shard in shards])
        write_table(run.storage, run.item_counts_path(days), merged, merged.schema)


def _path(run: Run, days: CountedDays, shard: str) -> str:
    return f"{run.folder.dir}/item_counts/{days}-{shard}.parquet"

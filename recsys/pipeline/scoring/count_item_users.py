"""How many training users have an interaction with each item. Only an evaluation in depth needs it."""

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.item_counts import count_items, merge_counts
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.stored.shard_tables import read_interactions
from recsys.pipeline.workers.cluster import for_each_part
from recsys.ranking.item_popularity import item_popularity
from recsys.schema import ITEM_COUNTS
from recsys.storage.tables import read_table, write_table


def count_item_users(run: Run) -> int:
    """Count over the shards; returns the number of training users."""
    shards = run.record(SHUFFLE_HISTORIES).shards
    records = for_each_part(
        shards,
        partial(_counter, run),
        label="item users",
        rows=run.record(SHUFFLE_HISTORIES).rows,
        num_workers=run.config.recommend.num_workers,
    )
    counts = merge_counts([read_table(run.storage, _part_path(run, shard)) for shard in shards])
    write_table(run.storage, _path(run), counts, ITEM_COUNTS)
    run.storage.delete_folder(_folder(run))
    return sum(record["users"] for record in records)


def read_item_users(run: Run, item_ids: pa.Array) -> npt.NDArray[np.int64]:
    """[I] training users of each item, after `count_item_users`; ``item_ids`` [I] are the sorted ids of the catalog."""
    return item_popularity(read_table(run.storage, _path(run)), item_ids)


def _counter(run: Run) -> Callable[[str], Record]:
    def count(shard: str) -> Record:
        train = run.split(read_interactions(run, shard)).train
        pairs = train.group_by(["user_id", "item_id"]).aggregate([])
        write_table(run.storage, _part_path(run, shard), count_items(pairs), ITEM_COUNTS)
        return {"users": pc.count_distinct(train["user_id"]).as_py()}

    return count


def _path(run: Run) -> str:
    return f"{run.folder.dir}/item_users.parquet"


def _folder(run: Run) -> str:
    return f"{run.folder.dir}/item_users"


def _part_path(run: Run, shard: str) -> str:
    return f"{_folder(run)}/{shard}.parquet"

"""How many training users touched each item: one more pass over the shards, which only a thorough evaluation needs."""

from collections.abc import Callable
from functools import partial

import pyarrow.compute as pc

from recsys.data.popularity import count_items, merge_counts
from recsys.distributed.cluster import for_each_part
from recsys.distributed.night import Night, Record
from recsys.schema import ITEM_COUNTS
from recsys.storage.tables import read_table, write_table


def item_users_path(night: Night) -> str:
    """ITEM_COUNTS of users instead of interactions: each user counts once for an item."""
    return f"{night.run.dir}/item_users.parquet"


def count_item_users(night: Night) -> int:
    """Write the table above; answers the number of training users."""
    shards = night.record("histories")["shards"]
    records = for_each_part(
        shards, partial(_counter, night), label="item users", num_workers=night.config.recommend.num_workers
    )
    counts = merge_counts([read_table(night.storage, _part_path(night, shard)) for shard in shards])
    write_table(night.storage, item_users_path(night), counts, ITEM_COUNTS)
    night.storage.delete_folder(_folder(night))
    return sum(record["users"] for record in records)


def _counter(night: Night) -> Callable[[str], Record]:
    def count(shard: str) -> Record:
        train = night.split(read_table(night.storage, f"{night.interactions_dir}/{shard}.parquet")).train
        pairs = train.group_by(["user_id", "item_id"]).aggregate([])
        write_table(night.storage, _part_path(night, shard), count_items(pairs), ITEM_COUNTS)
        return {"users": pc.count_distinct(train["user_id"]).as_py()}

    return count


def _folder(night: Night) -> str:
    return f"{night.run.dir}/item_users"


def _part_path(night: Night, shard: str) -> str:
    return f"{_folder(night)}/{shard}.parquet"

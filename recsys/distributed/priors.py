"""What follows what, what is popular and what is taken again, counted over the shards.

The counting itself is in `recsys.recommend`.

Counted from three points of view, see `night.AsOf`: the weights of the signals are fitted without the moments that they
are fitted on, the gate judges without the holdout, and the lists know everything.
"""

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import cast, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import newest_events, rank_ids
from recsys.distributed.cluster import for_each_part, peak_of
from recsys.distributed.night import AsOf, Night, Record
from recsys.model.features import index_items
from recsys.recommend.neighbours import Neighbours
from recsys.recommend.popularity import LONGEST_DAYS, log_popularity
from recsys.recommend.returns import count_returns, log_returns
from recsys.recommend.tail import item_popularity
from recsys.recommend.transitions import (
    count_transitions,
    merge_totals,
    merge_transitions,
    strongest_transitions,
    total_transitions,
)
from recsys.schema import DAY_COUNTS, ITEM_RETURNS, TIMESTAMP, TRANSITION_TOTALS, TRANSITIONS
from recsys.storage.tables import read_table, write_table

#: Items whose transitions are merged together.
ITEMS_PER_RANGE = 50_000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Days whose popularity is held at once: of 100,000 items each takes 1.6 MB.
MOST_MOMENTS = 256
_MICROS_PER_DAY = 86_400_000_000


def count_priors(night: Night) -> Record:
    """Count transitions, returns and daily popularity: by shard, then by range of items."""
    shards: list[str] = night.record("histories")["shards"]
    counted = for_each_part(shards, partial(_shard_counter, night), label="transitions")
    for as_of in get_args(AsOf):
        totals = merge_totals([read_table(night.storage, _totals_path(night, as_of, shard)) for shard in shards])
        write_table(night.storage, night.transition_totals_path(as_of), totals, TRANSITION_TOTALS)
        returns = merge_totals([read_table(night.storage, _returns_path(night, as_of, shard)) for shard in shards])
        write_table(night.storage, night.returns_path(as_of), returns, ITEM_RETURNS)
    days = pa.concat_tables([read_table(night.storage, _days_path(night, shard)) for shard in shards])
    write_table(night.storage, night.day_counts_path, _sum_days(days), DAY_COUNTS)
    parts = [f"{as_of}/{number}" for as_of in get_args(AsOf) for number in range(_num_ranges(night))]
    merged = for_each_part(parts, partial(_range_merger, night, tuple(shards)), label="transitions")
    return {
        "rows": sum(record["rows"] for record in counted),
        "pairs": sum(record["pairs"] for part, record in zip(parts, merged, strict=True) if part.startswith("night")),
        "peak_memory_mb": max(peak_of(counted), peak_of(merged)),
    }


def load_transitions(night: Night, as_of: AsOf) -> Neighbours:
    """The sparse matrices of a finished `count_priors`."""
    folder = night.transitions_dir(as_of)
    parts = [read_table(night.storage, f"{folder}/{number:05d}.parquet") for number in range(_num_ranges(night))]
    return Neighbours.from_table(pa.concat_tables(parts), night.record("catalog")["items"])


def load_returns(night: Night, as_of: AsOf) -> npt.NDArray[np.float32]:
    """[I] `log_returns` of a finished `count_priors`."""
    return log_returns(read_table(night.storage, night.returns_path(as_of)))


def load_popularity(night: Night, as_of: AsOf, item_ids: pa.Array) -> npt.NDArray[np.float32]:
    """[1, H, I] log-popularity over all horizons when the view begins."""
    return _popularity_at(night, item_ids, np.array([_day_of(night.end if as_of == "night" else night.cutoff)]))


def load_daily_popularity(night: Night, item_ids: pa.Array) -> tuple[npt.NDArray[np.float32], Ints]:
    """[G, H, I] log-popularity as days from validation to the cutoff begin, and these days [G] since 1970.

    They are all of the days, or `MOST_MOMENTS` of them, evenly apart, where few users are spread over years.
    """
    first, last = _first_moment(night), _day_of(night.cutoff)
    days = np.arange(first, last + 1, -(-(last + 1 - first) // MOST_MOMENTS))
    return _popularity_at(night, item_ids, days), days


def _popularity_at(night: Night, item_ids: pa.Array, moments: Ints) -> npt.NDArray[np.float32]:
    table = read_table(night.storage, night.day_counts_path)
    days, items, numbers = (table[name].to_numpy().astype(np.int64) for name in DAY_COUNTS.names)
    learned = days < _day_of(night.cutoff)
    counted = np.bincount(items[learned], numbers[learned], minlength=len(item_ids)).astype(np.int64)
    all_learned = item_popularity(read_table(night.storage, night.item_counts_path("all")), item_ids)
    return log_popularity(days, items, numbers, all_learned - counted, moments, _oldest_day(night))


def newest_seen(night: Night, interactions: pa.Table, as_of: AsOf, item_ids: pa.Array) -> tuple[Ints, Ints, Floats]:
    """User from 0, catalog index and age in days of each user's newest events [N] of what may be learned from there.

    Args:
        night: Whose.
        interactions: Sorted, of whole users.
        as_of: From where the past is looked at.
        item_ids: [I] sorted.
    """
    events, now = night.seen_from(interactions, as_of)
    users, items = rank_ids(events["user_id"])[1], index_items(events["item_id"], item_ids)
    age = (now.timestamp() * 1e6 - np.asarray(events["timestamp"].cast(pa.int64()))) / _MICROS_PER_DAY
    newest = newest_events(users, night.config.train.max_events_per_user)
    return users[newest], items[newest], age[newest]


def _shard_counter(night: Night) -> Callable[[str], Record]:
    item_ids = read_table(night.storage, night.catalog_path, ["item_id"])["item_id"].combine_chunks()
    config, num_items = night.config.transitions, len(item_ids)

    def count(shard: str) -> Record:
        interactions = read_table(night.storage, f"{night.interactions_dir}/{shard}.parquet")
        pairs = 0
        for as_of in get_args(AsOf):
            users, items, age = newest_seen(night, interactions, as_of, item_ids)
            counts = count_transitions(users, items, age, num_items, config.window, config.half_life_days)
            pairs += len(counts)
            totals = total_transitions(counts, num_items)
            write_table(night.storage, _totals_path(night, as_of, shard), totals, TRANSITION_TOTALS)
            returns = count_returns(users, items, age, num_items)
            write_table(night.storage, _returns_path(night, as_of, shard), returns, ITEM_RETURNS)
            for number in range(_num_ranges(night)):
                part = _of_range(counts, number)
                write_table(night.storage, _range_path(night, as_of, number, shard), part, TRANSITIONS)
        write_table(night.storage, _days_path(night, shard), _daily_counts(night, interactions, item_ids), DAY_COUNTS)
        return {"rows": len(interactions), "pairs": pairs}

    return count


def _range_merger(night: Night, shards: tuple[str, ...]) -> Callable[[str], Record]:
    num_items = night.record("catalog")["items"]

    def merge(part: str) -> Record:
        view, _, number = part.partition("/")
        as_of = cast(AsOf, view)
        paths = [_range_path(night, as_of, int(number), shard) for shard in shards]
        counts = merge_transitions([read_table(night.storage, path) for path in paths], num_items)
        totals = read_table(night.storage, night.transition_totals_path(as_of))
        kept = strongest_transitions(counts, totals, night.config.transitions.neighbours)
        path = f"{night.transitions_dir(as_of)}/{int(number):05d}.parquet"
        write_table(night.storage, path, kept, TRANSITIONS)
        return {"pairs": len(kept)}

    return merge


def _daily_counts(night: Night, interactions: pa.Table, item_ids: pa.Array) -> pa.Table:
    """DAY_COUNTS of one shard: of what is learned, as far back as validation looks, and of all after the cutoff."""
    held_out = pc.greater_equal(interactions["timestamp"], pa.scalar(night.cutoff, TIMESTAMP))
    counted = pa.concat_tables([night.split(interactions).train, interactions.filter(held_out)])
    day = np.asarray(counted["timestamp"].cast(pa.int64())) // _MICROS_PER_DAY
    recent = day >= _first_moment(night) - LONGEST_DAYS
    rows = {
        "day": day[recent].astype(np.int32),
        "item": index_items(counted["item_id"], item_ids)[recent].astype(np.int32),
    }
    return _sum_days(pa.table(rows | {"num": np.ones(int(recent.sum()), dtype=np.int64)}))


def _sum_days(days: pa.Table) -> pa.Table:
    summed = days.group_by(["day", "item"]).aggregate([("num", "sum")]).rename_columns({"num_sum": "num"})
    return summed.sort_by([("day", "ascending"), ("item", "ascending")]).cast(DAY_COUNTS)


def _first_moment(night: Night) -> int:
    """Days since 1970 of the oldest day of validation."""
    days: int = night.record("histories")["validation"]["days"]
    return max(_day_of(night.cutoff) - days, _oldest_day(night))


def _oldest_day(night: Night) -> int:
    return _day_of(dt.datetime.fromisoformat(night.record("histories")["oldest"]))


def _day_of(moment: dt.datetime) -> int:
    return int(moment.timestamp() // 86_400)


def _num_ranges(night: Night) -> int:
    return max(1, -(-int(night.record("catalog")["items"]) // ITEMS_PER_RANGE))


def _of_range(counts: pa.Table, number: int) -> pa.Table:
    item = counts["item"].to_numpy()
    low, high = np.searchsorted(item, [number * ITEMS_PER_RANGE, (number + 1) * ITEMS_PER_RANGE])
    return counts.slice(low, high - low)


def _range_path(night: Night, as_of: AsOf, number: int, shard: str) -> str:
    return f"{night.run.dir}/transition_counts/{as_of}/{number:05d}-{shard}.parquet"


def _totals_path(night: Night, as_of: AsOf, shard: str) -> str:
    return f"{night.run.dir}/transition_counts/{as_of}/totals-{shard}.parquet"


def _returns_path(night: Night, as_of: AsOf, shard: str) -> str:
    return f"{night.run.dir}/transition_counts/{as_of}/returns-{shard}.parquet"


def _days_path(night: Night, shard: str) -> str:
    return f"{night.run.dir}/transition_counts/days-{shard}.parquet"

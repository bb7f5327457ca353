"""What follows what, what is popular and what is taken again, counted over the shards.

The counting itself is in `recsys.ranking`.

Counted from three data views, see `run.DataView`: the weights of the signals are fitted without the moments that they
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
from recsys.model.features import index_items
from recsys.pipeline.cluster import for_each_part, peak_of
from recsys.pipeline.records import ItemStatistics
from recsys.pipeline.run import DataView, Record, Run
from recsys.pipeline.stages import INGEST_CATALOG, SHUFFLE_HISTORIES
from recsys.ranking.item_popularity import item_popularity
from recsys.schema import DAY_COUNTS, ITEM_RETURNS, TIMESTAMP, TRANSITION_TOTALS, TRANSITIONS
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import LONGEST_DAYS, log_popularity
from recsys.signals.returns import count_returns, log_returns
from recsys.signals.transitions import (
    count_transitions,
    merge_totals,
    merge_transitions,
    strongest_transitions,
    total_transitions,
)
from recsys.storage.tables import read_table, write_table

#: Items whose transitions are merged together.
ITEMS_PER_RANGE = 50_000

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Days whose popularity is held at once: of 100,000 items each takes 1.6 MB.
MOST_MOMENTS = 256
_MICROS_PER_DAY = 86_400_000_000


def count_priors(run: Run) -> ItemStatistics:
    """Count transitions, returns and daily popularity: by shard, then by range of items."""
    shards = run.record(SHUFFLE_HISTORIES).shards
    counted = for_each_part(shards, partial(_shard_counter, run), label="transitions")
    for view in get_args(DataView):
        totals = merge_totals([read_table(run.storage, _totals_path(run, view, shard)) for shard in shards])
        write_table(run.storage, run.transition_totals_path(view), totals, TRANSITION_TOTALS)
        returns = merge_totals([read_table(run.storage, _returns_path(run, view, shard)) for shard in shards])
        write_table(run.storage, run.returns_path(view), returns, ITEM_RETURNS)
    days = pa.concat_tables([read_table(run.storage, _days_path(run, shard)) for shard in shards])
    write_table(run.storage, run.day_counts_path, _sum_days(days), DAY_COUNTS)
    parts = [f"{view}/{number}" for view in get_args(DataView) for number in range(_num_ranges(run))]
    merged = for_each_part(parts, partial(_range_merger, run, tuple(shards)), label="transitions")
    return ItemStatistics(
        rows=sum(record["rows"] for record in counted),
        pairs=sum(record["pairs"] for part, record in zip(parts, merged, strict=True) if part.startswith("full")),
        peak_memory_mb=max(peak_of(counted), peak_of(merged)),
    )


def load_transitions(run: Run, view: DataView) -> Neighbours:
    """The sparse matrices of a finished `count_priors`."""
    folder = run.transitions_dir(view)
    parts = [read_table(run.storage, f"{folder}/{number:05d}.parquet") for number in range(_num_ranges(run))]
    return Neighbours.from_table(pa.concat_tables(parts), run.record(INGEST_CATALOG).items)


def load_returns(run: Run, view: DataView) -> npt.NDArray[np.float32]:
    """[I] `log_returns` of a finished `count_priors`."""
    return log_returns(read_table(run.storage, run.returns_path(view)))


def load_popularity(run: Run, view: DataView, item_ids: pa.Array) -> npt.NDArray[np.float32]:
    """[1, H, I] log-popularity over all horizons when the view begins."""
    return _popularity_at(run, item_ids, np.array([_day_of(run.end if view == "full" else run.cutoff)]))


def load_daily_popularity(run: Run, item_ids: pa.Array) -> tuple[npt.NDArray[np.float32], Ints]:
    """[G, H, I] log-popularity as days from validation to the cutoff begin, and these days [G] since 1970.

    They are all of the days, or `MOST_MOMENTS` of them, evenly apart, where few users are spread over years.
    """
    first, last = _first_moment(run), _day_of(run.cutoff)
    days = np.arange(first, last + 1, -(-(last + 1 - first) // MOST_MOMENTS))
    return _popularity_at(run, item_ids, days), days


def _popularity_at(run: Run, item_ids: pa.Array, moments: Ints) -> npt.NDArray[np.float32]:
    table = read_table(run.storage, run.day_counts_path)
    days, items, numbers = (table[name].to_numpy().astype(np.int64) for name in DAY_COUNTS.names)
    learned = days < _day_of(run.cutoff)
    counted = np.bincount(items[learned], numbers[learned], minlength=len(item_ids)).astype(np.int64)
    all_learned = item_popularity(read_table(run.storage, run.item_counts_path("train")), item_ids)
    return log_popularity(days, items, numbers, all_learned - counted, moments, _oldest_day(run))


def newest_seen(run: Run, interactions: pa.Table, view: DataView, item_ids: pa.Array) -> tuple[Ints, Ints, Floats]:
    """User from 0, catalog index and age in days of each user's newest events [N] of what may be learned from there.

    Args:
        run: Whose.
        interactions: Sorted, of whole users.
        view: From where the past is looked at.
        item_ids: [I] sorted.
    """
    events, now = run.seen_from(interactions, view)
    users, items = rank_ids(events["user_id"])[1], index_items(events["item_id"], item_ids)
    age = (now.timestamp() * 1e6 - np.asarray(events["timestamp"].cast(pa.int64()))) / _MICROS_PER_DAY
    newest = newest_events(users, run.config.train.max_events_per_user)
    return users[newest], items[newest], age[newest]


def _shard_counter(run: Run) -> Callable[[str], Record]:
    item_ids = read_table(run.storage, run.catalog_path, ["item_id"])["item_id"].combine_chunks()
    config, num_items = run.config.transitions, len(item_ids)

    def count(shard: str) -> Record:
        interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
        pairs = 0
        for view in get_args(DataView):
            users, items, age = newest_seen(run, interactions, view, item_ids)
            counts = count_transitions(users, items, age, num_items, config.window, config.half_life_days)
            pairs += len(counts)
            totals = total_transitions(counts, num_items)
            write_table(run.storage, _totals_path(run, view, shard), totals, TRANSITION_TOTALS)
            returns = count_returns(users, items, age, num_items)
            write_table(run.storage, _returns_path(run, view, shard), returns, ITEM_RETURNS)
            for number in range(_num_ranges(run)):
                part = _of_range(counts, number)
                write_table(run.storage, _range_path(run, view, number, shard), part, TRANSITIONS)
        write_table(run.storage, _days_path(run, shard), _daily_counts(run, interactions, item_ids), DAY_COUNTS)
        return {"rows": len(interactions), "pairs": pairs}

    return count


def _range_merger(run: Run, shards: tuple[str, ...]) -> Callable[[str], Record]:
    num_items = run.record(INGEST_CATALOG).items

    def merge(part: str) -> Record:
        view, _, number = part.partition("/")
        view = cast(DataView, view)
        paths = [_range_path(run, view, int(number), shard) for shard in shards]
        counts = merge_transitions([read_table(run.storage, path) for path in paths], num_items)
        totals = read_table(run.storage, run.transition_totals_path(view))
        kept = strongest_transitions(counts, totals, run.config.transitions.neighbours)
        path = f"{run.transitions_dir(view)}/{int(number):05d}.parquet"
        write_table(run.storage, path, kept, TRANSITIONS)
        return {"pairs": len(kept)}

    return merge


def _daily_counts(run: Run, interactions: pa.Table, item_ids: pa.Array) -> pa.Table:
    """DAY_COUNTS of one shard: of what is learned, as far back as validation looks, and of all after the cutoff."""
    held_out = pc.greater_equal(interactions["timestamp"], pa.scalar(run.cutoff, TIMESTAMP))
    counted = pa.concat_tables([run.split(interactions).train, interactions.filter(held_out)])
    day = np.asarray(counted["timestamp"].cast(pa.int64())) // _MICROS_PER_DAY
    recent = day >= _first_moment(run) - LONGEST_DAYS
    rows = {
        "day": day[recent].astype(np.int32),
        "item": index_items(counted["item_id"], item_ids)[recent].astype(np.int32),
    }
    return _sum_days(pa.table(rows | {"num": np.ones(int(recent.sum()), dtype=np.int64)}))


def _sum_days(days: pa.Table) -> pa.Table:
    summed = days.group_by(["day", "item"]).aggregate([("num", "sum")]).rename_columns({"num_sum": "num"})
    return summed.sort_by([("day", "ascending"), ("item", "ascending")]).cast(DAY_COUNTS)


def _first_moment(run: Run) -> int:
    """Days since 1970 of the oldest day of validation."""
    days = run.record(SHUFFLE_HISTORIES).validation.days
    return max(_day_of(run.cutoff) - days, _oldest_day(run))


def _oldest_day(run: Run) -> int:
    return _day_of(dt.datetime.fromisoformat(run.record(SHUFFLE_HISTORIES).oldest))


def _day_of(moment: dt.datetime) -> int:
    return int(moment.timestamp() // 86_400)


def _num_ranges(run: Run) -> int:
    return max(1, -(-run.record(INGEST_CATALOG).items // ITEMS_PER_RANGE))


def _of_range(counts: pa.Table, number: int) -> pa.Table:
    item = counts["item"].to_numpy()
    low, high = np.searchsorted(item, [number * ITEMS_PER_RANGE, (number + 1) * ITEMS_PER_RANGE])
    return counts.slice(low, high - low)


def _range_path(run: Run, view: DataView, number: int, shard: str) -> str:
    return f"{run.folder.dir}/transition_counts/{view}/{number:05d}-{shard}.parquet"


def _totals_path(run: Run, view: DataView, shard: str) -> str:
    return f"{run.folder.dir}/transition_counts/{view}/totals-{shard}.parquet"


def _returns_path(run: Run, view: DataView, shard: str) -> str:
    return f"{run.folder.dir}/transition_counts/{view}/returns-{shard}.parquet"


def _days_path(run: Run, shard: str) -> str:
    return f"{run.folder.dir}/transition_counts/days-{shard}.parquet"

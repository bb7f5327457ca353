"""What the signals count in the interactions: a map over the shards, then a merge for each signal and data view."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import cast, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.histories import newest_events, rank_ids
from recsys.data.times.moments import MICROS_PER_DAY
from recsys.model.features import index_items
from recsys.pipeline.model_records import CountedSignals
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import INGEST_CATALOG, SHUFFLE_HISTORIES
from recsys.pipeline.stored.item_ids import read_item_ids
from recsys.pipeline.stored.shard_tables import read_interactions
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.pipeline.workers.cluster import for_each_part, peak_of
from recsys.signals.products import unit_rows
from recsys.signals.registry import SIGNALS
from recsys.signals.signal import Counting, DataView, ShardEvents, Signal
from recsys.signals.text_ease import TextEase
from recsys.storage.filesystem import Storage
from recsys.storage.tables import read_sorted_range, read_table, write_table

Ints = npt.NDArray[np.int64]


def count_signals(run: Run) -> CountedSignals:
    """Count all signals, shard by shard, then merge the counts of the shards."""
    histories = run.record(SHUFFLE_HISTORIES)
    shards, rows = histories.shards, histories.rows
    counted = for_each_part(shards, partial(_shard_counter, run), label="count signals", rows=rows)
    parts = [f"{signal.name}/{view}" for signal in SIGNALS for view in signal.views]
    merged = for_each_part(parts, partial(_merger, run, tuple(shards)), label="merge signals", rows=rows)
    merged_rows = dict(zip(parts, (record["rows"] for record in merged), strict=True))
    return CountedSignals(
        rows=sum(record["rows"] for record in counted),
        merged={signal.name: merged_rows[f"{signal.name}/full"] for signal in SIGNALS if "full" in signal.views},
        peak_memory_mb=max(peak_of(counted), peak_of(merged)),
    )


def read_counts(run: Run, signal: Signal, view: DataView) -> pa.Table:
    """The merged table of a signal for a view; a signal that is counted on one view has one table for all."""
    chosen = view if view in signal.views else signal.views[0]
    return read_table(run.storage, _merged_path(run, signal.name, chosen))


def settings_of(run: Run, signal: Signal) -> object:
    """The signal's section of the config; None where it has none."""
    return None if signal.section is None else getattr(run.config, signal.section)


def first_validation_day(run: Run) -> int:
    """Day since 1970 of the oldest day on which a validation user's last basket may lie."""
    cutoff = day_of(run.cutoff)  # where all events are held out, the oldest is after it
    return min(max(cutoff - run.record(SHUFFLE_HISTORIES).validation.days, oldest_day(run)), cutoff)


def oldest_day(run: Run) -> int:
    """Day since 1970 of the oldest event."""
    return day_of(dt.datetime.fromisoformat(run.record(SHUFFLE_HISTORIES).oldest))


def day_of(moment: dt.datetime) -> int:
    """Day since 1970 of a moment."""
    return int(moment.timestamp() // 86_400)


def shard_events(run: Run, interactions: pa.Table, view: DataView, item_ids: pa.Array) -> ShardEvents:
    """What a view may see of a shard.

    Args:
        run: Whose.
        interactions: Sorted, of whole users.
        view: The data view.
        item_ids: [I] sorted ids of the catalog.
    """
    events, now = run.seen_from(interactions, view)
    users, items = rank_ids(events["user_id"])[1], index_items(events["item_id"], item_ids)
    age = (now.timestamp() * 1e6 - np.asarray(events["timestamp"].cast(pa.int64()))) / MICROS_PER_DAY
    newest = newest_events(users, run.config.train.max_events_per_user)
    return ShardEvents(
        interactions=events,
        users=users[newest],
        items=items[newest],
        age_days=age[newest],
        weights=np.asarray(events["weight"]).astype(np.float64)[newest],
        catalog_items=items,
    )


def _counting(run: Run, signal: Signal, text_ease: Callable[[], TextEase] | None = None) -> Counting:
    return Counting(
        num_items=run.record(INGEST_CATALOG).items,
        settings=settings_of(run, signal),
        first_day=first_validation_day(run),
        text_ease=text_ease,
    )


def _shard_counter(run: Run) -> Callable[[str], Record]:
    item_ids = read_item_ids(run)

    def count(shard: str) -> Record:
        interactions = read_interactions(run, shard)
        for view in get_args(DataView):
            events = shard_events(run, interactions, view, item_ids)
            for signal in SIGNALS:
                if view in signal.views:
                    assert signal.counted is not None, f"{signal.name} counts a table without a schema"
                    table = signal.count(events, _counting(run, signal))
                    write_table(run.storage, _counted_path(run, signal.name, view, shard), table, signal.counted)
        return {"rows": len(interactions)}

    return count


def _merger(run: Run, shards: Sequence[str]) -> Callable[[str], Record]:
    @cache  # for all data views that this worker merges
    def text_ease() -> TextEase:
        return TextEase.of(unit_rows(read_text_vectors(run, run.encoder_id)[1]))

    def merge(part: str) -> Record:
        name, _, view = part.partition("/")
        signal = SIGNALS[name]
        assert signal.merged is not None, f"{name} merges to a table without a schema"
        counts = _StoredCounts(run.storage, [_counted_path(run, name, cast(DataView, view), shard) for shard in shards])
        tables = signal.merge(counts, _counting(run, signal, text_ease))
        stats = write_table(run.storage, _merged_path(run, name, cast(DataView, view)), tables, signal.merged)
        return {"rows": stats.rows}

    return merge


class _StoredCounts:
    """The counted tables of one signal and view in the storage; they are read one at a time."""

    def __init__(self, storage: Storage, paths: Sequence[str]) -> None:
        self._storage = storage
        self._paths = paths

    def tables(self, items: range | None = None) -> Iterator[pa.Table]:
        """See `recsys.signals.signal.CountedShards`."""
        for path in self._paths:
            if items is None:
                yield read_table(self._storage, path)
            else:
                yield read_sorted_range(self._storage, path, "item", items)


def _counted_path(run: Run, signal: str, view: DataView, shard: str) -> str:
    return f"{run.folder.dir}/signal_counts/{signal}/{view}/{shard}.parquet"


def _merged_path(run: Run, signal: str, view: DataView) -> str:
    return f"{run.folder.dir}/signals/{signal}/{view}.parquet"

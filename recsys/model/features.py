"""Histories as the index arrays that the ranker reads; it knows no weights and no shards.

Shapes: B users, L history length, I items. Arrays are padded on the right, so that position 0 is the oldest event.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: Time gaps fall into powers of two of seconds: 0 = no earlier event, 1 = the same moment, 31 = 17 years and more.
NUM_GAP_BUCKETS = 32

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBatch:
    """Histories of B users; ``items`` is padded with ``num_items``, the others with 0."""

    items: IntArray
    """[B, L] index of each item."""
    gaps: IntArray
    """[B, L] bucket of the time since the event before; 0 for the first."""
    events: IntArray
    """[B, L] kind of each event; 0 = a kind the model does not know."""
    lengths: IntArray
    """[B] events of each user."""


def index_items(ids: pa.Array | pa.ChunkedArray, item_ids: pa.Array) -> IntArray:
    """Position of each id in ``item_ids``; −1 where it is not there."""
    return _to_numpy(pc.fill_null(pc.index_in(ids, value_set=item_ids), -1))


def index_events(events: pa.Array | pa.ChunkedArray, event_kinds: pa.Array) -> IntArray:
    """1 + position of each kind in ``event_kinds``; 0 where it is not there."""
    return index_items(events, event_kinds) + 1


def gap_buckets(seconds: npt.NDArray[np.float64], first: npt.NDArray[np.bool_]) -> IntArray:
    """Bucket 1 + ⌊log₂(1 + seconds)⌋ of each gap; 0 for a user's first event."""
    buckets = 1 + np.floor(np.log2(1 + np.maximum(seconds, 0))).astype(np.int64)
    return np.where(first, 0, np.minimum(buckets, NUM_GAP_BUCKETS - 1))


def seconds_between(timestamps: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Seconds since the row before; 0 for the first row."""
    micros = _to_numpy(pc.cast(timestamps, pa.int64()))
    return np.diff(micros, prepend=micros[:1]) / 1e6


def encode_histories(histories: pa.Table, item_ids: pa.Array, event_kinds: pa.Array, max_length: int) -> HistoryBatch:
    """The newest ``max_length`` events of each user whose item is in ``item_ids``, as arrays.

    Events that are left out leave no trace: the gap of the next one is measured past them, and the first has none.

    Args:
        histories: HISTORIES table of B users.
        item_ids: [I] sorted ids of the catalog.
        event_kinds: Kinds of events the model was trained on.
        max_length: L.
    """
    lists = histories["item_ids"].combine_chunks()
    users = _to_numpy(pc.list_parent_indices(lists))
    items = index_items(_flat(lists), item_ids)
    kinds = index_events(_flat(histories["events"]), event_kinds)
    known = items >= 0
    seconds = seconds_between(_flat(histories["timestamps"]).filter(pa.array(known)))
    users, items, kinds = users[known], items[known], kinds[known]
    counts = np.bincount(users, minlength=len(histories))
    starts = np.cumsum(counts) - counts
    position = np.arange(len(users)) - starts[users]
    lengths = np.minimum(counts, max_length)
    slot = position - (counts - lengths)[users]
    gaps = gap_buckets(seconds, slot == 0)
    kept = slot >= 0
    rows, slots = users[kept], slot[kept]

    def scatter(values: IntArray, padding: int) -> IntArray:
        grid = np.full((len(histories), max_length), padding, dtype=np.int64)
        grid[rows, slots] = values[kept]
        return grid

    return HistoryBatch(
        items=scatter(items, len(item_ids)), gaps=scatter(gaps, 0), events=scatter(kinds, 0), lengths=lengths
    )


def _flat(column: pa.ChunkedArray | pa.Array) -> Any:
    return column.combine_chunks().flatten() if isinstance(column, pa.ChunkedArray) else column.flatten()


def _to_numpy(column: pa.Array | pa.ChunkedArray) -> IntArray:
    array = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    return np.asarray(array, dtype=np.int64)

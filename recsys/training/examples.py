"""Training windows out of sorted interactions; it knows no model and no loader.

Shapes: W windows, L history length. A window holds up to L + 1 consecutive events of one user: the first L are read,
the last L are predicted. Every event but a user's first is predicted exactly once.
"""

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.config import TrainConfig
from recsys.model.features import gap_buckets, index_events, index_items, seconds_between
from recsys.schema import TIMESTAMP

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


def windows_schema(length: int) -> pa.Schema:
    """Columns of a table of windows; padded with −1 (items) and 0 (gaps, events, weights).

    ``weights`` are of the targets: the first is that of the second item.
    """
    return pa.schema(
        [
            pa.field("items", pa.list_(pa.int32(), length + 1), nullable=False),
            pa.field("gaps", pa.list_(pa.int32(), length), nullable=False),
            pa.field("events", pa.list_(pa.int32(), length), nullable=False),
            pa.field("weights", pa.list_(pa.float32(), length), nullable=False),
        ]
    )


def target_weights(interactions: pa.Table, train: TrainConfig, until: dt.datetime) -> FloatArray:
    """[N] what each event counts for as a target: its own weight × that of its kind × its recency.

    Args:
        interactions: INTERACTIONS.
        train: `event_weights`; `recency_half_life_days`, each of which before ``until`` halves the weight.
        until: The cutoff: no event is later.
    """
    weights: npt.NDArray[np.float64] = interactions["weight"].to_numpy().astype(np.float64)
    if train.event_weights is not None:
        kinds = pa.array(list(train.event_weights), pa.string())
        of_kind = np.array([*train.event_weights.values(), 1.0])  # the last is for kinds that are not named
        weights *= of_kind[index_items(interactions["event"], kinds)]
    if train.recency_half_life_days is not None:
        micros = pc.cast(interactions["timestamp"], pa.int64()).to_numpy()
        days = (until.timestamp() - micros / 1e6) / 86_400
        weights *= 0.5 ** (np.maximum(days, 0.0) / train.recency_half_life_days)
    return weights.astype(np.float32)


def only_since(weights: FloatArray, interactions: pa.Table, since: dt.datetime) -> FloatArray:
    """[N] the weights, 0 for events before ``since``: these are read and not learned."""
    recent = pc.greater_equal(interactions["timestamp"], pa.scalar(since, TIMESTAMP))
    return np.where(np.asarray(recent), weights, np.float32(0))


def with_weight(windows: pa.Table) -> pa.Table:
    """Those of the windows from which anything is learned."""
    length = windows.schema.field("weights").type.list_size
    weights = windows["weights"].combine_chunks().flatten().to_numpy()
    return windows.filter(pa.array(weights.reshape(-1, length).any(axis=1)))


def build_windows(
    interactions: pa.Table,
    item_ids: pa.Array,
    event_kinds: pa.Array,
    length: int,
    max_events: int,
    weights: FloatArray | None = None,
) -> pa.Table:
    """Cut each user's newest ``max_events`` events into windows, the newest window full and the oldest short.

    Args:
        interactions: INTERACTIONS sorted by user and time.
        item_ids: Sorted ids of the catalog; every item must be there.
        event_kinds: Kinds of events in the order of their indices.
        length: L.
        max_events: Newest events of a user that are used.
        weights: [N] of `target_weights`; None: 1 for every event.

    Returns:
        Table of `windows_schema`, by user, newest window first.
    """
    schema = windows_schema(length)
    user, position, count = _positions(interactions["user_id"])
    items = index_items(interactions["item_id"], item_ids)
    assert (items >= 0).all(), "an item outside the catalog passed the ingest"
    kinds = index_events(interactions["event"], event_kinds)
    gaps = gap_buckets(seconds_between(interactions["timestamp"]), position == 0)

    from_end = count - 1 - position
    target = np.flatnonzero((position > 0) & (from_end < max_events - 1))
    if not len(target):
        return schema.empty_table()
    window_of_user = from_end[target] // length
    targets_of_user = np.minimum(count[target], max_events) - 1
    window_size = np.minimum(targets_of_user - window_of_user * length, length)
    slot = window_size - 1 - from_end[target] % length
    key = user[target] * (int(window_of_user.max()) + 1) + window_of_user
    unique, row = np.unique(key, return_inverse=True)

    def grid(width: int, padding: int) -> IntArray:
        return np.full((len(unique), width), padding, dtype=np.int64)

    item_grid, gap_grid, event_grid = grid(length + 1, -1), grid(length, 0), grid(length, 0)
    weight_grid = np.zeros((len(unique), length), dtype=np.float32)
    item_grid[row, slot] = items[target - 1]
    item_grid[row, slot + 1] = items[target]
    gap_grid[row, slot] = np.where(slot == 0, 0, gaps[target - 1])
    event_grid[row, slot] = kinds[target - 1]
    weight_grid[row, slot] = 1.0 if weights is None else weights[target]
    columns = [_fixed_lists(values.astype(np.int32)) for values in (item_grid, gap_grid, event_grid)]
    columns.append(_fixed_lists(weight_grid))
    return pa.Table.from_arrays(columns, schema=schema)


def with_first_target(learned: pa.Table, kept: pa.Table) -> pa.Table:
    """Validation events: what training learns of each user of ``kept``, and the first event that was kept from it.

    Args:
        learned: INTERACTIONS sorted by user and time.
        kept: Later INTERACTIONS of some of its users, sorted alike; the first of each user becomes the target.
    """
    codes = kept["user_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    first = kept.take(np.flatnonzero(np.diff(codes, prepend=-1)))
    known = learned.filter(pc.is_in(learned["user_id"], value_set=first["user_id"].combine_chunks()))
    return pa.concat_tables([known, first]).sort_by([("user_id", "ascending"), ("timestamp", "ascending")])


def _positions(user_ids: pa.ChunkedArray) -> tuple[IntArray, IntArray, IntArray]:
    """For each row of a table sorted by user: the user's number, the row's place within the user, the user's rows."""
    codes = user_ids.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    return codes, np.arange(len(codes)) - starts[codes], counts[codes]


def _fixed_lists(values: npt.NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])

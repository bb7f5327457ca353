"""Training windows from sorted interactions.

A window holds up to L + 1 consecutive events of one user: the first L are read, the last L are predicted. Every event
except a user's first is predicted exactly once. If histories hold texts, searches are read and not predicted, and each
window starts with the user's profile if there is one; then the user's first event is predicted too.

Shapes: N events, L history length, Q texts of users, W windows, T targets.
"""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.splits import unseen
from recsys.model.features import (
    TextKind,
    gap_buckets,
    index_events,
    index_items,
    seconds_between,
    text_columns,
)
from recsys.schema import PROFILES, TIMESTAMP
from recsys.training.config import TrainConfig
from recsys.training.next_days import events_ahead

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowTexts:
    """The texts that windows may hold."""

    texts: pa.Array
    """[Q] distinct texts, ascending; windows hold their row numbers."""
    profiles: pa.Table = dataclasses.field(default_factory=PROFILES.empty_table)
    """PROFILES of the users."""


def windows_schema(length: int, with_texts: bool = False, with_ahead: bool = False) -> pa.Schema:
    """Columns of a table of windows; padded with −1 (items) and 0 (the others).

    ``weights`` are of the targets: the first one belongs to the second item. With texts a window is one place longer,
    for the profile; an item of −1 before the end is a text without an item; and two columns hold the row and the
    `TextKind` of each text. ``ahead`` is `WindowBatch.ahead`.
    """
    width = length + with_texts
    fields = [
        pa.field("items", pa.list_(pa.int32(), width + 1), nullable=False),
        pa.field("gaps", pa.list_(pa.int32(), width), nullable=False),
        pa.field("events", pa.list_(pa.int32(), width), nullable=False),
        pa.field("weights", pa.list_(pa.float32(), width), nullable=False),
    ]
    if with_texts:
        fields += [pa.field(name, pa.list_(pa.int32(), width), nullable=False) for name in ("texts", "text_kinds")]
    if with_ahead:
        fields.append(pa.field("ahead", pa.list_(pa.int32(), width), nullable=False))
    return pa.schema(fields)


def target_weights(interactions: pa.Table, train: TrainConfig, until: dt.datetime) -> FloatArray:
    """[N] weight of each event as a target: its weight × its recency.

    Args:
        interactions: INTERACTIONS.
        train: With `recency_half_life_days`.
        until: The cutoff, from which recency is measured: no event is later.
    """
    weights: npt.NDArray[np.float64] = interactions["weight"].to_numpy().astype(np.float64)
    if train.recency_half_life_days is not None:
        micros = pc.cast(interactions["timestamp"], pa.int64()).to_numpy()
        days = (until.timestamp() - micros / 1e6) / 86_400
        weights *= 0.5 ** (np.maximum(days, 0.0) / train.recency_half_life_days)
    return weights.astype(np.float32)


def only_since(weights: FloatArray, interactions: pa.Table, since: dt.datetime) -> FloatArray:
    """[N] the weights, 0 for events before ``since``: these are read, but are no targets."""
    recent = pc.greater_equal(interactions["timestamp"], pa.scalar(since, TIMESTAMP))
    return np.where(np.asarray(recent), weights, np.float32(0))


def only_after(weights: FloatArray, interactions: pa.Table, until: pa.Table) -> FloatArray:
    """[N] the weights, 0 for events that the user's profile has read: a profile that names its targets teaches nothing.

    Args:
        weights: [N] of targets.
        interactions: INTERACTIONS, N rows.
        until: ``user_id`` and ``until``, the time of the newest event that the profile of a user has read.
    """
    rows = pc.index_in(interactions["user_id"], value_set=until["user_id"].combine_chunks())
    read = until["until"].combine_chunks().take(rows.combine_chunks())
    unread = pc.fill_null(pc.greater(interactions["timestamp"], read), True)
    return np.where(np.asarray(unread), weights, np.float32(0))


def with_replay(new: pa.Table, older: pa.Table, num: int, seed: Sequence[int]) -> pa.Table:
    """Windows with new targets, and older windows that are drawn at random, so that nothing is forgotten.

    Args:
        new: Windows in which only new targets have a weight.
        older: Windows to draw from, in which every target has its weight.
        num: Windows that are drawn, or all if there are fewer.
        seed: Of the draw.
    """
    drawn = np.random.default_rng(list(seed)).choice(len(older), size=min(num, len(older)), replace=False)
    return pa.concat_tables([new, older.take(pa.array(np.sort(drawn)))])


def with_weight(windows: pa.Table) -> pa.Table:
    """The windows with at least one target of positive weight."""
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
    texts: WindowTexts | None = None,
    target_days: int | None = None,
) -> pa.Table:
    """Cut the last ``max_events`` events of each user into windows. The last window is full, the first may be short.

    Args:
        interactions: INTERACTIONS sorted by user and time; with texts, INTERACTIONS_WITH_TEXT.
        item_ids: Sorted ids of the catalog; every item must be in it.
        event_kinds: Kinds of events in the order of their indices.
        length: L.
        max_events: Maximum events of a user.
        weights: [N] of `target_weights`; None: 1 for every event. A search always has weight 0.
        texts: Texts that are read in addition to items; None: there are no texts.
        target_days: Days for the column ``ahead``; None: without it.

    Returns:
        Table of `windows_schema`, by user, last window first.
    """
    schema = windows_schema(length, texts is not None, target_days is not None)
    user, position, count = _positions(interactions["user_id"])
    items = index_items(interactions["item_id"], item_ids)
    text_rows, text_kinds = _texts(interactions, items, texts)
    assert ((items >= 0) | (text_kinds == TextKind.SEARCH)).all(), "an item outside the catalog passed the ingest"
    profiles = _profiles(interactions, texts)
    cells = _cells(user, position, count, profiles >= 0, length, max_events)
    if not len(cells.target):
        return schema.empty_table()
    before, target, width = cells.before, cells.target, length + (texts is not None)

    gaps = gap_buckets(seconds_between(interactions["timestamp"]), position == 0)
    kinds = index_events(interactions["event"], event_kinds)
    item_grid = np.full((cells.num_windows, width + 1), -1, dtype=np.int64)
    item_grid[cells.read] = items[before]
    item_grid[cells.row, cells.place + 1] = items[target]
    weight_grid = np.zeros((cells.num_windows, width), dtype=np.float32)
    weight_grid[cells.row, cells.place] = np.where(items[target] < 0, 0.0, 1.0 if weights is None else weights[target])
    grids = [item_grid, cells.grid(np.where(cells.is_first, 0, gaps[before]), width), cells.grid(kinds[before], width)]
    lists = [*map(_int_lists, grids), _fixed_lists(weight_grid)]
    if texts is not None:
        text_grid, kind_grid = cells.grid(text_rows[before], width), cells.grid(text_kinds[before], width)
        known = profiles[target] >= 0
        text_grid[cells.row[known], 0] = profiles[target][known]
        kind_grid[cells.row[known], 0] = TextKind.PROFILE
        lists += [_int_lists(text_grid), _int_lists(kind_grid)]
    if target_days is not None:
        ahead = events_ahead(user, interactions["timestamp"], target_days)
        lists.append(_int_lists(cells.grid(ahead[before], width)))
    return pa.Table.from_arrays(lists, schema=schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    """Where the T targets are in the windows, and the R events before them that are read."""

    num_windows: int
    target: IntArray
    """[T] row of the event that is predicted."""
    row: IntArray
    """[T] window of the target."""
    place: IntArray
    """[T] place in the window of what comes before the target: an event, or the user's profile."""
    before: IntArray
    """[R] row of the event before a target. A target that follows the profile has none."""
    read: tuple[IntArray, IntArray]
    """[R], [R] window and place of that event."""
    is_first: npt.NDArray[np.bool_]
    """[R] whether that event is the oldest of its window, so that its gap is unknown."""

    def grid(self, values: IntArray, width: int) -> IntArray:
        """[W, width] the values [R] of the events that are read, 0 elsewhere."""
        filled = np.zeros((self.num_windows, width), dtype=np.int64)
        filled[self.read] = values
        return filled


def _cells(
    user: IntArray,
    position: IntArray,
    count: IntArray,
    has_profile: npt.NDArray[np.bool_],
    length: int,
    max_events: int,
) -> _Cells:
    """The cells of N events: user, place among the user's events, number of these, whether there is a profile."""
    after_profile = (position == 0) & has_profile  # the first event follows the profile
    from_end = count - 1 - position
    target = np.flatnonzero(((position > 0) | after_profile) & (from_end < max_events - 1))
    window_of_user = from_end[target] // length
    targets_of_user = np.minimum(count - ~has_profile, max_events - 1)[target]
    window_size = np.minimum(targets_of_user - window_of_user * length, length)
    slot = window_size - 1 - from_end[target] % length
    key = user[target] * (int(window_of_user.max(initial=0)) + 1) + window_of_user
    windows, row = np.unique(key, return_inverse=True)

    follows = after_profile[target]
    begins = np.bincount(row[follows], minlength=len(windows)) > 0
    place = slot + (has_profile[target] & ~begins[row])
    inner = ~follows
    return _Cells(
        num_windows=len(windows),
        target=target,
        row=row,
        place=place,
        before=target[inner] - 1,
        read=(row[inner], place[inner]),
        is_first=slot[inner] == 0,
    )


def with_first_target(learned: pa.Table, kept: pa.Table, exclude_seen: bool = False) -> pa.Table:
    """Validation events: for each user of ``kept``, the events that training sees, and the first one that it does not.

    Args:
        learned: INTERACTIONS sorted by user and time.
        kept: Later INTERACTIONS of some users, sorted in the same way; the first of each user becomes the target.
        exclude_seen: Whether lists leave out seen items. Then an item that the user had before is no target.
    """
    if exclude_seen:
        kept = kept.filter(pa.array(unseen(kept, learned)))
    codes = kept["user_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    first = kept.take(np.flatnonzero(np.diff(codes, prepend=-1)))
    known = learned.filter(pc.is_in(learned["user_id"], value_set=first["user_id"].combine_chunks()))
    return pa.concat_tables([known, first]).sort_by([("user_id", "ascending"), ("timestamp", "ascending")])


def _texts(interactions: pa.Table, items: IntArray, texts: WindowTexts | None) -> tuple[IntArray, IntArray]:
    """Row and `TextKind` of the text of each event [N], 0 for events without one."""
    if texts is None or "text" not in interactions.column_names:
        return np.zeros_like(items), np.zeros_like(items)
    without_item = np.asarray(pc.equal(interactions["item_id"], ""))
    return text_columns(index_items(interactions["text"], texts.texts), items, without_item)


def _profiles(interactions: pa.Table, texts: WindowTexts | None) -> IntArray:
    """[N] row of the profile of each event's user, −1 for users without one."""
    if texts is None or not len(texts.profiles):
        return np.full(len(interactions), -1, dtype=np.int64)
    rows = index_items(texts.profiles["profile"], texts.texts)
    place = index_items(interactions["user_id"], texts.profiles["user_id"].combine_chunks())
    assert (rows[place[place >= 0]] >= 0).all(), "a profile was not encoded"
    return np.where(place >= 0, rows[place], -1)


def _positions(user_ids: pa.ChunkedArray) -> tuple[IntArray, IntArray, IntArray]:
    """For each row of a table sorted by user: number of the user, place among the user's rows, number of these rows."""
    codes = user_ids.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    return codes, np.arange(len(codes)) - starts[codes], counts[codes]


def _int_lists(values: IntArray) -> pa.Array:
    return _fixed_lists(values.astype(np.int32))


def _fixed_lists(values: npt.NDArray[Any]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])

"""Histories as arrays of indices, the input of the ranker.

Shapes: B users, L history length, I items, Q texts of users, T text dimensions. Arrays are padded on the right.
Position 0 is the user's profile if there is one, else the oldest event.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: Time gaps fall into powers of two of seconds: 0 = no earlier event, 1 = the same second, 31 = 17 years and more.
NUM_GAP_BUCKETS = 32
#: With more catalog items than this for each id to look up, bisection is faster than a hash table of the catalog.
_BISECTED = 16

IntArray = npt.NDArray[np.int64]


class TextKind(IntEnum):
    """The role of a text in its token of a history."""

    NONE = 0
    """There is no text."""
    PROFILE = 1
    """The user's profile: a token of its own, the first."""
    SEARCH = 2
    """A search: a token of its own, at its time."""
    REVIEW = 3
    """A text about an item: it is added to the token of the item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTexts:
    """Texts that histories may hold, with their vectors by the text encoder of the items."""

    texts: pa.Array
    """[Q] distinct, ascending."""
    vectors: npt.NDArray[np.float32]
    """[Q, T]."""

    @classmethod
    def none(cls) -> "UserTexts":
        """No texts: texts in histories are ignored."""
        return cls(texts=pa.array([], pa.string()), vectors=np.zeros((0, 0), dtype=np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBatch:
    """Histories of B users; ``items`` is padded with ``num_items``, the others with 0."""

    items: IntArray
    """[B, L] index of each item."""
    gaps: IntArray
    """[B, L] bucket of the time since the event before; 0 for the first event."""
    events: IntArray
    """[B, L] kind of each event; 0 = a kind that the model was not trained on."""
    texts: IntArray
    """[B, L] row of each token's text."""
    text_kinds: IntArray
    """[B, L] `TextKind` of each token's text."""
    lengths: IntArray
    """[B] tokens of each user."""

    def rows(self, users: IntArray) -> "HistoryBatch":
        """Some of the users, in this order."""
        return HistoryBatch(**{name: getattr(self, name)[users] for name in self.__slots__})


def index_items(ids: pa.Array | pa.ChunkedArray, item_ids: pa.Array) -> IntArray:
    """Position of each id in ``item_ids``; −1 for ids that are not in it."""
    return _to_numpy(pc.fill_null(pc.index_in(ids, value_set=item_ids), -1))


def index_catalog(ids: pa.Array | pa.ChunkedArray, item_ids: pa.Array) -> IntArray:
    """`index_items` for sorted ``item_ids``; a few ids are looked up by bisection, without a hash table."""
    if not len(ids):
        return np.zeros(0, dtype=np.int64)
    if _BISECTED * len(ids) > len(item_ids) or ids.null_count:
        return index_items(ids, item_ids)
    places = np.minimum(_to_numpy(pc.search_sorted(item_ids, ids)), len(item_ids) - 1)
    there = pc.equal(item_ids.take(pa.array(places)), ids)
    return np.where(there.to_numpy(zero_copy_only=False), places, -1)


def index_events(events: pa.Array | pa.ChunkedArray, event_kinds: pa.Array) -> IntArray:
    """1 + position of each kind in ``event_kinds``; 0 for kinds that are not in it."""
    return index_items(events, event_kinds) + 1


def gap_buckets(seconds: npt.NDArray[np.float64], first: npt.NDArray[np.bool_]) -> IntArray:
    """Bucket 1 + ⌊log₂(1 + seconds)⌋ of each gap; 0 for a user's first event."""
    buckets = 1 + np.floor(np.log2(1 + np.maximum(seconds, 0))).astype(np.int64)
    return np.where(first, 0, np.minimum(buckets, NUM_GAP_BUCKETS - 1))


def seconds_between(timestamps: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Seconds since the row before; 0 for the first row."""
    micros = _to_numpy(pc.cast(timestamps, pa.int64()))
    return np.diff(micros, prepend=micros[:1]) / 1e6


def encode_histories(
    histories: pa.Table, item_ids: pa.Array, event_kinds: pa.Array, max_length: int, texts: pa.Array | None = None
) -> HistoryBatch:
    """Each user's profile, then the last ``max_length`` events whose item is in ``item_ids``, as arrays.

    Other events are ignored: time gaps are measured between the events that are kept.

    Args:
        histories: HISTORIES table of B users.
        item_ids: [I] sorted ids of the catalog.
        event_kinds: Kinds of events the model was trained on.
        max_length: Maximum events of a user; L is one more if histories hold profiles.
        texts: [Q] texts that are read; None: no text is read.
    """
    lists = histories["item_ids"].combine_chunks()
    users = _to_numpy(pc.list_parent_indices(lists))
    items = index_catalog(_flat(lists), item_ids)
    said, text_kinds = event_texts(histories, items, texts)
    kinds = index_events(_flat(histories["events"]), event_kinds)
    known = (items >= 0) | (text_kinds == TextKind.SEARCH)
    seconds = seconds_between(_flat(histories["timestamps"]).filter(pa.array(known)))
    users, items, kinds, said, text_kinds = (column[known] for column in (users, items, kinds, said, text_kinds))
    counts = np.bincount(users, minlength=len(histories))
    starts = np.cumsum(counts) - counts
    position = np.arange(len(users)) - starts[users]
    lengths = np.minimum(counts, max_length)
    slot = position - (counts - lengths)[users]
    gaps = gap_buckets(seconds, slot == 0)
    kept = slot >= 0
    profiles = profile_texts(histories, texts)
    first = (profiles >= 0).astype(np.int64)  # the place of the profile
    rows, slots = users[kept], (slot + first[users])[kept]
    width = max_length + int(first.any())

    def scatter(values: IntArray, padding: int) -> IntArray:
        grid = np.full((len(histories), width), padding, dtype=np.int64)
        grid[rows, slots] = values[kept]
        return grid

    batch = HistoryBatch(
        items=scatter(np.where(items < 0, len(item_ids), items), len(item_ids)),
        gaps=scatter(gaps, 0),
        events=scatter(kinds, 0),
        texts=scatter(said, 0),
        text_kinds=scatter(text_kinds, 0),
        lengths=lengths + first,
    )
    batch.texts[first > 0, 0] = profiles[first > 0]
    batch.text_kinds[first > 0, 0] = TextKind.PROFILE
    return batch


def event_texts(histories: pa.Table, items: IntArray, texts: pa.Array | None) -> tuple[IntArray, IntArray]:
    """Row of the text of each event [N] of all users together, 0 for no text, and its `TextKind`.

    Args:
        histories: HISTORIES table of B users.
        items: [N] index of each event's item, −1 for items that are not in the catalog.
        texts: [Q]; None: no text is read.
    """
    if texts is None or not len(texts) or "texts" not in histories.column_names:
        return np.zeros_like(items), np.zeros_like(items)
    rows = index_catalog(_flat(histories["texts"]), texts)
    without_item = np.asarray(pc.equal(_flat(histories["item_ids"]), ""))
    return text_columns(rows, items, without_item)


def text_columns(rows: IntArray, items: IntArray, without_item: npt.NDArray[np.bool_]) -> tuple[IntArray, IntArray]:
    """Row and `TextKind` of the texts [N] of events, both 0 for no text; −1 in ``rows`` is an unknown text."""
    search = np.where(without_item, TextKind.SEARCH, TextKind.NONE)
    kinds = np.where(rows < 0, TextKind.NONE, np.where(items >= 0, TextKind.REVIEW, search)).astype(np.int64)
    return np.where(kinds == TextKind.NONE, 0, rows), kinds


def profile_texts(histories: pa.Table, texts: pa.Array | None) -> IntArray:
    """[B] row of each user's profile, −1 for users without one."""
    if texts is None or not len(texts) or "profile" not in histories.column_names:
        return np.full(len(histories), -1, dtype=np.int64)
    return index_catalog(histories["profile"], texts)


def _flat(column: pa.ChunkedArray | pa.Array) -> Any:
    return column.combine_chunks().flatten() if isinstance(column, pa.ChunkedArray) else column.flatten()


def _to_numpy(column: pa.Array | pa.ChunkedArray) -> IntArray:
    array = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    return np.asarray(array, dtype=np.int64)

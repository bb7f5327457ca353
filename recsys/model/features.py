"""Histories as the index arrays that the ranker reads; it knows no weights and no shards.

Shapes: B users, L history length, I items, Q texts of users, T text dimensions. Arrays are padded on the right, so that
position 0 is the oldest event, or what the user is.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: Time gaps fall into powers of two of seconds: 0 = no earlier event, 1 = the same moment, 31 = 17 years and more.
NUM_GAP_BUCKETS = 32
#: Items of the catalog for each that is looked for, from which on bisection is faster than a table of all.
_BISECTED = 16

IntArray = npt.NDArray[np.int64]


class TextKind(IntEnum):
    """What a text is to its token in a history."""

    NONE = 0
    """There is no text."""
    PROFILE = 1
    """What the user is: a token of its own, the first."""
    SEARCH = 2
    """A token of its own, at its time."""
    REVIEW = 3
    """Added to the token of the item."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTexts:
    """Texts that histories may hold, with the vectors that the encoder of the items gave them."""

    texts: pa.Array
    """[Q] distinct."""
    vectors: npt.NDArray[np.float32]
    """[Q, T]."""

    @classmethod
    def none(cls) -> "UserTexts":
        """No text at all: what histories hold of them leaves no trace."""
        return cls(texts=pa.array([], pa.string()), vectors=np.zeros((0, 0), dtype=np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBatch:
    """Histories of B users; ``items`` is padded with ``num_items``, the others with 0."""

    items: IntArray
    """[B, L] index of each item."""
    gaps: IntArray
    """[B, L] bucket of the time since the event before; 0 for the first."""
    events: IntArray
    """[B, L] kind of each event; 0 = a kind the model does not know."""
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
    """Position of each id in ``item_ids``; −1 where it is not there."""
    return _to_numpy(pc.fill_null(pc.index_in(ids, value_set=item_ids), -1))


def index_catalog(ids: pa.Array | pa.ChunkedArray, item_ids: pa.Array) -> IntArray:
    """`index_items` for ``item_ids`` that are sorted: few are looked for by bisection, without a table of all."""
    if not len(ids):
        return np.zeros(0, dtype=np.int64)
    if _BISECTED * len(ids) > len(item_ids) or ids.null_count:
        return index_items(ids, item_ids)
    places = np.minimum(_to_numpy(pc.search_sorted(item_ids, ids)), len(item_ids) - 1)
    there = pc.equal(item_ids.take(pa.array(places)), ids)
    return np.where(there.to_numpy(zero_copy_only=False), places, -1)


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


def encode_histories(
    histories: pa.Table, item_ids: pa.Array, event_kinds: pa.Array, max_length: int, texts: pa.Array | None = None
) -> HistoryBatch:
    """What each user is, then the newest ``max_length`` events whose item is in ``item_ids``, as arrays.

    Events that are left out leave no trace: the gap of the next one is measured past them, and the first has none.

    Args:
        histories: HISTORIES table of B users.
        item_ids: [I] sorted ids of the catalog.
        event_kinds: Kinds of events the model was trained on.
        max_length: Events of a user that are read; L is one more where histories say what users are.
        texts: [Q] texts that are read; None: no text is.
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
    first = (profiles >= 0).astype(np.int64)  # the place of what the user is
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
    """Row of the text of each event [N] of all users together, 0 for none, and its `TextKind`.

    Args:
        histories: HISTORIES table of B users.
        items: [N] index of each event's item, −1 where the catalog does not know it.
        texts: [Q]; None: no text is read.
    """
    if texts is None or not len(texts) or "texts" not in histories.column_names:
        return np.zeros_like(items), np.zeros_like(items)
    rows = index_items(_flat(histories["texts"]), texts)
    without_item = np.asarray(pc.equal(_flat(histories["item_ids"]), ""))
    return text_columns(rows, items, without_item)


def text_columns(rows: IntArray, items: IntArray, without_item: npt.NDArray[np.bool_]) -> tuple[IntArray, IntArray]:
    """Row and `TextKind` of the texts [N] of events, both 0 for none; −1 in ``rows`` is a text that is not known."""
    search = np.where(without_item, TextKind.SEARCH, TextKind.NONE)
    kinds = np.where(rows < 0, TextKind.NONE, np.where(items >= 0, TextKind.REVIEW, search)).astype(np.int64)
    return np.where(kinds == TextKind.NONE, 0, rows), kinds


def profile_texts(histories: pa.Table, texts: pa.Array | None) -> IntArray:
    """[B] row of what each user is, −1 where that is not known."""
    if texts is None or not len(texts) or "profile" not in histories.column_names:
        return np.full(len(histories), -1, dtype=np.int64)
    return index_items(histories["profile"], texts)


def _flat(column: pa.ChunkedArray | pa.Array) -> Any:
    return column.combine_chunks().flatten() if isinstance(column, pa.ChunkedArray) else column.flatten()


def _to_numpy(column: pa.Array | pa.ChunkedArray) -> IntArray:
    array = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    return np.asarray(array, dtype=np.int64)

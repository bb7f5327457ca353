"""A small world for the tests of signals: users with histories before a catalog, and loaded signals of random numbers.

Weights are small multiples of powers of two, so that sums are exact and many are equal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from recsys.model.features import HistoryBatch, UserTexts
from recsys.signals.ease import LoadedEase
from recsys.signals.excluded import ExcludedItems
from recsys.signals.neighbours import Neighbours
from recsys.signals.popularity import HORIZONS, LoadedPopularity
from recsys.signals.repeat import LoadedRepeat
from recsys.signals.signal import LoadedSignal
from recsys.signals.sparse_rows import SparseRows
from recsys.signals.text_ease import TextEase
from recsys.signals.text_evidence import LoadedText
from recsys.signals.transitions import LoadedTransitions
from recsys.signals.user_profiles import UserProfiles
from recsys.signals.users import UserBlock

NUM_ITEMS, TEXT_DIM = 12, 3
#: Days on which users are scored.
DAYS = np.array([100, 103])
MICROS_PER_DAY = 86_400e6


@dataclass(frozen=True)
class Shards:
    """Counted tables in memory, as `Signal.merge` reads them."""

    counted: Sequence[pa.Table]

    def tables(self, items: range | None = None) -> Iterator[pa.Table]:
        """See `recsys.signals.signal.CountedShards`."""
        for table in self.counted:
            if items is None:
                yield table
            else:
                inside = [item in items for item in table["item"].to_pylist()]
                yield table.filter(pa.array(inside, pa.bool_()))


def dense(rows: SparseRows) -> npt.NDArray[np.float32]:
    """[B, I]."""
    matrix = sp.csr_array((rows.values, rows.items, rows.starts), shape=(len(rows.starts) - 1, NUM_ITEMS))
    return np.asarray(matrix.toarray())


def matrices(neighbours: Neighbours) -> npt.NDArray[np.float32]:
    """[2, I, I] weights on both time scales."""
    item = np.repeat(np.arange(NUM_ITEMS), np.diff(neighbours.starts))
    found = np.zeros((2, NUM_ITEMS, NUM_ITEMS), dtype=np.float32)
    found[:, item, neighbours.others] = neighbours.weights.T
    return found


def draw_neighbours(random: np.random.Generator) -> Neighbours:
    """Random pairs."""
    there = np.triu(random.random((NUM_ITEMS, NUM_ITEMS)) < 0.4, 1)
    first, other = np.nonzero(there)
    columns = {"item": first, "other": other} | {
        scale: (random.integers(0, 4, len(first)) / 4).astype(np.float32) for scale in ("all_time", "decayed")
    }
    return Neighbours.from_table(
        pa.table(columns).cast(
            pa.schema(
                [("item", pa.int32()), ("other", pa.int32()), ("all_time", pa.float32()), ("decayed", pa.float32())]
            )
        ),
        NUM_ITEMS,
    )


@dataclass(frozen=True)
class World:
    """B users before I items; some users have no history, and nobody searches in some worlds."""

    users: UserBlock
    recommendable: npt.NDArray[np.bool_]
    texts: npt.NDArray[np.float32]
    """[I, T] of length 1, one of them 0."""
    signals: dict[str, LoadedSignal]
    """All signals but the ranker, which needs a network."""


def draw_world(seed: int, num_users: int) -> World:
    """A random world."""
    random = np.random.default_rng(seed)
    shape = (num_users, NUM_ITEMS)
    taken = (random.random(shape) < 0.4) & (random.random((num_users, 1)) >= 0.2)

    def sparse(there: npt.NDArray[np.bool_]) -> SparseRows:
        rows, items = np.nonzero(there)
        return SparseRows.of(rows, items, random.integers(1, 4, len(rows)) / 4, num_users)

    last = sparse(taken)
    searches = random.normal(size=(num_users, TEXT_DIM)) * (random.random((num_users, 1)) < 0.4)
    profiles = UserProfiles(
        last=last,
        history=sparse(taken),
        repeats=sparse(random.random(shape) < 0.3 * (random.random() < 0.7)),
        has_tokens=last.lengths > 0,
        in_session=last.lengths > 0,
        searches=searches.astype(np.float32) if random.random() < 0.7 else np.zeros((num_users, 0), np.float32),
        by_description=np.zeros(num_users, dtype=bool),
    )
    nothing = np.zeros((num_users, 1), dtype=np.int64)
    users = UserBlock(
        profiles=profiles,
        history=HistoryBatch(
            items=nothing, gaps=nothing, events=nothing, texts=nothing, text_kinds=nothing, lengths=nothing[:, 0]
        ),
        texts=UserTexts.none(),
        now=random.choice(DAYS, num_users) * MICROS_PER_DAY,
        excluded=ExcludedItems.of([np.nonzero(random.random(shape) < 0.2)]),
    )
    texts = random.normal(size=(NUM_ITEMS, TEXT_DIM))
    vectors = (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)
    vectors[2] = 0
    recommendable = random.random(NUM_ITEMS) < 0.8
    popularity = np.log1p(random.integers(0, 4, (len(DAYS), len(HORIZONS), NUM_ITEMS))).astype(np.float32)
    return World(
        users=users,
        recommendable=recommendable,
        texts=vectors,
        signals={
            "transitions": LoadedTransitions(draw_neighbours(random), NUM_ITEMS),
            "ease": LoadedEase(draw_neighbours(random), NUM_ITEMS),
            "text": LoadedText(TextEase.of(vectors), recommendable),
            "popularity": LoadedPopularity(popularity, DAYS, recommendable),
            "repeat": LoadedRepeat(random.normal(size=NUM_ITEMS).astype(np.float32)),
        },
    )

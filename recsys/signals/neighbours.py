"""Weights from item to item: what `transitions` and `ease` leave of the past, and what they say for a block of users.

Each pair of items has a weight on two time scales (`recsys.schema.TIME_SCALES`). A user's items are weighted in two
ways (`UserProfiles.last` and `.history`). So each candidate may get four sums; a signal asks for all or for two.

Shapes: B users, C candidates, I items, P pairs of items, N found items of all users, H history items, S sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.compiled import compiled
from recsys.schema import ITEM_NEIGHBOURS, TIME_SCALES
from recsys.signals.cold_neighbours import Pairs, impute_pairs
from recsys.signals.donors import Donors
from recsys.signals.selection import best_items
from recsys.signals.sparse_rows import Rows, row_starts
from recsys.signals.user_profiles import UserProfiles

# Compiled in, see tests/test_compiled.py: recsys.signals.selection c4aff58ded6b

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Items = npt.NDArray[np.int32]


class Sums(IntEnum):
    """The sums over a user's items: how the items are weighted, and the time scale of the pairs."""

    LAST_ALL_TIME = 0
    LAST_DECAYED = 1
    HISTORY_ALL_TIME = 2
    HISTORY_DECAYED = 3


#: What may be asked for: all sums, or each weighting on one scale only, which takes half of the time and memory.
ALL_SUMS = tuple(Sums)
TWO_SUMS = (Sums.LAST_ALL_TIME, Sums.HISTORY_DECAYED)

_ALL_TIME, _DECAYED = range(len(TIME_SCALES))


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Weights from each of I items to others."""

    starts: Ints
    """[I + 1] where the pairs of each item start."""
    others: Items
    """[P] ascending for each item."""
    weights: Floats
    """[P, 2] on the time scales."""

    @classmethod
    def from_table(cls, table: pa.Table, num_items: int) -> "Neighbours":
        """From ITEM_NEIGHBOURS by (item, other)."""
        starts = row_starts(np.bincount(table["item"].to_numpy(), minlength=num_items))
        weights = np.stack([table[scale].to_numpy() for scale in TIME_SCALES], axis=1)
        return cls(starts=starts, others=table["other"].to_numpy(), weights=np.ascontiguousarray(weights))

    @classmethod
    def none(cls, num_items: int) -> "Neighbours":
        """No pair."""
        return cls.from_table(ITEM_NEIGHBOURS.empty_table(), num_items)

    @property
    def pairs(self) -> Pairs:
        """For compiled loops."""
        return self.starts, self.others, self.weights

    def impute(self, donors: Donors, most: int) -> "Neighbours":
        """The same where the weights to a cold item are the average of the weights to its donors.

        Args:
            donors: Of the cold items.
            most: Cold items that an item leads to, see `impute_pairs`.
        """
        if not donors.is_cold.any():
            return self
        starts, others, weights = impute_pairs(self.pairs, donors, most)
        return Neighbours(starts=starts, others=others, weights=weights)

    def sum_up(self, profiles: UserProfiles, columns: tuple[Sums, ...]) -> "NeighbourSums":
        """Add the weights from the items of each user to their neighbours.

        Args:
            profiles: Of B users.
            columns: `ALL_SUMS` or `TWO_SUMS`.
        """
        assert columns in (ALL_SUMS, TWO_SUMS), f"no loop is written for {columns}"
        history, values = profiles.last, profiles.history.values
        assert np.array_equal(history.items, profiles.history.items), "both weightings are of the same items"
        num_items = len(self.starts) - 1
        num_pairs = np.concatenate([[0], np.cumsum(np.diff(self.starts)[history.items])])
        reached = np.diff(num_pairs[history.starts])
        # where the pairs are as many as the items, all items are kept: to note which were found would cost more
        rows = row_starts(np.minimum(reached, num_items))
        items = np.empty(rows[-1], dtype=np.int32)
        sums = np.empty((rows[-1], len(columns)), dtype=np.float32)
        lengths = np.zeros(len(reached), dtype=np.int64)
        _sum_up(history.arrays, values, self.pairs, rows, items, sums, lengths)
        return NeighbourSums(num_items=num_items, columns=columns, starts=rows, lengths=lengths, items=items, sums=sums)

    def weights_to(self, history: Ints, items: Ints) -> Floats:
        """[N, H, 2] weights from the history items [N, H] (−1 for none) to one item each [N]; 0 without a pair."""
        weights = np.zeros((*history.shape, len(TIME_SCALES)), dtype=np.float32)
        _look_up(items, history, self.pairs, weights)
        return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourSums:
    """Sums over the items of B users, for the items that they reach."""

    num_items: int
    columns: tuple[Sums, ...]
    """The S sums that there are."""
    starts: Ints
    """[B + 1] where each user's items start."""
    lengths: Ints
    """[B] how many there are; as many as the catalog has where all items are kept."""
    items: Items
    """[N] catalog indices, in no order."""
    sums: Floats
    """[N, S]."""

    def best(self, columns: Sequence[Sums], num: int) -> Ints:
        """[B, num] items with the largest positive sum of one or two columns, −1 where there are fewer."""
        first, second = self.columns.index(columns[0]), self.columns.index(columns[-1])
        found = np.full((len(self.lengths), num), -1, dtype=np.int64)
        _best(self.starts, self.lengths, self.items, self.sums, first, second, found)
        return found

    def of(self, items: Ints) -> Floats:
        """[B, C, S] sums of some items [B, C] (−1 for none); 0 for an item that is not reached."""
        found = np.zeros((*items.shape, len(self.columns)), dtype=np.float32)
        _gather(self.starts, self.lengths, self.items, self.sums, self.num_items, items, found)
        return found

    def to_all(self, items: Items, column: Sums) -> Floats:
        """[B, N] one sum of each user for the same items [N], ascending; 0 for an item that is not reached."""
        found = np.zeros((len(self.lengths), len(items)), dtype=np.float32)
        if len(items):
            place = np.full(self.num_items, -1, dtype=np.int32)
            place[items] = np.arange(len(items), dtype=np.int32)
            _spread(self.starts, self.lengths, self.items, self.sums, self.columns.index(column), items, place, found)
        return found


@compiled
def _sum_up(
    history: Rows, history_values: Floats, pairs: Pairs, rows: Ints, items: Items, sums: Floats, lengths: Ints
) -> None:
    history_starts, history_items, last_values = history
    starts, others, weights = pairs
    num_items, only_two = len(starts) - 1, sums.shape[1] == 2
    # sums of one user: small enough for the cache of a CPU, and of a width that the compiler knows
    own = np.zeros((num_items, 4), dtype=np.float32)
    noted = np.zeros(num_items, dtype=np.bool_)
    for user in range(len(lengths)):
        first = row = rows[user]
        for event in range(history_starts[user], history_starts[user + 1]):
            item, last, whole = history_items[event], last_values[event], history_values[event]
            if only_two:
                _add_two(own, others, weights, starts[item], starts[item + 1], last, whole)
            else:
                _add_all(own, others, weights, starts[item], starts[item + 1], last, whole)
        if rows[user + 1] - first == num_items:
            for item in range(num_items):
                items[first + item] = item
                for column in range(sums.shape[1]):
                    sums[first + item, column] = own[item, column]
            own[:] = 0
            row += num_items
        else:
            for event in range(history_starts[user], history_starts[user + 1]):
                item = history_items[event]
                for other in others[starts[item] : starts[item + 1]]:
                    items[row] = other  # the next item takes this place if the item was noted before
                    row += not noted[other]
                    noted[other] = True
            for place in range(first, row):
                other = items[place]
                noted[other] = False
                for column in range(sums.shape[1]):
                    sums[place, column], own[other, column] = own[other, column], 0
        lengths[user] = row - first


@compiled
def _add_all(own: Floats, others: Items, weights: Floats, first: int, stop: int, last: float, whole: float) -> None:
    """Add the weights of one history item's pairs to the sums [I, 4] of its neighbours."""
    for pair in range(first, stop):
        other, all_time, decayed = others[pair], weights[pair, _ALL_TIME], weights[pair, _DECAYED]
        own[other, 0] += last * all_time
        own[other, 1] += last * decayed
        own[other, 2] += whole * all_time
        own[other, 3] += whole * decayed


@compiled
def _add_two(own: Floats, others: Items, weights: Floats, first: int, stop: int, last: float, whole: float) -> None:
    """The same to the first two columns, which then are those of `TWO_SUMS`."""
    for pair in range(first, stop):
        other = others[pair]
        own[other, 0] += last * weights[pair, _ALL_TIME]
        own[other, 1] += whole * weights[pair, _DECAYED]


@compiled
def _best(starts: Ints, lengths: Ints, items: Items, sums: Floats, first: int, second: int, found: Ints) -> None:
    most = 0
    for user in range(len(lengths)):
        most = max(most, lengths[user])
    values, those = np.empty(most, dtype=np.float32), np.empty(most, dtype=np.int32)
    for user in range(len(lengths)):
        count = 0
        for row in range(starts[user], starts[user] + lengths[user]):
            value = sums[row, first]
            if first != second:
                value += sums[row, second]
            values[count], those[count] = value, items[row]
            count += value > 0
        best = best_items(values[:count], those[:count], found.shape[1])
        for place in range(len(best)):
            found[user, place] = best[place]


@compiled
def _gather(starts: Ints, lengths: Ints, items: Items, sums: Floats, num_items: int, wanted: Ints, out: Floats) -> None:
    place = np.zeros(num_items, dtype=np.int64)
    for user in range(len(lengths)):
        first, last = starts[user], starts[user] + lengths[user]
        keeps_all = lengths[user] == num_items
        if not keeps_all:
            for row in range(first, last):
                place[items[row]] = row - first + 1
        for column in range(wanted.shape[1]):
            item = wanted[user, column]
            if item < 0:
                continue
            row = first + item if keeps_all else first + place[item] - 1
            if keeps_all or place[item] > 0:
                for part in range(sums.shape[1]):
                    out[user, column, part] = sums[row, part]
        if not keeps_all:
            for row in range(first, last):
                place[items[row]] = 0


@compiled
def _spread(
    starts: Ints, lengths: Ints, items: Items, sums: Floats, column: int, wanted: Items, place: Items, found: Floats
) -> None:
    """Write what each user reaches to its ``place`` [I] among the ``wanted`` items; −1 for an item that is not."""
    for user in range(len(lengths)):
        first = starts[user]
        if lengths[user] == len(place):  # all items are kept, in their order
            for at in range(len(wanted)):
                found[user, at] = sums[first + wanted[at], column]
        else:
            for row in range(first, first + lengths[user]):
                if place[items[row]] >= 0:
                    found[user, place[items[row]]] = sums[row, column]


@compiled
def _look_up(items: Ints, history: Ints, pairs: Pairs, found: Floats) -> None:
    starts, others, weights = pairs
    for row in range(len(items)):
        for slot in range(history.shape[1]):
            item = history[row, slot]
            if item >= 0:
                first, last = starts[item], starts[item + 1]
                pair = first + np.searchsorted(others[first:last], items[row])
                if pair < last and others[pair] == items[row]:
                    for scale in range(weights.shape[1]):
                        found[row, slot, scale] = weights[pair, scale]

"""Imputes the weights to cold items in pairs of items: the average of the weights to the donors of each cold item.

Shapes: I items, N cold items, P pairs of items.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled_in_order
from recsys.schema import TIME_SCALES
from recsys.signals.donors import Donors
from recsys.signals.selection import best_items
from recsys.signals.sparse_rows import Rows, row_starts

# Compiled in, see tests/test_compiled.py: recsys.signals.selection c4aff58ded6b

#: Items whose pairs are made at a time.
_AT_A_TIME = 4096

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Items = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]

#: Starts of the items' pairs [I + 1], the other items [P] ascending for each item, and the weights [P, 2].
Pairs = tuple[Ints, Items, Floats]


def impute_pairs(pairs: Pairs, donors: Donors, most: int) -> Pairs:
    """The pairs with other items as they are, and the new pairs with cold items.

    Memory is bounded by the answer, which has at most ``most`` cold items for each item that has a pair: a catalog may
    be half cold, and a popular item leads to a donor of nearly each cold item.

    Args:
        pairs: On both time scales.
        donors: Of the cold items.
        most: Cold items that an item leads to: those with the largest sum of both weights, of equal ones the first.
    """
    starts = pairs[0]
    num_items = len(starts) - 1
    of_cold = donors.of_cold
    rows = (of_cold.indptr.astype(np.int64), of_cold.indices.astype(np.int32), of_cold.data)
    most = min(most, int(donors.is_cold.sum()))
    lengths = np.zeros(num_items, dtype=np.int64)
    sums = np.zeros((num_items, len(TIME_SCALES)))
    others, weights = [np.zeros(0, np.int32)], [np.zeros((0, len(TIME_SCALES)), np.float32)]
    for first in range(0, num_items, _AT_A_TIME):
        last = min(first + _AT_A_TIME, num_items)
        num_pairs = int(starts[last] - starts[first]) + most * int(np.count_nonzero(np.diff(starts[first : last + 1])))
        made = np.empty(num_pairs, np.int32), np.empty((num_pairs, len(TIME_SCALES)), np.float32)
        _impute(pairs, rows, donors.is_cold, most, first, sums, lengths[first:last], *made)
        count = int(lengths[first:last].sum())
        others.append(made[0][:count].copy())
        weights.append(made[1][:count].copy())
    return row_starts(lengths), np.concatenate(others), np.concatenate(weights)


@compiled_in_order
def _impute(
    pairs: Pairs,
    of_cold: Rows,
    is_cold: Bools,
    most: int,
    first: int,
    sums: Doubles,
    lengths: Ints,
    items: Items,
    weights: Floats,
) -> None:
    """Write the pairs of the items from ``first`` on; ``sums`` [I, 2] is 0 before and after."""
    starts, others, own = pairs
    reached, noted = np.empty(len(sums) + 1, dtype=np.int32), np.zeros(len(sums), dtype=np.bool_)
    row = 0
    for place in range(len(lengths)):
        begin, stop = starts[first + place], starts[first + place + 1]
        count = _sum_up(others[begin:stop], own[begin:stop], of_cold, sums, reached, noted)
        cold = np.sort(_strongest(reached[:count], sums, most))
        before, next_cold = row, 0
        for pair in range(begin, stop):
            if is_cold[others[pair]]:
                continue
            while next_cold < len(cold) and cold[next_cold] < others[pair]:
                items[row], weights[row] = cold[next_cold], sums[cold[next_cold]].astype(np.float32)
                row, next_cold = row + 1, next_cold + 1
            items[row], weights[row] = others[pair], own[pair]
            row += 1
        for item in cold[next_cold:]:
            items[row], weights[row] = item, sums[item].astype(np.float32)
            row += 1
        lengths[place] = row - before
        for item in reached[:count]:
            sums[item] = 0
            noted[item] = False


@compiled_in_order
def _sum_up(others: Items, own: Floats, of_cold: Rows, sums: Doubles, reached: Items, noted: Bools) -> int:
    """Add the weights of one item's pairs to the cold items of its neighbours; returns how many these are."""
    starts, cold_items, shares = of_cold
    count = 0
    for pair in range(len(others)):
        for entry in range(starts[others[pair]], starts[others[pair] + 1]):
            item = cold_items[entry]
            reached[count] = item  # the next one takes this place if it was noted before
            count += not noted[item]
            noted[item] = True
            for scale in range(own.shape[1]):
                sums[item, scale] += own[pair, scale] * shares[entry]
    return count


@compiled_in_order
def _strongest(reached: Items, sums: Doubles, most: int) -> Items:
    """The cold items with the largest weights, in any order; none whose weights are 0."""
    values, those = np.empty(len(reached), dtype=np.float32), np.empty(len(reached), dtype=np.int32)
    count = 0
    for item in reached:
        values[count], those[count] = np.float32(sums[item, 0]) + np.float32(sums[item, 1]), item
        count += sums[item, 0] != 0 or sums[item, 1] != 0
    return best_items(values[:count], those[:count], most)

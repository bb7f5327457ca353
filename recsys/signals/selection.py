"""The largest of many numbers; where equal numbers meet the cut, the first ones win. It needs no torch.

Shapes: B rows, N columns.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled

#: Values are counted in as many buckets: by sign, exponent and three bits of the mantissa.
_BUCKETS = 4096
_DROPPED_BITS = 32 - 12

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@compiled
def best_items(values: Floats, items: npt.NDArray[np.int32], num: int) -> npt.NDArray[np.int32]:
    """The items of the ``num`` largest values, in any order; of equal values the lowest items.

    Args:
        values: [N].
        items: [N].
        num: How many; all items where there are fewer.
    """
    if len(values) <= num:
        return items
    least = _nth_largest(values, num)
    best, equal = np.empty(num, dtype=np.int32), np.empty(len(values), dtype=np.int32)
    above = equals = 0
    for place, value in enumerate(values):
        if value > least:
            best[above] = items[place]
            above += 1
        elif value == least:
            equal[equals] = items[place]
            equals += 1
    if equals > num - above:
        equal[:equals].sort()
    best[above:] = equal[: num - above]
    return best


@compiled
def _nth_largest(values: Floats, num: int) -> float:
    """The ``num``-th largest value. A count by leading bits leaves few values to sort (radix selection)."""
    counts = np.zeros(_BUCKETS, dtype=np.int32)
    bits = values.view(np.int32)
    for place in range(len(values)):
        counts[_bucket(bits[place])] += 1
    bucket, above = _BUCKETS - 1, 0
    while above + counts[bucket] < num:
        above += counts[bucket]
        bucket -= 1
    inside = np.empty(counts[bucket], dtype=np.float32)
    count = 0
    for place in range(len(values)):
        if _bucket(bits[place]) == bucket:
            inside[count] = values[place]
            count += 1
    nth = len(inside) - (num - above)
    return float(np.partition(inside, nth)[nth])


@compiled
def _bucket(bits: int) -> int:
    """The leading bits of a float32, so that buckets rise with the values: negative floats fall as their bits rise."""
    return ((bits if bits >= 0 else bits ^ 0x7FFFFFFF) >> _DROPPED_BITS) + _BUCKETS // 2


def largest(values: Floats, num: int) -> Ints:
    """[B, num] columns of the largest values of each row, ascending; the first columns where equal values meet the cut.

    Args:
        values: [B, N] float32, no nan.
        num: Of those columns that there are.
    """
    if num >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    found = np.empty((len(values), num), dtype=np.int64)
    columns = np.arange(values.shape[1], dtype=np.int32)
    _largest(values, columns, found)
    return found


@compiled
def _largest(values: Floats, columns: npt.NDArray[np.int32], found: Ints) -> None:
    for row in range(len(values)):
        best = np.sort(best_items(values[row], columns, found.shape[1]))
        for place in range(len(best)):
            found[row, place] = best[place]


def best_positive(scores: Floats, num: int) -> Ints:
    """[B, num] columns of the largest positive scores of each row, the first of equal scores; −1 if there are fewer."""
    columns = largest(np.where(scores > 0, scores, np.float32(-np.inf)), num)
    return np.where(np.take_along_axis(scores, columns, 1) > 0, columns, -1)

"""The largest of many numbers; where equals meet the cut, the first of them. It knows arrays, no tensors.

Stages that only count things get by without torch, which weighs 200 MB a worker; so what they need is here.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint32]

#: Bits that a pass looks at, from the highest: three passes see all 32 of a float.
_BITS = (11, 11, 10)


@compiled
def sortable(bits: np.uint32) -> np.uint32:
    """An unsigned integer in the order of the float that the bits are of; −0 is 0."""
    sign = np.uint32(1 << 31)
    return ~bits if bits > sign else bits | sign


@compiled
def unsortable(key: np.uint32) -> np.uint32:
    """The bits of the float whose `sortable` it is."""
    sign = np.uint32(1 << 31)
    return key ^ sign if key >= sign else ~key


@compiled
def nth_largest(keys: Keys, num: int) -> np.uint32:
    """The `num`-th largest of [N] keys, 1 ≤ num ≤ N, in time that is linear in N: a radix selection."""
    counts = np.zeros(1 << 11, dtype=np.int32)
    few = keys
    shift, found, rest = 32, np.uint32(0), num
    for bits in _BITS:
        shift -= bits
        mask = np.uint32((1 << bits) - 1)
        counts[:] = 0
        for key in few:
            counts[(key >> np.uint32(shift)) & mask] += 1
        digit = (1 << bits) - 1
        while counts[digit] < rest:
            rest -= counts[digit]
            digit -= 1
        found |= np.uint32(digit << shift)
        kept = np.empty(counts[digit] + 1, dtype=np.uint32)  # written before it is known whether to stay
        place = 0
        for key in few:
            kept[place] = key
            place += (key >> np.uint32(shift)) & mask == digit
        few = kept[:place]
    return found


@compiled
def _largest(bits: Keys, columns: Ints) -> None:
    num_rows, num = columns.shape
    keys = np.empty(bits.shape[1], dtype=np.uint32)
    found = np.empty(num + 1, dtype=np.int64)  # written before it is known whether to stay
    for row in range(num_rows):
        for column, value in enumerate(bits[row]):
            keys[column] = sortable(value)
        least = nth_largest(keys, num)
        equals = num
        for key in keys:
            equals -= key > least
        place = 0
        for column, key in enumerate(keys):
            found[place] = column
            equal = key == least
            place += (key > least) | (equal & (equals > 0))
            equals -= equal
        columns[row] = found[:num]


@compiled
def best_items(values: Floats, items: npt.NDArray[np.int32], num: int) -> npt.NDArray[np.int32]:
    """The items of the ``num`` largest values, in any order; of equal values the lowest items.

    Args:
        values: [N] positive.
        items: [N].
        num: How many; all items where there are fewer.
    """
    if len(values) <= num:
        return items
    keys = values.view(np.uint32)  # the bits of positive floats are in the order of the floats
    least = nth_largest(keys, num)
    best, equal = np.empty(num, dtype=np.int32), np.empty(len(keys), dtype=np.int32)
    above = equals = 0
    for place, key in enumerate(keys):
        if key > least:
            best[above] = items[place]
            above += 1
        elif key == least:
            equal[equals] = items[place]
            equals += 1
    if equals > num - above:
        equal[:equals].sort()
    best[above:] = equal[: num - above]
    return best


def largest(values: Floats, num: int) -> Ints:
    """[B, num] columns of the largest values of each row, ascending; the first columns where equals meet the cut.

    Args:
        values: [B, N] float32, no nan.
        num: Of those columns that there are.
    """
    if num >= values.shape[1]:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    found = np.empty((len(values), num), dtype=np.int64)
    _largest(np.ascontiguousarray(values).view(np.uint32), found)
    return found


def best_positive(scores: Floats, num: int) -> Ints:
    """[B, num] columns of the largest positive scores of each row, of equals the first; −1 where there are fewer."""
    columns = largest(np.where(scores > 0, scores, np.float32(-np.inf)), num)
    return np.where(np.take_along_axis(scores, columns, 1) > 0, columns, -1)

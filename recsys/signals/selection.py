"""The largest of many numbers; where equal numbers meet the cut, the first ones win. It needs no torch.

Shapes: B rows, N columns.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled

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
    least = np.partition(values, len(values) - num)[len(values) - num]
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

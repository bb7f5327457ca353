"""The one order of lists: highest score first, equals by catalog index; it knows no dials and no models.

Shapes: B users, C candidates, K list length. A candidate that is none has the item −1 and the score −inf.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

NO_ITEM = -1


def discounts(num: int) -> npt.NDArray[np.float64]:
    """[num] what each of the first places of a list counts: 1 / log₂(1 + rank) (Järvelin & Kekäläinen, 2002)."""
    return 1 / np.log2(np.arange(2, num + 2))


def best_first(items: Ints, scores: Floats) -> tuple[Ints, Floats]:
    """Sort each user's candidates by (−score, index); what is none comes last.

    The result does not depend on the order of the candidates.

    Args:
        items: [B, C] int64 catalog indices.
        scores: [B, C] float32; the very numbers that are compared.
    """
    if is_best_first(items, scores):  # candidates often are; the check costs a tenth of the sort
        return items, scores
    order = np.lexsort((items, -scores), axis=1)
    return np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)


def is_best_first(items: Ints, scores: Floats) -> bool:
    """Whether every row is in the order of (−score, index), where what is none has no order of its own."""
    above, below = scores[:, :-1], scores[:, 1:]
    if not (above >= below).all():
        return False
    users, places = np.nonzero((above == below) & (below > -np.inf))
    return bool((items[users, places] <= items[users, places + 1]).all())


def distinct_candidates(items: Ints, scores: Floats, width: int = 0) -> tuple[Ints, Floats, int]:
    """Keep the best score of an item that a user has more than once; all that is none becomes (−1, −inf).

    Args:
        items: [B, C] int64, −1 where there is none.
        scores: [B, C] float32, −inf where there is none.
        width: Columns to have at least; what is missing is none.

    Returns:
        items and scores [B, max(C, width)], in no particular order, and how many candidates were dropped.
    """
    assert items.shape == scores.shape, f"items {items.shape}, scores {scores.shape}"
    assert (scores < np.inf).all(), "a score is infinite or not a number"
    there = (items >= 0) & (scores > -np.inf)
    if not there.all():
        items, scores = np.where(there, items, NO_ITEM), np.where(there, scores, np.float32(-np.inf))
    if items.shape[1] < width:
        missing = ((0, 0), (0, width - items.shape[1]))
        items = np.pad(items, missing, constant_values=NO_ITEM)
        scores = np.pad(scores, missing, constant_values=-np.inf)
    ordered = np.sort(items, axis=1)  # of integers it is cheap; the dear sort below is hardly ever needed
    if not ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        return items, scores, 0
    order = np.lexsort((-scores, items), axis=1)
    items, scores = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
    again = np.zeros(items.shape, dtype=bool)
    again[:, 1:] = (items[:, 1:] == items[:, :-1]) & (items[:, 1:] >= 0)
    items[again], scores[again] = NO_ITEM, -np.inf
    return items, scores, int(again.sum())


def falling(items: Ints, scores: Floats) -> Floats:
    """The scores to write for lists in a given order, so that reading them back by (−score, index) gives that order.

    A score that would rise is lowered to the one above it. Where two are then equal and the lower place has the lower
    index, it is lowered by one step of float32 more. Scores that already fall stay as they are.

    Args:
        items: [B, K] lists, what is none at the end.
        scores: [B, K] float32.
    """
    written = scores.copy()
    _lower(items, written)
    return written


@compiled
def _lower(items: Ints, scores: Floats) -> None:
    for row in range(len(items)):
        for place in range(1, items.shape[1]):
            above, here = scores[row, place - 1], scores[row, place]
            if here >= above > -np.inf:
                is_swapped = items[row, place] < items[row, place - 1]
                scores[row, place] = np.nextafter(above, np.float32(-np.inf)) if is_swapped else above

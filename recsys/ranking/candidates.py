"""A user's candidates: the union of what the signals propose, the best cold items, and what a request adds.

Shapes: B users, C candidates, I items, N cold items, P proposals.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.signals.excluded import ExcludedItems
from recsys.signals.selection import best_positive
from recsys.signals.signal import NONE, Evidence

#: Scores of cold items that are held at a time, for all users of a block together.
_CELLS = 2**20

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def find_candidates(
    evidence: Sequence[Evidence],
    num: int,
    recommendable: Bools,
    cold: npt.NDArray[np.int32],
    excluded: ExcludedItems,
    also: Ints | None = None,
) -> Ints:
    """[B, C] catalog indices, ascending, −1 for none, which come first; no item twice. C ≥ 1 is as many as a user has.

    Args:
        evidence: What each signal says for the B users.
        num: Candidates that the config asks for; each signal proposes its share of them, cold items are a quarter.
        recommendable: [I] items that may be recommended.
        cold: [N] cold items that may be recommended.
        excluded: Items that must not be candidates.
        also: [B, X] further items, −1 for none.
    """
    proposals = [proposed for each in evidence if (proposed := each.propose(num)) is not None]
    if (chosen := best_cold(evidence, cold, max(max(num // 2, 1) // 2, 1))).shape[1]:
        proposals.append(chosen)
    if also is not None:
        proposals.append(also)
    assert proposals, "no signal proposes candidates"
    proposed = np.concatenate(proposals, axis=1)
    most = min(proposed.shape[1], max(len(recommendable), 1))
    found = np.full((len(proposed), most), NONE, dtype=np.int64)
    width = _unite(proposed, recommendable, excluded.starts(len(proposed)), excluded.items, found)
    return found[:, most - max(width, 1) :]


def best_cold(evidence: Sequence[Evidence], cold: npt.NDArray[np.int32], num: int) -> Ints:
    """[B, P] cold items [N] with the largest positive sum of the signals' scores, P ≤ ``num``; −1 where there are none.

    They are chosen among some cold items and the best of those before, so memory does not grow with B × N. Of equal
    sums the first wins.
    """
    num_users = len(evidence[0].users)
    items = np.zeros((num_users, 0), dtype=np.int32)
    scores = np.zeros((num_users, 0), dtype=np.float32)
    step = max(_CELLS // max(num_users, 1), num)
    for first in range(0, len(cold), step):
        own = cold[first : first + step]
        scored = [found for each in evidence if (found := each.cold_scores(own)) is not None]
        if not scored:
            break
        total = scored[0].copy()
        for more in scored[1:]:
            total += more
        scores = np.concatenate([scores, total], axis=1)
        items = np.concatenate([items, np.broadcast_to(own, total.shape)], axis=1)
        best = best_positive(scores, num)
        items = np.where(best >= 0, np.take_along_axis(items, best, 1), np.int32(NONE))
        scores = np.where(best >= 0, np.take_along_axis(scores, best, 1), np.float32(0))
    return items.astype(np.int64)


@compiled
def _unite(proposed: Ints, recommendable: Bools, starts: Ints, excluded: Ints, found: Ints) -> int:
    """Write each user's distinct proposals to the last columns; the number of columns that the longest row takes."""
    most, width = found.shape[1], 0
    taken = np.zeros(len(recommendable), dtype=np.bool_)
    own = np.empty(most, dtype=np.int64)
    for user in range(len(proposed)):
        for item in excluded[starts[user] : starts[user + 1]]:
            taken[item] = True
        count = 0
        for item in proposed[user]:
            if item >= 0 and recommendable[item] and not taken[item]:
                taken[item] = True
                own[count] = item
                count += 1
        own[:count].sort()
        for place in range(count):
            found[user, most - count + place] = own[place]
            taken[own[place]] = False
        for item in excluded[starts[user] : starts[user + 1]]:
            taken[item] = False
        width = max(width, count)
    return width

"""Places of a list for items that nobody took yet; it knows scores, no texts and no users.

A new item gets no interactions before it is shown, and by its score alone it is hardly shown: what speaks for it is
borrowed, and weaker than what speaks for a known item. So lists hold as many of each user's best new items as the new
items are of the catalog: an equal chance of exposure (Singh & Joachims, "Fairness of Exposure in Rankings", KDD 2018),
and no larger one, so that dead stock does not fill the lists. Where that is less than one place in ten, some users have
one and others none, every night others.

Shapes: B users, C candidates, I items.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.ranking.order import Bools, Floats, Ints

Phases = npt.NDArray[np.float64]

#: Places for new items that a list has at least some day: one of ten.
_RATE = 0.1
#: How far a list is ahead of an even distribution, so that the one of ten is the fourth; 1.4 and it are surely 2.
_LEAD = 0.6 + 1e-9


def deal_anew(scores: Floats, new: Bools, merits: Floats) -> Floats:
    """The scores, of which each user's new items change theirs among each other: the greatest merit gets the best.

    Merits tell new items apart, and are no measure beside the scores of known ones.

    Args:
        scores: [B, C] float32.
        new: [B, C] which candidates are new items.
        merits: [N] float32 of these, by user and column; of equals the first column comes first.
    """
    dealt = scores.copy()
    users, columns = np.nonzero(new)
    by_merit, by_score = (np.lexsort((-values, users)) for values in (merits, scores[users, columns]))
    dealt[users, columns[by_merit]] = scores[users, columns[by_score]]
    return dealt


def lift_new(items: Ints, scores: Floats, is_new: Bools, share: float, phases: Phases) -> tuple[Ints, Floats, Ints]:
    """Move each user's best new candidates up, until as many of the first n are new as are due there, for every n.

    One is due at the fourth place of every ten: readers look less and less far down, so that a place counts
    1 / log₂(1 + rank), as in the paper above, and the fourth gets about a tenth of what all ten get. Places drawn among
    all ten would get as much, and cost the known items up to twice as much, since the first ones would be among them.
    Where the share is below a tenth, only that part of the users has each of these places, and the phase says who;
    where it is larger, one is due more often.

    Where as many stand there by merit, nothing moves. A lifted item takes the score of the one above it; all others
    keep their order. A shorter list is the head of a longer one.

    Args:
        items: [B, C] int64 candidates by (−score, index), what is none at the end.
        scores: [B, C] float32.
        is_new: [I].
        share: Of the places, in [0, 1].
        phases: [B] in [0, 1), where each user's turns begin.

    Returns:
        Items and scores [B, C] in the new order, whose scores may have equals in any order, and the column [B, C] where
        each stood before.
    """
    new = is_new[np.maximum(items, 0)] & (items >= 0)
    turns = np.floor(np.arange(1, items.shape[1] + 1) * max(share, _RATE) + _LEAD)
    order, written = np.empty_like(items), np.empty_like(scores)
    _merge(new, scores, turns * min(share / _RATE, 1), phases, order, written)
    return np.take_along_axis(items, order, 1), written, order


@compiled
def _merge(new: Bools, scores: Floats, turns: Phases, phases: Phases, order: Ints, written: Floats) -> None:
    """Of the two queues that the candidates [B, C] form, the new ones go first where they are due."""
    width = new.shape[1]
    for row in range(len(new)):
        taken = np.zeros(width, dtype=np.bool_)
        best = best_new = num_new = 0
        for place in range(width):
            while taken[best]:
                best += 1
            while best_new < width and (taken[best_new] or not new[row, best_new]):
                best_new += 1
            due = np.floor(turns[place] + phases[row]) > num_new
            column = best_new if due and best_new < width else best
            score = scores[row, column]
            if column > best:
                score = max(score, written[row, place - 1] if place else scores[row, 0])
            order[row, place], written[row, place] = column, score
            taken[column] = True
            num_new += new[row, column]


def new_share(is_new: Bools, recommendable: Bools, most: float) -> float:
    """Share of a list that new items get: theirs of what may be recommended, but not more than `most`."""
    num_new, num_items = int((is_new & recommendable).sum()), int(recommendable.sum())
    return min(most, num_new / max(num_items, 1))

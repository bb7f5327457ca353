"""Places of a list for items that nobody took yet; it knows scores, no texts and no users.

A new item gets no interactions before it is shown, and by its score alone it is hardly shown: what speaks for it is
borrowed, and weaker than what speaks for a known item. So lists hold as many of each user's best new items as the new
items are of the catalog: an equal chance of exposure (Singh & Joachims, "Fairness of Exposure in Rankings", KDD 2018),
and no larger one, so that dead stock does not fill the lists.

Shapes: B users, C candidates, I items, K list length.
"""

import numpy as np

from recsys.recommend.order import Bools, Floats, Ints, discounts


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


def lift_new(items: Ints, scores: Floats, is_new: Bools, num: int, top_k: int) -> tuple[Ints, Floats, int]:
    """Move each user's best new candidates up, so that `num` of the best K are new; places by merit count.

    They are spread evenly over the list, see `places_of`, and take the score of the one above. The
    others keep their order.

    Args:
        items: [B, C] int64 candidates by (−score, index), what is none at the end.
        scores: [B, C] float32.
        is_new: [I].
        num: New items that a list shall hold; fewer where a user has no more.
        top_k: K.

    Returns:
        Items and scores [B, C] in the new order, whose scores may have equals in any order, and how many items are
        among the best K that were not before.
    """
    new = is_new[np.maximum(items, 0)] & (items >= 0)
    users = np.flatnonzero(new[:, top_k:].any(axis=1) & (new[:, :top_k].sum(axis=1) < num))
    if not len(users):
        return items, scores, 0
    order = np.arange(items.shape[1]) + np.zeros((len(users), 1))
    best = np.argsort(~new[users], axis=1, kind="stable")[:, :num]
    lifted = np.zeros(order.shape, dtype=bool)
    rows = np.arange(len(users))
    moved = 0
    for place, columns in zip(places_of(num, top_k).tolist(), best.T, strict=False):
        up = new[users, columns] & (columns > place)
        above = lifted[rows[up]].sum(axis=1)  # they push what stands at the place down, each by one
        order[rows[up], columns[up]] = place - above - 0.5
        lifted[rows[up], columns[up]] = True
        moved += int((columns[up] >= top_k).sum())
    by = np.argsort(order, axis=1, kind="stable")
    items, scores = items.copy(), scores.copy()
    items[users] = np.take_along_axis(items[users], by, 1)
    ranked, lifted = np.take_along_axis(scores[users], by, 1), np.take_along_axis(lifted, by, 1)
    for place in range(min(top_k, ranked.shape[1])):
        neighbour = ranked[:, place - 1] if place else ranked[:, 1:].max(axis=1, initial=-np.inf)
        ranked[:, place] = np.where(lifted[:, place], np.maximum(ranked[:, place], neighbour), ranked[:, place])
    scores[users] = ranked
    return items, scores, moved


def places_of(num: int, top_k: int) -> Ints:
    """[num] ascending places of K: of each of as many pieces of the list the one that is exposed as it is on the mean.

    Readers look less and less far down, so that a place counts 1 / log₂(1 + rank), as in the paper above: the only one
    of ten is the fourth, which gets a tenth of all exposure, where the sixth, in the middle, gets a thirteenth.
    """
    exposure = discounts(top_k)
    pieces = np.array_split(np.arange(top_k), num)
    return np.array([piece[np.abs(exposure[piece] - exposure[piece].mean()).argmin()] for piece in pieces])


def new_share(is_new: Bools, recommendable: Bools, most: float) -> float:
    """Share of a list that new items get: theirs of what may be recommended, but not more than `most`."""
    num_new, num_items = int((is_new & recommendable).sum()), int(recommendable.sum())
    return min(most, num_new / max(num_items, 1))

"""How the cold items among a user's candidates share their scores. Shapes: B users, C candidates, N cold candidates."""

import numpy as np

from recsys.signals.order import Bools, Floats


def deal_cold_scores(scores: Floats, cold: Bools, merits: Floats) -> Floats:
    """Exchange the scores of each user's cold items among each other: the item with the greatest merit gets the best.

    Merits compare cold items with each other only; they cannot be compared with the scores of known items.

    Args:
        scores: [B, C] float32.
        cold: [B, C] which candidates are cold items.
        merits: [N] float32 of these, by user and column; of equals the first column comes first.

    Returns:
        [B, C] float32; those of the other candidates are unchanged.
    """
    dealt = scores.copy()
    users, columns = np.nonzero(cold)
    by_merit, by_score = (np.lexsort((-values, users)) for values in (merits, scores[users, columns]))
    dealt[users, columns[by_merit]] = scores[users, columns[by_score]]
    return dealt

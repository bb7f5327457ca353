"""The rule that keeps lists from holding only similar items, by maximal marginal relevance.

Shapes: B users, C candidates, P candidates in a user's pool, I items, D dimensions, K list length.
"""

from functools import partial

import numpy as np
import numpy.typing as npt

from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Floats, Ints
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder

Directions = npt.NDArray[np.int16]

#: A vector of length 1 in whole steps of 2⁻¹¹. Two such vectors have a product of at most 2²² steps, which float32 adds
#: without rounding in any order: a similarity is the same in every batch, block, thread and library.
_STEPS = 2**11
#: Cells of pooled vectors held at once, 4 MB.
_BLOCK_CELLS = 2**20


class Diversity(ListRule[RerankConfig]):
    """Chooses a list by relevance and dissimilarity. It counts the items that the score alone would not have chosen.

    The score of a chosen item becomes the value that it was chosen by, on the scale of the scores.
    """

    name = "diversity"
    summary = "Lists do not hold only similar items."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> Reorder | None:
        """See `ListRule.prepare`."""
        if not settings.diversity:
            return None
        assert facts.vectors is not None, "diversity is prepared without item vectors"
        return partial(
            _diversify,
            directions=directions(facts.vectors),
            diversity=settings.diversity,
            pool=settings.diversity_pool,
        )


def _diversify(batch: RankedBatch, directions: Directions, diversity: float, pool: int) -> tuple[RankedBatch, int]:
    num = batch.num_open
    pool = max(pool, num)
    columns, values = select_diverse(batch.items[:, :pool], batch.scores[:, :pool], directions, num, diversity)
    chosen = values > -np.inf
    changed = batch.reordered(batch.order_with(np.where(chosen, columns, -1)))
    changed.scores[:, :num] = np.where(chosen, values, changed.scores[:, :num])
    return changed, int(((columns >= num) & chosen).sum())


def directions(vectors: npt.NDArray[np.floating]) -> Directions:
    """[I, D] int16 vectors of length `_STEPS`, rounded; a zero vector stays zero and resembles nothing.

    The cosine of two rounded vectors is off by some 2 · 10⁻⁴.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded: Directions = np.rint(vectors * (_STEPS / np.maximum(lengths, 1e-12))).astype(np.int16)
    return rounded


def select_diverse(
    items: Ints, scores: Floats, directions: Directions, num: int, diversity: float
) -> tuple[Ints, Floats]:
    """Choose items one after another, each for its relevance and its dissimilarity from those chosen before it.

    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998): the next item is the one with the largest
    (1 − diversity) · relevance − diversity · max(0, its highest cosine with an item chosen before).
    Relevance is the score on the scale of the user's own pool, 1 for its best and 0 for its worst, so that `diversity`
    weighs the same two ranges on every data set. Equals go by score, then by index; so the first is the most relevant.

    While items are chosen, the value of each other item only falls, so the values of the chosen items fall, too. They
    are returned on the scale of the scores: best − (best − worst) · ((1 − diversity) · (1 − relevance) + diversity ·
    cosine), within the pool's range. With diversity = 0 that is the score.

    Args:
        items: [B, P] int64, each user's in the order of (−score, index), −1 where there is none.
        scores: [B, P] float32, −inf where there is none.
        directions: [I, D] as `directions` gives.
        num: K ≤ P.
        diversity: 0 to 1.

    Returns:
        [B, K] int64 columns of the pool in the order chosen, and their values [B, K] float32, −inf where no candidate
        was left.
    """
    num_users, pool = items.shape
    assert num <= pool, f"{num} of a pool of {pool}"
    columns = np.zeros((num_users, num), dtype=np.int64)
    values = np.full((num_users, num), -np.inf, dtype=np.float32)
    block = max(1, _BLOCK_CELLS // max(1, pool * directions.shape[1]))
    for start in range(0, num_users if num else 0, block):
        part = slice(start, start + block)
        columns[part], values[part] = _select(items[part], scores[part], directions, num, diversity)
    return columns, values


def _select(
    items: Ints, scores: Floats, directions: Directions, num: int, diversity: float
) -> tuple[Ints, npt.NDArray[np.float64]]:
    there = items >= 0
    vectors = directions[np.maximum(items, 0)].astype(np.float32)  # [B, P, D]
    known = np.where(there, scores, np.nan).astype(np.float64)
    best = np.where(there, scores, -np.inf).max(axis=1).astype(np.float64)
    worst = np.where(there, scores, np.inf).min(axis=1).astype(np.float64)
    empty = ~there.any(axis=1)
    best[empty] = worst[empty] = 0.0
    scale = best - worst
    below = np.divide(best[:, None] - known, scale[:, None], out=np.zeros_like(known), where=scale[:, None] > 0)
    cost = np.where(there, (1 - diversity) * below, np.inf)  # (1 − diversity) · (1 − relevance): the least is chosen
    likeness = np.zeros(items.shape, dtype=np.float32)
    users = np.arange(len(items))
    columns = np.empty((len(items), num), dtype=np.int64)
    values = np.empty((len(items), num), dtype=np.float64)
    for place in range(num):
        marginal = cost + diversity * likeness.astype(np.float64)
        column = marginal.argmin(axis=1)  # the first of equals
        columns[:, place] = column
        least = marginal[users, column]
        values[:, place] = np.where(np.isinf(least), -np.inf, best - scale * np.where(np.isinf(least), 0.0, least))
        cost[users, column] = np.inf
        products = np.einsum("bpd,bd->bp", vectors, vectors[users, column])
        np.maximum(likeness, products / np.float32(_STEPS**2), out=likeness)
    return columns, values

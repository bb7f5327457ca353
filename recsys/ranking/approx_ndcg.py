"""NDCG of scores, made smooth, so that weights can be fitted by its slope; it knows no signals and no users.

ApproxNDCG (Qin, Liu & Li, "A general approximation framework for direct optimization of information retrieval
measures", Information Retrieval, 2010): a rank is 1 + the number of those above, and whether one stands above another
is a sigmoid of the difference of their scores. Shapes: B users, C candidates.
"""

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.ranking.order import discounts

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Difference of two scores at which the better one counts as above the other to 73 %, in nats.
TEMPERATURE = 0.3


def approx_ndcg(scores: Floats, taken: Bools, cut: int) -> tuple[Floats, Floats]:
    """Each user's smooth NDCG [B], and its slope by each score [B, C].

    Args:
        scores: [B, C], −inf for what is no candidate.
        taken: [B, C] which candidates are relevant, at least one a user.
        cut: Relevant candidates of a perfect list; the list itself is not cut off.
    """
    best = np.cumsum(discounts(cut))[np.minimum(taken.sum(axis=1), cut) - 1]
    values, slopes = np.zeros(len(scores)), np.zeros(scores.shape)
    _measure(scores, taken, values, slopes)
    return values / best, slopes / best[:, None]


@compiled
def _measure(scores: Floats, taken: Bools, values: Floats, slopes: Floats) -> None:
    """Write each user's smooth DCG and its slopes."""
    above = np.empty(scores.shape[1])
    for user in range(len(scores)):
        for item in range(scores.shape[1]):
            if not taken[user, item]:
                continue
            rank = 1.0
            for other in range(scores.shape[1]):
                above[other] = 1 / (1 + np.exp((scores[user, item] - scores[user, other]) / TEMPERATURE))
                rank += above[other] if other != item else 0.0
            logarithm = np.log(1 + rank)
            values[user] += np.log(2) / logarithm
            by_rank = -np.log(2) / ((1 + rank) * logarithm**2)
            for other in range(scores.shape[1]):
                slope = by_rank * above[other] * (1 - above[other]) / TEMPERATURE
                slopes[user, other] += slope
                slopes[user, item] -= slope

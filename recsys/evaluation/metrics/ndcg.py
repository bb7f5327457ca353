"""Normalised discounted cumulative gain."""

import numpy as np

from recsys.evaluation.metrics.metric import AccuracyMetric, Bools, Floats, Ints, ratio


class Ndcg(AccuracyMetric):
    """NDCG@k with binary gains (Järvelin & Kekäläinen, TOIS 2002).

    DCG@k = Σ_{r ≤ k} hit_r / log2(r + 1), divided by that of the best possible list, which starts with
    min(num_relevant, k) hits.

    >>> Ndcg().values(np.array([[False, True, True]]), np.array([2]), k=3).round(4).tolist()
    [0.6934]
    """

    name = "ndcg"
    summary = "Relevant items in the list, weighted by their place; 1 is the best possible list."

    def values(self, hits: Bools, num_relevant: Ints, k: int) -> Floats:
        """See `AccuracyMetric.values`."""
        discounts = 1 / np.log2(np.arange(2, k + 2))
        best = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(num_relevant, k)]
        first = hits[:, :k]
        return ratio(first @ discounts[: first.shape[1]], best)

"""The share of relevant items that are found."""

import numpy as np

from recsys.evaluation.metrics.metric import AccuracyMetric, Bools, Floats, Ints, ratio


class Recall(AccuracyMetric):
    """Recall@k: the share of a user's relevant items that the first k places hold.

    recall@k = Σ_{r ≤ k} hit_r / num_relevant (Manning, Raghavan & Schütze, Introduction to Information Retrieval, 8.3).

    >>> Recall().values(np.array([[False, True, True, True]]), np.array([4]), k=3).tolist()
    [0.5]
    """

    name = "recall"
    summary = "Share of the relevant items that the list holds."

    def values(self, hits: Bools, num_relevant: Ints, k: int) -> Floats:
        """See `AccuracyMetric.values`."""
        return ratio(np.sum(hits[:, :k], axis=1), num_relevant)

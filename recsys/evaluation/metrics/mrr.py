"""How far up the first relevant item stands."""

import numpy as np

from recsys.evaluation.metrics.metric import AccuracyMetric, Bools, Floats, Ints, ratio


class Mrr(AccuracyMetric):
    """MRR@k: 1 / rank of the first relevant item in the first k places, else 0 (Voorhees, TREC-8, 1999).

    >>> Mrr().values(np.array([[False, True, True], [False, False, False]]), np.array([2, 1]), k=3).tolist()
    [0.5, 0.0]
    """

    name = "mrr"
    summary = "1 / rank of the first relevant item."

    def values(self, hits: Bools, num_relevant: Ints, k: int) -> Floats:  # noqa: ARG002 - one signature for all metrics
        """See `AccuracyMetric.values`."""
        first = hits[:, :k]
        if not first.shape[1]:
            return np.zeros(len(hits))
        return ratio(first.any(axis=1), first.argmax(axis=1) + 1)

"""Whether a list holds anything relevant."""

import numpy as np

from recsys.evaluation.metrics.metric import AccuracyMetric, Bools, Floats, Ints


class HitRate(AccuracyMetric):
    """HitRate@k: 1 where the first k places hold a relevant item, else 0 (Deshpande & Karypis, TOIS 2004).

    >>> HitRate().values(np.array([[False, True], [False, False]]), np.array([1, 1]), k=2).tolist()
    [1.0, 0.0]
    """

    name = "hitrate"
    summary = "Share of the users whose list holds a relevant item."

    def values(self, hits: Bools, num_relevant: Ints, k: int) -> Floats:  # noqa: ARG002 - one signature for all metrics
        """See `AccuracyMetric.values`."""
        return np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)

"""A metric of a user's own: the share of a list that is relevant."""

from recsys.evaluation.metrics.metric import AccuracyMetric, Bools, Floats, Ints
from recsys.evaluation.metrics.registry import METRICS


class Precision(AccuracyMetric):
    """Precision@k = Σ_{r ≤ k} hit_r / k (Manning, Raghavan & Schütze, Introduction to Information Retrieval, 8.3).

    >>> Precision().values(np.array([[False, True, True, True]]), np.array([4]), k=2).tolist()
    [0.5]
    """

    name = "precision"
    summary = "Share of the first k places that hold a relevant item."

    def values(self, hits: Bools, num_relevant: Ints, k: int) -> Floats:  # noqa: ARG002 - not needed here
        """The metric of each user [U]: `hits` [U, K] says which places of a list hold a relevant item."""
        return hits[:, :k].sum(axis=1) / k


METRICS.register(Precision())

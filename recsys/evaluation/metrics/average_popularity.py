"""How popular the items of a list are."""

import numpy as np

from recsys.evaluation.item_facts import ItemFacts
from recsys.evaluation.metrics.metric import Floats, Ints, ListMetric, mean_over_lists


class AveragePopularity(ListMetric):
    """Average recommendation popularity: mean training interactions of a list's items.

    The mean over users is ARP = 1/|U| Σ_u Σ_{i ∈ L_u} φ(i) / |L_u| (Yin et al., Challenging the Long Tail
    Recommendation, VLDB 2012).

    >>> facts = ItemFacts(num_interactions=np.array([10, 4, 1]), num_users=np.array([8, 4, 1]), total_users=9,
    ...                   vectors=np.eye(3, dtype=np.float32))
    >>> AveragePopularity().values(np.array([[0, 1], [2, -1]]), facts).tolist()
    [7.0, 1.0]
    """

    name = "average_popularity"
    summary = "Mean number of training interactions of the list's items."

    def values(self, recommended: Ints, facts: ItemFacts) -> Floats:
        """See `ListMetric.values`."""
        return mean_over_lists(recommended, np.asarray(facts.num_interactions))

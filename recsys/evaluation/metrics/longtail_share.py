"""How much of a list is outside the most popular items."""

import numpy as np

from recsys.evaluation.item_facts import ItemFacts
from recsys.evaluation.metrics.metric import Floats, Ints, ListMetric, mean_over_lists


class LongtailShare(ListMetric):
    """The share of a list that is outside the short head, see `recsys.data.item_counts.head_items`.

    The mean over users is APLT = 1/|U| Σ_u |{i ∈ L_u : i in the long tail}| / |L_u| (Abdollahpouri, Burke & Mobasher,
    Managing Popularity Bias in Recommender Systems with Personalized Re-ranking, FLAIRS 2019).

    >>> facts = ItemFacts(num_interactions=np.array([9, 1, 1, 1]), num_users=np.array([9, 1, 1, 1]), total_users=9,
    ...                   vectors=np.eye(4, dtype=np.float32))
    >>> LongtailShare().values(np.array([[0, 1, 2, 3], [0, 1, -1, -1]]), facts).tolist()
    [0.75, 0.5]
    """

    name = "longtail_share"
    summary = "Share of the list that is outside the most popular fifth of the catalog."

    def values(self, recommended: Ints, facts: ItemFacts) -> Floats:
        """See `ListMetric.values`."""
        return mean_over_lists(recommended, np.logical_not(facts.head))

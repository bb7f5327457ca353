"""How few users know the items of a list."""

import numpy as np

from recsys.evaluation.item_facts import ItemFacts
from recsys.evaluation.metrics.metric import Floats, Ints, ListMetric, mean_over_lists


class Novelty(ListMetric):
    """Mean inverse user frequency of a list's items, in bits: their self-information.

    MIUF = −1/|L_u| Σ_{i ∈ L_u} log2(|U_i| / |U|), with the training users U_i who touched item i (Castells, Hurley &
    Vargas, Novelty and Diversity in Recommender Systems, Recommender Systems Handbook, 2015; after Zhou et al., PNAS
    2010). An item that nobody touched counts as if one user had touched it, which keeps it finite and the most novel.

    >>> facts = ItemFacts(num_interactions=np.array([9, 2, 0]), num_users=np.array([8, 2, 0]), total_users=8,
    ...                   vectors=np.eye(3, dtype=np.float32))
    >>> Novelty().values(np.array([[0, 1], [2, -1]]), facts).tolist()
    [1.0, 3.0]
    """

    name = "novelty"
    summary = "Mean inverse user frequency of the list's items, in bits."

    def values(self, recommended: Ints, facts: ItemFacts) -> Floats:
        """See `ListMetric.values`."""
        bits = np.log2(max(facts.total_users, 1)) - np.log2(np.maximum(facts.num_users, 1))
        return mean_over_lists(recommended, bits)

"""How unequally the lists show the items of the catalog."""

import numpy as np

from recsys.evaluation.metrics.metric import CatalogMetric, Ints


class Gini(CatalogMetric):
    """Gini index of how often each item is shown: 0 where all are shown equally often, 1 where only one is shown.

    G = Σ_j (2j − I − 1) · p_j / (I − 1), with the items' shares of all places in ascending order, p_1 ≤ … ≤ p_I
    (Shani & Gunawardana, Evaluating Recommendation Systems, Recommender Systems Handbook, 2011). 0 where nothing is
    shown, or where there is only one item.

    >>> Gini().value(np.array([0, 0, 5])), Gini().value(np.array([2, 2, 2])), Gini().value(np.array([1, 2, 0, 1]))
    (1.0, 0.0, 0.5)
    """

    name = "gini"
    summary = "How unequally items are shown: 0 is equally often, 1 is a single item."

    def value(self, shown: Ints) -> float:
        """See `CatalogMetric.value`."""
        num_items, total = len(shown), int(shown.sum())
        if num_items < 2 or not total:
            return 0.0
        weights = 2 * np.arange(1, num_items + 1) - num_items - 1
        return float(weights @ np.sort(shown) / (total * (num_items - 1)))

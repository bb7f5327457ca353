"""How much of the catalog is recommended at all."""

import numpy as np

from recsys.evaluation.metrics.metric import CatalogMetric, Ints


class Coverage(CatalogMetric):
    """The share of the catalog that stands in some list (Ge et al., RecSys 2010).

    >>> Coverage().value(np.array([1, 2, 0, 0]))
    0.5
    """

    name = "coverage"
    summary = "Share of the catalog that stands in some list."

    def value(self, shown: Ints) -> float:
        """See `CatalogMetric.value`."""
        return float(np.count_nonzero(shown) / max(len(shown), 1))

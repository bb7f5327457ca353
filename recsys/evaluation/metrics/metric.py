"""What a metric is. An accuracy metric compares a list with what its user wanted; the others describe lists alone.

A metric is one file beside this one and one line in `registry.py`, or a module of your own in the config's `plugins`.
Its class docstring holds the formula, the source and an example, which a test runs. All metrics rank the full catalog,
never a sample of it (Krichene & Rendle, KDD 2020: sampled metrics order models wrongly).

Shapes: U users, K length of the lists, I items.
"""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from recsys.evaluation.item_facts import ItemFacts

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]


class Metric(ABC):
    """What all metrics have."""

    name: str
    """Without the length of the list: the metric `ndcg` is written `ndcg@10`."""
    summary: str
    """One sentence for people: what it measures."""


class AccuracyMetric(Metric):
    """How much of what a user wanted the first k places of the list hold. The gate compares models by such a metric."""

    @abstractmethod
    def values(self, hits: Bools, num_relevant: Ints, k: int) -> Floats:
        """The metric of each user [U], in [0, 1], larger is better; 0 for a user without relevant items.

        Args:
            hits: [U, K] which recommended items are relevant, best first.
            num_relevant: [U] relevant items of each user, in the list or not.
            k: Places that count; a shorter list has no hit in the missing places.
        """


class ListMetric(Metric):
    """What a single list is like, whatever the user wanted."""

    @abstractmethod
    def values(self, recommended: Ints, facts: ItemFacts) -> Floats:
        """The metric of each list [U]; 0 for an empty list.

        Args:
            recommended: [U, K] item indices, best first, −1 where a list is shorter.
            facts: Of the I items.
        """


class CatalogMetric(Metric):
    """What all lists together are like."""

    @abstractmethod
    def value(self, shown: Ints) -> float:
        """The metric of all lists.

        Args:
            shown: [I] in how many lists each item stands, as `exposure` gives.
        """


def ratio(values: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """Divide; 0 where the whole is 0.

    >>> ratio([1, 2], [4, 0]).tolist()
    [0.25, 0.0]
    """
    quotient: Floats = np.divide(values, whole, out=np.zeros(np.shape(values)), where=np.greater(whole, 0))
    return quotient


def mean_over_lists(recommended: Ints, values: npt.NDArray[np.bool_ | np.integer | np.floating]) -> Floats:
    """Mean of an item's value [I] over the items of each list [U, K]; 0 for an empty list.

    >>> mean_over_lists(np.array([[0, 1], [1, -1], [-1, -1]]), np.array([10, 4])).tolist()
    [7.0, 4.0, 0.0]
    """
    shown = recommended >= 0
    return ratio(np.where(shown, values[recommended], 0).sum(axis=1), shown.sum(axis=1))

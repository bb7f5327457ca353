"""Measures ranked lists by the registered metrics. Shapes: U users, K length of the lists, R relevant items, I items.

`recommended` is an int array [U, K] of item indices, best first, −1 where a list is shorter, no item twice in a list.
The relevant items of user u are `relevant_indices[relevant_indptr[u] : relevant_indptr[u + 1]]`, distinct.
"""

from collections.abc import Sequence

import numpy as np

from recsys.evaluation.item_facts import ItemFacts
from recsys.evaluation.metrics.metric import Bools, Floats, Ints
from recsys.evaluation.metrics.registry import catalog_metrics, list_metrics, parse_metric


def measure(
    recommended: Ints, relevant_indptr: Ints, relevant_indices: Ints, names: Sequence[str]
) -> dict[str, Floats]:
    """Values [U] of accuracy metrics named `ndcg@10`, `recall@20` …; the hits are found once for all of them.

    Raises:
        ConfigError: a name is not known, see `parse_metric`.

    >>> measured = measure(np.array([[3, 1]]), np.array([0, 1]), np.array([1]), ["mrr@2", "hitrate@1"])
    >>> {name: values.tolist() for name, values in measured.items()}
    {'mrr@2': [0.5], 'hitrate@1': [0.0]}
    """
    parsed = {name: parse_metric(name) for name in names}
    hits = hits_matrix(recommended, relevant_indptr, relevant_indices)
    num_relevant = np.diff(relevant_indptr)
    return {name: metric.values(hits, num_relevant, k) for name, (metric, k) in parsed.items()}


def measure_lists(recommended: Ints, facts: ItemFacts) -> dict[str, Floats]:
    """Values [U] of every metric of a single list, named `novelty@20` by the lists' length."""
    k = recommended.shape[1]
    return {f"{metric.name}@{k}": metric.values(recommended, facts) for metric in list_metrics()}


def measure_catalog(shown: Ints, k: int) -> dict[str, float]:
    """Every metric of all lists together, named `coverage@20` by the lists' length k; `shown` [I] is an exposure."""
    return {f"{metric.name}@{k}": metric.value(shown) for metric in catalog_metrics()}


def exposure(recommended: Ints, num_items: int) -> Ints:
    """In how many lists each item stands: int64 [I].

    >>> exposure(np.array([[0, 1], [1, -1]]), num_items=4).tolist()
    [1, 2, 0, 0]
    """
    return np.bincount(recommended[recommended >= 0], minlength=num_items)


def hits_matrix(recommended: Ints, relevant_indptr: Ints, relevant_indices: Ints) -> Bools:
    """Which recommended items are relevant: bool [U, K].

    >>> hits_matrix(np.array([[3, 1, 2], [0, 3, -1]]), np.array([0, 2, 3]), np.array([1, 2, 3])).tolist()
    [[False, True, True], [False, True, False]]
    """
    num_users = len(recommended)
    assert len(relevant_indptr) == num_users + 1, f"{len(relevant_indptr)} offsets for {num_users} users"
    width = 1 + max(recommended.max(initial=-1), relevant_indices.max(initial=-1))
    users = np.arange(num_users, dtype=np.int64)
    relevant = np.repeat(users, np.diff(relevant_indptr)) * width + relevant_indices
    found = np.isin(users[:, None] * width + recommended, relevant)
    hits: Bools = found & (recommended >= 0)  # −1 of user u would read as the last item of user u − 1
    return hits

"""How good ranked lists are, per user, and how sure one can be of it; it knows item indices, neither ids nor models.

Shapes: U users, K length of the lists, R relevant items of all users together. `recommended` is an int array [U, K]
of item indices, best first, −1 where a list is shorter, no item twice in a list. The relevant items of user u are
`relevant_indices[relevant_indptr[u] : relevant_indptr[u + 1]]`, distinct. All metrics rank the full catalog, never a
sample of negatives (Krichene & Rendle, KDD 2020: sampled metrics order models wrongly).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]

#: Cells of the resampled matrix held at once by the bootstrap.
_BOOTSTRAP_CELLS = 2**20


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


def ndcg(hits: Bools, num_relevant: Ints, k: int) -> Floats:
    """NDCG@k with binary gains [U] (Järvelin & Kekäläinen, TOIS 2002).

    DCG@k = Σ_{r ≤ k} hit_r / log2(r + 1), divided by that of the best possible list, which starts with
    min(num_relevant, k) hits; 0 for a user without relevant items.

    >>> ndcg(np.array([[False, True, True]]), np.array([2]), k=3).round(4).tolist()
    [0.6934]
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(num_relevant, k)]
    first = hits[:, :k]
    return ratio(first @ discounts[: first.shape[1]], best)


def recall(hits: Bools, num_relevant: Ints, k: int) -> Floats:
    """Recall@k [U]: the share of a user's relevant items found in the first k places; 0 without relevant items.

    recall@k = Σ_{r ≤ k} hit_r / num_relevant (Manning, Raghavan & Schütze, Introduction to Information Retrieval, 8.3).

    >>> recall(np.array([[False, True, True, True]]), np.array([4]), k=3).tolist()
    [0.5]
    """
    return ratio(hits[:, :k].sum(axis=1), num_relevant)


def hitrate(hits: Bools, num_relevant: Ints, k: int) -> Floats:  # noqa: ARG001 - one signature for all metrics
    """HitRate@k [U]: 1 where the first k places hold a relevant item, else 0 (Deshpande & Karypis, TOIS 2004).

    >>> hitrate(np.array([[False, True], [False, False]]), np.array([1, 1]), k=2).tolist()
    [1.0, 0.0]
    """
    return np.asarray(hits[:, :k].any(axis=1), dtype=np.float64)


def mrr(hits: Bools, num_relevant: Ints, k: int) -> Floats:  # noqa: ARG001 - one signature for all metrics
    """MRR@k [U]: 1 / rank of the first relevant item in the first k places, else 0 (Voorhees, TREC-8, 1999).

    >>> mrr(np.array([[False, True, True], [False, False, False]]), np.array([2, 1]), k=3).tolist()
    [0.5, 0.0]
    """
    first = hits[:, :k]
    if not first.shape[1]:
        return np.zeros(len(hits))
    return ratio(first.any(axis=1), first.argmax(axis=1) + 1)


METRICS: dict[str, Callable[[Bools, Ints, int], Floats]] = {
    "ndcg": ndcg,
    "recall": recall,
    "hitrate": hitrate,
    "mrr": mrr,
}


def measure(
    recommended: Ints, relevant_indptr: Ints, relevant_indices: Ints, names: Sequence[str]
) -> dict[str, Floats]:
    """Per-user values [U] of metrics named `ndcg@10`, `recall@20` …; the hits are found once for all of them.

    >>> measured = measure(np.array([[3, 1]]), np.array([0, 1]), np.array([1]), ["mrr@2", "hitrate@1"])
    >>> {name: values.tolist() for name, values in measured.items()}
    {'mrr@2': [0.5], 'hitrate@1': [0.0]}
    """
    hits = hits_matrix(recommended, relevant_indptr, relevant_indices)
    num_relevant = np.diff(relevant_indptr)
    measured = {}
    for name in names:
        metric, _, k = name.partition("@")
        assert metric in METRICS, f"no metric {name!r}; known: {', '.join(METRICS)}"
        assert k.isdigit(), f"metric {name!r} must end with @k, like {metric}@10"
        measured[name] = METRICS[metric](hits, num_relevant, int(k))
    return measured


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and the bounds that hold it at the asked level."""

    mean: float
    low: float
    high: float


def paired_bootstrap(difference: Floats, num_samples: int = 1000, seed: int = 0, level: float = 0.95) -> Interval:
    """Percentile interval of the mean of per-user differences [U], users resampled (Sakai, SIGIR 2006).

    Memory does not grow with U × num_samples. The same seed gives the same interval.

    >>> paired_bootstrap(np.array([0.5, 0.5, 0.5]))
    Interval(mean=0.5, low=0.5, high=0.5)
    """
    num_users = len(difference)
    assert num_users > 0, "no users, no interval"
    assert np.isfinite(difference).all(), "a difference is not finite"
    random = np.random.default_rng(seed)
    rows = max(1, _BOOTSTRAP_CELLS // num_users)
    sizes = [min(rows, num_samples - start) for start in range(0, num_samples, rows)]
    means = [difference[random.integers(0, num_users, size=(size, num_users))].mean(axis=1) for size in sizes]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean=float(difference.mean()), low=float(low), high=float(high))


def ratio(values: npt.ArrayLike, whole: npt.ArrayLike) -> Floats:
    """Divide; 0 where the whole is 0.

    >>> ratio([1, 2], [4, 0]).tolist()
    [0.25, 0.0]
    """
    quotient: Floats = np.divide(values, whole, out=np.zeros(np.shape(values)), where=np.greater(whole, 0))
    return quotient

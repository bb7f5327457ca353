"""What lists are like, whatever was wanted: spread, popularity, novelty, diversity; it knows item indices, no targets.

Shapes: U users, K length of the lists, I items, T dimensions of a text vector. `recommended` is an int array [U, K] as
in `recsys.evaluation.metrics`: item indices, −1 where a list is shorter. What a single list has is told user by user,
[U], so that rankers can be compared in pairs; coverage and Gini belong to all lists together.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recsys.data.item_counts import head_items
from recsys.evaluation.metrics import Bools, Floats, Ints, ratio

#: Numbers of text vectors held at once by the diversity.
_VECTOR_CELLS = 2**22


@dataclass(frozen=True, kw_only=True)
class ItemFacts:
    """What training knows of the catalog's items."""

    num_interactions: Ints
    """[I] training interactions."""
    num_users: Ints
    """[I] training users who touched the item."""
    total_users: int
    """Training users."""
    vectors: npt.NDArray[np.float32]
    """[I, T] text vectors, of any length."""

    @cached_property  # it sorts the catalog, and is asked for with every block of users
    def head(self) -> Bools:
        """[I] the short head."""
        return head_items(self.num_interactions)

    @property
    def cold(self) -> Bools:
        """[I] items without any training interaction."""
        cold: Bools = self.num_interactions == 0
        return cold


def measure_lists(recommended: Ints, facts: ItemFacts) -> dict[str, Floats]:
    """Per-user values [U] of everything below that a single list has, named `novelty@20` by the lists' length."""
    measured = {
        "longtail_share": longtail_share(recommended, facts.head),
        "average_popularity": average_popularity(recommended, facts.num_interactions),
        "novelty": novelty(recommended, facts.num_users, facts.total_users),
        "diversity": intra_list_diversity(recommended, facts.vectors),
    }
    return {f"{name}@{recommended.shape[1]}": values for name, values in measured.items()}


def exposure(recommended: Ints, num_items: int) -> Ints:
    """In how many lists each item stands: int64 [I].

    >>> exposure(np.array([[0, 1], [1, -1]]), num_items=4).tolist()
    [1, 2, 0, 0]
    """
    return np.bincount(recommended[recommended >= 0], minlength=num_items)


def coverage(shown: Ints) -> float:
    """The share of the catalog that stands in some list (Ge et al., RecSys 2010); `shown` [I] is an exposure.

    >>> coverage(np.array([1, 2, 0, 0]))
    0.5
    """
    return float(np.count_nonzero(shown) / max(len(shown), 1))


def gini(shown: Ints) -> float:
    """Gini index of an exposure [I]: 0 where all items are shown alike, 1 where a single one is.

    G = Σ_j (2j − I − 1) · p_j / (I − 1), with the items' shares of all places in ascending order, p_1 ≤ … ≤ p_I
    (Shani & Gunawardana, Evaluating Recommendation Systems, Recommender Systems Handbook, 2011). 0 where nothing is
    shown, or where there is but one item.

    >>> gini(np.array([0, 0, 5])), gini(np.array([2, 2, 2])), gini(np.array([1, 2, 0, 1]))
    (1.0, 0.0, 0.5)
    """
    num_items, total = len(shown), int(shown.sum())
    if num_items < 2 or not total:
        return 0.0
    weights = 2 * np.arange(1, num_items + 1) - num_items - 1
    return float(weights @ np.sort(shown) / (total * (num_items - 1)))


def longtail_share(recommended: Ints, head: Bools) -> Floats:
    """The share of each list [U] that is outside the short head; 0 for an empty list.

    Averaged over users this is APLT = 1/|U| Σ_u |{i ∈ L_u : i in the long tail}| / |L_u| (Abdollahpouri, Burke &
    Mobasher, Managing Popularity Bias in Recommender Systems with Personalized Re-ranking, FLAIRS 2019).

    >>> longtail_share(np.array([[0, 1, 2, 3], [0, 1, -1, -1]]), head=np.array([True, False, False, False])).tolist()
    [0.75, 0.5]
    """
    return _mean_over_lists(recommended, ~head)


def average_popularity(recommended: Ints, num_interactions: Ints) -> Floats:
    """Average recommendation popularity [U]: mean training interactions of a list's items; 0 for an empty list.

    Averaged over users this is ARP = 1/|U| Σ_u Σ_{i ∈ L_u} φ(i) / |L_u| (Yin et al., Challenging the Long Tail
    Recommendation, VLDB 2012).

    >>> average_popularity(np.array([[0, 1], [2, -1]]), num_interactions=np.array([10, 4, 1])).tolist()
    [7.0, 1.0]
    """
    return _mean_over_lists(recommended, num_interactions)


def novelty(recommended: Ints, num_item_users: Ints, num_users: int) -> Floats:
    """Mean inverse user frequency [U] of a list's items, in bits: their self-information; 0 for an empty list.

    MIUF = −1/|L_u| Σ_{i ∈ L_u} log2(|U_i| / |U|), with the training users U_i who touched item i (Castells, Hurley &
    Vargas, Novelty and Diversity in Recommender Systems, Recommender Systems Handbook, 2015; after Zhou et al., PNAS
    2010). An item that nobody touched counts as if one user had, which keeps it finite and the most novel.

    >>> novelty(np.array([[0, 1], [2, -1]]), num_item_users=np.array([8, 2, 0]), num_users=8).tolist()
    [1.0, 3.0]
    """
    return _mean_over_lists(recommended, np.log2(max(num_users, 1)) - np.log2(np.maximum(num_item_users, 1)))


def intra_list_diversity(recommended: Ints, vectors: npt.NDArray[np.float32]) -> Floats:
    """1 − mean cosine of the text vectors of all pairs of a list [U]; 0 for a list of fewer than two items.

    ILD = 1 − 2 / (n (n − 1)) Σ_{i < j} cos(v_i, v_j) for n items (Smyth & McClave, Similarity vs. Diversity, ICCBR
    2001; Ziegler et al., WWW 2005). A vector of length 0 resembles nothing. Memory does not grow with U.

    Args:
        recommended: [U, K].
        vectors: [I, T].

    >>> vectors = np.array([[1, 0], [2, 0], [0, 3]], dtype=np.float32)
    >>> intra_list_diversity(np.array([[0, 1, -1], [0, 1, 2], [2, -1, -1]]), vectors).round(4).tolist()
    [0.0, 0.6667, 0.0]
    """
    num_users, width = recommended.shape
    diversity = np.zeros(num_users)
    rows = max(1, _VECTOR_CELLS // max(width * vectors.shape[1], 1))
    for start in range(0, num_users, rows):
        lists = recommended[start : start + rows]
        found = vectors[lists].astype(np.float64) * (lists >= 0)[:, :, None]  # [rows, K, T]
        lengths = np.linalg.norm(found, axis=2, keepdims=True)
        units = np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0)
        # |Σ v|² is the sum of the cosines of all ordered pairs, each vector with itself among them
        cosines = np.square(units.sum(axis=1)).sum(axis=1) - (lengths[:, :, 0] > 0).sum(axis=1)
        num_pairs = (size := (lists >= 0).sum(axis=1)) * (size - 1)
        diversity[start : start + rows] = ratio(num_pairs - cosines, num_pairs)
    return diversity


def _mean_over_lists(recommended: Ints, values: npt.NDArray[np.bool_ | np.integer | np.floating]) -> Floats:
    """Mean of an item's value [I] over the items of each list; 0 for an empty list."""
    shown = recommended >= 0
    return ratio(np.where(shown, values[recommended], 0).sum(axis=1), shown.sum(axis=1))

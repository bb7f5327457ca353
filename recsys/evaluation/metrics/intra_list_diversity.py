"""How different the texts of a list's items are. Shapes: U users, K length of a list, T dimensions of a text vector."""

import numpy as np

from recsys.evaluation.item_facts import ItemFacts
from recsys.evaluation.metrics.metric import Floats, Ints, ListMetric, ratio

#: Numbers of text vectors held at once.
_VECTOR_CELLS = 2**22


class IntraListDiversity(ListMetric):
    """1 − mean cosine of the text vectors of all pairs of a list; 0 for a list of fewer than two items.

    ILD = 1 − 2 / (n (n − 1)) Σ_{i < j} cos(v_i, v_j) for n items (Smyth & McClave, Similarity vs. Diversity, ICCBR
    2001; Ziegler et al., WWW 2005). A vector of length 0 has the cosine 0 with every other. Memory does not grow with
    U.

    >>> vectors = np.array([[1, 0], [2, 0], [0, 3]], dtype=np.float32)
    >>> facts = ItemFacts(num_interactions=np.ones(3, int), num_users=np.ones(3, int), total_users=1, vectors=vectors)
    >>> lists = np.array([[0, 1, -1], [0, 1, 2], [2, -1, -1]])
    >>> IntraListDiversity().values(lists, facts).round(4).tolist()
    [0.0, 0.6667, 0.0]
    """

    name = "diversity"
    summary = "1 − mean cosine of the text vectors of all pairs of the list's items."

    def values(self, recommended: Ints, facts: ItemFacts) -> Floats:
        """See `ListMetric.values`."""
        num_users, width = recommended.shape
        diversity = np.zeros(num_users)
        rows = max(1, _VECTOR_CELLS // max(width * facts.vectors.shape[1], 1))
        for start in range(0, num_users, rows):
            lists = recommended[start : start + rows]
            found = facts.vectors[lists].astype(np.float64) * (lists >= 0)[:, :, None]  # [rows, K, T]
            lengths = np.linalg.norm(found, axis=2, keepdims=True)
            units = np.divide(found, lengths, out=np.zeros_like(found), where=lengths > 0)
            # |Σ v|² is the sum of the cosines of all ordered pairs, and each vector with itself is one of them
            cosines = np.square(units.sum(axis=1)).sum(axis=1) - (lengths[:, :, 0] > 0).sum(axis=1)
            num_pairs = (size := (lists >= 0).sum(axis=1)) * (size - 1)
            diversity[start : start + rows] = ratio(num_pairs - cosines, num_pairs)
        return diversity

"""What new items borrow from the item of nearest text, until somebody takes them; it knows vectors and sparse weights.

To all that is counted, an item without any interaction is the least likely of all, however well its text fits: beside
the ranker, which reads texts, every other witness would speak against it. So it gets a part of what its nearest item by
text has, as attribute-to-feature mappings do for factor models (Gantner et al., "Learning Attribute-to-Feature Mappings
for Cold-Start Recommendations", ICDM 2010). From a single one, since the mean of several speaks strongly for nobody.

Shapes: I items, T text dimensions, G moments.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
import torch

from recsys.recommend.neighbours import Neighbours
from recsys.recommend.retrieve import Excluded, retrieve
from recsys.schema import LENDERS

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def find_lenders(text_vectors: Floats, cold: Bools) -> pa.Table:
    """LENDERS: for each cold item the nearest other one by the cosine of the texts, where that is above 0.

    Args:
        text_vectors: [I, T] of length 1 (or 0).
        cold: [I] items without any interaction.
    """
    borrowers, others = np.flatnonzero(cold), np.flatnonzero(~cold)
    vectors = torch.from_numpy(text_vectors)
    found = retrieve(vectors[borrowers], vectors[others], Excluded.none(), 1)
    rows, places = np.nonzero(found.logits.numpy() > 0)
    lenders = others[found.items.numpy()[rows, places]]
    order = np.lexsort((borrowers[rows], lenders))
    columns = [lenders[order], borrowers[rows][order]]
    return pa.Table.from_arrays([pa.array(column.astype(np.int32)) for column in columns], schema=LENDERS)


class Lending:
    """A matrix that gives new items a share of what their lenders have."""

    def __init__(self, lenders: pa.Table, num_items: int, share: float):
        """From LENDERS; a share of 0 lends nothing."""
        lender, item = (lenders[name].to_numpy() for name in LENDERS.names)
        if not share:
            lender, item = lender[:0], item[:0]
        self.borrows = np.zeros(num_items, dtype=bool)
        """[I] which items are new."""
        self.borrows[item] = True
        self._matrix = sp.csr_array(
            (np.full(len(item), share, np.float32), (lender, item)), shape=(num_items, num_items)
        )

    def neighbours(self, neighbours: Neighbours) -> Neighbours:
        """What speaks for the lenders speaks for the new items, too."""
        return Neighbours(weights=(neighbours.weights + neighbours.weights @ self._matrix).astype(np.complex64))

    def popularity(self, popularity: Floats) -> Floats:
        """[G, I] log-counts, in which the new items have a share of their lenders' counts."""
        counts = np.expm1(popularity)
        return np.asarray(np.log1p(counts + counts @ self._matrix), dtype=np.float32)

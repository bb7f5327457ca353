"""What new items borrow from items of like text, until somebody takes them; it knows texts and sparse weights.

To all that is counted, an item without any interaction is the least likely of all, however well its text fits. So it
gets the mean of what the items with the likest texts have, as attribute-to-feature mappings do for factor models
(Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start Recommendations", ICDM 2010): their transitions,
their weights in the linear model, their counts and their id embeddings. Such means tell which of the new items suits
whom; how well each of them does, and so its weight among new items, is seen where known items borrow, too, as if they
were new. They speak more weakly for an item than its own counts do for a known one: that new items are seen at all is
the task of `newcomers`.

Shapes: I items, T text dimensions, G moments, H horizons.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp
import torch

from recsys.compiled import compiled
from recsys.model.ranker import Ranker
from recsys.schema import LENDERS
from recsys.signals.neighbours import Neighbours
from recsys.signals.selection import best_positive
from recsys.signals.sparse_rows import Rows
from recsys.signals.spelling import spellings

#: Most lenders of an item.
NUM_LENDERS = 20
#: A lender counts with this power of its likeness: the nearest tell nearly all, and of many near ones none alone.
SHARPNESS = 12
#: What a cosine of the spellings counts beside one of the meanings.
SPELLING = 2.0
#: Known items that are taken for new ones, to learn what speaks for such: more would tell hardly more.
MOST_STRANGERS = 5000
#: New items whose likeness to all others is held at a time.
_AT_A_TIME = 128

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def find_lenders(text_vectors: Floats, texts: Sequence[str], borrows: Bools, lends: Bools) -> pa.Table:
    """LENDERS: for each item that borrows the others whose texts are the likest, in meaning and in spelling.

    Args:
        text_vectors: [I, T] of length 1 (or 0).
        texts: [I].
        borrows: [I] items without any interaction, or that are taken for such.
        lends: [I] items with some; none lends to itself.

    Returns:
        By (lender, item); the shares of an item sum to 1. Who is like no other has no lenders.
    """
    borrowers, others = np.flatnonzero(borrows), np.flatnonzero(lends)
    if not (len(borrowers) and len(others)):
        return LENDERS.empty_table()
    spelled = spellings(texts)
    meanings, letters = text_vectors[others].T, spelled[others].T.tocsr()
    found = []
    for start in range(0, len(borrowers), _AT_A_TIME):
        own = borrowers[start : start + _AT_A_TIME]
        likeness = text_vectors[own] @ meanings
        _add_products(_parts(spelled[own]), _parts(letters), SPELLING, likeness)
        likeness[own[:, None] == others] = 0
        nearest = best_positive(likeness, min(NUM_LENDERS, len(others)))
        weights = np.take_along_axis(likeness, nearest, 1).astype(np.float64) ** SHARPNESS * (nearest >= 0)
        shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        rows, places = np.nonzero(shares > 0)
        found.append((others[nearest[rows, places]], own[rows], shares[rows, places]))
    lender, item, share = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((item, lender))
    columns = (lender[order], item[order], share[order])
    return pa.Table.from_arrays(
        [pa.array(column).cast(field.type) for column, field in zip(columns, LENDERS, strict=True)], schema=LENDERS
    )


def _parts(matrix: sp.csr_array) -> Rows:
    return matrix.indptr, matrix.indices, matrix.data


@compiled
def _add_products(rows: Rows, columns: Rows, weight: float, sums: Floats) -> None:
    """Add the products of sparse rows [B, G] and [G, N], times a weight, to [B, N]; hardly one of them is 0."""
    row_starts, row_numbers, row_values = rows
    starts, places, values = columns
    for row in range(len(sums)):
        for entry in range(row_starts[row], row_starts[row + 1]):
            number, value = row_numbers[entry], np.float32(weight) * row_values[entry]
            for place in range(starts[number], starts[number + 1]):
                sums[row, places[place]] += value * values[place]


def strangers(known: Bools, seed: int) -> Bools:
    """[I] which of the known items are taken for new ones, to learn what speaks for such; at most `MOST_STRANGERS`."""
    items = np.flatnonzero(known)
    chosen = np.zeros(len(known), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(items)[:MOST_STRANGERS]] = True
    return chosen


class Lending:
    """A matrix that gives new items the mean of what their lenders have, in the place of anything of their own."""

    def __init__(self, lenders: pa.Table, num_items: int):
        """From LENDERS."""
        lender, item, share = (lenders[name].to_numpy() for name in LENDERS.names)
        self.borrows = np.zeros(num_items, dtype=bool)
        """[I] which items are new."""
        self.borrows[item] = True
        others = np.flatnonzero(~self.borrows)
        entries = (np.append(share, np.ones(len(others))), (np.append(lender, others), np.append(item, others)))
        self._matrix = sp.csr_array(entries, shape=(num_items, num_items))

    def neighbours(self, neighbours: Neighbours) -> Neighbours:
        """What speaks for the lenders speaks for the new items, too."""
        weights = neighbours.weights @ self._matrix
        weights.sort_indices()
        return Neighbours(weights=weights.astype(np.complex64))

    def popularity(self, popularity: Floats) -> Floats:
        """[G, H, I] log-counts, in which the new items have the mean of their lenders' counts."""
        counts = np.expm1(popularity).reshape(-1, popularity.shape[-1])
        return np.asarray(np.log1p(counts @ self._matrix), dtype=np.float32).reshape(popularity.shape)

    def id_embeddings(self, ranker: Ranker) -> None:
        """Give the new items of a loaded ranker the mean of their lenders' id embeddings, in place."""
        new = torch.from_numpy(np.flatnonzero(self.borrows))
        embedding = ranker.id_embedding.weight
        with torch.no_grad():
            own = (embedding * ranker.known[:, None]).cpu().numpy()
            embedding[new] = torch.from_numpy(self._matrix.T[new.numpy()] @ own).to(embedding)
            ranker.known[new] = True

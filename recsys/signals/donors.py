"""Cold-start imputation: a cold item gets the average numbers of the items with the most similar text, its donors.

After attribute-to-feature mappings for factor models (Gantner et al., "Learning Attribute-to-Feature Mappings for
Cold-Start Recommendations", ICDM 2010).

Shapes: I items, T text dimensions, D dimensions of any other row.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from recsys.compiled import compiled
from recsys.schema import DONORS
from recsys.signals.selection import best_positive
from recsys.signals.sparse_rows import Rows
from recsys.signals.spelling import spellings

#: Most donors of an item.
NUM_DONORS = 20
#: A donor counts with this power of its similarity, so that a few near donors count more than many far ones.
SHARPNESS = 12
#: What a cosine of the spellings counts beside a cosine of the meanings.
SPELLING = 2.0
#: Most known items that are taken for cold ones, to fit the weights for cold items.
MOST_SIMULATED = 5000
#: Cold items whose similarity to all others is held at a time.
_AT_A_TIME = 128

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def find_donors(text_vectors: Floats, texts: Sequence[str], is_cold: Bools, may_donate: Bools) -> pa.Table:
    """DONORS: for each cold item, the other items whose texts are the most similar, in meaning and in spelling.

    Args:
        text_vectors: [I, T] of length 1 (or 0).
        texts: [I].
        is_cold: [I] items without any interaction, or items that are taken for such.
        may_donate: [I] items with interactions; no item is its own donor.

    Returns:
        Rows by (donor, item); the shares of an item sum to 1. An item that is similar to no other has no donors.
    """
    cold, others = np.flatnonzero(is_cold), np.flatnonzero(may_donate)
    if not (len(cold) and len(others)):
        return DONORS.empty_table()
    spelled = spellings(texts)
    meanings, letters = text_vectors[others].T, spelled[others].T.tocsr()
    found = []
    for start in range(0, len(cold), _AT_A_TIME):
        own = cold[start : start + _AT_A_TIME]
        similarity = text_vectors[own] @ meanings
        _add_products(_parts(spelled[own]), _parts(letters), SPELLING, similarity)
        similarity[own[:, None] == others] = 0
        nearest = best_positive(similarity, min(NUM_DONORS, len(others)))
        weights = np.take_along_axis(similarity, nearest, 1).astype(np.float64) ** SHARPNESS * (nearest >= 0)
        shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        rows, places = np.nonzero(shares > 0)
        found.append((others[nearest[rows, places]], own[rows], shares[rows, places]))
    donor, item, share = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((item, donor))
    columns = (donor[order], item[order], share[order])
    return pa.Table.from_arrays(
        [pa.array(column).cast(field.type) for column, field in zip(columns, DONORS, strict=True)], schema=DONORS
    )


def _parts(matrix: sp.csr_array) -> Rows:
    return matrix.indptr, matrix.indices, matrix.data


@compiled
def _add_products(rows: Rows, columns: Rows, weight: float, sums: Floats) -> None:
    """Add the products of sparse rows [B, G] and [G, N], times a weight, to [B, N]; few of these are 0."""
    row_starts, row_numbers, row_values = rows
    starts, places, values = columns
    for row in range(len(sums)):
        for entry in range(row_starts[row], row_starts[row + 1]):
            number, value = row_numbers[entry], np.float32(weight) * row_values[entry]
            for place in range(starts[number], starts[number + 1]):
                sums[row, places[place]] += value * values[place]


def simulated_cold_items(known: Bools, seed: int) -> Bools:
    """[I] which known items are taken for cold ones, at most `MOST_SIMULATED`."""
    items = np.flatnonzero(known)
    chosen = np.zeros(len(known), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(items)[:MOST_SIMULATED]] = True
    return chosen


class Donors:
    """The donors of the cold items of one data view."""

    def __init__(self, table: pa.Table, num_items: int, *, simulated: bool = False):
        """From DONORS; ``simulated``: the cold items are known ones, and histories hold them as known."""
        donor, item, share = (table[name].to_numpy() for name in DONORS.names)
        shape = (num_items, num_items)
        self.simulated = simulated
        self.is_cold: Bools = np.zeros(num_items, dtype=bool)
        """[I] cold items that have donors."""
        self.is_cold[item] = True
        self.of_cold = sp.csr_array((share.astype(np.float64), (donor, item)), shape=shape)
        """[I, I] each donor's share of a cold item; the other columns are empty."""

    @classmethod
    def none(cls, num_items: int) -> "Donors":
        """There is no cold item."""
        return cls(DONORS.empty_table(), num_items)

    @property
    def cold(self) -> npt.NDArray[np.int64]:
        """Catalog indices of the cold items."""
        return np.flatnonzero(self.is_cold)

    def restrict(self, recommendable: Bools) -> Bools:
        """[I] what may be recommended: only the cold items where they are simulated, otherwise ``recommendable``."""
        return recommendable & self.is_cold if self.simulated else recommendable

    def average_columns(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """[N, cold] the donors' average of each row of [N, I], in the order of `cold`."""
        return np.asarray(values @ self.of_cold[:, self.cold])

    def average_rows(self, rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """[cold, D] the donors' average of rows [I, D], in the order of `cold`."""
        return np.asarray(self.of_cold.T[self.cold] @ rows)

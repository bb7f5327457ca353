"""Cold-start imputation: a cold item gets the average numbers of the items with the most similar text, its donors.

After attribute-to-feature mappings for factor models (Gantner et al., "Learning Attribute-to-Feature Mappings for
Cold-Start Recommendations", ICDM 2010).

Shapes: I items, T text dimensions, D dimensions of any other row.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import scipy.sparse as sp

from recsys.schema import DONORS, table_of
from recsys.signals.selection import best_positive

#: Most donors of an item.
NUM_DONORS = 20
#: A donor counts with this power of its similarity, so that a few near donors count more than many far ones.
SHARPNESS = 12
#: Cold items whose similarity to all others is held at a time.
_AT_A_TIME = 128

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


def find_donors(text_vectors: Floats, is_cold: Bools, may_donate: Bools) -> pa.Table:
    """DONORS: for each cold item, the other items whose texts are the most similar.

    Args:
        text_vectors: [I, T] of length 1 (or 0).
        is_cold: [I] new items: nobody took them, or rejected them.
        may_donate: [I] items with interactions; no item is its own donor.

    Returns:
        Rows by (donor, item); the shares of an item sum to 1. An item that is similar to no other has no donors.
    """
    cold, others = np.flatnonzero(is_cold), np.flatnonzero(may_donate)
    if not (len(cold) and len(others)):
        return DONORS.empty_table()
    meanings = text_vectors[others].T
    found = []
    for start in range(0, len(cold), _AT_A_TIME):
        own = cold[start : start + _AT_A_TIME]
        similarity = text_vectors[own] @ meanings
        nearest = best_positive(similarity, min(NUM_DONORS, len(others)))
        weights = np.take_along_axis(similarity, nearest, 1).astype(np.float64) ** SHARPNESS * (nearest >= 0)
        shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        rows, places = np.nonzero(shares > 0)
        found.append((others[nearest[rows, places]], own[rows], shares[rows, places]))
    donor, item, share = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((item, donor))
    return table_of(DONORS, donor[order], item[order], share[order])


class Donors:
    """The donors of the cold items of one data view."""

    def __init__(self, table: pa.Table, num_items: int):
        """From DONORS."""
        donor, item, share = (table[name].to_numpy() for name in DONORS.names)
        shape = (num_items, num_items)
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

    def average_columns(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """[N, cold] the donors' average of each row of [N, I], in the order of `cold`."""
        return np.asarray(values @ self.of_cold[:, self.cold])

    def average_rows(self, rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """[cold, D] the donors' average of rows [I, D], in the order of `cold`."""
        return np.asarray(self.of_cold.T[self.cold] @ rows)

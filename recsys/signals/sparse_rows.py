"""A few sparse rows over many items, for compiled loops: making a scipy matrix would take longer than using it.

Shapes: B rows, D dimensions, I items, N values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled

#: Starts of the rows, columns and values of a sparse matrix, as compiled loops take them.
Rows = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[Any]]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SparseRows:
    """B rows."""

    starts: Ints
    """[B + 1] where each row's values start."""
    items: npt.NDArray[np.int32]
    """[N] ascending in each row, none twice."""
    values: npt.NDArray[np.float32]
    """[N]."""

    @classmethod
    def of(cls, rows: Ints, items: Ints, values: npt.NDArray[np.float64], num_rows: int) -> "SparseRows":
        """From pairs in any order; the values of equal ones add up."""
        (one,) = cls.of_each(rows, items, (values,), num_rows)
        return one

    @classmethod
    def of_each(
        cls, rows: Ints, items: Ints, columns: Sequence[npt.NDArray[np.float64]], num_rows: int
    ) -> list["SparseRows"]:
        """`of` the same pairs with each of several columns of values."""
        width = int(items.max(initial=0)) + 1
        keys, place = np.unique(rows * width + items, return_inverse=True)
        row, item = np.divmod(keys, width)
        starts, of_items = row_starts(np.bincount(row, minlength=num_rows)), item.astype(np.int32)
        sums = (np.bincount(place, values, minlength=len(keys)).astype(np.float32) for values in columns)
        return [cls(starts=starts, items=of_items, values=values) for values in sums]

    @classmethod
    def none(cls, num_rows: int) -> "SparseRows":
        """Empty rows."""
        starts, items = np.zeros(num_rows + 1, dtype=np.int64), np.zeros(0, dtype=np.int32)
        return cls(starts=starts, items=items, values=np.zeros(0, dtype=np.float32))

    @property
    def arrays(self) -> Rows:
        """Starts, items and values."""
        return self.starts, self.items, self.values

    @property
    def lengths(self) -> Ints:
        """[B] values of each row."""
        return np.diff(self.starts)

    def rows(self, chosen: Ints) -> "SparseRows":
        """Some of the rows, in this order."""
        starts, places = joined_runs(self.starts[chosen], self.lengths[chosen])
        return SparseRows(starts=starts, items=self.items[places], values=self.values[places])

    def shares(self) -> "SparseRows":
        """Each value divided by its row's sum, which is above 0."""
        owners = np.repeat(np.arange(len(self.starts) - 1), self.lengths)
        sums = np.bincount(owners, self.values, minlength=len(self.starts) - 1)
        values = (self.values / sums[owners]).astype(np.float32)
        return SparseRows(starts=self.starts, items=self.items, values=values)

    def times(self, vectors: Floats) -> Floats:
        """[B, D] the product with a matrix [I, D]."""
        products = np.zeros((len(self.starts) - 1, vectors.shape[1]), dtype=np.float32)
        _multiply(self.arrays, np.ascontiguousarray(vectors), products)
        return products


def row_starts(lengths: Ints) -> Ints:
    """[B + 1] where each row's values start, from how many each of B rows has."""
    return np.concatenate([[0], np.cumsum(lengths)])


def joined_runs(firsts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """B runs of places, one after another: where each starts [B + 1], and the places [N]."""
    starts = row_starts(lengths)
    return starts, np.repeat(firsts - starts[:-1], lengths) + np.arange(starts[-1])


@compiled
def _multiply(sparse: Rows, vectors: Floats, products: Floats) -> None:
    starts, items, values = sparse
    for row in range(len(products)):
        for place in range(starts[row], starts[row + 1]):
            item, value = items[place], values[place]
            for part in range(vectors.shape[1]):
                products[row, part] += value * vectors[item, part]

"""Sparse weights from item to item on two time scales: what `transitions` and `linear` leave of the past."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from recsys.schema import TRANSITIONS
from recsys.signals.sparse_rows import Rows, row_starts


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """How strongly each of I items speaks for each other one."""

    weights: sp.csr_array
    """[I, I] complex64, `lasting` the real part and `recent` the imaginary one, since they are always read together.
    Row = item that was taken, column = item that it speaks for; columns ascend."""

    @classmethod
    def from_table(cls, table: pa.Table, num_items: int) -> "Neighbours":
        """From TRANSITIONS sorted by (item, next)."""
        item, following = table["item"].to_numpy(), table["next"].to_numpy()
        both = table["lasting"].to_numpy() + np.complex64(1j) * table["recent"].to_numpy()
        starts = row_starts(np.bincount(item, minlength=num_items))
        return cls(weights=sp.csr_array((both, following, starts), shape=(num_items, num_items)))

    @classmethod
    def none(cls, num_items: int) -> "Neighbours":
        """Nothing speaks for anything."""
        return cls.from_table(TRANSITIONS.empty_table(), num_items)

    @cached_property
    def rows(self) -> Rows:
        """The same for compiled loops; nothing is copied where scipy chose the same types."""
        matrix = self.weights
        return matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False), matrix.data

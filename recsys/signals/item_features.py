"""What is known of the items beside the ranker."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recsys.signals.neighbours import Neighbours
from recsys.signals.selection import best_positive

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Of I items, at G moments and over H horizons."""

    transitions: Neighbours
    linear: Neighbours
    text_vectors: Floats
    """[I, T] of length 1 (or 0)."""
    popularity: Floats
    """[G, H, I] log-counts at G moments, see `popularity.log_popularity`."""
    returns: Floats
    """[I] how much likelier than the usual item it is taken again, see `returns.log_returns`."""
    recommendable: Bools
    """[I]."""
    borrows: Bools
    """[I] new items, whose weights and popularity are those of items of alike text, see `cold`."""
    _most_popular: dict[int, Ints] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def new(self) -> npt.NDArray[np.int32]:
        """Catalog indices of the new items that may be recommended."""
        return np.flatnonzero(self.borrows & self.recommendable).astype(np.int32)

    def are_new(self, items: Ints) -> Bools:
        """[B, C] which of some catalog indices are of new items; −1 is of none."""
        return np.asarray(self.borrows[np.maximum(items, 0)] & (items >= 0))

    def most_popular(self, num: int) -> Ints:
        """[G, num] of what may be recommended, what is the most popular over the first horizon; −1 where it is less.

        It is looked for once: for a single user that takes as long as to sum up all neighbours.
        """
        if num not in self._most_popular:
            shown = np.where(self.recommendable, self.popularity[:, 0], np.float32(0))
            self._most_popular[num] = best_positive(shown, num)
        return self._most_popular[num]

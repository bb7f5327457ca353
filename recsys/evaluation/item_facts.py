"""What metrics know of a catalog's items. Shapes: I items, T dimensions of a text vector."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from recsys.data.item_counts import head_items


@dataclass(frozen=True, kw_only=True)
class ItemFacts:
    """What the training data say of the catalog's items."""

    num_interactions: npt.NDArray[np.integer]
    """[I] training interactions."""
    num_users: npt.NDArray[np.integer]
    """[I] training users who touched the item."""
    total_users: int
    """Training users."""
    vectors: npt.NDArray[np.float32]
    """[I, T] text vectors, of any length."""

    @cached_property  # it sorts the catalog, and every block of users asks for it
    def head(self) -> npt.NDArray[np.bool_]:
        """[I] the short head."""
        return head_items(self.num_interactions)

    @property
    def cold(self) -> npt.NDArray[np.bool_]:
        """[I] items without any training interaction."""
        cold: npt.NDArray[np.bool_] = self.num_interactions == 0
        return cold

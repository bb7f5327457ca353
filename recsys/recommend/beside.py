"""What is known of the items beside the ranker."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.recommend.neighbours import Neighbours

Floats = npt.NDArray[np.float32]
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

"""What orders the items of a shop where nobody took anything yet: how typical an item's text is of the catalog.

The items nearest to the mean text are the hubs of the catalog: they are among the nearest texts of many other items
(Radovanović et al., "Hubs in Space", JMLR 2010). A list of them shows what kind of shop it is.
"""

import numpy as np
import numpy.typing as npt

from recsys.signals.products import row_products, unit_rows

Floats = npt.NDArray[np.float32]


def typicality(text_vectors: Floats) -> Floats:
    """[I] cosine of each item's text with the mean text, at least 0; 0 for an item without text.

    Args:
        text_vectors: [I, T] of length 1 (or 0).
    """
    mean = unit_rows(text_vectors.sum(axis=0, dtype=np.float64)[None].astype(np.float32))
    return np.maximum(row_products(text_vectors, mean.T)[:, 0], np.float32(0))

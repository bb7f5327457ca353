"""One night's signals over its catalog, with all that scoring needs beside them.

Shapes: I items, N cold items.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.model.features import UserTexts
from recsys.ranking.fusion import Fusion
from recsys.ranking.rerank import Reranker
from recsys.signals.registry import SIGNALS, columns_of
from recsys.signals.signal import LoadedSignal

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A night, ready to score."""

    signals: Mapping[str, LoadedSignal]
    """The loaded signals by name, in the order of the registry."""
    item_ids: pa.Array
    """[I] sorted."""
    titles: pa.Array
    """[I] what people call the items; reasons name them."""
    recommendable: Bools
    """[I] items that may be recommended."""
    is_cold: Bools
    """[I] items without interactions, whose numbers are imputed."""
    event_kinds: pa.Array
    """Kinds of events that the ranker knows."""
    max_length: int
    """Newest events of a user that the ranker reads."""
    reads_texts: bool
    """Whether the ranker reads what users are and said."""
    fusion: Fusion
    reranker: Reranker
    now: float
    """Microseconds since 1970 at which the lists are made; recency is measured from there."""
    texts: UserTexts = field(default_factory=UserTexts.none)
    """What users are and said; a text that is not here has no effect."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Names of the signals' numbers, in their order."""
        return columns_of(SIGNALS[name] for name in self.signals)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """The columns of each signal among these."""
        slices, start = {}, 0
        for name in self.signals:
            stop = start + len(SIGNALS[name].columns)
            slices[name], start = slice(start, stop), stop
        return slices

    @cached_property
    def cold(self) -> npt.NDArray[np.int32]:
        """[N] catalog indices of the cold items that may be recommended."""
        return np.flatnonzero(self.is_cold & self.recommendable).astype(np.int32)

    def are_cold(self, items: npt.NDArray[np.int64]) -> Bools:
        """[B, C] whether some items are cold; −1 is not."""
        return np.asarray(self.is_cold[np.maximum(items, 0)] & (items >= 0))

    def with_texts(self, texts: UserTexts) -> "Snapshot":
        """The same for histories with these texts, whose vectors are from the items' encoder."""
        return replace(self, texts=texts)

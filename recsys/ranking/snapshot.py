"""A model over one night's catalog, with all that scores need beside it; it knows no users and no lists.

Shapes: D dimensions, G moments, H horizons, I items.
"""

from dataclasses import dataclass, field, replace
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from recsys.model.features import UserTexts
from recsys.model.last_states import LastStates, last_states
from recsys.model.ranker import Ranker
from recsys.ranking.fusion import Fusion
from recsys.ranking.rerank import Reranker
from recsys.signals.donors import Lending
from recsys.signals.item_features import Beside
from recsys.signals.order import Ints
from recsys.signals.retrieve import ItemIndex


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A model over one night's catalog, ready to score."""

    ranker: Ranker
    item_ids: pa.Array
    """[I] sorted."""
    titles: pa.Array
    """[I] what people call the items; reasons name them."""
    event_kinds: pa.Array
    max_length: int
    isolated: bool
    """Whether the candidates go through the ranker's isolated pass."""
    decode: LastStates
    """How the ranker reads histories whose candidates are scored by retrieval alone."""
    item_vectors: Tensor
    """[I, D] as candidates."""
    read_vectors: Tensor
    """[I, D] as histories hold them: the same, but for `as_if_new`."""
    retrievable: Ints
    """[A] catalog indices of what may be recommended."""
    place: Ints
    """[I] where an item stands among these, −1 for none of them."""
    index: ItemIndex
    """Of these A items."""
    beside: Beside
    fusion: Fusion
    reranker: Reranker
    now: float
    """Microseconds since 1970 at which the lists are made; recency is measured from there."""
    texts: UserTexts = field(default_factory=UserTexts.none)
    """What users are and said; a text that is not here leaves no trace."""

    @classmethod
    def build(
        cls,
        *,
        ranker: Ranker,
        item_ids: pa.Array,
        titles: pa.Array,
        event_kinds: list[str],
        max_length: int,
        isolated: bool,
        beside: Beside,
        fusion: Fusion,
        reranker: Reranker,
        now: float,
    ) -> "Snapshot":
        """Compute the item vectors once; the ranker must be in evaluation mode, over ``item_ids``."""
        with torch.inference_mode():
            vectors = ranker.item_vectors()
        return cls(
            ranker=ranker,
            item_ids=item_ids,
            titles=titles,
            event_kinds=pa.array(event_kinds, pa.string()),
            max_length=max_length,
            isolated=isolated,
            decode=last_states(ranker.decoder),
            item_vectors=vectors,
            read_vectors=vectors,
            **_retrievable(vectors, beside.recommendable),
            beside=beside,
            fusion=fusion,
            reranker=reranker,
            now=now,
        )

    def with_texts(self, texts: UserTexts) -> "Snapshot":
        """The same for histories with these texts, whose vectors are of the items' encoder."""
        return replace(self, texts=texts)

    def at_moments(self, popularity: npt.NDArray[np.float32]) -> "Snapshot":
        """The same with the popularity [G, H, I] of several moments."""
        return replace(self, beside=replace(self.beside, popularity=popularity))

    def as_if_new(self, lending: Lending) -> "Snapshot":
        """The same as if nobody had taken the borrowers yet, which alone may be recommended; histories still hold them.

        The ranker, which both share, keeps the borrowed ids; the vectors of either were computed with its own.
        """
        lending.id_embeddings(self.ranker)
        with torch.inference_mode():
            vectors = self.ranker.item_vectors()
        beside = replace(
            self.beside,
            transitions=lending.neighbours(self.beside.transitions),
            linear=lending.neighbours(self.beside.linear),
            popularity=lending.popularity(self.beside.popularity),
            recommendable=self.beside.recommendable & lending.borrows,
            borrows=lending.borrows,
        )
        return replace(self, item_vectors=vectors, **_retrievable(vectors, beside.recommendable), beside=beside)


class _Retrievable(TypedDict):
    retrievable: Ints
    place: Ints
    index: ItemIndex


def _retrievable(vectors: Tensor, recommendable: npt.NDArray[np.bool_]) -> _Retrievable:
    rows = np.flatnonzero(recommendable)
    place = np.full(len(recommendable), -1)
    place[rows] = np.arange(len(rows))
    index = ItemIndex.of(vectors[torch.from_numpy(rows).to(vectors.device)])
    return _Retrievable(retrievable=rows, place=place, index=index)

"""Text: how near an item's text lies to the texts of the history and of the searches.

Shapes: B users, C candidates, I items, N list places, T text dimensions, H history items.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.signals.history_items import HistoryItems
from recsys.signals.products import inner_products, unit_rows
from recsys.signals.selection import best_positive
from recsys.signals.signal import NONE, Evidence, Explanation, LoadedSignal, NightSource, Signal
from recsys.signals.sparse_rows import Rows
from recsys.signals.user_profiles import UserProfiles
from recsys.signals.users import UserBlock

#: Nats that a cosine of 1 between an item's text and a query counts at the moment of the search. Softmaxes over cosines
#: learn a scale of this size: CLIP starts at 14 and ends at 100 (Radford et al., ICML 2021).
QUERY_WEIGHT = 20.0
#: List places whose explanations are made together; each holds the vectors of a history.
_AT_A_TIME = 512
_SIMILAR, _NEAR_QUERY = range(2)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Text(Signal):
    """How similar the item's text is to the texts of the history and of what the user searched for."""

    name = "text"
    columns: ClassVar = {"text": "cosine of the item's text with the history's texts and the searches"}
    sentences = ("similar to {}", "close to your query")
    query_weight: ClassVar = {"text": QUERY_WEIGHT}

    def load(self, source: NightSource) -> "LoadedText":
        """The catalog's text vectors."""
        return LoadedText(source.text_vectors, source.recommendable)


class LoadedText(LoadedSignal):
    """The text vectors of the catalog; they hold for cold items as they are."""

    def __init__(self, vectors: Floats, recommendable: Bools) -> None:
        """Vectors [I, T] of length 1 (or 0), and which items [I] may be recommended."""
        self.vectors, self.recommendable = vectors, recommendable

    def read(self, users: UserBlock) -> "TextEvidence":
        """Average the texts of the histories."""
        return TextEvidence(self, users)


class TextEvidence(Evidence):
    """The texts of a block of users."""

    loaded: LoadedText

    def propose(self, num: int) -> Ints | None:
        """Half as many items as are asked for, those nearest to the searches of users who searched."""
        profiles = self.users.profiles
        if not profiles.searched.any():
            return None
        found = np.full((len(self.users), max(num // 2, 1)), NONE, dtype=np.int64)
        searched = np.flatnonzero(profiles.searched)
        similarity = profiles.searches[searched] @ self.loaded.vectors.T
        similarity = np.where(self.loaded.recommendable, similarity, np.float32(0))
        nearest = best_positive(similarity, found.shape[1])
        found[searched, : nearest.shape[1]] = nearest
        return found

    def measure(self, items: Ints) -> Floats:
        """[B, C, 1] cosines."""
        profiles = self.users.profiles
        means = mean_texts(profiles, self.loaded.vectors)
        searched = profiles.searched
        if searched.any():
            means[searched] = unit_rows(means[searched] + profiles.searches[searched])
        return inner_products(means, self.loaded.vectors, np.maximum(items, 0))[:, :, None]

    def explain(self, rows: Ints, items: Ints, weights: Floats) -> Explanation:  # noqa: ARG002
        """Names the history item with the nearest text, or the query where it adds more."""
        parts = [slice(start, start + _AT_A_TIME) for start in range(0, len(rows), _AT_A_TIME)]
        explained = [self._explain(rows[part], items[part]) for part in parts]
        none = np.zeros(0, dtype=np.int64)
        return Explanation(
            sentence=np.concatenate([none, *(part.sentence for part in explained)]),
            item=np.concatenate([none, *(part.item for part in explained)]),
        )

    def _explain(self, rows: Ints, items: Ints) -> Explanation:
        """The signal is the cosine with a sum, so history and searches can be computed separately."""
        profiles, vectors = self.users.profiles, self.loaded.vectors
        history = HistoryItems.of(profiles, rows)
        similarity = np.einsum("nlt,nt->nl", vectors[np.maximum(history.items, 0)], vectors[items])
        another = (history.history > 0) & (history.items != items[:, None])  # an item is no reason for itself
        explanation = Explanation.by(history.with_most(np.where(another, similarity, 0.0)))
        searched = profiles.searched[rows]
        if not searched.any():
            return explanation
        by_query = np.einsum("nt,nt->n", profiles.searches[rows[searched]], vectors[items[searched]])
        own = mean_texts(profiles.rows(rows[searched]), vectors)
        by_history = np.einsum("nt,nt->n", own, vectors[items[searched]])
        near = np.flatnonzero(searched)[(by_query > 0) & (by_query >= by_history)]
        sentence, named = explanation.sentence.copy(), explanation.item.copy()
        sentence[near], named[near] = _NEAR_QUERY, NONE
        return Explanation(sentence=sentence, item=named)


def mean_texts(profiles: UserProfiles, text_vectors: Floats) -> Floats:
    """[B, T] mean direction of the texts of each history, without the searches; 0 for an empty history."""
    means = np.zeros((len(profiles.has_tokens), text_vectors.shape[1]), dtype=np.float32)
    _add_up(profiles.history.arrays, text_vectors, means)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
    return means


@compiled
def _add_up(shares: Rows, vectors: Floats, sums: Floats) -> None:
    """Add to [B, T] the product of sparse rows [B, I] and vectors [I, T]."""
    starts, items, values = shares
    for row in range(len(sums)):
        for place in range(starts[row], starts[row + 1]):
            vector = vectors[items[place]]
            for part in range(len(vector)):
                sums[row, part] += values[place] * vector[part]

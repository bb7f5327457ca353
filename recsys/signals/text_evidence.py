"""The loaded text model: exact search over the texts of the catalog, and the numbers of candidates.

Shapes: B users, C candidates, I items, N list places, H history items.
"""

import numpy as np
import numpy.typing as npt
import torch

from recsys.signals.exact_search import RecommendableIndex
from recsys.signals.excluded import ExcludedItems
from recsys.signals.history_items import HistoryItems
from recsys.signals.products import inner_products
from recsys.signals.selection import best_positive
from recsys.signals.signal import NONE, Evidence, Explanation, LoadedSignal
from recsys.signals.text_ease import TextEase
from recsys.signals.users import UserBlock

_NEAR_QUERY, _NEAR_DESCRIPTION = 1, 2
#: Weights and cosines of users who searched, with all items, that are held at a time.
_CELLS = 2**22

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class LoadedText(LoadedSignal):
    """The text model of the catalog; it holds for cold items as it is."""

    def __init__(self, model: TextEase, recommendable: Bools) -> None:
        """The model of I items, and which of them [I] may be recommended."""
        self.model, self.recommendable = model, recommendable
        self.index = RecommendableIndex(torch.from_numpy(model.rows), recommendable)

    def read(self, users: UserBlock) -> "TextEvidence":
        """Add up the texts of the histories."""
        return TextEvidence(self, users)


class TextEvidence(Evidence):
    """The texts of a block of users."""

    loaded: LoadedText

    def __init__(self, loaded: LoadedText, users: UserBlock) -> None:
        """Adds up the texts of the histories and of the searches; a fresh search counts like a whole history."""
        super().__init__(loaded, users)
        self.searched: Ints = np.flatnonzero(users.profiles.searched)
        self.sums = self.history_sums = loaded.model.sum_up(users.profiles.last)
        if len(self.searched):
            self.sums = self.history_sums.copy()
            self.sums[self.searched] += loaded.model.whitened(users.profiles.searches[self.searched])

    def propose(self, num: int) -> Ints:
        """Half as many items as are asked for, those with the most similar texts; and as many nearest to the searches.

        An item of the history is no proposal: it would be the most similar to itself.
        """
        few, history = max(num // 2, 1), self.users.profiles.last
        owners = np.repeat(np.arange(len(self.users)), history.lengths)
        others = self.users.excluded.united([ExcludedItems.of([(owners, history.items.astype(np.int64))])])
        if not len(self.searched):
            return self._similar(np.arange(len(self.users)), others, few)
        proposed = np.full((len(self.users), 2 * few), NONE)
        quiet = np.flatnonzero(~self.users.profiles.searched)
        if len(quiet):
            similar = self._similar(quiet, others.of_users(quiet), few)
            proposed[quiet, : similar.shape[1]] = similar
        at_a_time = max(_CELLS // max(2 * len(self.loaded.recommendable), 1), 1)
        for start in range(0, len(self.searched), at_a_time):
            part = self.searched[start : start + at_a_time]
            both = self._similar_and_near(part, others.of_users(part), few)
            proposed[part, : both.shape[1]] = both
        return proposed

    def _similar(self, users: Ints, others: ExcludedItems, num: int) -> Ints:
        """[U, at most ``num``] the items with the largest positive weights from the histories of some users [U].

        Args:
            users: Rows of the block.
            others: Items that are no proposals, of the same users.
            num: How many.
        """
        with torch.inference_mode():
            items, weights = self.loaded.index.best(torch.from_numpy(self.sums[users]), others, num)
        return np.where(weights > 0, items, NONE)

    def _similar_and_near(self, users: Ints, others: ExcludedItems, num: int) -> Ints:
        """[U, at most 2 ``num``] `_similar` of some users [U] who searched, and the items nearest to their searches.

        A live search has one user, for whom the time is that of reading all texts; so they are read once for both.
        """
        loaded, model, queries = self.loaded, self.loaded.model, self.users.profiles.searches[users]
        both = torch.from_numpy(np.concatenate([self.sums[users], model.unwhitened(queries)]))
        products = (torch.from_numpy(model.rows) @ both.T).T.contiguous().numpy()  # half the time of both @ rows.T
        weights, cosines = products[: len(users)], model.all_cosines(queries, products[len(users) :])
        weights[others.users, others.items] = 0
        similar, near = (best_positive(np.where(loaded.recommendable, values, 0), num) for values in (weights, cosines))
        return np.concatenate([similar, np.where((near[:, :, None] == similar[:, None]).any(axis=2), NONE, near)], 1)

    def measure(self, items: Ints) -> Floats:
        """[B, C, 2] weights from the histories and searches, and cosines with the searches."""
        items, profiles = np.maximum(items, 0), self.users.profiles
        numbers = np.zeros((*items.shape, 2), dtype=np.float32)
        numbers[:, :, 0] = self.loaded.model.weights(profiles.last, self.sums, items)
        if len(self.searched):
            cosines = self.loaded.model.cosines(profiles.searches[self.searched], items[self.searched])
            numbers[self.searched, :, 1] = cosines
        return numbers

    def explain(self, rows: Ints, items: Ints, weights: Floats) -> Explanation:
        """Names the history item from which most of the weight comes, or the query where that adds more."""
        model, profiles = self.loaded.model, self.users.profiles
        history = HistoryItems.of(profiles, rows)
        parts = history.last * inner_products(model.rows[items], model.rows, np.maximum(history.items, 0))
        parts /= model.gain[np.maximum(history.items, 0)]
        another = history.items != items[:, None]  # an item is no reason for itself
        explanation = Explanation.by(history.with_most(np.where(another, parts, np.float32(0))))
        searched = np.flatnonzero(profiles.searched[rows])
        if not len(searched):
            return explanation
        those, wanted, weights = rows[searched], items[searched, None], weights[searched]
        by_history = weights[:, 0] * model.weights(profiles.last.rows(those), self.history_sums[those], wanted)[:, 0]
        of_query = inner_products(self.sums[those] - self.history_sums[those], model.rows, wanted)[:, 0]
        by_query = weights[:, 0] * of_query + weights[:, 1] * model.cosines(profiles.searches[those], wanted)[:, 0]
        near = searched[(by_query > 0) & (by_query >= by_history)]
        sentence, named = explanation.sentence.copy(), explanation.item.copy()
        sentence[near] = np.where(profiles.by_description[rows[near]], _NEAR_DESCRIPTION, _NEAR_QUERY)
        named[near] = NONE
        return Explanation(sentence=sentence, item=named)

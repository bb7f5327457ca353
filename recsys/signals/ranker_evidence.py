"""The loaded ranker: exact search over the item vectors, and its logits for candidates.

Shapes: B users, C candidates, D dimensions, I items.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.model.features import TextKind
from recsys.model.history_states import HistoryTexts
from recsys.model.last_states import last_states
from recsys.model.ranker import ItemIds, Ranker
from recsys.signals.donors import Donors
from recsys.signals.exact_search import RecommendableIndex, products_with
from recsys.signals.signal import NONE, Evidence, Explanation, LoadedSignal
from recsys.signals.users import UserBlock

if TYPE_CHECKING:
    from recsys.model.last_states import LastStates

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_IN_LINE_WITH_HISTORY, _IN_LINE_WITH_WORDS = range(2)


class LoadedRanker(LoadedSignal):
    """A ranker over the catalog of one night; it is shared and never changed."""

    def __init__(
        self,
        ranker: Ranker,
        recommendable: Bools,
        candidate_pass: bool,
        *,
        donors: Donors | None = None,
        decode: "LastStates | None" = None,
    ) -> None:
        """Compute the item vectors once.

        Args:
            ranker: In evaluation mode, over the I items of the catalog.
            recommendable: [I] items that may be recommended.
            candidate_pass: Whether candidates are scored as tokens after the history.
            donors: Of the cold items, which get the average id embeddings of their donors; None: there are none.
            decode: How histories are read without the candidate pass; None: made for this ranker.
        """
        self.ranker, self.candidate_pass, self.recommendable = ranker, candidate_pass, recommendable
        self.decode = decode or last_states(ranker.decoder)
        with torch.inference_mode():
            ids = None if donors is None else imputed_ids(ranker, donors)
            self.item_vectors: Tensor = ranker.item_vectors(ids=ids)
        self.index = RecommendableIndex(self.item_vectors, recommendable)

    @property
    def device(self) -> torch.device:
        """Where the ranker works."""
        return self.item_vectors.device

    def impute(self, donors: Donors) -> "LoadedRanker":
        """A cold item has the average id embedding of its donors."""
        return LoadedRanker(self.ranker, self.recommendable, self.candidate_pass, donors=donors, decode=self.decode)

    def read(self, users: UserBlock) -> "RankerEvidence":
        """Read the histories."""
        return RankerEvidence(self, users)


class RankerEvidence(Evidence):
    """What the ranker says for a block of users."""

    loaded: LoadedRanker

    @torch.inference_mode()
    def __init__(self, loaded: LoadedRanker, users: UserBlock) -> None:
        """Read the histories once."""
        super().__init__(loaded, users)
        batch, ranker, device = users.history, loaded.ranker, loaded.device
        longest = max(int(batch.lengths.max(initial=0)), 1)
        items, gaps, events = (
            torch.from_numpy(grid[:, :longest]).to(device) for grid in (batch.items, batch.gaps, batch.events)
        )
        tokens = ranker.history_tokens(loaded.item_vectors, items, gaps, events, _texts_of(users, longest, device))
        lengths = torch.from_numpy(batch.lengths).to(device)
        self._history = ranker.read(tokens, gaps, lengths) if loaded.candidate_pass else None
        if self._history is None:
            states = ranker.last_states(tokens, gaps, lengths, loaded.decode)
        else:
            states = self._history.users
        self._states = states.float()

    @torch.inference_mode()
    def propose(self, num: int) -> Ints:
        """As many items as are asked for, those with the largest logits of all that are not excluded."""
        items, logits = self.loaded.index.best(self._states, self.users.excluded, num)
        return np.where(np.isfinite(logits), items, NONE)

    @torch.inference_mode()
    def measure(self, items: Ints) -> Floats:
        """[B, C, 2] retrieval logits, and what the candidate pass adds; 0 for users without anything to read."""
        vectors = self.loaded.item_vectors
        chosen = torch.from_numpy(items).to(vectors.device)
        logits = products_with(self._states, vectors, chosen.clamp(min=0))
        numbers = np.zeros((*items.shape, 2), dtype=np.float32)
        numbers[:, :, 0] = _of_candidates(logits, chosen)
        if self._history is not None:
            padded = chosen.masked_fill(chosen < 0, len(vectors))
            scored = self.loaded.ranker.score_candidates(vectors, self._history, padded)
            numbers[:, :, 1] = _of_candidates(scored - logits, chosen)
        numbers[~self.users.profiles.has_tokens] = 0
        return numbers

    def explain(self, rows: Ints, items: Ints, weights: Floats) -> Explanation:  # noqa: ARG002
        """By the history, or by what the user said or is where no item of the history is known."""
        without = self.users.profiles.without_items[rows]
        sentence = np.where(without, _IN_LINE_WITH_WORDS, _IN_LINE_WITH_HISTORY)
        return Explanation(sentence=sentence, item=np.full(len(rows), NONE))


def imputed_ids(ranker: Ranker, donors: Donors) -> ItemIds:
    """The id embeddings of a ranker, where cold items have the average of their donors'."""
    ids = ranker.ids
    own = (ids.embedding * ids.known[:, None]).cpu().numpy()
    embedding, known = ids.embedding.clone(), ids.known.clone()
    cold = torch.from_numpy(donors.cold).to(embedding.device)
    embedding[cold] = torch.from_numpy(donors.average_rows(own)).to(embedding)
    known[cold] = True
    return ItemIds(embedding=embedding, known=known)


def _texts_of(users: UserBlock, longest: int, device: torch.device) -> HistoryTexts | None:
    """The texts of a block of users; None where none of them has any."""
    kinds = users.history.text_kinds[:, :longest]
    if not (kinds > TextKind.NONE).any():
        return None
    used, rows = np.unique(users.history.texts[:, :longest], return_inverse=True)
    return HistoryTexts(
        rows=torch.from_numpy(rows.reshape(kinds.shape)).to(device),
        kinds=torch.from_numpy(kinds).to(device),
        vectors=torch.from_numpy(users.texts.vectors[used]).to(device),
    )


def _of_candidates(values: Tensor, candidates: Tensor) -> Any:
    return values.masked_fill(candidates < 0, 0).cpu().numpy()

"""The loaded language model: it judges the best candidates of each user, and may write titles itself.

Each user is read alone, so that nothing depends on the other users of the batch.

Shapes: B users, C candidates, I items, N pairs of a user and an item.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.model.title_scorer import Prefix, TitleScorer, Tokens
from recsys.model.title_search import write_titles
from recsys.model.title_trie import TitleTrie
from recsys.signals.lm import LmConfig
from recsys.signals.signal import NONE, Evidence, Explanation, LoadedSignal
from recsys.signals.users import UserBlock

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class LoadedLm(LoadedSignal):
    """A language model with the titles of the catalog; it is shared and never changed."""

    def __init__(
        self,
        scorer: TitleScorer,
        titles: Sequence[Tokens],
        priors: Floats,
        recommendable: npt.NDArray[np.bool_],
        settings: LmConfig,
    ) -> None:
        """Make the trie where the model writes titles.

        Args:
            scorer: The model.
            titles: [I] tokens of each title.
            priors: [I] log P(title | no history).
            recommendable: [I] items that may be recommended: only these are written, where they have a title.
            settings: The config section.
        """
        self.scorer, self.titles, self.priors, self.settings = scorer, titles, priors, settings
        self.most_candidates = settings.candidates
        (blank,) = scorer.title_tokens([""])  # an empty line is likely after any history
        able = np.flatnonzero(recommendable).tolist() if settings.generate else []
        rows = [row for row in able if titles[row] != blank]
        self.trie = TitleTrie([titles[row] for row in rows], np.array(rows, dtype=np.int64))

    def read(self, users: UserBlock) -> "LmEvidence":
        """Nothing is read before a number is asked for."""
        return LmEvidence(self, users)


class LmEvidence(Evidence):
    """What the language model says for a block of users."""

    loaded: LoadedLm

    def __init__(self, loaded: LoadedLm, users: UserBlock) -> None:
        """Nothing is read yet."""
        super().__init__(loaded, users)
        self._numbers: list[dict[int, float]] = [{} for _ in range(len(users))]

    def propose(self, num: int) -> Ints | None:  # noqa: ARG002
        """All items of the titles that the model writes for each user who has a history."""
        if not self.loaded.settings.generate:
            return None
        written = [self._written(row) for row in range(len(self.users))]
        proposed = np.full((len(written), max(map(len, written), default=0)), NONE)
        for row, items in enumerate(written):
            proposed[row, : len(items)] = items
        return proposed

    def _written(self, row: int) -> Ints:
        starts, excluded = self.users.excluded.starts(len(self.users)), self.users.excluded.items
        own = excluded[starts[row] : starts[row + 1]]
        if (prefix := self._prefix(row)) is None:
            return np.zeros(0, dtype=np.int64)
        loaded = self.loaded
        num = loaded.settings.generate
        titles = write_titles(loaded.scorer, prefix, loaded.trie, num, lambda items: items[~np.isin(items, own)])
        return np.concatenate([np.zeros(0, dtype=np.int64), *(title.items for title in titles)])

    def measure(self, items: Ints) -> Floats:
        """[B, C, 1] log P(title | history) − log P(title); 0 where there is no candidate, or no history."""
        numbers = np.zeros((*items.shape, 1), dtype=np.float32)
        for row, own in enumerate(items):
            places = np.flatnonzero(own >= 0)
            if len(places) and (prefix := self._prefix(row)) is not None:
                chosen = own[places]
                found = self.loaded.scorer.log_probs(prefix, [self.loaded.titles[item] for item in chosen])
                found -= self.loaded.priors[chosen]
                numbers[row, places, 0] = found
                self._numbers[row] |= dict(zip(chosen.tolist(), found.tolist(), strict=True))
        return numbers

    def explain(self, rows: Ints, items: Ints, weights: Floats) -> Explanation:
        """The sentence, where the title gets more probable by the history and this lifts the item."""
        found = [self._numbers[row].get(item, 0.0) for row, item in zip(rows.tolist(), items.tolist(), strict=True)]
        lifted = (np.asarray(found) > 0) & (weights[:, 0] > 0)
        return Explanation(sentence=np.where(lifted, 0, NONE), item=np.full(len(rows), NONE))

    def _prefix(self, row: int) -> Prefix | None:
        """The prompt of a user, who is read again each time: many prompts that are kept would fill the memory.

        None for a user without items in the history.
        """
        history, loaded = self.users.history, self.loaded
        items = history.items[row, : int(history.lengths[row])]
        known = items[items < len(loaded.titles)][-loaded.settings.max_history :]  # others are padding
        return loaded.scorer.read([loaded.titles[item] for item in known]) if len(known) else None

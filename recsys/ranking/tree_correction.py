"""How the trees of the fusion correct the scores of a block of users.

The weights alone decide which candidates are a user's best. Their share of the probability stays as the weights give
it; the trees share it out among them. So a score stays a log P(item | user), and what is not among the best keeps its
score.

Shapes: B users, C candidates, K list length, M best candidates, S numbers of all signals, T trees.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.ranking.log_softmax import log_sum
from recsys.ranking.tree_features import best_candidates, tree_features
from recsys.ranking.trees import Trees

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def has_trees(lengths: Ints, in_session: Bools) -> Bools:
    """[B] for which users the trees are: those with a history who are not in a session.

    They were fitted on such users. Who comes in a session is often new, and has weights of their own.
    """
    return np.asarray((lengths > 0) & ~in_session)


@dataclass(frozen=True, kw_only=True)
class TreeCorrection:
    """What the trees add to the scores of the best candidates of B users."""

    trees: Trees
    best: Ints
    """[B, M] columns of the best candidates, −1 for none."""
    leaves: npt.NDArray[np.int32]
    """[B, M, T] the leaf of each in each tree; any for none."""

    @classmethod
    def of(cls, trees: Trees, numbers: Floats, logits: Floats, lengths: Ints) -> "TreeCorrection":
        """The trees' answer.

        Args:
            trees: Of the fusion.
            numbers: [B, C, S].
            logits: [B, C] score by the weights, −inf for what is no candidate.
            lengths: [B] different items of the histories.
        """
        best = best_candidates(logits)
        rows = tree_features(trees.features, trees.columns, numbers, best, lengths)
        leaves = trees.leaves(rows.reshape(-1, rows.shape[2])).reshape(*best.shape, -1)
        return cls(trees=trees, best=best, leaves=leaves)

    def correct(self, log_probabilities: Floats) -> Floats:
        """[B, C] log P with the trees, of log P [B, C] without them."""
        added = self.trees.added(self.leaves.reshape(-1, self.leaves.shape[2])).reshape(self.best.shape)
        return redistribute(log_probabilities, self.best, added)

    def contributions(self, columns: Ints) -> Floats:
        """[B, K, S] how far each number, through the trees, lifts listed items above the mean of the best candidates.

        Args:
            columns: [B, K] columns of the listed items; what is not among the best is not lifted.
        """
        parts = self.trees.parts(self.leaves.reshape(-1, self.leaves.shape[2])).reshape(*self.best.shape, -1)
        there = self.best >= 0
        mean = np.where(there[:, :, None], parts, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)[:, None]
        same = columns[:, :, None] == self.best[:, None]  # [B, K, M]
        listed = np.take_along_axis(parts, same.argmax(axis=2)[:, :, None], axis=1)
        return np.where(same.any(axis=2)[:, :, None], listed - mean[:, None], np.float32(0))


def redistribute(log_probabilities: Floats, best: Ints, added: npt.NDArray[np.floating]) -> Floats:
    """[B, C] log P where the best candidates share their probability by log P + what is added.

    Args:
        log_probabilities: [B, C].
        best: [B, M] columns, −1 for none.
        added: [B, M].
    """
    there = best >= 0
    before = np.take_along_axis(log_probabilities, np.maximum(best, 0), axis=1).astype(np.float64)
    before[~there] = -np.inf
    after = np.asarray(before + added, dtype=np.float64)
    corrected = after + log_sum(before) - log_sum(after)
    found = log_probabilities.copy()
    users, places = np.nonzero(there)
    found[users, best[users, places]] = corrected[users, places]
    return found

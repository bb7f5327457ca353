"""The one door from the signals' numbers to scores: weights for everyone, and trees on top where they were fitted.

Shapes: B users, C candidates, K list length, S numbers of all signals.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.ranking.explanations import contributions
from recsys.ranking.fusion import weigh
from recsys.ranking.log_softmax import log_softmax
from recsys.ranking.scoring import Scored
from recsys.ranking.snapshot import Snapshot
from recsys.ranking.tree_correction import TreeCorrection, has_trees
from recsys.ranking.user_weights import user_weights

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FusedScores:
    """The scores of the candidates of B users, and what they are made of."""

    log_probabilities: Floats
    """[B, C] log P(item | user), −inf for none."""
    weights: Floats
    """[B, S] of the users."""
    corrected: Ints
    """Rows of the users whose scores the trees correct."""
    correction: TreeCorrection | None
    """Of these users; None where there are no trees, or none of these users."""

    def contributions(self, scored: Scored, columns: Ints) -> Floats:
        """[B, K, S] how far each number lifts an item above the user's other candidates, in nats.

        Of two listed items that are among the user's best candidates, the difference of the sums is the difference of
        their log P.

        Args:
            scored: As they were fused.
            columns: [B, K] columns of the listed items among the candidates.
        """
        found = contributions(scored.numbers, scored.items >= 0, columns, self.weights)
        if self.correction is not None:
            found[self.corrected] += self.correction.contributions(columns[self.corrected])
        return found


def fuse(snapshot: Snapshot, scored: Scored) -> FusedScores:
    """The scores of the candidates of B users.

    The trees are for users with a history who neither search nor are in a session. All others have weights alone.
    """
    weights = user_weights(snapshot, scored)
    logits = weigh(scored.numbers, scored.items >= 0, weights)
    log_p = log_softmax(logits)
    profiles, trees = scored.profiles, snapshot.fusion.trees
    users = np.flatnonzero(has_trees(profiles.lengths, profiles.in_session) & ~scored.searching)
    if trees is None or not len(users):
        return FusedScores(log_probabilities=log_p, weights=weights, corrected=users, correction=None)
    all_users = len(users) == len(log_p)
    numbers = scored.numbers if all_users else scored.numbers[users]
    correction = TreeCorrection.of(trees, numbers, log_p[users], profiles.lengths[users])
    log_p[users] = correction.correct(log_p[users])
    return FusedScores(log_probabilities=log_p, weights=weights, corrected=users, correction=correction)

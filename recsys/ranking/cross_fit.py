"""NDCG of validation users by weights that were fitted on other users: what a part is worth beyond its fit.

Weights that are fitted on a user rank this user's choices better than those of others, the more so the more weights
there are. So the users are divided, and each part is ranked by weights of the rest (Stone, 1974).

Shapes: B users, C candidates, S numbers of all signals.
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from recsys.ranking.choices import Choices
from recsys.ranking.fusion import Fusion
from recsys.ranking.fusion_fit import fit_weights

#: Parts of the users.
FOLDS = 4

Floats = npt.NDArray[np.float64]


def cross_fitted_ndcg(choices: Choices, names: Sequence[str], allowed: Collection[str], seed: int) -> Floats:
    """[B] NDCG@10 of each user by weights that were fitted on users of the other folds.

    The same users and seed give the same folds, whatever numbers are allowed, so that two results can be compared user
    by user.

    Args:
        choices: Of at least `FOLDS` users who each took something.
        names: [S].
        allowed: Numbers that may have a weight.
        seed: Divides the users.
    """
    users = len(choices.taken)
    assert users >= FOLDS, f"{users} users cannot be divided into {FOLDS} parts"
    fold = np.random.default_rng(seed).permutation(users) % FOLDS
    equal = Fusion(weights=dict.fromkeys(allowed, 1.0))
    values, alone = np.zeros(users), choices.ndcg_alone()
    for number in range(FOLDS):
        own = fold == number
        fitted = fit_weights(choices.rows(~own), names, equal, allowed, alone[:, ~own])
        values[own] = choices.rows(own).ndcg(fitted.vector(names))
    return values

"""What the trees of the fusion look at: the best candidates of each user, their numbers and the user's history.

A number alone says little across users: a cosine of .4 is the best of one user's candidates and the fiftieth of
another's. So a tree can also ask for the rank of a number among the user's best candidates.

Shapes: B users, C candidates, F features, M best candidates, S numbers of all signals.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.signals.registry import HISTORY_LENGTH

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Best candidates of a user by the weights, which the trees order again. More candidates cost time, and a list of ten
#: stayed the same.
NUM_BEST = 64
#: Prefix of the name of a feature: the number of the user's best candidates whose number is larger.
RANK = "rank:"


def feature_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of all features, given those of the signals' numbers [S].

    `HISTORY_LENGTH` is the number of different items of the user's history.
    """
    return (*columns, *(RANK + column for column in columns), HISTORY_LENGTH)


def best_candidates(logits: Floats) -> Ints:
    """[B, M] rising columns of the largest logits [B, C]; −1 where there are fewer. Of equal ones the first are taken.

    Args:
        logits: −inf for what is no candidate.
    """
    most = min(NUM_BEST, logits.shape[1])
    found = np.full((len(logits), most), -1, dtype=np.int64)
    if most:
        _select(logits, np.partition(logits, logits.shape[1] - most, axis=1)[:, logits.shape[1] - most], found)
    return found


@compiled
def _select(logits: Floats, least: Floats, found: Ints) -> None:
    """Write the columns of what is above the least of the best, and as many of its equals as there is room for."""
    most = found.shape[1]
    for user in range(len(logits)):
        above = 0
        for logit in logits[user]:
            above += logit > least[user]
        equals, place = most - above, 0
        for column, logit in enumerate(logits[user]):
            if logit == -np.inf or not logit >= least[user]:  # NaN is never one of the best
                continue
            if logit == least[user]:
                if equals == 0:
                    continue
                equals -= 1
            found[user, place] = column
            place += 1


def tree_features(names: Sequence[str], columns: Sequence[str], numbers: Floats, best: Ints, lengths: Ints) -> Floats:
    """[B, M, F] features of the best candidates; rows of what is none hold zeros.

    Args:
        names: [F], some of `feature_names`.
        columns: [S] of the numbers.
        numbers: [B, C, S].
        best: [B, M] of `best_candidates`.
        lengths: [B] different items of the histories.
    """
    places = {name: place for place, name in enumerate(feature_names(columns))}
    wanted = np.array([places[name] for name in names], dtype=np.int64)
    found = np.zeros((*best.shape, len(names)), dtype=np.float32)
    _write(wanted, numbers, best, lengths, found)
    return found


@compiled
def _write(wanted: Ints, numbers: Floats, best: Ints, lengths: Ints, found: Floats) -> None:
    num_columns = numbers.shape[2]
    own = np.empty(best.shape[1], dtype=np.float32)
    for user in range(len(best)):
        count = 0
        while count < best.shape[1] and best[user, count] >= 0:
            count += 1
        for feature, place in enumerate(wanted):
            if place == 2 * num_columns:
                found[user, :count, feature] = lengths[user]
                continue
            for row in range(count):
                own[row] = numbers[user, best[user, row], place % num_columns]
            for row in range(count):
                if place < num_columns:
                    found[user, row, feature] = own[row]
                    continue
                larger = 0
                for other in range(count):
                    larger += own[other] > own[row]
                found[user, row, feature] = larger

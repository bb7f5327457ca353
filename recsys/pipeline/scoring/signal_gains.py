"""What the ranker and the texts add to the other signals on the user's own data, measured in every night.

Where a part is a signal, it is left out by fitting the other weights again, on the same candidates. So this costs no
second training. Candidates that only the ranker proposed stay, and the text that the ranker reads stays in it: the
figures say what a list would lose if the signal had no weight.
"""

import logging
from collections.abc import Collection, Sequence

import numpy as np

from recsys.evaluation.gain import RelativeGain, relative_gain
from recsys.ranking.choices import Choices
from recsys.ranking.cross_fit import cross_fitted_ndcg
from recsys.signals.registry import SIGNALS

logger = logging.getLogger(__name__)

#: What is left out: each of these signals, and all of them together.
MEASURED = {"ranker": ("ranker",), "text": ("text",), "ranker and text": ("ranker", "text"), "lm": ("lm",)}
#: Users that are measured at most; the weights are fitted on them sixteen times.
MOST_USERS = 2000


def measure_gains(
    choices: Choices, names: Sequence[str], allowed: Collection[str] | None, seed: int
) -> dict[str, RelativeGain]:
    """NDCG@10 with all signals, and without each part of `MEASURED`, of validation users.

    A part without any number in ``allowed`` is left out, and so is one without which no number or no hit is left.

    Args:
        choices: Of validation users with their whole histories.
        names: Of all numbers.
        allowed: Numbers that may have a weight; None: all.
        seed: Chooses the users, and divides them.
    """
    choices = choices.with_positives()
    users = len(choices.taken)
    if users > MOST_USERS:
        drawn = np.random.default_rng(seed).permutation(users) < MOST_USERS
        choices = choices.rows(drawn)
    everything = frozenset(names if allowed is None else allowed)
    values = cross_fitted_ndcg(choices, names, everything, seed)
    found = {}
    for part, signals in MEASURED.items():
        columns = {column for name in signals for column in SIGNALS[name].columns}
        if all(everything & SIGNALS[name].columns.keys() for name in signals) and (rest := everything - columns):
            without = cross_fitted_ndcg(choices, names, rest, seed)
            gain = relative_gain(values, without, seed)
            if gain is not None:
                found[part] = gain
                logger.info("fuse: %s adds %s on %d validation users", part, gain, len(values))
    return found

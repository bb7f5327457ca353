"""Which weights each user gets.

Shapes: B users, S numbers of all signals.
"""

import numpy as np
import numpy.typing as npt

from recsys.ranking.fusion import Fusion
from recsys.ranking.scoring import Scored
from recsys.ranking.snapshot import Snapshot
from recsys.signals.registry import SIGNALS

Floats = npt.NDArray[np.float32]

#: Where nothing is known of a user: P is the share of what everybody takes.
_POPULARITY_ALONE = Fusion(weights={"popularity": 1.0})
#: Where only a description of the user is known: the log-count, and the ranker's log P for such a user. The fitted
#: weights do not fit here: they are for users with a history, for whom other signals have numbers too.
_POPULAR_AMONG_SIMILAR = Fusion(weights={"popularity": 1.0, "retrieval": 1.0})


def user_weights(snapshot: Snapshot, scored: Scored) -> Floats:
    """[B, S] weights of the signals' numbers for each user.

    They depend on the number of items in the history and on whether the user is in a session. The fitted weights are
    for what people took without searching, so a query adds weight to the text.
    """
    profiles, fusion, columns = scored.profiles, snapshot.fusion, snapshot.columns
    weights = fusion.of_users(columns, profiles.lengths, profiles.in_session)
    weights[~profiles.known] = _POPULARITY_ALONE.vector(columns)
    of_described = _POPULAR_AMONG_SIMILAR if fusion.trained else _POPULARITY_ALONE
    weights[profiles.described_only] = of_described.vector(columns)
    added = {column: weight for name in snapshot.signals for column, weight in SIGNALS[name].query_weight.items()}
    by_query = Fusion(weights=added).vector(columns)
    temperature = fusion.temperature_of(profiles.lengths, profiles.in_session)
    weights[scored.searching] += (by_query / temperature[:, None])[scored.searching]
    return weights

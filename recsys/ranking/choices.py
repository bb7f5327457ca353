"""What validation users took of their candidates: the data that the weights of the signals are fitted on.

Shapes: B users, C candidates, S numbers of all signals.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from recsys.ranking.fusion import Bools, Signals, weigh
from recsys.ranking.order import discounts

Floats = npt.NDArray[np.float64]

#: Places of a list that NDCG looks at.
CUT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What B users took of their candidates."""

    numbers: Signals
    """[B, C, S]."""
    valid: Bools
    """[B, C] whether there is a candidate."""
    taken: Bools
    """[B, C] whether the user took it next."""
    lengths: npt.NDArray[np.int64]
    """[B] different items of the history."""
    in_session: Bools
    """[B] whether the user is in a session, which the history includes."""

    def rows(self, users: npt.NDArray[np.bool_]) -> "Choices":
        """The choices of some users, by a mask [B]."""
        return Choices(**{part.name: getattr(self, part.name)[users] for part in fields(self)})

    def with_positives(self) -> "Choices":
        """The choices of users who took at least one of their candidates."""
        assert not (self.taken & ~self.valid).any(), "what is no candidate cannot be taken"
        return self.rows(np.asarray(self.taken.any(axis=1)))

    def spread(self) -> Floats:
        """[S] standard deviation of each number over the candidates."""
        return np.asarray(self.numbers[self.valid].std(axis=0, dtype=np.float64))

    def scores(self, weights: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """[B, C] Σ weight · number, by weights [S] or [B, S]; −inf for none."""
        return weigh(self.numbers, self.valid, np.broadcast_to(weights, (len(self.numbers), self.numbers.shape[2])))

    def ndcg(self, weights: npt.NDArray[np.floating]) -> Floats:
        """[B] NDCG@10 of each user's candidates by weights [S] or [B, S]; equal scores come by column."""
        return self.ndcg_of(self.scores(weights))

    def ndcg_alone(self) -> Floats:
        """[S, B] NDCG@10 of each user's candidates by each number alone; equal numbers come by column."""
        columns = (self.numbers[:, :, place] for place in range(self.numbers.shape[2]))
        return np.stack([self.ndcg_of(np.where(self.valid, column, -np.inf)) for column in columns])

    def ndcg_of(self, scores: npt.NDArray[np.floating]) -> Floats:
        """[B] NDCG@10 of each user's candidates by scores [B, C], −inf for none; equal scores come by column."""
        order = np.argsort(-scores, axis=1, kind="stable")[:, :CUT]
        worth = discounts(CUT)
        gain = np.take_along_axis(self.taken, order, axis=1) @ worth[: order.shape[1]]
        best = np.concatenate([[0.0], np.cumsum(worth)])[np.minimum(self.taken.sum(axis=1), CUT)]
        return np.asarray(gain / best, dtype=np.float64)

"""Slices of a holdout: groups of users or of wanted items that are measured separately.

A slice of users keeps all their targets. A slice of items keeps the targets among these items, and the users who still
have one.

Shapes: U users whose lists were made, V users of a slice, R relevant items of all of them together, I items.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.evaluation.measure import measure
from recsys.evaluation.metrics.metric import Bools, Floats, Ints

#: Slices of users: fewest and most training events, None for no bound.
HISTORY_LENGTHS: dict[str, tuple[int, int | None]] = {
    "history 1": (1, 1),
    "history 2-4": (2, 4),
    "history 5-9": (5, 9),
    "history 10+": (10, None),
}
#: Users without a training event. Their lists come from an empty history, together with their texts if there are any.
#: They are in no other slice.
COLD_USERS = "cold users"
#: Targets without a training interaction.
COLD_ITEMS = "cold items"
#: Targets outside the short head; cold items are among them.
LONGTAIL_ITEMS = "long-tail items"

#: Every slice, in the order of tables.
SLICES = (*HISTORY_LENGTHS, COLD_USERS, LONGTAIL_ITEMS, COLD_ITEMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relevant:
    """What some users wanted: user `users[v]` wanted `indices[indptr[v] : indptr[v + 1]]`, at least one item."""

    users: npt.NDArray[np.int64]
    """[V] rows of the lists."""
    indptr: npt.NDArray[np.int64]
    """[V + 1]."""
    indices: npt.NDArray[np.int64]
    """[R] item indices, distinct for a user."""

    @classmethod
    def of_all(cls, num_items: Ints, indices: npt.NDArray[np.int64]) -> "Relevant":
        """Targets of all U users, `num_items` [U] of each."""
        indptr = np.concatenate([[0], np.cumsum(num_items)]).astype(np.int64)
        assert indptr[-1] == len(indices), f"{indptr[-1]} targets are counted, {len(indices)} are given"
        return cls(users=np.arange(len(num_items)), indptr=indptr, indices=indices)

    def of_users(self, chosen: Bools) -> "Relevant":
        """The targets of some users, by a mask [V]."""
        counts = np.diff(self.indptr)
        part = Relevant.of_all(counts[chosen], self.indices[np.repeat(chosen, counts)])
        return Relevant(users=self.users[chosen], indptr=part.indptr, indices=part.indices)

    def among(self, items: Bools) -> "Relevant":
        """The targets among some items, by a mask [I]; users without such a target are left out."""
        kept = items[self.indices]
        counts = np.diff(np.concatenate([[0], np.cumsum(kept)])[self.indptr])
        part = Relevant.of_all(counts[counts > 0], self.indices[kept])
        return Relevant(users=self.users[counts > 0], indptr=part.indptr, indices=part.indices)

    def measure(self, recommended: Ints, names: Sequence[str]) -> dict[str, Floats]:
        """Per-user values [V] of metrics, as `recsys.evaluation.measure.measure` gives them.

        The best possible list is that of the slice: NDCG is 1 if the targets of the slice are at the top.

        >>> wanted = Relevant.of_all(np.array([2, 1]), np.array([3, 5, 4]))
        >>> rare = wanted.among(np.array([False, False, False, False, False, True]))
        >>> rare.users.tolist(), rare.measure(np.array([[3, 5], [4, 5]]), ["mrr@2"])["mrr@2"].tolist()
        ([0], [0.5])
        """
        return measure(recommended[self.users], self.indptr, self.indices, names)


def cut_slices(relevant: Relevant, num_events: Ints, head: Bools, cold: Bools) -> dict[str, Relevant]:
    """Every slice of the users with a history, by name. The slices by history length do not overlap, the others may.

    Args:
        relevant: Targets of all U users, none of them cold.
        num_events: [U] training events of each user, also those that the ranker does not read.
        head: [I] items of the short head.
        cold: [I] items without a training interaction.
    """
    assert len(num_events) == len(relevant.users), f"{len(num_events)} lengths for {len(relevant.users)} users"
    assert (num_events > 0).all(), "a cold user is among the others"
    by_length = {
        name: relevant.of_users((num_events >= fewest) & (num_events <= (num_events if most is None else most)))
        for name, (fewest, most) in HISTORY_LENGTHS.items()
    }
    return by_length | {LONGTAIL_ITEMS: relevant.among(~head), COLD_ITEMS: relevant.among(cold)}

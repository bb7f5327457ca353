"""The items of a history that an explanation may name.

Shapes: B users, N list places, H history items.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.signals.sparse_rows import Rows
from recsys.signals.user_profiles import UserProfiles

#: Items of a history from which the one to name is chosen, those with the largest weights.
NAMED_FROM = 20

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItems:
    """The weightiest history items at N places of lists."""

    items: Ints
    """[N, H] catalog indices, −1 for none."""
    last: Floats
    """[N, H] weights of `UserProfiles.last`."""
    history: Floats
    """[N, H] weights of `UserProfiles.history`."""

    @classmethod
    def of(cls, profiles: UserProfiles, rows: Ints) -> "HistoryItems":
        """Of the users [N] at these places of a block."""
        distinct, place = np.unique(rows, return_inverse=True)
        shape = (len(distinct), NAMED_FROM)
        items = np.full(shape, -1, dtype=np.int64)
        last, history = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        _weightiest(distinct, profiles.last.arrays, profiles.history.values, items, last, history)
        return cls(items=items[place], last=last[place], history=history[place])

    def with_most(self, share: npt.NDArray[np.floating]) -> Ints:
        """[N] the item with the largest share [N, H], −1 where no share is above 0."""
        best = share.argmax(axis=1)
        rows = np.arange(len(share))
        return np.where(share[rows, best] > 0, self.items[rows, best], -1)


@compiled
def _weightiest(users: Ints, last: Rows, history: Floats, items: Ints, of_last: Floats, of_history: Floats) -> None:
    starts, history_items, values = last
    for row, user in enumerate(users):
        begin, end = starts[user], starts[user + 1]
        order = np.argsort(-values[begin:end], kind="mergesort")  # stable: equal weights by item
        for slot, place in enumerate(order[: items.shape[1]]):
            items[row, slot] = history_items[begin + place]
            of_last[row, slot] = values[begin + place]
            of_history[row, slot] = history[begin + place]

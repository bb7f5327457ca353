"""Items that must not be in the lists of some users: what they saw, and what a request excludes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.signals.sparse_rows import joined_runs, row_starts

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludedItems:
    """(user, item) pairs, by user."""

    users: Ints
    """[N] ascending."""
    items: Ints
    """[N]."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[Ints, Ints]]) -> "ExcludedItems":
        """From arrays of users and of items in any order; a pair with a negative item is left out."""
        none = np.zeros(0, dtype=np.int64)
        users = np.concatenate([none, *(users for users, _ in pairs)])
        items = np.concatenate([none, *(items for _, items in pairs)])
        order = np.argsort(users, kind="stable")
        order = order[items[order] >= 0]
        return cls(users=users[order], items=items[order])

    @classmethod
    def none(cls) -> "ExcludedItems":
        """No pair."""
        return cls.of([])

    def united(self, others: Iterable["ExcludedItems"]) -> "ExcludedItems":
        """These pairs and those of others."""
        more = [(other.users, other.items) for other in others]
        return ExcludedItems.of([(self.users, self.items), *more]) if more else self

    def without(self, others: "ExcludedItems") -> "ExcludedItems":
        """The pairs that others do not have."""
        width = max(self.items.max(initial=0), others.items.max(initial=0)) + 1
        new = ~np.isin(self.users * width + self.items, others.users * width + others.items)
        return ExcludedItems(users=self.users[new], items=self.items[new])

    def starts(self, num_users: int) -> Ints:
        """[B + 1] where the items of each of B users start."""
        return row_starts(np.bincount(self.users, minlength=num_users))

    def renumbered(self, places: Ints) -> "ExcludedItems":
        """The same pairs with other item numbers: ``places`` [I] has the new number of each item, −1 for none."""
        return ExcludedItems.of([(self.users, places[self.items])])

    def within(self, users: range, items: range) -> "ExcludedItems":
        """The pairs of some users and items, numbered from the first of them."""
        low, high = np.searchsorted(self.users, [users.start, users.stop])
        rows, columns = self.users[low:high] - users.start, self.items[low:high] - items.start
        inside = (columns >= 0) & (columns < len(items))
        return ExcludedItems(users=rows[inside], items=columns[inside])

    def of_users(self, users: Ints) -> "ExcludedItems":
        """The pairs of some of the users, who are numbered from 0 in this order."""
        first, last = (np.searchsorted(self.users, users, side=side) for side in ("left", "right"))
        _, places = joined_runs(first, last - first)
        return ExcludedItems(users=np.repeat(np.arange(len(users)), last - first), items=self.items[places])

"""A user rule removes items for some users, because of what they did.

Shapes: B users, I items, N events of all users.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.event_weights import plain_kind
from recsys.model.features import index_catalog
from recsys.ranking.order import Bools, Ints
from recsys.ranking.rules.rule import NightFacts, Rule, RuleSettings
from recsys.signals.excluded import ExcludedItems

_MICROS_PER_DAY = 86_400e6


@dataclass(frozen=True, slots=True, kw_only=True)
class UserActions:
    """The positives of B users that their histories hold, oldest first."""

    users: Ints
    """[N] row of the user."""
    items: Ints
    """[N] catalog index, −1 for an item that the catalog does not hold, and for a search."""
    kinds: pa.Array
    """[N] kind of the event."""
    age_days: npt.NDArray[np.float64]
    """[N] days from the event to the time at which the user is scored."""

    @classmethod
    def of(cls, histories: pa.Table, item_ids: pa.Array, now: npt.NDArray[np.float64]) -> "UserActions":
        """Of a HISTORIES table.

        Args:
            histories: B users.
            item_ids: [I] sorted ids of the catalog.
            now: [B] microseconds since 1970 at which each user is scored.
        """
        items, times, kinds = (histories[name].combine_chunks() for name in ("item_ids", "timestamps", "events"))
        users = pc.list_parent_indices(items).to_numpy(zero_copy_only=False).astype(np.int64)
        moments = times.flatten().cast(pa.int64()).to_numpy(zero_copy_only=False)
        return cls(
            users=users,
            items=index_catalog(items.flatten(), item_ids),
            kinds=kinds.flatten(),
            age_days=(now[users] - moments) / _MICROS_PER_DAY,
        )

    def are_of(self, kinds: list[str]) -> Bools:
        """[N] whether an event is of one of these kinds, however they are spelled."""
        wanted = {plain_kind(kind) for kind in kinds}
        distinct = pc.unique(self.kinds)
        matching = distinct.filter(pa.array([plain_kind(kind) in wanted for kind in distinct.to_pylist()], pa.bool_()))
        return np.asarray(pc.is_in(self.kinds, value_set=matching), dtype=bool)


#: A prepared user rule: which items each user does not get.
RemoveItems = Callable[[UserActions], ExcludedItems]


class UserRule(Rule[RuleSettings]):
    """Removes items for some users, before their candidates are chosen. The pairs that it removes are counted."""

    @abstractmethod
    def prepare(self, settings: RuleSettings, facts: NightFacts) -> RemoveItems | None:
        """Compute once what holds for all users of a night; None where the settings switch the rule off.

        Raises:
            ConfigError: the settings do not fit the catalog.
        """

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

from recsys.data.events.event_weights import are_of_kinds
from recsys.data.times.moments import MICROS_PER_DAY
from recsys.model.features import index_catalog
from recsys.ranking.order import Bools, Ints
from recsys.ranking.rules.rule import NightFacts, Rule, RuleSettings
from recsys.signals.excluded import ExcludedItems


@dataclass(frozen=True, slots=True, kw_only=True)
class UserActions:
    """The positives of B users that their histories hold, oldest first."""

    num_users: int
    """B."""
    users: Ints
    """[N] row of the user."""
    items: Ints
    """[N] catalog index, −1 for an item that the catalog does not hold, and for a search."""
    kinds: pa.Array
    """[N] kind of the event."""
    age_days: npt.NDArray[np.float64]
    """[N] days from the event to the time at which the user is scored."""
    served_users: Ints
    """[M] row of the user of each impression that the user did not follow."""
    served_items: Ints
    """[M] catalog index, −1 for an item that the catalog does not hold."""
    served_age_days: npt.NDArray[np.float64]
    """[M] days from the impression to the time at which the user is scored."""

    @classmethod
    def of(cls, histories: pa.Table, item_ids: pa.Array, now: npt.NDArray[np.float64]) -> "UserActions":
        """Of a HISTORIES table.

        Args:
            histories: B users.
            item_ids: [I] sorted ids of the catalog.
            now: [B] microseconds since 1970 at which each user is scored.
        """
        users, items, age_days = _flat(histories, "item_ids", "timestamps", item_ids, now)
        none = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)
        known = "served_item_ids" in histories.column_names
        served = _flat(histories, "served_item_ids", "served_timestamps", item_ids, now) if known else none
        return cls(
            num_users=len(histories),
            users=users,
            items=items,
            kinds=histories["events"].combine_chunks().flatten(),
            age_days=age_days,
            served_users=served[0],
            served_items=served[1],
            served_age_days=served[2],
        )

    def are_of(self, kinds: list[str]) -> Bools:
        """[N] whether an event is of one of these kinds, however they are spelled."""
        return are_of_kinds(self.kinds, kinds)


def _flat(
    histories: pa.Table, items: str, times: str, item_ids: pa.Array, now: npt.NDArray[np.float64]
) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Row of the user, catalog index, and age in days of each entry of two columns of lists."""
    ids, moments = (histories[name].combine_chunks() for name in (items, times))
    users = pc.list_parent_indices(ids).to_numpy(zero_copy_only=False).astype(np.int64)
    micros = moments.flatten().cast(pa.int64()).to_numpy(zero_copy_only=False)
    return users, index_catalog(ids.flatten(), item_ids), (now[users] - micros) / MICROS_PER_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemLifts:
    """What is added to the scores of N pairs of a user and an item, if the item is a candidate; no pair twice."""

    users: Ints
    """[N]."""
    items: Ints
    """[N]."""
    lifts: npt.NDArray[np.float32]
    """[N] nats."""


#: A prepared user rule: which items each user does not get.
RemoveItems = Callable[[UserActions], ExcludedItems]


#: The same for what a user rule adds to scores.
LiftItems = Callable[[UserActions], ItemLifts]


class UserRule(Rule[RuleSettings]):
    """Removes items for some users, before their candidates are chosen. The pairs that it removes are counted.

    It can also raise or lower the scores of items for some users.
    """

    @abstractmethod
    def prepare(self, settings: RuleSettings, facts: NightFacts) -> RemoveItems | None:
        """Compute once what holds for all users of a night; None where the settings switch the rule off.

        Raises:
            ConfigError: the settings do not fit the catalog.
        """

    def prepare_lifts(self, settings: RuleSettings, facts: NightFacts) -> LiftItems | None:  # noqa: ARG002
        """The same for what is added to scores; None where nothing is."""
        return None

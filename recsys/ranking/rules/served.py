"""The rule for items that a user was shown and did not take: they go down, and after some times out.

The discount by the number of impressions is that of Lee, Lakshmanan, Tiwari & Shah, "Modeling Impression Discounting in
Large-Scale Recommender Systems" (KDD 2014), in its simplest form: a factor for each impression.

Shapes: B users, I items, M impressions, N pairs of a user and an item.
"""

from functools import partial

import numpy as np
import numpy.typing as npt

from recsys.ranking.business_config import ExcludeServed
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Ints
from recsys.ranking.rules.rule import NightFacts
from recsys.ranking.rules.user_rule import ItemLifts, LiftItems, RemoveItems, UserActions, UserRule
from recsys.signals.excluded import ExcludedItems


class Served(UserRule[RerankConfig]):
    """Removes or lowers what a user was shown in the last days and did not take, as `rerank.exclude_served` says."""

    name = "served"
    summary = "What a user was shown several times and did not take goes down, or out, for some days."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> RemoveItems | None:  # noqa: ARG002
        """See `UserRule.prepare`."""
        served = settings.exclude_served
        return None if served is None or served.times is None else partial(_too_often, served=served)

    def prepare_lifts(self, settings: RerankConfig, facts: NightFacts) -> LiftItems | None:  # noqa: ARG002
        """See `UserRule.prepare_lifts`."""
        served = settings.exclude_served
        return None if served is None or served.factor == 1 else partial(_lowered, served=served)


def _too_often(actions: UserActions, served: ExcludeServed) -> ExcludedItems:
    users, items, counts = _counted(actions, served.days)
    assert served.times is not None
    often = counts >= served.times
    return ExcludedItems.of([(users[often], items[often])])


def _lowered(actions: UserActions, served: ExcludeServed) -> ItemLifts:
    users, items, counts = _counted(actions, served.days)
    return ItemLifts(users=users, items=items, lifts=(counts * np.log(served.factor)).astype(np.float32))


def _counted(actions: UserActions, days: float) -> tuple[Ints, Ints, npt.NDArray[np.int64]]:
    """[N] users and items of all pairs with impressions in the last days, by user and item, and how many each has."""
    recent = (actions.served_items >= 0) & (actions.served_age_days < days)
    pairs = np.stack([actions.served_users[recent], actions.served_items[recent]])
    (users, items), counts = np.unique(pairs, axis=1, return_counts=True)
    return users, items, counts

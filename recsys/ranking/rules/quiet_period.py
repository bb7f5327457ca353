"""The rule that leaves an item, or its kind, out for some days after a user took it.

Shapes: B users, I items, N pairs of a user and an item.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from recsys.ranking.business_config import QuietPeriod
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Ints
from recsys.ranking.rules.attributes import needed_attribute
from recsys.ranking.rules.rule import NightFacts
from recsys.ranking.rules.user_rule import RemoveItems, UserActions, UserRule
from recsys.signals.excluded import ExcludedItems


class Quiet(UserRule[RerankConfig]):
    """Removes what a user took in the last days, and items of the same kind, as `rerank.quiet` says."""

    name = "quiet"
    summary = "For some days after a user took an item, the user gets neither the item nor items of its kind."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> RemoveItems | None:
        """See `UserRule.prepare`."""
        quiet = settings.quiet
        if quiet is None:
            return None
        groups = np.arange(len(facts.recommendable))
        if quiet.attribute is not None:
            codes = facts.attribute_codes(quiet.attribute)
            groups = np.where(codes < 0, groups, len(groups) + codes)  # an item without it is a group of its own
        return partial(_recently_taken, quiet=quiet, groups=groups)

    def warnings(self, settings: RerankConfig, catalog: pa.Table) -> Sequence[str]:
        """See `Rule.warnings`; it refuses an attribute that no item has."""
        if settings.quiet is not None and settings.quiet.attribute is not None:
            needed_attribute(catalog, settings.quiet.attribute)
        return ()


def _recently_taken(actions: UserActions, quiet: QuietPeriod, groups: Ints) -> ExcludedItems:
    """All items of the groups that the users took items of.

    Args:
        actions: Of B users.
        quiet: Which events count.
        groups: [I] number of each item's group.
    """
    recent = (actions.items >= 0) & (actions.age_days < quiet.days)
    if quiet.events is not None:
        recent &= actions.are_of(quiet.events)
    taken = np.stack([actions.users[recent], groups[actions.items[recent]]])
    users, group = np.unique(taken, axis=1)
    members = ExcludedItems.of([(groups, np.arange(len(groups)))]).of_users(group)
    return ExcludedItems.of([(users[members.users], members.items)])

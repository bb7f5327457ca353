"""The rule that leaves an item, or its kind, out for some days after a user took it.

Shapes: B users, I items, N pairs of a user and an item.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.ranking.business_config import QuietPeriod
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Ints
from recsys.ranking.rules.attributes import needed_attribute
from recsys.ranking.rules.rule import NightFacts
from recsys.ranking.rules.user_rule import RemoveItems, UserActions, UserRule
from recsys.signals.excluded import ExcludedItems
from recsys.signals.sparse_rows import row_starts


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
            codes = pc.fill_null(pc.dictionary_encode(facts.attribute(quiet.attribute)).combine_chunks().indices, -1)
            # an item without the attribute is a group of its own
            groups = np.where(np.asarray(codes) < 0, groups, len(groups) + np.asarray(codes, dtype=np.int64))
        return partial(_recently_taken, quiet=quiet, groups=np.unique(groups, return_inverse=True)[1])

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
        groups: [I] number of each item's group, from 0 without a gap.
    """
    recent = (actions.items >= 0) & (actions.age_days < quiet.days)
    if quiet.events is not None:
        recent &= actions.are_of(quiet.events)
    taken = np.stack([actions.users[recent], groups[actions.items[recent]]])
    users, group = np.unique(taken, axis=1)
    sizes = np.bincount(groups, minlength=1)
    starts, members = row_starts(sizes), np.argsort(groups, kind="stable")
    lengths = sizes[group]
    ends = row_starts(lengths)
    places = np.repeat(starts[group] - ends[:-1], lengths) + np.arange(ends[-1])
    return ExcludedItems.of([(np.repeat(users, lengths), members[places])])

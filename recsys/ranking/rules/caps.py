"""The rule that limits how many items of one value of an attribute a list has.

Shapes: A attributes, B users, C candidates, I items.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from recsys.compiled import compiled
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Ints
from recsys.ranking.rules.attributes import needed_attribute
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder


class Caps(ListRule[RerankConfig]):
    """Moves an item behind all others where enough items of its value are in the list. It counts what moves up.

    Pinned items count from the start, and stay at their places.
    """

    name = "caps"
    summary = "A list has a limited number of items of one value of an attribute, such as a brand."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> Reorder | None:
        """See `ListRule.prepare`."""
        if not settings.caps:
            return None
        values = np.stack([facts.attribute_codes(name) for name in settings.caps])
        return partial(_cap, values=values, most=np.array(list(settings.caps.values()), dtype=np.int64))

    def warnings(self, settings: RerankConfig, catalog: pa.Table) -> Sequence[str]:
        """See `Rule.warnings`; it refuses attributes that no item has."""
        for name in settings.caps:
            needed_attribute(catalog, name)
        return ()


def _cap(batch: RankedBatch, values: Ints, most: Ints) -> tuple[RankedBatch, int]:
    too_many = np.zeros(batch.items.shape, dtype=bool)
    fixed = too_many.copy() if batch.fixed is None else batch.fixed
    counts = np.zeros((len(values), values.max(initial=-1) + 1), dtype=np.int64)
    _find_too_many(batch.items, fixed, values, most, counts, too_many)
    return batch.demote(too_many)


@compiled
def _find_too_many(items: Ints, fixed: Bools, values: Ints, most: Ints, counts: Ints, too_many: Bools) -> None:
    """Mark the candidates [B, C] for whom some attribute has no room when their place comes.

    Only what is kept takes room, of all its attributes at once. So an item is marked only if it does not fit beside
    those that are kept.

    Args:
        items: [B, C].
        fixed: [B, C] candidates that are kept in any case, and take their room first.
        values: [A, I] number of each item's value, −1 where it has none.
        most: [A] items with one value.
        counts: [A, values] zeros, and zeros again afterwards.
        too_many: [B, C] False; the result.
    """
    num_users, width = items.shape
    for user in range(num_users):
        for first in (True, False):
            for place in range(width):
                item = items[user, place]
                if item < 0 or fixed[user, place] != first:
                    continue
                fits = True
                for attribute in range(len(most)):
                    value = values[attribute, item]
                    fits &= first or value < 0 or counts[attribute, value] < most[attribute]
                too_many[user, place] = not fits
                for attribute in range(len(most)):
                    value = values[attribute, item]
                    if fits and value >= 0:
                        counts[attribute, value] += 1
        for item in items[user]:
            for attribute in range(len(most)):
                if item >= 0 and values[attribute, item] >= 0:
                    counts[attribute, values[attribute, item]] = 0

"""The rule that limits how many items of one value of an attribute a list has.

Shapes: A attributes, B users, C candidates, I items.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.compiled import compiled
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Ints
from recsys.ranking.rules.attributes import needed_attribute
from recsys.ranking.rules.pins import pinned_places
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder


class Caps(ListRule[RerankConfig]):
    """Moves an item behind all others where enough items of its value are in the list. It counts what moves up.

    Pinned items count from the start, and are never moved.
    """

    name = "caps"
    summary = "A list has a limited number of items of one value of an attribute, such as a brand."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> Reorder | None:
        """See `ListRule.prepare`."""
        if not settings.caps:
            return None
        values = [
            np.asarray(pc.fill_null(pc.dictionary_encode(facts.attribute(name)).combine_chunks().indices, -1))
            for name in settings.caps
        ]
        pinned = np.zeros(len(facts.recommendable), dtype=bool)
        pinned[list(pinned_places(settings, facts))] = True
        most = np.array(list(settings.caps.values()), dtype=np.int64)
        return partial(_cap, values=np.stack(values).astype(np.int64), most=most, pinned=pinned)

    def warnings(self, settings: RerankConfig, catalog: pa.Table) -> Sequence[str]:
        """See `Rule.warnings`; it refuses attributes that no item has."""
        for name in settings.caps:
            needed_attribute(catalog, name)
        return ()


def _cap(batch: RankedBatch, values: Ints, most: Ints, pinned: Bools) -> tuple[RankedBatch, int]:
    too_many = np.zeros(batch.items.shape, dtype=bool)
    _find_too_many(batch.items, values, most, pinned, np.zeros(values.max(initial=-1) + 1, dtype=np.int64), too_many)
    return batch.demote(too_many)


@compiled
def _find_too_many(
    items: Ints, values: Ints, most: Ints, pinned: Bools, counts: npt.NDArray[np.int64], too_many: Bools
) -> None:
    """Mark the candidates [B, C] above whom `most` [A] of the same value [A, I] are kept, for each of A attributes."""
    for user in range(len(items)):
        for attribute in range(len(values)):
            counts[:] = 0
            of_item = values[attribute]
            for item in items[user]:
                if item >= 0 and pinned[item] and of_item[item] >= 0:
                    counts[of_item[item]] += 1
            for place, item in enumerate(items[user]):
                if item < 0 or pinned[item] or of_item[item] < 0 or too_many[user, place]:
                    continue
                if counts[of_item[item]] >= most[attribute]:
                    too_many[user, place] = True
                else:
                    counts[of_item[item]] += 1

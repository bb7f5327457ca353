"""The rule that multiplies the probabilities of some items. Shapes: B users, C candidates, I items."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from recsys.ranking.business_config import Boost
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Floats
from recsys.ranking.rules.id_lists import find_ids
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder
from recsys.ranking.rules.where import passing_items


class Boosts(ListRule[RerankConfig]):
    """Adds log(factor) to the scores of boosted items. It counts the items that enter the best K."""

    name = "boosts"
    summary = "The probabilities of boosted items are multiplied."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> Reorder | None:
        """See `ListRule.prepare`. Where several boosts name an item, their factors are multiplied."""
        boosts = [boost for boost in settings.boosts if boost.holds_on(settings.shown_on(facts.date))]
        if not boosts:
            return None
        assert facts.catalog is not None, "boosts are prepared without a catalog"
        lifts = np.zeros(len(facts.recommendable), dtype=np.float32)
        for boost in boosts:
            lifts[_boosted(boost, facts.catalog)] += np.float32(np.log(boost.factor))
        return partial(_boost, lifts=lifts)

    def warnings(self, settings: RerankConfig, catalog: pa.Table) -> Sequence[str]:
        """See `Rule.warnings`; it also refuses conditions that do not fit the catalog."""
        for boost in settings.boosts:
            _boosted(boost, catalog)
        named = [item for boost in settings.boosts for item in boost.items or ()]
        return find_ids(catalog, named, "boost").warnings if named else ()


def _boosted(boost: Boost, catalog: pa.Table) -> Bools:
    """[I] whether a boost names each item."""
    if boost.where is not None:
        return passing_items(boost.where, "rerank.boosts.where", catalog)
    return find_ids(catalog, boost.items or (), "boost").listed


def _boost(batch: RankedBatch, lifts: Floats) -> tuple[RankedBatch, int]:
    scores = batch.scores + np.where(batch.items >= 0, lifts[np.maximum(batch.items, 0)], np.float32(0))
    return batch.rescored(scores)

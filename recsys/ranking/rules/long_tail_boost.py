"""The rule that makes room for items outside the short head of popular ones. Shapes: B users, C candidates, I items."""

from functools import partial

import numpy as np

from recsys.data.item_counts import head_items
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Floats, Ints
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder


class LongTailBoost(ListRule[RerankConfig]):
    """Lowers the scores of popular items by `rerank.long_tail_boost`. It counts the items that enter the best K."""

    name = "long_tail_boost"
    summary = "Items outside the most popular fifth of the catalog count more."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> Reorder | None:
        """See `ListRule.prepare`."""
        boost = settings.long_tail_boost
        return partial(_boost, head=head_items(facts.popularity), boost=boost) if boost else None


def _boost(batch: RankedBatch, head: Bools, boost: float) -> tuple[RankedBatch, int]:
    return batch.rescored(discounted(batch.items, batch.scores, head, boost))


def discounted(items: Ints, scores: Floats, head: Bools, boost: float) -> Floats:
    """Scores [B, C], lowered by `boost` for the items of the short head; those of the long tail keep theirs.

    A score is log P(item | user), so a hit in the long tail counts for e^`boost` hits in the head: the best K maximise
    the expected hits, Σ P(item | user), plus (e^`boost` − 1) times those in the long tail. By Lagrange, no other lists
    with as many expected hits in the tail have more of them in all. A penalty that grows with popularity, such as
    boost · log(1 + n), costs more hits for the same effect, since it also reorders the items within head and tail. The
    goal is that of Abdollahpouri, Burke & Mobasher (FLAIRS 2019).

    For each user, a larger `boost` never lowers how many of the best K are of the long tail.

    Args:
        items: [B, C] int64, −1 where there is no candidate.
        scores: [B, C] float32, −inf where there is no candidate.
        head: [I] as `recsys.data.item_counts.head_items` gives.
        boost: ≥ 0; 0 gives the scores back as they are.
    """
    if not boost or not len(head):
        return scores
    return np.where(head[np.maximum(items, 0)] & (items >= 0), scores - np.float32(boost), scores)

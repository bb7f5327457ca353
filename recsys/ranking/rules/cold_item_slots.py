"""The rule that keeps some places of a list for cold items: new items, which nobody took or rejected yet.

A cold item gets no interactions before it is shown, and by its score alone it is hardly shown: its statistics are
imputed, and weaker than those of a known item. So lists hold as many of each user's best cold items as the cold items
are of the catalog: an equal chance of exposure (Singh & Joachims, "Fairness of Exposure in Rankings", KDD 2018). It is
not larger, so that dead stock does not fill the lists. Where that share is below one place in ten, only some users have
such a place, and every night other users have it.

Shapes: B users, C candidates, I items.
"""

import datetime as dt
from functools import partial

import numpy as np
import numpy.typing as npt

from recsys.compiled import compiled
from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Floats, Ints
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder
from recsys.ranking.rules.user_draws import fractions, user_keys

Phases = npt.NDArray[np.float64]

#: The smallest share of cold items that a list has, if it has any: one place of ten.
_RATE = 0.1
#: How far a list is ahead of an even distribution, so that the one of ten is the fourth; 1.4 and it are surely 2.
_LEAD = 0.6 + 1e-9


class ColdItemSlots(ListRule[RerankConfig]):
    """Moves each user's best cold items up to their places. It counts those that the score alone would not bring there.

    A moved item takes the score of the item above it.
    """

    name = "cold_item_slots"
    summary = "Some places of a list are kept for new items, which nobody took or rejected yet."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> Reorder | None:
        """See `ListRule.prepare`."""
        share = cold_share(facts.is_cold, facts.recommendable, settings.cold_item_slots)
        if not share:
            return None
        return partial(_fill_slots, is_cold=facts.is_cold, share=share, seed=facts.seed, date=facts.date)


def cold_share(is_cold: Bools, recommendable: Bools, most: float) -> float:
    """Share of a list for cold items: their share of what may be recommended, but at most `most`."""
    num_cold, num_items = int((is_cold & recommendable).sum()), int(recommendable.sum())
    return min(most, num_cold / max(num_items, 1))


def _fill_slots(batch: RankedBatch, is_cold: Bools, share: float, seed: int, date: dt.date) -> tuple[RankedBatch, int]:
    phases = fractions(user_keys("new items", batch.user_ids, seed, date))
    order, scores = slot_order(batch.items, batch.scores, is_cold, share, phases)
    return batch.reordered(order, scores), batch.num_entered(order, batch.top_k)


def slot_order(items: Ints, scores: Floats, is_cold: Bools, share: float, phases: Phases) -> tuple[Ints, Floats]:
    """Move each user's best cold candidates up, until the first n hold as many of them as are due, for every n.

    One is due at the fourth place of every ten. Readers look less and less far down, so that a place counts
    1 / log₂(1 + rank), as in the paper above, and the fourth place gets about a tenth of what all ten get. Places drawn
    among all ten would get the same, and cost the known items up to twice as much, since the first places would be
    among them. Where the share is below a tenth, only that part of the users has each of these places, and the phase
    decides who has it. Where the share is larger, one is due more often.

    Where enough cold items stand there by their scores, nothing moves. A moved item takes the score of the item above
    it; all others keep their order. A shorter list is the head of a longer one.

    Args:
        items: [B, C] int64 candidates, best first; −1, no candidate, at the end.
        scores: [B, C] float32. They fall, except where another rule has chosen the first.
        is_cold: [I].
        share: Share of the places, in [0, 1].
        phases: [B] in [0, 1), where each user's turns begin.

    Returns:
        The column [B, C] at which the candidate of each place stood before, and the scores [B, C] in the new order.
        Among equal scores the items are in any order.
    """
    cold = is_cold[np.maximum(items, 0)] & (items >= 0)
    turns = np.floor(np.arange(1, items.shape[1] + 1) * max(share, _RATE) + _LEAD)
    order, written = np.empty_like(items), np.empty_like(scores)
    _merge(cold, scores, turns * min(share / _RATE, 1), phases, order, written)
    return order, written


@compiled
def _merge(cold: Bools, scores: Floats, turns: Phases, phases: Phases, order: Ints, written: Floats) -> None:
    """Merge two queues of the candidates [B, C], all and the cold ones; a cold one comes first where it is due."""
    width = cold.shape[1]
    for row in range(len(cold)):
        taken = np.zeros(width, dtype=np.bool_)
        best = best_cold = num_cold = 0
        for place in range(width):
            while taken[best]:
                best += 1
            while best_cold < width and (taken[best_cold] or not cold[row, best_cold]):
                best_cold += 1
            due = np.floor(turns[place] + phases[row]) > num_cold
            column = best_cold if due and best_cold < width else best
            score = scores[row, column]
            if column > best:
                score = written[row, place - 1] if place else scores[row, 0]
            order[row, place], written[row, place] = column, score
            taken[column] = True
            num_cold += cold[row, column]

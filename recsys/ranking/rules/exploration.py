"""The rule that gives some places of a list to items drawn at random.

Without it, feedback comes only from items that the model already ranks high. Shapes: B users, C candidates, K list
length.
"""

import datetime as dt
import math
from dataclasses import replace
from functools import partial

import numpy as np

from recsys.ranking.config import RerankConfig
from recsys.ranking.order import Bools, Ints
from recsys.ranking.rules.rule import ListRule, NightFacts, RankedBatch, Reorder
from recsys.ranking.rules.user_draws import Keys, mixed, user_keys


class Exploration(ListRule[RerankConfig]):
    """Fills the last places of a list with items drawn from the user's other candidates. It counts the drawn items.

    Drawn items stand in the order of their scores and keep them. So the head of a list is the ranker's own.
    """

    name = "exploration"
    summary = "The last places of a list go to items drawn at random from the user's other candidates."
    settings = RerankConfig

    def prepare(self, settings: RerankConfig, facts: NightFacts) -> Reorder | None:
        """See `ListRule.prepare`."""
        share = settings.exploration
        return partial(_explore, share=share, seed=facts.seed, date=facts.date) if share else None

    def num_reserved(self, settings: RerankConfig, top_k: int) -> int:
        """See `ListRule.num_reserved`."""
        return num_places(settings.exploration, top_k)

    def check_list_length(self, settings: RerankConfig, top_k: int) -> None:
        """See `ListRule.check_list_length`."""
        share = settings.exploration
        if share and not num_places(share, top_k):
            needed = f"at least {math.ceil(1000 / top_k) / 1000:g}" if top_k > 1 else "lists of 2 or more"
            raise ValueError(
                f"rerank.exploration={share:g} gives no place of recommend.top_k={top_k}: ask for {needed}, or for 0"
            )


def num_places(share: float, top_k: int) -> int:
    """⌊share · K⌋; 0.29 · 100 is 29, although its float is a little less."""
    return int(np.floor(share * top_k + 1e-9))


def _explore(batch: RankedBatch, share: float, seed: int, date: dt.date) -> tuple[RankedBatch, int]:
    num = num_places(share, batch.top_k)
    if not num:
        return batch, 0
    first = batch.num_open - num
    may_be_drawn = (batch.items >= 0) & (np.arange(batch.items.shape[1]) >= first)
    drawn = draw(batch.items, may_be_drawn, user_keys("exploration", batch.user_ids, seed, date), num)
    changed = batch.reordered(batch.order_with(drawn, first))
    explored = changed.explored.copy()
    explored[:, first : first + num] |= drawn >= 0
    return replace(changed, explored=explored), int((drawn >= 0).sum())


def draw(items: Ints, may_be_drawn: Bools, keys: Keys, num: int) -> Ints:
    """Draw up to `num` of each user's candidates, all equally likely, without replacement.

    Of M candidates each is drawn with the probability min(1, num / M): the propensity that off-policy estimators ask
    for. Each candidate gets a hash of the user's key and its item, and the smallest hashes win. So the result depends
    neither on the order of the candidates nor on other users.

    Args:
        items: [B, C] int64, distinct for each user.
        may_be_drawn: [B, C].
        keys: [B] as `user_keys` gives.
        num: How many to draw.

    Returns:
        [B, min(num, C)] int64 columns, ascending; −1 at the end where a user has fewer.
    """
    lots = mixed(keys[:, None] ^ items.astype(np.uint64))
    order = np.lexsort((items, lots, ~may_be_drawn), axis=1)[:, :num]
    drawn = np.where(np.take_along_axis(may_be_drawn, order, 1), order, items.shape[1])
    drawn.sort(axis=1)
    return np.where(drawn < items.shape[1], drawn, -1)

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

    These are the last places that no pin takes. Candidates of the places above, pinned items, and items beyond a cap
    are not drawn, as long as others are left. Drawn items stand in the order of their scores and keep them. So the head
    of a list is the ranker's own.
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
    tail, places = _tail(batch, num)
    there = tail & (batch.items >= 0)
    rest = np.zeros_like(there) if batch.last_resort is None else there & batch.last_resort
    columns = draw(batch.items, there & ~rest, user_keys("exploration", batch.user_ids, seed, date), places, rest)
    drawn = np.zeros_like(there)
    users, which = np.nonzero(columns >= 0)
    drawn[users, columns[users, which]] = True
    order = batch.ordered_by(np.where(tail, 2 - drawn, 0))
    return replace(batch, explored=batch.explored | drawn).reordered(order), len(users)


def _tail(batch: RankedBatch, num: int) -> tuple[Bools, Ints]:
    """[B, C] the last `num` open places of each list that are not fixed, with all below, and [B] how many those are."""
    tail = np.ones(batch.items.shape, dtype=bool) if batch.fixed is None else ~batch.fixed
    listed = tail[:, : batch.num_open]
    num_from_here = np.cumsum(listed[:, ::-1], axis=1)[:, ::-1]
    listed &= num_from_here <= num
    return tail, listed.sum(axis=1)


def draw(items: Ints, may_be_drawn: Bools, keys: Keys, num: int | Ints, otherwise: Bools | None = None) -> Ints:
    """Draw up to `num` of each user's candidates, all equally likely, without replacement.

    Of M candidates each is drawn with the probability min(1, num / M): the propensity that off-policy estimators ask
    for. Each candidate gets a hash of the user's key and its item, and the smallest hashes win. So the result depends
    neither on the order of the candidates nor on other users.

    Args:
        items: [B, C] int64, distinct for each user.
        may_be_drawn: [B, C].
        keys: [B] as `user_keys` gives.
        num: How many to draw, of all users or of each [B].
        otherwise: [B, C] others, from which those are drawn that are then missing; None: there are none.

    Returns:
        [B, min(largest num, C)] int64 columns, ascending; −1 at the end where a user has fewer.
    """
    most = np.broadcast_to(np.asarray(num), len(items))
    lots = mixed(keys[:, None] ^ items.astype(np.uint64))
    turns = np.where(may_be_drawn, 0, 2) if otherwise is None else np.where(may_be_drawn, 0, 2 - otherwise)
    order = np.lexsort((items, lots, turns), axis=1)[:, : most.max(initial=0)]
    wins = (np.take_along_axis(turns, order, 1) < 2) & (np.arange(order.shape[1]) < most[:, None])
    drawn = np.where(wins, order, items.shape[1])
    drawn.sort(axis=1)
    return np.where(drawn < items.shape[1], drawn, -1)

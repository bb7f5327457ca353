"""From histories to ranked lists: the one way that the night and the live service share.

Shapes: B users, C candidates, I items, K list length, N places of all lists, S numbers of all signals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.assignment import DEFAULT_VARIANT
from recsys.ranking.config import RecommendConfig
from recsys.ranking.constraints import RequestConstraints
from recsys.ranking.explanations import explain
from recsys.ranking.fused_scores import fuse
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.scoring import Scored, scored_blocks
from recsys.ranking.snapshot import Snapshot
from recsys.schema import RECOMMENDATIONS

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """RECOMMENDATIONS of a batch, and what re-ranking did."""

    lists: pa.Table
    users: Ints
    """[N] row of each place's user in the batch."""
    contributions: npt.NDArray[np.float32]
    """[N, S] how far each number lifts the item above the user's other candidates, in nats."""
    log_probabilities: npt.NDArray[np.float32]
    """[N] log P(item | user), before any rule changed it."""
    counts: RerankCounts

    @classmethod
    def together(cls, parts: Sequence["Recommended"]) -> "Recommended":
        """Several parts of a batch, by user."""
        users = np.concatenate([part.users for part in parts])
        order = np.argsort(users, kind="stable")
        return cls(
            lists=pa.concat_tables(part.lists for part in parts).take(pa.array(order)),
            users=users[order],
            contributions=np.concatenate([part.contributions for part in parts])[order],
            log_probabilities=np.concatenate([part.log_probabilities for part in parts])[order],
            counts=RerankCounts.sum(part.counts for part in parts),
        )


def recommend_batch(
    snapshot: Snapshot, histories: pa.Table, config: RecommendConfig, constraints: RequestConstraints | None = None
) -> Recommended:
    """The lists of B users: candidates → signals → fusion → re-ranking → explanations.

    The score is log P(item | user), see `recsys.ranking.fused_scores`, minus what a rule of the re-ranking takes from
    it; ties break by item_id.

    Args:
        snapshot: The night.
        histories: HISTORIES table of B users; two users of one id get the same random draws.
        config: List length, candidates, what is left out.
        constraints: Of the same users; None: there are none.

    Returns:
        Rows by user in the given order, then by rank; at most K a user.
    """

    def lists(users: Ints, scored: Scored) -> Recommended:
        recommended = _lists_of(snapshot, histories["user_id"].take(pa.array(users)), scored, config.top_k)
        return replace(recommended, users=users[recommended.users])

    now = np.full(len(histories), snapshot.now)
    done = scored_blocks(lists, snapshot, histories, config, now, constraints)
    if not done:
        return Recommended(
            lists=RECOMMENDATIONS.empty_table(),
            users=np.zeros(0, dtype=np.int64),
            contributions=np.zeros((0, len(snapshot.columns)), dtype=np.float32),
            log_probabilities=np.zeros(0, dtype=np.float32),
            counts=RerankCounts(),
        )
    return Recommended.together(done)


def _lists_of(snapshot: Snapshot, user_ids: pa.ChunkedArray, scored: Scored, top_k: int) -> Recommended:
    """The lists of a block of users."""
    fused = fuse(snapshot, scored)
    scores = fused.log_probabilities if scored.lifts is None else fused.log_probabilities + scored.lifts
    reranked = snapshot.reranker.rerank(user_ids, scored.items, scores, top_k)
    users, places = np.nonzero(reranked.items >= 0)
    columns = _columns_of(scored.items, reranked.items)
    lifts = fused.contributions(scored, columns)
    explained = explain(snapshot, scored, fused.weights, reranked, lifts)
    source, reason = explained.at(users, places, snapshot.titles)
    counts = replace(reranked.counts, removed=dict(scored.removed))
    lists = as_recommendations(
        user_ids, snapshot.item_ids, reranked.items, reranked.scores, source=source, reason=reason
    )
    return Recommended(
        lists=lists,
        users=users,
        contributions=lifts[users, places],
        log_probabilities=fused.log_probabilities[users, columns[users, places]],
        counts=counts,
    )


def _columns_of(candidates: Ints, items: Ints) -> Ints:
    """[B, K] column of each listed item among the candidates [B, C], which ascend; any column for none."""
    width = candidates.max(initial=0) + 2
    rows = np.arange(len(candidates))[:, None] * width
    flat = (candidates + 1 + rows).ravel()
    places = np.searchsorted(flat, (items + 1 + rows).ravel()).reshape(items.shape)
    columns: Ints = places - np.arange(len(candidates))[:, None] * candidates.shape[1]
    return np.clip(columns, 0, candidates.shape[1] - 1)


def as_recommendations(
    user_ids: pa.ChunkedArray,
    item_ids: pa.Array,
    items: Ints,
    scores: npt.NDArray[np.float32],
    source: str | pa.Array,
    reason: str | pa.Array,
) -> pa.Table:
    """Ranked lists as RECOMMENDATIONS.

    Args:
        user_ids: [B].
        item_ids: [I] sorted, so that a tie that breaks by index breaks by id.
        items: [B, K] catalog indices, best first, −1 where a list is shorter.
        scores: [B, K] float32.
        source: What found the items: one text, or one for each row of the result.
        reason: Why they are shown: one text, or one for each row of the result.
    """
    users, places = np.nonzero(items >= 0)
    return pa.Table.from_arrays(
        [
            user_ids.combine_chunks().take(pa.array(users)),
            pa.array((places + 1).astype(np.int16)),
            item_ids.take(pa.array(items[users, places])),
            pa.array(scores[users, places]),
            *(pa.repeat(text, len(users)) if isinstance(text, str) else text for text in (source, reason)),
            pa.repeat(DEFAULT_VARIANT, len(users)),
        ],
        schema=RECOMMENDATIONS,
    )

"""From histories to ranked lists: the one path that the night and the live service share.

It knows loaded models and Arrow tables, no files, no shards and no Ray. Shapes: B users, C candidates, D dimensions, I
items, K list length, S signals.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from recsys.model.features import HistoryBatch, TextKind, encode_histories, index_catalog
from recsys.model.history_states import HistoryTexts
from recsys.ranking.cold_item_scores import deal_cold_scores
from recsys.ranking.config import RecommendConfig
from recsys.ranking.explanations import EXPLORATION, NAMES, contributions, explain, reasons
from recsys.ranking.fusion import Fusion, weigh
from recsys.ranking.rerank_counts import RerankCounts
from recsys.ranking.snapshot import Snapshot
from recsys.schema import RECOMMENDATIONS
from recsys.signals.candidates import Barred, find_candidates
from recsys.signals.order import Ints
from recsys.signals.retrieve import Excluded, inner_products, retrieve
from recsys.signals.signals import SIGNALS, measure_signals
from recsys.signals.user_profiles import Profiles

#: Users who go through together: few enough that a CPU finds their matrices in its cache, or enough for a GPU.
CPU_USERS, GPU_USERS = 128, 1024
#: Nats that a cosine of 1 between an item's text and what is searched for counts at the moment of the search. Softmaxes
#: over cosines are learned to have such a scale: CLIP starts at 14 and ends at 100 (Radford et al., ICML 2021).
SEARCH_WEIGHT = np.float32(20.0)

_POPULARITY_ALONE = Fusion(weights={"popularity": 1.0}).vector(SIGNALS)
#: What is popular among those who are alike: the log-count, and the ranker's log P of what such a user begins with. The
#: fitted weights are no measure for it; they are those of people with a history, whose other signals stand beside.
_AMONG_ALIKE = Fusion(weights={"popularity": 1.0, "retrieval": 1.0}).vector(SIGNALS)

_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What B users ask for beside their histories; the night's users ask for nothing."""

    barred: npt.NDArray[np.bool_]
    """[B, I] items that a user does not want."""
    also: Ints
    """[B, X] catalog indices that are candidates beside those that are found, −1 for none."""
    searching: npt.NDArray[np.bool_]
    """[B] who asks for something in words at this moment."""
    asked: npt.NDArray[np.float64]
    """[B] microseconds since 1970 of this moment."""

    def rows(self, users: Ints) -> "Wishes":
        """Those of some of the users, in this order."""
        return Wishes(**{part.name: getattr(self, part.name)[users] for part in fields(self)})

    def unwanted(self) -> tuple[Ints, Ints]:
        """(user, item) of all that is barred."""
        users, items = np.nonzero(self.barred)
        return users, items


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Candidates of B users and what speaks for each."""

    items: Ints
    """[B, C] catalog indices, −1 for none."""
    signals: npt.NDArray[np.float32]
    """[B, C, S]."""
    profiles: Profiles
    searching: npt.NDArray[np.bool_]
    """[B] as in `Wishes`."""


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """RECOMMENDATIONS of a batch, and what re-ranking did."""

    lists: pa.Table
    users: Ints
    """[N] for each row of the lists the user's row in the batch."""
    contributions: npt.NDArray[np.float32]
    """[N, S] for each row of the lists, what each signal lifts the item above the user's other candidates, in nats; a
    new one by the weights that tell new ones apart."""
    counts: RerankCounts


def recommend_batch(
    snapshot: Snapshot, histories: pa.Table, config: RecommendConfig, wishes: Wishes | None = None
) -> Recommended:
    """The lists of B users: retrieve → signals → fuse → re-rank → explain.

    The score is log P(item | user), where P is the softmax of Σ weight · signal over the user's candidates, less what a
    dial of the re-ranking takes from it; ties break by item_id.

    Args:
        snapshot: What scores.
        histories: HISTORIES table of B users; an id that two of them share gives them the same draws.
        config: List length, candidates, what is left out.
        wishes: Of the same users; None: they have none.

    Returns:
        Rows by user in the given order, then by rank; at most K a user.
    """
    now, moment = np.full(len(histories), snapshot.now), np.zeros(len(histories), dtype=np.int64)

    def lists(users: Ints, scored: Scored) -> Recommended:
        recommended = _list_of(snapshot, histories["user_id"].take(pa.array(users)), scored, config.top_k)
        return replace(recommended, users=users[recommended.users])

    done = _by_block(lists, snapshot, histories, config, now, moment, wishes)
    if not done:
        return Recommended(
            lists=RECOMMENDATIONS.empty_table(),
            users=np.zeros(0, dtype=np.int64),
            contributions=np.zeros((0, len(SIGNALS)), dtype=np.float32),
            counts=RerankCounts(),
        )
    owners = np.concatenate([part.users for part in done])
    order = np.argsort(owners, kind="stable")
    return Recommended(
        lists=pa.concat_tables(part.lists for part in done).take(pa.array(order)),
        users=owners[order],
        contributions=np.concatenate([part.contributions for part in done])[order],
        counts=RerankCounts.sum(part.counts for part in done),
    )


def scored_blocks(
    snapshot: Snapshot,
    histories: pa.Table,
    config: RecommendConfig,
    now: npt.NDArray[np.float64],
    moment: Ints,
    wishes: Wishes | None = None,
) -> list[tuple[Ints, Scored]]:
    """(rows of the users, their candidates with signals) of all users, some at a time.

    Args:
        snapshot: What scores.
        histories: HISTORIES table of B users.
        config: Candidates, what is left out.
        now: [B] microseconds since 1970 from which each user's recency is measured.
        moment: [B] row of the popularity that holds for the user.
        wishes: Of the same users; None: they have none.
    """
    return _by_block(lambda users, scored: (users, scored), snapshot, histories, config, now, moment, wishes)


def _by_block(
    work: Callable[[Ints, Scored], _Result],
    snapshot: Snapshot,
    histories: pa.Table,
    config: RecommendConfig,
    now: npt.NDArray[np.float64],
    moment: Ints,
    wishes: Wishes | None,
) -> list[_Result]:
    """What comes of each block of users: their rows, and their candidates with signals.

    Each of the worker's CPUs takes an equal share of the users from the first step to the last, since what one would
    do for all the others wait for. Those of a share with histories of alike length go together, so that hardly any
    padding is read.
    """
    texts = snapshot.texts.texts if snapshot.ranker.spec.user_texts else None
    size = CPU_USERS if snapshot.item_vectors.device.type == "cpu" else GPU_USERS

    def share(those: range) -> list[_Result]:
        part, rows = histories.slice(those.start, len(those)), slice(those.start, those.stop)
        batch = encode_histories(part, snapshot.item_ids, snapshot.event_kinds, snapshot.max_length, texts)
        again = not config.exclude_seen
        asked = None if wishes is None else wishes.asked[rows]
        profiles = Profiles.build(part, snapshot.item_ids, now[rows], again, snapshot.texts, batch.lengths > 0, asked)
        order = np.argsort(batch.lengths, kind="stable")
        seen = _Seen(part, snapshot.item_ids, order) if config.exclude_seen else None

        def block(start: int) -> _Result:
            own = order[start : start + size]
            users = those.start + own
            wish = None if wishes is None else wishes.rows(users)
            had = [] if seen is None else [seen.within(start, len(users))]
            with torch.inference_mode():
                scored = _score(snapshot, batch.rows(own), profiles.rows(own), had, config, moment[users], wish)
            return work(users, scored)

        return [block(start) for start in range(0, len(part), size)]

    num_shares = 1 if config.use_gpu else config.cpus_per_worker
    each = max(1, -(-len(histories) // num_shares))
    shares = [range(start, min(start + each, len(histories))) for start in range(0, len(histories), each)]
    if len(shares) <= 1:
        return [done for part in shares for done in share(part)]
    with ThreadPoolExecutor(len(shares)) as threads:
        return [done for part in threads.map(share, shares) for done in part]


class _Seen:
    """What users saw, in the order in which they go through."""

    def __init__(self, histories: pa.Table, item_ids: pa.Array, order: Ints):
        users, items = seen_pairs(histories, item_ids)
        places = np.argsort(order)[users]
        by_place = np.argsort(places, kind="stable")
        self.places, self.items = places[by_place], items[by_place]

    def within(self, start: int, num: int) -> tuple[Ints, Ints]:
        """(user, item) of the `num` users from place `start`, numbered from there."""
        low, high = np.searchsorted(self.places, [start, start + num])
        return self.places[low:high] - start, self.items[low:high]


def _score(
    snapshot: Snapshot,
    batch: HistoryBatch,
    profiles: Profiles,
    seen: Sequence[tuple[Ints, Ints]],
    config: RecommendConfig,
    moment: Ints,
    wishes: Wishes | None,
) -> Scored:
    """Candidates of a few users, and their signals."""
    vectors = snapshot.item_vectors
    ranker, device = snapshot.ranker, vectors.device
    longest = max(int(batch.lengths.max(initial=0)), 1)
    items, gaps, events = (
        torch.from_numpy(grid[:, :longest]).to(device) for grid in (batch.items, batch.gaps, batch.events)
    )
    tokens = ranker.history_tokens(snapshot.read_vectors, items, gaps, events, _texts_of(snapshot, batch, longest))
    lengths = torch.from_numpy(batch.lengths).to(device)
    history = ranker.read(tokens, lengths) if snapshot.isolated else None
    users = ranker.last_states(tokens, lengths, snapshot.decode) if history is None else history.users
    users = users.float()
    barred = Barred.of([*seen, *(() if wishes is None else (wishes.unwanted(),))], len(users))
    barred_users, barred_items = barred.pairs()
    excluded = Excluded.of(barred_users, snapshot.place[barred_items])
    retrieved = retrieve(users, snapshot.index, excluded, config.candidates)
    found = np.where(
        torch.isfinite(retrieved.logits).cpu().numpy(), snapshot.retrievable[retrieved.items.cpu().numpy()], -1
    )
    also = None if wishes is None else wishes.also
    candidates = find_candidates(found, profiles, snapshot.beside, moment, barred, also)
    chosen = torch.from_numpy(candidates.items).to(device)
    logits = inner_products(users, vectors, chosen.clamp(min=0))
    isolated = None
    if history is not None:
        padded = chosen.masked_fill(chosen < 0, len(vectors))
        isolated = _of_candidates(ranker.score_candidates(vectors, history, padded) - logits, chosen)
    retrieval = _of_candidates(logits, chosen)
    signals = measure_signals(candidates, retrieval, isolated, profiles, snapshot.beside, moment)
    searching = np.zeros(len(chosen), dtype=bool) if wishes is None else wishes.searching
    return Scored(items=candidates.items, signals=signals, profiles=profiles, searching=searching)


def _texts_of(snapshot: Snapshot, batch: HistoryBatch, longest: int) -> HistoryTexts | None:
    """The texts of a few users; None where none of them has any."""
    kinds = batch.text_kinds[:, :longest]
    if not (kinds > TextKind.NONE).any():
        return None
    device = snapshot.item_vectors.device
    used, rows = np.unique(batch.texts[:, :longest], return_inverse=True)
    return HistoryTexts(
        rows=torch.from_numpy(rows.reshape(kinds.shape)).to(device),
        kinds=torch.from_numpy(kinds).to(device),
        vectors=torch.from_numpy(snapshot.texts.vectors[used]).to(device),
    )


def _of_candidates(values: Tensor, candidates: Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(values.masked_fill(candidates < 0, 0).cpu().numpy())


@dataclass(frozen=True, kw_only=True)
class Fused:
    """What the signals of a block's candidates make together."""

    scores: npt.NDArray[np.float32]
    """[B, C] log P(item | user), where a user's new items have changed theirs among each other by their merit."""
    weights: npt.NDArray[np.float32]
    """[B, S] of `user_weights`."""
    among_new: npt.NDArray[np.float32]
    """[B, S] of `weights_among_new`."""


def fuse(snapshot: Snapshot, scored: Scored) -> Fused:
    """The scores that re-ranking starts from."""
    weights = user_weights(scored, snapshot.fusion)
    among_new = weights_among_new(scored, snapshot.fusion, weights)
    scores = fused_scores(scored, weights)
    if snapshot.fusion.new is not None:
        new = snapshot.beside.are_new(scored.items)
        merits = np.einsum("ns,ns->n", scored.signals[new], among_new[np.nonzero(new)[0]])
        scores = deal_cold_scores(scores, new, merits)
    return Fused(scores=scores, weights=weights, among_new=among_new)


def user_weights(scored: Scored, fusion: Fusion) -> npt.NDArray[np.float32]:
    """[B, S] weights of the signals for each user.

    They hang on the number of items, and on whether the user is in the midst of a visit. Where nothing is known of a
    user but popularity speaks, and P is the share of what everybody takes; where it is known what they are, of what
    those alike take. Who searches means it: the weights are those of what people took without being asked, so the text
    counts more for who asks.
    """
    profiles, searching = scored.profiles, scored.searching
    lengths = profiles.whole.lengths
    weights = fusion.of_users(SIGNALS, lengths, profiles.visiting)
    weights[~profiles.known] = _POPULARITY_ALONE
    weights[profiles.only_described] = _AMONG_ALIKE
    weights[searching, SIGNALS.index("text")] += (SEARCH_WEIGHT / fusion.warmth(lengths, profiles.visiting))[searching]
    return weights


def weights_among_new(scored: Scored, fusion: Fusion, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[B, S] weights by which a user's new items are told apart, from those [B, S] of `user_weights`.

    Of whom nothing or only what they are is known, they are the same, as those never were fitted.
    """
    profiles = scored.profiles
    added = fusion.among_new(SIGNALS, profiles.whole.lengths, profiles.visiting)
    added[~profiles.known | profiles.only_described] = 0
    return weights + added


def fused_scores(scored: Scored, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[B, C] log P(item | user): log-softmax of Σ weight · signal over a user's candidates, −inf for none.

    Args:
        scored: Candidates of B users.
        weights: [B, S] of `user_weights`.
    """
    logits = weigh(scored.signals, scored.items >= 0, weights).astype(np.float64)
    peak = np.max(logits, axis=1, keepdims=True, initial=-np.inf)
    peak = np.where(np.isfinite(peak), peak, 0)
    total = np.maximum(np.exp(logits - peak).sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.asarray(logits - peak - np.log(total), dtype=np.float32)


def _list_of(snapshot: Snapshot, user_ids: pa.ChunkedArray, scored: Scored, top_k: int) -> Recommended:
    """The lists of a block of users."""
    fused = fuse(snapshot, scored)
    reranked = snapshot.reranker.rerank(user_ids, scored.items, fused.scores, top_k)
    users, places = np.nonzero(reranked.items >= 0)
    is_new = snapshot.beside.are_new(reranked.items)[:, :, None]
    columns = _columns_of(scored.items, reranked.items)
    by = np.where(is_new, fused.among_new[:, None], fused.weights[:, None])
    lifts = contributions(scored.signals, scored.items >= 0, columns, by)
    explained = explain(lifts, reranked.items, fused.weights, scored.profiles, snapshot.beside)
    explained.sources[reranked.explored] = NAMES.index(EXPLORATION)
    explained.because[reranked.explored] = -1
    source, reason = reasons(explained, snapshot.titles, users, places)
    lists = as_recommendations(
        user_ids, snapshot.item_ids, reranked.items, reranked.scores, source=source, reason=reason
    )
    return Recommended(lists=lists, users=users, contributions=lifts[users, places], counts=reranked.counts)


def _columns_of(candidates: Ints, items: Ints) -> Ints:
    """[B, K] column of each listed item among the candidates [B, C], which ascend; any column for none."""
    width = candidates.max(initial=0) + 2
    rows = np.arange(len(candidates))[:, None] * width
    flat = (candidates + 1 + rows).ravel()
    places = np.searchsorted(flat, (items + 1 + rows).ravel()).reshape(items.shape)
    columns: Ints = places - np.arange(len(candidates))[:, None] * candidates.shape[1]
    return np.clip(columns, 0, candidates.shape[1] - 1)


def seen_pairs(histories: pa.Table, item_ids: pa.Array) -> tuple[Ints, Ints]:
    """Every (user, item) of ``seen_item_ids``, as rows of the batch and of the catalog; unknown items are left out.

    Args:
        histories: HISTORIES table of B users.
        item_ids: [I] sorted ids of the catalog.
    """
    lists = histories["seen_item_ids"].combine_chunks()
    users = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    items = index_catalog(lists.flatten(), item_ids)
    return users[items >= 0], items[items >= 0]


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
        reason: Why they are shown, alike.
    """
    users, places = np.nonzero(items >= 0)
    return pa.Table.from_arrays(
        [
            user_ids.combine_chunks().take(pa.array(users)),
            pa.array((places + 1).astype(np.int16)),
            item_ids.take(pa.array(items[users, places])),
            pa.array(scores[users, places]),
            *(pa.repeat(text, len(users)) if isinstance(text, str) else text for text in (source, reason)),
            pa.repeat("default", len(users)),
        ],
        schema=RECOMMENDATIONS,
    )

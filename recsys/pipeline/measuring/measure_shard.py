"""Measuring one shard of the holdout: the work of one worker of an evaluation.

Shapes: U users of the shard, K length of the lists, I items.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.item_counts import head_items
from recsys.evaluation.item_facts import ItemFacts
from recsys.evaluation.measure import exposure, measure_lists
from recsys.evaluation.metrics.average_popularity import AveragePopularity
from recsys.evaluation.metrics.longtail_share import LongtailShare
from recsys.evaluation.metrics.metric import Ints
from recsys.evaluation.packed_counts import pack_counts
from recsys.evaluation.slices import COLD_USERS, Relevant, cut_slices
from recsys.model.features import index_items
from recsys.pipeline.inputs.item_rules import recommendable
from recsys.pipeline.measuring.held_out_shard import HeldOutShard
from recsys.pipeline.run import Record, Run
from recsys.pipeline.scoring.count_item_users import read_item_users
from recsys.pipeline.scoring.load_snapshot import load_snapshot
from recsys.pipeline.stored.item_ids import read_item_ids
from recsys.pipeline.stored.stored_item_counts import read_item_counts, read_popularity
from recsys.pipeline.stored.stored_vectors import read_text_vectors
from recsys.ranking.config import RecommendConfig
from recsys.ranking.fused_scores import fuse
from recsys.ranking.lists import recommend_batch
from recsys.ranking.popular_lists import popular_batch
from recsys.ranking.scoring import Scored, scored_blocks
from recsys.ranking.snapshot import Snapshot
from recsys.storage.tables import read_table

POPULARITY = "popularity"
#: The metric of slices.
SLICE_METRIC = "ndcg@10"
BATCH_USERS = 512

#: Values of the long-tail boost at which lists are measured.
TAILS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5)

#: What is measured: the metrics alone; also slices; also properties of the lists and the long-tail boost.
Depth = Literal["metrics", "slices", "lists"]

#: HISTORIES in, RECOMMENDATIONS out.
_Rank = Callable[[pa.Table], pa.Table]


def list_length(run: Run, metrics: Sequence[str]) -> int:
    """K of the lists to measure: that of the night, since re-ranking depends on it, or more if a metric needs more."""
    return max(run.config.recommend.top_k, *(int(metric.partition("@")[2]) for metric in metrics))


def shard_measurer(
    run: Run,
    models: tuple[str, ...],
    metrics: tuple[str, ...],
    share: float,
    max_cold_users: int,
    depth: Depth = "metrics",
    num_train_users: int = 0,
) -> Callable[[str], Record]:
    """Load what all shards share; returns the function that measures one shard.

    Its record holds the values of each user and each ranker; with `slices`, also those of the slices; with `lists`,
    also properties of the lists, how often each item is in a list, and the same for the first model's lists at other
    values of the long-tail boost. The record grows with U or I, not with U × K.

    Args:
        run: Its protocol says what is held out.
        models: Ids of models that saw nothing of the holdout.
        metrics: Names like `ndcg@10`.
        share: Share of the users that is measured, chosen by hash.
        max_cold_users: About how many cold users of a shard are measured at most.
        depth: What is measured.
        num_train_users: The answer of `count_item_users`, for the depth `lists`.
    """
    k = list_length(run, metrics if depth == "metrics" else [*metrics, SLICE_METRIC])
    config = run.config.recommend
    config = config.model_copy(update={"top_k": k, "candidates": max(config.candidates, k)})
    item_ids = read_item_ids(run)
    snapshots = {model: load_snapshot(run, model, config, "test") for model in models}
    rankers = _rankers(run, snapshots, config)
    known = None if depth == "metrics" else read_item_counts(run, "train", item_ids)
    facts = None if known is None or depth != "lists" else _load_facts(run, item_ids, known, num_train_users)

    def measure_shard(shard: str) -> Record:
        held_out = HeldOutShard.read(run, shard, share)
        histories = held_out.histories()
        relevant = _relevant(held_out.wanted, item_ids)
        lists = {name: _rank_all(rank, histories, item_ids, k) for name, rank in rankers.items()}
        values = {name: relevant.measure(lists[name], metrics) for name in lists}
        record: Record = {"users": len(histories), "values": values}
        if known is not None:
            slices = cut_slices(relevant, held_out.num_events(), head_items(known), known == 0)
            cold = held_out.wanted_by_cold_users(max_cold_users)
            cold_relevant, nothing = _relevant(cold, item_ids), held_out.cold_histories(cold)
            cold_lists = {name: _rank_all(rank, nothing, item_ids, k) for name, rank in rankers.items()}
            record["slices"] = {
                name: {part: wanted.measure(lists[name], [SLICE_METRIC]) for part, wanted in slices.items()}
                | {COLD_USERS: cold_relevant.measure(cold_lists[name], [SLICE_METRIC])}
                for name in lists
            }
        if facts is not None:
            record["values"] = {name: values[name] | measure_lists(lists[name], facts) for name in lists}
            record["exposure"] = {name: pack_counts(exposure(lists[name], len(item_ids))) for name in lists}
            record["frontier"] = {
                f"{tail:g}": _measure_tail(found, relevant, relevant.among(~facts.head), facts)
                for tail, found in _lists_by_tail(snapshots[models[0]], histories, config).items()
            }
        plain: Record = _plain(record)
        return plain

    return measure_shard


def _measure_tail(
    lists: npt.NDArray[np.int64], relevant: Relevant, longtail: Relevant, facts: ItemFacts
) -> dict[str, Any]:
    """What lists [U, K] at one value of the long-tail boost are like."""
    return {
        "all": relevant.measure(lists, [SLICE_METRIC]),
        "tail": longtail.measure(lists, [SLICE_METRIC]),
        "longtail_share": LongtailShare().values(lists, facts),
        "average_popularity": AveragePopularity().values(lists, facts),
        "exposure": pack_counts(exposure(lists, len(facts.num_interactions))),
    }


def _rankers(run: Run, snapshots: Mapping[str, Snapshot], config: RecommendConfig) -> dict[str, _Rank]:
    catalog = read_table(run.storage, run.catalog_path, ["item_id", "available", "attributes"])
    available_ids = catalog["item_id"].combine_chunks().filter(pa.array(recommendable(run, catalog).mask))
    popularity = read_popularity(run, "test")
    rankers: dict[str, _Rank] = {model: partial(_lists, snapshot, config) for model, snapshot in snapshots.items()}
    rankers[POPULARITY] = lambda histories: popular_batch(popularity, available_ids, histories, config)
    return rankers


def _lists(snapshot: Snapshot, config: RecommendConfig, histories: pa.Table) -> pa.Table:
    return recommend_batch(snapshot, histories, config).lists


def _lists_by_tail(
    snapshot: Snapshot, histories: pa.Table, config: RecommendConfig
) -> dict[float, npt.NDArray[np.int64]]:
    """Lists [U, K] at each value of the long-tail boost; all other settings stay."""
    rerankers = {tail: snapshot.reranker.with_setting("long_tail_boost", tail) for tail in TAILS}
    lists = {tail: np.full((len(histories), config.top_k), -1, dtype=np.int64) for tail in TAILS}
    for start in range(0, len(histories), BATCH_USERS):
        batch = histories.slice(start, BATCH_USERS)

        def rerank(users: Ints, scored: Scored, start: int = start, batch: pa.Table = batch) -> None:
            user_ids = batch["user_id"].take(pa.array(users))
            scores = fuse(snapshot, scored).log_probabilities
            for tail, reranker in rerankers.items():
                lists[tail][start + users] = reranker.rerank(user_ids, scored.items, scores, config.top_k).items

        scored_blocks(rerank, snapshot, batch, config, np.full(len(batch), snapshot.now))
    return lists


def _load_facts(
    run: Run, item_ids: pa.Array, num_interactions: npt.NDArray[np.int64], num_train_users: int
) -> ItemFacts:
    return ItemFacts(
        num_interactions=num_interactions,
        num_users=read_item_users(run, item_ids),
        total_users=num_train_users,
        vectors=read_text_vectors(run, run.encoder_id)[1],
    )


def _relevant(wanted: pa.Table, item_ids: pa.Array) -> Relevant:
    """TARGETS by row of the lists, with indices of the catalog."""
    lists = wanted["item_ids"].combine_chunks()
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    return Relevant.of_all(lengths, index_items(lists.flatten(), item_ids))


def _rank_all(rank: _Rank, histories: pa.Table, item_ids: pa.Array, k: int) -> npt.NDArray[np.int64]:
    """Lists of all users as item indices [U, K], −1 where a list is shorter."""
    recommended = np.full((len(histories), k), -1, dtype=np.int64)
    for start in range(0, len(histories), BATCH_USERS):
        batch = histories.slice(start, BATCH_USERS)
        lists = rank(batch)
        users = start + index_items(lists["user_id"], batch["user_id"].combine_chunks())
        recommended[users, lists["rank"].to_numpy() - 1] = index_items(lists["item_id"], item_ids)
    return recommended


def _plain(value: Any) -> Any:
    """The value for JSON: arrays become lists, in nested dicts too."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value

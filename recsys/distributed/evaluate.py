"""Measuring models on the holdout, over the shards, and the gate; the metrics themselves are in `recsys.evaluation`."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys.data.histories import build_histories
from recsys.data.popularity import recent_popularity
from recsys.data.splits import targets, validation_users
from recsys.distributed.cluster import for_each_part, peak_of
from recsys.distributed.night import CountsOf, Night, Record
from recsys.distributed.published import published_model
from recsys.distributed.score import load_snapshot
from recsys.evaluation.gate import judge
from recsys.evaluation.metrics import Floats, measure
from recsys.model.features import index_items
from recsys.recommend.pipeline import recommend_batch
from recsys.recommend.popular import popular_batch
from recsys.storage.tables import read_table

logger = logging.getLogger(__name__)

POPULARITY = "popularity"
_POPULARITY_COUNTS: tuple[CountsOf, CountsOf] = ("week", "all")
BATCH_USERS = 512


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What lists were worth, user by user."""

    values: dict[str, dict[str, Floats]]
    """Ranker or `popularity` → metric → [U]."""
    coverage: dict[str, float]
    """Share of the catalog that stands in any list."""
    num_users: int
    peak_memory_mb: float


def measure_holdout(night: Night, models: Sequence[str], metrics: Sequence[str], max_users: int) -> Measured:
    """Rank the full catalog for the users of the holdout, by each model and by popularity.

    Args:
        night: Its protocol says what is held out.
        models: Ids of models that saw nothing of the holdout.
        metrics: Names like `ndcg@10`.
        max_users: Users measured at most, chosen by hash.
    """
    recommend = night.config.recommend
    num_users = night.record("histories")["users"]
    records = for_each_part(
        night.record("histories")["shards"],
        partial(_measurer, night, tuple(models), tuple(metrics), min(1.0, max_users / max(num_users, 1))),
        label="measure",
        num_workers=recommend.num_workers,
        cpus_per_worker=recommend.cpus_per_worker,
        gpus_per_worker=int(recommend.use_gpu),
    )
    rankers = [*models, POPULARITY]
    num_items = night.record("catalog")["items"]
    return Measured(
        values={
            ranker: {
                metric: np.array(
                    [value for record in records for value in record["values"][ranker][metric]], np.float64
                )
                for metric in metrics
            }
            for ranker in rankers
        },
        coverage={
            ranker: len({item for record in records for item in record["items"][ranker]}) / num_items
            for ranker in rankers
        },
        num_users=sum(record["users"] for record in records),
        peak_memory_mb=peak_of(records),
    )


def _measurer(night: Night, models: tuple[str, ...], metrics: tuple[str, ...], share: float) -> Callable[[str], Record]:
    k = max(int(metric.partition("@")[2]) for metric in metrics)
    config = night.config.recommend
    config = config.model_copy(update={"top_k": k, "candidates": max(config.candidates, k)})
    snapshots = {model: load_snapshot(night, model, config, "week") for model in models}
    catalog = read_table(night.storage, night.catalog_path, ["item_id", "available"])
    item_ids = catalog["item_id"].combine_chunks()
    available_ids = catalog.filter(catalog["available"])["item_id"].combine_chunks()
    week, ever = (read_table(night.storage, night.item_counts_path(kind)) for kind in _POPULARITY_COUNTS)
    popularity = recent_popularity(week, ever)
    rankers: dict[str, Callable[[pa.Table], pa.Table]] = {
        model: partial(recommend_batch, snapshot, config=config) for model, snapshot in snapshots.items()
    }
    rankers[POPULARITY] = lambda histories: popular_batch(popularity, available_ids, histories, k, config.exclude_seen)

    def measure_shard(shard: str) -> Record:
        interactions = read_table(night.storage, f"{night.interactions_dir}/{shard}.parquet")
        interactions = interactions.filter(
            pa.array(validation_users(interactions["user_id"], share, night.config.seed))
        )
        split = night.split(interactions)
        wanted = targets(split.holdout, split.train, config.exclude_seen)
        past = split.train.filter(pc.is_in(split.train["user_id"], value_set=wanted["user_id"].combine_chunks()))
        histories = build_histories(past, night.config.histories.max_length)
        assert histories["user_id"].equals(wanted["user_id"]), "histories and targets are of other users"
        lists = wanted["item_ids"].combine_chunks()
        indptr = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))])
        relevant = index_items(lists.flatten(), item_ids)
        record: Record = {"users": len(histories), "values": {}, "items": {}}
        for name, rank in rankers.items():
            recommended = _rank_all(rank, histories, item_ids, k)
            measured = measure(recommended, indptr, relevant, metrics)
            record["values"][name] = {metric: values.tolist() for metric, values in measured.items()}
            record["items"][name] = np.unique(recommended[recommended >= 0]).tolist()
        return record

    return measure_shard


def _rank_all(
    rank: Callable[[pa.Table], pa.Table], histories: pa.Table, item_ids: pa.Array, k: int
) -> npt.NDArray[np.int64]:
    """Lists of all users as item indices [U, K], −1 where a list is shorter."""
    recommended = np.full((len(histories), k), -1, dtype=np.int64)
    for start in range(0, len(histories), BATCH_USERS):
        batch = histories.slice(start, BATCH_USERS)
        lists = rank(batch)
        users = start + index_items(lists["user_id"], batch["user_id"].combine_chunks())
        recommended[users, lists["rank"].to_numpy() - 1] = index_items(lists["item_id"], item_ids)
    return recommended


def examine(night: Night) -> Record:
    """The gate: the new model beside popularity and the published model, on the held-out days."""
    gate = night.config.gate
    rival = published_model(night)
    models = [night.model_id, *([rival] if rival else [])]
    measured = measure_holdout(night, models, [gate.metric], gate.max_users)
    values = {name: by_metric[gate.metric] for name, by_metric in measured.values.items()}
    verdict = judge(
        gate.metric,
        values[night.model_id],
        values[POPULARITY],
        values[rival] if rival else None,
        gate.min_users,
        night.config.seed,
    )
    for warning in verdict.warnings:
        logger.warning("gate: %s", warning)
    return {
        "rows": measured.num_users,
        "verdict": "passed" if verdict.passed else "refused",
        "reason": verdict.reason,
        "compared_with": rival or "none",
        "details": verdict.as_dict(),
        "peak_memory_mb": measured.peak_memory_mb,
    }

"""Measuring rankers on the held-out events: the shards are measured by the workers, and put together here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add, getitem
from typing import Any

import numpy as np

from recsys.evaluation.measure import measure_catalog
from recsys.evaluation.metrics.coverage import Coverage
from recsys.evaluation.metrics.metric import Floats, Ints
from recsys.evaluation.packed_counts import unpack_counts
from recsys.evaluation.slices import LONGTAIL_ITEMS, SLICES
from recsys.pipeline.measuring.measure_shard import POPULARITY, SLICE_METRIC, TAILS, Depth, list_length, shard_measurer
from recsys.pipeline.run import Record, Run
from recsys.pipeline.scoring.count_item_users import count_item_users
from recsys.pipeline.stages import SHUFFLE_HISTORIES
from recsys.pipeline.workers.cluster import for_each_part, peak_of


@dataclass(frozen=True, kw_only=True)
class MeasuredHoldout:
    """Metrics of the lists for each user and each ranker: a model, or `popularity`."""

    values: dict[str, dict[str, Floats]]
    """Ranker → metric → [U]; with the depth `lists`, also properties of a list, such as its long-tail share."""
    slices: dict[str, dict[str, Floats]]
    """Slice → ranker → `SLICE_METRIC` of its users; not with the depth `metrics`."""
    catalog: dict[str, dict[str, float]]
    """Ranker → metrics of all lists together, such as coverage; with the depth `lists` only."""
    frontier: dict[float, dict[str, float]]
    """Value of the long-tail boost → means over the first model's lists with it; with the depth `lists` only."""
    num_users: int
    peak_memory_mb: float


def measure_holdout(
    run: Run, models: Sequence[str], metrics: Sequence[str], max_users: int, depth: Depth = "metrics"
) -> MeasuredHoldout:
    """Rank the full catalog for the users of the holdout, by each model and by popularity.

    Args:
        run: Its protocol says what is held out.
        models: Ids of models that saw nothing of the holdout.
        metrics: Names like `ndcg@10`.
        max_users: About how many users with held-out events are measured at most, and about how many cold users; they
            are chosen by hash.
        depth: What is measured; cold users are a slice.
    """
    recommend = run.config.recommend
    share = min(1.0, max_users / max(run.record(SHUFFLE_HISTORIES).held_out_users, 1))
    num_train_users = count_item_users(run) if depth == "lists" else 0
    shards = run.record(SHUFFLE_HISTORIES).shards
    max_cold_users = -(-max_users // len(shards))
    records = for_each_part(
        shards,
        partial(shard_measurer, run, tuple(models), tuple(metrics), share, max_cold_users, depth, num_train_users),
        label="measure",
        rows=run.record(SHUFFLE_HISTORIES).rows,
        num_workers=recommend.num_workers,
        cpus_per_worker=recommend.cpus_per_worker,
        gpus_per_worker=int(recommend.use_gpu),
    )
    rankers = [*models, POPULARITY]
    measured = MeasuredHoldout(
        values={
            ranker: {metric: _gather(records, "values", ranker, metric) for metric in records[0]["values"][ranker]}
            for ranker in rankers
        },
        slices={
            part: {ranker: _gather(records, "slices", ranker, part, SLICE_METRIC) for ranker in rankers}
            for part in SLICES
            if depth != "metrics"
        },
        catalog={},
        frontier={},
        num_users=sum(record["users"] for record in records),
        peak_memory_mb=peak_of(records),
    )
    if depth != "lists":
        return measured
    k = list_length(run, [*metrics, SLICE_METRIC])
    return replace(
        measured,
        catalog={ranker: measure_catalog(_exposure_of(records, "exposure", ranker), k) for ranker in rankers},
        frontier={tail: _frontier_at(records, f"{tail:g}", k) for tail in TAILS},
    )


def _frontier_at(records: Sequence[Record], tail: str, k: int) -> dict[str, float]:
    """Means over the users at one value of the long-tail boost."""
    values = {
        SLICE_METRIC: _gather(records, "frontier", tail, "all", SLICE_METRIC),
        f"{SLICE_METRIC} of {LONGTAIL_ITEMS}": _gather(records, "frontier", tail, "tail", SLICE_METRIC),
        f"longtail_share@{k}": _gather(records, "frontier", tail, "longtail_share"),
        f"average_popularity@{k}": _gather(records, "frontier", tail, "average_popularity"),
    }
    shown = _exposure_of(records, "frontier", tail, "exposure")
    means = {name: float(value.mean()) if len(value) else 0.0 for name, value in values.items()}
    return means | {f"coverage@{k}": Coverage().value(shown)}


def _gather(records: Sequence[Record], *keys: str) -> Floats:
    """Per-user values of all shards, in their order."""
    return np.array([value for record in records for value in reduce(getitem, keys, record)], np.float64)


def _exposure_of(records: Sequence[Record], *keys: str) -> Ints:
    """In how many lists each item stands [I], over all shards."""
    packed: list[Any] = [reduce(getitem, keys, record) for record in records]
    return reduce(add, map(unpack_counts, packed))

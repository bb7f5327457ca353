"""Windows of histories, cut by Ray Data for a training; the cutting itself is in `recsys.training.examples`."""

import datetime as dt
from functools import partial
from typing import Literal

import pyarrow as pa
import ray.data

from recsys.distributed.night import Night
from recsys.storage.tables import read_table
from recsys.training.examples import (
    build_windows,
    only_since,
    target_weights,
    windows_schema,
    with_first_target,
    with_weight,
)

#: Windows to learn from; those with a target of the newest days, where only these count; one window for each validation
#: user, whose last moment was kept from training; and, with nothing held out, the newest targets or everything.
Kind = Literal["train", "recent", "validation", "newest", "everything"]


def windows_of(night: Night, kind: Kind) -> ray.data.Dataset:
    """Windows, built once and kept in the object store (which spills to disk)."""
    shards = night.record("histories")["shards"]
    parts = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    cut = partial(_windows_of_shards, night, kind)
    built: ray.data.Dataset = parts.map_batches(cut, batch_size=1, batch_format="pyarrow").materialize()
    return built


def _windows_of_shards(night: Night, kind: Kind, batch: pa.Table) -> pa.Table:
    """Cut the interactions before the cutoff into windows; the validation users' last moment is kept from training."""
    length, train = night.config.histories.max_length, night.config.train
    item_ids = read_table(night.storage, night.catalog_path, ["item_id"])["item_id"].combine_chunks()
    kinds = pa.array(night.record("ingest")["kinds"], pa.string())
    tables = [windows_schema(length).empty_table()]
    for shard in batch["shard"].to_pylist():
        interactions = read_table(night.storage, f"{night.interactions_dir}/{shard}.parquet")
        learned, kept = night.validation_split(interactions)
        if kind == "validation":
            events = with_first_target(learned, kept)
            tables.append(build_windows(events, item_ids, kinds, length, length + 1))  # one window a user
            continue
        everything = kind in ("newest", "everything")
        events, until = (interactions, night.end) if everything else (learned, night.cutoff)
        weights = target_weights(events, train, until)
        if kind in ("recent", "newest"):
            weights = only_since(weights, events, until - dt.timedelta(days=train.recent_days))
        windows = build_windows(events, item_ids, kinds, length, train.max_events_per_user, weights)
        tables.append(with_weight(windows))
    return pa.concat_tables(tables)

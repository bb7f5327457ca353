"""Windows of histories, cut by Ray Data for a training; the cutting itself is in `recsys.training.examples`."""

import datetime as dt
from functools import partial
from typing import Literal

import pyarrow as pa
import ray.data

from recsys.pipeline.run import Run
from recsys.pipeline.stages import INGEST_EVENTS, SHUFFLE_HISTORIES
from recsys.pipeline.user_texts import ShardTexts, read_user_texts
from recsys.schema import PROFILES
from recsys.storage.tables import read_table
from recsys.training.examples import (
    WindowTexts,
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


def windows_of(run: Run, kind: Kind) -> ray.data.Dataset:
    """Windows, built once and kept in the object store (which spills to disk)."""
    shards = run.record(SHUFFLE_HISTORIES).shards
    parts = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    cut = partial(_windows_of_shards, run, kind)
    built: ray.data.Dataset = parts.map_batches(cut, batch_size=1, batch_format="pyarrow").materialize()
    return built


def _windows_of_shards(run: Run, kind: Kind, batch: pa.Table) -> pa.Table:
    """Cut the interactions before the cutoff into windows; the validation users' last moment is kept from training.

    Of searches, those are read that an interaction of the window follows.
    """
    length, train = run.config.histories.max_length, run.config.train
    item_ids = read_table(run.storage, run.catalog_path, ["item_id"])["item_id"].combine_chunks()
    kinds = pa.array(run.record(INGEST_EVENTS).kinds, pa.string())
    known = None
    if run.config.inputs.has_user_texts:
        known = read_user_texts(run)["text"].combine_chunks()
    tables = [windows_schema(length, known is not None).empty_table()]
    for shard in batch["shard"].to_pylist():
        interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
        learned, kept = run.validation_split(interactions)
        said = ShardTexts.read(run, shard)
        profiles = PROFILES.empty_table() if said.profiles is None else said.profiles
        texts = None if known is None else WindowTexts(texts=known, profiles=profiles)
        if kind == "validation":
            events = said.windowed(with_first_target(learned, kept))
            # one window a user
            tables.append(build_windows(events, item_ids, kinds, length, length + 1, texts=texts))
            continue
        everything = kind in ("newest", "everything")
        events, until = (interactions, run.end) if everything else (learned, run.cutoff)
        events = said.windowed(events)
        weights = target_weights(events, train, until)
        if kind in ("recent", "newest"):
            weights = only_since(weights, events, until - dt.timedelta(days=train.recent_days))
        windows = build_windows(events, item_ids, kinds, length, train.max_events_per_user, weights, texts)
        tables.append(with_weight(windows))
    return pa.concat_tables(tables)

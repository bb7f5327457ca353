"""The training windows of a run, cut in parallel; the cutting itself is in `recsys.training.examples`."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray
import ray.data

from recsys.data.splits import unlearned
from recsys.pipeline.run import Run
from recsys.pipeline.stages import FINETUNE, INGEST_EVENTS, SHUFFLE_HISTORIES
from recsys.pipeline.stored.item_ids import read_item_ids
from recsys.pipeline.stored.shard_tables import read_interactions
from recsys.pipeline.stored.user_context import UserContext
from recsys.pipeline.stored.user_texts import read_until, read_user_texts
from recsys.pipeline.workers.cluster import workers_for
from recsys.schema import PROFILES
from recsys.training.examples import (
    FloatArray,
    WindowTexts,
    build_windows,
    only_after,
    only_since,
    target_weights,
    with_first_target,
    with_replay,
    with_weight,
)
from recsys.training.phases import num_replayed

#: `train`: everything that training sees; `train_recent`: the same windows, but only targets of the last days have a
#: weight; `validation`: one window for each validation user, whose last basket was kept out of training; `full` and
#: `full_recent`: the same with the held-out days, for the refit; `train_new` and `full_new`: targets that the continued
#: model did not learn from, and replayed windows.
Kind = Literal["train", "train_recent", "train_new", "validation", "full", "full_recent", "full_new"]
#: Windows that a training worker shuffles at a time, and that it keeps in memory.
SHUFFLE_WINDOWS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """All windows of one kind, in Ray's object store, which spills to disk."""

    tables: Sequence[Any]
    """References to tables of `windows_schema`, one for each shard of histories."""
    count: int
    """Windows of all tables together."""

    def dataset(self) -> ray.data.Dataset:
        """The windows as a Ray Data set."""
        return ray.data.from_arrow_refs(list(self.tables))


def cut_windows(run: Run, kinds: Sequence[Kind]) -> dict[Kind, Windows]:
    """Cut the windows of these kinds, with a Ray task for each shard of histories; few events need one worker."""
    histories = run.record(SHUFFLE_HISTORIES)
    task: Any = ray.remote(_windows_of_shard).options(num_returns=1 + len(kinds))
    most = workers_for(histories.rows)
    found: list[list[Any]] = []
    for shard in histories.shards:
        if len(found) >= most:
            ray.wait([counted for counted, *_ in found], num_returns=len(found) - most + 1)
        found.append(task.remote(run, shard, tuple(kinds)))
    counts = ray.get([counted for counted, *_ in found])
    return {
        kind: Windows(tables=[tables[place] for _, *tables in found], count=sum(counted[place] for counted in counts))
        for place, kind in enumerate(kinds)
    }


def _windows_of_shard(run: Run, shard: str, kinds: tuple[Kind, ...]) -> tuple[Any, ...]:
    """The number of windows of each kind, then their tables."""
    tables = list(windows_of_shard(run, shard, kinds).values())
    return ([len(table) for table in tables], *tables)


def windows_of_shard(run: Run, shard: str, kinds: Sequence[Kind]) -> dict[Kind, pa.Table]:
    """Cut the interactions of one shard of histories into windows.

    A window reads the searches that an interaction of the window follows.
    """
    length, train = run.config.histories.max_length, run.config.train
    item_ids = read_item_ids(run)
    event_kinds = pa.array(run.record(INGEST_EVENTS).kinds, pa.string())
    interactions = read_interactions(run, shard)
    learned, kept = run.validation_split(interactions)
    context, texts, until_of = UserContext.read(run, shard), None, read_until(run, shard)
    if run.config.has_user_texts:
        profiles = PROFILES.empty_table() if context.profiles is None else context.profiles
        texts = WindowTexts(texts=read_user_texts(run)["text"].combine_chunks(), profiles=profiles)
    days = train.target_days if train.targets == "next_days" else None

    def training_windows(events: pa.Table, weights: FloatArray) -> pa.Table:
        most = train.max_events_per_user
        return with_weight(build_windows(events, item_ids, event_kinds, length, most, weights, texts, days))

    cut: dict[Kind, pa.Table] = {}
    for kind in kinds:
        if kind == "validation":
            events = context.windowed(with_first_target(learned, kept, run.config.recommend.exclude_seen))
            max_events = length + 1  # one window a user
            cut[kind] = build_windows(events, item_ids, event_kinds, length, max_events, texts=texts)
            continue
        full = kind in ("full", "full_recent", "full_new")
        until = run.end if full else run.cutoff
        events = context.windowed(interactions if full else learned)
        weights = target_weights(events, train, until)
        if until_of is not None:
            weights = only_after(weights, events, until_of)
        if kind in ("train_recent", "full_recent"):
            weights = only_since(weights, events, until - dt.timedelta(days=train.recent_days))
        cut[kind] = training_windows(events, weights)
        if kind in ("train_new", "full_new"):
            new = training_windows(events, np.where(_unlearned(run, events, full=full), weights, np.float32(0)))
            cut[kind] = _with_replay(run, shard, new, cut[kind], full=full)
    return cut


def _with_replay(run: Run, shard: str, new: pa.Table, older: pa.Table, *, full: bool) -> pa.Table:
    """The new windows of a shard with older ones, which are others in each night."""
    seed = (run.config.seed, run.date.toordinal(), int(full), int(shard.rpartition("-")[2]))
    share = 1 / len(run.record(SHUFFLE_HISTORIES).shards)
    return with_replay(new, older, num_replayed(run.config.train, len(new), share), seed)


def _unlearned(run: Run, events: pa.Table, *, full: bool) -> npt.NDArray[np.bool_]:
    """[N] the events that a model did not learn from: the one that this night continues, or its own for the refit."""
    start = run.warm_start
    assert start is not None, "the warm start is not settled"
    learned_tonight = full and bool(run.record(FINETUNE).history)
    model_id = run.model_id if full else start.model_id
    until = run.cutoff if learned_tonight else dt.datetime.fromisoformat(start.trained_until)
    return unlearned(events, until, run.held_out_baskets_of(model_id))

"""What a night does that has nothing to learn from: it says why, and keeps a model that was not trained."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from recsys.data.histories import user_runs
from recsys.pipeline.run import Record, Run
from recsys.pipeline.stages import INGEST_EVENTS, SHUFFLE_HISTORIES
from recsys.pipeline.stored.shard_tables import read_interactions
from recsys.pipeline.workers.cluster import for_each_part
from recsys.pipeline.workers.worker_pools import call_in_worker


def keep_untrained(run: Run, model_id: str, start: str | None) -> None:
    """Write a model without training it.

    Args:
        run: Whose catalog it is for.
        model_id: Of the model to write.
        start: Id of the model whose weights are taken; None: random weights.
    """
    call_in_worker(_write_untrained, run, model_id, start, label="train", num_cpus=1)


def _write_untrained(run: Run, model_id: str, start: str | None) -> None:
    from recsys.pipeline.training.train_task import (  # it loads the models' library, which takes seconds
        build_task,
        save_task,
    )

    torch.manual_seed(run.config.seed)
    task = build_task(run, model_id, start, learns=False)
    with TemporaryDirectory() as folder:
        save_task(Path(folder), task, run.config.encoder.arithmetic)
        run.storage.upload_folder(folder, run.model_path(model_id))


def why_nothing_to_learn(run: Run, num_windows: int) -> str:
    """The cause for which a night cannot train, and the way out where there is one: a sentence without its end.

    Args:
        run: With a finished stage `histories`.
        num_windows: Training windows before the cutoff, fewer than there are workers.
    """
    histories, days = run.record(SHUFFLE_HISTORIES), run.config.gate.holdout_days
    workers = run.config.train.num_workers
    if num_windows:
        return f"{num_windows} training windows are too few for train.num_workers={workers}; set train.num_workers to 1"
    counts = for_each_part(histories.shards, partial(_user_counter, run), label="count users", rows=histories.rows)
    events, before, users, longest = (
        [count[name] for count in counts] for name in ("events", "before", "users", "longest")
    )
    cutoff = f"{run.cutoff:%Y-%m-%d}"
    ignored = f", beside {histories.non_positives:,} of weight 0 or less" if histories.non_positives else ""
    if not run.record(INGEST_EVENTS).accepted:
        return "there is no event"
    if not sum(events):
        return "no event has an item and a weight above 0" if ignored else "the events are searches, without any item"
    if not sum(before):
        return (
            f"all {sum(events):,} events{ignored} are of the last {days} days (gate.holdout_days), the oldest of "
            f"{histories.oldest}; a later night will train, or lower gate.holdout_days"
        )
    held_out = sum(events) - sum(before)
    beside = f" ({held_out:,} events since then are held out by gate.holdout_days={days})" if held_out else ""
    if max(longest) < 2:
        return (
            f"each of the {sum(users):,} users has one event before {cutoff}{ignored}{beside}, and none follows another"
        )
    return (
        f"no event before {cutoff} that follows another has a weight as a target{beside}; see "
        f"train.max_events_per_user and train.recency_half_life_days"
    )


def _user_counter(run: Run) -> Callable[[str], Record]:
    def count(shard: str) -> Record:
        interactions = read_interactions(run, shard)
        train = run.split(interactions).train
        lengths = np.diff(user_runs(train)[1])
        return {
            "events": len(interactions),
            "before": len(train),
            "users": len(lengths),
            "longest": int(lengths.max(initial=0)),
        }

    return count

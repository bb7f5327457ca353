"""A night that continues a model trains on the events that this model did not learn from, and on replayed windows."""

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.splits import unlearned
from recsys.pipeline.model_records import WARM_START
from recsys.pipeline.run import Run
from recsys.pipeline.stages import ENCODE_TEXTS, FINETUNE, INGEST_EVENTS, SHUFFLE_HISTORIES
from recsys.pipeline.training.settle_warm_start import settle_warm_start
from recsys.pipeline.training.windows import Kind, windows_of_shard
from recsys.storage.tables import read_table
from tests.pipeline.conftest import DAY, IDS
from tests.pipeline.test_settle_warm_start import publish_model_of
from tests.records import finish

#: User's number and item of each target with a weight.
Targets = Counter[str]


@pytest.fixture
def continued(make_night: Callable[..., Run], draw_events: Callable[..., pa.Table], tmp_path: Path) -> Run:
    """A night that continues a model of three days before."""
    events = draw_events(600, days=60)

    def night(storage: str, replay: float) -> Run:
        train = {"validation_users": 10, "max_events_per_user": 1000, "min_steps": 0, "replay": replay}
        run = make_night(events, settings={"storage": str(tmp_path / storage), "train": train})
        finish(run, ENCODE_TEXTS, encoder_id="configured")
        finish(run, INGEST_EVENTS, kinds=["view"])
        return run

    first = night("first", 0.0)
    settle_warm_start(first)
    second = night("second", 0.0)
    card = publish_model_of(replace(first, date=first.date - 3 * DAY), tmp_path / "second")
    assert settle_warm_start(second) == card
    start = second.warm_start
    assert start is not None
    second.remember_part(FINETUNE, WARM_START, replace(start, trains=True, since=start.trained_until))
    return second


def targets_of(windows: pa.Table) -> Targets:
    """The items that are predicted with a weight."""
    items, weights = (np.array(windows[name].to_pylist()) for name in ("items", "weights"))
    return Counter(IDS[item] for item in items[:, 1:][weights > 0])


def expected(run: Run, kind: Kind, model_id: str, until: dt.datetime) -> Targets:
    """The items of events that the model did not learn from, without the first event of each user."""
    found: Targets = Counter()
    for shard in run.record(SHUFFLE_HISTORIES).shards:
        events = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
        if kind == "train_new":
            events = run.validation_split(events).train
        users = events["user_id"].to_pylist()
        new = unlearned(events, until, run.held_out_baskets_of(model_id))
        items = events["item_id"].to_pylist()
        found.update(items[row] for row in np.flatnonzero(new) if row > 0 and users[row - 1] == users[row])
    return found


def cut(run: Run, kind: Kind) -> pa.Table:
    shards = run.record(SHUFFLE_HISTORIES).shards
    return pa.concat_tables([windows_of_shard(run, shard, [kind])[kind] for shard in shards])


def test_new_windows_predict_what_the_model_did_not_learn(continued: Run) -> None:
    start = continued.warm_start
    assert start is not None
    until = dt.datetime.fromisoformat(start.trained_until)
    new = targets_of(cut(continued, "train_new"))
    assert new == expected(continued, "train_new", start.model_id, until)
    assert 0 < new.total() < targets_of(cut(continued, "train")).total() / 2

    finish(continued, FINETUNE, history=[{}])
    refit = targets_of(cut(continued, "full_new"))
    assert refit == expected(continued, "full_new", continued.model_id, continued.cutoff)
    finish(continued, FINETUNE, history=[])  # nothing was new before the holdout
    assert targets_of(cut(continued, "full_new")).total() >= refit.total()


def test_older_windows_are_replayed(continued: Run) -> None:
    config = continued.config
    alone = cut(continued, "train_new")
    replaying = replace(
        continued, config=config.model_copy(update={"train": config.train.model_copy(update={"replay": 0.5})})
    )
    windows = cut(replaying, "train_new")
    assert len(alone) < len(windows) <= 1.5 * len(alone) + 1
    assert cut(replaying, "train_new").equals(windows)
    assert not cut(replace(replaying, date=replaying.date + DAY), "train_new").equals(windows)

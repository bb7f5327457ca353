"""A run whose first stages are done. Parts run one after the other in this process; tests of jobs run them on Ray."""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.histories import shard_of, sort_interactions
from recsys.data.item_counts import count_items
from recsys.pipeline.encoders import encode_texts, export_encoder
from recsys.pipeline.inputs import described_input, ingest_events, ingest_feedback
from recsys.pipeline.inputs.choose_validation import (
    choose_validation,
    count_active_users,
    count_trainable_users,
    count_users,
)
from recsys.pipeline.lists import check_lists
from recsys.pipeline.run import CountedDays, Protocol, Run
from recsys.pipeline.scoring import count_signals, match_cold_items
from recsys.pipeline.stages import INGEST_CATALOG, SHUFFLE_HISTORIES
from recsys.pipeline.training import settle_warm_start
from recsys.schema import CATALOG, INTERACTIONS
from recsys.settings import decode_config
from recsys.signals import transitions
from recsys.storage.filesystem import Storage
from recsys.storage.runs import RunFolder
from recsys.storage.tables import write_table
from tests.records import finish

IDS = [f"i{number:02}" for number in range(12)]
DATE = dt.date(2026, 11, 22)
HOLDOUT_DAYS, NUM_SHARDS, MAX_EVENTS = 7, 2, 6
DAY = dt.timedelta(days=1)


@pytest.fixture
def draw_events() -> Callable[..., pa.Table]:
    """Draws events of 40 users up to the end of the night's date; some have the same time."""
    return _draw_events


def _draw_events(num: int, days: int) -> pa.Table:
    random = np.random.default_rng(0)
    end = dt.datetime.combine(DATE, dt.time(), tzinfo=dt.UTC) + DAY
    rows = [
        {
            "user_id": f"u{random.integers(40)}",
            "item_id": IDS[int(12 * random.random() ** 2)],
            "timestamp": end - dt.timedelta(hours=int(random.integers(1, 24 * days))),
            "event": "view",
            "weight": 1.0,
        }
        for _ in range(num)
    ]
    return sort_interactions(pa.Table.from_pylist(rows, INTERACTIONS))[0]


@pytest.fixture
def make_night(tmp_path: Path) -> Callable[..., Run]:
    """A run whose first stages are done: interactions in shards, item counts, and the records."""

    def make(
        events: pa.Table,
        protocol: Protocol = "time",
        validation_users: int = 12,
        settings: dict[str, Any] | None = None,
    ) -> Run:
        defaults: dict[str, Any] = {
            "storage": str(tmp_path / protocol),
            "inputs": {"events": {"path": "x"}, "items": {"path": "y", "text": "{title}"}},
            "gate": {"holdout_days": HOLDOUT_DAYS},
            "train": {"max_events_per_user": MAX_EVENTS, "validation_users": validation_users},
            "ease": {"items": 10, "l2": 3.0, "half_life_days": 8.0, "neighbours": 5},
            "transitions": {"window": 3, "half_life_days": 5.0, "neighbours": 4},
        }
        config = decode_config(defaults | (settings or {}))
        folder = RunFolder(Storage(config.storage), f"{DATE}-0123456789ab")
        run = Run(config=config, date=DATE, folder=folder, protocol=protocol)
        catalog = [
            {"item_id": item, "text": item, "available": True, "attributes": {}, "text_hash": item} for item in IDS
        ]
        write_table(folder.storage, run.catalog_path, pa.Table.from_pylist(catalog, CATALOG), CATALOG)
        shards = [f"shard-{number:05d}" for number in range(NUM_SHARDS)]
        parts = [events.filter(pa.array(shard_of(events["user_id"], NUM_SHARDS) == n)) for n in range(NUM_SHARDS)]
        for shard, part in zip(shards, parts, strict=True):
            write_table(folder.storage, f"{run.interactions_dir}/{shard}.parquet", part, part.schema)
        train, week = run.split(events).train, 7 * DAY
        counts: dict[CountedDays, pa.Table] = {
            "train": count_items(train),
            "train_7d": count_items(train, run.cutoff - week),
            "full": count_items(events),
            "full_7d": count_items(events, run.end - week),
        }
        for kind, table in counts.items():
            write_table(folder.storage, run.item_counts_path(kind), table, table.schema)
        past = [run.split(part).train for part in parts]
        users = np.sum([count_users(part) for part in past], axis=0).tolist()
        active, trainable = (
            np.sum([count(run, part) for part in past], axis=0).tolist()
            for count in (count_active_users, count_trainable_users)
        )
        oldest = min(events["timestamp"].to_pylist()).isoformat()
        validation = choose_validation(run, users, active, trainable)
        finish(run, INGEST_CATALOG, items=len(IDS))
        finish(run, SHUFFLE_HISTORIES, shards=shards, validation=validation, oldest=oldest)
        return run

    return make


def _for_each_part(parts: Sequence[str], build: Callable[[], Any], **_: Any) -> list[dict[str, Any]]:
    work = build()
    return [work(part) | {"peak_memory_mb": 1.0} for part in parts]


@pytest.fixture(autouse=True)
def _one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (encode_texts, export_encoder, count_signals, match_cold_items, settle_warm_start, check_lists):
        monkeypatch.setattr(module, "for_each_part", _for_each_part)
    monkeypatch.setattr(transitions, "ITEMS_PER_RANGE", 5)


@pytest.fixture
def reads_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stages that read inputs run their parts in this process too."""
    for module in (described_input, ingest_events, ingest_feedback):
        monkeypatch.setattr(module, "for_each_part", _for_each_part)

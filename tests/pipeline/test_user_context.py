"""What users said or rejected after a cutoff is never known: in training, validation, fusion or gate."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recsys.data.histories import shard_of, sort_interactions
from recsys.model.features import TextKind
from recsys.pipeline.run import Protocol, Run
from recsys.pipeline.stages import INGEST_EVENTS, SHUFFLE_HISTORIES
from recsys.pipeline.stored.user_context import UserContext
from recsys.pipeline.stored.user_texts import read_user_texts, write_texts
from recsys.pipeline.training.windows import Kind, windows_of_shard
from recsys.schema import INTERACTIONS, INTERACTIONS_WITH_TEXT, PROFILES, TEXT
from recsys.storage.tables import read_table, write_table
from tests.records import finish

from .conftest import DATE, NUM_SHARDS

END = dt.datetime.combine(DATE, dt.time(), tzinfo=dt.UTC) + dt.timedelta(days=1)
SETTINGS = {
    "inputs": {
        "events": {"path": "x", "columns": {"text": "text"}},
        "items": {"path": "y", "text": "{title}"},
        "users": {"path": "z", "text": "{job}"},
    }
}

MakeNight = Callable[..., Run]
DrawEvents = Callable[[int, int], pa.Table]


def talking(make_night: MakeNight, draw_events: DrawEvents, protocol: Protocol) -> tuple[Run, dict[str, Any]]:
    """A run with random searches of its users, and of two users without any item; and the search of each text."""
    events = draw_events(300, 30)
    events = events.append_column(TEXT, pa.array([""] * len(events)))
    run = make_night(events, protocol, settings=SETTINGS)
    random = np.random.default_rng(1)
    searches = [
        {
            "user_id": f"u{random.integers(42)}",
            "item_id": "",
            "timestamp": END - dt.timedelta(hours=int(random.integers(1, 24 * 30))),
            "event": "search",
            "weight": 1.0,
            "text": f"q{number:03}",
        }
        for number in range(200)
    ]
    table = sort_interactions(pa.Table.from_pylist(searches, INTERACTIONS_WITH_TEXT))[0]
    users = sorted({*events["user_id"].to_pylist(), *table["user_id"].to_pylist()})
    profiles = pa.table([users, ["cook"] * len(users)], schema=PROFILES)
    for number in range(NUM_SHARDS):
        shard = f"shard-{number:05d}"
        said, users_of = (
            rows.filter(pa.array(shard_of(rows["user_id"], NUM_SHARDS) == number)) for rows in (table, profiles)
        )
        write_table(run.storage, f"{run.searches_dir}/{shard}.parquet", said, said.schema)
        write_table(run.storage, f"{run.profiles_dir}/{shard}.parquet", users_of, users_of.schema)
        write_texts(run, shard, said, users_of)
    finish(run, INGEST_EVENTS, kinds=["search", "view"])
    return run, {search["text"]: search for search in searches}


@pytest.mark.parametrize("protocol", ["time", "leave-one-out"])
def test_histories_end_where_a_model_is_measured(
    make_night: MakeNight, draw_events: DrawEvents, protocol: Protocol
) -> None:
    run, searches = talking(make_night, draw_events, protocol)
    read = 0
    for shard in run.record(SHUFFLE_HISTORIES).shards:
        interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
        context, split = UserContext.read(run, shard), run.split(interactions)
        first: dict[str, dt.datetime] = {}
        for row in split.holdout.to_pylist():
            first.setdefault(row["user_id"], row["timestamp"])
        histories = context.histories(split.train, None, split.holdout, run.cutoff, 500)
        for row in histories.to_pylist():
            assert row["timestamps"] == sorted(row["timestamps"])
            assert row["profile"] == "cook"
            for said in filter(None, row["texts"]):
                assert searches[said]["user_id"] == row["user_id"]
                assert searches[said]["timestamp"] < run.cutoff
                assert searches[said]["timestamp"] <= first.get(row["user_id"], END)
                read += 1
        strangers = pa.chunked_array([["nobody", "u40"]])
        cold = context.histories(split.train.slice(0, 0), strangers, split.holdout, run.cutoff, 500)
        assert cold["user_id"].to_pylist() == ["nobody", "u40"]
        assert cold["item_ids"][0].as_py() == []
    assert read > 50


@pytest.mark.parametrize("protocol", ["time", "leave-one-out"])
@pytest.mark.parametrize("recommend", [{}, {"exclude_seen": False, "exclude_rejected": True}])
def test_what_was_rejected_later_is_not_known_before(
    make_night: MakeNight, draw_events: DrawEvents, protocol: Protocol, recommend: dict[str, bool]
) -> None:
    """Neither its seen items nor its targets know of it; a list cannot hold what was rejected, so it is no target."""
    events = draw_events(300, 30)
    run = make_night(events, protocol, settings={"recommend": recommend})
    random = np.random.default_rng(2)
    rows = [
        {
            "user_id": f"u{random.integers(42)}",
            "item_id": f"i{random.integers(12):02}",
            "timestamp": END - dt.timedelta(hours=int(random.integers(1, 24 * 30))),
            "event": "return",
            "weight": -1.0,
        }
        for _ in range(400)
    ]
    table = sort_interactions(pa.Table.from_pylist(rows, INTERACTIONS))[0]
    num_known = num_wanted = num_possible = 0
    for number, shard in enumerate(run.record(SHUFFLE_HISTORIES).shards):
        own = table.filter(pa.array(shard_of(table["user_id"], NUM_SHARDS) == number))
        write_table(run.storage, f"{run.non_positives_dir}/{shard}.parquet", own, own.schema)
        interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
        context, split = UserContext.read(run, shard), run.split(interactions)
        first: dict[str, dt.datetime] = {}
        for row in split.holdout.to_pylist():
            first.setdefault(row["user_id"], row["timestamp"])
        before = [row for row in own.to_pylist() if row["timestamp"] < min(run.cutoff, first.get(row["user_id"], END))]
        rejected = {(row["user_id"], row["item_id"], row["timestamp"]) for row in before}
        exclude_seen = run.config.recommend.exclude_seen
        histories = context.histories(split.train, None, split.holdout, run.cutoff, 500)
        taken = split.train.to_pylist()
        for user in histories.to_pylist():
            expected = {row["item_id"] for row in [*taken, *before] if row["user_id"] == user["user_id"]}
            assert user["seen_item_ids"] == sorted(expected)
            if not exclude_seen:
                pairs = zip(user["rejected_item_ids"], user["rejected_timestamps"], strict=True)
                assert {(user["user_id"], *pair) for pair in pairs} <= rejected
                num_known += len(user["rejected_item_ids"])
        assert {row["user_id"] for row in before} <= set(histories["user_id"].to_pylist())
        wanted = context.targets(split.holdout, split.train, split.holdout, run.cutoff, exclude_seen)
        left_out = "seen_item_ids" if exclude_seen else "rejected_item_ids"
        cannot = dict(zip(*(histories[name].to_pylist() for name in ("user_id", left_out)), strict=True))
        for user in wanted.to_pylist():
            assert not set(user["item_ids"]) & set(cannot[user["user_id"]])
            num_wanted += len(user["item_ids"])
        pairs_held_out = {(row["user_id"], row["item_id"]) for row in split.holdout.to_pylist()}
        num_possible += sum(item not in cannot[user] for user, item in pairs_held_out)
    assert num_wanted == num_possible > 5
    assert num_known > 50 or run.config.recommend.exclude_seen


@pytest.mark.parametrize("kind", ["train", "train_recent", "validation", "full", "full_recent"])
def test_windows_hold_what_led_to_their_targets(make_night: MakeNight, draw_events: DrawEvents, kind: Kind) -> None:
    run, searches = talking(make_night, draw_events, "time")
    texts = read_user_texts(run)["text"].to_pylist()
    shards: list[str] = run.record(SHUFFLE_HISTORIES).shards
    windows = pa.concat_tables([windows_of_shard(run, shard, [kind])[kind] for shard in shards])
    last = {}
    for shard in shards:
        interactions = read_table(run.storage, f"{run.interactions_dir}/{shard}.parquet")
        learned, kept = run.validation_split(interactions)
        seen = {"validation": pa.concat_tables([learned, kept])}.get(kind, learned)
        for row in (interactions if kind in ("full", "full_recent") else seen).to_pylist():
            last[row["user_id"]] = max(row["timestamp"], last.get(row["user_id"], row["timestamp"]))
    found = 0
    for window in windows.to_pylist():
        said = [
            texts[row] for row, of in zip(window["texts"], window["text_kinds"], strict=True) if of == TextKind.SEARCH
        ]
        assert window["text_kinds"][0] == TextKind.PROFILE
        assert len({searches[text]["user_id"] for text in said}) <= 1, "a window is of one user"
        for text in said:
            assert searches[text]["timestamp"] <= last[searches[text]["user_id"]]
        found += len(said)
    assert found > 5

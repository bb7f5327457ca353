"""The shards of the histories: few events are read whole by each worker, many are shuffled by Ray Data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recsys.data.histories import shard_of, sort_interactions
from recsys.pipeline.input_records import ShuffledHistories
from recsys.pipeline.inputs import shuffle_histories as shuffling
from recsys.pipeline.run import Run
from recsys.pipeline.stages import INGEST_EVENTS
from recsys.pipeline.workers.cluster import cluster
from recsys.schema import INTERACTIONS, PROFILES
from recsys.storage.tables import read_table, write_table
from tests.pipeline.conftest import DAY
from tests.records import finish

#: What a worker adds to the record of a part.
MEMORY = {"peak_memory_mb": 1.0}
NUMBERS = range(5)
#: Users without an event, in all shards.
PROFILED = pa.table([[f"reader-{number}" for number in range(30)], ["cook"] * 30], schema=PROFILES)


def shuffled(run: Run, events: pa.Table) -> tuple[ShuffledHistories, dict[str, bytes]]:
    """The record of the stage, and the files it wrote, by name."""
    paths = []
    for number, start in enumerate(range(0, len(events), 100)):
        part = pa.concat_tables([events.slice(start, 100), events.slice(0, 7)])  # every file repeats seven rows
        paths.append(f"{run.folder.dir}/events/part-{number:05d}.parquet")
        write_table(run.storage, paths[-1], part, part.schema)
    finish(run, INGEST_EVENTS, parts=paths, accepted=len(events))
    for number in NUMBERS:
        rows = PROFILED.filter(pa.array(shard_of(PROFILED["user_id"], len(NUMBERS)) == number))
        write_table(run.storage, f"{run.profiles_dir}/shard-{number:05d}.parquet", rows, PROFILES)
    with cluster(min_cpus=2):
        record = shuffling.shuffle_histories(run)
    root = Path(run.storage.path(run.folder.dir))
    folders = ("interactions", "item_counts")
    files = [*root.glob("item_counts_*"), *(path for name in folders for path in (root / name).glob("*"))]
    histories = Path(run.storage.path(run.folder.histories_dir))
    return record, {path.name: path.read_bytes() for path in [*files, *histories.glob("*")]}


RULE: dict[str, Any] = {"exclude_served": {"times": 3}}
ARMS = [{"name": "off", "share": 0.5}, {"name": "on", "share": 0.5, "rerank": RULE}]


@pytest.mark.parametrize("rules", [{"rerank": RULE}, {"experiments": [{"name": "served", "arms": ARMS}]}])
def test_impressions_are_kept_apart_and_make_nothing_seen(
    rules: dict[str, Any],
    make_night: Callable[..., Run],
    draw_events: Callable[..., pa.Table],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = draw_events(200, 60)
    kinds = pa.array(["Impression" if place % 3 == 0 else "view" for place in range(200)])
    events = events.set_column(events.schema.get_field_index("event"), INTERACTIONS.field("event"), kinds)
    only = events.slice(0, 1).set_column(0, INTERACTIONS.field("user_id"), pa.array(["was only shown something"]))
    events = pa.concat_tables([events, only])
    settings = {"histories": {"shards": 1, "max_length": 300}} | rules
    run = make_night(events, settings=settings)
    path = f"{run.folder.dir}/events/part-00000.parquet"
    write_table(run.storage, path, events, events.schema)
    finish(run, INGEST_EVENTS, parts=[path], accepted=len(events))
    monkeypatch.setattr(
        shuffling, "for_each_part", lambda parts, build, **_: [build()(part) | MEMORY for part in parts]
    )
    record = shuffling.shuffle_histories(run)
    shown = events.filter(pc.equal(events["event"], "Impression"))
    assert (record.impressions, record.rows) == (len(shown), len(events))
    assert len(read_table(run.storage, f"{run.impressions_dir}/{record.shards[0]}.parquet")) == len(shown)
    histories = read_table(run.storage, f"{run.folder.histories_dir}/{record.shards[0]}.parquet").to_pylist()
    assert {row["user_id"] for row in histories} == set(events["user_id"].to_pylist())
    rows = events.to_pylist()
    for history in histories:
        own = [row for row in rows if row["user_id"] == history["user_id"]]
        taken = {row["item_id"]: row["timestamp"] for row in own if row["event"] == "view"}  # the newest
        assert history["seen_item_ids"] == sorted(taken)
        expected = [
            (row["item_id"], row["timestamp"])
            for row in own
            if row["event"] != "view" and not taken.get(row["item_id"], row["timestamp"] - DAY) >= row["timestamp"]
        ]
        served = zip(history["served_item_ids"], history["served_timestamps"], strict=True)
        assert sorted(served) == sorted(expected)


@pytest.mark.parametrize(
    ("column", "guest", "where"),
    [
        ("user_id", "0", "where: \"user_id <> '0'\""),
        ("Customer ID", "guest's", "where: \"\\\"Customer ID\\\" <> 'guest''s'\""),
        ("user_id", None, ""),
    ],
)
def test_one_id_for_all_guests_is_named(
    column: str,
    guest: str | None,
    where: str,
    make_night: Callable[..., Run],
    draw_events: Callable[..., pa.Table],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = draw_events(1_000, 60)
    users = [f"u{number % 150}" if guest is None or number % 5 else guest for number in range(len(events))]
    events = sort_interactions(events.set_column(0, INTERACTIONS.field("user_id"), pa.array(users)))[0]
    inputs = {"events": {"path": "x", "columns": {"user_id": column}}, "items": {"path": "y", "text": "{title}"}}
    run = make_night(events, settings={"histories": {"shards": 2}, "inputs": inputs})
    path = f"{run.folder.dir}/events/part-00000.parquet"
    write_table(run.storage, path, events, events.schema)
    finish(run, INGEST_EVENTS, parts=[path], accepted=len(events))
    monkeypatch.setattr(
        shuffling, "for_each_part", lambda parts, build, **_: [build()(part) | MEMORY for part in parts]
    )
    shuffling.shuffle_histories(run)
    said = guest is not None
    assert (f"the user {guest} has " in caplog.text) == said
    assert ("events (20%)" in caplog.text) == said
    assert where in caplog.text
    assert ("inputs.events.where" in caplog.text) == said


def test_both_ways_write_the_same(
    ray_cluster: None,
    make_night: Callable[..., Run],
    draw_events: Callable[..., pa.Table],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The second way in a storage whose path is no plain URL. Two shards have only users without an event."""
    events = draw_events(600, 60)
    events = events.filter(pa.array(shard_of(events["user_id"], len(NUMBERS)) < 3))
    shown = pa.array(np.arange(len(events)) % 9 == 0)
    kinds = pc.if_else(shown, "impression", events["event"])
    events = events.set_column(events.column_names.index("event"), events.schema.field("event"), kinds)
    settings: dict[str, Any] = {
        "histories": {"shards": len(NUMBERS)},
        "inputs": {"items": {"path": "y", "text": "{title}"}, "users": {"path": "z", "text": "{job}"}},
    }
    record, files = shuffled(make_night(events, settings=settings), events)
    assert (record.users, record.rows) == (len(pc.unique(events["user_id"])) + len(PROFILED), len(events))
    assert record.duplicates == -(-len(events) // 100) * 7
    assert len(record.shards) == len(NUMBERS)

    monkeypatch.setattr(shuffling, "ROWS_READ_WHOLE", len(events) - 1)
    monkeypatch.setattr(shuffling, "_write_shards", None)  # another way
    settings["storage"] = str(tmp_path / "é 日本 #1 %20 a?b [x] *")
    again, same_files = shuffled(make_night(events, settings=settings), events)
    assert replace(again, peak_memory_mb=record.peak_memory_mb) == record
    assert same_files == files
    assert len(files) > 10
